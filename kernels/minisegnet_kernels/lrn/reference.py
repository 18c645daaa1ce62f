"""Local response normalisation in NumPy, written to be read beside ``formula.py``."""

import numpy as np


def forward(x, *, size, alpha, beta, k):
    return x * _scale(x, size, alpha, k) ** -beta  #: y


def grad_input(g, x, *, size, alpha, beta, k):
    s = _scale(x, size, alpha, k)
    damped = g * s**-beta
    return damped - 2 * alpha * beta / size * x * _sum_beside(damped * x / s, (size - 1) // 2, size // 2)  #: xbar, g, x


def _scale(x, size, alpha, k):
    return k + alpha / size * _sum_beside(x * x, size // 2, (size - 1) // 2)  #: s, x


def _sum_beside(a, before, after):
    """Sum over the channels from c − before to c + after; those that do not exist are zeros."""
    padded = np.pad(a, ((0, 0), (before, after), (0, 0), (0, 0)))
    total = np.zeros_like(a)
    for m in range(before + after + 1):
        total += padded[:, m : m + a.shape[1]]
    return total
