"""``check_kernel``: the exercises on kernels, each on inputs that no block divides evenly, with a score from the emulator's counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minisegnet_kernels import emulator

from . import recorded
from .kernels import Kernel
from .verdict import Grid, Verdict, close

#: Arrays (the last one for the result), the right result, blocks, threads.
_Case = tuple[list[np.ndarray], np.ndarray, tuple[int, ...], tuple[int, ...]]


def _square(rng: np.random.Generator, size: int) -> _Case:
    x = rng.integers(-9, 10, size).astype(np.float32)
    return [x, np.full(size, np.nan, np.float32)], x * x, (-(-size // 8),), (8,)


def _pool(rng: np.random.Generator, size: int) -> _Case:
    count = 4 * size * (size + 1)
    x = (rng.permutation(count) - 0.7 * count).astype(np.float32).reshape(2 * size, 2 * size + 2)  # all differ, most are negative
    y = x.reshape(size, 2, size + 1, 2).max(axis=(1, 3))
    return [x, np.full(y.shape, np.nan, np.float32)], y, (-(-y.shape[1] // 4), -(-y.shape[0] // 2)), (4, 2)


def _turned(rng: np.random.Generator, size: int) -> _Case:
    x = rng.integers(-9, 10, 8 * size).astype(np.float32)
    return [x, np.full(8 * size, np.nan, np.float32)], x.reshape(-1, 8)[:, ::-1].reshape(-1), (size,), (8,)


def _sum_of_three(rng: np.random.Generator, size: int) -> _Case:
    x = rng.integers(-9, 10, 8 * size + 2).astype(np.float32)
    return [x, np.full(8 * size, np.nan, np.float32)], x[:-2] + x[1:-1] + x[2:], (size,), (8,)


def _transposed(rng: np.random.Generator, size: int) -> _Case:
    x = rng.integers(-9, 10, (32 * size, 32)).astype(np.float32)
    return [x, np.full(x.shape[::-1], np.nan, np.float32)], x.T, (1, size), (32, 8)


def _few_reads(counters: dict[str, int], case: _Case) -> str:
    allowed = 10 * case[2][0]
    made = counters["global_reads"]
    return f"right, but it reads x {made} times; 10 reads for each block are enough, {allowed} in all" if made > allowed else ""


def _no_conflicts(counters: dict[str, int], case: _Case) -> str:
    turns, least, reads = counters["shared_wavefronts"], counters["least_wavefronts"], counters["global_reads"]
    if not turns:
        return "right, but it does not use the shared memory, which this exercise is about"
    if reads > case[1].size:
        return f"right, but it reads x {reads} times; {case[1].size} reads are enough, and the result comes from shared memory"
    return f"right, but shared memory takes {turns} turns where {least} would do" if turns > least else ""


def _nothing(counters: dict[str, int], case: _Case) -> str:
    return ""


@dataclass(frozen=True)
class _Exercise:
    build: Callable[[np.random.Generator, int], _Case]
    sizes: tuple[int, ...]
    missed: Callable[[dict[str, int], _Case], str] = _nothing  # what a right result still lacks


_EXERCISES = {
    "square": _Exercise(_square, (8, 1, 13, 21)),
    "pool": _Exercise(_pool, (1, 5, 3)),
    "turned": _Exercise(_turned, (1, 3)),
    "sum_of_three": _Exercise(_sum_of_three, (1, 3), _few_reads),
    "transposed": _Exercise(_transposed, (1, 2), _no_conflicts),
}


def check_kernel(exercise: str, text: str) -> Verdict:
    """Run a reader's kernel on several sizes, with its threads in several orders.

    Parameters
    ----------
    exercise : {"square", "pool", "turned", "sum_of_three", "transposed"}
        | square: y[i] = x[i]², in blocks of 8 threads.
        | pool: the largest of each tile of 2 × 2, in blocks of 4 × 2 threads, one for each output.
        | turned: each group of 8 elements in reverse order, through shared memory, in blocks of 8 threads.
        | sum_of_three: y[i] = x[i] + x[i + 1] + x[i + 2], in blocks of 8 threads, with at most 10 reads of x for each block.
        | transposed: y[j, i] = x[i, j] for tiles of 32 × 32, in blocks of 32 × 8 threads, without a bank conflict.
    text : str
        The source. A kernel that only declares arrays is "not yet" right.

    Returns
    -------
    Verdict
        It names the line of a race, of an access out of bounds, and of a barrier that not every thread reaches. For a right kernel it gives
        the number of reads and writes of memory, and of turns of shared memory.

    Raises
    ------
    ValueError
        If there is no such exercise, or the text does not have exactly one ``__global__`` function.
    """
    if exercise not in _EXERCISES:
        raise ValueError(f"no kernel exercise {exercise!r}; there are {', '.join(_EXERCISES)}")
    subject = f"kernel {exercise}"
    body = re.sub(r"//[^\n]*|SHARED\([^)]*\);", "", text[text.find("{") + 1 : text.rfind("}")])
    if not body.strip():
        return Verdict(subject, "not yet", ["not yet: the kernel has no statement"])
    return recorded.verdict(f"{subject}\n{text}", lambda: _judged(subject, _EXERCISES[exercise], Kernel(text)))


def _judged(subject: str, exercise: _Exercise, kernel: Kernel) -> Verdict:
    tried = 0
    for size in exercise.sizes:
        for schedule in ("forward", "reverse", "random"):
            case = exercise.build(np.random.default_rng(size), size)
            arrays, expected, blocks, threads = case
            count = int(np.prod(blocks))
            where = f"for {_shape(arrays[0])} and {count} block{'s' * (count > 1)} of {' × '.join(map(str, threads))} threads, in the order {schedule!r}"
            try:
                counters = kernel.count(blocks, threads, *arrays, schedule=schedule)
            except emulator.KernelError as error:
                return Verdict(subject, "wrong", [f"{where}:", str(error), *_quoted(kernel, str(error))])
            except emulator.CompilerError as error:
                return Verdict(subject, "wrong", ["the compiler says:", *str(error).splitlines()[:6]])
            actual = arrays[-1]
            tried += 1
            if not close(actual, expected).all():
                grid = Grid("y", ("i", "j")[: expected.ndim], expected, actual)
                unwritten = "NaN: an output that no thread wrote, or shared memory that was read before it was written"
                hint = [unwritten] if np.isnan(actual).any() else []
                return Verdict(subject, "wrong", [where, f"first wrong value: {grid.sentence()}", *hint], grid)
            if missed := exercise.missed(counters, case):
                return Verdict(subject, "wrong", [where, missed])
    lines = [f"right in {tried} runs, without a race and without an access out of bounds", f"{_shape(arrays[0])}: {_score(counters)}"]
    return Verdict(subject, "right", lines)


def _shape(x: np.ndarray) -> str:
    return f"{x.size} elements" if x.ndim == 1 else f"an image of {x.shape[0]} × {x.shape[1]}"


def _score(counters: dict[str, int]) -> str:
    """The cost of a run: ``24 reads and 24 writes of memory; 6 turns of shared memory, 6 would do``."""
    told = f"{counters['global_reads']} reads and {counters['global_writes']} writes of memory"
    if counters["shared_wavefronts"]:
        told += f"; {counters['shared_wavefronts']} turns of shared memory, {counters['least_wavefronts']} would do"
    return told


def _quoted(kernel: Kernel, message: str) -> list[str]:
    """The lines that a message names."""
    numbers = dict.fromkeys(int(n) for n in re.findall(r"notebook\.cu:(\d+)", message))
    return [f"line {n}: {kernel.line(n)}" for n in numbers if kernel.line(n)]
