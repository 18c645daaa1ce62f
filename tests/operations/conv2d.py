"""Rows of the table for convolution."""

from unittest import mock

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import conv2d
from minisegnet_kernels.conv2d import reference
from minisegnet_kernels.conv2d.ladder import rung1_direct, rung2_tile

from . import Case, Operation, as_tuple


@st.composite
def _geometry(draw, largest=7, channels=3):
    """Sizes and options that fit together, with every option away from its default somewhere."""
    pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))
    groups = draw(st.integers(1, 2))
    kernel, stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 2))
    padding = draw(st.tuples(pairs(0, 2), pairs(0, 2)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = tuple(draw(st.integers(max(1, r - sum(p)), max(r, largest))) for r, p in zip(reach, padding, strict=True))
    sizes = {
        "N": draw(st.integers(1, 2)),
        "C": groups * draw(st.integers(1, channels)),
        "O": groups * draw(st.integers(1, channels)),
        "size": size,
        "kernel": kernel,
        "output": tuple(conv2d.output_size(*axis) for axis in zip(size, kernel, stride, padding, dilation, strict=True)),
    }
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return sizes, options, np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def _shapes(s, groups):
    return {
        "x": (s["N"], s["C"], *s["size"]),
        "w": (s["O"], s["C"] // groups, *s["kernel"]),
        "b": (s["O"],),
        "g": (s["N"], s["O"], *s["output"]),
    }


def _cases(*names, extra=(), **limits):
    """A strategy of cases with these arrays, and options that some equations add."""

    def build(drawn):
        sizes, options, rng = drawn
        shapes = _shapes(sizes, options["groups"])
        added = {"input_size": sizes["size"], "kernel_size": sizes["kernel"]}
        return Case({name: rng.normal(size=shapes[name]) for name in names}, {**{k: added[k] for k in extra}, **options})

    return _geometry(**limits).map(build)


def _vjp(case, outputs, g):
    x, w, _ = case.arrays.values()
    return {
        "x": conv2d.grad_input(g, w, input_size=x.shape[2:], **case.options),
        "w": conv2d.grad_weight(g, x, kernel_size=w.shape[2:], **case.options),
        "b": conv2d.grad_bias(g),
    }


def _clear_of_the_kink(case):
    """No value within 1e-4 of zero before the ReLU, where central differences would be wrong."""
    return np.abs(reference.forward(*case.arrays.values(), **case.options)).min(initial=1) > 1e-4


def _vjp_relu(case, outputs, g):
    return _vjp(case, outputs, g * (outputs[0] > 0))


def _variances(case):
    """The variance of each channel of y, relative to the largest square of y."""
    y = reference.forward(*(a.astype(np.float64) for a in case.arrays.values()), **case.options)
    return y.var(axis=(0, 2, 3)) / np.square(y).max()


def _varied(case):
    """Whether each channel has at least two values that differ."""
    return _variances(case).min() > 1e-3


def _terms_statistics(case):
    """The loss of precision of a variance that is a small difference of large numbers."""
    return int(_terms(case) / _variances(case).min())


def _terms(case):
    """At most this many products reach one output, whichever equation it is."""
    return max(int(np.prod(a.shape[1:])) for a in case.arrays.values())


_LARGE = {"largest": 70, "channels": 20}

ROWS = [
    Operation(
        "conv2d.forward",
        _cases("x", "w", "b"),
        large=_cases("x", "w", "b", **_LARGE),
        differentiable=("x", "w", "b"),
        vjp=_vjp,
        terms=_terms,
        exact=True,
    ),
    Operation(
        "conv2d.forward_relu",
        _cases("x", "w", "b").filter(_clear_of_the_kink),
        large=_cases("x", "w", "b", **_LARGE),
        differentiable=("x", "w", "b"),
        vjp=_vjp_relu,
        analytic=False,
        terms=_terms,
        exact=True,
    ),
    Operation(
        "conv2d.forward_statistics",
        _cases("x", "w", "b").filter(_varied),
        large=_cases("x", "w", "b", **_LARGE).filter(_varied),
        differentiable=("x", "w", "b"),
        vjp=_vjp,
        terms=_terms_statistics,
    ),
    Operation(
        "conv2d.grad_input",
        _cases("g", "w", extra=["input_size"]),
        large=_cases("g", "w", extra=["input_size"], **_LARGE),
        terms=_terms,
        exact=True,
    ),
    Operation(
        "conv2d.grad_weight",
        _cases("g", "x", extra=["kernel_size"]),
        large=_cases("g", "x", extra=["kernel_size"], **_LARGE),
        terms=_terms,
        exact=True,
    ),
    Operation(
        "conv2d.grad_bias",
        _cases("g").map(lambda case: Case(case.arrays)),
        large=_cases("g", **_LARGE).map(lambda case: Case(case.arrays)),
        terms=lambda case: case.arrays["g"].size,
        exact=True,
    ),
]


# --- what the mutation test needs beside ------------------------------------------------------------


def _given(*names, C, O, size, kernel=(3, 3), extra=()):
    """One case: two images, padding 1. The tile form serves it if the kernel has more than one cell."""
    sizes = {"N": 2, "C": C, "O": O, "size": size, "kernel": kernel, "output": [h + 3 - u for h, u in zip(size, kernel, strict=True)]}
    options = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    shapes, rng = _shapes(sizes, 1), np.random.default_rng(7)
    added = {"input_size": size, "kernel_size": kernel}
    return st.builds(lambda: Case({name: rng.normal(size=shapes[name]) for name in names}, {**{k: added[k] for k in extra}, **options}))


def _two_slabs():
    """6144 pixels, of which the second slab of moments has the last 2048: these differ from the rest, so that their number matters."""
    x = np.random.default_rng(5).normal(size=(1, 1, 64, 96)) + 3
    x[:, :, -21:] += 20
    options = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    return Case({"x": x, "w": np.ones((1, 1, 1, 1)), "b": np.zeros(1)}, options)


def _in_five_slabs(front_door):
    """The split of a large image in a small one: a slab has several shares, and the last slab has fewer than the others."""

    def run(case):
        five = {"return_value": 5}
        with mock.patch.object(rung1_direct, "slabs", **five), mock.patch.object(rung2_tile, "slabs", **five):
            return as_tuple(front_door(*case.arrays.values(), **case.options))

    return run


_five = {"terms": _terms, "run": _in_five_slabs(conv2d.grad_weight)}
RARE = [
    Operation("conv2d.forward_statistics", st.builds(_two_slabs), terms=_terms_statistics),
    Operation("conv2d.forward", _given("x", "w", "b", C=10, O=9, size=(8, 20)), terms=_terms),  # two stages of channels
    # Twelve tiles; more channels than the threads of a block have taps.
    Operation("conv2d.grad_weight", _given("g", "x", C=30, O=3, size=(16, 70), extra=["kernel_size"]), **_five),
    Operation("conv2d.grad_weight", _given("g", "x", C=2, O=3, size=(1, 5), kernel=(1, 1), extra=["kernel_size"]), **_five),
    Operation(
        "conv2d.grad_bias",
        _given("g", C=1, O=3, size=(3, 3)).map(lambda case: Case(case.arrays)),
        terms=lambda case: case.arrays["g"].size,
        run=_in_five_slabs(conv2d.grad_bias),
    ),
]
