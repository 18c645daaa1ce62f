"""Rows of the table for cross-entropy."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import cross_entropy
from minisegnet_kernels.cross_entropy import reference

from . import Case, Operation, unchecked

_REDUCTIONS = ("mean", "sum", "none")


@st.composite
def _drawn(draw, seed=False, size=4, classes=4):
    """Scores, a target of any dtype with some pixels ignored, weights, every option away from its default somewhere."""
    N, C = draw(st.integers(1, 2)), draw(st.integers(2, classes))
    H, W = draw(st.integers(2, size)), draw(st.integers(2, size))
    ignored = draw(st.sampled_from([-100, 255, 0]))
    options = {
        "ignore_index": ignored,
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "reduction": draw(st.sampled_from(_REDUCTIONS)),
    }
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(["uint8", "int32", "int64"]))
    t = rng.integers(0, C, size=(N, H, W)).astype(dtype)
    if _fits(ignored, dtype):
        t[rng.random((N, H, W)) < 0.2] = ignored
    arrays = {"x": 1.5 * rng.normal(size=(N, C, H, W)), "t": t, "w": 0.2 + rng.random(C)}
    if seed:
        arrays = {"g": rng.normal(size=t.shape if options["reduction"] == "none" else ()), **arrays}
    return Case(arrays, options)


def _fits(number, dtype):
    return np.iinfo(dtype).min <= number <= np.iinfo(dtype).max


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


# --- what the mutation test needs beside ------------------------------------------------------------


@st.composite
def _no_classes(draw, seed=False):
    """Targets of which some are not classes: NaN there, and nowhere else."""
    case = draw(_drawn(seed=seed))
    t = case.arrays["t"]
    wrong = [value for value in (-1, case.arrays["x"].shape[1], 2**40) if value != case.options["ignore_index"] and _fits(value, t.dtype)]
    t[0, 0, 0] = draw(st.sampled_from(wrong))
    return case


def _known(case):
    """The pixels whose target is not a class, and the same case with class 0 at these pixels."""
    t, ignored = case.arrays["t"], case.options["ignore_index"]
    wrong = (t != ignored) & ((t < 0) | (t >= case.arrays["x"].shape[1]))
    return wrong, {**case.arrays, "t": np.where(wrong, 1 if ignored == 0 else 0, t)}


def _loss(case, loss):
    return np.where(_known(case)[0], np.nan, loss) if case.options["reduction"] == "none" else np.full_like(loss, np.nan)


def _gradient(case, xbar):
    """NaN at the pixel alone, or with the mean, whose Z is NaN, at every pixel that counts."""
    counts = case.arrays["t"] != case.options["ignore_index"]
    return np.where((counts if case.options["reduction"] == "mean" else _known(case)[0])[:, None], np.nan, xbar)


def _both(case):
    loss, xbar = reference.forward_and_grad(**_known(case)[1], **case.options)
    return _loss(case, loss), _gradient(case, xbar)


RARE = [
    unchecked(
        "cross_entropy.forward", _no_classes(), lambda case: _loss(case, reference.forward(**_known(case)[1], **case.options)), terms=_terms
    ),
    unchecked(
        "cross_entropy.grad_input",
        _no_classes(seed=True),
        lambda case: _gradient(case, reference.grad_input(**_known(case)[1], **case.options)),
        terms=_terms,
    ),
    unchecked("cross_entropy.forward_and_grad", _no_classes(), _both, terms=_terms),
]
