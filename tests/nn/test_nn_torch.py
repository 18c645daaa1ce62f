"""PyTorch as a second oracle for every layer: keys, values, gradients, running statistics, repr."""

import re

import numpy as np
import pytest

from minisegnet import nn, random
from minisegnet.tensor import Tensor

torch = pytest.importorskip("torch")

# Layers that are written the same in both libraries: the source, and the shapes of the inputs.
LAYERS = [
    ("Conv2d(3, 4, 3)", [(2, 3, 7, 8)]),
    ("Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False)", [(2, 4, 7, 8)]),
    ("Conv2d(3, 4, (4, 3), padding='same', dilation=2)", [(2, 3, 9, 8)]),
    ("Conv2d(3, 4, 3, padding='valid')", [(1, 3, 5, 5)]),
    ("Conv2d(4, 4, 3, padding=1, groups=4)", [(2, 4, 5, 6)]),
    ("ConvTranspose2d(3, 4, 2, stride=2)", [(2, 3, 4, 5)]),
    ("ConvTranspose2d(4, 6, 3, stride=(3, 2), padding=1, output_padding=(2, 1), groups=2, dilation=(1, 2), bias=False)", [(2, 4, 4, 5)]),
    ("BatchNorm2d(3)", [(4, 3, 5, 6)]),
    ("BatchNorm2d(3, eps=1e-3, momentum=0.01)", [(4, 3, 5, 6)]),
    ("BatchNorm2d(3, momentum=None)", [(4, 3, 5, 6)]),
    ("BatchNorm2d(3, affine=False)", [(4, 3, 5, 6)]),
    ("BatchNorm2d(3, track_running_stats=False)", [(4, 3, 5, 6)]),
    ("LocalResponseNorm(3, alpha=0.1, beta=0.6, k=2.0)", [(2, 5, 4, 4)]),
    ("MaxPool2d(2)", [(2, 3, 6, 7)]),
    ("MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), ceil_mode=True)", [(2, 3, 8, 7)]),
    ("AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)", [(2, 3, 7, 8)]),
    ("AvgPool2d(2)", [(2, 3, 7, 8)]),
    ("AdaptiveAvgPool2d(1)", [(2, 3, 7, 8)]),
    ("AdaptiveAvgPool2d((3, None))", [(2, 3, 7, 8)]),
    ("AvgPool2d(3, 2, 1, divisor_override=5)", [(2, 3, 7, 8)]),
    ("AvgPool2d(2)", [(3, 7, 8)]),
    ("AdaptiveAvgPool2d((None, 2))", [(3, 7, 8)]),
    ("Sequential(Conv2d(3, 4, 3), ReLU(), MaxPool2d(2), ConvTranspose2d(4, 2, 2, 2))", [(3, 7, 8)]),
    ("Upsample(scale_factor=1.3, mode='bilinear', recompute_scale_factor=True)", [(2, 3, 4, 5)]),
    ("Upsample(scale_factor=2, mode='bilinear', align_corners=True)", [(2, 3, 4, 5)]),
    ("Upsample(size=(7, 11), mode='bilinear', align_corners=False)", [(2, 3, 4, 5)]),
    ("Upsample(scale_factor=3)", [(2, 3, 4, 5)]),
    ("ReLU()", [(2, 3, 4, 5)]),
    ("LeakyReLU(0.2)", [(2, 3, 4, 5)]),
    ("Sigmoid()", [(2, 3, 4, 5)]),
    ("Softmax(dim=1)", [(2, 3, 4, 5)]),
    ("Identity(54, unused=True)", [(2, 3, 4, 5)]),
    ("ZeroPad2d((1, 2, 3, 0))", [(2, 3, 4, 5)]),
    ("ZeroPad2d((-1, 2, 1, -2))", [(2, 3, 4, 5)]),
    ("ReflectionPad2d((1, 2, 3, 0))", [(2, 3, 4, 5)]),
    ("ReflectionPad2d(2)", [(2, 3, 4, 5)]),
    ("Flatten()", [(2, 3, 4, 5)]),
    ("Flatten(0, 2)", [(2, 3, 4, 5)]),
    ("Sequential(Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU(), MaxPool2d(2), Conv2d(4, 2, 1), ReLU())", [(2, 3, 6, 6)]),
]


@pytest.fixture(autouse=True)
def seed():
    random.manual_seed(0)


def make(source, library):
    return eval(source, vars(library))


def twins(source, rng):
    """The layer of both libraries, in float64, with equal random parameters."""
    ours, theirs = make(source, nn).double(), make(source, torch.nn).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape))))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    return ours, theirs


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-10, atol=1e-12)


def step(ours, theirs, shapes, rng, **options):
    """Forward and backward with random inputs and a random gradient of the output; everything must agree."""
    arrays = [rng.normal(size=shape) for shape in shapes]
    xs, ts = [Tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    y, t = ours(*xs, **options), theirs(*ts, **options)
    close(y, t)
    g = rng.normal(size=y.shape)
    y.backward(g)
    t.backward(torch.from_numpy(g))
    for x, u in zip(xs, ts, strict=True):
        close(x.grad, u.grad)
    for (name, p), (their_name, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == their_name
        close(p.grad, q.grad)


@pytest.mark.parametrize(("source", "shapes"), LAYERS, ids=[source for source, _ in LAYERS])
def test_a_layer_equals_pytorchs(source, shapes):
    rng = np.random.default_rng(0)
    ours, theirs = twins(source, rng)
    for training in (True, True, False):  # twice, for the running statistics
        ours.train(training), theirs.train(training)
        ours.zero_grad(), theirs.zero_grad()
        step(ours, theirs, shapes, rng)
        for (name, b), (their_name, c) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
            assert name == their_name
            close(b, c)


@pytest.mark.parametrize("source", [source for source, _ in LAYERS if not source.startswith(("Upsample", "Pad", "Local"))])
def test_repr_is_pytorchs(source):
    theirs = re.sub(r"(affine=\w+), bias=\w+", r"\1", repr(make(source, torch.nn)))  # newer versions name it
    assert repr(make(source, nn)) == theirs


def test_our_state_dict_loads_into_pytorch():
    source = LAYERS[-1][0]
    ours, theirs = make(source, nn), make(source, torch.nn)
    theirs.load_state_dict({name: torch.from_numpy(value.numpy().copy()) for name, value in ours.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(ours(Tensor(x)).array, theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(9, 11), (10, 12), (9, 12), (2, 3, 10, 11)])
def test_output_size_of_a_transposed_convolution(size):
    rng = np.random.default_rng(0)
    ours, theirs = twins("ConvTranspose2d(2, 3, 3, stride=2, padding=1)", rng)
    step(ours, theirs, [(2, 2, 5, 6)], rng, output_size=size)


@pytest.mark.parametrize("size", [(8, 11), (11, 12)])
def test_output_sizes_that_cannot_be(size):
    x = np.zeros((1, 2, 5, 6), np.float32)
    with pytest.raises(ValueError, match=r"\(9, 11\) to \(10, 12\)"):
        nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)(Tensor(x), output_size=size)
    with pytest.raises(ValueError, match="valid sizes"):
        torch.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)(torch.from_numpy(x), output_size=size)


@pytest.mark.parametrize(("shape", "size"), [((2, 3, 6, 8), None), ((2, 3, 7, 9), (7, 9)), ((2, 3, 7, 9), (2, 3, 7, 9))])
def test_unpooling(shape, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    ours, theirs = nn.MaxPool2d(2, return_indices=True), torch.nn.MaxPool2d(2, return_indices=True)
    a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    (y, i), (t, k) = ours(a), theirs(b)
    np.testing.assert_array_equal(i.array, k.numpy())
    up, their_up = nn.MaxUnpool2d(2)(y, i, output_size=size), torch.nn.MaxUnpool2d(2)(t, k, output_size=size)
    close(up, their_up)
    g = rng.normal(size=up.shape)
    up.backward(g)
    their_up.backward(torch.from_numpy(g))
    close(a.grad, b.grad)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (True, 0.1)])
def test_cross_entropy(reduction, weighted, smoothing):
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 2, size=4) if weighted else None
    options = {"ignore_index": 255, "reduction": reduction, "label_smoothing": smoothing}
    ours = nn.CrossEntropyLoss(weight, **options)
    theirs = torch.nn.CrossEntropyLoss(None if weight is None else torch.from_numpy(weight), **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    scores, target = rng.normal(size=(2, 4, 5, 6)), rng.integers(0, 4, size=(2, 5, 6))
    target[0, 1:3] = 255
    a, b = Tensor(scores, requires_grad=True), torch.tensor(scores, requires_grad=True)
    y, t = ours(a, Tensor(target)), theirs(b, torch.from_numpy(target))
    close(y, t)
    g = rng.normal(size=y.shape)
    y.backward(g)
    t.backward(torch.tensor(g))
    close(a.grad, b.grad)


@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3, 3)])
def test_initial_values_have_pytorchs_spread(name, shape):
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(np.zeros(shape, np.float32)), torch.empty(shape)
    getattr(nn.init, name)(ours)
    getattr(torch.nn.init, name)(theirs)
    assert abs(ours.array.std() / theirs.numpy().std() - 1) < 0.06
    assert abs(np.abs(ours.array).max() / np.abs(theirs.numpy()).max() - 1) < 0.3


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_loss_is_pytorchs(reduction, weighted):
    rng = np.random.default_rng(5)
    scores, target = rng.normal(size=(2, 3, 4, 5)), rng.random((2, 3, 4, 5))
    weights = {"weight": rng.random((4, 5)), "pos_weight": rng.random((3, 1, 1))} if weighted else {}
    ours = nn.BCEWithLogitsLoss(**weights, reduction=reduction)
    theirs = torch.nn.BCEWithLogitsLoss(**{k: torch.from_numpy(w) for k, w in weights.items()}, reduction=reduction)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    x, x_torch = Tensor(scores, requires_grad=True), torch.from_numpy(scores).requires_grad_()
    loss, expected = ours(x, Tensor(target)), theirs(x_torch, torch.from_numpy(target))
    np.testing.assert_allclose(loss.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    loss.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), rtol=1e-10, atol=1e-14)
