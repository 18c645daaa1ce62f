"""Batch normalisation on the CPU, compiled by Numba.

Memory is the limit here, not arithmetic, so each kernel makes one sweep over its arrays.
One task is one channel: its values are still in the cache when the second half of the
work needs them. The ReLU costs no sweep of its own: ``floor`` is 0 with it and −∞ without.

Sums are taken slab by slab, 4096 values at most, in an order that never changes (`total` in
``jit.py``), and the slabs are added in order in float64. So they lose no digits in float32,
and do not depend on the number of threads or on the process.
"""

import numpy as np

from ..jit import kernel, prange, total

_SLAB = 4096  # values; 16 KiB of float32, which stay in the L1 cache


@kernel
def _forward(x, gamma, beta, eps, floor, y, mu, nu, rho):
    N, C, M = x.shape
    for c in prange(C):
        deviations, squared = np.empty(min(_SLAB, M), x.dtype), np.empty(min(_SLAB, M), x.dtype)
        count, mean, spread = 0.0, 0.0, 0.0  # number, mean, and sum of squared deviations so far
        for n in range(N):
            for start in range(0, M, _SLAB):
                slab = x[n, c, start : start + _SLAB]
                size = float(slab.size)
                rough = x.dtype.type(total(slab) / size)
                for i in range(slab.size):
                    deviations[i] = slab[i] - rough
                    squared[i] = deviations[i] * deviations[i]
                # What rounding left in the mean of the slab is taken out of both moments.
                rest, squares = total(deviations[: slab.size]), total(squared[: slab.size])
                error = rest / size
                # Chan, Golub & LeVeque (1979): moments of a union from the moments of its parts.
                step = rough + error - mean
                spread += squares - error * rest + step * step * count * size / (count + size)
                count += size
                mean += step * size / count
        mu[c] = mean
        nu[c] = spread / count
        rho[c] = 1 / np.sqrt(spread / count + eps)
        centre, scale, shift = mu[c], gamma[c] * rho[c], beta[c]
        for n in range(N):
            plane, out = x[n, c], y[n, c]
            for i in range(M):
                value = scale * (plane[i] - centre) + shift
                out[i] = floor if value < floor else value


@kernel
def _normalise(x, centres, scales, shifts, floor, y):
    N, C, M = x.shape
    for task in prange(N * C):
        n, c = task // C, task % C
        centre, scale, shift = centres[c], scales[c], shifts[c]
        plane, out = x[n, c], y[n, c]
        for i in range(M):
            value = scale * (plane[i] - centre) + shift
            out[i] = floor if value < floor else value


@kernel
def _sums(g, x, gamma, beta, mu, rho, floor, gammabar, betabar):
    N, C, M = x.shape
    zero = x.dtype.type(0)
    for c in prange(C):
        centre, scale, shift = mu[c], gamma[c] * rho[c], beta[c]
        passed, product = np.empty(min(_SLAB, M), x.dtype), np.empty(min(_SLAB, M), x.dtype)
        products, ones = 0.0, 0.0
        for n in range(N):
            for start in range(0, M, _SLAB):
                slab, seed = x[n, c, start : start + _SLAB], g[n, c, start : start + _SLAB]
                for i in range(slab.size):
                    d = slab[i] - centre
                    passed[i] = zero if scale * d + shift <= floor else seed[i]
                    product[i] = passed[i] * d  #: g, x, mu, rho
                products += total(product[: slab.size])
                ones += total(passed[: slab.size])
        gammabar[c] = products * rho[c]
        betabar[c] = ones


@kernel
def _grad_input(g, x, gamma, beta, mu, rho, gammabar, betabar, floor, xbar):
    N, C, M = x.shape
    zero = x.dtype.type(0)
    count = x.dtype.type(N * M)
    for task in prange(N * C):
        n, c = task // C, task % C
        centre, scale, shift = mu[c], gamma[c] * rho[c], beta[c]
        offset, slope = betabar[c] / count, rho[c] * gammabar[c] / count
        seed, plane, out = g[n, c], x[n, c], xbar[n, c]
        for i in range(M):
            d = plane[i] - centre
            passed = zero if scale * d + shift <= floor else seed[i]
            out[i] = scale * (passed - offset - slope * d)


def _planes(a):
    """(N, C, H, W) → (N, C, H W): a plane as one line of values."""
    return a.reshape(*a.shape[:2], -1)


def _train(x, gamma, beta, eps, floor):
    y = np.empty_like(x)
    mu, nu, rho = (np.empty_like(gamma) for _ in range(3))
    _forward(_planes(x), gamma, beta, x.dtype.type(eps), x.dtype.type(floor), _planes(y), mu, nu, rho)
    return y, mu, nu, rho


def forward(x, gamma, beta, *, eps):
    return _train(x, gamma, beta, eps, -np.inf)


def forward_relu(x, gamma, beta, *, eps):
    return _train(x, gamma, beta, eps, 0)


def _affine(g, x, gamma, beta, mu, rho, floor):
    gammabar, betabar = np.empty_like(mu), np.empty_like(mu)
    _sums(_planes(g), _planes(x), gamma, beta, mu, rho, x.dtype.type(floor), gammabar, betabar)
    return gammabar, betabar


def grad_affine(g, x, mu, rho):
    return _affine(g, x, rho, mu, mu, rho, -np.inf)  # no scale and shift: nothing is below −∞


def grad_affine_relu(g, x, gamma, beta, mu, rho):
    return _affine(g, x, gamma, beta, mu, rho, 0)


def _input(g, x, gamma, beta, mu, rho, gammabar, betabar, floor):
    xbar = np.empty_like(x)
    _grad_input(_planes(g), _planes(x), gamma, beta, mu, rho, gammabar, betabar, x.dtype.type(floor), _planes(xbar))
    return xbar


def grad_input(g, x, gamma, mu, rho, gammabar, betabar):
    return _input(g, x, gamma, mu, mu, rho, gammabar, betabar, -np.inf)


def grad_input_relu(g, x, gamma, beta, mu, rho, gammabar, betabar):
    return _input(g, x, gamma, beta, mu, rho, gammabar, betabar, 0)


def _affine_map(x, centre, scale, shift, floor):
    y = np.empty_like(x)
    _normalise(_planes(x), centre, scale, shift, x.dtype.type(floor), _planes(y))
    return y


def inference(x, mu, v, gamma, beta, *, eps):
    return _affine_map(x, mu, gamma * (1 / np.sqrt(v + eps)), beta, -np.inf)


def inference_relu(x, mu, v, gamma, beta, *, eps):
    return _affine_map(x, mu, gamma * (1 / np.sqrt(v + eps)), beta, 0)


def grad_inference(g, v, gamma, *, eps):
    zero = np.zeros_like(v)
    return _affine_map(g, zero, gamma / np.sqrt(v + eps), zero, -np.inf)
