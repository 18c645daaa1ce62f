"""Batch normalisation: the front door. It checks the arguments and runs the selected view.

Equations: ``batch_norm.forward``, ``batch_norm.grad_affine`` and ``batch_norm.grad_input``
in training; the same with a ReLU behind it (``..._relu``), whose backward equations compute from x
again which values the ReLU let through; ``batch_norm.inference``, ``batch_norm.inference_relu`` and
``batch_norm.grad_inference`` with running statistics.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from ..backends import computes, run
from . import kernel
from .running import UPDATE, Update

__all__ = [
    "forward",
    "forward_relu",
    "grad_affine",
    "grad_affine_relu",
    "grad_inference",
    "grad_input",
    "grad_input_relu",
    "inference",
    "inference_relu",
    "normalise_and_update",
    "update_running",
]


def forward(x, gamma, beta, *, eps=1e-5):
    """Normalise with the statistics of the batch (equation ``batch_norm.forward``).

    Parameters
    ----------
    x : array, (N, C, H, W)
    gamma, beta : array, (C,)
        Scale and shift.
    eps : float
        Added to the (biased) variance.

    Returns
    -------
    y : array, (N, C, H, W)
    mu, nu, rho : array, (C,)
        Mean, biased variance, and 1 / √(variance + eps) of each channel. The gradients need mu and rho, `update_running` mu and nu.

    Raises
    ------
    ValueError
        If a shape or a dtype does not fit, or if a channel has fewer than two values: a single
        value equals its mean, and its output would always be beta.
    """
    return _train("batch_norm.forward", x, gamma, beta, eps)


def forward_relu(x, gamma, beta, *, eps=1e-5):
    """`forward` and ReLU in one sweep (equation ``batch_norm.forward_relu``); arguments as `forward`."""
    return _train("batch_norm.forward_relu", x, gamma, beta, eps)


def inference(x, mu, v, gamma, beta, *, eps=1e-5):
    """Normalise with given statistics (equation ``batch_norm.inference``).

    Parameters
    ----------
    x : array, (N, C, H, W)
    mu, v : array, (C,)
        Running mean and variance.
    gamma, beta : array, (C,)
    eps : float

    Returns
    -------
    array, (N, C, H, W)

    Raises
    ------
    ValueError
        If a shape or a dtype does not fit.

    Notes
    -----
    The gradient for x is `grad_inference`; those for gamma and beta are `grad_affine` with
    ``rho = 1 / √(v + eps)``.
    """
    _check("batch_norm.inference", x=x, mu=mu, v=v, gamma=gamma, beta=beta)
    return run("batch_norm.inference", x, mu, v, gamma, beta, eps=float(eps))


def inference_relu(x, mu, v, gamma, beta, *, eps=1e-5):
    """`inference` and ReLU in one sweep (equation ``batch_norm.inference_relu``); arguments as `inference`.

    With ``rho = 1 / √(v + eps)``, its gradients are `grad_affine_relu`, and `grad_input_relu`
    with zeros for gammabar and betabar: given statistics do not depend on x.
    """
    _check("batch_norm.inference_relu", x=x, mu=mu, v=v, gamma=gamma, beta=beta)
    return run("batch_norm.inference_relu", x, mu, v, gamma, beta, eps=float(eps))


def grad_affine(g, x, mu, rho):
    """Gradients for scale and shift (equation ``batch_norm.grad_affine``).

    Parameters
    ----------
    g, x : array, (N, C, H, W)
        Gradient for the output, and the input.
    mu, rho : array, (C,)
        As `forward` returned them.

    Returns
    -------
    gammabar, betabar : array, (C,)
    """
    _check("batch_norm.grad_affine", g=g, x=x, mu=mu, rho=rho)
    return run("batch_norm.grad_affine", g, x, mu, rho)


def grad_affine_relu(g, x, gamma, beta, mu, rho):
    """Gradients for scale and shift of `forward_relu` (equation ``batch_norm.grad_affine_relu``).

    Arguments and results as in `grad_affine`; gamma and beta are needed to compute where the ReLU was closed.
    """
    _check("batch_norm.grad_affine_relu", g=g, x=x, gamma=gamma, beta=beta, mu=mu, rho=rho)
    return run("batch_norm.grad_affine_relu", g, x, gamma, beta, mu, rho)


def grad_input(g, x, gamma, mu, rho, gammabar, betabar):
    """Gradient for the input (equation ``batch_norm.grad_input``).

    Parameters
    ----------
    g, x : array, (N, C, H, W)
        Gradient for the output, and the input.
    gamma, mu, rho : array, (C,)
        Scale, and the statistics that `forward` returned.
    gammabar, betabar : array, (C,)
        As `grad_affine` returned them.

    Returns
    -------
    array, (N, C, H, W)
    """
    _check("batch_norm.grad_input", g=g, x=x, gamma=gamma, mu=mu, rho=rho, gammabar=gammabar, betabar=betabar)
    return run("batch_norm.grad_input", g, x, gamma, mu, rho, gammabar, betabar)


def grad_input_relu(g, x, gamma, beta, mu, rho, gammabar, betabar):
    """Gradient for the input of `forward_relu` (equation ``batch_norm.grad_input_relu``).

    Arguments and result as in `grad_input`, with beta, and with the sums from `grad_affine_relu`.
    """
    equation = "batch_norm.grad_input_relu"
    _check(equation, g=g, x=x, gamma=gamma, beta=beta, mu=mu, rho=rho, gammabar=gammabar, betabar=betabar)
    return run(equation, g, x, gamma, beta, mu, rho, gammabar, betabar)


def grad_inference(g, v, gamma, *, eps=1e-5):
    """Gradient for the input of `inference` (equation ``batch_norm.grad_inference``).

    Parameters
    ----------
    g : array, (N, C, H, W)
    v, gamma : array, (C,)
    eps : float

    Returns
    -------
    array, (N, C, H, W)
    """
    _check("batch_norm.grad_inference", g=g, v=v, gamma=gamma)
    return run("batch_norm.grad_inference", g, v, gamma, eps=float(eps))


def update_running(mean, variance, mu, nu, *, count, momentum=0.1, eps=1e-5, batches=None):
    """Move the running statistics towards those of a batch, in place, and return ρ of the batch; one launch on a GPU.

    new = (1 − momentum) · old + momentum · batch. This is plain arithmetic on C values, so the registry has no equation for it.
    As in PyTorch, the running variance takes the unbiased variance of the batch, although `forward` divides by
    the biased one.

    Parameters
    ----------
    mean, variance : array, (C,)
        Updated.
    mu, nu : array, (C,)
        Mean and biased variance of the batch, as `forward` or `conv2d.forward_statistics` returned them.
    count : int
        M = N · H · W, at least 2.
    momentum : float
        The share of the new batch.
    eps : float
    batches : array, (), int64, optional
        The number of batches so far; counted up.

    Returns
    -------
    array, (C,)
        ρ = 1 / √(ν + eps), which the gradients need.
    """
    if hasattr(mu, "__cuda_array_interface__"):
        return kernel._update_running(mu, nu, Update(mean, variance, count, momentum, batches), eps)
    if computes():
        if batches is not None:
            batches += 1
        mean += momentum * (mu - mean)
        variance += momentum * (nu * (count / (count - 1)) - variance)
    return (1 / np.sqrt(nu + eps)).astype(nu.dtype)


def normalise_and_update(x, mu, nu, gamma, beta, mean, variance, *, relu=False, momentum=0.1, eps=1e-5, batches=None):
    """`inference`, or `inference_relu`, by the statistics of the batch itself, and `update_running`: together one launch on a GPU.

    Parameters
    ----------
    x, mu, nu, gamma, beta
        As for `inference`, with mean and biased variance of x, which a convolution has computed.
    relu : bool
    mean, variance, momentum, eps, batches
        As for `update_running`.

    Returns
    -------
    y : array, (N, C, H, W)
    rho : array, (C,)
    """
    count = x.size // x.shape[1]
    update = Update(mean, variance, count, momentum, batches)
    with UPDATE.here(update if hasattr(x, "__cuda_array_interface__") else None):
        y = (inference_relu if relu else inference)(x, mu, nu, gamma, beta, eps=eps)
    if update.rho is None:  # another program than kernel.cu's
        return y, update_running(mean, variance, mu, nu, count=count, momentum=momentum, eps=eps, batches=batches)
    return y, update.rho


def _train(equation, x, gamma, beta, eps):
    _check(equation, x=x, gamma=gamma, beta=beta)
    count = x.size // max(x.shape[1], 1)
    if count < 2 and len(x):
        checks.fail(
            equation,
            f"too few values per channel ({count}): in training mode mean and variance need at least two",
            expected="N · H · W ≥ 2",
            actual=f"x {checks.shape('N C H W', x)}",
            hint="a larger batch or image, or inference with running statistics",
        )
    return run(equation, x, gamma, beta, eps=float(eps))


def _check(equation, **arrays):
    """The first array is (N, C, H, W); g and x have its shape, all others are (C,)."""
    (first, leader), *others = arrays.items()
    checks.rank(equation, first, leader, "N C H W")
    checks.floats(equation, **arrays)
    for name, array in others:
        expected = leader.shape if name in ("g", "x") else leader.shape[1:2]
        if array.shape != expected:
            axes = "N, C, H, W" if name in ("g", "x") else "C,"
            checks.fail(
                equation,
                f"{name} and {first} do not fit",
                expected=f"{name} ({axes}) = {tuple(expected)}",
                actual=f"{name}.shape = {tuple(array.shape)}, {first} {checks.shape('N C H W', leader)}",
            )
