"""What runs on this machine, and the commands that mend what does not."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

_PACKAGES = ("minisegnet", "numpy", "numba", "llvmlite", "pillow", "matplotlib", "tqdm", "safetensors")
_EXTRAS = ("numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "torch")


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


def doctor() -> Diagnosis:
    """Look at Python, packages, backends, GPU and CPU.

    Returns
    -------
    Diagnosis
        To be printed. Nothing is changed, and the GPU is only asked for its name, through the driver.
    """
    return Diagnosis(
        {"Python": _python(), "Packages": _packages(), "Backends": _backends(), "GPU": _gpu(), "CPU": _cpu(), "Numba": _numba()}
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


def _gpu() -> list[tuple[str, str]]:
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip().splitlines()
    except (OSError, subprocess.SubprocessError):
        return [("driver", "no NVIDIA driver answers (nvidia-smi); everything runs on the CPU")]
    cupy = _version("cupy-cuda12x") or _version("cupy-cuda13x")
    rows = [(f"device {k}", line) for k, line in enumerate(found)]
    return [*rows, ("cupy", cupy or 'missing: pip install "minisegnet[cuda12]" (or cuda13, as the driver has it)')]


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

    config: Any = numba.config
    rows = [("threads", f"{config.NUMBA_NUM_THREADS} (set NUMBA_NUM_THREADS for another number)")]
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
