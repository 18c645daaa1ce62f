"""The path of one pixel: from the image through every layer to its loss, and the gradient on its way back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..inference.whole import run
from ..nn import Module
from ..tensor import Tensor
from ..trace import layers_recorded, leaves
from ..viz.gallery import Panel, gallery
from ..viz.pictures import as_rgb
from .layers import last_outputs

Box = tuple[int, int, int, int]  # top, bottom, left, right; bottom and right are not part of it
_FAINTEST = -5.0  # a gradient below 10⁻⁵ of the largest is drawn black


@dataclass(frozen=True)
class PathStep:
    """What one layer contributes to the pixel.

    Attributes
    ----------
    name, kind : str
        Path and class of the module.
    shape : tuple
        The shape of its output, (C, h, w).
    box : Box
        The smallest rectangle of the output that contains all values on which the loss of the pixel depends.
    low, high : float
        The range of the values in the box.
    gradient : float
        The norm of the gradient of the loss with respect to the output.
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
class PixelPath:
    """The result of `follow_pixel`: ``print`` shows it as a table, `draw` as a picture.

    Attributes
    ----------
    pixel : (int, int)
        Row and column.
    target, label : int
        The class of which the loss is computed, and the class that the network chose.
    scores, probabilities : float64, (K,)
    loss : float
        ``−log p_target``.
    seed : float64, (K,)
        The gradient of the loss with respect to the scores, ``p − onehot(target)``.
    layers : list of PathStep
        The image first, then every layer on which the pixel depends, in the order of computation.
    offset : (int, int)
        Row and column at which the image begins in the network's input, which may have a border around it.
    """

    pixel: tuple[int, int]
    target: int
    label: int
    scores: np.ndarray
    probabilities: np.ndarray
    loss: float
    seed: np.ndarray
    layers: list[PathStep]
    offset: tuple[int, int]

    @property
    def receptive_field(self) -> Box:
        """The rectangle of the image that the pixel sees. It reaches beyond the image where the network's input has a border."""
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
                else "no gradient reaches the image: the label does not depend on it",
                "",
                *table,
            ]
        )

    def draw(self, image: np.ndarray, path: str | os.PathLike | None = None, *, classes: Sequence[str] | None = None) -> Any:
        """The image with the area that the pixel sees, the gradient that reaches the image, and the outputs of the layers.

        Parameters
        ----------
        image : array, (C, H, W)
            The one that was given to `follow_pixel`.
        path : path, optional
            Where to write the PNG. Without it, the picture is returned.
        classes : sequence of str, optional
            Names of the classes, for the title.

        Returns
        -------
        Path or PIL.Image.Image
            Layers are drawn in grey, as the mean of their channels. Of consecutive layers with outputs of the same
            shape only the last is drawn. The box contains everything on which the pixel depends.
        """
        named = (lambda k: classes[k]) if classes is not None else (lambda k: f"class {k}")
        first, *rest = self.layers
        shown = [layer for layer, following in pairwise([*rest, None]) if layer and (following is None or following.shape != layer.shape)]
        (row, column), (top, left) = self.pixel, self.offset
        share = first.flow / max(float(first.flow.max()), 1e-300)
        powers = np.log10(np.maximum(share, 10.0**_FAINTEST))
        panels = [
            Panel("image", as_rgb(image), box=self.receptive_field, point=self.pixel),
            Panel("|∂loss/∂image|, log₁₀", powers, "inferno", (_FAINTEST, 0.0), box=first.box, point=(row + top, column + left)),
        ]
        for layer in shown:
            caption = f"{layer.name.partition('.')[0]} {layer.kind}  ‖g‖ {layer.gradient:.2g}"
            panels.append(Panel(caption, layer.values, "gray", scale=False, box=layer.box))
        top, bottom, left, right = self.receptive_field
        title = f"Row {row}, column {column}: {named(self.label)}, p = {self.probabilities[self.label]:.3f}"
        note = (
            f"compared with {named(self.target)}, loss {self.loss:.3g}; it sees {bottom - top} × {right - left} pixels. "
            "Grey: mean of the channels; ‖g‖: norm of the gradient of the loss"
        )
        return gallery(panels, path, title=title, note=note, columns=6, cell=2.0)


def follow_pixel(model: Module, image: np.ndarray, pixel: tuple[int, int], target: int | None = None) -> PixelPath:
    """Follow one pixel through a network, forwards and backwards.

    The loss of the pixel is its cross-entropy with `target`. The gradient of this loss with respect to a layer's
    output is zero wherever the pixel does not look. It therefore shows the part of the receptive field that is
    in use, and its norm shows which layers could still change the label.

    Parameters
    ----------
    model : Module
        Used in evaluation mode and left unchanged, its gradients included.
    image : array, (C, H, W)
        Standardised, as in training.
    pixel : (int, int)
        Row and column.
    target : int, optional
        The class that the pixel should have. By default the class that the network chose.

    Returns
    -------
    PixelPath

    Raises
    ------
    ValueError
        If the pixel lies outside the image, or the network has no such class.
    """
    image = np.asarray(image)
    row, column = pixel
    if image.ndim != 3 or not (0 <= row < image.shape[1] and 0 <= column < image.shape[2]):
        raise ValueError(f"pixel {row}, {column} (row, column) lies outside an image of shape {image.shape} (C, H, W)")
    with layers_recorded(leaves(model)) as recorded:
        found = run(model, image[None], record=True)
    outputs = last_outputs(recorded)
    scores = found.scores.detach().cpu().array[0, :, row, column].astype(np.float64)
    label = int(scores.argmax())
    target = label if target is None else target
    if not 0 <= target < len(scores):
        raise ValueError(f"there is no class {target}: the network has {len(scores)} classes, 0 to {len(scores) - 1}")
    logs = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
    seed = np.exp(logs)
    seed[target] = np.expm1(logs[target])  # p − 1, accurate when p is nearly 1

    # When the network is sure, the gradient of the loss is almost 0 and would underflow on its way back.
    # The chain rule is linear, so a unit gradient is sent back and scaled afterwards.
    length = float(np.linalg.norm(seed))
    sent = np.zeros(found.scores.shape, found.scores.dtype)
    sent[0, :, row, column] = seed / length if length else np.eye(len(scores))[target]
    watched = [found.input, *(output for output in outputs.values() if output.requires_grad)]
    found.scores.backward(Tensor(sent).to(found.scores.device), inputs=watched)

    kinds = {name: type(module).__name__ for name, module in leaves(model).items()}
    steps = [("image", "", found.input), *((name, kinds[name], output) for name, output in outputs.items())]
    layers = [_layer(name, kind, output, length) for name, kind, output in steps if output.grad is not None and output.ndim == 4]
    return PixelPath((row, column), target, label, scores, np.exp(logs), -float(logs[target]), seed, layers, found.offset)


def _layer(name: str, kind: str, output: Tensor, length: float) -> PathStep:
    values, gradient = output.detach().cpu().array[0], output.grad.cpu().array[0]  # type: ignore[union-attr]
    flow = np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=0))
    box = _box(flow > 0)
    seen = values[:, box[0] : box[1], box[2] : box[3]]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (float("nan"),) * 2
    return PathStep(name, kind, values.shape, box, low, high, length * float(np.linalg.norm(flow)), values.mean(axis=0), length * flow)


def _box(there: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1) if rows.size else (0, 0, 0, 0)


def _size(box: Box) -> str:
    return f"{box[1] - box[0]} × {box[3] - box[2]}"
