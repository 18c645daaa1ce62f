"""Local response normalisation: what the table of operations does not say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet_kernels import backends, lrn

EMULATED = pytest.param("cuda", marks=pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator"))
on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba", EMULATED])


@on_each_backend
def test_by_hand(backend):
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    with backends.use(backend):
        y = lrn.forward(x, size=2, alpha=2.0, beta=1.0, k=1.0).ravel()
    # of two channels the one before takes part: 1 + 1², 1 + 1² + 2², 1 + 2² + 3²
    np.testing.assert_allclose(y, [1 / 2, 2 / 6, 3 / 14], rtol=1e-15)


@on_each_backend
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 7))
def test_without_alpha_it_is_a_division_by_a_constant(backend, seed, size):
    x, g = np.random.default_rng(seed).normal(size=(2, 2, 4, 3, 3))
    options = {"size": size, "alpha": 0.0, "beta": 0.5, "k": 4.0}
    with backends.use(backend):
        np.testing.assert_allclose(lrn.forward(x, **options), x / 2, rtol=1e-14)
        np.testing.assert_allclose(lrn.grad_input(g, x, **options), g / 2, rtol=1e-14)


@on_each_backend
def test_nan_stays_in_its_neighbourhood(backend):
    x = np.ones((1, 7, 1, 2))
    x[0, 3, 0, 1] = np.nan
    with backends.use(backend):
        y = lrn.forward(x, size=3)
    np.testing.assert_array_equal(np.isnan(y[0, :, 0]), [[False, 2 <= c <= 4] for c in range(7)])


@on_each_backend
def test_nothing_in_nothing_out(backend):
    with backends.use(backend):
        for shape in ((0, 2, 3, 3), (2, 0, 3, 3), (2, 3, 0, 3)):
            assert lrn.forward(np.zeros(shape), size=3).shape == shape
            assert lrn.grad_input(np.zeros(shape), np.zeros(shape), size=3).shape == shape


X = np.zeros((1, 3, 2, 2), "float32")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lrn.forward(X[0], size=3), ["lrn.forward", "(N, C, H, W)", "(3, 2, 2)"]),
        (lambda: lrn.forward(X.astype("int32"), size=3), ["lrn.forward", "float32", "int32"]),
        (lambda: lrn.forward(X, size=0), ["lrn.forward", "size", "≥ 1", "0"]),
        (lambda: lrn.forward(X, size=2.5), ["lrn.forward", "size", "2.5"]),
        (lambda: lrn.forward(X, size=3, k=0.0), ["lrn.forward", "k > 0", "k = 0.0"]),
        (lambda: lrn.forward(X, size=3, alpha=-1.0), ["lrn.forward", "alpha ≥ 0", "-1.0"]),
        (lambda: lrn.grad_input(X[:, :2], X, size=3), ["lrn.grad_input", "equal shapes", "(1, 2, 2, 2)"]),
        (lambda: lrn.grad_input(X.astype("float64"), X, size=3), ["lrn.grad_input", "dtypes differ"]),
    ],
)
def test_messages_name_operation_expected_and_actual(call, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        call()
    for word in [*words[1:], "Expected:", "Actual:"]:
        assert word in str(error.value)


@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 9),
    options=st.fixed_dictionaries(
        {
            "size": st.integers(1, 7),
            "alpha": st.sampled_from([1e-4, 0.3, 2.0]),
            "beta": st.sampled_from([0.75, 0.5, 1.25]),
            "k": st.sampled_from([1.0, 2.0]),
        }
    ),
)
def test_equals_pytorch(seed, channels, options):
    torch = pytest.importorskip("torch")
    x, g = np.random.default_rng(seed).normal(size=(2, 2, channels, 3, 4))
    reference = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.local_response_norm(reference, **options)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(lrn.forward(x, **options), expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(lrn.grad_input(g, x, **options), reference.grad.numpy(), rtol=1e-10, atol=1e-12)
