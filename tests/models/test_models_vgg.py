"""Networks on VGG-16, and DeepLab v2: counts, the papers' geometries, twins in PyTorch."""

import numpy as np
import pytest
from support import torch_models
from support import torch_models_vgg as twins

from minisegnet import nn, random
from minisegnet.models import create
from minisegnet.models.dilated import ContextModule, FrontEnd, identity_
from minisegnet.models.vgg import stages
from minisegnet.tensor import Tensor, no_grad
from minisegnet_kernels import backends


@pytest.fixture(autouse=True)
def seed():
    random.manual_seed(0)


def count(model, frozen=False):
    return sum(p.numel() for p in model.parameters() if p.requires_grad or frozen)


def shape_of(model, *shape):
    """The shape of the output, without computing it."""
    with backends.use("shapes"), no_grad():
        return model.eval()(Tensor(np.zeros(shape, np.float32))).shape


# --- parameters: added up from the definitions in the papers and the authors' networks --------

COUNTS = [
    ("fcn32s", 3, 21, {}, 134_346_581, 136_152_917),
    ("fcn16s", 3, 21, {}, 134_357_354, 134_815_994),
    ("fcn8s", 3, 21, {}, 134_362_751, 134_489_759),
    ("fcn8s", 3, 21, {"at_once": True}, 134_362_751, 134_489_759),
    ("segnet", 3, 11, {}, 29_449_355, 29_449_355),
    ("segnet", 3, 12, {}, 29_449_932, 29_449_932),
    ("segnet", 3, 21, {}, 29_455_125, 29_455_125),
    ("segnet_basic", 3, 11, {}, 1_416_587, 1_416_587),
    ("deconvnet", 3, 21, {}, 251_805_653, 251_805_653),
    ("dilated", 3, 21, {"context": None}, 134_346_581, 134_346_581 + 21 * 16 * 16),
    ("deeplabv2", 3, 21, {}, 44_048_532, 44_048_532),
]


@pytest.mark.parametrize(("name", "in_channels", "num_classes", "options", "learnt", "all_of_them"), COUNTS, ids=str)
def test_number_of_parameters(name, in_channels, num_classes, options, learnt, all_of_them):
    with nn.init.skip():
        model = create(name, in_channels, num_classes, **options)
    assert (count(model), count(model, frozen=True)) == (learnt, all_of_them)


def test_number_of_parameters_of_the_parts():
    with nn.init.skip():
        assert sum(map(count, stages(3, lambda channels: channels))) == 14_714_688
        assert count(FrontEnd(3, 21)) == 134_346_581
        assert count(ContextModule(21)) == 28_392 and count(ContextModule(21, large=True)) == 6_803_139


# --- geometry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_fcn_covers_every_size(name):
    """The network itself, for every remainder modulo its stride of 32, and for the largest sizes that it promises."""
    model = create(name, 1, 2, width=1 / 64)
    for size in (*range(1, 33), 500, 1023, 1024):
        assert shape_of(model, 1, 1, size, size % 32 + 7) == (1, 2, size, size % 32 + 7)


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_fcn_covers_every_size_by_arithmetic(name):
    """The arithmetic of the paper's layers for sizes 1 to 1024: no crop may extend past the map from which it cuts."""
    for size in range(1, 1025):
        pooled, rows = {}, size + 198
        for k in range(1, 6):
            rows = pooled[k] = -(-rows // 2)
        rows -= 6
        assert rows >= 1
        if name == "fcn32s":
            assert 19 + size <= 32 * (rows + 1)
            continue
        rows = 2 * (rows + 1)
        assert 5 + rows <= pooled[4]
        if name == "fcn16s":
            assert 27 + size <= 16 * (rows + 1)
            continue
        rows = 2 * (rows + 1)
        assert 9 + rows <= pooled[3] and 31 + size <= 8 * (rows + 1)


@pytest.mark.parametrize("name", ["fcn32s", "fcn8s"])
@pytest.mark.parametrize("size", [(1, 1), (31, 64)])
def test_fcn_runs(name, size):
    x = np.random.default_rng(0).normal(size=(1, 1, *size)).astype(np.float32)
    assert create(name, 1, 2, width=1 / 64).eval()(Tensor(x)).shape == (1, 2, *size)


def test_fcn_deconvolutions_are_bilinear_and_frozen():
    model = create("fcn8s", 3, 4, width=1 / 64)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["upscore2.weight", "upscore_pool4.weight", "upscore8.weight"]
    constant = Tensor(np.ones((1, 4, 3, 3), np.float32))
    np.testing.assert_allclose(model.upscore8(constant).array[:, :, 8:24, 8:24], 1, rtol=1e-6)


def stage_sizes(model, *shape):
    """Rows and columns after each pool and each unpool."""
    seen = []
    hook = lambda module, args, y: seen.append((y[0] if isinstance(y, tuple) else y).shape[2:])
    for module in (model.pool, model.unpool):
        module.register_forward_hook(hook)
    assert shape_of(model, *shape)[2:] == shape[2:]
    return seen


def test_segnet_takes_360_by_480_through_23_by_30():
    down = [(180, 240), (90, 120), (45, 60), (23, 30), (12, 15)]
    assert stage_sizes(create("segnet", 3, 11, width=1 / 64), 1, 3, 360, 480) == [*down, *down[-2::-1], (360, 480)]
    basic = down[:4]
    assert stage_sizes(create("segnet_basic", 3, 11, width=1 / 64), 1, 3, 360, 480) == [*basic, *basic[-2::-1], (360, 480)]


def test_deconvnet_goes_from_224_to_a_vector_and_back():
    model = create("deconvnet", 3, 21, width=1 / 64)
    seen = []
    model.fc6.register_forward_hook(lambda module, args, y: seen.append(y.shape[2:]))
    sizes = stage_sizes(model, 1, 3, 224, 224)
    assert [rows for rows, _ in sizes] == [112, 56, 28, 14, 7, 14, 28, 56, 112, 224] and seen == [(1, 1)]
    for size in (193, 230, 257):
        assert shape_of(model, 1, 3, size, 224) == (1, 21, size, 224)
    assert model.size_for(5) == 193
    assert shape_of(create("deconvnet", 3, 2, width=1 / 64, bottleneck=4), 1, 3, 128, 97) == (1, 2, 128, 97)


def test_deconvnet_refuses_images_that_are_too_small():
    with pytest.raises(ValueError, match=r"at least 193 × 193.*got 192 × 300; bottleneck=6"):
        create("deconvnet", 1, 2, width=1 / 64)(Tensor(np.zeros((1, 1, 192, 300), np.float32)))


def test_the_dilated_network_takes_900_to_66():
    front_end = FrontEnd(3, 21, 1 / 64, valid=True)
    assert shape_of(front_end, 1, 3, 900, 900) == (1, 21, 66, 66)
    for size in range(380, 1000, 8):
        assert shape_of(front_end, 1, 3, size, 380) == (1, 21, (size - 372) // 8, 1)
    assert shape_of(ContextModule(21, padded_at_once=True), 1, 21, 66, 5) == (1, 21, 66, 5)
    model = create("dilated", 3, 21, width=1 / 64, published=True)
    assert shape_of(model, 1, 3, 900, 900) == (1, 21, 528, 528) == (1, 21, 66 * 8, 66 * 8)
    assert [model.size_for(size) for size in (1, 8, 9, 528)] == [380, 380, 388, 900]
    for size in range(1, 40):
        assert shape_of(create("dilated", 1, 2, width=1 / 64), 1, 1, size, 41 - size) == (1, 2, size, 41 - size)


def test_the_dilated_network_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"380, 388, .* got 901 × 380"):
        create("dilated", 1, 2, width=1 / 64, published=True)(Tensor(np.zeros((1, 1, 901, 380), np.float32)))
    with pytest.raises(ValueError, match="context must be"):
        create("dilated", context="huge")


# --- initial values ---------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("padded_at_once", [False, True])
def test_the_context_module_starts_as_the_identity(large, padded_at_once):
    """It maps scores to themselves if they are not negative; the ReLU would set negative ones to 0."""
    module = ContextModule(3, large, padded_at_once)
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            identity_(layer, 3)
    x = Tensor(np.random.default_rng(0).random((1, 3, 20, 9)).astype(np.float32))
    np.testing.assert_allclose(module(x).array, x.array, rtol=1e-5)


def test_the_noise_of_the_large_context_module_is_small():
    first = ContextModule(3, large=True)[0].weight.array[:, :, 1, 1]  # equation (5): C/c' = 3/6
    np.testing.assert_array_equal(first[[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]], 0.5)
    layer = ContextModule(3, large=True)[2]  # 6 → 6 channels: two for a class, 1/2 each
    weight = layer.weight.array.copy()
    same = np.arange(6)[:, None] // 2 == np.arange(6) // 2
    assert (weight[:, :, 1, 1][same] == 0.5).all()
    weight[:, :, 1, 1][same] = 0
    assert 0 < np.abs(weight).max() < 0.05


def test_score_layers_of_fcn_start_at_zero_and_the_other_layers_with_he_values():
    model = create("fcn8s", 3, 4, width=1 / 4)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        assert not model.get_submodule(name).weight.array.any()
    assert abs(model.stage3.conv3_2.weight.array.std() / (2 / (64 * 9)) ** 0.5 - 1) < 0.03
    assert model.stage1.conv1_1.padding == (100, 100) and model.stage1.conv1_2.padding == (1, 1)


# --- twins ------------------------------------------------------------------------------------

TWINS = [
    ("fcn32s", {}, twins.fcn(32), (33, 20)),
    ("fcn16s", {"at_once": True}, twins.fcn(16, at_once=True), (20, 33)),
    ("fcn8s", {}, twins.fcn(8), (33, 20)),
    ("fcn8s", {"at_once": True}, twins.fcn(8, at_once=True), (20, 33)),
    ("segnet", {}, twins.segnet, (45, 50)),
    ("segnet_basic", {}, twins.segnet_basic, (45, 50)),
    ("deconvnet", {"bottleneck": 2}, twins.deconvnet, (64, 61)),
    ("dilated", {}, twins.dilated(False), (37, 40)),
    ("dilated", {"published": True, "context": "large"}, twins.dilated(True), (388, 380)),
    ("deeplabv2", {"backbone": "resnet50"}, twins.deeplabv2, (57, 50)),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "options", "twin", "size"), TWINS, ids=lambda v: "twin" if callable(v) else str(v))
def test_equals_its_twin(name, options, twin, size, training):
    torch = pytest.importorskip("torch")
    model = create(name, 2, 3, width=1 / 32, **options).double().train(training)
    rng = np.random.default_rng(1)
    for path, parameter in model.named_parameters():
        if "score" in path and parameter.requires_grad:  # they start at zero, which would hide a wrong one
            parameter.data.copy_(rng.normal(size=parameter.shape))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch_models.compare(torch, model, twin, (2, 2, *size), rtol=1e-8)
