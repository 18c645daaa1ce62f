"""The cost model against counts by hand, and against the table of least bytes that the kernels are written to.

The figures on the right are worked out on paper, from the layer's description alone.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE

from minisegnet_kernels import cost, registry


def _no(*shape, dtype=np.float32):
    """An array that takes no memory."""
    return np.broadcast_to(dtype(0), shape)


def _options(stride=1, padding=0, groups=1):
    return {"stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2, "dilation": (1, 1), "groups": groups}


def test_three_layers_counted_by_hand():
    # A U-Net's convolution, 16 → 16, 3 × 3, on 8 images of 128²: 8 · 16 · 16384 = 2,097,152 outputs of 144 products.
    layer = cost.of("conv2d.forward", [_no(8, 16, 128, 128), _no(16, 16, 3, 3), _no(16)], **_options(padding=1))
    assert layer.operations == 2 * 301_989_888
    assert layer.bytes == 8_388_608 + 9_216 + 64 + 8_388_608
    assert layer.intensity == pytest.approx(35.98, abs=0.01)  # reference: 2.25 C for equal channels
    # 3 → 7 channels, 5 × 5, stride 2, padding 2, one image of 9 × 11 → 5 × 6: 210 outputs of 75 products.
    layer = cost.of("conv2d.forward", [_no(1, 3, 9, 11), _no(7, 3, 5, 5), _no(7)], **_options(stride=2, padding=2))
    assert layer == cost.Cost(2 * 210 * 75, 4 * (297 + 525 + 7 + 210))
    # A depthwise convolution: 32 channels, each 3 × 3 on 10²: 3200 outputs of 9 products.
    layer = cost.of("conv2d.forward", [_no(1, 32, 10, 10), _no(32, 1, 3, 3), _no(32)], **_options(padding=1, groups=32))
    assert layer == cost.Cost(2 * 3200 * 9, 4 * (3200 + 288 + 32 + 3200))


def test_each_gradient_of_a_convolution_takes_as_many_products_as_the_convolution():
    x, w, y = _no(2, 6, 15, 13), _no(8, 3, 3, 2), _no(2, 8, 7, 6)
    shared = _options(stride=2, groups=2)
    for equation, arrays, options in (
        ("conv2d.forward", (x, w, _no(8)), {}),
        ("conv2d.grad_input", (y, w), {"input_size": (15, 13)}),
        ("conv2d.grad_weight", (y, x), {"kernel_size": (3, 2)}),
    ):
        assert cost.of(equation, arrays, **shared, **options).operations == 2 * (2 * 8 * 7 * 6) * (3 * 3 * 2), equation
    assert cost.of("conv2d.grad_input", (y, w), **shared, input_size=(15, 13)).bytes == 4 * (672 + 144 + 2340)


def test_a_transposed_convolution_counts_each_input_times_its_window():
    # 32 → 16 channels, 2 × 2, stride 2, 8 images of 64²: 1,048,576 inputs, each in 16 · 4 products.
    layer = cost.of("conv2d.grad_input", [_no(8, 32, 64, 64), _no(32, 16, 2, 2)], **_options(stride=2), input_size=(128, 128))
    assert layer.operations == 2 * 67_108_864


def test_statistics_from_the_convolution_save_a_pass_over_its_output():
    # 16 → 16 channels, 3 × 3, on 2 images of 8²: 2048 outputs, whose mean takes 1 operation each and whose variance 3.
    arrays, y, channel = [_no(2, 16, 8, 8), _no(16, 16, 3, 3), _no(16)], _no(2, 16, 8, 8), _no(16)
    alone = cost.of("conv2d.forward", arrays, **_options(padding=1))
    both = cost.of("conv2d.forward_statistics", arrays, **_options(padding=1))
    assert (both.operations - alone.operations, both.bytes - alone.bytes) == (4 * 2048, 2 * 64)
    apart = alone + cost.of("batch_norm.forward_relu", [y, channel, channel], eps=1e-5)
    together = both + cost.of("batch_norm.inference_relu", [y, *[channel] * 4], eps=1e-5)
    # Apart, the normalisation writes its mean, variance and ρ; together, mean and variance are written and read again.
    assert apart.bytes - together.bytes == 4 * 2048 - (4 - 3) * 64


_IMAGE, _PLACES = _no(1, 4, 8, 8), _no(1, 4, 4, 4, dtype=np.uint8)
_POOL = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
_MAX = _POOL | {"dilation": (1, 1)}
_MEAN = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"}
_C = _no(1)  # one channel: 4 bytes
_SGD = {"momentum": 0.0, "nesterov": False, "first": False}


@pytest.mark.parametrize(
    ("equation", "arrays", "options", "bytes_each", "elements", "beside"),
    [
        ("batch_norm.forward", [_no(8, 1, 64, 64), _C, _C], {"eps": 1e-5}, 12, 32768, 4 * 5),
        ("batch_norm.grad_affine_relu", [_no(8, 1, 64, 64)] * 2 + [_C] * 4, {}, 8, 32768, 4 * 6),
        ("batch_norm.grad_input_relu", [_no(8, 1, 64, 64)] * 2 + [_C] * 6, {}, 12, 32768, 4 * 6),  # with the line above: 20
        ("cross_entropy.forward_and_grad", [_no(1, 21, 8, 8), _no(1, 8, 8, dtype=np.uint8), _no(21)], _MEAN, 8 * 21 + 1, 64, 4 * 22),
        ("label.argmax", [_no(1, 21, 8, 8), _no(21, dtype=np.uint8)], {}, 4 * 21 + 1, 64, 21),
        ("pool2d.max", [_IMAGE], _MAX | {"ceil_mode": False}, 21, 64, 0),
        ("pool2d.grad_max", [_no(1, 4, 4, 4), _PLACES], _MAX | {"input_size": (8, 8)}, 21, 64, 0),
        ("pool2d.average", [_IMAGE], _POOL | {"ceil_mode": False, "count_include_pad": True}, 20, 64, 0),
        ("resize.bilinear", [_no(1, 4, 4, 4)], {"output_size": (8, 8), "align_corners": False}, 20, 64, 0),
        ("resize.grad_bilinear", [_IMAGE], {"input_size": (4, 4), "align_corners": False}, 20, 64, 0),
        ("activation.relu", [_no(100)], {}, 8, 100, 0),
        ("optimiser.adam", [[_no(60), _no(40)]] * 4, {"decoupled": True}, 28, 100, 0),
        ("optimiser.sgd", [[_no(100)]] * 3, _SGD | {"momentum": 0.9}, 20, 100, 0),
        ("optimiser.sgd", [[_no(100)]] * 3, _SGD | {"momentum": 0.9, "first": True}, 16, 100, 0),  # v is written, not read
        ("optimiser.sgd", [[_no(100)]] * 3, _SGD, 12, 100, 0),
        ("optimiser.rmsprop", [[_no(100)]] * 5, {"centered": True, "momentum": 0.9}, 36, 100, 0),
        ("optimiser.rmsprop", [[_no(100)]] * 5, {"centered": True, "momentum": 0.0}, 28, 100, 0),
        ("optimiser.rmsprop", [[_no(100)]] * 5, {"centered": False, "momentum": 0.0}, 20, 100, 0),
    ],
)
def test_least_bytes(equation, arrays, options, bytes_each, elements, beside):
    """Bytes for each element, and the bytes of the vectors besides: one number per channel, per class, or one alone."""
    assert cost.of(equation, arrays, **options).bytes == bytes_each * elements + beside


def test_arithmetic_of_small_equations():
    options = _MAX | {"ceil_mode": False}
    assert cost.of("pool2d.max", [_IMAGE], **options).operations == 256
    assert (
        cost.of("pool2d.forward", [_IMAGE, _no(4, 2, 2), _no(4)], **{k: v for k, v in options.items() if k != "kernel_size"}).operations
        == 768
    )
    assert cost.of("label.prototypes", [_no(1, 3, 8, 8), _no(5, 3), _no(5, dtype=np.uint8)], default=None).operations == 3 * 5 * 192


@pytest.mark.parametrize(
    ("equation", "lists", "options", "each"),
    [
        ("sgd", 3, _SGD, 4),  # λθ, + g, η·, θ −
        ("sgd", 3, _SGD | {"momentum": 0.9}, 7),  # μv, (1 − τ)ĝ, +
        ("sgd", 3, _SGD | {"momentum": 0.9, "first": True}, 4),
        ("sgd", 3, _SGD | {"momentum": 0.9, "nesterov": True}, 9),  # μv, ĝ +
        ("adam", 4, {"decoupled": False}, 16),
        ("adam", 4, {"decoupled": True}, 15),
        ("rmsprop", 5, {"centered": False, "momentum": 0.0}, 11),
        ("rmsprop", 5, {"centered": True, "momentum": 0.9}, 19),
    ],
)
def test_arithmetic_of_an_optimiser_depends_on_its_options(equation, lists, options, each):
    assert cost.of(f"optimiser.{equation}", [[_no(60), _no(40)]] * lists, **options).operations == 100 * each


def test_costs_add_up_and_the_roof_is_the_lower_of_two():
    machine = cost.Roof(peak=100.0, bandwidth=10.0)
    assert machine.ridge == 10
    little, much = cost.Cost(200, 100), cost.Cost(20_000, 100)  # 2 and 200 FLOP/B
    assert (machine.bound(little), machine.attainable(little), machine.seconds(little)) == ("memory", 20, 10)
    assert (machine.bound(much), machine.attainable(much), machine.seconds(much)) == ("arithmetic", 100, 200)
    assert little + much == cost.Cost(20_200, 200)


def test_an_unknown_equation_is_refused():
    with pytest.raises(KeyError, match=r"no equation 'conv2d.forwards'; did you mean conv2d.forward"):
        cost.of("conv2d.forwards", [])


@pytest.mark.parametrize("operation", TABLE, ids=str)
@given(data=st.data())
def test_what_passes_memory_is_an_argument(operation, data):
    case, equation = data.draw(operation.cases), registry.get(operation.equation)
    passes = equation.passes(*case.arrays.values(), **case.options) if equation.passes else {}
    assert set(passes) <= set(equation.arguments)
    assert all(type(n) is int and n >= 0 for n in passes.values())
