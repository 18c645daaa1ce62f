"""Modules: their contents, their state, and values equal to PyTorch's."""

import copy

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet import nn, random
from minisegnet.nn import containers
from minisegnet.tensor import Tensor, no_grad, tensor
from minisegnet.trace import functions_recorded


@pytest.fixture(autouse=True)
def seed():
    random.manual_seed(0)


def block():
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.ReLU())


def image(*shape, dtype=np.float32, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


class Tree(nn.Module):
    """A module with every kind of attribute."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.left = block()
        self.right = nn.ModuleList([nn.Identity(), nn.Conv2d(3, 2, 1, bias=False)])
        self.register_buffer("mean", Tensor(np.zeros(3, np.float32)))
        self.register_buffer("cache", Tensor(np.zeros(2, np.float32)), persistent=False)
        self.register_buffer("nothing", None)
        self.number = 3

    def forward(self, x):
        return self.right[1](self.left(x) * self.scale.reshape(1, 3, 1, 1))


# --- parameters, buffers and modules --------------------------------------------------------


def test_names_of_everything():
    tree = Tree()
    own = ["scale", "left.0.weight", "left.0.bias", "left.1.weight", "left.1.bias", "left.3.weight", "left.3.bias", "right.1.weight"]
    assert [name for name, _ in tree.named_parameters()] == own
    assert [name for name, _ in tree.named_parameters(recurse=False)] == ["scale"]
    statistics = ["left.1.running_mean", "left.1.running_var", "left.1.num_batches_tracked"]
    assert [name for name, _ in tree.named_buffers()] == ["mean", "cache", *statistics]
    assert [name for name, _ in tree.named_children()] == ["left", "right"]
    assert [name for name, _ in tree.named_modules()][:3] == ["", "left", "left.0"]
    assert tree.get_submodule("left.1") is tree.left[1]
    assert tree.get_submodule("") is tree
    with pytest.raises(AttributeError, match=r"no module 'left.9'.*Sequential has no '9'"):
        tree.get_submodule("left.9")
    assert "cache" not in tree.state_dict() and "mean" in tree.state_dict()


def test_a_shared_parameter_is_one_parameter_with_two_names():
    model = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False))
    model[1].weight = model[0].weight
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]
    assert list(model.state_dict()) == ["0.weight", "1.weight"]
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Conv2d(2, 2, 1), relu)
    assert len(model) == 3 and len(list(model.children())) == 2 and len(list(model.modules())) == 3
    model[1].bias.array[...] = -100
    assert not model(image(1, 2, 3, 3)).array.any()  # the relu runs a second time


def test_switches_reach_everything():
    tree = Tree()
    assert all(m.training for m in tree.modules())
    assert tree.eval() is tree and not any(m.training for m in tree.modules())
    tree.train()
    assert all(m.training for m in tree.modules())
    tree.requires_grad_(False)
    assert not any(p.requires_grad for p in tree.parameters())
    tree.requires_grad_()
    seen = []
    assert tree.apply(lambda module: seen.append(type(module).__name__)) is tree
    assert seen[-1] == "Tree" and seen[0] == "Conv2d" and len(seen) == len(list(tree.modules()))


def test_zero_grad():
    model = nn.Conv2d(1, 1, 1)
    model(image(1, 1, 2, 2)).sum().backward()
    model.zero_grad(set_to_none=False)
    assert model.weight.grad.array.max() == 0
    model.zero_grad()
    assert model.weight.grad is None and model.bias.grad is None


def test_conversion_of_a_module_that_was_already_trained():
    model = block()
    model(image(1, 2, 4, 4)).sum().backward()
    assert model.double() is model
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")} == {p.grad.dtype for p in model.parameters()}
    assert model[1].running_mean.dtype == np.float64 and model[1].num_batches_tracked.dtype == np.int64
    model.zero_grad()
    model(image(1, 2, 4, 4, dtype=np.float64)).sum().backward()
    assert model[0].weight.grad.dtype == np.float64  # not the dtype that the leaf had when it was first used
    assert model.float()[0].weight.dtype == np.float32
    with pytest.raises(TypeError, match="int64"):
        model.to("int64")
    assert model.cpu().to(device="cpu", dtype="float64")[0].bias.dtype == np.float64


def test_a_deep_copy_is_another_network():
    model = block()
    x = image(1, 2, 4, 4)
    model(x).sum().backward()
    twin = copy.deepcopy(model)
    assert all(p.grad is None for p in twin.parameters())
    before = model[0].weight.grad.array.copy()
    twin[0].weight.array[...] = 0
    (twin(x) * 3.0).sum().backward()
    assert twin[0].weight.grad is not None
    np.testing.assert_array_equal(model[0].weight.grad.array, before)
    assert model[0].weight.array.any()
    assert twin[1].running_mean is not model[1].running_mean


def test_parameter():
    parameter = nn.Parameter([1.0, 2.0])
    assert parameter.dtype == np.float32 and parameter.requires_grad and parameter.is_leaf
    assert repr(parameter).startswith("Parameter containing:\ntensor(")
    array = np.zeros(3)
    assert nn.Parameter(array).array is array
    with pytest.raises(TypeError, match="floating-point"):
        nn.Parameter(np.arange(3))


def test_forward_must_be_written():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)


# --- state ----------------------------------------------------------------------------------


def test_state_dict_shares_memory_and_comes_back():
    tree = Tree()
    state = tree.state_dict()
    assert np.shares_memory(state["scale"].array, tree.scale.array) and not state["scale"].requires_grad
    other = Tree()
    assert other.load_state_dict({name: value.numpy() + 1 for name, value in state.items()}) == ([], [])
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value.array, state[name].array + 1)
        assert value.dtype == state[name].dtype


def test_load_state_dict_reports_everything_and_changes_nothing():
    model, state = block(), block().state_dict()
    before = model.state_dict()["0.bias"].array.copy()
    state["0.bias"] = Tensor(np.ones(4, np.float32))
    del state["3.weight"]
    state["head.weight"] = state["head.bias"] = np.ones(1)
    state["1.weight"] = np.ones(5)
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    for words in (
        "Sequential",
        "1 missing keys: 3.weight",
        "2 unexpected keys: head.weight, head.bias",
        "1.weight: expected (4,), got (5,)",
    ):
        assert words in message
    with pytest.raises(RuntimeError, match=r"1\.weight: expected \(4,\), got \(5,\)"):
        model.load_state_dict(state, strict=False)
    np.testing.assert_array_equal(model[0].bias.array, before)

    del state["1.weight"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["1.weight", "3.weight"] and unexpected == ["head.weight", "head.bias"]
    np.testing.assert_array_equal(model[0].bias.array, np.ones(4))


def test_load_state_dict_understands_old_and_wrapped_files():
    model, state = block(), block().state_dict()
    del state["1.num_batches_tracked"]
    assert model.load_state_dict(state) == ([], [])
    with pytest.raises(RuntimeError, match=r"Try: drop the prefix 'module\.'"):
        model.load_state_dict({f"module.{name}": value for name, value in state.items()})


# --- hooks, errors, repr --------------------------------------------------------------------


def test_forward_hooks_see_and_replace_outputs():
    model, seen = block(), []
    x = image(1, 2, 4, 4)
    handle = model[0].register_forward_hook(lambda module, args, output: seen.append((module, args, output)))
    y = model(x)
    (module, args, output), *rest = seen
    assert module is model[0] and args == (x,) and output.shape == (1, 4, 4, 4) and not rest
    handle.remove()
    model(x)
    assert len(seen) == 1
    with model.register_forward_hook(lambda module, args, output: output * 0.0):
        assert not model(x).array.any()
    assert y.array.any() and model(x).array.any()


def test_a_shape_error_says_in_which_module_it_arose():
    tree = Tree()
    with pytest.raises(ValueError, match="Expected:") as caught:
        tree(image(1, 5, 4, 4))
    message = str(caught.value)
    assert "In:       Tree.left.0 (Conv2d)" in message
    assert message.count("In:  ") == 1
    with pytest.raises(ValueError, match=r"In:       Conv2d$"):
        nn.Conv2d(3, 4, 3)(image(1, 5, 4, 4))
    with pytest.raises(ValueError, match=r"In:       Sequential\.1 \(BatchNorm2d\)"):  # a fused pair too
        nn.Sequential(nn.Identity(), nn.BatchNorm2d(3), nn.ReLU())(image(1, 5, 4, 4))


def test_other_errors_pass_untouched():
    class Broken(nn.Module):
        def forward(self, x):
            raise self.error

    broken = Broken()
    for broken.error in (KeyError("a"), ValueError(1, 2), TypeError("text")):
        before = broken.error.args
        with pytest.raises(type(broken.error)) as caught:
            nn.Sequential(broken)(1)
        assert caught.value.args == before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups=2 must divide in_channels=3"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "out_channels=3"),
        (lambda: nn.Conv2d(4, 4, 3, groups=0), "groups=0"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="circular"), "padding_mode='circular'.*zeros"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "padding='full'.*same"),
        (lambda: nn.Dropout(1.5), "between 0 and 1, got 1.5"),
        (lambda: nn.ZeroPad2d((1, 2)), "left, right, top, bottom"),
        (lambda: nn.BCEWithLogitsLoss(reduction="average"), "reduction=.average.*mean"),
        (lambda: nn.CrossEntropyLoss(reduction="average"), "reduction='average'.*mean"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), "label_smoothing"),
        (lambda: nn.init.fans(tensor([1.0])), "at least two axes"),
        (lambda: nn.init.bilinear_(nn.Parameter(np.zeros((3, 2, 4, 4), np.float32))), r"bilinear_.*\(3, 2, 4, 4\)"),
        (lambda: nn.init.kaiming_normal_(nn.Parameter(np.zeros((3, 2))), mode="fan"), "fan_in"),
        (lambda: nn.init.calculate_gain("gelu"), "no gain for 'gelu'"),
    ],
)
def test_arguments_that_do_not_fit(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# --- containers -----------------------------------------------------------------------------


def test_sequential_is_a_list_with_names():
    model = nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "act": nn.ReLU()})
    assert model[0] is model.conv and model[-1] is model.act and len(model) == 2
    assert list(model.state_dict()) == ["conv.weight", "conv.bias"]
    assert isinstance(model[:1], nn.Sequential) and list(model[:1].state_dict()) == ["conv.weight", "conv.bias"]
    model[1] = nn.Sigmoid()
    assert isinstance(model.act, nn.Sigmoid)
    assert model.append(nn.Identity()) is model and len(model) == 3
    with pytest.raises(IndexError, match="3 modules; there is no number 3"):
        model[3]
    with pytest.raises(TypeError, match="number 1 is of type function"):
        nn.Sequential(nn.ReLU(), F.relu)
    x = image(1, 1, 3, 3)
    assert nn.Sequential()(x) is x


def test_module_list():
    modules = nn.ModuleList(nn.Conv2d(1, 1, 1) for _ in range(3))
    assert len(modules) == 3 and len(list(modules.parameters())) == 6
    assert modules[-1] is list(modules)[2] and len(modules[1:]) == 2
    assert list(modules.state_dict())[-1] == "2.bias"
    with pytest.raises(NotImplementedError):
        modules(1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_neighbours_equal_one_after_the_other(training, bias, monkeypatch):
    fused = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=bias),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, stride=2, bias=bias),
        nn.ReLU(),
        nn.BatchNorm2d(3, affine=False),
    )
    fused.double().train(training)
    plain = copy.deepcopy(fused)
    g = np.random.default_rng(1).normal(size=(2, 3, 3, 3))
    results = []
    for model in (fused, plain):
        if model is plain:
            monkeypatch.setattr(containers, "FUSED", {})
        x = image(2, 2, 9, 9, dtype=np.float64).requires_grad_()
        y = model(x)
        y.backward(g)
        results.append([y, x.grad, *(p.grad for p in model.parameters()), *model.buffers()])
    assert len(results[0]) == len(results[1]) > 6
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-12, atol=1e-12)


def test_what_is_fused_and_what_is_not():
    model = block()
    x = image(1, 2, 4, 4)

    def run():
        with functions_recorded() as calls:
            model(x)
        return [call.function for call in calls]

    assert run() == ["conv2d", "batch_norm_relu", "conv2d_relu"]
    handle = model[2].register_forward_hook(lambda module, args, output: None)
    assert run() == ["conv2d", "batch_norm", "relu", "conv2d_relu"]
    handle.remove()

    class Conv(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2.0

    model[3] = Conv(4, 3, 1)
    assert run() == ["conv2d", "batch_norm_relu", "conv2d", "mul", "relu"]


# --- layers beyond PyTorch ------------------------------------------------------------------


def test_weighted_pooling_starts_as_ordinary_pooling():
    x = image(2, 3, 6, 6)
    for channels in (None, 3):
        pool = nn.WeightedMaxPool2d(3, stride=2, padding=1, channels=channels)
        np.testing.assert_array_equal(pool(x).array, nn.MaxPool2d(3, 2, 1)(x).array)
    assert {name: p.shape for name, p in nn.WeightedMaxPool2d((2, 3)).named_parameters()} == {"weight": (2, 3), "bias": ()}
    assert {name: p.shape for name, p in nn.WeightedMaxPool2d(2, channels=5).named_parameters()} == {"weight": (5, 2, 2), "bias": (5,)}


@pytest.mark.parametrize("channels", [None, 3])
def test_weighted_pooling_is_the_documented_formula(channels):
    rng = np.random.default_rng(3)
    pool = nn.WeightedMaxPool2d(2, channels=channels).double()
    for parameter in pool.parameters():
        parameter.data.copy_(rng.normal(size=parameter.shape))
    x = Tensor(rng.normal(size=(2, 3, 4, 6)), requires_grad=True)
    y = pool(x)
    g = rng.normal(size=(2, 3, 2, 3))
    y.backward(g)

    W = np.broadcast_to(pool.weight.array, (3, 2, 2))
    B = np.broadcast_to(pool.bias.array, 3)
    dx, dW, dB = np.zeros_like(x.array), np.zeros((3, 2, 2)), np.zeros(3)
    for n, c, i, j in np.ndindex(2, 3, 2, 3):
        best, u, v = max((W[c, u, v] * x.array[n, c, 2 * i + u, 2 * j + v] + B[c], u, v) for u in range(2) for v in range(2))
        np.testing.assert_allclose(y.array[n, c, i, j], best, rtol=1e-14)
        dx[n, c, 2 * i + u, 2 * j + v] += W[c, u, v] * g[n, c, i, j]
        dW[c, u, v] += x.array[n, c, 2 * i + u, 2 * j + v] * g[n, c, i, j]
        dB[c] += g[n, c, i, j]
    np.testing.assert_allclose(x.grad.array, dx, rtol=1e-12)
    np.testing.assert_allclose(pool.weight.grad.array, dW if channels else dW.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(pool.bias.grad.array, dB if channels else dB.sum(), rtol=1e-12)


def test_same_padding_with_a_stride_is_tensorflows():
    """Even rows: one cell of padding, at the bottom and the right. Odd rows: one on each side."""
    conv = nn.Conv2d(2, 3, 3, stride=2, padding="same")
    even, odd = image(1, 2, 8, 6), image(1, 2, 7, 5)
    below = nn.ZeroPad2d((0, 1, 0, 1))(even)
    np.testing.assert_allclose(conv(even).array, F.conv2d(below, conv.weight, conv.bias, stride=2).array, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(conv(odd).array, F.conv2d(odd, conv.weight, conv.bias, stride=2, padding=1).array, rtol=1e-5, atol=1e-6)
    assert conv(even).shape == (1, 3, 4, 3) and conv(odd).shape == (1, 3, 4, 3)


def test_dropout_acts_in_training_only():
    random.manual_seed(0)
    x = Tensor(np.ones((4, 50, 6, 6), np.float32))
    for layer, draws in ((nn.Dropout(0.25), (0, 1, 2, 3)), (nn.Dropout2d(0.25), (2, 3))):
        y = layer(x).array
        assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
        kept = (y > 0).mean()
        assert abs(kept - 0.75) < 0.1, draws
        layer.eval()
        assert layer(x) is x
    y = nn.Dropout2d(0.5)(x).array
    assert all(np.ptp(y[n, c]) == 0 for n in range(4) for c in range(50))


# --- initial values -------------------------------------------------------------------------


def test_one_seed_one_network():
    def weights(seed):
        random.manual_seed(seed)
        return block()[0].weight.array

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).any()
    assert random.manual_seed(5) is random.generator()


@pytest.mark.parametrize(
    ("fill", "mean", "std", "bound"),
    [
        (lambda w: nn.init.uniform_(w, -1, 3), 1.0, 4 / 12**0.5, (-1, 3)),
        (lambda w: nn.init.normal_(w, 2.0, 0.5), 2.0, 0.5, None),
        (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), 0, (2 / 288) ** 0.5, None),
        (lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), 0, (2 / 576) ** 0.5, None),
        (lambda w: nn.init.kaiming_uniform_(w, a=5**0.5), 0, (1 / 288 / 3) ** 0.5, (-(288**-0.5), 288**-0.5)),
        (lambda w: nn.init.kaiming_uniform_(w, a=0.2), 0, (2 / 1.04 / 288) ** 0.5, None),
        (lambda w: nn.init.xavier_normal_(w), 0, (2 / (288 + 576)) ** 0.5, None),
        (lambda w: nn.init.xavier_uniform_(w, gain=2.0), 0, 2 * (2 / (288 + 576)) ** 0.5, (-2 * (6 / 864) ** 0.5, 2 * (6 / 864) ** 0.5)),
        (lambda w: nn.init.constant_(w, 0.3), 0.3, 0, (0.3, 0.3)),
        (nn.init.zeros_, 0, 0, (0, 0)),
        (nn.init.ones_, 1, 0, (1, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distributions(fill, mean, std, bound, dtype):
    random.manual_seed(0)
    weight = nn.Parameter(np.full((64, 32, 3, 3), 9, dtype))
    assert fill(weight) is weight and weight.dtype == dtype
    values = weight.array.astype(np.float64)
    assert abs(values.mean() - mean) < 5 * max(std, 1e-6) / values.size**0.5
    assert abs(values.std() - std) <= 0.02 * std
    if bound:
        assert values.min() >= bound[0] - 1e-6 and values.max() <= bound[1] + 1e-6


def test_layers_start_with_pytorchs_distributions():
    random.manual_seed(0)
    for layer, fan_in in ((nn.Conv2d(32, 64, 3), 288), (nn.Conv2d(64, 64, 3, groups=4), 144), (nn.ConvTranspose2d(32, 64, 2), 256)):
        r = fan_in**-0.5
        for parameter in layer.parameters():
            assert 0.9 * r < np.abs(parameter.array).max() <= r
        assert abs(layer.weight.array.std() - r / 3**0.5) < 0.03 * r
    norm = nn.BatchNorm2d(4)
    assert norm.weight.array.min() == 1 == norm.running_var.array.min() and not norm.bias.array.any()


def test_skipped_draws_leave_zeros_and_the_generator_alone():
    random.manual_seed(0)
    with nn.init.skip():
        model = block()
    first = random.generator().random()
    random.manual_seed(0)
    assert first == random.generator().random()
    assert not model[0].weight.array.any() and model[1].weight.array.all()
    assert block()[0].weight.array.any()


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 2, 1), (16, 8, 4), (2, 1, 0)])
def test_a_bilinear_deconvolution_interpolates(kernel, stride, padding):
    """Interpolation reproduces a ramp: away from the border its steps are 1/stride."""
    up = nn.ConvTranspose2d(2, 2, kernel, stride, padding, bias=False).double()
    nn.init.bilinear_(up.weight)
    ramp = np.arange(8.0)[:, None] + 10 * np.arange(8.0)
    y = up(Tensor(np.stack([ramp, -ramp])[None])).array[0, :, 2 * stride : -2 * stride, 2 * stride : -2 * stride]
    np.testing.assert_allclose(np.diff(y[0], axis=0), 1 / stride, rtol=1e-12)
    np.testing.assert_allclose(np.diff(y[0], axis=1), 10 / stride, rtol=1e-12)
    np.testing.assert_allclose(y[1], -y[0])


def test_nothing_is_recorded_without_gradients():
    with no_grad():
        assert not block()(image(1, 2, 4, 4)).requires_grad
