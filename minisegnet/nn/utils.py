"""Functions on the gradients of a module, as in ``torch.nn.utils``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "get_total_norm"]


def get_total_norm(tensors: Iterable[Tensor]) -> float:
    """The Euclidean norm of one vector that holds all values of all tensors; summed in float64."""
    return float(_norm([t.array for t in tensors]))


def _norm(arrays: list) -> Any:
    """The norm as an array of shape (), on the device of the arrays: on a GPU the host need not wait for it."""
    if not arrays:
        return np.zeros(())
    squares = np.empty_like(arrays[0], shape=len(arrays), dtype=np.float64)
    for k, a in enumerate(arrays):
        squares[k] = np.square(a.astype(np.float64, copy=False)).sum()
    return np.sqrt(squares.sum())


def clip_on_device(parameters: Iterable[Tensor], max_norm: float) -> Any:
    """`clip_grad_norm_` without reading a number from the GPU, so that it can be part of a CUDA graph.

    Returns
    -------
    array, ()
        The norm before clipping, in float64.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = _norm([g.array for g in gradients])
    factor = np.minimum(max_norm / (norm + 1e-6), 1)  # 1 changes no bit; a NaN stays a NaN
    for gradient in gradients:
        gradient.array *= factor.astype(gradient.dtype)
        gradient._memory.changes += 1
    return norm


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
