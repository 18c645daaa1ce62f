"""Summaries of networks compared with numbers added up by hand; receptive fields by geometry and by gradient."""

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet import nn, random
from minisegnet.models import create, list_models, measured_receptive_field, receptive_field, summary
from minisegnet.models.receptive import Range, extent
from minisegnet.trace import dry_run


@pytest.fixture(autouse=True)
def seed():
    random.manual_seed(0)


class Small(nn.Module):
    """A 3×3 convolution with stride 2, a pool, upsampling and a sum. All numbers below are worked out by hand."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2, bias=False)
        self.score = nn.Conv2d(4, 5, 1, groups=1)
        self.up.requires_grad_(False)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return self.score(x + self.up(self.pool(x)))


def test_a_summary_added_up_by_hand():
    told = summary(Small(), (2, 3, 16, 24))
    rows = [(s.name, s.kind, s.shape, s.parameters, s.frozen, s.operations, s.multiply_adds, s.bytes) for s in told.steps]
    assert rows == [
        ("conv", "Conv2d", (2, 4, 8, 12), 3 * 4 * 9 + 4, 0, 2 * 2 * 4 * 8 * 12 * 27, 2 * 4 * 8 * 12 * 27, 2 * 4 * 8 * 12 * 4),
        ("norm", "BatchNorm2d", (2, 4, 8, 12), 8, 0, 2 * 2 * 4 * 8 * 12, 0, 2 * 4 * 8 * 12 * 4),
        ("pool", "MaxPool2d", (2, 4, 4, 6), 0, 0, 4 * 2 * 4 * 4 * 6, 0, 2 * 4 * 4 * 6 * 4),
        ("up", "ConvTranspose2d", (2, 4, 8, 12), 0, 4 * 4 * 4, 2 * 2 * 4 * 4 * 6 * 16, 2 * 4 * 4 * 6 * 16, 2 * 4 * 8 * 12 * 4),
        ("(add)", "add", (2, 4, 8, 12), 0, 0, 0, 0, 2 * 4 * 8 * 12 * 4),
        ("score", "Conv2d", (2, 5, 8, 12), 25, 0, 2 * 2 * 5 * 8 * 12 * 4, 2 * 5 * 8 * 12 * 4, 2 * 5 * 8 * 12 * 4),
    ]
    # after the convolution 3; after the pool 3 + 2 (one step of 2 further); after the sum as after the pool
    assert [s.receptive_field for s in told.steps] == [(3, 3), (3, 3), (5, 5), (5, 5), (5, 5), (5, 5)]
    assert (told.parameters, told.frozen, told.output_shape) == (112 + 8 + 25, 64, (2, 5, 8, 12))
    assert [told.operations, told.multiply_adds, told.bytes] == [sum(row[k] for row in rows) for k in (5, 6, 7)]
    text = str(told)
    assert "Small, 2 × 3 × 16 × 24 → 2 × 5 × 8 × 12" in text and "145 parameters and 64 frozen" in text and "(64)" in text


def test_a_layer_that_is_used_twice_counts_its_parameters_once():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    told = summary(nn.Sequential({"a": layer, "relu": nn.ReLU(), "b": layer}), (1, 2, 8, 8))
    assert [s.parameters for s in told.steps] == [38, 0, 0] and told.parameters == 38
    assert [s.receptive_field for s in told.steps] == [(3, 3), (3, 3), (5, 5)]


def test_figures_of_the_articles_first_network():
    """3.30 · 10¹² multiplications and 1.47 GiB for the outputs of its blocks, at 256² and 21 classes."""
    with nn.init.skip():
        told = summary(create("article1", 3, 21), (1, 3, 256, 256))
    assert round(told.multiply_adds / 1e12, 2) == 3.30
    blocks = [s.bytes for s in told.steps if s.kind == "ReLU"] + [told.steps[-1].bytes]
    assert round(sum(blocks) / 2**30, 2) == 1.47
    assert told.steps[-1].receptive_field == (23, 23)


def test_the_largest_network_needs_no_weights():
    with nn.init.skip():
        told = summary(create("deconvnet", 3, 21), (1, 3, 224, 224))
    assert told.parameters == 251_805_653
    assert next(s for s in told.steps if s.name == "fc6.0").multiply_adds == 512 * 49 * 4096


def test_the_model_is_left_as_it_was():
    model = create("segnet_basic", 3, 2, width=1 / 64)
    summary(model, (1, 3, 16, 16))
    assert model.training and not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"C = 3 input channels(.|\n)*In: .*conv1_1"):
        summary(create("segnet", 3, 2, width=1 / 64), (1, 1, 32, 32))


# --- receptive fields -------------------------------------------------------------------------

HAND = [
    # layers, input rows, pixel, first and last row that it sees, by hand
    ([nn.Conv2d(1, 1, 3, dilation=2)], 20, 5, (5, 9)),
    ([nn.Conv2d(1, 1, 3, padding=1)], 20, 0, (0, 1)),
    ([nn.Conv2d(1, 1, 3, stride=2, padding="same")], 20, 4, (8, 10)),  # TensorFlow's: nothing above, one below
    ([nn.MaxPool2d(3, 2, 1), nn.Conv2d(1, 1, 3)], 20, 2, (3, 9)),
    ([nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1)], 20, 7, (3, 4)),
    ([nn.AvgPool2d(2), nn.Upsample(scale_factor=2)], 20, 7, (6, 7)),
    ([nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")], 20, 7, (6, 9)),
    ([nn.AdaptiveAvgPool2d(3)], 20, 1, (6, 13)),
    ([nn.ZeroPad2d(2)], 20, 7, (5, 5)),
    ([nn.ReflectionPad2d(3)], 20, 1, (2, 2)),
]


@pytest.mark.parametrize(("layers", "rows", "pixel", "expected"), HAND, ids=lambda value: str(value)[:40])
def test_fields_worked_out_by_hand(layers, rows, pixel, expected):
    field = receptive_field(nn.Sequential(*layers), (1, 1, rows, rows), (pixel, pixel))
    assert field == (expected, expected) and field.size == (expected[1] - expected[0] + 1,) * 2


class Functions(nn.Module):
    """Windows without layers: the weight is a parameter of the network itself."""

    def __init__(self):
        self.weight = nn.Parameter(np.ones((1, 1, 3, 3), np.float32))

    def forward(self, x):
        x = F.conv2d(x, self.weight, padding=2, dilation=2)  # as many rows as before: the sizes alone say nothing
        return F.conv_transpose2d(F.max_pool2d(x, 2), self.weight, stride=2)


def test_functions_that_no_layer_calls_have_their_windows():
    """Row 9 of the last map reads row 4 of the pooled one, which reads rows 8 and 9 and those two rows around each."""
    assert receptive_field(Functions(), (1, 1, 20, 20), (9, 9)) == ((6, 11), (6, 11))
    applied = dry_run(Functions(), (1, 1, 20, 20)).calls[0].applications
    assert [(of.equation, of.shapes[1], of.options["dilation"]) for of in applied] == [("conv2d.forward", (1, 1, 3, 3), (2, 2))]


SIZES = {"unet_paper": (188, 204), "deconvnet": (193, 200)}


@pytest.mark.parametrize("name", sorted(list_models()))
def test_rules_and_gradients_agree(name):
    """With positive weights no contributions cancel and no ReLU is 0, so every pixel in the receptive field has a gradient."""
    options = {"backbone": "resnet18"} if name in ("deeplabv2", "deeplabv3", "fcn_resnet", "pspnet") else {}
    if name == "deeplabv2":
        options = {"backbone": "resnet50"}
    model = create(name, 1, 2, width=1 / 64, **options).double()
    for parameter in model.parameters():
        parameter.array[...] = np.abs(parameter.array) + 0.01
    shape = (1, 1, *SIZES.get(name, (80, 72)))
    probe = summary(model, shape).output_shape
    for pixel in ((probe[2] // 2, probe[3] // 2), (1, probe[3] - 2)):
        heat = measured_receptive_field(model, shape, pixel, images=3)
        assert extent(heat) == receptive_field(model, shape, pixel)


def test_weak_influences_at_the_edge_of_the_field():
    """The gradient falls off towards the border of the receptive field (Luo et al. 2016)."""
    random.manual_seed(1)
    heat = measured_receptive_field(create("article1", 1, 2, width=1 / 32).double(), (2, 1, 31, 31), images=4)
    centre, border = heat[13:18, 13:18].mean(), np.concatenate([heat[4, 4:27], heat[26, 4:27]]).mean()
    assert centre > 10 * border > 0
    assert extent(heat) == (Range(4, 26), Range(4, 26))


def test_a_constant_output_is_refused():
    model = nn.Conv2d(1, 1, 3)
    nn.init.zeros_(model.weight)
    with pytest.raises(ValueError, match="no pixel has an influence"):
        extent(measured_receptive_field(model, (1, 1, 8, 8)))
