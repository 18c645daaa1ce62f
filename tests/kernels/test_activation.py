"""Activations: properties, edge cases, and PyTorch as a second oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet_kernels import activation, backends

on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba"])
seeds = st.integers(0, 2**32 - 1)
EDGES = np.array([-np.inf, -1.5, -0.0, 0.0, 2.5, np.inf, np.nan])


@on_each_backend
def test_edges_of_relu(backend):
    with backends.use(backend):
        np.testing.assert_array_equal(activation.relu(EDGES), [0, 0, 0, 0, 2.5, np.inf, np.nan])
        np.testing.assert_array_equal(activation.grad_relu(np.full(7, 3.0), activation.relu(EDGES)), [0, 0, 0, 0, 3, 3, 3])


@on_each_backend
def test_edges_of_leaky_relu(backend):
    with backends.use(backend):
        np.testing.assert_array_equal(activation.leaky_relu(EDGES, slope=0.5), [-np.inf, -0.75, 0, 0, 2.5, np.inf, np.nan])
        np.testing.assert_array_equal(activation.grad_leaky_relu(np.full(7, 3.0), EDGES, slope=0.5), [1.5, 1.5, 1.5, 1.5, 3, 3, 1.5])


@on_each_backend
def test_a_closed_relu_passes_nothing_on_not_even_nan(backend):
    with backends.use(backend):
        np.testing.assert_array_equal(activation.grad_relu(np.array([np.nan, np.inf]), np.zeros(2)), [0, 0])


@on_each_backend
@given(seed=seeds)
def test_relu_is_idempotent_and_the_leaky_one_with_slope_zero(backend, seed):
    x = np.random.default_rng(seed).normal(size=(3, 5))
    with backends.use(backend):
        y = activation.relu(x)
        np.testing.assert_array_equal(activation.relu(y), y)
        np.testing.assert_array_equal(activation.leaky_relu(x, slope=0), y)
        np.testing.assert_array_equal(activation.leaky_relu(x, slope=1), x)
        np.testing.assert_allclose(y - activation.relu(-x), x)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
@on_each_backend
def test_scalars_and_empty_arrays(backend, shape):
    x = np.full(shape, -2.0, "float32")
    with backends.use(backend):
        for y in (activation.relu(x), activation.leaky_relu(x), activation.grad_relu(x, x), activation.grad_leaky_relu(x, x)):
            assert (y.shape, y.dtype) == (shape, np.float32)


def test_errors_name_operation_expected_and_actual():
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"(?s)activation\.relu: there is no kernel for this dtype.*float32 or float64.*int64"):
        activation.relu(x.astype("int64"))
    with pytest.raises(ValueError, match=r"(?s)activation\.leaky_relu: there is no kernel for this dtype.*x: float16"):
        activation.leaky_relu(x.astype("float16"))
    with pytest.raises(ValueError, match=r"(?s)activation\.grad_relu: g and y do not fit.*\(2, 3\).*\(3,\)"):
        activation.grad_relu(np.ones(3), x)
    with pytest.raises(ValueError, match=r"(?s)activation\.grad_leaky_relu: the dtypes differ.*g: float32, x: float64"):
        activation.grad_leaky_relu(x.astype("float32"), x)


@pytest.mark.filterwarnings("ignore:invalid value")  # −∞ · 0
@on_each_backend
@given(seed=seeds, slope=st.sampled_from([None, 0.0, 0.01, 0.2, 2.0]))
def test_equals_pytorch(backend, seed, slope):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x, g = np.concatenate([EDGES, rng.normal(size=20)]), rng.normal(size=27)
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.relu(tx) if slope is None else torch.nn.functional.leaky_relu(tx, slope)
    ty.backward(torch.tensor(g))
    with backends.use(backend):
        y = activation.relu(x) if slope is None else activation.leaky_relu(x, slope=slope)
        xbar = activation.grad_relu(g, y) if slope is None else activation.grad_leaky_relu(g, x, slope=slope)
    np.testing.assert_array_equal(y, ty.detach().numpy())
    np.testing.assert_array_equal(xbar, tx.grad.numpy())
