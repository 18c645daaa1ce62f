"""Rows of the table for cross-entropy."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import cross_entropy

from . import Case, Operation

_REDUCTIONS = ("mean", "sum", "none")


@st.composite
def _drawn(draw, seed=False, size=4, classes=4):
    """Scores, a target with some pixels ignored, weights, every option away from its default somewhere."""
    N, C = draw(st.integers(1, 2)), draw(st.integers(2, classes))
    H, W = draw(st.integers(2, size)), draw(st.integers(2, size))
    ignored = draw(st.sampled_from([-100, 255, 0]))
    options = {
        "ignore_index": ignored,
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "reduction": draw(st.sampled_from(_REDUCTIONS)),
    }
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t = np.where(rng.random((N, H, W)) < 0.2, ignored, rng.integers(0, C, size=(N, H, W)))
    arrays = {"x": 1.5 * rng.normal(size=(N, C, H, W)), "t": t, "w": 0.2 + rng.random(C)}
    if seed:
        arrays = {"g": rng.normal(size=t.shape if options["reduction"] == "none" else ()), **arrays}
    return Case(arrays, options)


def _terms(case):
    """Addends of the loss, and the rounding of the scores themselves, which the exponential passes on."""
    x = case.arrays["x"]
    return int(x.size * (1 + np.square(x).max(initial=0)))


def _vjp(case, outputs, g):
    return {"x": cross_entropy.grad_input(g, *case.arrays.values(), **case.options)}


def _vjp_ready(case, outputs, g):
    return {"x": (g[:, None] if case.options["reduction"] == "none" else g) * outputs[1]}


_LARGE = {"size": 70, "classes": 9}

ROWS = [
    Operation("cross_entropy.forward", _drawn(), large=_drawn(**_LARGE), differentiable=("x",), vjp=_vjp, terms=_terms),
    Operation("cross_entropy.grad_input", _drawn(seed=True), large=_drawn(seed=True, **_LARGE), terms=_terms),
    Operation("cross_entropy.forward_and_grad", _drawn(), large=_drawn(**_LARGE), differentiable=("x",), vjp=_vjp_ready, terms=_terms),
]
