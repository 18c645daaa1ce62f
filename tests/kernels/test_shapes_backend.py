"""The backend that tells shapes only: the same as those of a backend that computes, for every equation it knows."""

import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE

from minisegnet_kernels import backends, conv2d, cross_entropy, shapes

KNOWN = [row for row in TABLE if row.equation in shapes.equations()]


def test_every_equation_that_it_knows_is_in_the_table():
    assert {row.equation for row in KNOWN} == set(shapes.equations())


@pytest.mark.parametrize("operation", KNOWN, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_same_shapes_and_dtypes_as_numpy(operation, dtype, data):
    case = data.draw(operation.cases).cast(dtype)
    with backends.use("numpy"):
        expected = operation(case)
    with backends.use("shapes"):
        told = operation(case)
    assert [(a.shape, a.dtype) for a in told] == [(a.shape, a.dtype) for a in expected]


def test_it_checks_what_the_others_check():
    x, w = np.zeros((1, 3, 8, 8), np.float32), np.zeros((4, 2, 3, 3), np.float32)
    with backends.use("shapes"), pytest.raises(ValueError, match="C = 2 input channels"):
        conv2d.forward(x, w)


def test_it_knows_no_loss_and_no_gradient():
    with backends.use("shapes"), pytest.raises(backends.BackendError, match="forward equations of networks only"):
        cross_entropy.forward(np.zeros((1, 2, 3, 3)), np.zeros((1, 3, 3), int))
    with backends.use("shapes"), pytest.raises(backends.BackendError, match=r"conv2d\.grad_weight"):
        conv2d.grad_weight(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 3, 3)), kernel_size=3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="how much memory a process has touched is asked of POSIX")
def test_what_it_returns_takes_no_memory():
    """Four gigabytes of zeros that nobody touches."""
    import resource

    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    x = np.zeros((1, 1, 2**10, 2**10), np.float32)
    w = np.zeros((2**10, 1, 1, 1), np.float32)
    before = peak()
    with backends.use("shapes"):
        y = conv2d.forward(x, w)
    assert y.nbytes == 2**32 and peak() - before < 2**28
