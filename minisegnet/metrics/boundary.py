"""How well the contours of a segmentation lie: boundary IoU and BF score.

A large object that is wrong by three pixels all around has nearly the IoU of a perfect one. These two
look at the contours alone, one by bands on either side of them and one by the distance between them.

Pixels that are ignored belong to no class, in the truth and in the prediction: what is predicted there
has no effect, and a contour along them is a contour in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .labels import check_range, class_names, label_maps, plain


class BoundaryIoU:
    r"""IoU of the pixels of a class that lie near its boundary.

    With :math:`T_d` the pixels of the true mask T that are nearer than d to its outside, counted as the
    steps of a chess king, and :math:`P_d` those of the prediction,

    .. math:: \frac{\sum |T_d \cap P_d|}{\sum |T_d \cup P_d|}, \qquad d = \max(1, \mathrm{round}(r \cdot \text{diagonal}))

    Both sums go over all images, so each pixel counts the same. What lies beyond the picture is outside.
    An object narrower than 2d is all boundary, and its boundary IoU is its IoU: then r should be smaller.

    Parameters
    ----------
    num_classes : int
    ignore_index : int
    classes : sequence of str, optional
    ratio : float
        r, the width of the band as a share of the image's diagonal.

    Attributes
    ----------
    intersection, union : int64, (K,)

    References
    ----------
    Cheng et al., "Boundary IoU", CVPR 2021
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, classes: Sequence[str] | None = None, *, ratio: float = 0.02):
        self.classes = class_names("BoundaryIoU", num_classes, classes)
        self.num_classes, self.ignore_index, self.ratio = num_classes, ignore_index, _share("ratio", ratio)
        self.intersection, self.union = np.zeros((2, num_classes), np.int64)

    def update(self, target: Any, prediction: Any) -> BoundaryIoU:
        """Count a label map, (H, W), or a batch of them, (N, H, W); returns itself.

        Raises
        ------
        ValueError
            As `ConfusionMatrix.update`. Nothing is counted then.
        """
        for k, truth, guess in _masks(target, prediction, self.num_classes, self.ignore_index):
            width = max(1, round(self.ratio * float(np.hypot(*truth.shape))))
            truth, guess = band(truth, width), band(guess, width)
            self.intersection[k] += np.count_nonzero(truth & guess)
            self.union[k] += np.count_nonzero(truth | guess)
        return self

    @property
    def iou(self) -> np.ndarray:
        """Boundary IoU of each class, float64 (K,); NaN for a class that is nowhere."""
        with np.errstate(invalid="ignore"):
            return self.intersection / self.union

    mean_iou = property(lambda self: _nanmean(self.iou), doc="Mean over the classes that are in the truth or predicted.")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        return {
            "mean": plain(self.mean_iou),
            "ratio": self.ratio,
            "classes": {name: plain(v) for name, v in zip(self.classes, self.iou, strict=True)},
        }

    def __str__(self) -> str:
        return _line("boundary IoU", self.mean_iou, self.classes, self.iou)


class BoundaryF1:
    r"""BF score: how much of the contours lies within a tolerance of the contours of the other.

    Of a class in an image, with the contours B of the true mask and C of the predicted one, the precision
    is the share of C that is at most :math:`\theta` away from B, the recall the share of B that is at most
    :math:`\theta` away from C, and F1 = 2PR/(P+R). The distance is Euclid's, between centres of pixels, and
    :math:`\theta` is a share of the image's diagonal. A class that only one of the two has gets 0; one that
    neither has does not count. Images count the same, whatever their size.

    A pixel of a mask lies on its contour if one of the four pixels around it is outside, as what lies
    beyond the picture is.

    Parameters
    ----------
    num_classes : int
    ignore_index : int
    classes : sequence of str, optional
    tolerance : float
        :math:`\theta` as a share of the diagonal; 0.0075 is the usual one.

    References
    ----------
    Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, classes: Sequence[str] | None = None, *, tolerance: float = 0.0075):
        self.classes = class_names("BoundaryF1", num_classes, classes)
        self.num_classes, self.ignore_index, self.tolerance = num_classes, ignore_index, _share("tolerance", tolerance)
        self._sum, self._images = np.zeros(num_classes), np.zeros(num_classes, np.int64)

    def update(self, target: Any, prediction: Any) -> BoundaryF1:
        """Score a label map, (H, W), or a batch of them, (N, H, W); returns itself.

        Raises
        ------
        ValueError
            As `ConfusionMatrix.update`. Nothing is counted then.
        """
        for k, truth, guess in _masks(target, prediction, self.num_classes, self.ignore_index):
            self._sum[k] += _f1(contour(truth), contour(guess), self.tolerance * float(np.hypot(*truth.shape)))
            self._images[k] += 1
        return self

    @property
    def f1(self) -> np.ndarray:
        """Mean over the images that have the class, float64 (K,); NaN if none has."""
        with np.errstate(invalid="ignore"):
            return self._sum / self._images

    mean_f1 = property(lambda self: _nanmean(self.f1), doc="Mean over the classes that are in the truth or predicted.")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        return {
            "mean": plain(self.mean_f1),
            "tolerance": self.tolerance,
            "classes": {name: plain(v) for name, v in zip(self.classes, self.f1, strict=True)},
        }

    def __str__(self) -> str:
        return _line("BF score", self.mean_f1, self.classes, self.f1)


def band(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask, bool (H, W), that at most `width` steps of a chess king lead out of: mask minus its erosion.

    Eroding by 3×3 `width` times is eroding once by a square of 2·width + 1, and a square is done by rows
    and then by columns; whether a row of pixels is all inside is told by a running sum.
    """
    core = mask
    for axis in (0, 1):
        core = np.moveaxis(core, axis, 0)
        total = np.pad(np.cumsum(core, 0, dtype=np.int32), ((1, 0), (0, 0)))
        eroded = np.zeros(core.shape, bool)  # nothing within `width` of the picture's edge stays
        if len(core) > 2 * width:
            eroded[width:-width] = total[2 * width + 1 :] - total[: -2 * width - 1] == 2 * width + 1
        core = np.moveaxis(eroded, 0, axis)
    return mask & ~core


def contour(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask, bool (H, W), with something outside above, below, left or right."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _f1(truth: np.ndarray, guess: np.ndarray, reach: float) -> float:
    """F1 of two contours, at least one of which is not empty."""
    if not (truth.any() and guess.any()):
        return 0.0
    precision, recall = _near(guess, truth, reach), _near(truth, guess, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(points: np.ndarray, others: np.ndarray, reach: float) -> float:
    """The share of the points that are at most `reach` away from one of the others.

    Only as many rows as the reach are looked at, and in each a running sum tells at once whether there is
    one between two columns: no map of distances of the whole picture is needed.
    """
    height, width = points.shape
    total = np.pad(np.cumsum(others, 1, dtype=np.int32), ((0, 0), (1, 0)))
    rows, columns = np.nonzero(points)
    found = np.zeros(rows.shape, bool)
    for step in range(-int(reach), int(reach) + 1):
        aside = int(np.sqrt(reach * reach - step * step))
        there = (rows + step >= 0) & (rows + step < height)
        row, column = rows[there] + step, columns[there]
        found[there] |= total[row, np.minimum(column + aside + 1, width)] > total[row, np.maximum(column - aside, 0)]
    return float(found.mean())


def _masks(target: Any, prediction: Any, num_classes: int, ignore_index: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Of each image the masks of each class that is in the truth or predicted."""
    target, prediction = label_maps(target, prediction)
    if target.ndim not in (2, 3):
        raise ValueError(f"boundaries need label maps of shape (H, W) or (N, H, W), not {target.shape}")
    ignored = target == ignore_index
    check_range("target", target[~ignored], num_classes, f", and {ignore_index} is ignored")
    check_range("prediction", prediction[~ignored], num_classes)
    for truth, guess, skipped in zip(*(a.reshape(-1, *a.shape[-2:]) for a in (target, prediction, ignored)), strict=True):
        present = np.bincount(truth[~skipped], minlength=num_classes) + np.bincount(guess[~skipped], minlength=num_classes)
        for k in np.flatnonzero(present):
            yield int(k), (truth == k) & ~skipped, (guess == k) & ~skipped


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is a share of the image's diagonal, from 0 to 1, not {value}")
    return value


def _nanmean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _line(title: str, mean: float, classes: Sequence[str], values: np.ndarray) -> str:
    parts = ", ".join(f"{name} {v:.4f}" for name, v in zip(classes, values, strict=True) if np.isfinite(v))
    return f"{title} {mean:.4f}  ({parts})" if parts else f"{title}: nothing counted yet"
