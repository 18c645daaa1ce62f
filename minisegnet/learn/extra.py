"""Equations of the tutorials that have no kernels: scores and probabilities. A check treats them like the registry's equations.

>>> find("metrics.iou").arguments
['p', 't']
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from minisegnet_kernels import registry

from .formulas import Formula

_COUNTS = (
    r",\quad A = \sum_{i,j} [p_{i,j} = 1]\,[t_{i,j} = 1]"
    r",\quad B = \sum_{i,j} [p_{i,j} = 1]\,[t_{i,j} = 0]"
    r",\quad D = \sum_{i,j} [p_{i,j} = 0]\,[t_{i,j} = 1]"
)
_MASKS = {
    "p": "prediction, 1 inside and 0 outside, (H, W)",
    "t": "truth, 1 inside and 0 outside, (H, W)",
    "A": "pixels that are 1 in both",
    "B": "pixels that are 1 in the prediction alone",
    "D": "pixels that are 1 in the truth alone",
}


def _counts(p: Any, t: Any) -> tuple[int, int, int]:
    A = B = D = 0
    for i, j in np.ndindex(p.shape):
        A += p[i, j] == 1 and t[i, j] == 1
        B += p[i, j] == 1 and t[i, j] == 0
        D += p[i, j] == 0 and t[i, j] == 1
    return A, B, D


def iou(p, t):
    A, B, D = _counts(p, t)
    return np.float64(A / (A + B + D))


def softmax(x):
    p = np.zeros_like(x)
    N, C, H, W = x.shape
    for n, i, j in np.ndindex(N, H, W):
        m = max(x[n, :, i, j])
        s = sum(np.exp(x[n, k, i, j] - m) for k in range(C))
        for c in range(C):
            p[n, c, i, j] = np.exp(x[n, c, i, j] - m) / s
    return p


_EXTRA = {
    "metrics.iou": registry.Equation(
        "metrics.iou",
        tex=r"J = \frac{A}{A + B + D}" + _COUNTS,
        symbols={"J": "intersection over union", **_MASKS},
        oracle=iou,
        shape=lambda p, t: (),
        dtypes=lambda p, t: [np.dtype(float)],
        operations=lambda p, t: 3 * p.size,
    ),
    "probability.softmax": registry.Equation(
        "probability.softmax",
        tex=r"p_{n,c,i,j} = \frac{\exp(x_{n,c,i,j} - m_{n,i,j})}{\sum_k \exp(x_{n,k,i,j} - m_{n,i,j})},\quad m_{n,i,j} = \max_k x_{n,k,i,j}",
        symbols={"x": "scores, (N, C, H, W)", "p": "probabilities, (N, C, H, W)", "m": "the largest score of a pixel"},
        oracle=softmax,
        shape=lambda x: x.shape,
        operations=lambda x: 4 * x.size,
    ),
}


def find(id: str) -> registry.Equation:
    """An equation of the registry, or one of these.

    Raises
    ------
    ValueError
        If there is no such equation; the message names the nearest ids.
    """
    if id in _EXTRA:
        return _EXTRA[id]
    try:
        return registry.get(id)
    except KeyError as error:
        raise ValueError(error.args[0]) from None


@cache
def read(id: str) -> Formula:
    """The parsed formula of an equation."""
    return Formula(find(id).tex, find(id).symbols)
