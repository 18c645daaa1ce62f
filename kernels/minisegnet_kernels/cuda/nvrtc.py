"""Compile every kernel for real GPUs on a machine that has none: ``python -m minisegnet_kernels.cuda.nvrtc``.

NVRTC is NVIDIA's compiler as a library; it needs no driver. It compiles every template instance to machine code, and the
assembler reports registers, shared memory and two numbers that must be zero: spills (values that found no register) and
the stack frame (an array indexed at run time).

A kernel is not compiled for GPUs that lack its instructions; `least_capability` finds these in the source.

Needs ``pip install cuda-bindings nvidia-cuda-nvrtc-cu12``, which the extra ``test`` brings.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .gpu import OPTIONS
from .source import Source, read, without_comments

#: The architectures in common use, by compute capability, with a GPU of each.
ARCHITECTURES = {
    "sm_75": "T4",
    "sm_80": "A100",
    "sm_86": "RTX 3090",
    "sm_89": "RTX 4090",
    "sm_90": "H100",
    "sm_100": "B200",
    "sm_120": "RTX 5090",
}
ROOT = Path(__file__).parents[1]
#: Instructions that not every GPU has, and the first compute capability that has them.
_INSTRUCTIONS = {"cp.async": (8, 0), ".tf32": (8, 0)}
#: The options that CuPy adds for every kernel.
_ADDED = "-ftz=true"


@dataclass(frozen=True)
class Compiled:
    """The assembler's report on one template instance for one architecture.

    Attributes
    ----------
    kernel : str
        The instance, as C++ writes it.
    registers : int
        Registers of a thread; at most 255.
    shared : int
        Bytes of static shared memory per block.
    stack, spills : int
        Bytes per thread; both mean memory traffic that is not in the source.
    """

    kernel: str
    architecture: str
    registers: int
    shared: int
    stack: int
    spills: int


class CompileError(RuntimeError):
    """NVRTC refuses a kernel; the message is its log."""


def files() -> list[Path]:
    """Every ``.cu`` file of the library."""
    return sorted(ROOT.glob("*/**/*.cu"))


def capability(architecture: str) -> tuple[int, int]:
    """``"sm_75"`` → (7, 5).

    Raises
    ------
    ValueError
        If this is not the name of an architecture.
    """
    digits = re.fullmatch(r"sm_(\d+)(\d)", architecture)
    if not digits:
        raise ValueError(f"no architecture {architecture!r}: write sm_ and the compute capability without its point, such as sm_75 for 7.5")
    return int(digits[1]), int(digits[2])


def least_capability(source: Source) -> tuple[int, int]:
    """The least compute capability of a GPU that has the instructions of a file; (0, 0) if every GPU has them."""
    text = without_comments(source.whole())
    return max((least for instruction, least in _INSTRUCTIONS.items() if instruction in text), default=(0, 0))


def architectures(source: Source) -> list[str]:
    """Those of `ARCHITECTURES` that a file is compiled for."""
    return [a for a in ARCHITECTURES if capability(a) >= least_capability(source)]


def compile_file(source: Source, architecture: str) -> list[Compiled]:
    """Compile all instances of a file with the options that it runs with.

    Raises
    ------
    CompileError
        If a kernel does not compile; the message is the compiler's log.
    ImportError
        If NVRTC is not installed.
    """
    names = [kernel.expression(i) for kernel in source.kernels.values() for i in kernel.instances()]
    with _compiling(source, names, architecture) as (nvrtc, program, log):
        return [_read_log(log, name, nvrtc.nvrtcGetLoweredName(program, name.encode())[1].decode(), architecture) for name in names]


def machine_code(source: Source, kernel: str, architecture: str) -> tuple[bytes, int]:
    """One instance of a file as a cubin, which ``nvdisasm`` can show, and its registers. Parameters and errors are those of `compile_file`.

    Parameters
    ----------
    kernel : str
        The instance, as C++ writes it, such as ``"conv2d_forward__tile<float>"``.
    """
    with _compiling(source, [kernel], architecture) as (nvrtc, program, log):
        _, size = nvrtc.nvrtcGetCUBINSize(program)
        cubin = b" " * size
        nvrtc.nvrtcGetCUBIN(program, cubin)
        lowered = nvrtc.nvrtcGetLoweredName(program, kernel.encode())[1].decode()
        return cubin, _read_log(log, kernel, lowered, architecture).registers


@contextmanager
def _compiling(source: Source, names: list[str], architecture: str) -> Iterator[tuple[Any, Any, str]]:
    """NVRTC, a program with these instances, and the compiler's log. The program is destroyed at the end."""
    nvrtc = _library()
    _, program = nvrtc.nvrtcCreateProgram(source.whole().encode(), source.path.name.encode(), 0, [], [])
    try:
        for name in names:
            nvrtc.nvrtcAddNameExpression(program, name.encode())
        options = [o.encode() for o in (*OPTIONS, f"-arch={architecture}", _ADDED, "--ptxas-options=-v")]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        text = b" " * size
        nvrtc.nvrtcGetProgramLog(program, text)
        log = text.decode().rstrip("\0")
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(f"{source.path.name} for {architecture}:\n{log}")
        yield nvrtc, program, log
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _read_log(log: str, name: str, lowered: str, architecture: str) -> Compiled:
    part = log[log.index(f"Compiling entry function '{lowered}'") :]

    def number(pattern: str) -> int:
        match = re.search(pattern, part.split("Compiling entry", 2)[1])
        return int(match[1]) if match else 0

    return Compiled(
        name,
        architecture,
        registers=number(r"Used (\d+) registers"),
        shared=number(r"(\d+) bytes smem"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
    )


# --- the committed table -------------------------------------------------------------------------------


def name_of(path: Path) -> str:
    """The name of a file in the table: ``conv2d/kernel.cu``."""
    return path.relative_to(ROOT).as_posix()


def fingerprint(source: Source) -> str:
    """A hash of what is compiled and how: the code without comments and blanks, the options, the architectures."""
    # The instances are listed in comments.
    instances = [kernel.expression(i) for kernel in source.kernels.values() for i in kernel.instances()]
    code = "".join(re.sub(r"^#line.*$", "", without_comments(source.whole()), flags=re.M).split())
    return hashlib.sha256(repr((code, instances, OPTIONS, _ADDED, architectures(source))).encode()).hexdigest()[:16]


def table(paths: list[Path], known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Compile the files; return for each its fingerprint, and a row for each instance and architecture.

    Parameters
    ----------
    paths : list of Path
    known : dict, optional
        An earlier table. Files with the same fingerprint, compiled by the same NVRTC, are taken from it.
    """
    version, found = _version(), {}
    old = known["kernels"] if known and known["nvrtc"] == version else {}
    for path in paths:
        source, name = read(path), name_of(path)
        entry = old.get(name, {})
        if entry.get("fingerprint") != fingerprint(source):
            rows = [asdict(c) for a in architectures(source) for c in compile_file(source, a)]
            entry = {"fingerprint": fingerprint(source), "instances": rows}
        found[name] = entry
    return {"nvrtc": version, "kernels": found}


def _library() -> Any:
    """NVRTC's Python module.

    Raises
    ------
    ImportError
        If the module is not installed, or the library itself is not.
    """
    from cuda.bindings import nvrtc

    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:  # numba-cuda brings the module alone
        raise ImportError("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12") from error
    return nvrtc


def _version() -> str:
    return ".".join(map(str, _library().nvrtcVersion()[1:]))


def _written(compiled: dict[str, Any]) -> str:
    """The table as JSON, with a line for each instance."""
    files = []
    for name, entry in compiled["kernels"].items():
        rows = ",\n  ".join(map(json.dumps, entry["instances"]))
        files.append(f' {json.dumps(name)}: {{"fingerprint": "{entry["fingerprint"]}", "instances": [\n  {rows}\n ]}}')
    return f'{{"nvrtc": {json.dumps(compiled["nvrtc"])}, "kernels": {{\n' + ",\n".join(files) + "\n}}\n"


def main(arguments: list[str]) -> int:
    """``[--json FILE] [PATH...]``: print the table, and write it to FILE. Code that is unchanged since FILE was written is not compiled."""
    target = Path(arguments[arguments.index("--json") + 1]) if "--json" in arguments else None
    chosen = [Path(a).resolve() for a in arguments if a.endswith(".cu")] or files()
    compiled = table(chosen, json.loads(target.read_text()) if target and target.exists() else None)
    rows = [row for entry in compiled["kernels"].values() for row in entry["instances"]]
    print(f"{'kernel':78} {'arch':6} {'registers':>9} {'shared':>7} {'stack':>6} {'spills':>6}")
    for c in rows:
        print(f"{c['kernel']:78} {c['architecture']:6} {c['registers']:9} {c['shared']:7} {c['stack']:6} {c['spills']:6}")
    if target:
        target.write_text(_written(compiled))
    return 1 if any(c["stack"] or c["spills"] for c in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
