"""The backend ``shapes``: every equation returns arrays of the declared shape; nothing is computed or changed."""

import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE, map_arrays

import minisegnet as ms
from minisegnet import functional as F
from minisegnet import nn, optim, random
from minisegnet_kernels import backends, conv2d, registry


@pytest.mark.parametrize("operation", [row for row in TABLE if row.run is None], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_same_shapes_and_dtypes_as_numpy(operation, dtype, data):
    case = data.draw(operation.cases).cast(dtype)
    with backends.use("numpy"):
        expected = operation(case)
    with backends.use("shapes"):
        found = operation(case)
    assert [(a.shape, a.dtype) for a in found] == [(a.shape, a.dtype) for a in expected]


@pytest.mark.parametrize("operation", TABLE, ids=str)
@given(data=st.data())
def test_every_equation_leaves_its_arguments_alone_the_updating_ones_too(operation, data):
    case = data.draw(operation.cases)
    before = {name: map_arrays(np.copy, a) for name, a in case.arrays.items()}
    with backends.use("shapes"):
        results = backends.run(operation.equation, *case.arrays.values(), **case.options)
    assert (results is None) == (registry.get(operation.equation).results(*case.arrays.values(), **case.options) == [])
    for name, array in case.arrays.items():
        np.testing.assert_equal(array, before[name], err_msg=name)


def test_a_model_in_training_mode_is_left_as_it_was():
    """Running statistics, their counter, parameters and the random generator do not change."""
    random.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))
    optimiser = optim.Adam(model.parameters())
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    generator = random.generator().bit_generator.state
    with backends.use("shapes"):
        loss = F.cross_entropy(model(ms.tensor(np.ones((2, 3, 8, 8), np.float32))), ms.tensor(np.zeros((2, 6, 6), np.int64)))
        loss.backward()
        optimiser.step()
    assert loss.shape == () and all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)
    assert random.generator().bit_generator.state == generator


OPTIMISERS = {
    "sgd": lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
    "adam": lambda params: optim.Adam(params, lr=0.1),
    "rmsprop": lambda params: optim.RMSprop(params, lr=0.1, momentum=0.5, centered=True),
}


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
def test_an_optimiser_takes_no_step(make):
    """It creates no moments and counts no step, so the next step is the first one."""
    stepped, fresh = (nn.Parameter(np.ones(3, np.float32)) for _ in range(2))
    optimisers = make([stepped]), make([fresh])
    for parameter in (stepped, fresh):
        parameter.grad = ms.tensor(np.arange(3, dtype=np.float32))
    changes = stepped._memory.changes
    with backends.use("shapes"):
        optimisers[0].step()
    assert optimisers[0].state == {} and stepped._memory.changes == changes
    for optimiser in optimisers:
        optimiser.step()
    np.testing.assert_array_equal(stepped.array, fresh.array)


def test_it_refuses_what_the_other_backends_refuse():
    x, w = np.zeros((1, 3, 8, 8), np.float32), np.zeros((4, 2, 3, 3), np.float32)
    with backends.use("shapes"), pytest.raises(ValueError, match="C = 2 input channels"):
        conv2d.forward(x, w)


def test_a_point_in_no_region_is_not_searched_for():
    from minisegnet_kernels import label

    with backends.use("shapes"):
        assert label.intervals(np.full((1, 2, 3), 7.0), [(0, 1)]).shape == (1, 2, 3)
    with backends.use("numpy"), pytest.raises(ValueError, match="a point lies in no region"):
        label.intervals(np.full((1, 2, 3), 7.0), [(0, 1)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX reports the memory that a process has touched")
def test_what_it_returns_takes_no_memory():
    """The result is four gigabytes of zeros, which take no memory until they are written to."""
    import resource

    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    x = np.zeros((1, 1, 2**10, 2**10), np.float32)
    w = np.zeros((2**10, 1, 1, 1), np.float32)
    before = peak()
    with backends.use("shapes"):
        y = conv2d.forward(x, w)
    assert y.nbytes == 2**32 and peak() - before < 2**28
