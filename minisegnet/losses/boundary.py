"""U-Net's weight map, which gives the narrow gaps between objects the largest weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet_kernels.components import connected_components, nearest_objects

from ..tensor import Tensor
from .common import Loss, check_number, class_vector, pixel_cross_entropy, pixel_weights, weighted_mean


def unet_weight_map(instances: Any, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    r"""The additional weight of a background pixel that lies between two objects.

    .. math:: w_0 \exp\left(-\frac{(d_1 + d_2)^2}{2\sigma^2}\right)

    :math:`d_1` and :math:`d_2` are the distances to the nearest and the second nearest object.

    Parameters
    ----------
    instances : integer array, (H, W) or (N, H, W)
        0 is background; every other value is one object.
    w0, sigma : float
        Height and width of the Gaussian; the width in pixels.

    Returns
    -------
    array, float64, of the same shape
        0 inside the objects, and everywhere if there are fewer than two objects.

    References
    ----------
    Ronneberger, Fischer & Brox, MICCAI 2015, equation 2, the second term
    """
    instances = np.asarray(instances)
    d1, d2 = nearest_objects(instances, 2)
    return np.where(instances == 0, w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)), 0.0)


class BoundaryWeightedCrossEntropyLoss(Loss):
    r"""Cross-entropy weighted by U-Net's map, so that objects that nearly touch stay separate.

    .. math:: L = \frac{\sum_i w_i l_i}{\sum_i w_i}, \qquad
              w_i = w_{t_i} + w_0 \exp\left(-\frac{(d_1(i) + d_2(i))^2}{2\sigma^2}\right)

    The second term is `unet_weight_map`, for background pixels only. The objects are the connected regions of equal
    label; pixels that touch only at a corner are not connected. If the masks have a class for the rims of objects,
    these regions are the objects without their rims.

    Parameters
    ----------
    w0, sigma : float
    weight : Tensor or array, (C,), optional
        Weights of the classes, w_c.
    background : int
        The label of pixels that belong to no object.
    ignore_index : int
    label_smoothing : float

    References
    ----------
    Ronneberger, Fischer & Brox, MICCAI 2015, equations 1 and 2 (there the sum, here the mean)
    """

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        weight: Any = None,
        *,
        background: int = 0,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ):
        if not (0 <= w0 < np.inf and 0 < sigma < np.inf):
            raise ValueError(f"BoundaryWeightedCrossEntropyLoss: w0 must not be negative and sigma must be positive; got {w0} and {sigma}")
        super().__init__(ignore_index)
        self.w0, self.sigma, self.background, self.label_smoothing = w0, sigma, background, label_smoothing
        self.weight: Tensor | None
        self.register_buffer("weight", class_vector(weight))

    def weights(self, target: Any) -> np.ndarray:
        """The weight of each pixel, w_i: float64 (N, H, W) for labels (N, H, W); 0 for ignored pixels."""
        labels = (target if isinstance(target, Tensor) else Tensor(target)).cpu().array
        objects = np.where((labels == self.background) | (labels == self.ignore_index), 0, labels + 1 if self.background else labels)
        between = unet_weight_map(connected_components(objects), self.w0, self.sigma)
        weight = None if self.weight is None else self.weight.cpu()
        return pixel_weights(labels, weight, self.ignore_index, np.float64) + np.where(labels == self.background, between, 0)

    def forward(self, scores: Tensor, target: Any) -> Tensor:
        """The loss of scores (N, C, H, W), logits, for labels (N, H, W)."""
        check_number(self.weight, scores)
        losses = pixel_cross_entropy(scores, target, self.ignore_index, self.label_smoothing)  # first: it checks the labels
        weights = Tensor(self.weights(target).astype(scores.dtype)).to(scores.device)
        return weighted_mean(losses, weights.array)

    def extra_repr(self) -> str:
        return self._named(w0=self.w0, sigma=self.sigma, background=self.background, label_smoothing=self.label_smoothing)
