"""Empty batches: every public function, layer, loss and metric does with no image what PyTorch does, forward and backward."""

import copy
import inspect
import math
import re

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import functional as F
from minisegnet import losses, metrics, nn

IMAGE = (0, 4, 6, 6)
#: Each line runs in both libraries. Where PyTorch has no such function, its own way to write it stands behind a bar.
FUNCTIONS = """
    abs(x)
    adaptive_avg_pool2d(x, (2, 3))
    add(x, y)
    add(x, v)
    amax(x, 1)
    amax(x, 0)
    amin(x, (2, 3))
    amin(x)
    argmax(x, 1)
    argmax(x, 0)
    argmin(x, 3)
    argmin(x)
    avg_pool2d(x, 3, 2, 1)
    avg_pool2d(x, 3, 2, 1, divisor_override=4)
    batch_norm(x, v.detach(), p.detach(), v, p)
    batch_norm(x, v.detach(), p.detach(), v, p, True)
    batch_norm(x, None, None, None, None, True)
    batch_norm(x.reshape(0, 4), v.detach(), p.detach(), v, p)
    batch_norm_relu(x, v.detach(), p.detach(), v, p) | relu(batch_norm(x, v.detach(), p.detach(), v, p))
    batch_norm_relu(x, v.detach(), p.detach(), v, p, True) | relu(batch_norm(x, v.detach(), p.detach(), v, p, True))
    binary_cross_entropy_with_logits(x, y)
    binary_cross_entropy_with_logits(x, y, reduction="sum")
    binary_cross_entropy_with_logits(x, y, reduction="none")
    bitwise_and(i, i)
    bitwise_not(i)
    bitwise_or(i, i)
    bitwise_xor(i, i)
    cat([x, y], 1)
    cat([x, y], 0)
    cat([x, z], 0)
    chunk(x, 2, 1)
    chunk(x, 2, 0)
    class_scores(x) | x * 1
    clip(x, 0, 1)
    clone(x)
    conv2d(x, w, b)
    conv2d(x, w, b, 2, 1, 2)
    conv2d(x, w[:, :2], b, groups=1)
    conv2d_relu(x, w, b) | relu(conv2d(x, w, b))
    conv2d_statistics(x, w, b)[0] | conv2d(x, w, b)
    conv_transpose2d(x, t, b, 2)
    conv_transpose2d(x, t, b, 2, output_padding=1, dilation=2)
    cross_entropy(x, labels, reduction="sum")
    cross_entropy(x, labels, reduction="none")
    cross_entropy(x, labels, p.detach(), reduction="sum", label_smoothing=0.1)
    cross_entropy(x, y)
    cross_entropy(x, y, reduction="none")
    cross_entropy(x.reshape(0, 4, 36), labels.reshape(0, 36), reduction="sum")
    cross_entropy(x.reshape(0, 4, 4, 9)[..., 0, 0], labels[:, 0, 0], reduction="sum")
    cumsum(x, 0)
    cumsum(x, 1)
    div(x, y)
    dropout(x, 0.5)
    dropout2d(x, 0.5)
    exp(x)
    expand(x[:, :1], 0, 4, 6, 6) | x[:, :1].expand(0, 4, 6, 6)
    expand(z[:1, :1], 0, 4, 6, 6) | z[:1, :1].expand(0, 4, 6, 6)
    flatten(x, 1)
    floor_divide(i, 2)
    interpolate(x, (3, 9))
    interpolate(x, scale_factor=1.3)
    interpolate(x, (3, 9), mode="bilinear", align_corners=False)
    interpolate(x, scale_factor=1.3, mode="bilinear", align_corners=False)
    label(x.detach()) | argmax(x, 1)
    leaky_relu(x, 0.2)
    local_response_norm(x, 3)
    log(x)
    log_softmax(x, 1)
    log_softmax(x, 0)
    masked_fill(x, x > 0, 2.0) | x.masked_fill(x > 0, 2.0)
    matmul(x, y)
    matmul(x[..., 0].reshape(0, 24), w.reshape(24, -1)[:, :0])
    matmul(x.reshape(24, 0)[:5], x.reshape(0, 7)) | matmul(x.reshape(24, 0)[:5], x.reshape(0, 7))
    max(x)
    max(x, 1)
    max(x, 0)
    max_pool2d(x, 2)
    max_pool2d(x, 3, 2, 1, 1, True, True)
    max_pool2d(x, 2, weight=u, bias=s) | max_pool2d(x, 2) * u.sum() * s
    max_unpool2d(*max_pool2d(x, 2, return_indices=True), 2)
    maximum(x, y)
    mean(x)
    mean(x, 0)
    mean(x, (0, 2, 3))
    mean(x, 1)
    min(x)
    min(x, 1)
    minimum(x, y)
    mul(x, v.reshape(4, 1, 1))
    neg(x)
    norm(x)
    norm(x, 1, 0)
    norm(x, inf, 1)
    norm(x, inf, 0)
    pad(x, (1, 2))
    pad(x, (1, 2, 1, 1), mode="reflect")
    pad(x, (1, 2, 1, 1), mode="replicate")
    pad(x, (1, 2, 1, 1), mode="circular")
    pad(x, (0, 0, 0, 0, 0, 0, 1, 1))
    permute(x, (1, 0, 3, 2))
    pow(x, 2)
    pow(x, y)
    prod(x)
    prod(x, 0)
    prod(x, 1)
    relu(x)
    remainder(x, y)
    repeat(x, 2, 1, 1, 3) | x.repeat(2, 1, 1, 3)
    repeat(z, 0, 1, 1, 1) | z.repeat(0, 1, 1, 1)
    reshape(x, (0, 24, 6))
    reshape(x, (-1, 4, 6, 6))
    reshape(x, (0, -1))
    sigmoid(x)
    softmax(x, 1)
    softmax(x, 0)
    split(x, 2, 1)
    split(x, 2, 0)
    split(x, [0, 0], 0)
    sqrt(x)
    squeeze(x[:, :1], 1)
    squeeze(x, 0)
    stack([x, y], 1)
    std(x)
    std(x, 1)
    std(x, 0)
    sub(x, y)
    sum(x)
    sum(x, 0)
    sum(x, (1, 2))
    tanh(x)
    transpose(x, 0, 1)
    unsqueeze(x, 0)
    var(x)
    var(x, 1)
    var(x, 0)
    where(x > 0, x, y)
    x[:, 1:, ::2]
    x[x > 0]
    x[i[:, 0]]
    z[i[:, 0]]
    x[0]
    x.to("cpu")
    x.T.shape and x.contiguous()
"""
LAYERS = """
    AdaptiveAvgPool2d((2, None))
    AvgPool2d(2)
    BatchNorm2d(4)
    BatchNorm2d(4).eval()
    BatchNorm2d(4, momentum=None)
    BatchNorm2d(4, affine=False, track_running_stats=False)
    Conv2d(4, 5, 3)
    ConvTranspose2d(4, 5, 2, 2)
    Dropout(0.5)
    Dropout2d(0.5)
    Flatten()
    Identity()
    LeakyReLU()
    Linear(6, 3)
    LocalResponseNorm(3)
    MaxPool2d(2)
    MaxPool2d(2, return_indices=True)
    ReLU()
    ReflectionPad2d(1)
    Sequential(Conv2d(4, 5, 3), BatchNorm2d(5), ReLU(), Conv2d(5, 2, 1), ReLU())
    Sequential(BatchNorm2d(4), ReLU()).eval()
    Sigmoid()
    Softmax(1)
    Tanh()
    Upsample(scale_factor=2)
    ZeroPad2d(1)
"""
# What is different, and why; a line that gives the same in both libraries must not stand here.
DIFFERENT: dict[str, str] = {}


class Both:
    """A library's names: those of ``torch.nn.functional`` before those of ``torch``."""

    def __init__(self, *modules):
        self.modules = modules

    def __getitem__(self, name):
        for module in self.modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise KeyError(name)


def variables(make):
    rng = np.random.default_rng(0)
    shapes = {
        "x": IMAGE,
        "y": IMAGE,
        "z": (2, *IMAGE[1:]),
        "w": (5, 4, 3, 3),
        "t": (4, 5, 2, 2),
        "b": 5,
        "v": 4,
        "p": 4,
        "u": (2, 2),
        "s": (),
    }
    made = {name: make(rng.random(shape) + 0.5, requires_grad=True) for name, shape in shapes.items()}
    return made | {"i": make(np.zeros((0, 3), np.int64)), "labels": make(np.zeros((0, 6, 6), np.int64)), "inf": math.inf}


def outcome(run, leaves):
    """What a program returns and the gradients of its leaves; or the word "refused"."""
    try:
        with np.errstate(all="ignore"):
            results = run()
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        return "refused", str(error)
    results = [r for r in (results if isinstance(results, tuple | list) else [results]) if hasattr(r, "requires_grad")]
    for r in results:
        if r.requires_grad:
            with np.errstate(all="ignore"):
                r.sum().backward(retain_graph=True)
    grads = [None if leaf.grad is None else leaf.grad.tolist() for leaf in leaves]
    return [(tuple(r.shape), str(r.dtype).removeprefix("torch."), r.tolist()) for r in results], grads


def same(ours, theirs):
    plain = lambda v: repr(v).replace("-0.0", "0.0")
    return ours[0] == "refused" == theirs[0] or plain(ours) == plain(theirs)


def line_of(text):
    mine, _, theirs = text.partition("|")
    return mine.strip(), (theirs or mine).strip()


@pytest.mark.parametrize("text", [line.strip() for line in FUNCTIONS.strip().splitlines()])
def test_functions(text):
    torch = pytest.importorskip("torch")
    found = []
    for line, make, names in zip(line_of(text), (ms.tensor, torch.tensor), (Both(F), Both(torch.nn.functional, torch)), strict=True):
        given = variables(make)
        scope = {name: names[name] for name in re.findall(r"(?<![.\w])([a-z_]\w*)\(", line)}
        found.append(
            outcome(
                lambda code=line, scope=scope | given: eval(code, scope), [v for v in given.values() if getattr(v, "requires_grad", False)]
            )
        )
    assert same(*found) != (text in DIFFERENT), f"{found[0]}\n{found[1]}"
    if found[0][0] == "refused":
        assert re.match(r"[\w.]+: |operands could not be broadcast|index 0 is out of bounds", found[0][1]), "an error from inside NumPy"


def test_every_public_function_has_a_line():
    names = [name for name in F.__all__ if not inspect.isclass(getattr(F, name))]
    assert [name for name in names if not re.search(rf"^ *{name}\(", FUNCTIONS, re.M)] == []


@pytest.mark.parametrize("text", [line.strip() for line in LAYERS.strip().splitlines()])
def test_layers(text):
    torch = pytest.importorskip("torch")
    found, states = [], []
    for library, make in ((nn, ms.tensor), (torch.nn, torch.tensor)):
        layer = eval(text, dict(vars(library)))
        x = make(np.zeros(IMAGE, np.float32), requires_grad=True)
        found.append(outcome(lambda layer=layer, x=x: layer(x), [x, *layer.parameters()]))
        states.append(
            {name: (tuple(v.shape), name.startswith(("running", "num")) and v.tolist()) for name, v in layer.state_dict().items()}
        )
    assert same(*found), f"{found[0]}\n{found[1]}"
    assert repr(states[0]) == repr(states[1])


def test_every_layer_has_a_line():
    other = {
        "Buffer",
        "Parameter",
        "Module",
        "ModuleList",
        "BCEWithLogitsLoss",
        "CrossEntropyLoss",
        "MSELoss",
        "MaxUnpool2d",
        "WeightedMaxPool2d",
    }
    layers = {name for name in nn.__all__ if inspect.isclass(getattr(nn, name))} - other
    assert layers == set(re.findall(r"^ *(\w+)\(", LAYERS, re.M))
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(ms.tensor(np.zeros(IMAGE, np.float32)))
    assert nn.MaxUnpool2d(2)(pooled, indices).shape == IMAGE
    assert nn.WeightedMaxPool2d(2)(pooled).shape == (0, 4, 1, 1)


#: The loss of no pixel is 0, as that of an image whose pixels are all ignored; the mean of nothing is NaN, as in PyTorch.
LOSSES = {
    "BCEWithLogitsLoss": (lambda x, labels: nn.BCEWithLogitsLoss()(x, x.detach()), np.nan),
    "MSELoss": (lambda x, labels: nn.MSELoss()(x, x.detach()), np.nan),
    "CrossEntropyLoss": (nn.CrossEntropyLoss(), 0),
    "AuxiliaryLoss": (lambda x, labels: losses.AuxiliaryLoss(nn.CrossEntropyLoss())([x, x], labels), 0),
    "BoundaryWeightedCrossEntropyLoss": (losses.BoundaryWeightedCrossEntropyLoss(), 0),
    "DiceLoss": (losses.DiceLoss(), 0),
    "DiceLoss of each image": (losses.DiceLoss(batch=False), np.nan),
    "FocalLoss": (losses.FocalLoss(), 0),
    "LovaszSoftmaxLoss": (losses.LovaszSoftmaxLoss(), 0),
    "LovaszSoftmaxLoss of each image": (losses.LovaszSoftmaxLoss(per_image=True), 0),
    "OhemCrossEntropyLoss": (losses.OhemCrossEntropyLoss(), 0),
    "WeightedSum": (losses.create("ce+0.5*dice"), 0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss, expected = LOSSES[name]
    x = ms.tensor(np.zeros(IMAGE, np.float32), requires_grad=True)
    with np.errstate(all="ignore"):
        y = loss(x, np.zeros((0, 6, 6), np.int64))
        y.backward()
    np.testing.assert_equal(y.item(), expected)
    assert y.shape == () and y.dtype == np.float32 and x.grad.shape == IMAGE


def test_every_loss_is_tried():
    classes = {name for package in (losses, nn) for name in package.__all__ if name.endswith("Loss") or name == "WeightedSum"}
    assert classes == {name.split()[0] for name in LOSSES}


@pytest.mark.parametrize("metric", [metrics.ConfusionMatrix(2), metrics.BoundaryIoU(2), metrics.BoundaryF1(2), metrics.BoundaryErrors(1)])
def test_metrics(metric):
    """No map changes no count."""
    maps = np.random.default_rng(0).integers(0, 2, (2, 3, 9, 9))
    metric.update(*maps)
    before = copy.deepcopy(vars(metric))
    metric.update(*maps[:, :0])
    np.testing.assert_equal(vars(metric), before)
    assert any(np.any(value) for name, value in before.items() if name not in ("num_classes", "ignore_index", "classes"))
