"""Losses by name, as in ``minisegnet train --loss NAME``."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from inspect import signature
from typing import Any

from ..nn import Module
from ..nn.loss import CrossEntropyLoss
from .boundary import BoundaryWeightedCrossEntropyLoss
from .combined import WeightedSum
from .hard import FocalLoss, OhemCrossEntropyLoss
from .region import DiceLoss, LovaszSoftmaxLoss

LOSSES: dict[str, Callable[..., Module]] = {
    "ce": CrossEntropyLoss,
    "ohem": OhemCrossEntropyLoss,
    "focal": FocalLoss,
    "dice": DiceLoss,
    "lovasz": LovaszSoftmaxLoss,
    "boundary": BoundaryWeightedCrossEntropyLoss,
}


def list_losses() -> dict[str, str]:
    """The name of each loss that `create` can make, with a one-line description."""
    return {name: (loss.__doc__ or "").strip().splitlines()[0] for name, loss in LOSSES.items()}


def create(text: str, *, weight: Any = None, ignore_index: int = 255, label_smoothing: float = 0.0) -> Module:
    """Make a loss, or a weighted sum of losses, from its name.

    Parameters
    ----------
    text : str
        ``NAME[+NAME...]``, each optionally with a factor: ``"ce"``, ``"ce+dice"``, ``"0.5*ce+lovasz"``.
        `list_losses` lists the names.
    weight : array, (C,), optional
        Class weights, for the terms that take them.
    ignore_index : int
    label_smoothing : float
        For the terms that take it.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        If a name is unknown, a factor is not a positive number, or no term takes `weight` or `label_smoothing`.
    """
    factors, names = zip(*(_term(text, part) for part in text.split("+")), strict=True)
    options = {"weight": weight} if weight is not None else {}
    if label_smoothing:
        options["label_smoothing"] = label_smoothing
    for option in options:
        if not any(option in signature(LOSSES[name]).parameters for name in names):
            able = ", ".join(name for name, loss in LOSSES.items() if option in signature(loss).parameters)
            what = "class weights" if option == "weight" else "label smoothing"
            raise ValueError(f"loss {text!r} does not take {what}; these losses do: {able}")
    terms = []
    for name in names:
        own = {option: value for option, value in options.items() if option in signature(LOSSES[name]).parameters}
        terms.append(LOSSES[name](**own, ignore_index=ignore_index))
    return terms[0] if len(terms) == 1 and factors[0] == 1 else WeightedSum(terms, factors)


def _term(text: str, part: str) -> tuple[float, str]:
    factor, star, name = part.rpartition("*")
    name = name.strip()
    if name not in LOSSES:
        near = get_close_matches(name, LOSSES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"loss {text!r}: no loss {name!r}: {hint}There are {', '.join(LOSSES)}")
    try:
        value = float(factor) if star else 1.0
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"loss {text!r}: the factor of {name} must be a positive number, not {factor.strip()!r}")
    return value, name
