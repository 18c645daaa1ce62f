"""Rows of the table for local response normalisation."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import lrn

from . import Case, Operation


@st.composite
def _cases(draw, *names, largest=4, channels=6):
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, channels)), draw(st.integers(1, largest)), draw(st.integers(1, largest)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    options = {
        "size": draw(st.integers(1, 6)),
        "alpha": draw(st.sampled_from([1e-4, 0.5, 2.0])),
        "beta": draw(st.sampled_from([0.75, 0.5, 1.3])),
        "k": draw(st.sampled_from([1.0, 2.0])),
    }
    return Case({name: rng.normal(size=shape) for name in names}, options)


def _vjp(case, outputs, g):
    return {"x": lrn.grad_input(g, case.arrays["x"], **case.options)}


def _terms(case):
    return 4 * case.options["size"]


ROWS = [
    Operation("lrn.forward", _cases("x"), large=_cases("x", largest=40, channels=20), differentiable=("x",), vjp=_vjp, terms=_terms),
    Operation("lrn.grad_input", _cases("g", "x"), large=_cases("g", "x", largest=40, channels=20), terms=_terms),
]
