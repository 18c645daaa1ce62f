"""How good a segmentation is: every figure comes from one confusion matrix.

``M[t, p]`` counts the pixels of class t that were labelled p. For class k

    TP = M[k, k]    FP = Σ_t M[t, k] − TP    FN = Σ_p M[k, p] − TP

    precision = TP/(TP+FP)    recall = TP/(TP+FN)    IoU = TP/(TP+FP+FN)    F1 = 2TP/(2TP+FP+FN)

Counts of many images are added before anything is divided ("pooled"): each pixel counts the same,
whichever image it is in. A quotient 0/0 is NaN: a class that is neither in the truth nor predicted
has no IoU, one that is only predicted has IoU 0 and no recall. Means leave NaN out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class ConfusionMatrix:
    """Pixels of each true class by the class that was predicted.

    Parameters
    ----------
    num_classes : int
    ignore_index : int
        Pixels whose true label this is are not counted, whatever was predicted there.
    classes : sequence of str, optional
        Names, for the table.

    Attributes
    ----------
    matrix : int64, (K, K)
        ``matrix[truth, prediction]``.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, classes: Sequence[str] | None = None):
        if num_classes < 1:
            raise ValueError(f"ConfusionMatrix: num_classes must be positive, not {num_classes}")
        if classes is not None and len(classes) != num_classes:
            raise ValueError(f"ConfusionMatrix: {len(classes)} names for {num_classes} classes")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.classes = tuple(classes) if classes is not None else tuple(f"class {k}" for k in range(num_classes))
        self.matrix = np.zeros((num_classes, num_classes), np.int64)

    def update(self, target: Any, prediction: Any) -> ConfusionMatrix:
        """Count the pixels of a label map or of a batch of them.

        Parameters
        ----------
        target, prediction : integer array or Tensor, of the same shape
            Labels, not scores: take ``scores.argmax(1)`` first.

        Returns
        -------
        ConfusionMatrix
            Itself.

        Raises
        ------
        ValueError
            If shapes or dtypes do not fit, or a label is out of range; names the label. Nothing is counted then.
        """
        target, prediction = _labels("target", target), _labels("prediction", prediction)
        if target.shape != prediction.shape:
            raise ValueError(
                f"target and prediction must have one shape, got {target.shape} and {prediction.shape}; scores need an argmax over the classes first"
            )
        counted = target != self.ignore_index
        target, prediction = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
        self._check("target", target, f", and {self.ignore_index} is ignored")
        self._check("prediction", prediction, "")
        pairs = np.bincount(target * self.num_classes + prediction, minlength=self.num_classes**2)
        self.matrix += pairs.reshape(self.matrix.shape)
        return self

    def _check(self, what: str, labels: np.ndarray, also: str) -> None:
        stray = labels[(labels < 0) | (labels >= self.num_classes)]
        if stray.size:
            raise ValueError(
                f"{what} holds the label {stray[0]} ({stray.size} pixels out of range): the classes are 0 to {self.num_classes - 1}{also}"
            )

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add the counts of another matrix to this one; returns itself."""
        if (self.num_classes, self.ignore_index) != (other.num_classes, other.ignore_index):
            raise ValueError(
                f"cannot add a matrix of {other.num_classes} classes that ignores {other.ignore_index} "
                f"to one of {self.num_classes} that ignores {self.ignore_index}"
            )
        self.matrix += other.matrix
        return self

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        return ConfusionMatrix(self.num_classes, self.ignore_index, self.classes).merge(self).merge(other)

    def reset(self) -> None:
        """Forget all counts."""
        self.matrix[:] = 0

    # --- figures -----------------------------------------------------------------------

    tp = property(lambda self: np.diag(self.matrix), doc="True positives of each class, int64 (K,).")
    fp = property(lambda self: self.matrix.sum(0) - self.tp, doc="False positives of each class, int64 (K,).")
    fn = property(lambda self: self.matrix.sum(1) - self.tp, doc="False negatives of each class, int64 (K,).")
    support = property(lambda self: self.matrix.sum(1), doc="Pixels of each class in the truth, int64 (K,).")

    precision = property(
        lambda self: _ratio(self.tp, self.tp + self.fp), doc="Of what was labelled k, the share that is k; float64 (K,), NaN for 0/0."
    )
    recall = property(
        lambda self: _ratio(self.tp, self.tp + self.fn), doc="Of what is k, the share that was labelled k; float64 (K,), NaN for 0/0."
    )
    f1 = property(
        lambda self: _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn),
        doc="Harmonic mean of precision and recall, also called Dice; float64 (K,).",
    )
    iou = property(
        lambda self: _ratio(self.tp, self.tp + self.fp + self.fn), doc="Intersection over union, also called Jaccard; float64 (K,)."
    )

    mean_precision = property(lambda self: _mean(self.precision), doc="Mean over the classes that have a precision.")
    mean_recall = property(lambda self: _mean(self.recall), doc="Mean over the classes in the truth; also called mean accuracy.")
    mean_f1 = property(lambda self: _mean(self.f1), doc="Mean over the classes that are present.")
    mean_iou = property(lambda self: _mean(self.iou), doc="Mean over the classes that are in the truth or predicted; NaN if none is.")

    @property
    def pixel_accuracy(self) -> float:
        """The share of pixels that got their class; NaN before any were counted."""
        return float(_ratio(self.tp.sum(), self.matrix.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON: a figure that does not exist is None."""
        names = ("precision", "recall", "f1", "iou")
        return {
            "pixels": int(self.matrix.sum()),
            "pixel_accuracy": _plain(self.pixel_accuracy),
            **{f"mean_{name}": _plain(getattr(self, f"mean_{name}")) for name in names},
            "classes": {
                title: {**{name: _plain(getattr(self, name)[k]) for name in names}, "pixels": int(self.support[k])}
                for k, title in enumerate(self.classes)
            },
            "matrix": self.matrix.tolist(),
        }

    def __str__(self) -> str:
        """A table, one line a class."""
        head = ("class", "IoU", "F1", "precision", "recall", "pixels")
        rows = [
            (name, *(f"{v:.4f}" if np.isfinite(v) else "–" for v in values), f"{pixels:,}")
            for name, *values, pixels in zip(self.classes, self.iou, self.f1, self.precision, self.recall, self.support, strict=True)
        ]
        means = (self.mean_iou, self.mean_f1, self.mean_precision, self.mean_recall)
        rows.append(("mean", *(f"{v:.4f}" if np.isfinite(v) else "–" for v in means), f"{self.matrix.sum():,}"))
        widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in (head, *rows)
        ]
        rule = "─" * len(lines[0])
        accuracy = f"pixel accuracy {self.pixel_accuracy:.4f}" if self.matrix.any() else "nothing counted yet"
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], accuracy])

    def __repr__(self) -> str:
        return f"ConfusionMatrix({self.num_classes}, ignore_index={self.ignore_index}): {self.matrix.sum():,} pixels, mean IoU {self.mean_iou:.4f}"


def _labels(what: str, value: Any) -> np.ndarray:
    """An integer NumPy array from an array or a Tensor, on the CPU or the GPU."""
    value = getattr(value, "data", value) if hasattr(value, "requires_grad") else value
    array = value.get() if hasattr(value, "get") else np.asarray(value)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{what} must hold integer labels, not {array.dtype}; scores need an argmax over the classes first")
    return array


def _ratio(over: Any, under: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.true_divide(over, under)


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
