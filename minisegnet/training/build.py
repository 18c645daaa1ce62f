"""The objects that a recipe names: optimiser, schedule, loss, class weights, augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import losses, optim
from ..data import Dataset, augmentation
from ..data.transforms import Transform
from ..nn import Module
from ..optim import lr_scheduler
from .recipe import Recipe

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


def make_optimizer(recipe: Recipe, model: Module) -> optim.Optimizer:
    """The optimiser, with a parameter group for each name in `lr_factors`."""
    params: Any = list(model.parameters())
    if recipe.lr_factors:
        params = optim.parameter_groups(model.named_parameters(), recipe.learning_rate, recipe.lr_factors)
    make = OPTIMIZERS[recipe.optimizer] if isinstance(recipe.optimizer, str) else recipe.optimizer
    decay = {} if recipe.weight_decay is None else {"weight_decay": recipe.weight_decay}
    return make(params, lr=recipe.learning_rate, **decay)


def make_schedule(recipe: Recipe, optimizer: optim.Optimizer) -> lr_scheduler.LRScheduler | None:
    """The schedule: the warm-up, then the named one over the remaining steps; None if the rate stays."""
    then = SCHEDULES[recipe.schedule](optimizer, recipe.steps - recipe.warmup) if recipe.schedule else None
    return optim.LinearWarmup(optimizer, recipe.warmup, then) if recipe.warmup else then


def make_class_weights(recipe: Recipe, train: Dataset) -> list[float] | None:
    """The weights of the classes; reads every mask if the recipe names a method.

    Raises
    ------
    ValueError
        If the recipe lists another number of weights than there are classes.
    """
    given = recipe.class_weights
    if given is None:
        return None
    weights = losses.class_weights(train, given) if isinstance(given, str) else given
    if len(weights) != len(train.classes):
        raise ValueError(f"class_weights: expected {len(train.classes)} numbers, one for each class, got {given!r}")
    return [float(w) for w in weights]


def make_loss(recipe: Recipe, weights: list[float] | None, ignore_index: int, dtype: Any, device: str) -> losses.AuxiliaryLoss:
    """The loss, for networks with one output or several."""
    if not isinstance(recipe.loss, str):
        return losses.AuxiliaryLoss(recipe.loss, recipe.aux_weight)
    weight = None if weights is None else np.array(weights, dtype)
    made = losses.create(recipe.loss, weight=weight, ignore_index=ignore_index, label_smoothing=recipe.label_smoothing)
    return losses.AuxiliaryLoss(made.to(device=device), recipe.aux_weight, by_class=True)


def make_transform(recipe: Recipe, ignore_index: int) -> Transform:
    """The augmentation of the recipe."""
    return augmentation(
        recipe.crop,
        ignore_index,
        scale=recipe.scale,
        rotate=recipe.rotate,
        flip="both" if recipe.flip == "turns" else recipe.flip,
        quarter_turns=recipe.flip == "turns",
        jitter=recipe.jitter,
        blur=recipe.blur,
        noise=recipe.noise,
    )
