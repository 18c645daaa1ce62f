"""Batch normalisation, local response normalisation and dropout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from minisegnet_kernels import backends, checks, lrn
from minisegnet_kernels import batch_norm as kernels
from minisegnet_kernels.arrays import alike

from .. import random
from ..tensor import Tensor, differentiable
from .arguments import any_places


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Normalise each channel to mean 0 and variance 1, then scale and shift.

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or (N, C, d1, ..., dk) with any number of axes
    running_mean, running_var : Tensor, (C,), or None in training
        In training they are updated in place with the mean and unbiased variance of the batch:
        ``running ← (1 − momentum) · running + momentum · batch``. A batch of no images
        leaves them as they are. Outside training the input is normalised with them.
    weight, bias : Tensor, (C,), optional
        Scale γ and shift β.
    training : bool
        Whether to normalise with the mean and biased variance of this batch.
    momentum : float
        Weight of this batch in the running statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        In the shape of the input.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or if a training batch has only one value per channel.

    Notes
    -----
    Ioffe & Szegedy, ICML 2015. Equations ``batch_norm.forward``, ``batch_norm.grad_affine``,
    ``batch_norm.grad_input``; outside training ``batch_norm.inference``, ``batch_norm.grad_inference``.
    """
    return normalised(input, running_mean, running_var, weight, bias, training, momentum, eps)


def batch_norm_relu(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """``relu(batch_norm(...))``, without a pass over memory for the ReLU. The arguments are those of `batch_norm`."""
    return normalised_relu(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _normalisation(name: str, relu: bool) -> Callable:
    """`batch_norm` or `batch_norm_relu`, with three more arguments that only layers use.

    batch_mean, batch_var : Tensor, (C,), optional
        Mean and biased variance of the batch, if `conv2d_statistics` has computed them already; used in training only.
    batches : Tensor, (), int64, optional
        The number of batches that the running statistics have seen. Training counts it up in place.
    """

    def apply(input, running_mean, running_var, weight, bias, training, momentum, eps, batch_mean=None, batch_var=None, batches=None):
        weight, bias, parts = _affine(input, running_mean, running_var, weight, bias, training)
        if training:
            options = (running_mean, running_var, batches, batch_mean, batch_var, momentum, eps)
            y, mu, rho, changed = _train(relu, input, weight, bias, *options)
            scale = lambda: rho
        else:
            inference = kernels.inference_relu if relu else kernels.inference
            y, mu, changed = inference(input, running_mean, running_var, weight, bias, eps=eps), running_mean, ()
            scale = partial(_rho, running_var, eps)

        # Three functions, because each keeps the arrays that it names until the backward pass.
        def by_constants(g):
            both = _once(lambda: kernels.grad_affine(g, input, mu, scale()))
            return lambda: kernels.grad_inference(g, running_var, weight, eps=eps), None, None, *parts(*both)

        def by_the_batch(g):
            sums = list(kernels.grad_affine(g, input, mu, scale()))  # the input gradient needs both sums, and comes first
            return lambda: kernels.grad_input(g, input, weight, mu, scale(), *sums), None, None, *parts(*_handed_over(sums))

        def with_relu(g):
            rho = scale()
            sums = list(kernels.grad_affine_relu(g, input, weight, bias, mu, rho))
            # The statistics depend on the input in training only.
            of_statistics = sums if training else [np.zeros_like(a) for a in sums]
            through = lambda: kernels.grad_input_relu(g, input, weight, bias, mu, rho, *of_statistics)
            return through, None, None, *parts(*_handed_over(sums))

        pullback = with_relu if relu else by_the_batch if training else by_constants
        return y, pullback, changed

    apply.__name__ = name  # as nodes of the graph, traces and messages show it
    return any_places(differentiable(apply))


normalised, normalised_relu = _normalisation("batch_norm", relu=False), _normalisation("batch_norm_relu", relu=True)


def _affine(input, running_mean, running_var, weight, bias, training):
    """Scale and shift (1 and 0 if not given), and a function that drops the gradient of whichever was not given."""
    checks.rank("batch_norm", "input", input, "N C H W")
    if not training and (running_mean is None or running_var is None):
        checks.fail("batch_norm", "no statistics", expected="running_mean and running_var, or training=True", actual="neither")
    given = (weight is not None, bias is not None)
    weight = np.ones_like(input, shape=input.shape[1]) if weight is None else weight
    bias = np.zeros_like(input, shape=input.shape[1]) if bias is None else bias
    return weight, bias, lambda gamma, beta: (gamma if given[0] else None, beta if given[1] else None)


def _handed_over(sums):
    """Functions that return an array each and let go of it: `backward` copies a gradient that someone else holds."""

    def hand_over(k):
        array, sums[k] = sums[k], None
        return array

    return [partial(hand_over, k) for k in range(len(sums))]


def _once(both):
    """Two functions, one for each gradient. The first call of either computes both."""
    made: list = []

    def product(k):
        if not made:
            made.extend(both())
        return made[k]

    return lambda: product(0), lambda: product(1)


def _rho(variance, eps):
    return (1 / np.sqrt(variance + eps)).astype(variance.dtype)


def _train(relu, input, weight, bias, running_mean, running_var, batches, mu, nu, momentum, eps):
    """Normalise by the batch, whose mean and variance may be known, and update the running statistics.

    Return the output, mean and ρ of the batch, and the arrays that changed.
    """
    tracks = running_mean is not None and running_var is not None and backends.computes()
    tracked = tracks and len(input) > 0  # a batch of no images has no statistics
    running = {"momentum": momentum, "eps": eps, "batches": batches}
    if mu is None:
        y, mu, nu, rho = (kernels.forward_relu if relu else kernels.forward)(input, weight, bias, eps=eps)
        if tracked:
            kernels.update_running(running_mean, running_var, mu, nu, count=input.size // input.shape[1], **running)
    elif tracked:
        y, rho = kernels.normalise_and_update(input, mu, nu, weight, bias, running_mean, running_var, relu=relu, **running)
    else:
        y = (kernels.inference_relu if relu else kernels.inference)(input, mu, nu, weight, bias, eps=eps)
        rho = _rho(nu, eps)
    if not tracked:
        if tracks and batches is not None:
            batches += 1
        return y, mu, rho, [batches] if tracks and batches is not None else []
    return y, mu, rho, [a for a in (running_mean, running_var, batches) if a is not None]


@any_places
@differentiable
def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Divide by ``(k + α/size · Σ x²)^β`` over `size` neighbouring channels (equation ``lrn.forward``).

    Krizhevsky, Sutskever & Hinton, NIPS 2012. SegNet-Basic uses it.

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or (N, C, d1, ..., dk) with any number of axes
    size : int
    alpha, beta, k : float

    Returns
    -------
    Tensor
        In the shape of the input.
    """
    options = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    return lrn.forward(input, **options), lambda g: (lambda: lrn.grad_input(g, input, **options),)


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """In training, zero each element with probability p and scale the others by 1/(1 − p); otherwise return the input.

    Srivastava et al., JMLR 2014. The random numbers come from the library's generator (`manual_seed`).
    """
    return _drop(input, input.shape, p, training)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """`dropout` of whole channels: one random number decides for each image and channel.

    An input with three axes is (N, C, L), as in PyTorch, not one image.
    """
    if input.ndim != 3:
        checks.rank("dropout2d", "input", input, "N C H W")
    return _drop(input, (*input.shape[:2], *(1,) * (input.ndim - 2)), p, training)


def _array(a):
    return a.array if isinstance(a, Tensor) else a


def _drop(input, shape, p, training):
    if not 0 <= p <= 1:
        checks.fail("dropout", "p is not a probability", expected="0 ≤ p ≤ 1", actual=f"p = {p}")
    if not training or p == 0 or not backends.computes():
        return input if isinstance(input, Tensor) else Tensor(input)
    keep = random.drawn(lambda: random.generator().random(shape) >= p, _array(input))
    return _masked(input, keep, 0.0 if p == 1 else 1 / (1 - p))


@differentiable
def _masked(input, keep, scale):
    keep = np.asarray(keep, like=input)  # the gradient needs one byte per element, not the input

    def scaled(a):
        return alike(np.multiply, a, keep * a.dtype.type(scale))

    return scaled(input), lambda g: (lambda: scaled(g),)
