"""Every differentiable function: gradients by central differences, and PyTorch as a second oracle.

``test_parity`` and ``test_gradients`` test the kernels themselves. These tests show that the functions pass the right
arrays and options to the kernels, on every backend.
"""

import numpy as np
import pytest
from support.functions import CASES, IMAGE, OURS, arrays_for, target

from minisegnet import functional as F
from minisegnet.tensor import Tensor, detect_anomaly, tensor
from minisegnet_kernels import backends


def assert_gradients(function, arrays, rng):
    tensors = [tensor(a, requires_grad=True) for a in arrays]
    y = function(F, *tensors)
    assert y.dtype == np.float64
    g = rng.normal(size=y.shape)
    y.backward(g)
    for k, t in enumerate(tensors):
        direction, step = rng.normal(size=t.shape), 1e-6
        above, below = (function(F, *(tensor(a + (s * direction if m == k else 0)) for m, a in enumerate(arrays))) for s in (step, -step))
        expected = (g * (above.array - below.array)).sum() / (2 * step)
        assert abs((t.grad.array * direction).sum() - expected) <= 1e-6 * (np.abs(t.grad.array * direction).sum() + 1)


@pytest.mark.parametrize("name", [*CASES, *OURS])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_gradient_equals_central_difference(name, backend):
    function, shapes = (CASES | OURS)[name]
    arrays, rng = arrays_for(shapes)
    with backends.use(backend):
        assert_gradients(function, arrays, rng)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_gradient_equal_pytorch(name, dtype):
    torch = pytest.importorskip("torch")
    function, shapes = CASES[name]
    arrays, rng = arrays_for(shapes)
    ours = [tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    y, expected = function(F, *ours), function(torch.nn.functional, *theirs)
    rtol = 2e-5 if dtype == "float32" else 1e-11
    assert y.dtype == dtype
    np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=rtol, atol=rtol)
    g = rng.normal(size=y.shape).astype(dtype)
    y.backward(g)
    expected.backward(torch.tensor(g))
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad.dtype == dtype
        np.testing.assert_allclose(a.grad.array, b.grad.numpy(), rtol=rtol, atol=rtol * np.abs(b.grad.numpy()).max())


@pytest.mark.parametrize("fused", [False, True])
def test_batch_norm_with_running_statistics_equals_pytorch(fused):
    torch = pytest.importorskip("torch")
    (x, w, b), rng = arrays_for([IMAGE, (4,), (4,)])
    ours, theirs = (make(np.zeros(4)) for make in (tensor, torch.tensor)), (torch.zeros(4).double(), torch.ones(4).double())
    ours = (tensor(np.zeros(4)), tensor(np.ones(4)))
    for training in (True, True, False):
        a = [tensor(v, requires_grad=True) for v in (x, w, b)]
        t = [torch.tensor(v, requires_grad=True) for v in (x, w, b)]
        y = (F.batch_norm_relu if fused else F.batch_norm)(a[0], *ours, *a[1:], training, 0.3, 1e-3)
        expected = torch.nn.functional.batch_norm(t[0], *theirs, *t[1:], training, 0.3, 1e-3)
        expected = expected.relu() if fused else expected
        np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=1e-11, atol=1e-11)
        g = rng.normal(size=y.shape)
        y.backward(g)
        expected.backward(torch.tensor(g))
        for p, q in zip(a, t, strict=True):
            np.testing.assert_allclose(p.grad.array, q.grad.numpy(), rtol=1e-10, atol=1e-10)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.array, q.numpy(), rtol=1e-12)


def test_batch_norm_returns_no_gradient_for_missing_parameters():
    x = tensor(np.arange(8.0).reshape(2, 1, 2, 2))
    w = tensor(np.ones(1), requires_grad=True)
    F.batch_norm(x, None, None, w, training=True).sum().backward()
    assert x.grad is None and w.grad is not None


def test_dropout_keeps_the_mean_and_masks_the_gradient():
    from minisegnet.random import manual_seed

    manual_seed(0)
    x = tensor(np.ones((64, 32, 4, 4), np.float32), requires_grad=True)
    y = F.dropout(x, 0.25)
    assert y.dtype == np.float32
    assert abs(y.array.mean() - 1) < 0.02 and set(np.unique(y.array)) == {np.float32(0), np.float32(1 / 0.75)}
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, y.array)
    whole = F.dropout2d(x, 0.5).array
    assert (whole == whole[:, :, :1, :1]).all() and 0 < (whole[:, :, 0, 0] > 0).mean() < 1
    assert F.dropout(x, 0.5, training=False) is x
    manual_seed(0)
    np.testing.assert_array_equal(F.dropout(x, 0.25).array, y.array)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: F.conv2d(x, Tensor(np.ones((2, 3, 3, 3)))), r"conv2d.forward.*(?s:.)*C = 3 input channels(?s:.)*\(2, 4, 7, 6\)"),
        (lambda x: F.conv2d(x, Tensor(np.ones((2, 4, 3, 3), np.float32))), r"dtypes differ(?s:.)*float64(?s:.)*float32"),
        (lambda x: F.conv2d(x, Tensor(np.ones((2, 4, 9, 9)))), "larger than the padded input"),
        (lambda x: F.conv2d(x, Tensor(np.ones((2, 4, 3, 3))), stride=0), "stride"),
        (lambda x: F.conv2d(x, Tensor(np.ones((2, 4, 3, 3))), padding="full"), '"same"'),
        (lambda x: F.conv2d(x, Tensor(np.ones((3, 2, 3, 3))), groups=2), "groups"),
        (lambda x: F.conv2d(x.to(int), Tensor(np.ones((2, 4, 3, 3)))), "int64"),
        (lambda x: F.conv_transpose2d(x, Tensor(np.ones((3, 2, 2, 2)))), "equal C"),
        (lambda x: F.conv_transpose2d(x, Tensor(np.ones((4, 2, 2, 2))), stride=2, output_padding=2), "output_padding"),
        (lambda x: F.conv_transpose2d(x, Tensor(np.ones((4, 2, 2, 2))), Tensor(np.ones(1))), r"bias \(O,\) = \(2,\)"),
        (lambda x: F.conv_transpose2d(x, Tensor(np.ones((4, 2, 2, 2))), Tensor(np.ones(2, np.float32))), "bias: float32"),
        (lambda x: F.max_pool2d(x, 2, weight=Tensor(np.ones((3, 3)))), "kernel_size"),
        (lambda x: F.interpolate(x), "exactly one"),
        (lambda x: F.interpolate(x, 4, mode="cubic"), "cubic"),
        (lambda x: F.interpolate(x, 4, recompute_scale_factor=True), "no scale"),
        (lambda x: F.interpolate(x, scale_factor=-1.0), "above 0"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "division by zero"),
        (lambda x: F.binary_cross_entropy_with_logits(x, x[:1]), "scores and target"),
        (lambda x: F.cross_entropy(x, x, ignore_index=1), "cannot be ignored"),
        (lambda x: F.cross_entropy(x, x, reduction="all"), "reduction"),
        (lambda x: F.cross_entropy(x[0, 0], np.zeros(3, int)), "target"),
        (lambda x: F.pad(x, (1,)), "pairs"),
        (lambda x: F.pad(x, (7, 0), mode="reflect"), "less than the length of its axis"),
        (lambda x: F.pad(x, (7, 0), mode="circular"), "at most the length of its axis"),
        (lambda x: F.pad(x, (1, 0), mode="circular", value=1.0), "no value"),
        (lambda x: F.pad(x, (-3, -4)), "more is cropped"),
        (lambda x: F.conv_transpose2d(x, Tensor(np.ones((4, 2, 2, 2))), padding=((1, 1), (0, 0))), r"padding(?s:.)*\(\(1, 1\), \(0, 0\)\)"),
        (lambda x: F.max_pool2d(x, float("nan")), "kernel_size"),
        (lambda x: F.batch_norm(x, None, None), "statistics"),
        (lambda x: F.batch_norm(x[:1, :, :1, :1], None, None, training=True), "batch_norm"),
        (lambda x: F.cross_entropy(x, np.full((2, 7, 6), 4)), r"not a class(?s:.)*0 ≤ t ≤ 3"),
        (lambda x: F.cross_entropy(x, np.zeros((2, 6, 7), int)), r"\(2, 7, 6\)(?s:.)*\(2, 6, 7\)"),
        (lambda x: F.label(x, "argmax"), "ArgmaxRegions"),
        (lambda x: F.label(x[:, :1], F.Intervals([(0, 1)])), "no region"),
        (lambda x: F.dropout(x, 1.5), "probability"),
        (lambda x: F.relu(x[0].sum().to(int)), "relu"),
        (lambda x: F.conv2d(x[0, 0], Tensor(np.ones((2, 4, 3, 3)))), "2 axes"),
        (lambda x: F.softmax(x, 1).mean(dtype=int), "mean: expected dtype"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(Tensor(np.ones(IMAGE)))


def test_valid_padding_is_none_and_groups_may_be_numpys():
    x, w = Tensor(np.ones(IMAGE)), Tensor(np.ones((4, 1, 3, 3)))
    np.testing.assert_array_equal(F.conv2d(x, w, padding="valid", groups=np.int64(4)).array, F.conv2d(x, w, groups=4).array)


def test_labels_of_three_kinds_of_region():
    scores = Tensor(np.array([[[[0.1, 0.9]], [[0.3, 0.2]]]]))
    assert F.label(scores).tolist() == [[[1, 0]]]
    assert F.label(scores, labels=[7, -1]).tolist() == [[[-1, 7]]]
    assert F.label(scores[:, 0], F.Intervals([(0, 0.5), (0.5, 1)]), [0, 255]).tolist() == [[[0, 255]]]
    assert F.label(scores, F.Prototypes(np.array([[1.0, 0.0], [0.0, 0.0]]))).tolist() == [[[1, 0]]]
    assert not F.label(tensor(scores.array, requires_grad=True)).requires_grad


def test_a_loss_without_gradient_equals_the_one_with():
    x = tensor(np.random.default_rng(0).normal(size=IMAGE), requires_grad=True)
    np.testing.assert_allclose(F.cross_entropy(x, target(F)).item(), F.cross_entropy(x.detach(), target(F)).item(), rtol=1e-14)


def test_a_nan_is_traced_to_its_function():
    x = tensor(np.full((1, 1, 3, 3), np.inf), requires_grad=True)
    with detect_anomaly(), np.errstate(invalid="ignore"), pytest.raises(FloatingPointError, match=r"softmax.*test_functional"):
        F.softmax(x, 1)
