"""The tests are tested: each planted fault must be rejected by the parity or the gradient check.

A fault is planted at the dispatch, around the NumPy view of one equation, as if that view had been
written with the fault. Patching a helper of a compiled kernel would change nothing.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from operations import TABLE, as_tuple
from support.checks import check_gradients, check_parity
from support.targets import Target

from minisegnet_kernels import backends, registry

ROWS = {o.equation: o for o in TABLE}


def on_result(change):
    """A fault in what the program returns (its first array)."""

    def plant(program):
        def faulty(*arrays, **options):
            first, *others = as_tuple(program(*arrays, **options))
            changed = change(first)
            return (changed, *others) if others else changed

        return faulty

    return plant


def on_first_argument(change):
    """A fault in how the program reads its first array: the cotangent of a gradient."""
    return lambda program: lambda first, *arrays, **options: program(change(first), *arrays, **options)


def on_options(change):
    return lambda program: lambda *arrays, **options: program(*arrays, **change(dict(options)))


def on_variance(change):
    """A fault in the last result of a convolution with statistics."""

    def plant(program):
        def faulty(*arrays, **options):
            y, mu, nu = program(*arrays, **options)
            return y, mu, change(y, mu, nu)

        return faulty

    return plant


def off_by_one_border(y):
    y = y.copy()
    y[..., -1:, :] = 0
    return y


def swapped(name):
    return lambda options: options | {name: options[name][::-1]}


def stride_for_dilation(options):
    return options | {"stride": options["dilation"], "dilation": options["stride"]}


def without(*positions):
    """A fault that drops a term of a sum: the arguments at these positions count as zero."""
    return lambda program: (
        lambda *arrays, **options: program(*(np.zeros_like(a) if k in positions else a for k, a in enumerate(arrays)), **options)
    )


GENERAL = {
    "zero": on_result(np.zeros_like),
    "sign": on_result(np.negative),
    "one part in a thousand": on_result(lambda y: y * 1.001),
    "cotangent flipped in space": on_first_argument(lambda g: g[..., ::-1].copy()),
    "cotangent flipped in the batch": on_first_argument(lambda g: g[::-1].copy()),
}
SPECIAL = {
    ("conv2d.forward", "kernel turned"): lambda program: lambda x, w, b, **o: program(x, w[..., ::-1, ::-1], b, **o),
    ("conv2d.forward", "kernel transposed"): lambda program: lambda x, w, b, **o: program(x, w.swapaxes(2, 3).reshape(w.shape), b, **o),
    ("conv2d.forward", "no bias"): without(2),
    ("conv2d.forward", "border"): on_result(off_by_one_border),
    ("conv2d.forward", "padding swapped"): on_options(swapped("padding")),
    ("conv2d.grad_input", "kernel not turned"): lambda program: lambda g, w, **o: program(g, w[..., ::-1, ::-1], **o),
    ("conv2d.grad_input", "border"): on_result(off_by_one_border),
    ("conv2d.grad_weight", "border"): on_result(off_by_one_border),
    ("conv2d.forward_relu", "no ReLU"): lambda program: registry.get("conv2d.forward").program("numpy"),
    ("conv2d.forward_statistics", "unbiased variance"): on_variance(lambda y, mu, nu: nu * y[:, 0].size / (y[:, 0].size - 1)),
    ("conv2d.forward_statistics", "mean not taken off"): on_variance(lambda y, mu, nu: nu + mu * mu),
    ("batch_norm.grad_input", "without the term of the variance"): without(5),
    ("batch_norm.grad_input", "without the term of the mean"): without(6),
    ("batch_norm.grad_input_relu", "without the term of the variance"): without(6),
    ("batch_norm.grad_input_relu", "without the term of the mean"): without(7),
    ("batch_norm.grad_affine", "mean not taken off"): without(2),
    ("pool2d.forward", "padding wins"): lambda program: _padding_wins(program),
    ("pool2d.grad_input", "weights left out"): lambda program: lambda g, winner, w, **o: program(g, winner, np.ones_like(w), **o),
    ("pool2d.average", "padding counted"): on_options(lambda o: o | {"count_include_pad": not o["count_include_pad"]}),
    ("resize.bilinear", "corners"): on_options(lambda o: o | {"align_corners": not o["align_corners"]}),
    ("cross_entropy.grad_input", "one-hot left out"): on_result(lambda y: np.abs(y)),
}


def _padding_wins(program):
    """The usual mistake: the input is padded with zeros, and these take part in the maximum."""

    def faulty(x, w, b, *, padding, **options):
        padded = np.pad(x, ((0, 0), (0, 0), *padding))
        return program(padded, w, b, padding=((0, 0), (0, 0)), **options)

    return faulty


# Faults that change nothing, with the reason.
EQUIVALENT = {
    ("conv2d.grad_bias", "cotangent flipped in space"): "a sum over all pixels",
    ("conv2d.grad_bias", "cotangent flipped in the batch"): "a sum over all images",
    ("pool2d.grad_bias", "cotangent flipped in space"): "a sum over all pixels",
    ("pool2d.grad_bias", "cotangent flipped in the batch"): "a sum over all images",
}
GRADIENTS = [e.id for e in registry.equations() if e.grad_of]
PLANTED = {(e, name): fault for e in GRADIENTS for name, fault in GENERAL.items() if (e, name) not in EQUIVALENT} | SPECIAL


def rejected(equation, fault):
    """Whether the parity check of the equation finds the fault in a few dozen drawn cases."""
    row = ROWS[equation]

    def planted(name, program, *arrays, **options):
        faulty = name == equation and backends.current("cpu") == "numpy"
        return (fault(program) if faulty else program)(*arrays, **options)

    @settings(max_examples=60, phases=[Phase.generate], derandomize=True, database=None, deadline=None)
    @given(data=st.data())
    def probe(data):
        check_parity(row, Target("numpy"), data.draw(row.cases), "float64")

    with backends.calling(planted):
        try:
            probe()
        except (AssertionError, ValueError, IndexError):
            return True
    return False


@pytest.mark.parametrize(("equation", "name"), PLANTED, ids=lambda v: v.replace(" ", "-"))
def test_planted_fault_is_rejected(equation, name):
    assert rejected(equation, PLANTED[equation, name])


@pytest.mark.parametrize(("equation", "name"), EQUIVALENT, ids=lambda v: v.replace(" ", "-"))
def test_equivalent_faults_change_nothing(equation, name):
    assert not rejected(equation, GENERAL[name])


def lying(row, name, fault):
    """The row with a fault in one of its gradients."""
    return replace(row, vjp=lambda *arguments: {k: fault(v) if k == name else v for k, v in row.vjp(*arguments).items()})


@pytest.mark.parametrize("fault", [np.zeros_like, np.negative, lambda a: a * 1.0001], ids=["zero", "sign", "one part in 10,000"])
@pytest.mark.parametrize("row", [o for o in TABLE if o.differentiable], ids=str)
def test_a_wrong_gradient_is_rejected_by_differentiation_of_the_oracle(row, fault):
    for name in row.differentiable:
        liar = lying(row, name, fault)

        @settings(max_examples=30, phases=[Phase.generate], derandomize=True, database=None, deadline=None)
        @given(data=st.data(), seed=st.integers(0, 2**32 - 1))
        def probe(data, seed):
            check_gradients(liar, "numpy", data.draw(row.cases), seed)  # noqa: B023 - called before the loop goes on

        with pytest.raises(AssertionError):
            probe()
