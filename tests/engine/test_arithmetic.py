"""Gradients of arithmetic: random cotangent and direction, and PyTorch as a second oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet import functional as F
from minisegnet.tensor import Tensor, tensor

pytestmark = pytest.mark.quick

# name: (function, shapes of its arguments, smallest value); the same expression is valid in PyTorch
CASES = {
    "add": (lambda m, a, b: a + b, [(2, 3), (3,)], -2),
    "sub": (lambda m, a, b: a - b, [(2, 1), (2, 3)], -2),
    "mul": (lambda m, a, b: a * b, [(2, 3), (1, 3)], -2),
    "div": (lambda m, a, b: a / b, [(2, 3), (2, 1)], 0.5),
    "radd": (lambda m, a: 2 + a, [(3,)], -2),
    "rsub": (lambda m, a: 2 - a, [(3,)], -2),
    "rdiv": (lambda m, a: 2 / a, [(3,)], 0.5),
    "pow": (lambda m, a, b: a**b, [(2, 3), (3,)], 0.5),
    "pow number": (lambda m, a: a**3, [(2, 3)], -2),
    "rpow": (lambda m, a: 2**a, [(2, 3)], -2),
    "pow 0": (lambda m, a: a**0, [(2, 3)], -2),
    "neg": (lambda m, a: -a, [(3,)], -2),
    "exp": (lambda m, a: a.exp(), [(2, 3)], -2),
    "log": (lambda m, a: a.log(), [(2, 3)], 0.5),
    "sqrt": (lambda m, a: a.sqrt(), [(2, 3)], 0.5),
    "abs": (lambda m, a: abs(a), [(2, 3)], -2),
    "sigmoid": (lambda m, a: m.sigmoid(a), [(2, 3)], -2),
    "tanh": (lambda m, a: m.tanh(a), [(2, 3)], -2),
    "clip": (lambda m, a: a.clip(-0.5, 0.7), [(4, 3)], -2),
    "maximum": (lambda m, a, b: m.maximum(a, b), [(4, 3), (3,)], -2),
    "where": (lambda m, a, b: m.where(a > 0, a, b), [(4, 3), (3,)], -2),
    "sum": (lambda m, a: a.sum(), [(2, 3)], -2),
    "sum dim": (lambda m, a: a.sum(1), [(2, 3, 2)], -2),
    "sum dims": (lambda m, a: a.sum((0, -1), keepdim=True), [(2, 3, 2)], -2),
    "mean": (lambda m, a: a.mean(), [(2, 3)], -2),
    "mean dims": (lambda m, a: a.mean((0, 2)), [(2, 3, 2)], -2),
    "mean list": (lambda m, a: a.mean([0, -1], keepdim=True), [(2, 3, 2)], -2),
    "sum list": (lambda m, a: a.sum([1]), [(2, 3, 2)], -2),
    "amax list": (lambda m, a: a.amax([0, -1]), [(2, 3, 2)], -2),
    "max": (lambda m, a: a.max(), [(2, 3)], -2),
    "max dim": (lambda m, a: a.max(1).values, [(2, 3)], -2),
    "max keepdim": (lambda m, a: a.max(0, keepdim=True)[0], [(2, 3)], -2),
    "amax": (lambda m, a: a.amax((0, 2)), [(2, 3, 2)], -2),
    "matmul": (lambda m, a, b: a @ b, [(2, 3), (3, 4)], -2),
    "matmul batch": (lambda m, a, b: a @ b, [(5, 2, 3), (3, 4)], -2),
    "reshape": (lambda m, a: a.reshape(3, -1), [(2, 3)], -2),
    "view": (lambda m, a: a.view((3, 2)), [(2, 3)], -2),
    "permute": (lambda m, a: a.permute(2, 0, 1), [(2, 3, 4)], -2),
    "permute negative": (lambda m, a: a.permute(-1, 0, -2), [(3, 3, 3)], -2),
    "transpose": (lambda m, a: a.transpose(0, -1), [(2, 3, 4)], -2),
    "flatten": (lambda m, a: a.flatten(1), [(2, 3, 4)], -2),
    "flatten middle": (lambda m, a: a.flatten(0, 1), [(2, 3, 4)], -2),
    "unsqueeze": (lambda m, a: a.unsqueeze(1), [(2, 3)], -2),
    "squeeze": (lambda m, a: a.squeeze(1), [(2, 1, 3)], -2),
    "squeeze all": (lambda m, a: a.squeeze(), [(1, 2, 1, 3)], -2),
    "flatten number": (lambda m, a: a.sum().flatten(), [(2, 3)], -2),
    "index": (lambda m, a: a[1, 1:], [(3, 4)], -2),
    "index none": (lambda m, a: a[:, None, ..., 0], [(3, 4, 2)], -2),
    "index list": (lambda m, a: a[[0, 2, 0, 0]], [(3, 4)], -2),
    "index mask": (lambda m, a: a[a > 0], [(4, 4)], -2),
    "cat": (lambda m, a, b: m.cat([a, b, a], 1), [(2, 1), (2, 3)], -2),
    "stack": (lambda m, a, b: m.stack([a, b], 1), [(2, 3), (2, 3)], -2),
    "used twice": (lambda m, a: a * a + a, [(2, 3)], -2),
}


def draw_arguments(name, seed):
    _, shapes, low = CASES[name]
    rng = np.random.default_rng(seed)
    return [rng.uniform(low, 2, shape) for shape in shapes], rng


@pytest.mark.parametrize("name", CASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_gradient_equals_central_difference(name, seed):
    function = CASES[name][0]
    arrays, rng = draw_arguments(name, seed)
    tensors = [tensor(a, requires_grad=True) for a in arrays]
    y = function(F, *tensors)
    g = rng.normal(size=y.shape)
    y.backward(g)
    for k, t in enumerate(tensors):
        direction = rng.normal(size=t.shape)
        step = 1e-6
        above, below = (function(F, *(tensor(a + (s * direction if m == k else 0)) for m, a in enumerate(arrays))) for s in (step, -step))
        expected = (g * (above.array - below.array)).sum() / (2 * step)
        actual = (t.grad.array * direction).sum()
        assert t.grad.shape == t.shape and t.grad.dtype == t.dtype
        assert abs(actual - expected) <= 1e-6 * (np.abs(t.grad.array * direction).sum() + 1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_gradient_equal_pytorch(name, dtype):
    torch = pytest.importorskip("torch")
    function = CASES[name][0]
    arrays, rng = draw_arguments(name, 7)
    ours = [tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    y, expected = function(F, *ours), function(torch, *theirs)
    assert y.dtype == dtype
    rtol = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=rtol, atol=rtol)
    g = rng.normal(size=y.shape).astype(dtype)
    y.backward(g)
    expected.backward(torch.tensor(g))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.array, b.grad.numpy(), rtol=rtol, atol=rtol)


def test_ties_share_the_gradient_as_in_pytorch():
    torch = pytest.importorskip("torch")
    a, b = tensor([1.0, 3.0, 3.0], requires_grad=True), torch.tensor([1.0, 3.0, 3.0], requires_grad=True)
    a.max().backward()
    b.max().backward()
    np.testing.assert_array_equal(a.grad.array, b.grad.numpy())


def test_powers_at_zero_have_the_gradients_of_pytorch():
    torch = pytest.importorskip("torch")
    bases, powers = [0.0, 0.0, 2.0, -1.0], [0.0, 2.0, 0.0, 2.0]
    a, b = tensor(bases, requires_grad=True), tensor(powers, requires_grad=True)
    c, d = torch.tensor(bases, requires_grad=True), torch.tensor(powers, requires_grad=True)
    with np.errstate(invalid="ignore"):  # the logarithm of −1
        (a**b).sum().backward()
    (c**d).sum().backward()
    np.testing.assert_allclose(a.grad.array, c.grad.numpy())
    np.testing.assert_allclose(b.grad.array, d.grad.numpy(), rtol=1e-6)
    x = tensor([0.0], requires_grad=True)
    with np.errstate(all="raise"):
        (x**0).sum().backward()
    assert x.grad.tolist() == [0.0]


def test_integers_divide_to_float32():
    assert (tensor([1, 2]) / 2).dtype == np.float32
    assert tensor([1, 2]).mean().dtype == np.float32


OPERANDS = {
    "bool": np.array([True, False]),
    "uint8": np.array([1, 2], np.uint8),
    "int64": np.array([1, 2]),
    "float32": np.array([1, 2], np.float32),
    "float64": np.array([1.0, 2.0]),
    "int64 number": np.array(2),
    "float32 number": np.array(2, np.float32),
    "float64 number": np.array(2.0),
    "int": 2,
    "float": 2.0,
}


@pytest.mark.parametrize("right", OPERANDS)
@pytest.mark.parametrize("left", [name for name in OPERANDS if name not in ("int", "float")])
def test_dtypes_of_results_are_those_of_pytorch(left, right):
    torch = pytest.importorskip("torch")
    a, b = OPERANDS[left], OPERANDS[right]
    c, d = (torch.tensor(v) if isinstance(v, np.ndarray) else v for v in (a, b))
    ours, expected = Tensor(a), Tensor(b) if isinstance(b, np.ndarray) else b
    functions = (lambda x, y: x + y, lambda x, y: x * y, lambda x, y: y * x, lambda x, y: x / (y + 1), lambda x, y: (x + 1.0) ** y)
    for function in functions:
        assert str(function(ours, expected).dtype) == str(function(c, d).dtype).removeprefix("torch.")


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sigmoid", "tanh"])
def test_functions_of_integers_are_float32(name):
    assert getattr(F, name)(tensor([1, 2])).dtype == np.float32
    assert F.softmax(tensor([1, 2]), 0).dtype == F.log_softmax(tensor([1, 2]), 0).dtype == np.float32
    assert F.clip(tensor([1, 2]), 1.5).dtype == np.float32
    assert F.where(tensor([True, False]), tensor([1.0, 2.0]), tensor([1, 2])).dtype == np.float32


def test_cast_is_differentiable():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    x.to("float64").sum().backward()
    assert x.grad.dtype == np.float32
    assert x.to("float32") is x
