"""How sure a network is, in numbers between 0 and 1; and what Monte Carlo dropout says of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from ..nn import Dropout, Dropout2d, Module
from ..nn.modes import watching
from ..tensor import Tensor
from .whole import scores


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """The probability of the likeliest class, (..., K, H, W) → (..., H, W): from 1/K, no idea, to 1, sure."""
    return probabilities.max(axis=-3)


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """``−Σ p log p / log K``, (..., K, H, W) → (..., H, W): from 0, sure, to 1, all classes alike."""
    p = np.asarray(probabilities)
    terms = p * np.log(np.where(p > 0, p, 1))  # 0 · log 0 is 0
    return np.maximum(-terms.sum(axis=-3), 0) / np.log(max(p.shape[-3], 2)).astype(p.dtype)


def margin(probabilities: np.ndarray) -> np.ndarray:
    """How far the likeliest class is ahead of the second, (..., K, H, W) → (..., H, W): from 0, a tie, to 1."""
    p = np.asarray(probabilities)
    if p.shape[-3] < 2:
        raise ValueError("a margin needs two classes at least")
    two = np.partition(p, p.shape[-3] - 2, axis=-3)
    return two[..., -1, :, :] - two[..., -2, :, :]


@dataclass(frozen=True)
class Dropouts:
    """What several passes with dropout say.

    Attributes
    ----------
    probabilities : array, (N, K, H, W)
        Their mean.
    entropy : array, (N, H, W)
        Of the mean: all doubt, in 0…1.
    information : array, (N, H, W)
        What the passes disagree about, in 0…1: the entropy of the mean less the mean entropy (mutual information
        of label and weights). Doubt that more training data could remove; the rest is in the image itself.
    passes : int
    """

    probabilities: np.ndarray
    entropy: np.ndarray
    information: np.ndarray
    passes: int


def monte_carlo_dropout(model: Module, images: Any, passes: int = 20, seed: int = 0) -> Dropouts:
    """Predict several times with dropout switched on.

    Parameters
    ----------
    model : Module
        With dropout layers. All others stay in evaluation mode, batch normalisation too.
    images : Tensor or array, (N, C, H, W)
        Prepared as in training.
    passes : int
    seed : int
        Of the draws; the library's generator is not used.

    Returns
    -------
    Dropouts

    Raises
    ------
    ValueError
        If the network has no dropout, or `passes` is below 2.

    References
    ----------
    Gal & Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016; Kendall & Gal, NIPS 2017
    """
    layers = [module for module in model.modules() if isinstance(module, Dropout | Dropout2d) and 0 < module.p < 1]
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no dropout layer, so every pass would be the same; "
            "unet_paper has one (models.create('unet_paper', ..., dropout=0.5))"
        )
    if passes < 2:
        raise ValueError(f"passes must be 2 or more, not {passes}")
    mean: Any = 0.0
    sure: Any = 0.0  # the mean of −Σ p log p
    with _dropping(layers, np.random.default_rng(seed)):
        for _ in range(passes):
            p = F.softmax(scores(model, images), dim=1).cpu().array
            mean, sure = mean + p / passes, sure + entropy(p) / passes
    doubt = entropy(mean)
    return Dropouts(mean, doubt, np.maximum(doubt - sure, 0), passes)


def _dropping(layers: list[Any], rng: np.random.Generator) -> AbstractContextManager[None]:
    """Inside, these layers drop in evaluation mode too, with draws from `rng`."""

    def drop(layer: Module, args: tuple, output: Tensor) -> Tensor:
        x = args[0]
        keep = rng.random((*x.shape[:2], 1, 1) if isinstance(layer, Dropout2d) else x.shape) >= layer.p  # type: ignore[attr-defined]
        return x * Tensor((keep / (1 - layer.p)).astype(x.dtype)).to(x.device)  # type: ignore[attr-defined]

    return watching(layers, drop)
