"""Losses that consist of other losses: weighted sums, and losses for networks with several outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import functional as F
from ..nn import Module, ModuleList
from ..tensor import Tensor


class WeightedSum(Module):
    r"""Several losses at once: :math:`L = \sum_k w_k L_k`.

    Parameters
    ----------
    losses : sequence of Module
    weights : sequence of float, optional
        By default 1 each.
    """

    def __init__(self, losses: Sequence[Module], weights: Sequence[float] | None = None):
        self.coefficients = tuple(float(w) for w in (weights if weights is not None else [1.0] * len(losses)))
        if not losses or len(losses) != len(self.coefficients) or not all(w > 0 for w in self.coefficients):
            raise ValueError(f"WeightedSum: expected a positive weight for each of {len(losses)} losses, got {weights}")
        self.terms = ModuleList(losses)

    def forward(self, scores: Tensor, target: Any) -> Tensor:
        """The weighted sum for scores (N, C, H, W) and labels (N, H, W)."""
        first, *others = (term(scores, target) * w for term, w in zip(self.terms, self.coefficients, strict=True))
        for other in others:
            first = first + other
        return first

    def extra_repr(self) -> str:
        return f"weights={self.coefficients}"


class AuxiliaryLoss(Module):
    r"""The loss of a network with auxiliary heads: :math:`L = \sum_k w_k\, L(\text{output}_k, t)`.

    Parameters
    ----------
    loss : Module or callable
        ``loss(scores, labels)``, for every output.
    weight : float
        The weight of each output after the first, which has weight 1. PSPNet uses 0.4, torchvision 0.5.
    by_class : bool
        Whether the loss takes scores of classes, so that a network with one logit is compared by two (see `functional.class_scores`).

    References
    ----------
    Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017, section 3.3
    """

    def __init__(self, loss: Callable[[Tensor, Any], Tensor], weight: float = 0.4, by_class: bool = False):
        if not weight >= 0:
            raise ValueError(f"AuxiliaryLoss: the weight must not be negative, got {weight}")
        self.loss, self.weight, self.by_class = loss, weight, by_class

    def forward(self, outputs: Any, target: Any) -> Tensor:
        """The loss of one output (N, C, H, W), or of a sequence or mapping of outputs, the main one first.

        An auxiliary output with another size than the main one is resized first (bilinear).
        """
        main, *others = (F.class_scores(output) if self.by_class else output for output in all_outputs(outputs))
        loss = self.loss(main, target)
        for other in others if self.weight else ():
            if other.shape[2:] != main.shape[2:]:
                other = F.interpolate(other, size=main.shape[2:], mode="bilinear", align_corners=False)
            loss = loss + self.weight * self.loss(other, target)
        return loss

    def extra_repr(self) -> str:
        return f"weight={self.weight}"


def all_outputs(outputs: Any) -> list[Tensor]:
    """The outputs of a network as a list, from a tensor, a sequence, or a mapping (torchvision's ``{"out": ..., "aux": ...}``)."""
    if isinstance(outputs, Tensor):
        return [outputs]
    return list(outputs.values()) if isinstance(outputs, Mapping) else list(outputs)
