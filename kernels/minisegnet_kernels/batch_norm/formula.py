r"""Batch normalisation: every channel gets mean 0 and variance 1, then a learnt scale and shift.

Index letters, here and in every view::

    n  image of the batch      i, j  row and column
    c  channel

The axes are N, C, H, W. Sums run over the M = N H W values of a channel. A bar marks the
gradient of the loss with respect to what is under it. In training the mean μ and the
deviation 1/ρ come from the batch, so the gradient for x has two terms more than the scale.
"""

import numpy as np

from ..registry import equation

_SYMBOLS = {
    "x": "input, (N, C, H, W)",
    "y": "output, (N, C, H, W)",
    "g": "gradient of the loss with respect to y, (N, C, H, W)",
    "gamma": "scale, (C,)",
    "beta": "shift, (C,)",
    "mu": "mean of a channel, (C,)",
    "nu": "biased variance of a channel, (C,)",
    "rho": "1 / standard deviation of a channel, (C,)",
    "v": "running variance of a channel, (C,)",
    "epsilon": "option eps: a small number that keeps the root away from zero",
    "M": "number of values of a channel",
    "xbar": "gradient for x, (N, C, H, W)",
    "gammabar": "gradient for gamma, (C,)",
    "betabar": "gradient for beta, (C,)",
}

_SOURCE = "Ioffe & Szegedy, arXiv 1502.03167"
_STATISTICS = (
    r",\quad \mu_c = \frac{1}{M} \sum_{n,i,j} x_{n,c,i,j}"
    r",\quad \nu_c = \frac{1}{M} \sum_{n,i,j} (x_{n,c,i,j} - \mu_c)^2"
    r",\quad \rho_c = (\nu_c + \epsilon)^{-1/2}"
)
_M = r",\quad M = NHW"
_NORMALISED = r"\gamma_c\,\rho_c\,(x_{n,c,i,j} - \mu_c) + \beta_c"
_CENTRED = r"g_{n,c,i,j} - \frac{\bar\beta_c}{M} - \rho_c\,(x_{n,c,i,j} - \mu_c)\,\frac{\bar\gamma_c}{M}"


def _symbols(*names: str) -> dict[str, str]:
    return {name: _SYMBOLS[name] for name in names}


@equation(
    "batch_norm.forward",
    tex=r"y_{n,c,i,j} = " + _NORMALISED + _STATISTICS + _M,
    returns="y mu nu rho",
    symbols=_symbols("x", "gamma", "beta", "epsilon", "M", "mu", "nu", "rho", "y"),
    reference=_SOURCE + ", algorithm 1",
    shape=lambda x, *_, eps: [x.shape, *[x.shape[1:2]] * 3],
    operations=lambda x, *_, eps: 8 * x.size,  # mean 1, deviation 3, normalised 4
    passes=lambda x, *_, eps: {"x": 2},  # for the mean and the deviation, then to be normalised
)
def forward(x, gamma, beta, *, eps):
    (N, C, H, W), epsilon = x.shape, eps
    M = N * H * W
    y = np.zeros((N, C, H, W), np.result_type(x, gamma, beta))
    mu, nu, rho = np.zeros(C, x.dtype), np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c in range(C):
        for n, i, j in np.ndindex(N, H, W):
            mu[c] += x[n, c, i, j] / M
        for n, i, j in np.ndindex(N, H, W):
            nu[c] += (x[n, c, i, j] - mu[c]) * (x[n, c, i, j] - mu[c]) / M
        rho[c] = 1 / np.sqrt(nu[c] + epsilon)
        for n, i, j in np.ndindex(N, H, W):
            y[n, c, i, j] = gamma[c] * rho[c] * (x[n, c, i, j] - mu[c]) + beta[c]
    return y, mu, nu, rho


@equation(
    "batch_norm.forward_relu",
    tex=r"y_{n,c,i,j} = \max\big(0,\; " + _NORMALISED + r"\big)" + _STATISTICS + _M,
    returns="y mu nu rho",
    symbols=_symbols("x", "gamma", "beta", "epsilon", "M", "mu", "nu", "rho", "y"),
    shape=lambda x, *_, eps: [x.shape, *[x.shape[1:2]] * 3],
    operations=lambda x, *_, eps: 9 * x.size,
    passes=lambda x, *_, eps: {"x": 2},
)
def forward_relu(x, gamma, beta, *, eps):
    (N, C, H, W), epsilon = x.shape, eps
    M = N * H * W
    y = np.zeros((N, C, H, W), np.result_type(x, gamma, beta))
    mu, nu, rho = np.zeros(C, x.dtype), np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c in range(C):
        for n, i, j in np.ndindex(N, H, W):
            mu[c] += x[n, c, i, j] / M
        for n, i, j in np.ndindex(N, H, W):
            nu[c] += (x[n, c, i, j] - mu[c]) * (x[n, c, i, j] - mu[c]) / M
        rho[c] = 1 / np.sqrt(nu[c] + epsilon)
        for n, i, j in np.ndindex(N, H, W):
            y[n, c, i, j] = gamma[c] * rho[c] * (x[n, c, i, j] - mu[c]) + beta[c]
            if y[n, c, i, j] < 0:
                y[n, c, i, j] = 0
    return y, mu, nu, rho


@equation(
    "batch_norm.grad_affine",
    grad_of="batch_norm.forward",
    wrt="gamma, beta",
    tex=r"\bar\gamma_c = \sum_{n,i,j} g_{n,c,i,j}\,\rho_c\,(x_{n,c,i,j} - \mu_c),\quad \bar\beta_c = \sum_{n,i,j} g_{n,c,i,j}",
    returns="gammabar betabar",
    symbols=_symbols("g", "x", "mu", "rho", "gammabar", "betabar"),
    shape=lambda g, x, *_: [x.shape[1:2], x.shape[1:2]],
    operations=lambda g, x, *_: 5 * x.size,
)
def grad_affine(g, x, mu, rho):
    N, C, H, W = x.shape
    gammabar, betabar = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c, n, i, j in np.ndindex(C, N, H, W):
        gammabar[c] += g[n, c, i, j] * rho[c] * (x[n, c, i, j] - mu[c])
        betabar[c] += g[n, c, i, j]
    return gammabar, betabar


@equation(
    "batch_norm.grad_affine_relu",
    grad_of="batch_norm.forward_relu",
    wrt="gamma, beta",
    tex=r"\bar\gamma_c = \sum_{n,i,j} [y_{n,c,i,j} > 0]\, g_{n,c,i,j}\,\rho_c\,(x_{n,c,i,j} - \mu_c),\quad"
    r" \bar\beta_c = \sum_{n,i,j} [y_{n,c,i,j} > 0]\, g_{n,c,i,j},\quad y_{n,c,i,j} = " + _NORMALISED,
    returns="gammabar betabar",
    symbols=_symbols("g", "x", "gamma", "beta", "mu", "rho", "gammabar", "betabar") | {"y": "what the ReLU was given"},
    shape=lambda g, x, *_: [x.shape[1:2], x.shape[1:2]],
    operations=lambda g, x, *_: 8 * x.size,  # the mask of the ReLU is computed anew
)
def grad_affine_relu(g, x, gamma, beta, mu, rho):
    N, C, H, W = x.shape
    gammabar, betabar = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c, n, i, j in np.ndindex(C, N, H, W):
        y = gamma[c] * rho[c] * (x[n, c, i, j] - mu[c]) + beta[c]
        if y > 0:
            gammabar[c] += g[n, c, i, j] * rho[c] * (x[n, c, i, j] - mu[c])
            betabar[c] += g[n, c, i, j]
    return gammabar, betabar


@equation(
    "batch_norm.grad_input",
    grad_of="batch_norm.forward",
    wrt="x",
    tex=r"\bar x_{n,c,i,j} = \gamma_c\,\rho_c \Big(" + _CENTRED + r"\Big)" + _M,
    symbols=_symbols("g", "x", "gamma", "mu", "rho", "gammabar", "betabar", "M", "xbar"),
    shape=lambda g, x, *_: x.shape,
    operations=lambda g, x, *_: 6 * x.size,
)
def grad_input(g, x, gamma, mu, rho, gammabar, betabar):
    N, C, H, W = x.shape
    M = N * H * W
    xbar = np.zeros((N, C, H, W), x.dtype)
    for n, c, i, j in np.ndindex(N, C, H, W):
        xbar[n, c, i, j] = gamma[c] * rho[c] * (g[n, c, i, j] - betabar[c] / M - rho[c] * (x[n, c, i, j] - mu[c]) * gammabar[c] / M)
    return xbar


@equation(
    "batch_norm.grad_input_relu",
    grad_of="batch_norm.forward_relu",
    wrt="x",
    tex=r"\bar x_{n,c,i,j} = \gamma_c\,\rho_c \Big([y_{n,c,i,j} > 0]\, " + _CENTRED + r"\Big),\quad y_{n,c,i,j} = " + _NORMALISED + _M,
    symbols=_symbols("g", "x", "gamma", "beta", "mu", "rho", "gammabar", "betabar", "M", "xbar") | {"y": "what the ReLU was given"},
    shape=lambda g, x, *_: x.shape,
    operations=lambda g, x, *_: 9 * x.size,
)
def grad_input_relu(g, x, gamma, beta, mu, rho, gammabar, betabar):
    N, C, H, W = x.shape
    M = N * H * W
    xbar = np.zeros((N, C, H, W), x.dtype)
    for n, c, i, j in np.ndindex(N, C, H, W):
        y = gamma[c] * rho[c] * (x[n, c, i, j] - mu[c]) + beta[c]
        xbar[n, c, i, j] = g[n, c, i, j] if y > 0 else 0
        xbar[n, c, i, j] -= betabar[c] / M + rho[c] * (x[n, c, i, j] - mu[c]) * gammabar[c] / M
        xbar[n, c, i, j] *= gamma[c] * rho[c]
    return xbar


@equation(
    "batch_norm.inference",
    tex=r"y_{n,c,i,j} = \gamma_c\,\frac{x_{n,c,i,j} - \mu_c}{\sqrt{v_c + \epsilon}} + \beta_c",
    symbols=_symbols("x", "mu", "v", "gamma", "beta", "epsilon", "y") | {"mu": "running mean of a channel, (C,)"},
    reference=_SOURCE + ", algorithm 2",
    shape=lambda x, *_, eps: x.shape,
    operations=lambda x, *_, eps: 2 * x.size,  # scale and shift of a channel are computed once
)
def inference(x, mu, v, gamma, beta, *, eps):
    (N, C, H, W), epsilon = x.shape, eps
    y = np.zeros((N, C, H, W), np.result_type(x, mu, v, gamma, beta))
    for n, c, i, j in np.ndindex(N, C, H, W):
        y[n, c, i, j] = gamma[c] * (x[n, c, i, j] - mu[c]) / np.sqrt(v[c] + epsilon) + beta[c]
    return y


@equation(
    "batch_norm.inference_relu",
    tex=r"y_{n,c,i,j} = \max\Big(0,\; \gamma_c\,\frac{x_{n,c,i,j} - \mu_c}{\sqrt{v_c + \epsilon}} + \beta_c\Big)",
    symbols=_symbols("x", "mu", "v", "gamma", "beta", "epsilon", "y") | {"mu": "running mean of a channel, (C,)"},
    shape=lambda x, *_, eps: x.shape,
    operations=lambda x, *_, eps: 3 * x.size,
)
def inference_relu(x, mu, v, gamma, beta, *, eps):
    (N, C, H, W), epsilon = x.shape, eps
    y = np.zeros((N, C, H, W), np.result_type(x, mu, v, gamma, beta))
    for n, c, i, j in np.ndindex(N, C, H, W):
        y[n, c, i, j] = gamma[c] * (x[n, c, i, j] - mu[c]) / np.sqrt(v[c] + epsilon) + beta[c]
        if y[n, c, i, j] < 0:
            y[n, c, i, j] = 0
    return y


@equation(
    "batch_norm.grad_inference",
    grad_of="batch_norm.inference",
    wrt="x",
    tex=r"\bar x_{n,c,i,j} = \gamma_c\,\frac{g_{n,c,i,j}}{\sqrt{v_c + \epsilon}}",
    symbols=_symbols("g", "v", "gamma", "epsilon", "xbar"),
    shape=lambda g, *_, eps: g.shape,
    operations=lambda g, *_, eps: g.size,
)
def grad_inference(g, v, gamma, *, eps):
    (N, C, H, W), epsilon = g.shape, eps
    xbar = np.zeros((N, C, H, W), g.dtype)
    for n, c, i, j in np.ndindex(N, C, H, W):
        xbar[n, c, i, j] = gamma[c] * g[n, c, i, j] / np.sqrt(v[c] + epsilon)
    return xbar
