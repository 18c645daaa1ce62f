"""What decides the weights that a training ends with, apart from the network and the data."""

# ruff: noqa: RUF009  (an option is a `dataclasses.field`)
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from inspect import Parameter, signature
from numbers import Real
from textwrap import indent
from typing import TYPE_CHECKING, Any, TypeVar

from ..options import Kind, check, is_sequence, nearest, number, numbers, one_of, option, options_of, parameters, text, whole

if TYPE_CHECKING:
    from .. import optim
    from ..tensor import Tensor

# `minisegnet train --help` imports this file, so it imports nothing that takes time.

F = TypeVar("F", bound=Callable[..., Any])
CLASS_WEIGHTS = ("median", "inverse")  # the methods of `losses.class_weights`


def _is_factor(value: Any) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < math.inf


def _read_factors(given: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in given.split(",")]
    if not all(name.strip() for name, _, _ in pairs):
        raise ValueError(given)
    return {name.strip(): float(factor) for name, _, factor in pairs}


def _are_factors(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and _is_factor(v) for k, v in value.items())


def _read_weights(given: str) -> str | list[float]:
    return given if given in CLASS_WEIGHTS else [float(part) for part in given.split(",")]


def _are_weights(value: Any) -> bool:
    if isinstance(value, str):
        return value in CLASS_WEIGHTS
    return is_sequence(value) and all(map(_is_factor, value)) and any(v > 0 for v in value)


def above_zero(metavar: str, infinite: bool = False) -> Kind:
    return number("a number above 0", lambda x: x > 0, metavar, infinite)


def from_zero(metavar: str) -> Kind:
    return number("a number of 0 or more", lambda x: x >= 0, metavar)


def up_to(most: float, metavar: str) -> Kind:
    return number(f"a number from 0 to {most:g}", lambda x: 0 <= x <= most, metavar)


FACTORS = Kind("NAME=FACTOR[,NAME=FACTOR...] with factors of 0 or more, such as outc=10", _read_factors, _are_factors, "NAME=F[,...]")
WEIGHTS = Kind("median, inverse, or a number of 0 or more for each class (1,5), one of them positive", _read_weights, _are_weights, "HOW")
INTERVAL = numbers("two numbers with a comma between them, 0 < low ≤ high, such as 0.5,2", lambda a, b: 0 < a <= b < math.inf, "LOW,HIGH")

_training, _loss, _augmentation, _evaluation = (partial(option, section=s) for s in ("training", "loss", "augmentation", "evaluation"))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Each field below is declared once, here, with its default, its bounds and its help. Everything else follows from the
    declaration: the keyword arguments of `fit`, the options of ``minisegnet train``, the keys of ``run.toml``, the checks,
    and the table in ``docs/training.md``.

    Parameters
    ----------
    {fields}

    Raises
    ------
    ValueError
        If a value is out of its bounds, or two fields contradict each other. Nothing has been read or written then.

    Examples
    --------
    >>> careful = Recipe(steps=1000, learning_rate=1e-4, clip_norm=1.0)
    >>> fit(model, train, validation, careful)  # doctest: +SKIP
    >>> fit(model, train, validation, careful, seed=1)  # doctest: +SKIP
    """

    # `steps` and `eval_every` are None until `for_data` works them out.
    steps: int = _training(
        None, whole(1), "length of the training in optimiser steps", unset="from epochs; 150 on the command line", mutable=True
    )
    epochs: int | None = _training(None, whole(1), "length of the training in passes over the data, in place of steps", typed=False)
    batch_size: int = _training(4, whole(1), "crops in a batch")
    accumulate: int = _training(1, whole(1), "batches whose gradients are averaged in one step: a large batch in little memory")
    crop: int | None = _training(
        128, whole(1), "rows and columns of a crop; in Python None takes whole images, which must then have one size", unset="whole images"
    )
    optimizer: str | Callable[..., optim.Optimizer] = _training(
        "adam", one_of("adam", "adamw", "sgd", or_callable="optimizer(parameters, lr=...)"), "the optimiser; sgd has momentum 0.9"
    )
    learning_rate: float = _training(1e-3, above_zero("RATE"), "learning rate", key="lr")
    lr_factors: Mapping[str, float] = _training(
        {}, FACTORS, "multiplies the learning rate of the parameters under a name: outc=10 for a new head", key="lr-factor"
    )
    schedule: str | None = _training(
        None,
        one_of("cosine", "poly", "step"),
        "how the learning rate falls: along half a cosine to 0, as (1 - t/T)^0.9 to 0, or to a tenth after each third",
        unset="it stays",
    )
    warmup: int = _training(0, whole(0), "steps in which the learning rate grows from a hundredth to its full size, before the schedule")
    weight_decay: float | None = _training(None, from_zero("W"), "weight decay", unset="the optimiser's: 0.01 for adamw, else 0")
    clip_norm: float | None = _training(
        None, above_zero("NORM", infinite=True), "scale the gradients down when their common norm exceeds this", unset="never"
    )
    ema: float | None = _training(
        None,
        number("a number from 0 to less than 1", lambda x: 0 <= x < 1, "DECAY"),
        "decay of a moving average of the weights, such as 0.99; the average is evaluated and saved",
        unset="no average",
    )
    seed: int = _training(
        0, whole(0), "seed of data order, augmentation and dropout; on the command line also of initial weights and held-out part"
    )

    loss: str | Callable[[Tensor, Tensor], Tensor] = _loss(
        "ce",
        text("NAME[+NAME...]", "a name, a sum such as ce+0.5*dice, or loss(scores, labels)", or_callable=True),
        "one of ce, ohem, focal, dice, lovasz and boundary, or a weighted sum such as ce+0.5*dice",
    )
    class_weights: str | Sequence[float] | None = _loss(
        None, WEIGHTS, "weights of the classes in the loss: median or inverse, computed from the training data, or numbers", unset="equally"
    )
    label_smoothing: float = _loss(0.0, up_to(1, "S"), "share of the target that is spread evenly over all classes")
    aux_weight: float = _loss(
        0.4, from_zero("W"), "weight of each auxiliary output, for a network that returns several in training", typed=False
    )

    flip: str = _augmentation(
        "turns",
        one_of("turns", "both", "horizontal", "none"),
        "flips at random: both ways with quarter turns, both ways, left to right, or none",
    )
    scale: tuple[float, float] | None = _augmentation(None, INTERVAL, "resize by a random factor in this interval", unset="never")
    rotate: float = _augmentation(0.0, up_to(180, "DEGREES"), "rotate by a random angle of up to this many degrees")
    jitter: float = _augmentation(0.0, up_to(1, "J"), "change brightness, contrast and colours at random, by up to this share")
    blur: float = _augmentation(0.0, from_zero("SIGMA"), "blur every other crop, with a Gaussian of up to this many pixels")
    noise: float = _augmentation(0.0, from_zero("STD"), "add noise of up to this many standard deviations of the image")

    eval_every: int = _evaluation(
        None, whole(1), "steps between evaluations, each of which writes a checkpoint", unset="a tenth of all", mutable=True
    )
    best_by: str = _evaluation(
        "iou",
        one_of("iou", "mean_iou", "dice", "loss"),
        "figure that makes a checkpoint the best; with two classes iou and dice are those of class 1, else means",
    )
    patience: int | None = _evaluation(
        None, whole(1), "stop after this many evaluations in a row without a better one", unset="never", mutable=True
    )

    def __post_init__(self) -> None:
        check(self)
        if self.steps is not None and self.epochs is not None:
            raise ValueError(
                f"give the length of the training as steps or as epochs, not as both: steps={self.steps}, epochs={self.epochs}"
            )
        if self.steps is not None and self.warmup >= self.steps:
            raise ValueError(f"warmup must be shorter than the training of {self.steps} steps, it is {self.warmup}")
        if not isinstance(self.loss, str) and (self.class_weights is not None or self.label_smoothing):
            raise ValueError("class_weights and label_smoothing go with the name of a loss; build them into your own loss")
        if isinstance(self.loss, str):  # a name that does not exist, or that has no use for the weights, is refused here
            from ..losses import create

            create(self.loss, weight=None if self.class_weights is None else [1.0], label_smoothing=self.label_smoothing)

    def for_data(self, items: int) -> Recipe:
        """The same recipe for a training set of `items` items: with `steps` from `epochs`, and with `eval_every` set.

        An epoch is ⌈items / (batch_size · accumulate)⌉ steps: batches are always full.
        """
        if self.steps is None and self.epochs is None:
            raise ValueError("give the length of the training, either steps= or epochs=")
        steps = self.steps or (self.epochs or 0) * -(-items // (self.batch_size * self.accumulate))
        return replace(self, steps=steps, epochs=None, eval_every=self.eval_every or -(-steps // 10))

    @property
    def augmented(self) -> bool:
        """Whether a field of the section "augmentation" is not at its default."""
        return any(getattr(self, n) != o.default for n, o in options_of(Recipe).items() if o.section == "augmentation")

    def record(self) -> dict[str, Any]:
        """The fields as JSON can hold them, for ``config.json`` and the checkpoints; functions by their names."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name != "epochs"}

    def check_same_run(self, earlier: Mapping[str, Any], but: Sequence[str] = ()) -> None:
        """Raise ValueError if a run with the record `earlier` cannot be resumed by this recipe.

        Only the mutable fields (length, evaluations, patience) may differ. Fields that the record does not have, because an
        earlier version wrote it, are not compared.
        """
        own, options = self.record(), options_of(Recipe)
        kept = [n for n in own if n in earlier and n not in but and not options[n].mutable]
        if other := [f"{n}={earlier[n]!r} (now {own[n]!r})" for n in kept if own[n] != earlier[n]]:
            raise ValueError(f"the run was started with {', '.join(other)}: resume it under the same options, or start a new run")


_FIELDS = parameters(Recipe)
Recipe.__doc__ = (Recipe.__doc__ or "").replace("{fields}", indent(_FIELDS, "    ").lstrip())


def with_fields(fit: F) -> F:
    """Show the fields of `Recipe` in the signature and the docstring of a function that takes them as ``**fields``."""
    own = signature(fit)
    keywords = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    keywords += [p.replace(kind=Parameter.KEYWORD_ONLY) for p in signature(Recipe).parameters.values()]
    fit.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]
    fit.__doc__ = (fit.__doc__ or "").replace("{fields}", indent(_FIELDS, "        ").lstrip())
    return fit


def from_fields(recipe: Recipe | None, given: Mapping[str, Any]) -> Recipe:
    """A recipe with some of its fields replaced.

    Raises
    ------
    TypeError
        If a field does not exist; the message names the most similar one.
    """
    known = options_of(Recipe)
    for name in given:
        if name not in known:
            raise TypeError(f"fit() got an unexpected keyword argument {name!r}: {nearest(name, known)}")
    return replace(recipe or Recipe(), **given)


def _plain(value: Any) -> Any:
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, Mapping):
        return {name: _plain(v) for name, v in value.items()}
    if is_sequence(value) and getattr(value, "ndim", 1) > 0:
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value
