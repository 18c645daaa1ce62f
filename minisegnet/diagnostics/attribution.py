"""Seg-Grad-CAM: which places of an image raise the scores of a class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from ..inference.whole import run
from ..nn import Module
from ..tensor import Tensor
from ..trace import layers_recorded
from ..viz.gallery import Panel, gallery
from ..viz.pictures import as_rgb
from .layers import chosen, last_outputs


@dataclass(frozen=True)
class Attribution:
    """The result of `seg_grad_cam`.

    Attributes
    ----------
    heat : array, (H, W)
        Not negative. Large where the features of the layer raise the scores of the class.
    layer : str
    target : int
    score : float
        The sum of the scores that is explained.
    """

    heat: np.ndarray
    layer: str
    target: int
    score: float

    def draw(self, image: np.ndarray, name: str, path: str | os.PathLike | None = None) -> Any:
        """The image, the heat, and the heat laid over the image.

        Parameters
        ----------
        image : array, (H, W), (C, H, W), or uint8 (H, W, 3)
        name : str
            The name of the class, for the title.
        path : path, optional
            Where to write the PNG. Without it, the picture is returned.

        Returns
        -------
        Path or PIL.Image.Image
        """
        from matplotlib import colormaps

        base = as_rgb(image)
        strength = self.heat / max(float(self.heat.max()), 1e-30)
        colour = colormaps["inferno"](strength)[..., :3] * 255
        laid = np.rint(base * (1 - 0.75 * strength[..., None]) + colour * 0.75 * strength[..., None]).astype(np.uint8)
        panels = [
            Panel("image", base),
            Panel("heat", self.heat, "inferno", (0.0, float(self.heat.max()))),
            Panel("heat over the image", laid),
        ]
        return gallery(panels, path, title=f"What speaks for {name}", note=f"Seg-Grad-CAM at {self.layer}", columns=3, cell=2.8)


def seg_grad_cam(model: Module, image: np.ndarray, target: int, mask: np.ndarray | None = None, layer: str | None = None) -> Attribution:
    """Weigh the feature maps of a layer by how much each raises the scores of a class.

    ::

        y = Σ_mask s_c        α_k = mean_ij ∂y/∂A_k,ij        heat = ReLU(Σ_k α_k A_k)

    Parameters
    ----------
    model : Module
        Used in evaluation mode and left unchanged, its gradients included.
    image : array, (C, H, W)
        Standardised, as in training.
    target : int
        The class c.
    mask : bool array, (H, W), optional
        The pixels whose scores are explained: those of one object, or a single one. By default all pixels that are
        labelled `target`, or the whole image if no pixel is.
    layer : str, optional
        Path of a module whose output A is (1, K, h, w). By default the last layer of the lowest resolution.

    Returns
    -------
    Attribution
        The heat is computed on the layer's grid and resized to the image (bilinear). Positions are exact for networks that pad.

    Raises
    ------
    ValueError
        If the network has no such class or layer, or the mask has another shape than the image or is empty.

    References
    ----------
    Vinogradova, Dibrov & Myers, "Towards Interpretable Semantic Segmentation via Gradient-weighted Class
    Activation Mapping", AAAI 2020
    """
    with layers_recorded(chosen(model, None if layer is None else [layer])) as recorded:
        found = run(model, np.asarray(image)[None], record=True)
    outputs = last_outputs(recorded)
    classes = found.scores.shape[1]
    if not 0 <= target < classes:
        raise ValueError(f"there is no class {target}: the network has {classes} classes, 0 to {classes - 1}")
    explained = _mask(mask, found.scores.detach().cpu().array[0], target)
    name = layer if layer is not None else _coarsest(outputs, found.input.shape[2:])
    features = outputs[name]
    seed = np.zeros(found.scores.shape, found.scores.dtype)
    seed[0, target] = explained
    found.scores.backward(Tensor(seed).to(found.scores.device), inputs=features)
    if features.grad is None:
        raise ValueError(f"the scores do not depend on the output of {name}")
    alpha = features.grad.mean((2, 3), keepdim=True)
    heat = F.relu((alpha * features.detach()).sum(1, keepdim=True))
    top, left = found.offset
    heat = F.interpolate(heat, found.input.shape[2:], mode="bilinear").cpu().array[0, 0]
    heat = heat[top : top + explained.shape[0], left : left + explained.shape[1]]
    return Attribution(heat, name, target, float(found.scores.detach().cpu().array[0, target][explained].sum()))


def _mask(mask: Any, found: np.ndarray, target: int) -> np.ndarray:
    if mask is None:
        labelled = found.argmax(axis=0) == target
        return labelled if labelled.any() else np.ones_like(labelled)
    mask = np.asarray(mask, bool)
    if mask.shape != found.shape[1:] or not mask.any():
        raise ValueError(
            f"expected a mask with the shape of the image, {found.shape[1:]}, and at least one pixel; got {mask.shape} with {int(mask.sum())} pixels"
        )
    return mask


def _coarsest(outputs: dict[str, Tensor], size: tuple[int, int]) -> str:
    """The last layer of the lowest resolution that is at least 1/32 of the image: smaller maps pool context and have lost the place."""
    maps = {name: out.shape[2] * out.shape[3] for name, out in outputs.items() if out.ndim == 4 and out.requires_grad}
    enough = {name: area for name, area in maps.items() if area * 1024 >= size[0] * size[1]} or maps
    lowest = min(enough.values())
    return [name for name, area in enough.items() if area == lowest][-1]
