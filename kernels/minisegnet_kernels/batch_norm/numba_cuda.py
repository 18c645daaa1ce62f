"""Batch normalisation for a GPU in Numba: the kernels of ``kernel.cu`` for one layout, rows first.

Thread map of every sweep: block (slab, c) has 16 values for each of its threads, in the order of the channel's
plane; neighbouring threads are neighbours in memory. Sums are merged in a tree in shared memory, and the results
of the slabs in a second tree; the order never changes. ``floor`` is 0 with a ReLU and −∞ without.
"""

import numpy as np

from ..cuda.jit import THREADS, cuda, device, kernel, launch
from ..layout import poisoned

_VALUES = 16
_SLABS = 1024  # at most, of a channel whose slabs are merged in a second pass
_GRID = 65535
_PAIRS = 2 * THREADS


def _map(x, most):
    """Grid of a sweep, values of a channel and of a slab."""
    C, M = x.shape[1], x.shape[0] * x.shape[2] * x.shape[3]
    length = max(_VALUES * THREADS, -(-M // most))
    return (C, -(-M // length)), M, length


def _planes(a):
    """(N, C, H, W) → (N, C, H W): the kernels need no rows and columns."""
    return a.reshape(*a.shape[:2], -1)


def _vectors(like, *shape):
    return poisoned(like, shape), poisoned(like, shape)


@device
def _walk(N, P, length):
    """Image n and place p of this thread's first value, the increments of both at each step, and the number of values."""
    first = cuda.blockIdx.y * length + cuda.threadIdx.x
    end = min((cuda.blockIdx.y + 1) * length, N * P)
    return first // P, first % P, THREADS // P, THREADS % P, (max(end - first, 0) + THREADS - 1) // THREADS


@device
def _next(n, p, dn, dp, P):
    """The next value of the thread, without a division, which would take longer than reading the value from memory."""
    n, p = n + dn, p + dp
    return (n + 1, p - P) if p >= P else (n, p)


@device
def _merge(counts, means, spreads, a, b):
    """Chan, Golub & LeVeque (1979): the moments of a union from those of its parts, a ← a ∪ b."""
    count = counts[a] + counts[b]
    if count > 0:
        step, share = means[b] - means[a], counts[b] / count
        means[a] += share * step
        spreads[a] += spreads[b] + step * step * share * counts[a]
        counts[a] = count


@device
def _merge_block(counts, means, spreads):
    """Merge all places into place 0."""
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if cuda.threadIdx.x < half:
            _merge(counts, means, spreads, cuda.threadIdx.x, cuda.threadIdx.x + half)
        half //= 2


@device
def _add_block(products, ones):
    half, t = THREADS // 2, cuda.threadIdx.x
    while half > 0:
        cuda.syncthreads()
        if t < half:
            products[t] += products[t + half]
            ones[t] += ones[t + half]
        half //= 2


# --- training: the statistics of the batch ------------------------------------------------------------


def _train(x, gamma, beta, eps, floor):
    C, dtype = x.shape[1], x.dtype.type
    grid, M, length = _map(x, _SLABS)
    means, spreads = _vectors(gamma, C, grid[1])
    launch(_statistics, grid, THREADS, _planes(x), length, means, spreads)
    mu, nu = _vectors(gamma, C)
    launch(_merge_slabs, C, THREADS, means, spreads, length, M, mu, nu)
    rho = 1 / np.sqrt(nu + dtype(eps))
    return _affine_map(x, mu, gamma * rho, beta, floor), mu, nu, rho


def forward(x, gamma, beta, *, eps):
    return _train(x, gamma, beta, eps, -np.inf)


def forward_relu(x, gamma, beta, *, eps):
    return _train(x, gamma, beta, eps, 0)


@kernel
def _statistics(x, length, slab_means, slab_spreads):
    N, _, P = x.shape
    c, t = cuda.blockIdx.x, cuda.threadIdx.x
    counts = cuda.shared.array(THREADS, x.dtype)
    means = cuda.shared.array(THREADS, x.dtype)
    spreads = cuda.shared.array(THREADS, x.dtype)
    number, mean, spread = x.dtype.type(0), x.dtype.type(0), x.dtype.type(0)
    n, p, dn, dp, count = _walk(N, P, length)
    for _ in range(count):
        number += x.dtype.type(1)  # the union with a part of one value
        step = x[n, c, p] - mean
        mean += step / number
        spread += step * (x[n, c, p] - mean)
        n, p = _next(n, p, dn, dp, P)
    counts[t], means[t], spreads[t] = number, mean, spread
    _merge_block(counts, means, spreads)
    if t == 0:
        slab_means[c, cuda.blockIdx.y] = means[0]
        slab_spreads[c, cuda.blockIdx.y] = spreads[0]


@kernel
def _merge_slabs(slab_means, slab_spreads, length, M, mu, nu):
    c, t = cuda.blockIdx.x, cuda.threadIdx.x
    counts = cuda.shared.array(_PAIRS, mu.dtype)
    means = cuda.shared.array(_PAIRS, mu.dtype)
    spreads = cuda.shared.array(_PAIRS, mu.dtype)
    counts[t], means[t], spreads[t] = 0, 0, 0
    slab, fetched = t, t + THREADS  # the upper half holds the slab that is merged next
    while slab < slab_means.shape[1]:
        counts[fetched] = min(length, M - slab * length)
        means[fetched], spreads[fetched] = slab_means[c, slab], slab_spreads[c, slab]
        _merge(counts, means, spreads, t, fetched)
        slab += THREADS
    _merge_block(counts, means, spreads)
    if t == 0:
        mu[c] = means[0]
        nu[c] = spreads[0] / mu.dtype.type(M)


# --- training: gradients ----------------------------------------------------------------------------------


def _affine(g, x, gamma, beta, mu, rho, floor):
    C = x.shape[1]
    gammabar, betabar = _vectors(rho, C)
    if not C:
        return gammabar, betabar
    grid, _, length = _map(x, _SLABS)
    products, ones = _vectors(rho, C, grid[1])
    if x.size:
        launch(_add_up, grid, THREADS, _planes(g), _planes(x), mu, gamma * rho, beta, x.dtype.type(floor), length, products, ones)
    launch(_add_slabs, C, THREADS, products, ones, rho, gammabar, betabar)
    return gammabar, betabar


def grad_affine(g, x, mu, rho):
    return _affine(g, x, rho, mu, mu, rho, -np.inf)  # no scale and shift: the ReLU is open everywhere, since nothing is below −∞


def grad_affine_relu(g, x, gamma, beta, mu, rho):
    return _affine(g, x, gamma, beta, mu, rho, 0)


@device
def _is_open(value, floor):
    """[y > 0]: closed for a NaN, and always open without a ReLU."""
    return value > floor or floor < 0


@kernel
def _add_up(g, x, mu, scale, beta, floor, length, slab_products, slab_ones):
    N, _, P = x.shape
    c, t = cuda.blockIdx.x, cuda.threadIdx.x
    products = cuda.shared.array(THREADS, x.dtype)
    ones = cuda.shared.array(THREADS, x.dtype)
    product, one = x.dtype.type(0), x.dtype.type(0)
    n, p, dn, dp, count = _walk(N, P, length)
    for _ in range(count):
        seed, d = g[n, c, p], x[n, c, p] - mu[c]
        if _is_open(scale[c] * d + beta[c], floor):
            product += seed * d  #: g, x, mu, rho
            one += seed
        n, p = _next(n, p, dn, dp, P)
    products[t], ones[t] = product, one
    _add_block(products, ones)
    if t == 0:
        slab_products[c, cuda.blockIdx.y] = products[0]
        slab_ones[c, cuda.blockIdx.y] = ones[0]


@kernel
def _add_slabs(slab_products, slab_ones, rho, gammabar, betabar):
    c, t = cuda.blockIdx.x, cuda.threadIdx.x
    products = cuda.shared.array(THREADS, rho.dtype)
    ones = cuda.shared.array(THREADS, rho.dtype)
    products[t], ones[t] = 0, 0
    slab = t
    while slab < slab_ones.shape[1]:
        products[t] += slab_products[c, slab]
        ones[t] += slab_ones[c, slab]
        slab += THREADS
    _add_block(products, ones)
    if t == 0:
        gammabar[c] = products[0] * rho[c]
        betabar[c] = ones[0]


def _input(g, x, gamma, beta, mu, rho, gammabar, betabar, floor):
    xbar = poisoned(x, x.shape)
    if x.size:
        grid, M, length = _map(x, _GRID)
        offset, slope, floor = betabar / M, rho * gammabar / M, x.dtype.type(floor)
        launch(_grad_input, grid, THREADS, _planes(g), _planes(x), mu, gamma * rho, beta, offset, slope, floor, length, _planes(xbar))
    return xbar


def grad_input(g, x, gamma, mu, rho, gammabar, betabar):
    return _input(g, x, gamma, mu, mu, rho, gammabar, betabar, -np.inf)


def grad_input_relu(g, x, gamma, beta, mu, rho, gammabar, betabar):
    return _input(g, x, gamma, beta, mu, rho, gammabar, betabar, 0)


@kernel
def _grad_input(g, x, mu, scale, beta, offset, slope, floor, length, xbar):
    N, _, P = x.shape
    c = cuda.blockIdx.x
    n, p, dn, dp, count = _walk(N, P, length)
    for _ in range(count):
        d = x[n, c, p] - mu[c]
        passed = g[n, c, p] if _is_open(scale[c] * d + beta[c], floor) else x.dtype.type(0)
        xbar[n, c, p] = scale[c] * (passed - offset[c] - slope[c] * d)  #: g, x
        n, p = _next(n, p, dn, dp, P)


# --- y = scale (x − centre) + shift ------------------------------------------------------------------------


def _affine_map(x, centre, scale, shift, floor):
    y = poisoned(x, x.shape)
    if x.size:
        grid, _, length = _map(x, _GRID)
        launch(_normalise, grid, THREADS, _planes(x), centre, scale, shift, x.dtype.type(floor), length, _planes(y))
    return y


@kernel
def _normalise(x, centre, scale, shift, floor, length, y):
    N, _, P = x.shape
    c = cuda.blockIdx.x
    n, p, dn, dp, count = _walk(N, P, length)
    for _ in range(count):
        value = scale[c] * (x[n, c, p] - centre[c]) + shift[c]
        y[n, c, p] = floor if value < floor else value  # a NaN stays
        n, p = _next(n, p, dn, dp, P)


def inference(x, mu, v, gamma, beta, *, eps):
    return _affine_map(x, mu, gamma * (1 / np.sqrt(v + eps)), beta, -np.inf)


def inference_relu(x, mu, v, gamma, beta, *, eps):
    return _affine_map(x, mu, gamma * (1 / np.sqrt(v + eps)), beta, 0)


def grad_inference(g, v, gamma, *, eps):
    zero = np.zeros_like(v)
    return _affine_map(g, zero, gamma / np.sqrt(v + eps), zero, -np.inf)
