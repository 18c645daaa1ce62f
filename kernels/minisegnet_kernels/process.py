"""What the CPU programs set for the whole process, unless its user has set it: waiting threads sleep, and freed memory is kept."""

import contextlib
import ctypes
import os
import sys

#: Bytes of freed memory that the C library keeps for the next arrays.
KEPT = 1 << 30
#: The variables of the environment with which users of glibc say how memory is kept.
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


def let_waiting_threads_sleep() -> None:
    """Load Numba's pool of threads so that its threads sleep while they wait for work.

    Threads that spin take the cores from whatever else runs: beside two busy processes a training step takes 0.7 s with
    sleeping threads and 4.3 s with spinning ones; on an idle machine it takes 0.37 s either way.

    OpenMP's library reads ``OMP_WAIT_POLICY`` when it is loaded, which happens here, with Numba's pool. If PyTorch was
    imported before, its own copy is loaded already and would serve Numba's pool too; RTLD_DEEPBIND gives the pool the copy
    that it is linked with.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if hasattr(os, "RTLD_DEEPBIND"):
        flags = sys.getdlopenflags()
        sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
        with contextlib.suppress(ImportError):  # Numba uses another pool here
            import numba.np.ufunc.omppool  # noqa: F401
        sys.setdlopenflags(flags)


def keep_freed_memory() -> bool:
    """Let glibc keep up to `KEPT` bytes that arrays have freed; whether it does.

    By default glibc gives them back to the system. The next array of that size then costs a page fault for every 4 KiB, in
    which the system fills the page with zeros: 20,000 faults and a tenth of the processor's time in a U-Net's training step.
    Other C libraries have no such setting.
    """
    if any(name in os.environ for name in _CHOSEN) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such library
        return False
    trim_threshold, mmap_threshold = -1, -3  # the names of the settings, from malloc.h
    return bool(mallopt(trim_threshold, KEPT) and mallopt(mmap_threshold, KEPT))
