"""Kernels from elsewhere: CUDA C++ that is not part of the library, compiled for the CPU and run there.

Only the text of such a kernel is known. The caller packs its parameters, and its accesses are not watched.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import build
from .run import KernelError, Region, Request


def library(name: str, text: str, prefix: Path, options: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile and load kernels, once for each version of their text.

    Parameters
    ----------
    name : str
        A name for the file in the user's cache folder.
    text : str
        Kernels, and the table of entry points ``kernels`` that the emulator calls (``emulator.h``).
    prefix : path
        A header that the compiler reads in front of `text`. It is compiled once and kept, which for a short kernel saves
        four fifths of the time.
    options : sequence of str
        Further options of the compiler, among them the folders of what prefix and text include.

    Raises
    ------
    CompilerError
        If there is no compiler, or it rejects the text.
    """
    options = [*build.COMMON, "-O1", "-w", "-fno-gnu-unique", *options]  # without the last, equal names would share one set of constants
    machine, before = build.object_file("emulator.cpp", ["-DFOREIGN_KERNELS"]), _precompiled(prefix, options)

    def made(folder: Path, result: Path) -> None:
        (folder / "kernels.cpp").write_text(text)
        files = [str(folder / "kernels.cpp"), str(machine)]
        build.run_compiler([*options, "-include", str(before), "-shared", *files, "-o", str(result)], Path(name))

    file = f"foreign-{re.sub(r'[^A-Za-z0-9_]', '_', name)[:60]}"
    loaded = ctypes.CDLL(str(build.built(build.place(file, ".so", text, before, machine, options), made)))
    loaded.emulator_launch.restype = ctypes.c_char_p
    return loaded


def _precompiled(prefix: Path, options: Sequence[str]) -> Path:
    """A copy of the header in the cache folder, with the compiled form beside it, which g++ uses instead."""
    texts = [path.read_text() for folder in (build.HERE, prefix.parent) for path in sorted(folder.rglob("*.*h"))]
    copy = build.place(prefix.stem, ".h", *texts, options)
    build.built(copy, lambda folder, result: result.write_text(prefix.read_text()))
    compile_ = lambda folder, result: build.run_compiler([*options, "-x", "c++-header", str(copy), "-o", str(result)], copy)
    build.built(copy.with_name(f"{copy.name}.gch"), compile_)
    return copy


def launch(library: ctypes.CDLL, name: str, grid: Sequence[int], block: Sequence[int], shared: int, packed: Sequence[np.ndarray]) -> None:
    """Run the first kernel of a library to its end.

    Parameters
    ----------
    name : str
        For messages.
    grid, block : three int each
    shared : int
        Bytes of dynamic shared memory.
    packed : sequence of arrays
        The bytes of each argument.

    Raises
    ------
    KernelError
        If the kernel did something that is wrong on a GPU.
    """
    addresses = (ctypes.c_void_p * len(packed))(*(p.ctypes.data for p in packed))
    request = Request((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), shared, 0, addresses, (Region * 1)(), b"")
    if message := library.emulator_launch(ctypes.byref(request)):
        raise KernelError(f"{name}: {message.decode()}")
