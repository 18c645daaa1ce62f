"""Every public function of `functional` takes arrays where it takes tensors, and returns the same values as a tensor."""

import inspect
import pickle

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import functional as F
from minisegnet.tensor import Tensor
from minisegnet_kernels.layout import channels_last, is_channels_last

RNG = np.random.default_rng(0)
A, B, C = (RNG.random((1, 2, 4, 4), np.float32) + 0.5 for _ in range(3))
W = RNG.random((2, 2, 3, 3), np.float32)
V = np.ones(2, np.float32)
INTEGERS, TRUTHS, LABELS = RNG.integers(1, 9, (2, 3)), A > 1, RNG.integers(0, 2, (1, 4, 4))
PAIRS = ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "floor_divide", "remainder"]

#: Arguments of each function. Functions of one array get A.
ARGUMENTS = {
    **dict.fromkeys(PAIRS, (A, B)),
    **{name: (INTEGERS, INTEGERS[::-1].copy()) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    "bitwise_not": (INTEGERS,),
    "adaptive_avg_pool2d": (A, 2),
    "avg_pool2d": (A, 2),
    "batch_norm": (A, V, V),
    "batch_norm_relu": (A, V, V),
    "binary_cross_entropy_with_logits": (A, TRUTHS.astype(np.float32)),
    "cat": ([A, B], 1),
    "chunk": (A, 2, 1),
    "clip": (A, 0.6, 0.9),
    "conv2d": (A, W),
    "conv2d_relu": (A, W),
    "conv2d_statistics": (A, W),
    "conv_transpose2d": (A, W),
    "cross_entropy": (A, LABELS),
    "cumsum": (A, 1),
    "dropout": (A, 0.5),
    "dropout2d": (A, 0.5),
    "expand": (A, (3, 2, 4, 4)),
    "interpolate": (A, (8, 8)),
    "local_response_norm": (A, 3),
    "log_softmax": (A, 1),
    "masked_fill": (A, TRUTHS, 2.0),
    "matmul": (A, B),
    "max_pool2d": (A, 2),
    "max_unpool2d": (A, np.arange(32).reshape(1, 2, 4, 4) // 2 * 4 % 64, 2),
    "pad": (A, (1, 1)),
    "permute": (A, (1, 0, 2, 3)),
    "repeat": (A, (2, 1, 1, 1)),
    "reshape": (A, (4, 8)),
    "softmax": (A, 1),
    "split": (A, 1, 1),
    "stack": ([A, B],),
    "transpose": (A, 1, 2),
    "unsqueeze": (A, 0),
    "where": (TRUTHS, A, B),
}
FUNCTIONS = [name for name in F.__all__ if not inspect.isclass(getattr(F, name))]


def as_tensors(value):
    return [as_tensors(v) for v in value] if isinstance(value, list) else Tensor(value) if isinstance(value, np.ndarray) else value


#: Arguments that lead down another path of a function.
OTHER_PATHS = [
    ("cross_entropy", (A[0, :, 0, 0], np.array(1))),
    ("cross_entropy", (A[..., 0], LABELS[..., 0])),
    ("cross_entropy", (A, B)),
    ("dropout", (A, 0.0)),
    ("dropout2d", (A, 0.5, False)),
    ("label", (A[:, 0], F.Intervals([(0, 1), (1, 2)]))),
    ("label", (A, F.Prototypes(np.eye(2, dtype=np.float32)))),
    ("max_pool2d", (A, 2, None, 0, 1, False, True, None, V)),
    ("max_pool2d", (A, 2, None, 0, 1, False, False, np.ones((2, 2), np.float32), V)),
]


@pytest.mark.parametrize(("name", "arguments"), [*((name, ARGUMENTS.get(name, (A,))) for name in FUNCTIONS), *OTHER_PATHS])
def test_arrays_are_taken_as_tensors_are(name, arguments):
    function = getattr(F, name)
    ms.manual_seed(0)
    expected = function(*map(as_tensors, arguments))
    ms.manual_seed(0)
    found = function(*arguments)
    assert type(found) is type(expected)
    for ours, theirs in zip(*(r if isinstance(r, tuple | list) else [r] for r in (found, expected)), strict=True):
        assert isinstance(ours, Tensor) and ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.array, theirs.array)


@pytest.mark.parametrize("wrong", [None, "text", 7, [1.0]], ids=repr)
@pytest.mark.parametrize(
    "name", [name for name in FUNCTIONS if name not in {*PAIRS, "bitwise_and", "bitwise_or", "bitwise_xor", "where", "cat", "stack"}]
)
def test_what_is_no_tensor_is_refused_by_the_functions_name(name, wrong):
    with pytest.raises(TypeError, match=f"^{name}: expected a tensor or an array, got {type(wrong).__name__}"):
        getattr(F, name)(wrong, *ARGUMENTS.get(name, (A,))[1:])


def test_public_functions_can_be_pickled():
    assert all(pickle.loads(pickle.dumps(getattr(F, name))) is getattr(F, name) for name in FUNCTIONS)


def test_numbers_have_the_same_dtype_in_both_constructors():
    for data in ([1.0], 1.0, [[1, 2]], 3, True, [True], np.float64(2), np.ones(2), np.ones(2, np.float32), [np.float32(1)], []):
        assert Tensor(data).dtype == ms.tensor(data).dtype, data
    assert Tensor([1.0]).dtype == np.float32 and Tensor([1]).dtype == np.int64


def test_gradients_that_are_copied_keep_channels_last():
    image = channels_last(A)
    x, y = (Tensor(image.copy("K"), requires_grad=True) for _ in range(2))
    (x + y).backward(image)  # one array for both, so each gets a copy
    assert is_channels_last(x.grad.array) and is_channels_last(y.grad.array)
    x.grad = None
    h = x * 1
    h[0, 0] = 0.0
    h.backward(image)
    assert is_channels_last(x.grad.array) and not x.grad.array[0, 0].any() and x.grad.array[0, 1].all()


VIEWS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "reshape": lambda x, y: (x * 1).reshape(4, 1) + y.reshape(4, 1),
    "reshape of a leaf": lambda x, y: x.reshape(4, 1) + y.reshape(4, 1),
    "expand": lambda x, y: x.expand(3, 2, 2) + y.expand(3, 2, 2),
    "permute": lambda x, y: x.permute(1, 0) + y.permute(1, 0),
    "index": lambda x, y: x[:1] + y[1:],
    "cat": lambda x, y: F.cat([x, y], 0),
    "clone": lambda x, y: x.clone() + y.clone(),
    "used twice": lambda x, y: x + x + y,
}


@pytest.mark.parametrize("case", VIEWS)
def test_a_gradient_lies_in_memory_of_its_own(case):
    """A pullback may return what it was given, or a view of it. No gradient that is kept may share that memory."""
    x, y = (ms.tensor(np.arange(1.0, 5.0).reshape(2, 2), requires_grad=True) for _ in range(2))
    result = VIEWS[case](x, y)
    result.retain_grad()
    seed = np.full(result.shape, 2.0)
    result.backward(seed, retain_graph=True)
    kept = [result.grad, x.grad, y.grad]
    for k, one in enumerate(kept):
        assert not np.shares_memory(one.array, seed)
        assert not any(np.shares_memory(one.array, other.array) for other in (*kept[k + 1 :], x, y, result))
    first = [g.array.copy() for g in kept]
    kept[0].zero_()
    np.testing.assert_array_equal(kept[1].array, first[1])
    for g in kept:
        g.zero_()
    result.backward(seed)
    for g, before in zip((result.grad, x.grad, y.grad), first, strict=True):
        np.testing.assert_array_equal(g.array, before)
    assert (seed == 2).all()
