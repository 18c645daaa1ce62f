"""An image cut into overlapping tiles, and their scores blended into one map: plain NumPy.

A network needs memory for every pixel that it sees at once. So a large image is cut into tiles, and the
scores of pixels that several tiles cover are averaged. A network knows least at the border of a tile, where
half of the neighbourhood is missing: there its weight is smallest. The weights are Gaussian,

    w(i, j) = g(i) · g(j),    g(i) = exp(−½ ((i − c) / σ)²),    c the centre, σ = tile / 8,

and so is their sum over all tiles a product: it is divided out row by row and column by column, before
anything is added, and no second map is needed. The result comes out in strips of complete rows, while
only one row of tiles is in memory.

Source: F. Isensee et al., "nnU-Net", Nature Methods 18, 2021 (positions, Gaussian weights).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Interval = tuple[int, int]  # start, stop


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Parameters
    ----------
    tile : int
        Rows and columns of a tile; the last one of a row may have up to ``align − 1`` more.
    overlap : float
        The share of a tile that its neighbour covers too, at least; in [0, 1).
    margin : int
        Pixels at the border of a tile, inside the image, that count for nothing. If the scores of a pixel
        depend on no other one further than this away, and `align` fits the network, blending changes nothing:
        the scores are those of the whole image.
    align : int
        Tiles start at multiples of it. A network that halves its images k times treats positions that differ
        by multiples of 2ᵏ alike, and no others.

    Raises
    ------
    ValueError
        If a number is out of range, or margin and overlap leave no way to go on from one tile to the next.
    """

    tile: int = 512
    overlap: float = 0.25
    margin: int = 0
    align: int = 16

    def __post_init__(self) -> None:
        if self.tile < 1 or self.align < 1 or self.margin < 0 or not 0 <= self.overlap < 1:
            raise ValueError(
                f"a tiling needs tile ≥ 1, align ≥ 1, margin ≥ 0 and 0 ≤ overlap < 1; got tile = {self.tile}, "
                f"align = {self.align}, margin = {self.margin}, overlap = {self.overlap}"
            )
        if self.step < 1:
            raise ValueError(
                f"tiles of {self.tile} with a margin of {self.margin} and an overlap of {self.overlap:g}, at multiples of {self.align}, "
                f"cannot advance: take larger tiles (above {2 * self.margin + self.align}), or less overlap"
            )

    @property
    def step(self) -> int:
        """The largest distance from one tile to the next."""
        free = min(int(self.tile * (1 - self.overlap)), self.tile - 2 * self.margin)
        return free // self.align * self.align

    def along(self, length: int) -> list[Interval]:
        """Evenly spaced intervals that cover `length` pixels.

        For 110 pixels, tiles of 64, half of them overlapping and ``align=1``, they start at 0, 23 and 46.
        """
        last = max(length - self.tile, 0) // self.align * self.align
        gaps = -(-last // self.step)
        starts = [k * last // max(gaps, 1) // self.align * self.align for k in range(gaps + 1)]
        return [*((start, start + self.tile) for start in starts[:-1]), (last, length)]

    def weights(self, length: int) -> list[np.ndarray]:
        """The weights of each interval of `along` along one axis, float64; at every pixel they sum up to 1."""
        intervals = self.along(length)
        total = np.zeros(length)
        found = []
        for start, stop in intervals:
            n = stop - start
            w = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2)  # e⁻⁸ at the ends: small, but never 0
            w[: self.margin if start > 0 else 0] = 0
            w[n - self.margin if stop < length else n :] = 0
            total[start:stop] += w
            found.append(w)
        return [w / total[start:stop] for w, (start, stop) in zip(found, intervals, strict=True)]

    def count(self, height: int, width: int) -> int:
        """How many tiles an image has."""
        return len(self.along(height)) * len(self.along(width))


def blend(
    predict: Callable[[np.ndarray], np.ndarray], rows: Callable[[int, int], np.ndarray], size: tuple[int, int], tiling: Tiling
) -> Iterator[tuple[int, np.ndarray]]:
    """The scores of an image, tile by tile, in strips.

    Parameters
    ----------
    predict : callable
        From a tile (C, h, w) to its scores (K, h, w).
    rows : callable
        ``rows(start, stop)`` returns rows of the image, (C, stop − start, W). They are asked for from top to
        bottom, each tile's once.
    size : (int, int)
        H, W.
    tiling : Tiling

    Yields
    ------
    start : int
        The row with which the strip begins.
    strip : array, (K, rows, W)
        One after the other, they cover the image. Memory is needed for one row of tiles: 4·(C + K)·tile·W bytes.
    """
    height, width = size
    vertical, horizontal = tiling.along(height), tiling.along(width)
    down, across = tiling.weights(height), tiling.weights(width)
    begun: np.ndarray | None = None  # the sum so far, from the row where the next strip begins
    for (top, bottom), following, v in zip(vertical, [*vertical[1:], (height, height)], down, strict=True):
        band = rows(top, bottom)
        total = None
        for (left, right), h in zip(horizontal, across, strict=True):
            found = predict(np.ascontiguousarray(band[:, :, left:right]))
            if found.shape[1:] != (bottom - top, right - left):
                raise ValueError(f"a tile of {bottom - top} × {right - left} pixels got scores of shape {found.shape}, (K, rows, columns)")
            if total is None:
                total = np.zeros((len(found), bottom - top, width), found.dtype)
                if begun is not None:
                    total[:, : begun.shape[1]] = begun
            total[:, :, left:right] += found * (v[:, None] * h).astype(found.dtype)
        assert total is not None
        complete = following[0] - top
        yield top, total[:, :complete]
        begun = total[:, complete:]
