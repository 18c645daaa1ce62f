"""How accurate the contours of a segmentation are: boundary IoU and BF score.

A large object whose contour is wrong by three pixels all around has nearly the IoU of a perfect one. These two
metrics look only at the contours: boundary IoU at bands along them, the BF score at the distances between them.

Ignored pixels belong to no class, in the truth and in the prediction. What is predicted there has no effect, and a
contour along them is a contour in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .labels import check_range, class_names, label_maps, plain


class BoundaryIoU:
    r"""IoU of the pixels of a class that lie near its boundary.

    Let :math:`T_d` be the pixels of the true mask T whose chessboard distance to its outside is at most d,
    and :math:`P_d` those of the predicted mask. The boundary IoU is

    .. math:: \frac{\sum |T_d \cap P_d|}{\sum |T_d \cup P_d|}, \qquad d = \max(1, \mathrm{round}(r \cdot \text{diagonal}))

    Both sums run over all images, so every pixel has the same weight. What lies beyond the image is outside.
    An object narrower than 2d consists of boundary only, and its boundary IoU is its IoU; choose a smaller r then.

    Parameters
    ----------
    num_classes : int
    ignore_index : int
    classes : sequence of str, optional
    ratio : float
        r, the width of the band as a fraction of the image's diagonal.

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
        """Boundary IoU of each class, float64 (K,); NaN for a class that is neither in the truth nor predicted."""
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
    r"""BF score: the F1 score of the predicted contours, with a tolerance.

    For a class in an image let B be the contour of the true mask and C that of the predicted mask. The precision P
    is the fraction of C within a distance :math:`\theta` of B, the recall R the fraction of B within
    :math:`\theta` of C, and F1 = 2PR/(P+R). Distances are Euclidean, between the centres of pixels, and
    :math:`\theta` is a fraction of the image's diagonal. A class that is only in the truth, or only predicted,
    scores 0; a class that is in neither is left out. Every image has the same weight, whatever its size.

    A pixel of a mask lies on the contour if one of its four neighbours is outside the mask. What lies beyond the
    image is outside.

    Parameters
    ----------
    num_classes : int
    ignore_index : int
    classes : sequence of str, optional
    tolerance : float
        :math:`\theta` as a fraction of the diagonal; 0.0075 is usual.

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
        """Mean over the images in which the class appears, float64 (K,); NaN if there is none."""
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
    """The pixels of a mask, bool (H, W), within the chessboard distance `width` of its outside: the mask minus its erosion.

    Eroding `width` times by 3×3 equals eroding once by a square of side 2·width + 1, which is done by rows and then by
    columns. A running sum tells whether all pixels of a row are inside.
    """
    core = mask
    for axis in (0, 1):
        core = np.moveaxis(core, axis, 0)
        total = np.pad(np.cumsum(core, 0, dtype=np.int32), ((1, 0), (0, 0)))
        eroded = np.zeros(core.shape, bool)  # nothing within `width` of the edge of the image remains
        if len(core) > 2 * width:
            eroded[width:-width] = total[2 * width + 1 :] - total[: -2 * width - 1] == 2 * width + 1
        core = np.moveaxis(eroded, 0, axis)
    return mask & ~core


def contour(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask, bool (H, W), with a neighbour outside it: above, below, left or right."""
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
    """The fraction of the points that lie within `reach` of one of the others.

    Only rows within reach are examined. In each, a running sum tells whether there is another point between two
    columns, so that no distance map of the whole image is needed.
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
    """For each image, the masks of each class that is in the truth or predicted."""
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
        raise ValueError(f"{name} is a fraction of the image's diagonal, from 0 to 1, not {value}")
    return value


def _nanmean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _line(title: str, mean: float, classes: Sequence[str], values: np.ndarray) -> str:
    parts = ", ".join(f"{name} {v:.4f}" for name, v in zip(classes, values, strict=True) if np.isfinite(v))
    return f"{title} {mean:.4f}  ({parts})" if parts else f"{title}: nothing counted yet"
