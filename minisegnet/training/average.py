"""A moving average of a network's weights, which often labels better than the weights of any single step."""

from __future__ import annotations

import copy

from ..nn import Module
from ..tensor import Tensor


class ExponentialMovingAverage:
    r"""An exponential moving average of a network's weights.

    .. math:: \bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta, \qquad d = \min\left(\text{decay}, \frac{1 + t}{10 + t}\right)

    after step t, for parameters and running statistics alike. The second bound makes the average soon forget the first steps, whose
    weights are hardly better than random ones. Integers (counters) are copied.

    Parameters
    ----------
    model : Module
        The network whose weights are averaged; it is not changed.
    decay : float
        From 0 (no memory) to less than 1. The average covers about 1 / (1 − decay) steps.

    Attributes
    ----------
    model : Module
        A copy of the network with the averaged weights. It is evaluated while the network itself is trained.

    References
    ----------
    Polyak & Juditsky, SIAM Journal on Control and Optimization 30.4, 1992; the bound is that of TensorFlow's
    ``ExponentialMovingAverage(num_updates=...)``
    """

    def __init__(self, model: Module, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"ema is a decay from 0 to less than 1, not {decay}")
        self.decay, self.model = decay, copy.deepcopy(model)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The averages by name."""
        return self.model.state_dict()

    def update(self, model: Module, step: int) -> None:
        """Include the weights of `model` after step `step`, counted from 1."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        means = self.weights
        for name, value in model.state_dict().items():
            mean = means[name]
            mean.copy_(mean + share * (value - mean) if mean.dtype.kind == "f" else value)
