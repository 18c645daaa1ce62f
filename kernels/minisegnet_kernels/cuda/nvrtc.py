"""Compile every kernel for real GPUs on a machine that has none: ``python -m minisegnet_kernels.cuda.nvrtc``.

NVRTC is NVIDIA's compiler as a library; it needs no driver. It compiles every template instance to machine code, and the
assembler reports registers, shared memory and two numbers that must be zero: spills (values that found no register) and
the stack frame (an array indexed at run time).

Needs ``pip install cuda-bindings nvidia-cuda-nvrtc-cu12``, which the extra ``test`` brings.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from .source import Source, read

#: What must compile: Ampere and Hopper.
ARCHITECTURES = ("sm_80", "sm_90")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Compiled:
    """The assembler's report on one template instance for one architecture.

    Attributes
    ----------
    kernel : str
        The instance, as C++ writes it.
    registers : int
        Of a thread; up to 255.
    shared : int
        Bytes a block, without dynamic shared memory.
    stack, spills : int
        Bytes a thread; both mean memory traffic that is not in the source.
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


def compile_file(source: Source, architecture: str) -> list[Compiled]:
    """Compile all instances of a file.

    Raises
    ------
    CompileError
        With the compiler's log, if it does not compile.
    ImportError
        If NVRTC is not installed.
    """
    from cuda.bindings import nvrtc

    names = [kernel.expression(i) for kernel in source.kernels.values() for i in kernel.instances()]
    _, program = nvrtc.nvrtcCreateProgram(source.whole().encode(), source.path.name.encode(), 0, [], [])
    try:
        for name in names:
            nvrtc.nvrtcAddNameExpression(program, name.encode())
        options = [f"-arch={architecture}".encode(), b"-std=c++17", b"-ftz=true", b"--ptxas-options=-v"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        text = b" " * size
        nvrtc.nvrtcGetProgramLog(program, text)
        log = text.decode().rstrip("\0")
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(f"{source.path.name} for {architecture}:\n{log}")
        return [_read_log(log, name, nvrtc.nvrtcGetLoweredName(program, name.encode())[1].decode(), architecture) for name in names]
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


def _version() -> str:
    from cuda.bindings import nvrtc

    return ".".join(map(str, nvrtc.nvrtcVersion()[1:]))


def table(paths: list[Path]) -> dict[str, list[dict]]:
    """What was compiled, by file: one entry for each instance and architecture."""
    return {str(path.relative_to(ROOT)): [asdict(c) for a in ARCHITECTURES for c in compile_file(read(path), a)] for path in paths}


def main(arguments: list[str]) -> int:
    """``[--json FILE] [PATH...]``: print the table, and write it."""
    target = arguments[arguments.index("--json") + 1] if "--json" in arguments else None
    chosen = [Path(a).resolve() for a in arguments if a.endswith(".cu")] or files()
    compiled = table(chosen)
    print(f"{'kernel':78} {'arch':6} {'registers':>9} {'shared':>7} {'stack':>6} {'spills':>6}")
    for entries in compiled.values():
        for c in entries:
            print(f"{c['kernel']:78} {c['architecture']:6} {c['registers']:9} {c['shared']:7} {c['stack']:6} {c['spills']:6}")
    if target:
        rows = {name: "[\n  " + ",\n  ".join(map(json.dumps, entries)) + "\n ]" for name, entries in compiled.items()}
        body = ",\n".join(f" {json.dumps(name)}: {text}" for name, text in rows.items())
        Path(target).write_text(f'{{"nvrtc": {json.dumps(_version())}, "kernels": {{\n{body}\n}}}}\n')
    return 1 if any(c["stack"] or c["spills"] for entries in compiled.values() for c in entries) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
