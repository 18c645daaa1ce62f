"""Cross-entropy in NumPy, written to be read beside ``formula.py``."""

import numpy as np


def _logarithms(x):
    """log p of every class: the largest score is taken out first, so that no exponential overflows."""
    d = x - x.max(axis=1, keepdims=True)  #: m
    return d - np.log(np.exp(d).sum(axis=1, keepdims=True))  #: s


def _counts(t, ignore_index):
    """Whether each pixel counts. Compared in int64, because ignore_index need not fit into the dtype of t."""
    return t.astype("int64", copy=False) != ignore_index


def _weights(x, t, w, ignore_index, label_smoothing):
    """w q of every class, (N, C, H, W); 0 for ignored pixels."""
    C = x.shape[1]
    own = (t[:, None] == np.arange(C, like=t)[:, None, None]).astype(x.dtype)
    counted = _counts(t, ignore_index)[:, None].astype(x.dtype)
    return counted * w[:, None, None] * ((1 - label_smoothing) * own + label_smoothing / C)


def _scale(t, w, ignore_index, reduction):
    """1 / Z."""
    if reduction != "mean":
        return 1
    Z = w[t[_counts(t, ignore_index)]].sum()
    return 1 / Z if Z else 0 * Z


def _loss(logp, wq, scale, reduction):
    ell = -(wq * np.where(wq != 0, logp, np.zeros_like(logp))).sum(axis=1)  # 0 · log 0 = 0  #: w, x
    return ell if reduction == "none" else (ell.sum() * scale)[...]  #: L, none, sum


def _gradient(g, logp, wq, t, ignore_index):
    xbar = np.exp(logp) * wq.sum(axis=1, keepdims=True) - wq
    return np.where(_counts(t, ignore_index)[:, None], g * xbar, np.zeros_like(xbar))


def forward(x, t, w, *, ignore_index, label_smoothing, reduction):
    wq = _weights(x, t, w, ignore_index, label_smoothing)
    return _loss(_logarithms(x), wq, _scale(t, w, ignore_index, reduction), reduction)


def grad_input(g, x, t, w, *, ignore_index, label_smoothing, reduction):
    wq = _weights(x, t, w, ignore_index, label_smoothing)
    g = g[:, None] if reduction == "none" else g * _scale(t, w, ignore_index, reduction)  #: r, none, sum
    return _gradient(g, _logarithms(x), wq, t, ignore_index)


def forward_and_grad(x, t, w, *, ignore_index, label_smoothing, reduction):
    logp, wq = _logarithms(x), _weights(x, t, w, ignore_index, label_smoothing)
    scale = _scale(t, w, ignore_index, reduction)
    return _loss(logp, wq, scale, reduction), _gradient(scale, logp, wq, t, ignore_index)
