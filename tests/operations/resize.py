"""Rows of the table for resizing."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import resize

from . import Case, Operation


@st.composite
def _drawn(draw, gradient=False, linear=False, size=5, channels=2):
    """Input and output sizes are drawn independently: larger, smaller and equal, and different for rows and columns."""
    images, input_size, output_size = (draw(st.tuples(st.integers(1, m), st.integers(1, m))) for m in (channels, size, size))
    options = {"input_size": input_size} if gradient else {"output_size": output_size}
    if linear:
        options["align_corners"] = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Away from zero, so that the sums of the gradients do not cancel.
    return Case({"g" if gradient else "x": 2 + rng.random((*images, *(output_size if gradient else input_size)))}, options)


def _terms(case):
    return int(np.prod(next(iter(case.arrays.values())).shape[2:]))


def _vjp_bilinear(case, outputs, g):
    size, align_corners = case.arrays["x"].shape[2:], case.options["align_corners"]
    return {"x": resize.grad_bilinear(g, input_size=size, align_corners=align_corners)}


def _vjp_nearest(case, outputs, g):
    return {"x": resize.grad_nearest(g, input_size=case.arrays["x"].shape[2:])}


def _row(name, **more):
    kind = {"gradient": name.startswith("grad"), "linear": name.endswith("bilinear")}
    return Operation(
        f"resize.{name}", _drawn(**kind), large=_drawn(**kind, size=80, channels=3), terms=_terms, exact=not kind["linear"], **more
    )


ROWS = [
    _row("bilinear", differentiable=("x",), vjp=_vjp_bilinear),
    _row("grad_bilinear"),
    _row("nearest", differentiable=("x",), vjp=_vjp_nearest),
    _row("grad_nearest"),
]
