"""The numbers that define a run, checked before anything else happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .. import optim
from ..data import Dataset, augmentation, transforms
from ..lr_scheduler import LRScheduler

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": lambda params, lr: optim.SGD(params, lr=lr, momentum=0.9),
}
SCHEDULES: dict[str, Callable[[optim.Optimizer, int], LRScheduler]] = {
    "cosine": lambda optimizer, steps: optim.CosineAnnealingLR(optimizer, steps),
    "poly": lambda optimizer, steps: optim.PolynomialLR(optimizer, steps, power=0.9),
}


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

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"crop must be positive, or None for whole images; not {self.crop}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, it is {self.seed}")
        if self.schedule is not None and self.schedule not in SCHEDULES:
            raise ValueError(f"no schedule {self.schedule!r}: choose one of {', '.join(SCHEDULES)}, or None")

    def check_same_run(self, earlier: dict[str, Any]) -> None:
        """Refuse to go on with a run under other conditions; only its length and the evaluations may change."""
        names = ("batch_size", "learning_rate", "crop", "optimizer", "schedule", "seed")
        other = [f"{n}={earlier[n]!r} (now {getattr(self, n)!r})" for n in names if n in earlier and earlier[n] != getattr(self, n)]
        if other:
            raise ValueError(f"the run that shall go on was started with {', '.join(other)}; start a new one, or ask for the same")


def count_steps(steps: int | None, epochs: int | None, items: int, batch_size: int) -> int:
    """An epoch has as many steps as it takes to see every item once."""
    if (steps is None) == (epochs is None):
        raise ValueError("give the length of the training, either steps= or epochs=")
    return steps if steps is not None else (epochs or 0) * -(-items // max(batch_size, 1))


def make_optimizer(choice: str | Callable[..., optim.Optimizer], params: Iterable, learning_rate: float) -> optim.Optimizer:
    if callable(choice):
        return choice(params, lr=learning_rate)
    if choice not in OPTIMIZERS:
        raise ValueError(f"no optimizer {choice!r}: choose one of {', '.join(OPTIMIZERS)}, or pass a class")
    return OPTIMIZERS[choice](params, lr=learning_rate)


def default_transform(train: Dataset, crop: int | None) -> transforms.Transform:
    """Crop (unless whole images are wanted), flips and quarter turns."""
    return transforms.Compose((transforms.Flip(), transforms.QuarterTurn())) if crop is None else augmentation(crop, train.ignore_index)
