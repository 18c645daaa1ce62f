"""The size of a program: its lines of code and, on a GPU, its registers and shared memory."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from minisegnet_kernels import registry
from minisegnet_kernels.cost import Cost

from .counted import watching


@dataclass(frozen=True)
class Launch:
    """One launch on a GPU: the template instance, its file, registers per thread and bytes of shared memory per block."""

    kernel: str
    path: Path | None
    registers: int
    shared: int


def of(call: Callable[[], Any], backend: str) -> dict[str, Any]:
    """Run a phase once and return its ``costs`` (operations, bytes), ``lines`` of code and ``kernels``.

    Parameters
    ----------
    backend : str
        The backend that is selected.
    """
    equations: dict[str, Cost] = {}

    def notice(equation: str, cost: Cost, start: Any, end: Any) -> None:
        equations[equation] = equations.get(equation, Cost()) + cost

    with watching(notice), launches() as seen:
        call()
    total = sum(equations.values(), Cost())
    return {
        "costs": [total.operations, total.bytes],
        "lines": lines_of(list(equations), backend, seen),
        "kernels": [
            {"name": launch.kernel, "registers": launch.registers, "shared": launch.shared}
            for launch in {launch.kernel: launch for launch in seen}.values()
        ],
    }


@contextmanager
def launches() -> Iterator[list[Launch]]:
    """Collect the launches on a GPU, of CUDA C++ through CuPy and of Numba's CUDA. The emulator and the simulator are not watched."""
    from minisegnet_kernels.cuda import gpu

    function, seen = gpu.function, []

    def watched(source: Any, expression: str) -> Callable:
        program = function(source, expression)

        def launch(grid: tuple, block: tuple, arguments: tuple, shared_mem: int = 0) -> None:
            seen.append(Launch(expression, source.path, program.num_regs, program.shared_size_bytes + shared_mem))
            program(grid, block, arguments, shared_mem=shared_mem)

        return launch

    def listen(program: Any, arguments: tuple) -> None:
        programs[id(program)] = program

    programs: dict[int, Any] = {}
    numba_cuda = _numba_cuda()
    if numba_cuda:
        numba_cuda._listeners.append(listen)
    try:
        with mock.patch.object(gpu, "function", watched):
            yield seen
    finally:
        if numba_cuda:
            numba_cuda._listeners.remove(listen)
            for program in programs.values():  # one value for each compiled signature; we do not know which ran, so take the largest
                registers, shared = program.get_regs_per_thread(), program.get_shared_mem_per_block()
                seen.append(Launch(program.py_func.__name__, None, max(registers.values()), max(shared.values())))


def _numba_cuda() -> Any:
    """The module that launches Numba's CUDA kernels, if this process uses it on a GPU."""
    import sys

    module = sys.modules.get("minisegnet_kernels.cuda.jit")
    return None if module is None or module.SIMULATED else module


def lines_of(equations: Sequence[str], backend: str, seen: Sequence[Launch] = ()) -> int:
    """Lines of code of a backend's programs for some equations. A rung of the ladder counts with its whole file and its headers."""
    texts = {}
    rungs = {launch.path for launch in seen if launch.path is not None and launch.path.parent.name == "ladder"}
    for equation in equations:
        source = registry.get(equation).source(backend)
        if source is not None and not (rungs and equation.startswith("conv2d.")):
            texts[source.text] = source.path.suffix
    return sum(code_lines(text, suffix) for text, suffix in texts.items()) + sum(map(file_lines, rungs))


@cache
def file_lines(path: Path) -> int:
    """Lines of code of a ``.cu`` file and the headers beside it. Headers that all kernels share are not counted."""
    text = path.read_text(encoding="utf-8")
    beside = [path.parent / name for name in re.findall(r'^#include "([^"/]+)"', text, re.M)]
    return code_lines(text, ".cu") + sum(file_lines(other) for other in beside)


def compiled(path: Path, kernels: Sequence[str], architecture: str = "sm_90") -> list[dict[str, Any]]:
    """Registers and static shared memory of template instances in a file, as NVRTC reports them; needs no GPU.

    Empty if NVRTC is not installed.
    """
    from minisegnet_kernels.cuda import nvrtc
    from minisegnet_kernels.cuda.source import read

    try:
        found = nvrtc.compile_file(read(path), architecture)
    except ImportError:
        return []
    return [{"name": c.kernel, "registers": c.registers, "shared": c.shared} for c in found if c.kernel in kernels]


def code_lines(text: str, suffix: str) -> int:
    """Lines that contain code; comments, blank lines and docstrings are not counted."""
    if suffix != ".py":
        bare = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
        return sum(bool(line.strip()) for line in bare.splitlines())
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {n for t in tokens if t.type not in silent for n in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        first = node.body[0] if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None else None
        if first is not None:
            lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)
