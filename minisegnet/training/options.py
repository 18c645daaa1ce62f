"""The numbers that define a run, checked before anything else happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .. import losses, optim
from ..data import Dataset, augmentation, transforms
from ..nn import Module
from ..optim import lr_scheduler
from .evaluation import SCORES

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": lambda params, lr, **options: optim.SGD(params, lr=lr, momentum=0.9, **options),
}
SCHEDULES: dict[str, Callable[[optim.Optimizer, int], lr_scheduler.LRScheduler]] = {
    "cosine": lambda optimizer, steps: optim.CosineAnnealingLR(optimizer, steps),
    "poly": lambda optimizer, steps: optim.PolynomialLR(optimizer, steps, power=0.9),
    "step": lambda optimizer, steps: optim.StepLR(optimizer, -(-steps // 3), gamma=0.1),
}
_MAY_CHANGE = ("steps", "eval_every", "patience")  # between a run and the one that goes on with it


@dataclass(frozen=True)
class Options:
    """What `fit` was asked for; goes into ``config.json`` and the checkpoints."""

    steps: int
    batch_size: int
    learning_rate: float
    crop: int | None
    optimizer: str
    schedule: str | None
    seed: int
    eval_every: int
    loss: str = "ce"
    class_weights: list[float] | None = None
    label_smoothing: float = 0.0
    aux_weight: float = 0.4
    weight_decay: float | None = None
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    warmup: int = 0
    accumulate: int = 1
    clip_norm: float | None = None
    ema: float | None = None
    patience: int | None = None
    best_by: str = "iou"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "eval_every", "accumulate", "patience"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"crop must be positive, or None for whole images; not {self.crop}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, it is {self.seed}")
        if self.schedule is not None and self.schedule not in SCHEDULES:
            raise ValueError(f"no schedule {self.schedule!r}: choose one of {', '.join(SCHEDULES)}, or None")
        if not 0 <= self.warmup < max(self.steps, 1):
            raise ValueError(f"warmup must be shorter than the training of {self.steps} steps, and not negative; it is {self.warmup}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, not {self.clip_norm}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"ema is a decay from 0 to less than 1, not {self.ema}")
        if self.best_by not in SCORES:
            raise ValueError(f"best_by={self.best_by!r}: choose one of {', '.join(SCORES)}")

    def check_same_run(self, earlier: dict[str, Any]) -> None:
        """Refuse to go on with a run under other conditions; only its length, the evaluations and the patience may change."""
        names = [f.name for f in fields(self) if f.name not in _MAY_CHANGE]
        other = [f"{n}={earlier[n]!r} (now {getattr(self, n)!r})" for n in names if n in earlier and earlier[n] != getattr(self, n)]
        if other:
            raise ValueError(f"the run that shall go on was started with {', '.join(other)}; start a new one, or ask for the same")


def count_steps(steps: int | None, epochs: int | None, items: int, batch_size: int) -> int:
    """An epoch has as many steps as it takes to see every item once."""
    if (steps is None) == (epochs is None):
        raise ValueError("give the length of the training, either steps= or epochs=")
    return steps if steps is not None else (epochs or 0) * -(-items // max(batch_size, 1))


def make_optimizer(choice: str | Callable[..., optim.Optimizer], model: Module, options: Options) -> optim.Optimizer:
    """The optimiser of a run: a name or a class, with groups for the parts that have a rate of their own."""
    if not callable(choice) and choice not in OPTIMIZERS:
        raise ValueError(f"no optimizer {choice!r}: choose one of {', '.join(OPTIMIZERS)}, or pass a class")
    params: Any = list(model.parameters())
    if options.lr_factors:
        params = optim.parameter_groups(model.named_parameters(), options.learning_rate, options.lr_factors)
    more = {} if options.weight_decay is None else {"weight_decay": options.weight_decay}
    return (choice if callable(choice) else OPTIMIZERS[choice])(params, lr=options.learning_rate, **more)


def make_schedule(optimizer: optim.Optimizer, options: Options) -> lr_scheduler.LRScheduler | None:
    """The schedule of a run: a warm-up, then the one that was asked for over the steps that are left."""
    then = SCHEDULES[options.schedule](optimizer, options.steps - options.warmup) if options.schedule else None
    return optim.LinearWarmup(optimizer, options.warmup, then) if options.warmup else then


def make_class_weights(choice: str | Any | None, train: Dataset) -> list[float] | None:
    """Weights of the classes as plain numbers: given, or computed from the training data by a method of `losses.class_weights`."""
    if choice is None:
        return None
    weights = losses.class_weights(train, choice) if isinstance(choice, str) else np.asarray(choice, np.float64)
    if weights.shape != (len(train.classes),) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise ValueError(f"class_weights: expected {len(train.classes)} numbers, none negative and one positive, got {choice!r}")
    return [float(w) for w in weights]


def make_loss(choice: str | Callable | None, options: Options, ignore_index: int, dtype: Any, device: str) -> losses.AuxiliaryLoss:
    """The loss of a run, for networks with one output or several.

    Raises
    ------
    ValueError
        If a loss of the caller's own is to have class weights or label smoothing.
    """
    if choice is not None and not isinstance(choice, str):
        if options.class_weights is not None or options.label_smoothing:
            raise ValueError("class_weights and label_smoothing go with a loss that is named; give them to your own loss yourself")
        return losses.AuxiliaryLoss(choice, options.aux_weight)
    weight = None if options.class_weights is None else np.array(options.class_weights, dtype)
    made = losses.create(choice or "ce", weight=weight, ignore_index=ignore_index, label_smoothing=options.label_smoothing)
    return losses.AuxiliaryLoss(made.to(device=device), options.aux_weight)


def name_of(choice: Any, default: str) -> str:
    """How a loss or an optimiser that may be a function is called in ``config.json``."""
    if choice is None or isinstance(choice, str):
        return choice or default
    return getattr(choice, "__name__", type(choice).__name__)


def default_transform(train: Dataset, crop: int | None) -> transforms.Transform:
    """Crop (unless whole images are wanted), flips and quarter turns."""
    return augmentation(crop, train.ignore_index)
