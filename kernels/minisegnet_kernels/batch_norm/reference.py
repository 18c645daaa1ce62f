"""Batch normalisation in NumPy, written to be read beside ``formula.py``.

`_channel` lays a vector (C,) along the channels, so that each line is a line of the formula.
"""

import numpy as np

_SUM = (0, 2, 3)  # axes of n, i, j


def _channel(vector):
    """(C,) → (C, 1, 1), which broadcasts against (N, C, H, W)."""
    return vector[:, None, None]


def _normalised(x, gamma, beta, mu, rho):
    return _channel(gamma * rho) * (x - _channel(mu)) + _channel(beta)


def _passed(g, x, gamma, beta, mu, rho):
    """g where the ReLU was open, 0 where it was closed."""
    return np.where(_normalised(x, gamma, beta, mu, rho) > 0, g, np.zeros_like(g))


def forward(x, gamma, beta, *, eps):
    mu = x.mean(axis=_SUM)  #: M, x
    # Not E[x²] − E[x]²: at a large mean that difference has no digits left.
    nu = np.square(x - _channel(mu)).mean(axis=_SUM)
    rho = 1 / np.sqrt(nu + eps)
    return _normalised(x, gamma, beta, mu, rho), mu, nu, rho  #: y


def forward_relu(x, gamma, beta, *, eps):
    y, *statistics = forward(x, gamma, beta, eps=eps)
    return np.maximum(y, 0), *statistics


def grad_affine(g, x, mu, rho):
    return (g * (x - _channel(mu))).sum(axis=_SUM) * rho, g.sum(axis=_SUM)  #: gammabar, betabar, g, x, mu, rho


def grad_affine_relu(g, x, gamma, beta, mu, rho):
    return grad_affine(_passed(g, x, gamma, beta, mu, rho), x, mu, rho)


def grad_input(g, x, gamma, mu, rho, gammabar, betabar):
    M = x.size // x.shape[1]
    centred = g - _channel(betabar) / M - _channel(rho * gammabar) * (x - _channel(mu)) / M  #: g, x
    return _channel(gamma * rho) * centred  #: xbar


def grad_input_relu(g, x, gamma, beta, mu, rho, gammabar, betabar):
    return grad_input(_passed(g, x, gamma, beta, mu, rho), x, gamma, mu, rho, gammabar, betabar)


def inference(x, mu, v, gamma, beta, *, eps):
    return _normalised(x, gamma, beta, mu, 1 / np.sqrt(v + eps))


def inference_relu(x, mu, v, gamma, beta, *, eps):
    return np.maximum(inference(x, mu, v, gamma, beta, eps=eps), 0)


def grad_inference(g, v, gamma, *, eps):
    return _channel(gamma / np.sqrt(v + eps)) * g
