"""Networks: parameter counts, shapes, twins in PyTorch, and errors."""

import numpy as np
import pytest

from minisegnet import nn, random
from minisegnet.models import create, list_models
from minisegnet.models.article import CHANNELS, UpBlock
from minisegnet.models.unet_paper import nearest_legal_sizes
from minisegnet.tensor import Tensor


@pytest.fixture(autouse=True)
def seed():
    random.manual_seed(0)


def image(*shape, dtype=np.float32, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def count(values):
    return sum(value.numel() for value in values)


# --- parameters -----------------------------------------------------------------------------

# Published counts where there are any (U-Net 1→2; milesial's 3→2), otherwise added up by hand
# from the papers' definitions.
COUNTS = [
    ("article1", 3, 21, {"as_printed": True}, 50_303_679),
    ("article1", 3, 2, {"as_printed": True}, 50_302_406),
    ("article1", 3, 21, {}, 50_303_679 - 2 * 21),
    ("article2", 3, 21, {"as_printed": True}, 50_314_389),
    ("article2", 3, 21, {}, 50_314_389),
    ("unet_paper", 1, 2, {}, 31_030_658),
    ("unet_paper", 3, 12, {"width": 8 / 64}, 485_916),
    ("unet_paper", 3, 12, {"width": 16 / 64}, 1_941_292),
    ("unet", 3, 2, {}, 31_037_698),
    ("unet", 3, 2, {"bilinear": True}, 17_263_042),
    ("unet", 3, 12, {"width": 8 / 64}, 486_652),
    ("unet", 3, 12, {"width": 16 / 64}, 1_942_764),
]


@pytest.mark.parametrize(("name", "in_channels", "num_classes", "options", "expected"), COUNTS, ids=str)
def test_number_of_parameters(name, in_channels, num_classes, options, expected):
    with nn.init.skip():
        model = create(name, in_channels, num_classes, **options)
    assert count(model.parameters()) == expected


@pytest.mark.parametrize("as_printed", [True, False])
def test_moving_statistics_of_the_articles_second_network(as_printed):
    with nn.init.skip():
        model = create("article2", 3, 21, as_printed=as_printed)
    assert count(b for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var"))) == 12_032


def test_names_of_the_padded_unet():
    def double_conv(path):
        conv, norm = ["weight"], ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
        return [f"{path}.double_conv.{k}.{name}" for k, names in ((0, conv), (1, norm), (3, conv), (4, norm)) for name in names]

    expected = double_conv("inc")
    for k in range(1, 5):
        expected += double_conv(f"down{k}.maxpool_conv.1")
    for k in range(1, 5):
        expected += [f"up{k}.up.weight", f"up{k}.up.bias", *double_conv(f"up{k}.conv")]
    expected += ["outc.conv.weight", "outc.conv.bias"]
    assert list(create("unet", width=1 / 64).state_dict()) == expected
    assert list(create("unet", width=1 / 64, bilinear=True).state_dict()) == [name for name in expected if ".up." not in name]


def test_names_of_the_articles_first_network():
    names = list(create("article1", width=1 / 64, as_printed=True).state_dict())
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert names == [f"conv{k}.{n}" for k in range(1, 13) for n in ["conv.weight", "conv.bias", *(f"bn.{m}" for m in norm)]]


# --- shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"bilinear": True}], ids=str)
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 40), (64, 48)])
def test_the_padded_unet_takes_any_size(size, options):
    model = create("unet", 1, 5, width=1 / 32, **options)
    assert model(image(2, 1, *size)).shape == (2, 5, *size)


def test_the_padded_unet_refuses_what_is_too_small():
    with pytest.raises(ValueError, match=r"at least 16 × 16.*got 15 × 40"):
        create("unet", 1, 2, width=1 / 64)(image(1, 1, 15, 40))


@pytest.mark.parametrize(("size", "output"), [((188, 188), (4, 4)), ((188, 204), (4, 20))])
def test_sizes_of_the_published_unet(size, output):
    assert create("unet_paper", 1, 3, width=1 / 64)(image(1, 1, *size)).shape == (1, 3, *output)


def test_the_stages_of_figure_1():
    """Rows and channels as printed in the figure, for an image of 572 rows."""
    model = create("unet_paper", 1, 2, width=1 / 64, dropout=0)
    seen = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda m, args, y, name=name: seen.__setitem__(name, y.shape[1:3]))
    y = model(image(1, 1, 572, 572))
    assert y.shape == (1, 2, 388, 388)
    rows = {"contract1": 568, "contract2": 280, "contract3": 136, "contract4": 64, "contract5": 28, "up4": 56, "expand4": 52}
    rows |= {"up3": 104, "expand3": 100, "up2": 200, "expand2": 196, "up1": 392, "expand1": 388}
    assert {name: seen[name][1] for name in rows} == rows
    assert [seen[f"contract{k}"][0] for k in range(1, 6)] == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("size", "words"),
    [((572, 570), r"572 × 570.*columns 556 or 572"), ((100, 188), r"rows 188\."), ((200, 573), r"rows 188 or 204 and columns 572 or 588")],
)
def test_sizes_that_the_published_unet_refuses(size, words):
    with pytest.raises(ValueError, match=words) as caught:
        create("unet_paper", 1, 2, width=1 / 64)(image(1, 1, *size))
    assert "In:       UNetPaper" in str(caught.value)


def test_legal_sizes_are_those_that_work():
    """A size is legal if every pooling gets an even number of rows and at least one row is left at the end."""

    def works(size):
        for _ in range(4):
            size -= 4
            if size % 2 or size < 2:
                return False
            size //= 2
        size -= 4
        for _ in range(4):
            if size < 1:
                return False
            size = 2 * size - 4
        return size >= 1

    legal = [size for size in range(1, 700) if works(size)]
    assert legal[:3] == [188, 204, 220] and 572 in legal
    for size in range(1, 680):
        below, above = nearest_legal_sizes(size)
        assert below == max([s for s in legal if s <= size], default=188) and above == min(s for s in legal if s >= size)


@pytest.mark.parametrize("size", [(64, 64), (65, 127), (50, 37), (1, 3)])
def test_the_repaired_second_network_gives_back_the_inputs_size(size):
    assert create("article2", 3, 4, width=1 / 64).eval()(image(2, 3, *size)).shape == (2, 4, *size)


def test_the_second_network_as_printed_gives_two_by_two():
    model = create("article2", 3, 4, width=1 / 64, as_printed=True).eval()
    rows = []
    for block in model.down:
        block.register_forward_hook(lambda module, args, y: rows.append(y.shape[2]))
    assert model(image(1, 3, 256, 256)).shape == (1, 4, 2, 2)
    assert rows == [128, 64, 32, 16, 8, 4, 2, 1, 1, 1, 1]


def test_the_first_networks_scores_as_printed_are_never_negative():
    x = image(2, 3, 8, 8)
    random.manual_seed(0)
    assert create("article1", 3, 4, width=1 / 64, as_printed=True)(x).array.min() == 0
    assert create("article1", 3, 4, width=1 / 64)(x).array.min() < 0


def test_the_first_network_sees_23_pixels():
    model = create("article1", 1, 2, width=1 / 64).eval()
    for parameter in model.parameters():  # positive weights: no contributions cancel, and no ReLU is 0
        parameter.array[...] = np.abs(parameter.array) + 0.01
    x = Tensor(np.ones((1, 1, 31, 31), np.float32), requires_grad=True)
    model(x)[0, 0, 15, 15].backward()
    rows, columns = np.nonzero(x.grad.array[0, 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 26, 4, 26)


@pytest.mark.parametrize("width", [1 / 64, 1 / 5, 0.37, 1.3])
def test_width_multiplies_every_channel_but_the_images_and_the_classes(width):
    with nn.init.skip():
        model = create("article1", 3, 7, width=width)
    shapes = [model[k].conv.weight.shape[:2] for k in range(12)]
    sizes = [3, *(max(1, round(c * width)) for c in CHANNELS), 7]
    assert shapes == [(sizes[k + 1], sizes[k]) for k in range(12)]
    for name in ("unet", "unet_paper"):
        with nn.init.skip():
            convs = [m for m in create(name, 3, 7, width=width).modules() if isinstance(m, nn.Conv2d)]
        assert convs[0].in_channels == 3 and convs[0].out_channels == max(1, round(64 * width)) and convs[-1].out_channels == 7


# --- twins in PyTorch -----------------------------------------------------------------------


def unet_twin(torch, c, bilinear, in_channels, num_classes):
    """The padded U-Net, written a second time."""
    tn = torch.nn

    class DoubleConv(tn.Module):
        def __init__(self, i, o, m=None):
            super().__init__()
            m = m or o
            layers = [tn.Conv2d(i, m, 3, padding=1, bias=False), tn.BatchNorm2d(m), tn.ReLU()]
            layers += [tn.Conv2d(m, o, 3, padding=1, bias=False), tn.BatchNorm2d(o), tn.ReLU()]
            self.double_conv = tn.Sequential(*layers)

        def forward(self, x):
            return self.double_conv(x)

    class Down(tn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.maxpool_conv = tn.Sequential(tn.MaxPool2d(2), DoubleConv(i, o))

    class Up(tn.Module):
        def __init__(self, i, o):
            super().__init__()
            if bilinear:
                self.up = tn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                self.conv = DoubleConv(i, o, i // 2)
            else:
                self.up = tn.ConvTranspose2d(i, i // 2, 2, stride=2)
                self.conv = DoubleConv(i, o)

        def forward(self, x, skip):
            x = self.up(x)
            dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = tn.functional.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            return self.conv(torch.cat([skip, x], 1))

    class Out(tn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.conv = tn.Conv2d(i, o, 1)

    class Twin(tn.Module):
        def __init__(self):
            super().__init__()
            half = 2 if bilinear else 1
            self.inc = DoubleConv(in_channels, c)
            self.down1, self.down2, self.down3 = Down(c, 2 * c), Down(2 * c, 4 * c), Down(4 * c, 8 * c)
            self.down4 = Down(8 * c, 16 * c // half)
            self.up1, self.up2 = Up(16 * c, 8 * c // half), Up(8 * c, 4 * c // half)
            self.up3, self.up4 = Up(4 * c, 2 * c // half), Up(2 * c, c)
            self.outc = Out(c, num_classes)

        def forward(self, x):
            skips = [self.inc(x)]
            for down in (self.down1, self.down2, self.down3, self.down4):
                skips.append(down.maxpool_conv(skips[-1]))
            x = skips.pop()
            for up in (self.up1, self.up2, self.up3, self.up4):
                x = up(x, skips.pop())
            return self.outc.conv(x)

    return Twin()


def paper_twin(torch, c, in_channels, num_classes):
    """The published U-Net as plain functions on the weights of ours, by name."""
    f = torch.nn.functional

    def pair(w, name, x):
        x = f.relu(f.conv2d(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"]))
        return f.relu(f.conv2d(x, w[f"{name}.2.weight"], w[f"{name}.2.bias"]))

    def forward(w, x):
        skips = [pair(w, "contract1", x)]
        for k in range(2, 6):
            skips.append(pair(w, f"contract{k}", f.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for k in range(4, 0, -1):
            x = f.conv_transpose2d(x, w[f"up{k}.weight"], w[f"up{k}.bias"], stride=2)
            skip = skips.pop()
            top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
            x = pair(w, f"expand{k}", torch.cat([skip[:, :, top : top + x.shape[2], left : left + x.shape[3]], x], 1))
        return f.conv2d(x, w["out.weight"], w["out.bias"])

    return forward


def assert_close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max())


@pytest.mark.parametrize("bilinear", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_the_padded_unet_equals_its_twin(bilinear, training):
    torch = pytest.importorskip("torch")
    ours, theirs = create("unet", 2, 3, width=4 / 64, bilinear=bilinear).double(), unet_twin(torch, 4, bilinear, 2, 3).double()
    rng = np.random.default_rng(0)
    for name, buffer in theirs.named_buffers():
        if "running" in name:
            buffer += torch.from_numpy(rng.uniform(0, 0.5, size=tuple(buffer.shape)))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    ours.train(training), theirs.train(training)

    x, g = rng.normal(size=(2, 2, 37, 42)), rng.normal(size=(2, 3, 37, 42))
    a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, t = ours(a), theirs(b)
    assert_close(y, t)
    y.backward(g)
    t.backward(torch.from_numpy(g))
    assert_close(a.grad, b.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p.grad, q.grad)
    for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert_close(p, q)

    theirs.load_state_dict({name: torch.from_numpy(value.numpy().copy()) for name, value in ours.state_dict().items()})


def test_the_published_unet_equals_its_twin():
    torch = pytest.importorskip("torch")
    ours = create("unet_paper", 1, 2, width=2 / 64, dropout=0).double()
    rng = np.random.default_rng(0)
    for name, parameter in ours.named_parameters():
        if name.endswith("bias"):
            parameter.data.copy_(0.1 * rng.normal(size=parameter.shape))
    weights = {name: torch.tensor(p.array, requires_grad=True) for name, p in ours.named_parameters()}
    x = rng.normal(size=(1, 1, 188, 204))
    y, t = ours(Tensor(x)), paper_twin(torch, 2, 1, 2)(weights, torch.from_numpy(x))
    assert_close(y, t)
    g = rng.normal(size=y.shape)
    y.backward(g)
    t.backward(torch.from_numpy(g))
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, weights[name].grad)


@pytest.mark.parametrize("size", [(6, 7), (7, 6), (8, 5)])
def test_an_up_block_is_the_adjoint_of_the_down_block_that_it_mirrors(size):
    """⟨conv(x), g⟩ = ⟨x, convᵀ(g)⟩ with TensorFlow's "same" padding, for even and odd sizes."""
    rng = np.random.default_rng(0)
    down = nn.Conv2d(2, 3, 3, 2, "same", bias=False).double()
    up = UpBlock(3, 2, plain=True).double()
    up.conv.weight.data.copy_(down.weight.array)
    nn.init.zeros_(up.conv.bias)
    x = Tensor(rng.normal(size=(1, 2, *size)))
    y = down(x)
    g = Tensor(rng.normal(size=y.shape))
    np.testing.assert_allclose((y.array * g.array).sum(), (x.array * up(g, size).array).sum(), rtol=1e-12)


def test_keras_settings_of_the_second_network():
    model = create("article2", 3, 4, width=1 / 16)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 11 and all(m.eps == 1e-3 and m.momentum == 0.01 for m in norms)


# --- initial values -------------------------------------------------------------------------


def test_the_published_unet_starts_with_he_normal():
    random.manual_seed(0)
    model = create("unet_paper", 1, 2, width=1 / 4)
    for name, inputs in (("contract3.2", 64 * 9), ("expand4.0", 256 * 9), ("up4", 256)):
        layer = model.get_submodule(name)
        assert abs(layer.weight.array.std() / (2 / inputs) ** 0.5 - 1) < 0.03, name
        assert not layer.bias.array.any()


@pytest.mark.parametrize("glorot", [True, False])
def test_the_second_network_starts_with_glorot_uniform(glorot):
    random.manual_seed(0)
    conv = create("article2", 3, 4, width=1 / 16, glorot=glorot).down[4].conv  # 32 → 64
    bound = (6 / (9 * (32 + 64))) ** 0.5 if glorot else (1 / (9 * 32)) ** 0.5
    assert 0.97 * bound < np.abs(conv.weight.array).max() <= bound
    assert conv.bias.array.any() != glorot


# --- by name --------------------------------------------------------------------------------


def test_every_model_is_listed_built_and_trained_a_step():
    models = list_models()
    assert {"unet", "unet_paper", "article1", "article2", "fcn8s", "segnet", "deconvnet", "dilated", "deeplabv3", "pspnet"} <= set(models)
    for name, line in models.items():
        assert len(line) > 20 and "\n" not in line
        model = create(name, 2, 3, width=1 / 64)
        size = getattr(model, "size_for", lambda rows: rows)(64)  # 64, or the larger size that a network without padding needs
        y = model(image(2, 2, size, size))
        assert y.shape[:2] == (2, 3) and min(y.shape[2:]) >= 64
        y.backward(np.ones(y.shape, np.float32))
        assert all(p.grad is not None and np.isfinite(p.grad.array).all() for p in model.parameters() if p.requires_grad), name


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("unett",), {}, ValueError, "no model 'unett': did you mean 'unet'"),
        (("transformer",), {}, ValueError, "no model 'transformer': There are article1"),
        (("unet", 0), {}, ValueError, "positive"),
        (("unet", 1, 0), {}, ValueError, "positive"),
        (("unet", 1, 2), {"width": 0}, ValueError, "positive"),
        (("unet", 1, 2), {"dilated": True}, TypeError, "dilated"),
    ],
)
def test_what_create_refuses(arguments, options, error, words):
    with pytest.raises(error, match=words):
        create(*arguments, **options)
