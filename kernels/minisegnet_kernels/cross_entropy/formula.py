r"""Cross-entropy of softmax scores: how surprised the network is by the true class of each pixel.

Index letters, here and in every view::

    n  image of the batch      i, j  row and column
    c  class                   k     class, where a sum over all of them stands inside

The axes are N, C, H, W for the scores and N, H, W for the target. A bar marks the gradient of
the loss with respect to what is under it. With the reduction "none" the result is ℓ instead of L. Z is
1 with "sum" and "none". Ignored pixels have no loss, no weight and no gradient.
"""

import numpy as np

from ..registry import equation

_SYMBOLS = {
    "x": "scores, (N, C, H, W)",
    "t": "target, the true class of each pixel, (N, H, W)",
    "w": "weight of each class, (C,)",
    "g": "gradient of the loss behind it with respect to L: a number, or (N, H, W) with the reduction none",
    "alpha": "option label_smoothing, the share of the target that is spread evenly over the classes",
    "q": "the smoothed target, a distribution over the classes",
    "m": "the largest score of a pixel: it cancels, and keeps the exponentials from overflowing",
    "s": "sum of the exponentials of a pixel",
    "ell": "loss of a pixel, 0 where it is ignored",
    "L": "loss",
    "Z": "sum of the weights of the true classes of all pixels that are not ignored",
    "r": "the gradient of the loss with respect to ell, one number a pixel",
    "xbar": "gradient for x, (N, C, H, W)",
}

_COUNTS = r"[t_{n,i,j} \ne \text{ignore index}] "
_PARTS = (
    r"q_{n,c,i,j} = (1-\alpha)\,[t_{n,i,j} = c] + \frac{\alpha}{C},\quad m_{n,i,j} = \max_k x_{n,k,i,j}"
    r",\quad s_{n,i,j} = \sum_k \exp(x_{n,k,i,j} - m_{n,i,j}),\quad "
)
_LOSS = (
    r"\ell_{n,i,j} = -" + _COUNTS + r"\sum_c w_c\,q_{n,c,i,j}\,(x_{n,c,i,j} - m_{n,i,j} - \log s_{n,i,j})"
    r",\quad L = \begin{cases} \ell & \text{none} \\ \sum_{n,i,j} \ell_{n,i,j} & \text{sum} \\"
    r" \frac{1}{Z} \sum_{n,i,j} \ell_{n,i,j} & Z \ne 0 \\ 0 & \text{otherwise} \end{cases},\quad "
)
_Z = r"Z = \sum_{n,i,j :\, t_{n,i,j} \ne \text{ignore index}} w_{t_{n,i,j}}"
_DIFFERENCE = r"\Big(\frac{\exp(x_{n,c,i,j} - m_{n,i,j})}{s_{n,i,j}} \sum_k w_k\,q_{n,k,i,j} - w_c\,q_{n,c,i,j}\Big)"


def _symbols(*names: str) -> dict[str, str]:
    return {name: _SYMBOLS[name] for name in ("x", "t", "w", "alpha", "q", "m", "s", "Z", *names)}


def _loss_shape(t, *, reduction, **options):
    return t.shape if reduction == "none" else ()


@equation(
    "cross_entropy.forward",
    tex=_PARTS + _LOSS + _Z,
    returns="L",
    symbols=_symbols("ell", "L"),
    reference="Szegedy et al., CVPR 2016, section 7, for the smoothing",
    shape=lambda x, t, w, **options: _loss_shape(t, **options),
    operations=lambda x, *_, **options: 4 * x.size,  # compare, subtract, exp, add
)
def forward(x, t, w, *, ignore_index, label_smoothing, reduction):
    (N, C, H, W), alpha = x.shape, label_smoothing
    ell, Z = np.zeros((N, H, W), x.dtype), 0
    for n, i, j in np.ndindex(N, H, W):
        if t[n, i, j] != ignore_index:
            m = max(x[n, k, i, j].real for k in range(C))
            s = sum(np.exp(x[n, k, i, j] - m) for k in range(C))
            for c in range(C):
                q = (1 - alpha) * (t[n, i, j] == c) + alpha / C
                if q != 0:  # 0 · log 0 = 0
                    ell[n, i, j] -= w[c] * q * (x[n, c, i, j] - m - np.log(s))
            Z += w[t[n, i, j]]
    return _reduced(ell, Z, reduction)


@equation(
    "cross_entropy.grad_input",
    grad_of="cross_entropy.forward",
    wrt="x",
    tex=_PARTS
    + r"\bar x_{n,c,i,j} = r_{n,i,j} "
    + _DIFFERENCE
    + r",\quad r_{n,i,j} = "
    + _COUNTS
    + r"\begin{cases} g_{n,i,j} & \text{none} \\ g & \text{sum} \\ g/Z & Z \ne 0 \\ 0 & \text{otherwise} \end{cases},\quad "
    + _Z,
    returns="xbar",
    symbols=_symbols("g", "r", "xbar"),
    shape=lambda g, x, *_, **options: x.shape,
    operations=lambda g, x, *_, **options: 6 * x.size,
)
def grad_input(g, x, t, w, *, ignore_index, label_smoothing, reduction):
    (N, C, H, W), alpha = x.shape, label_smoothing
    xbar, Z = np.zeros((N, C, H, W), x.dtype), 0
    for n, i, j in np.ndindex(N, H, W):
        if t[n, i, j] != ignore_index:
            m = max(x[n, k, i, j] for k in range(C))
            s = sum(np.exp(x[n, k, i, j] - m) for k in range(C))
            q = [(1 - alpha) * (t[n, i, j] == c) + alpha / C for c in range(C)]
            for c in range(C):
                xbar[n, c, i, j] = np.exp(x[n, c, i, j] - m) / s * sum(w[k] * q[k] for k in range(C)) - w[c] * q[c]
            Z += w[t[n, i, j]]
    return _scaled(xbar, g[:, None] if reduction == "none" else g, Z, reduction)  #: r, none


@equation(
    "cross_entropy.forward_and_grad",
    tex=_PARTS
    + _LOSS
    + _Z
    + r",\quad \bar x_{n,c,i,j} = r_{n,i,j} "
    + _DIFFERENCE
    + r",\quad r_{n,i,j} = "
    + _COUNTS
    + r"\begin{cases} 1 & \text{none} \\ 1 & \text{sum} \\ 1/Z & Z \ne 0 \\ 0 & \text{otherwise} \end{cases}",
    returns="L xbar",
    symbols=_symbols("ell", "L", "r", "xbar"),
    shape=lambda x, t, w, **options: [_loss_shape(t, **options), x.shape],
    operations=lambda x, *_, **options: 6 * x.size,
)
def forward_and_grad(x, t, w, *, ignore_index, label_smoothing, reduction):
    (N, C, H, W), alpha = x.shape, label_smoothing
    ell, xbar, Z = np.zeros((N, H, W), x.dtype), np.zeros((N, C, H, W), x.dtype), 0
    for n, i, j in np.ndindex(N, H, W):
        if t[n, i, j] != ignore_index:
            m = max(x[n, k, i, j].real for k in range(C))
            s = sum(np.exp(x[n, k, i, j] - m) for k in range(C))
            q = [(1 - alpha) * (t[n, i, j] == c) + alpha / C for c in range(C)]
            for c in range(C):
                if q[c] != 0:  # 0 · log 0 = 0
                    ell[n, i, j] -= w[c] * q[c] * (x[n, c, i, j] - m - np.log(s))
                xbar[n, c, i, j] = np.exp(x[n, c, i, j] - m) / s * sum(w[k] * q[k] for k in range(C)) - w[c] * q[c]
            Z += w[t[n, i, j]]
    return _reduced(ell, Z, reduction), _scaled(xbar, 1, Z, reduction)


def _reduced(ell, Z, reduction):
    """L from ℓ. Where no pixel counts, Z is 0, and so is the mean."""
    if reduction == "none":
        return ell  #: none
    return np.asarray(_scaled(ell.sum(), 1, Z, reduction))  #: L


def _scaled(value, g, Z, reduction):
    if reduction != "mean":
        return g * value
    return g * value / Z if Z else 0 * value
