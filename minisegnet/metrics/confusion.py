"""The confusion matrix, and every metric that is computed from it.

``M[t, p]`` counts the pixels of class t that were labelled p. For class k

    TP = M[k, k]    FP = Σ_t M[t, k] − TP    FN = Σ_p M[k, p] − TP

    precision = TP/(TP+FP)    recall = TP/(TP+FN)    IoU = TP/(TP+FP+FN)    F1 = Dice = 2TP/(2TP+FP+FN)

The counts of all images are added before anything is divided, so every pixel has the same weight, whichever image
it is in. A quotient 0/0 is NaN: a class that is neither in the truth nor predicted has no IoU, and a class that is
only predicted has IoU 0 and no recall. Conventions differ in what NaN does to a mean (see
`minisegnet.metrics.conventions`); by default it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .conventions import convention as _convention
from .labels import check_range, class_names, label_maps, plain


class ConfusionMatrix:
    """The number of pixels for each pair of true and predicted class.

    Parameters
    ----------
    num_classes : int
    ignore_index : int
        Pixels with this true label are not counted, whatever is predicted there.
    classes : sequence of str, optional
        Names for the table.
    convention : {"nanmean", "fcn", "voc", "cityscapes", "segnet"}
        How means are taken, and whether a prediction may be `ignore_index`; see `CONVENTIONS`.

    Attributes
    ----------
    matrix : int64, (K, K)
        ``matrix[truth, prediction]``.
    abstained : int64, (K,)
        Pixels of each class that were predicted as `ignore_index`, if the convention allows it.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, classes: Sequence[str] | None = None, *, convention: str = "nanmean"):
        self.classes = class_names("ConfusionMatrix", num_classes, classes)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.convention = _convention(convention)
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self.abstained = np.zeros(num_classes, np.int64)

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
            If the shapes differ, a dtype is not an integer, or a label is out of range; names the label. Then nothing is counted.
        """
        target, prediction = label_maps(target, prediction)
        counted = target != self.ignore_index
        target, prediction = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
        check_range("target", target, self.num_classes, f", and {self.ignore_index} is ignored")
        given = np.ones(prediction.shape, bool)
        if self.convention.may_abstain:
            given = prediction != self.ignore_index
        check_range("prediction", prediction[given], self.num_classes)
        pairs = np.bincount(target[given] * self.num_classes + prediction[given], minlength=self.num_classes**2)
        self.matrix += pairs.reshape(self.matrix.shape)
        self.abstained += np.bincount(target[~given], minlength=self.num_classes)
        return self

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add the counts of another matrix to this one; returns itself."""
        if (self.num_classes, self.ignore_index) != (other.num_classes, other.ignore_index):
            raise ValueError(
                f"cannot add a matrix of {other.num_classes} classes that ignores {other.ignore_index} "
                f"to one of {self.num_classes} that ignores {self.ignore_index}"
            )
        if other.abstained.any():
            self._allow_abstaining()
        self.matrix += other.matrix
        self.abstained += other.abstained
        return self

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        return self.under(self.convention.name).merge(other)

    def under(self, convention: str) -> ConfusionMatrix:
        """A new matrix with the same counts under another convention.

        Raises
        ------
        ValueError
            If the convention is unknown, or does not allow predictions of `ignore_index`, and such pixels were counted.
        """
        return ConfusionMatrix(self.num_classes, self.ignore_index, self.classes, convention=convention).merge(self)

    def grouped(self, groups: Mapping[str, Sequence[int]]) -> ConfusionMatrix:
        """Merge classes into groups. Confusions within a group count as correct.

        Parameters
        ----------
        groups : dict, name → classes
            Each class belongs to one group. The categories of Cityscapes are ``data.Cityscapes.categories``.

        Returns
        -------
        ConfusionMatrix
            With a class for each group.

        Raises
        ------
        ValueError
            If the groups do not contain each class exactly once.
        """
        if sorted(k for members in groups.values() for k in members) != list(range(self.num_classes)):
            raise ValueError(f"grouped: the groups must contain each class from 0 to {self.num_classes - 1} once; got {dict(groups)}")
        member = np.zeros((len(groups), self.num_classes), np.int64)
        for row, members in zip(member, groups.values(), strict=True):
            row[list(members)] = 1
        found = ConfusionMatrix(len(groups), self.ignore_index, tuple(groups), convention=self.convention.name)
        found.matrix = member @ self.matrix @ member.T
        found.abstained = member @ self.abstained
        return found

    def reset(self) -> None:
        """Set all counts to 0."""
        self.matrix[:] = 0
        self.abstained[:] = 0

    def _allow_abstaining(self) -> None:
        if not self.convention.may_abstain:
            raise ValueError(
                f"pixels predicted as {self.ignore_index}, which is not a class, were counted: "
                f"the convention {self.convention.name!r} does not allow them; 'cityscapes' does"
            )

    # --- metrics -----------------------------------------------------------------------

    tp = property(lambda self: np.diag(self.matrix), doc="True positives of each class, int64 (K,).")
    fp = property(lambda self: self.matrix.sum(0) - self.tp, doc="False positives of each class, int64 (K,).")
    fn = property(lambda self: self.support - self.tp, doc="False negatives of each class, int64 (K,).")
    support = property(lambda self: self.matrix.sum(1) + self.abstained, doc="Pixels of each class in the truth, int64 (K,).")

    precision = property(
        lambda self: _ratio(self.tp, self.tp + self.fp),
        doc="The fraction of the pixels predicted as k that are k; float64 (K,), NaN for 0/0.",
    )
    recall = property(
        lambda self: _ratio(self.tp, self.tp + self.fn),
        doc="The fraction of the pixels of class k that are predicted as k; float64 (K,), NaN for 0/0.",
    )
    f1 = property(
        lambda self: _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn),
        doc="Harmonic mean of precision and recall, also called Dice; float64 (K,).",
    )
    iou = property(
        lambda self: _ratio(self.tp, self.tp + self.fp + self.fn), doc="Intersection over union, also called Jaccard; float64 (K,)."
    )

    dice = f1

    # Means over the classes, as the convention takes them. The default is the convention "nanmean".
    mean_precision = property(lambda self: self.convention.mean(self.precision), doc="By default over the classes that were predicted.")
    mean_recall = property(lambda self: self.convention.mean(self.recall), doc="By default over the classes in the truth: mean accuracy.")
    mean_f1 = property(lambda self: self.convention.mean(self.f1), doc="By default over the classes that are present.")
    mean_dice = mean_f1
    mean_iou = property(lambda self: self.convention.mean(self.iou), doc="By default over the classes that are in the truth or predicted.")

    @property
    def frequency_weighted_iou(self) -> float:
        """The mean IoU weighted by the class's share of the true pixels (Long et al., CVPR 2015); NaN before any pixel is counted."""
        there = self.support > 0
        return float(_ratio((self.support[there] * self.iou[there]).sum(), self.pixels))

    @property
    def pixels(self) -> int:
        """The number of counted pixels."""
        return int(self.matrix.sum() + self.abstained.sum())

    @property
    def pixel_accuracy(self) -> float:
        """The fraction of pixels that are labelled correctly; NaN before any pixel is counted."""
        return float(_ratio(self.tp.sum(), self.pixels))

    def to_dict(self) -> dict[str, Any]:
        """All metrics and counts as plain numbers, for JSON; NaN becomes None."""
        names = ("precision", "recall", "f1", "iou")
        return {
            "pixels": self.pixels,
            "convention": self.convention.name,
            "pixel_accuracy": plain(self.pixel_accuracy),
            "frequency_weighted_iou": plain(self.frequency_weighted_iou),
            **{f"mean_{name}": plain(getattr(self, f"mean_{name}")) for name in names},
            "classes": {
                title: {**{name: plain(getattr(self, name)[k]) for name in names}, "pixels": int(self.support[k])}
                for k, title in enumerate(self.classes)
            },
            "matrix": self.matrix.tolist(),
            **({"abstained": self.abstained.tolist()} if self.convention.may_abstain else {}),
        }

    def __str__(self) -> str:
        """A table with a line for each class."""
        head = ("class", "IoU", "F1", "precision", "recall", "pixels")
        rows = [
            (name, *(f"{v:.4f}" if np.isfinite(v) else "–" for v in values), f"{pixels:,}")
            for name, *values, pixels in zip(self.classes, self.iou, self.f1, self.precision, self.recall, self.support, strict=True)
        ]
        means = (self.mean_iou, self.mean_f1, self.mean_precision, self.mean_recall)
        rows.append(("mean", *(f"{v:.4f}" if np.isfinite(v) else "–" for v in means), f"{self.pixels:,}"))
        widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in (head, *rows)
        ]
        rule = "─" * len(lines[0])
        foot = ["nothing counted yet"]
        if self.pixels:
            foot = [f"pixel accuracy {self.pixel_accuracy:.4f}", f"frequency-weighted IoU {self.frequency_weighted_iou:.4f}"]
        if self.convention.name != "nanmean":
            foot.append(f"means by the convention {self.convention.name}: an absent class is {_ABSENT[self.convention.absent]}")
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *foot])

    def __repr__(self) -> str:
        return (
            f"ConfusionMatrix({self.num_classes}, ignore_index={self.ignore_index}): {self.pixels:,} pixels, mean IoU {self.mean_iou:.4f}"
        )


_ABSENT = {"left out": "left out", "nan": "NaN, and so is the mean", "zero": "0"}


def _ratio(over: Any, under: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.true_divide(over, under)
