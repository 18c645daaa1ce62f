"""CUDA C++ written in a notebook, run on the CPU: every access is seen, and a mistake is named with its line.

>>> square = Kernel('''
... __global__ void square(Array<const float, 1> x, Array<float, 1> y) {
...     int i = thread_number();
...     if (i < x.shape[0]) y(i) = x(i) * x(i);
... }''')
>>> x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
>>> square(2, 3, x, y).accesses[0].line, y  # doctest: +SKIP
('notebook.cu:4', array([0., 1., 4., 9.], dtype=float32))
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from minisegnet_kernels import backends, emulator
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.cuda.source import COMMON, parse

from ..viz.style import INK, finish, new_figure
from .verdict import Grid, Verdict, close

_HEAD = '#include "common.cuh"\n'


class Kernel:
    """A kernel whose source is a string.

    Parameters
    ----------
    text : str
        One ``__global__`` function, and its helpers. `common.cuh` is included: ``Array``, ``thread_number()``, ``SHARED``.

    Raises
    ------
    ValueError
        If there is no ``__global__`` function.
    """

    def __init__(self, text: str):
        self.text = text.strip("\n")
        path = COMMON.parent / "notebook.cu"
        self._module = Module(path)
        source = parse(path, _HEAD + self.text + "\n")
        if len(source.kernels) != 1:
            raise ValueError(f"the text has {len(source.kernels)} __global__ functions; one is expected")
        self._module.__dict__["source"] = source
        (self.name,) = source.kernels

    def __call__(self, blocks: int | tuple[int, ...], threads: int | tuple[int, ...], *arrays: Any, schedule: str = "forward") -> Any:
        """Run it: `blocks` blocks of `threads` threads.

        Returns
        -------
        minisegnet_kernels.emulator.Traced
            Every access that a thread made.

        Raises
        ------
        minisegnet_kernels.emulator.KernelError
            If the kernel races, reads or writes outside of its arrays, or has a barrier that not every thread reaches.
        """
        with emulator.options(schedule=schedule), emulator.tracing() as launches:
            self._module.launch(self.name, np.atleast_1d(blocks).tolist(), np.atleast_1d(threads).tolist(), *arrays)
        return launches[0]

    def line(self, number: int) -> str:
        """A line of the text, counted as in messages."""
        lines = (_HEAD + self.text).splitlines()
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def draw(traced: Any, array: str, size: int, title: str = "") -> Any:
    """Which thread touches which element of an array: a row for each thread, blue where it reads, red where it writes.

    Parameters
    ----------
    traced : Traced
        From a call of a `Kernel`.
    array : str
        The kernel's parameter, or ``"shared 0"``.
    size : int
        Elements of the array, of 4 bytes each.
    title : str

    Returns
    -------
    PIL.Image.Image
    """
    per_block = int(np.prod(traced.block))
    rows = per_block * int(np.prod(traced.grid))
    field = np.zeros((rows, size))
    for access in traced.accesses:
        if access.array == array:
            field[access.block * per_block + access.thread, access.offset // 4] = 1 if access.write else -1
    figure = new_figure(0.24 * size + 1.3, 0.19 * rows + 0.9)
    figure.set_dpi(100)
    axes = figure.add_axes(
        (0.9 / (0.24 * size + 1.3), 0.15 / (0.19 * rows + 0.9), 0.24 * size / (0.24 * size + 1.3), 0.19 * rows / (0.19 * rows + 0.9))
    )
    axes.imshow(field, cmap="RdBu_r", vmin=-1.5, vmax=1.5, aspect="auto")
    axes.set_xticks(range(0, size, max(1, size // 12)))
    axes.set_yticks(
        range(0, rows, max(1, per_block // 2)), [f"{r // per_block}.{r % per_block}" for r in range(0, rows, max(1, per_block // 2))]
    )
    axes.xaxis.tick_top()
    axes.set_ylabel("block.thread", color=INK)
    axes.set_title(title or f"elements of {array}", fontsize=10, color=INK)
    for k in range(size + 1):
        axes.axvline(k - 0.5, color="#dddddd", linewidth=0.4)
    for k in range(rows + 1):
        axes.axhline(k - 0.5, color="#555555" if k % per_block == 0 else "#dddddd", linewidth=0.9 if k % per_block == 0 else 0.4)
    return finish(figure, None)


# --- exercises ---------------------------------------------------------------------------------------


def _square(rng: np.random.Generator, size: int) -> tuple[list[np.ndarray], np.ndarray, tuple, tuple]:
    x = rng.integers(-9, 10, size).astype(np.float32)
    return [x, np.full(size, np.nan, np.float32)], x * x, (-(-size // 8),), (8,)


def _pool(rng: np.random.Generator, size: int) -> tuple[list[np.ndarray], np.ndarray, tuple, tuple]:
    count = 4 * size * (size + 1)
    x = (rng.permutation(count) - 0.7 * count).astype(np.float32).reshape(2 * size, 2 * size + 2)  # all differ, most are negative
    y = x.reshape(size, 2, size + 1, 2).max(axis=(1, 3))
    return [x, np.full(y.shape, np.nan, np.float32)], y, (-(-y.shape[1] // 4), -(-y.shape[0] // 2)), (4, 2)


def _turned(rng: np.random.Generator, size: int) -> tuple[list[np.ndarray], np.ndarray, tuple, tuple]:
    x = rng.integers(-9, 10, 8 * size).astype(np.float32)
    return [x, np.full(8 * size, np.nan, np.float32)], x.reshape(-1, 8)[:, ::-1].reshape(-1), (size,), (8,)


_EXERCISES: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "square": (_square, (8, 1, 13, 21)),
    "pool": (_pool, (1, 2, 3)),
    "turned": (_turned, (1, 3)),
}


def check_kernel(exercise: str, text: str) -> Verdict:
    """Run a reader's kernel on inputs that no block divides evenly, with its threads in several orders.

    Parameters
    ----------
    exercise : {"square", "pool", "turned"}
        y = x·x with blocks of 8 threads; the largest of each tile of 2 × 2, with blocks of 4 × 2 threads, one for each output; every 8
        elements in reverse order, by way of shared memory.
    text : str
        The source. A kernel without a statement is "not yet" right.

    Returns
    -------
    Verdict
        It names the line of a race, of an access out of bounds, and of a barrier that not every thread reaches.
    """
    if exercise not in _EXERCISES:
        raise ValueError(f"no kernel exercise {exercise!r}; there are {', '.join(_EXERCISES)}")
    subject = f"kernel {exercise}"
    body = re.sub(r"//[^\n]*", "", text[text.find("{") + 1 : text.rfind("}")])
    if not body.strip():
        return Verdict(subject, "not yet", ["not yet: the kernel has no statement"])
    if not backends.available()["cuda"]:
        return Verdict(subject, "not yet", ["not checked: there is no C++ compiler here to run it with"])
    kernel = Kernel(text)
    build, sizes = _EXERCISES[exercise]
    tried = 0
    for size in sizes:
        for schedule in ("forward", "reverse", "random"):
            arrays, expected, blocks, threads = build(np.random.default_rng(size), size)
            shown = f"{arrays[0].size} elements" if expected.ndim == 1 else f"an image of {arrays[0].shape[0]} × {arrays[0].shape[1]}"
            where = f"for {shown} and {int(np.prod(blocks))} blocks of {' × '.join(map(str, threads))} threads, in the order {schedule!r}"
            try:
                kernel(blocks, threads, *arrays, schedule=schedule)
            except emulator.KernelError as error:
                return Verdict(subject, "wrong", [f"{where}:", str(error), *_quoted(kernel, str(error))])
            except emulator.CompilerError as error:
                return Verdict(subject, "wrong", ["the compiler says:", *str(error).splitlines()[:6]])
            actual = arrays[1]
            tried += 1
            if not close(actual, expected).all():
                grid = Grid("y", ("i", "j")[: expected.ndim], expected, actual)
                hint = (
                    ["NaN: an output that no thread wrote, or shared memory that was read before it was written"]
                    if np.isnan(actual).any()
                    else []
                )
                return Verdict(subject, "wrong", [where, f"first wrong value: {grid.sentence()}", *hint], grid)
    return Verdict(subject, "right", [f"right in {tried} runs, without a race and without an access out of bounds"])


def _quoted(kernel: Kernel, message: str) -> list[str]:
    """The lines that a message names."""
    numbers = dict.fromkeys(int(n) for n in re.findall(r"notebook\.cu:(\d+)", message))
    return [f"line {n}: {kernel.line(n)}" for n in numbers if kernel.line(n)]
