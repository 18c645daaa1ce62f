"""Gradients of arithmetic, for a random upstream gradient and a random direction; PyTorch is a second oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.arithmetic import CASES, draw_arguments

from minisegnet import functional as F
from minisegnet.tensor import Tensor, tensor

pytestmark = pytest.mark.quick


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


def test_prod_with_zeros_and_norms_of_zero_have_the_gradients_of_pytorch():
    torch = pytest.importorskip("torch")
    values = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0]])
    functions = [lambda x: x.prod(1), lambda x: x.prod(), lambda x: x.std(1), lambda x: x.max(1)[0], lambda x: x.amin(1)]
    functions += [lambda x, p=p: x.norm(p, 1) for p in (0.5, 1, 1.5, 2, 3, float("inf"), -float("inf"))]
    for function in functions:
        a, b = tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
        function(a).sum().backward()
        function(b).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy())


INTEGERS = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "and number": lambda a, b: a & 2,
    "invert": lambda a, b: ~a,
    "floor division": lambda a, b: a // b,
    "floor division by a number": lambda a, b: a // -2,
    "number divided": lambda a, b: 7 // b,
    "remainder": lambda a, b: a % b,
    "remainder of a number": lambda a, b: -7 % b,
    "sum": lambda a, b: a.sum(),
    "cumsum": lambda a, b: a.cumsum(0),
    "prod": lambda a, b: a.prod(),
    "min": lambda a, b: a.min(),
    "max": lambda a, b: a.max(0).indices,
    "argmin": lambda a, b: a.argmin(0, keepdim=True),
    "argmax": lambda a, b: a.argmax(keepdim=True),
    "masked_fill": lambda a, b: a.masked_fill(b > 1, 9),
    "clip": lambda a, b: a.clip(-1, 2),
}


NEGATIVE = ("floor division by a number", "remainder of a number", "clip")


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_functions_of_integers_equal_pytorchs(name, dtype):
    torch = pytest.importorskip("torch")
    a, b = np.array([5, -5, 3, 0, 1]).astype(dtype), np.array([2, -2, 1, 3, 1]).astype(dtype)
    try:
        expected = INTEGERS[name](torch.tensor(a), torch.tensor(b))
    except (RuntimeError, OverflowError):
        pytest.skip(f"PyTorch has no {name} of {dtype}")
    if dtype == "uint8" and name in NEGATIVE:  # PyTorch reads −1 as 255
        with pytest.raises(OverflowError, match="out of bounds for uint8"):
            INTEGERS[name](Tensor(a), Tensor(b))
        return
    actual = INTEGERS[name](Tensor(a), Tensor(b))
    np.testing.assert_array_equal(actual.numpy(), expected.numpy())
    assert str(actual.dtype) == str(expected.dtype).removeprefix("torch.")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x & x, TypeError, "bitwise_and: expected integers or truth values, got float32"),
        (lambda x: ~x, TypeError, "bitwise_not"),
        (lambda x: x.sum(3), IndexError, "sum: dim 3 does not exist"),
        (lambda x: x.sum((0, -2)), ValueError, "comes twice"),
        (lambda x: x.transpose(0, 2), IndexError, "transpose: dim 2 does not exist"),
        (lambda x: F.stack([x, None]), TypeError, "stack: expected one or more tensors, got Tensor, NoneType"),
        (lambda x: F.cat([x, x], 2), IndexError, "cat: dim 2 does not exist"),
        (lambda x: x.sum(0, axis=0), TypeError, "axis|multiple values"),
        (lambda x: x.sum(dim=0, axis=0), TypeError, "axis and dim are the same"),
        (lambda x: x.var(0, True, correction=1), TypeError, "unbiased and correction"),
        (lambda x: x.norm("nuc"), ValueError, "nuc"),
        (lambda x: x.norm(None, 4), IndexError, "norm: dim 4"),
        (lambda x: x.expand(3, 3), ValueError, r"expand(?s:.)*\(2, 3\)"),
        (lambda x: x.repeat(2), ValueError, "repeat: expected 2 or more"),
        (lambda x: x.split(-1), ValueError, "split"),
        (lambda x: x.split([1, 2]), ValueError, "add up to 2"),
        (lambda x: x.chunk(0), ValueError, "chunk"),
        (lambda x: x.clip(), ValueError, "min, max or both"),
        (lambda x: x.masked_fill(x, 1), ValueError, "mask of bool"),
        (lambda x: (x > 0).to(int).masked_fill(x > 0, 0.5), TypeError, "cannot hold 0.5"),
        (lambda x: x @ x, ValueError, "matmul"),
        (lambda x: x @ x.sum(), ValueError, "matmul"),
        (lambda x: x.unsqueeze(4), IndexError, "unsqueeze"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(tensor(np.ones((2, 3), np.float32)))
