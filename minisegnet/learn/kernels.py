"""CUDA C++ written in a notebook and run on the CPU: every access is recorded, and a mistake is reported with its line.

>>> square = Kernel('''
... __global__ void square(Array<const float, 1> x, Array<float, 1> y) {
...     int i = thread_number();
...     if (i < x.shape[0]) y(i) = x(i) * x(i);
... }''')
>>> x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
>>> square(2, 3, x, y).accesses[0].line, y  # doctest: +SKIP
('notebook.cu:4', array([0., 1., 4., 9.], dtype=float32))

Without a C++ compiler no kernel can run. For the tutorials' kernels, `recorded` holds the results of earlier runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet_kernels import backends, conv2d, emulator
from minisegnet_kernels.conv2d.ladder import use_rung
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.cuda.source import COMMON, parse

from ..viz.style import INK, finish, new_figure
from . import recorded

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
        If there is not exactly one ``__global__`` function.

    Attributes
    ----------
    counters : dict
        The costs of the last run; see `minisegnet_kernels.emulator.Launched`.
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
        self.counters: dict[str, int] = {}

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
        minisegnet_kernels.emulator.CompilerError
            If there is no C++ compiler and no record of this run, or if the compiler rejects the kernel.
        """

        def run() -> recorded.Seen:
            with emulator.tracing() as traced:
                counters = self.count(blocks, threads, *arrays, schedule=schedule)
            return recorded.Seen(traced[0], counters, list(arrays))

        found = recorded.seen(f"{self.text} {blocks} {threads} {schedule}", arrays, run)
        for mine, after in zip(arrays, found.arrays, strict=True):
            if mine is not after:
                mine[...] = after
        self.counters = found.counters
        return found.traced

    def count(
        self, blocks: int | tuple[int, ...], threads: int | tuple[int, ...], *arrays: Any, schedule: str = "forward"
    ) -> dict[str, int]:
        """Run it and return its counters alone, which is faster than a trace. Errors are those of a call."""
        with emulator.options(schedule=schedule, watched=True), emulator.launches() as seen:
            self._module.launch(self.name, np.atleast_1d(blocks).tolist(), np.atleast_1d(threads).tolist(), *arrays)
        return seen[0].counters

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


def trace_forward(rung: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, **options: Any) -> tuple[np.ndarray, Any]:
    """Run a rung of the library's own convolution in the emulator.

    Parameters
    ----------
    rung : str
        Its name, such as ``"direct"``.
    x, w, b : arrays, float32
        The arguments of ``conv2d.forward``.
    **options
        Its options, in the form that the kernels take.

    Returns
    -------
    y : array
    traced : minisegnet_kernels.emulator.Traced
        Every access that a thread made.

    Raises
    ------
    minisegnet_kernels.emulator.CompilerError
        If there is no C++ compiler and no record of this run.
    """

    def run() -> recorded.Seen:
        with backends.use("cuda"), use_rung(rung), emulator.launches() as seen, emulator.tracing() as traced:
            y = conv2d.forward(x, w, b, **options)
        return recorded.Seen(traced[0], seen[0].counters, [y])

    found = recorded.seen(f"conv2d.forward {rung} {sorted(options.items())}", (x, w, b), run)
    return found.arrays[0], found.traced
