"""How good a network is, on whole images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import functional as F
from ..data import Dataset
from ..inference import scores
from ..metrics import ConfusionMatrix
from ..nn import Module
from ..tensor import Tensor

_PIXELS = 1 << 20  # in a batch of several whole images, so that large ones do not need much memory at once


class Metric(Protocol):
    """What can be counted beside the confusion matrix, such as `metrics.BoundaryIoU`."""

    def update(self, target: Any, prediction: Any) -> Any: ...


def evaluate(model: Module, dataset: Dataset, batch_size: int = 4, also: Sequence[Metric] = ()) -> ConfusionMatrix:
    """Compare a network's labels with the truth, on whole images, not on crops.

    Parameters
    ----------
    model : Module
        Computes in evaluation mode and is left in the mode in which it was.
    dataset : Dataset
        Images may differ in size.
    batch_size : int
        The result does not depend on it.
    also : sequence of metrics
        Each gets the truth and the labels of every batch, in the same pass.

    Returns
    -------
    ConfusionMatrix
        Pooled over all images.
    """
    found = measure(model, dataset, batch_size, also=also)
    assert found is not None
    return found[0]


def measure(
    model: Module,
    dataset: Dataset,
    batch_size: int,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    go_on: Callable[[], bool] = lambda: True,
    also: Sequence[Metric] = (),
) -> tuple[ConfusionMatrix, float] | None:
    """Confusion matrix and mean loss over the pixels; None if `go_on` said no."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, not {batch_size}")
    confusion = ConfusionMatrix(len(dataset.classes), dataset.ignore_index, dataset.classes)
    total, pixels = 0.0, 0
    for images, masks in _whole_images(dataset, batch_size):
        if not go_on():
            return None
        found = scores(model, images)
        if found.shape[1] != len(dataset.classes):
            raise ValueError(
                f"the network tells {found.shape[1]} classes apart and the data have {len(dataset.classes)}: {', '.join(dataset.classes)}"
            )
        labels = F.label(found)
        for metric in (confusion, *also):
            metric.update(masks, labels)
        if loss is not None:
            counted = int((masks != dataset.ignore_index).sum())
            total += loss(found, Tensor(masks).to(found.device)).item() * counted
            pixels += counted
    return confusion, total / pixels if pixels else float("nan")


def headline(confusion: ConfusionMatrix) -> tuple[str, float]:
    """The one figure by which runs are compared: the IoU of the object if there is one class of them, else the mean IoU."""
    if confusion.num_classes == 2:
        return f"{confusion.classes[1]} IoU", float(confusion.iou[1])
    return "mean IoU", confusion.mean_iou


def _dice(confusion: ConfusionMatrix) -> tuple[str, float]:
    if confusion.num_classes == 2:
        return f"{confusion.classes[1]} Dice", float(confusion.f1[1])
    return "mean Dice", confusion.mean_f1


class Score(NamedTuple):
    """A figure by which checkpoints can be compared: ``measure(confusion, loss)`` is its name and its value."""

    measure: Callable[[ConfusionMatrix, float], tuple[str, float]]
    lower_is_better: bool = False

    def better(self, value: float, best: float) -> bool:
        """Whether a value beats the best so far, which is NaN at first."""
        return not math.isnan(value) and (math.isnan(best) or (value < best if self.lower_is_better else value > best))


SCORES: dict[str, Score] = {
    "iou": Score(lambda confusion, loss: headline(confusion)),
    "mean_iou": Score(lambda confusion, loss: ("mean IoU", confusion.mean_iou)),
    "dice": Score(lambda confusion, loss: _dice(confusion)),
    "loss": Score(lambda confusion, loss: ("validation loss", loss), lower_is_better=True),
}


def figures(confusion: ConfusionMatrix, loss: float) -> dict[str, float]:
    """An evaluation as columns of the log."""
    classes = {f"val_iou_{name}": float(v) for name, v in zip(confusion.classes, confusion.iou, strict=True)}
    return {"val_loss": loss, "val_iou": confusion.mean_iou, "val_dice": confusion.mean_f1, **(classes if len(classes) <= 20 else {})}


def _whole_images(dataset: Dataset, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Items in their order; neighbours of one size go together, unless they are large."""
    images: list[Any] = []
    masks: list[Any] = []
    for k in range(len(dataset)):
        image, mask = dataset[k]
        full = len(images) == batch_size or (len(images) + 1) * mask.size > _PIXELS
        if images and (full or image.shape != images[0].shape):
            yield np.stack(images), np.stack(masks)
            images, masks = [], []
        images.append(image)
        masks.append(mask)
    if images:
        yield np.stack(images), np.stack(masks)
