"""``check_count``: exercises in which a reader predicts what a kernel will cost, before it is counted.

>>> check_count("turns", lambda words: 1)
✗ turns: wrong for the words 0, 1, 2, 3, 32: expected 2, got 1
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .verdict import Verdict, number


def turns(words: Sequence[int]) -> int:
    """The turns that shared memory takes to serve a warp; `words` holds, for each thread, the number of the 4-byte word that it reads.

    Word k lies in bank k mod 32. In each turn a bank delivers one word, to all threads that read it.
    """
    return max(len({int(k) for k in words if k % 32 == bank}) for bank in range(32))


def tile_bytes(size: int, channels: int, outputs: int, rows: int, columns: int, wide: int) -> int:
    """Bytes that the tiled convolution requests from memory.

    A 3 × 3 kernel with padding 1, on an image of `size` × `size`, from `channels` to `outputs` channels. A block computes a tile of `rows`
    × `columns` outputs of `wide` channels. It reads the cells under its windows that lie inside the image, and its weights, once each.
    Every output reads its bias and is written.
    """
    numbers = 2 * outputs * size * size
    for i in range(0, size, rows):
        for j in range(0, size, columns):
            for o in range(0, outputs, wide):
                inside = sum(0 <= k < size and 0 <= l < size for k in range(i - 1, i + rows + 1) for l in range(j - 1, j + columns + 1))
                numbers += channels * inside + 9 * channels * min(wide, outputs - o)
    return 4 * numbers


def limit(operations: float, moved: float, peak: float, bandwidth: float) -> float:
    """The highest rate, in operations per second, of a program that does `operations` operations and moves `moved` bytes."""
    return min(peak, operations / moved * bandwidth)


def receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    """Pixels in a row on which one output of a chain of layers depends; `layers` holds (kernel size, stride), the first layer first."""
    reads = 1
    for kernel, stride in reversed(layers):
        reads = (reads - 1) * stride + kernel
    return reads


def weighted_mean(surprise: np.ndarray, w: np.ndarray) -> float:
    """The mean of `surprise`, in which each value counts as often as its weight says."""
    return float((surprise * w).sum() / w.sum())


@dataclass(frozen=True)
class _Count:
    """An exercise: the right function, its inputs, a function that describes an input, and wrong functions, each with its mistake."""

    right: Callable[..., float]
    cases: tuple[tuple, ...]
    told: Callable[..., str]
    mistakes: tuple[tuple[str, Callable[..., float]], ...]


def _banks(words: Sequence[int]) -> np.ndarray:
    return np.bincount(np.asarray(words) % 32, minlength=32)


def _tile(
    size: int,
    channels: int,
    outputs: int,
    rows: int,
    columns: int,
    wide: int,
    *,
    halo: int = 1,
    padding: bool = False,
    once: bool = False,
    weights: int = 9,
    rest: int = 2,
) -> int:
    """`tile_bytes` in closed form, with slips."""

    def cells(tile: int) -> int:
        starts = range(0, size, tile)
        if padding:
            return len(starts) * (tile + 2 * halo)
        return sum(min(size, s + tile + halo) - max(0, s - halo) for s in starts)

    tiles = -(-size // rows) * -(-size // columns)
    x = channels * cells(rows) * cells(columns) * (1 if once else -(-outputs // wide))
    return 4 * (x + weights * channels * outputs * tiles + rest * outputs * size * size)


_WARP = tuple(range(32))
_TURNS: tuple[tuple, ...] = (
    ((0, 1, 2, 3, 32),),
    (_WARP,),
    ((7,) * 32,),
    (tuple(2 * k for k in _WARP),),
    (tuple(32 * k for k in _WARP),),
    (tuple(33 * k for k in _WARP),),
    (tuple(k // 4 * 32 for k in _WARP),),
    (tuple(16 * k for k in _WARP),),
    ((5, 37, 69, 5, 37, 101, 6, 38),),
)
_TILES = ((8, 1, 1, 8, 8, 1), (4, 2, 3, 2, 2, 1), (16, 3, 8, 8, 16, 4), (16, 16, 64, 8, 32, 4), (20, 5, 10, 8, 32, 4), (13, 2, 5, 4, 8, 4))
_LIMITS = ((1e9, 1e9, 67e12, 3.35e12), (4.7e6, 119040.0, 67e12, 3.35e12), (4.7e6, 1.7e7, 67e12, 3.35e12), (2e9, 1e8, 8e12, 3e11))

_LAYERS = (
    ([(3, 1)],),
    ([(3, 1), (3, 1)],),
    ([(2, 2), (3, 1)],),
    ([(3, 1), (3, 1), (2, 2), (3, 1), (3, 1)],),
    ([(5, 1), (2, 2), (3, 2), (7, 1)],),
    ([(1, 1), (3, 2), (3, 2), (3, 2), (1, 1)],),
)
_WEIGHTED = tuple((np.array(a, float), np.array(b, float)) for a, b in (
    ([1, 2, 3], [1, 1, 4]),
    ([[0.5, 2], [0.25, 1]], [[1, 3], [0, 2]]),
    ([4, 0, 0.5, 1], [0.5, 0.25, 0, 2]),
))  # fmt: skip


def _field(layers: Sequence[tuple[int, int]], *, reach: int = 1, late: bool = False, jump: bool = True) -> int:
    """`receptive_field` from the first layer on, with slips."""
    field, step = 1, 1
    for kernel, stride in layers:
        step *= stride if late else 1
        field += (kernel - reach) * (step if jump else 1)
        step *= 1 if late else stride
    return field


_COUNTS = {
    "receptive_field": _Count(
        receptive_field,
        _LAYERS,
        lambda layers: f"the layers {', '.join(f'{k} × {k} with stride {s}' for k, s in layers)}",
        (
            ("strides are not used", lambda layers: _field(layers, jump=False)),
            ("a kernel of size k adds k, not k − 1", lambda layers: _field(layers, reach=0)),
            (
                "the stride of a layer counts for the layer itself, not only for those after it",
                lambda layers: _field(layers, late=True),
            ),
            ("the layers are taken in the reverse order", lambda layers: _field(layers[::-1])),
            ("the sizes are multiplied", lambda layers: int(np.prod([k for k, _ in layers]))),
            ("the sizes are added", lambda layers: sum(k for k, _ in layers)),
            ("the first pixel is missing: the sum begins at 1", lambda layers: _field(layers) - 1),
            ("only the last layer is looked at", lambda layers: layers[-1][0]),
        ),
    ),
    "weighted_mean": _Count(
        weighted_mean,
        _WEIGHTED,
        lambda surprise, w: f"surprise {surprise.tolist()} and w {w.tolist()}",
        (
            ("the weights are not used", lambda a, w: a.mean()),
            ("the sum is divided by the number of pixels, not by the sum of the weights", lambda a, w: (a * w).mean()),
            ("the division is missing", lambda a, w: (a * w).sum()),
            ("the weights are multiplied by their own sum", lambda a, w: (a * w).sum() * w.sum()),
            ("the mean of the losses is multiplied by the mean of the weights", lambda a, w: a.mean() * w.mean()),
            ("pixels are divided by their weights", lambda a, w: (a / np.where(w, w, 1)).sum() / w.sum()),
        ),
    ),
    "turns": _Count(
        turns,
        _TURNS,
        lambda words: f"the words {', '.join(map(str, words[:5]))}{', …' * (len(words) > 5)}",
        (
            ("threads that want the same word are served one after another", lambda words: int(_banks(words).max())),
            ("the banks that are used are counted, not the words of the busiest bank", lambda words: int((_banks(words) > 0).sum())),
            ("there are 16 banks", lambda words: max(len({k for k in words if k % 16 == b}) for b in range(16))),
            ("all different words are served one after another", lambda words: len(set(words))),
            ("the words are spread evenly over the banks", lambda words: -(-len(set(words)) // 32)),
        ),
    ),
    "tile_bytes": _Count(
        tile_bytes,
        _TILES,
        lambda size, channels, outputs, rows, columns, wide: (
            f"{channels} → {outputs} channels on {size} × {size}, tiles of {rows} × {columns}, {wide} output channel{'s' * (wide > 1)} a block"
        ),
        (
            ("numbers are counted, not their bytes", lambda *a: _tile(*a) // 4),
            ("the halo is missing", lambda *a: _tile(*a, halo=0)),
            ("cells outside of the image are counted too", lambda *a: _tile(*a, padding=True)),
            ("x is read once, not once for each group of output channels", lambda *a: _tile(*a, once=True)),
            ("the weights are missing", lambda *a: _tile(*a, weights=0)),
            ("the weights are read once, not once for each tile", lambda *a: _tile(*a) - 36 * a[1] * a[2] * (_tiles(*a) - 1)),
            ("the kernel has one weight, not 9", lambda *a: _tile(*a, weights=1)),
            ("the bias is not read", lambda *a: _tile(*a, rest=1)),
            ("neither the bias nor y is counted", lambda *a: _tile(*a, rest=0)),
        ),
    ),
    "limit": _Count(
        limit,
        _LIMITS,
        lambda operations, moved, peak, bandwidth: f"{operations:g} operations, {moved:g} bytes, peak {peak:g}, bandwidth {bandwidth:g}",
        (
            ("the larger limit is taken, not the smaller one", lambda o, m, p, b: max(p, o / m * b)),
            ("the limit of arithmetic is missing", lambda o, m, p, b: o / m * b),
            ("the limit of memory is missing", lambda o, m, p, b: p),
            ("the intensity is upside down: it is operations for each byte", lambda o, m, p, b: min(p, m / o * b)),
            ("seconds are returned, not operations per second", lambda o, m, p, b: max(o / p, m / b)),
        ),
    ),
}


def _tiles(size: int, channels: int, outputs: int, rows: int, columns: int, wide: int) -> int:
    return -(-size // rows) * -(-size // columns)


def check_count(exercise: str, function: Callable[..., Any]) -> Verdict:
    """Compare a reader's prediction with the right count, on several inputs.

    Parameters
    ----------
    exercise : {"turns", "tile_bytes", "limit", "receptive_field", "weighted_mean"}
        The function of this name in this module says what to compute.
    function : callable
        It takes the same arguments, by position, and returns a number.

    Returns
    -------
    Verdict
        It names the first input with a wrong count, and the mistake if it is a known one.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    if exercise not in _COUNTS:
        raise ValueError(f"no exercise {exercise!r}; there are {', '.join(_COUNTS)}")
    found = _COUNTS[exercise]
    names = ", ".join(inspect.signature(found.right).parameters)
    made: list[float] = []
    for case in found.cases:
        try:
            value = function(*case)
        except NotImplementedError:
            value = None
        except Exception as error:
            return Verdict(
                exercise, "wrong", [f"for {found.told(*case)} it raised {type(error).__name__}: {error}", f"it is called with ({names})"]
            )
        if value is None or value is Ellipsis:
            return Verdict(exercise, "not yet", [f"not yet: the function returns {value}"])
        if np.ndim(value) or not isinstance(value, int | float | np.number):
            return Verdict(exercise, "wrong", [f"it has to return one number, and it returns {value!r}"])
        made.append(float(value))
    expected = [float(found.right(*case)) for case in found.cases]
    wrong = [k for k, (a, b) in enumerate(zip(made, expected, strict=True)) if not np.isclose(a, b, rtol=1e-6, atol=0)]
    if not wrong:
        return Verdict(exercise, "right", [f"right for {len(expected)} inputs"])
    first = wrong[0]
    same = lambda other: np.allclose([float(other(*case)) for case in found.cases], made, rtol=1e-6, atol=0)
    mistake = next((sentence for sentence, other in found.mistakes if same(other)), "")
    return Verdict(
        exercise,
        "wrong",
        [f"wrong for {found.told(*found.cases[first])}: expected {number(expected[first])}, got {number(made[first])}"],
        mistake=mistake,
    )
