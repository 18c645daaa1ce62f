"""How well a network labels whole images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import functional as F
from ..data import Dataset
from ..inference import blend, tiling_for
from ..inference.whole import run
from ..metrics import ConfusionMatrix
from ..nn import Module
from ..tensor import Tensor, no_grad

MOST = 1 << 20
"""Most pixels that are computed at once, by default: a larger image is cut into tiles."""


class Metric(Protocol):
    """A figure that is counted along with the confusion matrix, such as `metrics.BoundaryIoU`."""

    def update(self, target: Any, prediction: Any) -> Any: ...


def evaluate(model: Module, dataset: Dataset, batch_size: int = 4, also: Sequence[Metric] = ()) -> ConfusionMatrix:
    """Compare a network's labels with the truth on whole images.

    Parameters
    ----------
    model : Module
        It computes in evaluation mode; its own mode is restored afterwards.
    dataset : Dataset
        Images may differ in size.
    batch_size : int
        Images of one size that are computed together, as far as they have no more than `MOST` pixels. The result does not depend
        on it. A larger image is computed in tiles that overlap, as ``minisegnet segment`` labels it.
    also : sequence of metrics
        Further metrics; each is updated with the truth and the labels of every batch.

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
    most: int = MOST,
) -> tuple[ConfusionMatrix, float] | None:
    """Confusion matrix and loss over whole images; None if `go_on` returned False before the end.

    The loss of a data set is the mean of the losses of its images, each weighted by its number of counted pixels (those
    that are not `ignore_index`). So it does not depend on how the images are batched. For a loss that is a mean over pixels, such as
    cross-entropy without class weights, it is the mean over all counted pixels; a loss of regions, such as Dice, is computed for
    each image on its own, or for each strip of an image with more than `most` pixels, which is computed in tiles.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, not {batch_size}")
    confusion = ConfusionMatrix(len(dataset.classes), dataset.ignore_index, dataset.classes)
    total, pixels = 0.0, 0
    for images, masks in _whole_images(dataset, batch_size, most):
        labels = np.empty(masks.shape, np.int64)
        for k, start, found, one_logit in _scores(model, images, most):
            if not go_on():
                return None
            if found.shape[1] != len(dataset.classes):
                raise ValueError(
                    f"the network tells {found.shape[1]} classes apart and the data have {len(dataset.classes)}: {', '.join(dataset.classes)}"
                )
            rows = slice(start, start + found.shape[2])
            labels[k, rows] = F.label(found).cpu().array[0]
            counted = int((masks[k, rows] != dataset.ignore_index).sum())
            if loss is not None and counted:
                given = found if not one_logit or getattr(loss, "by_class", False) else 2 * found[:, 1:]
                total += loss(given, Tensor(masks[k : k + 1, rows]).to(found.device)).item() * counted
                pixels += counted
        for metric in (confusion, *also):
            metric.update(masks, labels)
    return confusion, total / pixels if pixels else float("nan")


def headline(confusion: ConfusionMatrix) -> tuple[str, float]:
    """Name and value of the figure by which runs are compared: with two classes the IoU of class 1, else the mean IoU."""
    if confusion.num_classes == 2:
        return f"{confusion.classes[1]} IoU", float(confusion.iou[1])
    return "mean IoU", confusion.mean_iou


def _dice(confusion: ConfusionMatrix) -> tuple[str, float]:
    if confusion.num_classes == 2:
        return f"{confusion.classes[1]} Dice", float(confusion.f1[1])
    return "mean Dice", confusion.mean_f1


class Score(NamedTuple):
    """A figure by which checkpoints can be compared: ``measure(confusion, loss)`` returns its name and its value."""

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
    """The columns of the log for an evaluation."""
    classes = {f"val_iou_{name}": float(v) for name, v in zip(confusion.classes, confusion.iou, strict=True)}
    return {"val_loss": loss, "val_iou": confusion.mean_iou, "val_dice": confusion.mean_f1, **(classes if len(classes) <= 20 else {})}


def _scores(model: Module, images: np.ndarray, most: int) -> Iterator[tuple[int, int, Tensor, bool]]:
    """The scores (1, K, h, W) of images: number of the image, first row, scores, and whether the network has one logit. Large images come in strips."""
    size = (images.shape[2], images.shape[3])
    one_logit = False

    def scores(batch: np.ndarray) -> Tensor:
        nonlocal one_logit
        with no_grad():
            found = run(model, batch)
        one_logit = found.one_logit
        return found.scores

    tiling = tiling_for(size, most)
    if tiling is None:
        found = scores(images)
        yield from ((k, 0, found[k : k + 1], one_logit) for k in range(len(images)))
        return
    for k, image in enumerate(images):
        for start, strip in blend(lambda tile: scores(tile[None]).cpu().array[0], lambda a, b, image=image: image[:, a:b], size, tiling):  # type: ignore[misc]
            yield k, start, Tensor(strip[None]), one_logit


def _whole_images(dataset: Dataset, batch_size: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The items in order, in batches of consecutive images of one size and of at most `most` pixels."""
    images: list[Any] = []
    masks: list[Any] = []
    for k in range(len(dataset)):
        image, mask = dataset[k]
        full = len(images) == batch_size or (len(images) + 1) * mask.size > most
        if images and (full or image.shape != images[0].shape):
            yield np.stack(images), np.stack(masks)
            images, masks = [], []
        images.append(image)
        masks.append(mask)
    if images:
        yield np.stack(images), np.stack(masks)
