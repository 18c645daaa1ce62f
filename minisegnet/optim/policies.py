"""Schedules that are more than a function of the step: the one-cycle policy, and one that reacts to a score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .optimizer import Optimizer
from .schedules import LRScheduler


def _for_each_group(name: str, value: Any, optimizer: Optimizer) -> list:
    """One value for all groups, or one for each."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, Sequence) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{name}: expected a value for each of the {groups} groups, got {len(values)}")
    return values


class OneCycleLR(LRScheduler):
    """Raise the rate to `max_lr` and lower it far below its start, in one cycle; the momentum moves the other way.

    It overwrites rates and momenta, so it does not chain with other schedules.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or list of float
        The highest rate, for all groups or for each.
    total_steps : int, optional
        If not given, ``epochs · steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        The share of the steps in which the rate grows.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Whether momentum (Adam: the first beta) falls from `max_momentum` to `base_momentum` and grows again.
    base_momentum, max_momentum : float or list of float
    div_factor : float
        The first rate is ``max_lr / div_factor``.
    final_div_factor : float
        The last rate is the first one divided by this number.
    three_phase : bool
        Whether the rate returns to the first one, as slowly as it grew, before it falls to the last.
    last_epoch : int

    Raises
    ------
    ValueError
        If the number of steps, `pct_start` or `anneal_strategy` does not fit, if there is no momentum to cycle, or if
        ``step()`` is called more often than `total_steps` says.

    References
    ----------
    Smith & Topin, arXiv 1708.07120
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
        total_steps = (epochs or 0) * (steps_per_epoch or 0) if total_steps is None else total_steps
        if total_steps < 1 or not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: expected total_steps ≥ 1 and 0 ≤ pct_start ≤ 1, got {total_steps} and {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'OneCycleLR: expected anneal_strategy "cos" or "linear", got {anneal_strategy!r}')
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError("OneCycleLR: this optimiser has no momentum to cycle; write cycle_momentum=False")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        top = float(pct_start * total_steps) - 1
        self._ends = [top, 2 * top, total_steps - 1] if three_phase else [top, total_steps - 1]
        highest = _for_each_group("OneCycleLR", max_lr, optimizer)
        first = [rate / div_factor for rate in highest]
        corners = [first, highest, *[first] * three_phase, [rate / final_div_factor for rate in first]]
        self._rates = [list(of_group) for of_group in zip(*corners, strict=True)]
        low, high = (_for_each_group("OneCycleLR", m, optimizer) for m in (base_momentum, max_momentum))
        momenta = [high, low, high, *[high] * three_phase]
        self._momenta = [list(of_group) for of_group in zip(*momenta, strict=True)]
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, first, strict=True):
                group["initial_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        self.last_epoch += 1
        if self.last_epoch >= self.total_steps + 1:
            raise ValueError(f"OneCycleLR: step {self.last_epoch} of a schedule of {self.total_steps} steps")
        self._set([self._between(corners) for corners in self._rates])
        if self.cycle_momentum:
            for group, corners in zip(self.optimizer.param_groups, self._momenta, strict=True):
                momentum = self._between(corners)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum

    def _between(self, corners: list[float]) -> float:
        """The value of this step, on the way from one corner to the next."""
        begin = 0.0
        for k, end in enumerate(self._ends):
            if self.last_epoch <= end or k == len(self._ends) - 1:
                share = (self.last_epoch - begin) / (end - begin) if end != begin else 1.0
                if self.anneal_strategy == "cos":
                    share = (1 - math.cos(math.pi * share)) / 2
                return corners[k] + (corners[k + 1] - corners[k]) * share
            begin = end
        raise AssertionError


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by `factor` when a score has not improved for more than `patience` steps.

    Call ``step(score)`` after each evaluation.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether a smaller or a larger score is better.
    factor : float
        Less than 1.
    patience : int
        How many scores without an improvement are allowed.
    threshold : float
        The least change that counts as an improvement: a share of the best score ("rel") or a difference ("abs").
    threshold_mode : {"rel", "abs"}
    cooldown : int
        After a reduction this number of scores is not counted against `patience`.
    min_lr : float or list of float
        The rate does not fall below it.
    eps : float
        The rate stays if it would change by no more than this.

    Raises
    ------
    ValueError
        If `factor` is not below 1 or a mode is unknown.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ):
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: expected a factor below 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(f'ReduceLROnPlateau: expected "min" or "max", and "rel" or "abs"; got {mode!r} and {threshold_mode!r}')
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = _for_each_group("ReduceLROnPlateau", min_lr, optimizer)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Record a score, a number or a tensor with one element, and reduce the rate if it is time."""
        score = float(metrics)
        self.last_epoch += 1
        if self._is_better(score):
            self.best, self.num_bad_epochs = score, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.num_bad_epochs > self.patience:
            lower = [max(rate * self.factor, least) for rate, least in zip(rates, self.min_lrs, strict=True)]
            rates = [low if rate - low > self.eps else rate for rate, low in zip(rates, lower, strict=True)]
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._set(rates)

    def _is_better(self, score: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "abs":
            return sign * score < sign * self.best - self.threshold
        return sign * score < sign * self.best * (1 - sign * self.threshold)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another schedule of this kind stopped, of this library or of PyTorch."""
        super().load_state_dict(state_dict)
