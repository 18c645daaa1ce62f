"""An image cut into overlapping tiles, and their scores blended into one map: plain NumPy.

A network needs memory for every pixel of its input. A large image is therefore cut into tiles, and where tiles overlap
their scores are averaged. At the border of a tile, where half of the neighbourhood is missing, the scores are least
reliable and get the smallest weight. The weights are Gaussian,

    w(i, j) = g(i) · g(j),    g(i) = exp(−½ ((i − c) / σ)²),    c the centre, σ = tile / 8.

Their sum over all tiles is also a product of a factor per row and a factor per column. The weights are divided by it
before anything is added, so no second map is needed. The result is produced in strips of complete rows, with only one
row of tiles in memory.

Source: F. Isensee et al., "nnU-Net", Nature Methods 18, 2021 (positions, Gaussian weights).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Interval = tuple[int, int]  # start, stop


@dataclass(frozen=True)
class Tiling:
    """How to cut an image into tiles.

    Parameters
    ----------
    tile : int
        Rows and columns of a tile; the last tile of a row may have up to ``align − 1`` more.
    overlap : float
        The smallest fraction of a tile that its neighbour also covers, in [0, 1).
    margin : int
        The width of the border of a tile that is discarded, except at the border of the image. If no score depends on
        pixels further away than this, and `align` fits the network, the scores equal those of the whole image.
    align : int
        Tiles start at multiples of it. A network that halves images k times gives the same scores only at positions that
        differ by multiples of 2ᵏ.

    Raises
    ------
    ValueError
        If a number is out of range, or margin and overlap leave no step from one tile to the next.
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

        For 110 pixels, tiles of 64, an overlap of one half and ``align=1``, they start at 0, 23 and 46.
        """
        last = max(length - self.tile, 0) // self.align * self.align
        gaps = -(-last // self.step)
        starts = [k * last // max(gaps, 1) // self.align * self.align for k in range(gaps + 1)]
        return [*((start, start + self.tile) for start in starts[:-1]), (last, length)]

    def weights(self, length: int) -> list[np.ndarray]:
        """The weights of each interval of `along` along one axis, float64; at every pixel they sum to 1."""
        intervals = self.along(length)
        total = np.zeros(length)
        found = []
        for start, stop in intervals:
            n = stop - start
            w = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2)  # e⁻⁸ at the ends: small, but not 0
            w[: self.margin if start > 0 else 0] = 0
            w[n - self.margin if stop < length else n :] = 0
            total[start:stop] += w
            found.append(w)
        return [w / total[start:stop] for w, (start, stop) in zip(found, intervals, strict=True)]

    def count(self, height: int, width: int) -> int:
        """The number of tiles of an image."""
        return len(self.along(height)) * len(self.along(width))


def tiling_for(size: tuple[int, int], most: int) -> Tiling | None:
    """How to cut an image of this size so that no tile has more than about `most` pixels; None if it need not be cut.

    The tiles are the smallest that need no larger number of tiles, so that little is computed twice.
    """
    if size[0] * size[1] <= most:
        return None
    largest = max(int(most**0.5) // 16 * 16, 128)
    number = Tiling(largest).count(*size)
    return next(t for tile in range(128, largest + 1, 16) if (t := Tiling(tile)).count(*size) <= number)


def blend(
    predict: Callable[[np.ndarray], np.ndarray], rows: Callable[[int, int], np.ndarray], size: tuple[int, int], tiling: Tiling
) -> Iterator[tuple[int, np.ndarray]]:
    """Compute the scores of an image tile by tile, and yield them in strips.

    Parameters
    ----------
    predict : callable
        Computes the scores (K, h, w) of a tile (C, h, w).
    rows : callable
        ``rows(start, stop)`` returns rows of the image, (C, stop − start, W). It is called once for each row of tiles,
        from top to bottom.
    size : (int, int)
        H, W.
    tiling : Tiling

    Yields
    ------
    start : int
        The first row of the strip.
    strip : array, (K, rows, W)
        The strips cover the image one after the other. They need memory for one row of tiles: 4·(C + K)·tile·W bytes.
    """
    height, width = size
    vertical, horizontal = tiling.along(height), tiling.along(width)
    down, across = tiling.weights(height), tiling.weights(width)
    begun: np.ndarray | None = None  # the unfinished sum, from the first row of the next strip on
    for (top, bottom), following, v in zip(vertical, [*vertical[1:], (height, height)], down, strict=True):
        band = rows(top, bottom)
        total = None
        for (left, right), h in zip(horizontal, across, strict=True):
            found = predict(np.ascontiguousarray(band[:, :, left:right]))
            if found.shape[1:] != (bottom - top, right - left):
                raise ValueError(
                    f"a tile of {bottom - top} × {right - left} pixels got scores of shape {found.shape}; expected (K, {bottom - top}, {right - left})"
                )
            if total is None:
                total = np.zeros((len(found), bottom - top, width), found.dtype)
                if begun is not None:
                    total[:, : begun.shape[1]] = begun
            total[:, :, left:right] += found * (v[:, None] * h).astype(found.dtype)
        assert total is not None
        complete = following[0] - top
        yield top, total[:, :complete]
        begun = total[:, complete:]
