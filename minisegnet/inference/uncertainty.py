"""How sure a network is: confidence, entropy and margin, all between 0 and 1; and Monte Carlo dropout."""

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
    """The probability of the likeliest class, (..., K, H, W) → (..., H, W): from 1/K, no information, to 1, certain."""
    return probabilities.max(axis=-3)


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """``−Σ p log p / log K``, (..., K, H, W) → (..., H, W): from 0, certain, to 1, all classes equally likely."""
    p = np.asarray(probabilities)
    terms = p * np.log(np.where(p > 0, p, 1))  # 0 · log 0 is 0
    return np.maximum(-terms.sum(axis=-3), 0) / np.log(max(p.shape[-3], 2)).astype(p.dtype)


def margin(probabilities: np.ndarray) -> np.ndarray:
    """The largest probability minus the second largest, (..., K, H, W) → (..., H, W): from 0, a tie, to 1, certain."""
    p = np.asarray(probabilities)
    if p.shape[-3] < 2:
        raise ValueError("a margin needs at least two classes")
    two = np.partition(p, p.shape[-3] - 2, axis=-3)
    return two[..., -1, :, :] - two[..., -2, :, :]


@dataclass(frozen=True)
class Dropouts:
    """The result of several passes with dropout.

    Attributes
    ----------
    probabilities : array, (N, K, H, W)
        The mean over the passes.
    entropy : array, (N, H, W)
        The entropy of the mean, in 0…1: the whole uncertainty.
    information : array, (N, H, W)
        The entropy of the mean minus the mean entropy, in 0…1 (mutual information of label and weights). This part of the
        uncertainty comes from disagreement between the passes, and more training data could remove it. The rest is in the
        image itself.
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
        A network with dropout layers. All other layers, batch normalisation included, stay in evaluation mode.
    images : Tensor or array, (N, C, H, W)
        Standardised, as in training.
    passes : int
    seed : int
        Seed of the random draws; the generator of the library is not used.

    Returns
    -------
    Dropouts

    Raises
    ------
    ValueError
        If the network has no dropout layer, or `passes` is less than 2.

    References
    ----------
    Gal & Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016; Kendall & Gal, NIPS 2017
    """
    layers = [module for module in model.modules() if isinstance(module, Dropout | Dropout2d) and 0 < module.p < 1]
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no dropout layer, so all passes would be equal; "
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
    """Inside, these layers drop values in evaluation mode as well, with random draws from `rng`."""

    def drop(layer: Module, args: tuple, output: Tensor) -> Tensor:
        x = args[0]
        keep = rng.random((*x.shape[:2], 1, 1) if isinstance(layer, Dropout2d) else x.shape) >= layer.p  # type: ignore[attr-defined]
        return x * Tensor((keep / (1 - layer.p)).astype(x.dtype)).to(x.device)  # type: ignore[attr-defined]

    return watching(layers, drop)
