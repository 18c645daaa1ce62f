"""Functions on the gradients of a module, as in ``torch.nn.utils``."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "get_total_norm"]


def get_total_norm(tensors: Iterable[Tensor]) -> float:
    """The Euclidean norm of one vector that holds all values of all tensors; summed in float64."""
    return float(np.sqrt(sum(float(np.square(t.array.astype(np.float64, copy=False)).sum()) for t in tensors)))


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, error_if_nonfinite: bool = False) -> float:
    r"""Scale all gradients by one factor, so that their common norm is at most `max_norm`; in place.

    .. math:: g \leftarrow g \cdot \min\left(1, \frac{\text{max\_norm}}{\lVert g \rVert_2 + 10^{-6}}\right)

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Parameters without a gradient are skipped.
    max_norm : float
    error_if_nonfinite : bool

    Returns
    -------
    float
        The norm before clipping (PyTorch returns a tensor).

    Raises
    ------
    ValueError
        If `max_norm` is not positive.
    RuntimeError
        If `error_if_nonfinite` is set and the norm is NaN or infinite.

    References
    ----------
    Pascanu, Mikolov & Bengio, ICML 2013, algorithm 1; as in ``torch.nn.utils.clip_grad_norm_``
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be positive, it is {max_norm}")
    gradients = [p.grad for p in ([parameters] if isinstance(parameters, Tensor) else parameters) if p.grad is not None]
    norm = get_total_norm(gradients)
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}, it cannot be clipped")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # also if the norm is NaN, which must not be hidden
        for gradient in gradients:
            gradient.mul_(factor)
    return norm
