"""Errors near the true boundaries and errors elsewhere: two kinds that call for different remedies.

A network that is wrong by a pixel along every contour may be as accurate as the people who drew the labels. A network
that is wrong in the middle of an object has missed the object.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minisegnet_kernels.components import distance_transform

from .labels import label_maps


def near_boundary(truth: np.ndarray, width: float, ignore_index: int = 255) -> np.ndarray:
    """The pixels less than `width` away from a boundary between two classes, bool (H, W).

    Parameters
    ----------
    truth : integer array, (H, W)
    width : float
        The pixels on both sides of a boundary have distance 0, their neighbours 1, and so on (Euclidean).
    ignore_index : int
        The border of ignored pixels is not a boundary.

    Raises
    ------
    ValueError
        If `width` is not positive.
    """
    if not width > 0:
        raise ValueError(f"the width of the band must be positive, not {width}")
    edge = np.zeros(truth.shape, bool)
    for axis in (0, 1):
        first, second = (np.moveaxis(edge, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        here, there = (np.moveaxis(truth, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        meet = (here != there) & (here != ignore_index) & (there != ignore_index)
        first |= meet
        second |= meet
    return distance_transform(~edge) < width


@dataclass
class BoundaryErrors:
    """The number of pixels and of wrong pixels, near a true boundary and elsewhere, over all images.

    Attributes
    ----------
    width : float
        See `near_boundary`.
    ignore_index : int
    near, near_wrong, far, far_wrong : int
        Numbers of pixels.
    """

    width: float
    ignore_index: int = 255
    near: int = 0
    near_wrong: int = 0
    far: int = 0
    far_wrong: int = 0

    def update(self, target: Any, prediction: Any) -> BoundaryErrors:
        """Count a label map, (H, W), or a batch of them, (N, H, W); returns itself.

        Raises
        ------
        ValueError
            If the shapes differ or a dtype is not an integer.
        """
        targets, predictions = label_maps(target, prediction)
        size = targets.shape[-2:]
        for truth, found in zip(targets.reshape(-1, *size), predictions.reshape(-1, *size), strict=True):
            counted = truth != self.ignore_index
            wrong = counted & (truth != found)
            zone = near_boundary(truth, self.width, self.ignore_index)
            self.near += int((counted & zone).sum())
            self.near_wrong += int((wrong & zone).sum())
            self.far += int((counted & ~zone).sum())
            self.far_wrong += int((wrong & ~zone).sum())
        return self

    @property
    def share(self) -> float:
        """The fraction of the wrong pixels that lie near a boundary; NaN if no pixel is wrong."""
        wrong = self.near_wrong + self.far_wrong
        return self.near_wrong / wrong if wrong else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """The counts, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "ignore_index"}

    def __str__(self) -> str:
        wrong = self.near_wrong + self.far_wrong
        if not wrong:
            return "no pixel is wrong"
        rate = lambda part, of: f"{part / of:.2%}" if of else "–"
        return (
            f"{self.share:.1%} of {wrong:,} wrong pixels lie less than {self.width:g} px from a true boundary; "
            f"wrong there {rate(self.near_wrong, self.near)}, elsewhere {rate(self.far_wrong, self.far)}"
        )
