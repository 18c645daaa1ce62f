"""Local response normalisation for a GPU in Numba.

Thread map: one thread = one element n, c, i, j. Its neighbourhood is read again by the threads of the
channels beside it, from caches: memory is swept once.
"""

from ..cuda.jit import cuda, device, kernel, over, place
from ..layout import poisoned


def forward(x, *, size, alpha, beta, k):
    y = poisoned(x, x.shape)
    over(_forward, y.size, x, y, size, *(x.dtype.type(value) for value in (alpha / size, beta, k)))
    return y


@kernel
def _forward(x, y, size, factor, beta, k):
    number = cuda.grid(1)
    if number < y.size:
        n, c, i, j = place(number, y.shape[1], y.shape[2], y.shape[3])
        y[n, c, i, j] = x[n, c, i, j] * _scale(x, n, c, i, j, size, factor, k) ** -beta


def grad_input(g, x, *, size, alpha, beta, k):
    xbar = poisoned(x, x.shape)
    over(_grad_input, xbar.size, g, x, xbar, size, *(x.dtype.type(value) for value in (alpha / size, 2 * alpha * beta / size, beta, k)))
    return xbar


@kernel
def _grad_input(g, x, xbar, size, factor, twice, beta, k):
    """x̄ = g s^−β − 2αβ/Z x Σ_m g_m x_m s_m^(−β−1), over the channels m that have c in their neighbourhood."""
    number = cuda.grid(1)
    if number >= xbar.size:
        return
    n, c, i, j = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
    total = x.dtype.type(0)
    damped = x.dtype.type(0)
    for m in range(max(0, c - (size - 1) // 2), min(x.shape[1], c + size // 2 + 1)):
        s = _scale(x, n, m, i, j, size, factor, k)
        term = g[n, m, i, j] * s**-beta
        if m == c:
            damped = term
        total += term * x[n, m, i, j] / s  #: g
    xbar[n, c, i, j] = damped - twice * x[n, c, i, j] * total


@device
def _scale(x, n, c, i, j, size, factor, k):
    """s = k + α/Z Σ_m x_m² over the channels from c − ⌊Z/2⌋ to c + ⌊(Z−1)/2⌋ that exist; factor = α/Z."""
    total = x.dtype.type(0)
    for m in range(max(0, c - size // 2), min(x.shape[1], c + (size - 1) // 2 + 1)):
        total += x[n, m, i, j] * x[n, m, i, j]
    return k + factor * total  #: s, alpha
