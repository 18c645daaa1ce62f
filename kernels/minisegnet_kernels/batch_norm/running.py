"""Running statistics on a GPU: an update that the launch of the normalisation makes in passing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import poisoned, uninitialised
from ..modes import Mode


class Update:
    """An update of running statistics in the launch of the next inference; see `batch_norm.update_running` for the arguments."""

    def __init__(self, mean: Any, variance: Any, count: int, momentum: float, batches: Any):
        self._targets, self._batches = (mean, variance), batches
        self._options = (momentum, count / (count - 1))
        self.rho: Any = None  # of the batch, when the update has been made

    def arguments(self, mu: Any) -> tuple:
        """What the kernels named ``__running`` take beside the statistics and eps."""
        self.rho = poisoned(mu, mu.shape)
        batches = uninitialised(mu, (0,), np.int64) if self._batches is None else self._batches.reshape(1)
        return (*self._options, *self._targets, self.rho, batches)


#: The update that the next inference on a GPU makes in passing.
UPDATE: Mode[Update | None] = Mode("update", None)
