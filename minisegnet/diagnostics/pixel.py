"""The path of one pixel: from the image through every layer to its loss, and the gradient on its way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..inference.whole import run
from ..nn import Module
from ..tensor import Tensor
from .layers import at_rest, leaves, recorded

Box = tuple[int, int, int, int]  # top, bottom, left, right; bottom and right are not part of it


@dataclass(frozen=True)
class LayerTrace:
    """What a layer has to do with the pixel.

    Attributes
    ----------
    name, kind : str
        Path and class of the module.
    shape : tuple
        Of its output, (C, h, w).
    box : Box
        The smallest rectangle of the output that holds all values on which the loss of the pixel depends.
    low, high : float
        The range of the values in the box.
    gradient : float
        The norm of the gradient of the loss for the output.
    values, flow : array, (h, w)
        The mean of the output over its channels; the norm of the gradient at each place.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    box: Box
    low: float
    high: float
    gradient: float
    values: np.ndarray
    flow: np.ndarray


@dataclass(frozen=True)
class PixelTrace:
    """What `trace_pixel` found.

    Attributes
    ----------
    pixel : (int, int)
        Row and column.
    target, label : int
        The class with which it was compared, and the class that the network chose.
    scores, probabilities : float64, (K,)
    loss : float
        ``−log p_target``.
    seed : float64, (K,)
        The gradient of the loss for the scores, ``p − onehot(target)``.
    layers : list of LayerTrace
        The image first, then every layer on which the pixel depends, in the order of computation.
    offset : (int, int)
        Where the image begins in what the network was given.
    """

    pixel: tuple[int, int]
    target: int
    label: int
    scores: np.ndarray
    probabilities: np.ndarray
    loss: float
    seed: np.ndarray
    layers: list[LayerTrace]
    offset: tuple[int, int]

    @property
    def receptive_field(self) -> Box:
        """The rectangle of the image that the pixel sees; it may reach beyond the image where the network was given a border."""
        top, bottom, left, right = self.layers[0].box
        return top - self.offset[0], bottom - self.offset[0], left - self.offset[1], right - self.offset[1]

    def __str__(self) -> str:
        top, bottom, left, right = self.receptive_field
        rows = [
            (t.name, t.kind, " × ".join(map(str, t.shape)), _size(t.box), f"{t.low:.3g} … {t.high:.3g}", f"{t.gradient:.3g}")
            for t in self.layers
        ]
        head = ("layer", "kind", "output", "seen there", "values there", "‖∂loss‖")
        widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
        table = [
            "  ".join(cell.ljust(w) if c < 2 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in (head, *rows)
        ]
        p = " ".join(f"{value:.4f}" for value in self.probabilities)
        return "\n".join(
            [
                f"pixel (row {self.pixel[0]}, column {self.pixel[1]}): label {self.label}, compared with class {self.target}",
                f"probabilities {p}   loss −log p = {self.loss:.4g}   ∂loss/∂scores {' '.join(f'{value:+.4f}' for value in self.seed)}",
                f"it sees rows {top} to {bottom - 1} and columns {left} to {right - 1} of the image"
                if bottom > top
                else "no gradient reaches the image: the answer does not depend on it",
                "",
                *table,
            ]
        )


def trace_pixel(model: Module, image: np.ndarray, pixel: tuple[int, int], target: int | None = None) -> PixelTrace:
    """Follow one pixel through a network, forwards and backwards.

    Its loss is the cross-entropy with `target`. The gradient of it for a layer's output is zero wherever the
    pixel does not look: so the gradient shows the receptive field, as far as it is in use, and the norm of the
    gradient shows which layers could still change the answer.

    Parameters
    ----------
    model : Module
        Computes in evaluation mode and is left as it was, its gradients too.
    image : array, (C, H, W)
        Prepared: standardised.
    pixel : (int, int)
        Row and column.
    target : int, optional
        The class that it should have; by default the one that the network chose.

    Returns
    -------
    PixelTrace

    Raises
    ------
    ValueError
        If the pixel lies outside of the image, or there is no such class.
    """
    image = np.asarray(image)
    row, column = pixel
    if image.ndim != 3 or not (0 <= row < image.shape[1] and 0 <= column < image.shape[2]):
        raise ValueError(f"pixel {row}, {column} (row, column) lies outside of an image of shape {image.shape} (C, H, W)")
    with at_rest(model), recorded(model) as outputs:
        found = run(model, image[None], record=True)
    for output in outputs.values():
        if output.requires_grad:
            output.retain_grad()
    scores = found.scores.detach().cpu().array[0, :, row, column].astype(np.float64)
    label = int(scores.argmax())
    target = label if target is None else target
    if not 0 <= target < len(scores):
        raise ValueError(f"there is no class {target}: the network tells {len(scores)} apart, 0 to {len(scores) - 1}")
    logs = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
    seed = np.exp(logs)
    seed[target] = np.expm1(logs[target])  # p − 1 without cancelling digits when p is nearly 1

    # The chain rule is linear: a seed of length 1 is sent back, and the length is multiplied in afterwards.
    # So the receptive field shows even where the loss, and with it the gradient, is all but zero.
    length = float(np.linalg.norm(seed))
    sent = np.zeros(found.scores.shape, found.scores.dtype)
    sent[0, :, row, column] = seed / length if length else np.eye(len(scores))[target]
    found.scores.backward(Tensor(sent).to(found.scores.device))

    kinds = {name: type(module).__name__ for name, module in leaves(model).items()}
    steps = [("image", "", found.input), *((name, kinds[name], output) for name, output in outputs.items())]
    layers = [_layer(name, kind, output, length) for name, kind, output in steps if output.grad is not None and output.ndim == 4]
    return PixelTrace((row, column), target, label, scores, np.exp(logs), -float(logs[target]), seed, layers, found.offset)


def _layer(name: str, kind: str, output: Tensor, length: float) -> LayerTrace:
    values, gradient = output.detach().cpu().array[0], output.grad.cpu().array[0]  # type: ignore[union-attr]
    flow = np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=0))
    box = _box(flow > 0)
    seen = values[:, box[0] : box[1], box[2] : box[3]]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (float("nan"),) * 2
    return LayerTrace(name, kind, values.shape, box, low, high, length * float(np.linalg.norm(flow)), values.mean(axis=0), length * flow)


def _box(there: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1) if rows.size else (0, 0, 0, 0)


def _size(box: Box) -> str:
    return f"{box[1] - box[0]} × {box[3] - box[2]}"
