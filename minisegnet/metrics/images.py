"""The metrics of each image on its own, to find the images in which a network fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .confusion import ConfusionMatrix
from .labels import label_maps


class PerImage:
    """A confusion matrix for each image.

    Parameters
    ----------
    num_classes, ignore_index, classes
        As in `ConfusionMatrix`.

    Attributes
    ----------
    matrices : list of ConfusionMatrix
        In the order in which the images came.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, classes: Sequence[str] | None = None):
        self._options = (num_classes, ignore_index, classes)
        self.matrices: list[ConfusionMatrix] = []

    def update(self, target: Any, prediction: Any) -> PerImage:
        """Add a label map, (H, W), or a batch of them, (N, H, W); returns itself.

        Raises
        ------
        ValueError
            As `ConfusionMatrix.update`.
        """
        targets, predictions = label_maps(target, prediction)
        size = targets.shape[-2:]
        for truth, found in zip(targets.reshape(-1, *size), predictions.reshape(-1, *size), strict=True):
            self.matrices.append(ConfusionMatrix(*self._options).update(truth, found))
        return self

    def rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """For each image its name, its counted pixels, and its figures; None where there is none, as in `ConfusionMatrix`.

        Parameters
        ----------
        names : sequence of str
            One for each image.

        Returns
        -------
        list of dict
            ``image``, ``pixels``, ``pixel_accuracy``, ``mean_iou``, and ``iou_CLASS`` for each class.
        """
        rows = []
        for name, matrix in zip(names, self.matrices, strict=True):
            figures = {"pixel_accuracy": matrix.pixel_accuracy, "mean_iou": matrix.mean_iou}
            figures |= {f"iou_{c}": v for c, v in zip(matrix.classes, matrix.iou, strict=True)}
            plain = {key: None if math.isnan(value) else float(value) for key, value in figures.items()}
            rows.append({"image": name, "pixels": int(matrix.matrix.sum()), **plain})
        return rows

    def hardest(self, count: int) -> list[int]:
        """The images of the smallest mean IoU, the worst first; images without counted pixels come last."""
        scores = [matrix.mean_iou for matrix in self.matrices]
        return sorted(range(len(scores)), key=lambda k: (math.isnan(scores[k]), scores[k], k))[:count]

    def present(self) -> np.ndarray:
        """Which classes the truth of each image has, bool (images, K)."""
        return np.array([matrix.matrix.sum(axis=1) > 0 for matrix in self.matrices])
