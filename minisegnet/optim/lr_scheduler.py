"""Learning-rate schedules: the rate as a function of the number of steps.

PyTorch's ``torch.optim.lr_scheduler``, in closed form, so that one can follow another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .optimizer import Optimizer


class LRScheduler:
    """A learning rate that is a function of the number of steps.

    Call ``step()`` after each ``optimizer.step()``. A new schedule sets the rate of step 0.

    Parameters
    ----------
    optimizer : Optimizer
        The rates of its groups at this moment are the base rates.

    Attributes
    ----------
    last_epoch : int
        How many times ``step()`` was called (PyTorch's name; here a step is an iteration).
    """

    def __init__(self, optimizer: Optimizer):
        self.optimizer, self.last_epoch = optimizer, 0
        self._set()

    def rate(self, base: float, t: int) -> float:
        """The learning rate after t steps of a group whose base rate is `base`."""
        raise NotImplementedError

    def step(self) -> None:
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group.setdefault("initial_lr", group["lr"]), self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Numbers only; a schedule inside is a dict inside. The base rates are the optimiser's to save."""
        own = {name: value for name, value in vars(self).items() if name != "optimizer"}
        return {name: value.state_dict() if isinstance(value, LRScheduler) else value for name, value in own.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another schedule of this kind stopped; load the optimiser's state first."""
        for name, value in state_dict.items():
            inner = getattr(self, name)
            if isinstance(inner, LRScheduler):
                inner.load_state_dict(value)
            else:
                setattr(self, name, value)
        self._set()


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` after every `step_size` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the base rate to `eta_min` in `T_max` steps (Loshchilov & Hutter, ICLR 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class PolynomialLR(LRScheduler):
    """``base·(1 − t/total_iters)^power``, the "poly" rate of segmentation (0.9 in DeepLab and PSPNet)."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class LinearWarmup(LRScheduler):
    """Grow from ``start_factor·base`` to the base rate in `total_iters` steps; then follow another schedule.

    PyTorch writes this ``SequentialLR([LinearLR(...), then], [total_iters])``.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int
    then : LRScheduler, optional
        Of the same optimiser; its step 0 comes when the warm-up is over. Do not call its ``step()``.
    start_factor : float
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, then: LRScheduler | None = None, start_factor: float = 0.01):
        if then is not None and then.optimizer is not optimizer:
            raise ValueError("LinearWarmup: the schedule that follows belongs to another optimiser")
        self.total_iters, self.then, self.start_factor = total_iters, then, start_factor
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        if t < self.total_iters:
            return base * (self.start_factor + (1 - self.start_factor) * t / self.total_iters)
        return base if self.then is None else self.then.rate(base, t - self.total_iters)
