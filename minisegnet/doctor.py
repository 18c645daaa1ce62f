"""What runs on this machine, and the commands that mend what does not."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

_PACKAGES = ("minisegnet", "numpy", "numba", "llvmlite", "pillow", "matplotlib", "tqdm", "safetensors")
#: Packages that bring the module cupy; only one of them can be installed.
_CUPY = ("cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x", "cupy")
_EXTRAS = ("numba-cuda", *_CUPY, "torch")


@dataclass
class Diagnosis:
    """Findings by heading, each a list of (name, finding). ``print`` shows them as text."""

    sections: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def __str__(self) -> str:
        width = max(len(name) for rows in self.sections.values() for name, _ in rows)
        blocks = []
        for title, rows in self.sections.items():
            lines = [f"  {name.ljust(width)}  {text}" for name, text in rows]
            blocks.append("\n".join([title, *lines]))
        return "\n\n".join(blocks)

    __repr__ = __str__


def doctor(gpu: str | None = None) -> Diagnosis:
    """Look at Python, packages, backends, GPU and CPU.

    Parameters
    ----------
    gpu : str, optional
        An architecture such as ``"sm_75"`` (a T4). Shows which kernels convolutions run on this GPU, which need not be here. By
        default the GPUs of this machine are shown.

    Returns
    -------
    Diagnosis
        To be printed. Nothing is changed, and the GPU is only asked for its name, through the driver.

    Raises
    ------
    ValueError
        If `gpu` does not name an architecture.
    """
    from minisegnet_kernels.cuda.nvrtc import capability

    found = _devices()
    if gpu is not None:
        shown = [capability(gpu)]
    else:
        shown = sorted({(int(major), int(minor)) for device in found for major, minor in re.findall(r"(\d+)\.(\d+)$", device)})
    return Diagnosis(
        {
            "Python": _python(),
            "Packages": _packages(),
            "Backends": _backends(),
            "GPU": _gpu(found),
            **{f"Convolutions on a GPU of compute capability {c[0]}.{c[1]}": _convolutions(c) for c in shown},
            "CPU": _cpu(),
            "Numba": _numba(),
        }
    )


def _python() -> list[tuple[str, str]]:
    return [
        ("version", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("executable", sys.executable),
        ("system", platform.platform()),
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _packages() -> list[tuple[str, str]]:
    rows = [(name, _version(name) or f"missing: pip install {name}") for name in _PACKAGES]
    if _version("minisegnet") is None:
        rows[0] = ("minisegnet", "not installed, runs from its source folder: pip install -e .")
    else:
        wanted = {line.split(";")[0].strip() for line in requires("minisegnet") or () if "extra" not in line}
        rows.append(("needed", ", ".join(sorted(wanted))))
    return rows + [(name, found) for name in _EXTRAS if (found := _version(name))]


def _backends() -> list[tuple[str, str]]:
    from minisegnet_kernels import backends

    def said(one: backends.Availability) -> str:
        if one.ok:
            return "runs here" + (f", {one.reason}" if one.reason else "")
        return f"no: {one.reason}" + (f"; to mend it: {one.mend}" if one.mend else "")

    rows = [(name, said(one)) for name, one in backends.available().items()]
    return [*rows, ("default", f"{backends.current('cpu')} on a CPU, {backends.current('cuda')} on a GPU")]


def _devices() -> list[str]:
    """A line for each GPU, as its driver describes it: name, driver, memory, compute capability."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip().splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def _gpu(devices: list[str]) -> list[tuple[str, str]]:
    if not devices:
        return [("driver", "no NVIDIA driver answers (nvidia-smi); everything runs on the CPU")]
    cupy = [f"{name} {found}" for name in _CUPY if (found := _version(name))]
    rows = [(f"device {k}", line) for k, line in enumerate(devices)]
    if len(cupy) > 1:
        return [*rows, ("cupy", f"{len(cupy)} packages with the same files, {' and '.join(cupy)}: uninstall all of them but one")]
    return [
        *rows,
        ("cupy", cupy[0] if cupy else 'missing: pip install ".[cuda12]" in the clone (".[cuda13]" if the driver is for CUDA 13)'),
    ]


def _convolutions(capability: tuple[int, int]) -> list[tuple[str, str]]:
    """The rung of the ladder that each typical layer goes to on a GPU, and the rungs that this GPU cannot run."""
    from minisegnet_kernels.conv2d import examples
    from minisegnet_kernels.conv2d.kernel import RULE
    from minisegnet_kernels.conv2d.ladder import RUNGS, tf32_allowed
    from minisegnet_kernels.cuda.nvrtc import ARCHITECTURES

    tf32 = tf32_allowed()
    by_equation = {e: examples.routes(e, {"this": (capability, tf32)}) for e in RULE}
    name = f"sm_{capability[0]}{capability[1]}"
    tested = f"the kernels are compiled for {name} by the tests" if name in ARCHITECTURES else f"no test compiles the kernels for {name}"
    lacking = [rung for rung in RUNGS if rung.capability > capability]
    rows = [("compiled", tested)]
    for needed in sorted({rung.capability for rung in lacking}):
        names = sorted({f"{rung.label} {rung.name}" for rung in lacking if rung.capability == needed})
        rows.append(("passed over", f"{', '.join(names)}: their instructions need compute capability {needed[0]}.{needed[1]}"))
    if capability >= (8, 0):
        rows.append(("TF32", "allowed; ms.backend.allow_tf32(False) forbids it" if tf32 else "forbidden by ms.backend.allow_tf32(False)"))
    rows.append(("layer", "forward; input gradient; weight gradient"))
    for layer in next(iter(by_equation.values())):
        rungs = (routes[layer]["this"] for routes in by_equation.values())
        rows.append((layer, "; ".join(f"{rung.label} {rung.name}" for rung in rungs)))
        why = [f"not {rung.label} {rung.name}: {why}" for rung, why in examples.reasons("conv2d.forward", layer, capability, tf32)]
        rows += [("", line) for line in why if "compute capability" not in line]  # those are listed above
    return rows


def _cpu() -> list[tuple[str, str]]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows = [("model", _cpu_model()), ("cores", f"{allowed} for this process, {os.cpu_count()} in the machine")]
    try:
        from llvmlite import binding

        features = binding.get_host_cpu_features()
        shown = [name for name in ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon", "sve") if features.get(name)]
        rows.append(("features", f"{binding.get_host_cpu_name()}: {', '.join(shown) or 'none that matter here'}"))
    except (ImportError, RuntimeError) as error:
        rows.append(("features", f"unknown: {error}"))
    return rows


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _numba() -> list[tuple[str, str]]:
    try:
        import numba
    except ImportError as error:
        return [("numba", f"cannot be imported: {error}. To fix it: pip install --force-reinstall numba")]
    import minisegnet_kernels
    from minisegnet_kernels import (
        jit,  # noqa: F401  it sets OMP_WAIT_POLICY unless the user has
        process,
    )

    config: Any = numba.config
    rows = [("threads", f"{config.NUMBA_NUM_THREADS} (set NUMBA_NUM_THREADS for another number)")]
    if os.environ["OMP_WAIT_POLICY"].lower() == "passive":
        rows.append(("waiting threads", "sleep (with OMP_WAIT_POLICY=active, set before Python starts, they spin)"))
    else:
        rows.append(("waiting threads", f"spin (OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}), which takes cores from other programs"))
    if process.keep_freed_memory():
        rows.append(
            ("freed memory", f"up to {process.KEPT >> 30} GiB stays for the next arrays (MALLOC_TRIM_THRESHOLD_ sets another amount)")
        )
    rows.append(("cache", _cache_folder(Path(minisegnet_kernels.__file__).parent, config.CACHE_DIR)))
    return rows


def _cache_folder(kernels: Path, chosen: str) -> str:
    if chosen:
        return f"{chosen} (NUMBA_CACHE_DIR)"
    beside = kernels / "conv2d" / "__pycache__"
    files = sum(1 for _ in kernels.glob("*/__pycache__/*.nbc"))
    if os.access(beside if beside.exists() else kernels, os.W_OK):
        return f"{kernels}/*/__pycache__: {files} compiled kernels" + ("" if files else "; the first run compiles them")
    return f"{kernels} cannot be written to: Numba uses its folder for the user's cache, or set NUMBA_CACHE_DIR"
