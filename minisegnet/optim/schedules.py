"""Learning-rate schedules in PyTorch's chainable form; names, arguments and state are those of ``torch.optim.lr_scheduler``.

A schedule is a function `rate` of the number of steps. In each step it multiplies the rate that the optimiser has *now*
by ``rate(t) / rate(t − 1)``. So several schedules may act on one optimiser, and a rate that was set by hand stays set.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from .optimizer import Optimizer


class LRScheduler:
    """A learning rate that changes with the number of steps.

    Call ``step()`` after each ``optimizer.step()``. Creating a schedule sets the rates of step 0.

    Parameters
    ----------
    optimizer : Optimizer
        The base rate of a group is the rate it had when its first schedule was created (``initial_lr``).
    last_epoch : int
        The step to continue from, for an optimiser whose state was loaded; −1 starts anew.

    Attributes
    ----------
    last_epoch : int
        How many times ``step()`` was called (PyTorch's name; here a step is usually an iteration).
    base_lrs : list of float
        The base rate of each group.

    Raises
    ------
    KeyError
        If `last_epoch` is given and the optimiser's groups have no ``initial_lr``.
    """

    floor = 0.0  # only the part of a rate above this is multiplied

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"last_epoch={last_epoch} continues an earlier run, but group {k} of the optimiser has no initial_lr")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def rate(self, base: float, t: int) -> float:
        """The learning rate after t steps of a group whose base rate is `base`, if nothing else changes it."""
        raise NotImplementedError

    def step(self) -> None:
        """Count a step and change the rate of each group."""
        self.last_epoch += 1
        self._set([self._next(group["lr"], base) for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True)])

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as this schedule set it in its last step."""
        return self._last_lr

    def _next(self, lr: float, base: float) -> float:
        t = self.last_epoch
        before, now = self.rate(base, t - 1) if t else base, self.rate(base, t)
        if before == now:
            return lr
        if before == self.floor:  # nothing is left to multiply
            return lr + (now - before)
        return self.floor + (lr - self.floor) * (now - self.floor) / (before - self.floor)

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates

    def _start_anew(self) -> None:
        """Return to step 0 and its rates, whatever they are now."""
        self.last_epoch = 0
        self._set([self.rate(base, 0) for base in self.base_lrs])

    def state_dict(self) -> dict[str, Any]:
        """The schedule's numbers, and the state of each schedule inside it. The rates themselves are in the optimiser's state."""
        own = {name: value for name, value in vars(self).items() if name != "optimizer" and not callable(value)}
        return {name: _state_of(value) for name, value in own.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another schedule of this kind stopped, of this library or of PyTorch; load the optimiser's state too."""
        for name, value in state_dict.items():
            inner = getattr(self, name, None)
            if isinstance(inner, LRScheduler):
                inner.load_state_dict(value)
            elif isinstance(inner, list) and inner and isinstance(inner[0], LRScheduler):
                for schedule, state in zip(inner, value, strict=True):
                    schedule.load_state_dict(state)
            elif name in vars(self):
                setattr(self, name, value)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def _length(schedule: str, name: str, steps: Any) -> Any:
    if not isinstance(steps, Real) or not 0 < float(steps) < math.inf:
        raise ValueError(f"{schedule}: expected {name} steps, more than 0, got {steps!r}")
    return steps


def _state_of(value: Any) -> Any:
    if isinstance(value, LRScheduler):
        return value.state_dict()
    return [_state_of(v) for v in value] if isinstance(value, list) else value


def _of_one_optimizer(name: str, optimizer: Optimizer, schedules: Iterable[LRScheduler]) -> None:
    if any(schedule.optimizer is not optimizer for schedule in schedules):
        raise ValueError(f"{name}: a schedule that follows belongs to another optimiser")


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` after every `step_size` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size, self.gamma = _length("StepLR", "step_size", step_size), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each of the `milestones`, which are numbers of steps."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As `LRScheduler.load_state_dict`; PyTorch's milestones are a ``Counter``, which is accepted too."""
        milestones = state_dict.get("milestones", self.milestones)
        if isinstance(milestones, Mapping):
            milestones = sorted(int(step) for step, times in milestones.items() for _ in range(times))
        super().load_state_dict({**state_dict, "milestones": milestones})


class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` in every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma**t


class CosineAnnealingLR(LRScheduler):
    """Follow half a cosine from the base rate to `eta_min` in `T_max` steps, then back (Loshchilov & Hutter, ICLR 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max, self.eta_min = _length("CosineAnnealingLR", "T_max", T_max), eta_min
        super().__init__(optimizer, last_epoch)

    floor = property(lambda self: self.eta_min)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class PolynomialLR(LRScheduler):
    """``base·(1 − t/total_iters)^power``, the "poly" rate of segmentation (0.9 in DeepLab and PSPNet)."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters, self.power = _length("PolynomialLR", "total_iters", total_iters), power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class LinearLR(LRScheduler):
    """From ``start_factor·base`` to ``end_factor·base`` in `total_iters` steps, in a straight line."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5, last_epoch: int = -1
    ):
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: expected 0 < start_factor ≤ 1 and 0 ≤ end_factor ≤ 1, got {start_factor} and {end_factor}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = _length("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * (self.start_factor + (self.end_factor - self.start_factor) * min(t, self.total_iters) / self.total_iters)


class LambdaLR(LRScheduler):
    """``base · lr_lambda(t)``, which replaces whatever the rate was (as in PyTorch, this one does not chain).

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list of callables
        Maps the number of steps to a factor; one function for all groups or one for each. A `state_dict` does not hold them.
    last_epoch : int
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], last_epoch: int = -1):
        groups = len(optimizer.param_groups)
        lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(lambdas) != groups:
            raise ValueError(f"LambdaLR: expected a function for each of the {groups} groups, got {len(lambdas)}")
        self.lr_lambdas = lambdas
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        self.last_epoch += 1
        self._set([base * factor(self.last_epoch) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)])

    def _start_anew(self) -> None:
        self.last_epoch = -1
        self.step()

    def state_dict(self) -> dict[str, Any]:
        """The schedule's numbers. It does not hold the functions, which the caller has to keep."""
        return {name: value for name, value in super().state_dict().items() if name != "lr_lambdas"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As `LRScheduler.load_state_dict`; the functions stay those of this schedule."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "lr_lambdas"})


class LinearWarmup(LRScheduler):
    """Grow from ``start_factor·base`` to the base rate in `total_iters` steps; then follow another schedule.

    PyTorch writes this ``SequentialLR(optimizer, [LinearLR(...), then], [total_iters])``.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int
    then : LRScheduler, optional
        A schedule of the same optimiser; its step 0 comes when the warm-up is over. Do not call its ``step()``.
    start_factor : float
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, then: LRScheduler | None = None, start_factor: float = 0.01):
        _of_one_optimizer("LinearWarmup", optimizer, [] if then is None else [then])
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearWarmup: expected 0 < start_factor ≤ 1, got {start_factor!r}")
        self.total_iters, self.then, self.start_factor = _length("LinearWarmup", "total_iters", total_iters), then, start_factor
        super().__init__(optimizer)

    @property
    def floor(self) -> float:  # type: ignore[override]
        return self.then.floor if self.then is not None and self.last_epoch > self.total_iters else 0.0

    def rate(self, base: float, t: int) -> float:
        if t < self.total_iters:
            return base * (self.start_factor + (1 - self.start_factor) * t / self.total_iters)
        return base if self.then is None else self.then.rate(base, t - self.total_iters)


class SequentialLR(LRScheduler):
    """One schedule after another.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        Schedules of the same optimiser. Do not call their ``step()``.
    milestones : list of int
        The numbers of steps after which the second schedule begins, the third, ...; each begins at its step 0.
    last_epoch : int

    Raises
    ------
    ValueError
        If there is not one milestone fewer than schedules, or one belongs to another optimiser.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1):
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: expected one milestone fewer than schedules, got {len(milestones)} and {len(schedulers)}")
        _of_one_optimizer("SequentialLR", optimizer, schedulers)
        self.optimizer, self.last_epoch = optimizer, last_epoch + 1
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._schedulers[0]._start_anew()  # undo what the others did to the rates when they were created
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self) -> None:
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        now = self._schedulers[turn]
        if turn and self._milestones[turn - 1] == self.last_epoch:
            now._start_anew()
        else:
            now.step()
        self._last_lr = now.get_last_lr()
