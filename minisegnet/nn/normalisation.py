"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisegnet_kernels import backends, checks

from .. import functional as F
from ..functional.normalisation import normalised, normalised_relu
from ..tensor import Tensor
from .module import Module
from .parameter import Buffer, Parameter


class BatchNorm2d(Module):
    """Normalise each channel of (N, C, H, W) over N, H and W; then scale and shift it.

    In training it normalises with the statistics of the batch and updates running averages:
    ``running ← (1 − momentum)·running + momentum·batch``, with the unbiased variance. In
    evaluation it normalises with the running averages. (Keras' momentum is one minus this one.)

    Parameters
    ----------
    num_features : int
    eps : float
        Added to the variance.
    momentum : float or None
        None averages over all batches with equal weight.
    affine : bool
        Whether the layer has a learnable `weight` and `bias`, (C,).
    track_running_stats : bool
        Whether running averages are kept. If not, the statistics of the batch are used in evaluation too.

    References
    ----------
    Ioffe & Szegedy, ICML 2015
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True
    ):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, np.float32)) if track_running_stats else None
        self.running_var = Buffer(np.ones(num_features, np.float32)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.zeros((), np.int64)) if track_running_stats else None

    def reset_running_stats(self) -> None:
        """Forget the running averages."""
        for name, value in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            if (buffer := getattr(self, name)) is not None:
                buffer.fill_(value)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)

    def run(self, x: Tensor, relu: bool = False, statistics: Sequence[Tensor | None] = (None, None)) -> Tensor:
        """Normalise with this layer's state, and apply a ReLU if asked. `statistics` are the batch's mean and variance, if known."""
        checks.rank("BatchNorm2d", "input", x, "N C H W")
        momentum, batches = self.momentum, self.num_batches_tracked
        if momentum is None:
            momentum = 1 / (batches.item() + 1) if self.training and batches is not None and backends.computes() else 0.0
        state = (self.running_mean, self.running_var, self.weight, self.bias)
        normalise = normalised_relu if relu else normalised
        return normalise(x, *state, self.uses_batch, momentum, self.eps, *statistics, batches)

    @property
    def uses_batch(self) -> bool:
        """Whether the layer now normalises with the batch's statistics rather than the running ones."""
        return self.training or self.running_mean is None

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, track_running_stats={self.track_running_stats}"


class LocalResponseNorm(Module):
    """Divide each value by a function of its neighbours' squares along the channel axis; see `functional.local_response_norm`.

    Parameters
    ----------
    size : int
        Channels in the neighbourhood.
    alpha, beta, k : float
        ``y = x / (k + alpha/size · Σ x²)^beta``.

    References
    ----------
    Krizhevsky, Sutskever & Hinton, NIPS 2012, section 3.3
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
