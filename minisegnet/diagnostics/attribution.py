"""Seg-Grad-CAM: which places of an image made the network say a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from ..inference.whole import run
from ..nn import Module
from ..tensor import Tensor
from .layers import at_rest, recorded


@dataclass(frozen=True)
class Attribution:
    """What `seg_grad_cam` found.

    Attributes
    ----------
    heat : array, (H, W)
        Not negative. Where it is large, the features of the layer speak for the class.
    layer : str
    target : int
    score : float
        The sum of the scores that is explained.
    """

    heat: np.ndarray
    layer: str
    target: int
    score: float


def seg_grad_cam(model: Module, image: np.ndarray, target: int, mask: np.ndarray | None = None, layer: str | None = None) -> Attribution:
    """Weigh the feature maps of a layer by how much they raise the scores of a class.

    ::

        y = Σ_mask s_c        α_k = mean_ij ∂y/∂A_k,ij        heat = ReLU(Σ_k α_k A_k)

    Parameters
    ----------
    model : Module
        Computes in evaluation mode and is left as it was, its gradients too.
    image : array, (C, H, W)
        Prepared: standardised.
    target : int
        The class c.
    mask : bool array, (H, W), optional
        Whose pixels' scores are explained: one object, or one pixel. By default all that are labelled `target`,
        or all, if none is.
    layer : str, optional
        Path of a module whose output A is (1, K, h, w); by default the last one of the lowest resolution.

    Returns
    -------
    Attribution
        The heat of the layer's grid is resized to that of the image, bilinear: exact in place for networks that pad.

    Raises
    ------
    ValueError
        If there is no such class or layer, or the mask does not fit or is empty.

    References
    ----------
    Vinogradova, Dibrov & Myers, "Towards Interpretable Semantic Segmentation via Gradient-weighted Class
    Activation Mapping", AAAI 2020
    """
    with at_rest(model), recorded(model, None if layer is None else [layer]) as outputs:
        found = run(model, np.asarray(image)[None], record=True)
    classes = found.scores.shape[1]
    if not 0 <= target < classes:
        raise ValueError(f"there is no class {target}: the network tells {classes} apart, 0 to {classes - 1}")
    chosen = _mask(mask, found.scores.detach().cpu().array[0], target)
    name = layer if layer is not None else _coarsest(outputs, found.input.shape[2:])
    features = outputs[name]
    features.retain_grad()
    seed = np.zeros(found.scores.shape, found.scores.dtype)
    seed[0, target] = chosen
    found.scores.backward(Tensor(seed).to(found.scores.device))
    if features.grad is None:
        raise ValueError(f"the scores do not depend on the output of {name}")
    alpha = features.grad.mean((2, 3), keepdim=True)
    heat = F.relu((alpha * features.detach()).sum(1, keepdim=True))
    top, left = found.offset
    heat = F.interpolate(heat, found.input.shape[2:], mode="bilinear").cpu().array[0, 0]
    heat = heat[top : top + chosen.shape[0], left : left + chosen.shape[1]]
    return Attribution(heat, name, target, float(found.scores.detach().cpu().array[0, target][chosen].sum()))


def _mask(mask: Any, found: np.ndarray, target: int) -> np.ndarray:
    if mask is None:
        labelled = found.argmax(axis=0) == target
        return labelled if labelled.any() else np.ones_like(labelled)
    mask = np.asarray(mask, bool)
    if mask.shape != found.shape[1:] or not mask.any():
        raise ValueError(
            f"a mask has the shape of the image, {found.shape[1:]}, and is not empty; got {mask.shape}, {int(mask.sum())} pixels"
        )
    return mask


def _coarsest(outputs: dict[str, Tensor], size: tuple[int, int]) -> str:
    """The last layer of the lowest resolution; below 1/32 of the image's sides there is pooling for context, not for place."""
    maps = {name: out.shape[2] * out.shape[3] for name, out in outputs.items() if out.ndim == 4 and out.requires_grad}
    enough = {name: area for name, area in maps.items() if area * 1024 >= size[0] * size[1]} or maps
    lowest = min(enough.values())
    return [name for name, area in enough.items() if area == lowest][-1]
