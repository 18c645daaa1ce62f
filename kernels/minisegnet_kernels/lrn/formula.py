r"""Local response normalisation: a channel is damped by the squares of the channels beside it.

Index letters, here and in every view::

    n  image of the batch      i, j  row and column
    c  channel                 m  channel in the neighbourhood

The neighbourhood of c has Z channels: ⌊Z/2⌋ before c, c itself, ⌊(Z−1)/2⌋ after it, as in PyTorch.
Channels that do not exist count as zeros, so the sum is always divided by Z.
"""

import numpy as np

from ..registry import equation

_SYMBOLS = {
    "x": "input, (N, C, H, W)",
    "y": "output, (N, C, H, W)",
    "g": "gradient of the loss with respect to y, (N, C, H, W)",
    "xbar": "gradient of the loss with respect to x, (N, C, H, W)",
    "s": "the divisor before the power β, (N, C, H, W)",
    "Z": "option size, the number of channels in a neighbourhood",
    "k": "option k, a constant that keeps s away from zero",
    "alpha": "option alpha, the weight of the squares",
    "beta": "option beta, the power",
}
_SCALE = r"s_{n,c,i,j} = k + \frac{\alpha}{Z} \sum_{m = c - \lfloor Z/2 \rfloor}^{c + \lfloor (Z-1)/2 \rfloor} x_{n,m,i,j}^2"


def _neighbours(c, channels, before, after):
    return [m for m in range(c - before, c + after + 1) if 0 <= m < channels]


@equation(
    "lrn.forward",
    tex=r"y_{n,c,i,j} = x_{n,c,i,j}\; s_{n,c,i,j}^{-\beta},\quad " + _SCALE + r",\quad x = 0 \text{ outside}",
    symbols={name: _SYMBOLS[name] for name in ("x", "y", "s", "k", "Z", "alpha", "beta")},
    reference="Krizhevsky, Sutskever & Hinton, NIPS 2012, section 3.3; the factor 1/Z is PyTorch's",
    shape=lambda x, **options: x.shape,
    operations=lambda x, *, size, **options: (2 * size + 4) * x.size,
)
def forward(x, *, size, alpha, beta, k):
    (N, C, H, W), Z = x.shape, size
    y, s = np.zeros_like(x), np.full_like(x, k)
    for n, c, i, j in np.ndindex(N, C, H, W):
        for m in _neighbours(c, C, Z // 2, (Z - 1) // 2):
            s[n, c, i, j] += alpha / Z * x[n, m, i, j] ** 2
        y[n, c, i, j] = x[n, c, i, j] * s[n, c, i, j] ** -beta
    return y


@equation(
    "lrn.grad_input",
    grad_of="lrn.forward",
    wrt="x",
    tex=r"\bar x_{n,c,i,j} = g_{n,c,i,j}\; s_{n,c,i,j}^{-\beta} - \frac{2\alpha\beta}{Z}\; x_{n,c,i,j}"
    r" \sum_{m = c - \lfloor (Z-1)/2 \rfloor}^{c + \lfloor Z/2 \rfloor} g_{n,m,i,j}\; x_{n,m,i,j}\; s_{n,m,i,j}^{-\beta-1},\quad "
    + _SCALE
    + r",\quad g = x = 0 \text{ outside}",
    symbols={name: _SYMBOLS[name] for name in ("g", "x", "xbar", "s", "k", "Z", "alpha", "beta")},
    shape=lambda g, x, **options: x.shape,
    operations=lambda g, x, *, size, **options: (4 * size + 8) * x.size,
)
def grad_input(g, x, *, size, alpha, beta, k):
    (N, C, H, W), Z = x.shape, size
    s = np.full_like(x, k)
    for n, c, i, j in np.ndindex(N, C, H, W):
        for m in _neighbours(c, C, Z // 2, (Z - 1) // 2):
            s[n, c, i, j] += alpha / Z * x[n, m, i, j] ** 2
    xbar = np.zeros_like(x)
    for n, c, i, j in np.ndindex(N, C, H, W):
        xbar[n, c, i, j] = g[n, c, i, j] * s[n, c, i, j] ** -beta
        for m in _neighbours(c, C, (Z - 1) // 2, Z // 2):  # those that have c in their neighbourhood
            xbar[n, c, i, j] -= 2 * alpha * beta / Z * x[n, c, i, j] * g[n, m, i, j] * x[n, m, i, j] * s[n, m, i, j] ** (-beta - 1)
    return xbar
