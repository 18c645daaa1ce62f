"""Rows of the table for activations."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import activation

from . import Case, Operation, distinct


@st.composite
def _drawn(draw, *names, slope=False, size=4):
    """Arrays of any rank, without zeros, which is where the kink is."""
    shape = tuple(draw(st.lists(st.integers(1, size), min_size=1, max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    options = {"slope": draw(st.sampled_from([0.0, 0.01, 0.3, 1.5]))} if slope else {}
    return Case({name: distinct(rng, shape) for name in names}, options)


def _row(name, *arguments, slope=False, **more):
    return Operation(
        f"activation.{name}", _drawn(*arguments, slope=slope), large=_drawn(*arguments, slope=slope, size=21), exact=not slope, **more
    )


ROWS = [
    _row("relu", "x", analytic=False, differentiable=("x",), vjp=lambda case, outputs, g: {"x": activation.grad_relu(g, outputs[0])}),
    _row("grad_relu", "g", "y"),
    _row(
        "leaky_relu",
        "x",
        slope=True,
        analytic=False,
        differentiable=("x",),
        vjp=lambda case, outputs, g: {"x": activation.grad_leaky_relu(g, case.arrays["x"], **case.options)},
    ),
    _row("grad_leaky_relu", "g", "x", slope=True),
]
