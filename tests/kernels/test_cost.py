"""The cost model against counts by hand, and against the table of least bytes that the kernels are written to.

The figures on the right are worked out on paper, from the layer's description alone.
"""

import numpy as np
import pytest

from minisegnet_kernels import backends, conv2d, cost, registry


def _no(*shape, dtype=np.float32):
    """An array without memory."""
    return np.broadcast_to(dtype(0), shape)


def test_three_layers_counted_by_hand():
    # A U-Net's convolution, 16 → 16, 3 × 3, on 8 images of 128²: 8 · 16 · 16384 = 2,097,152 outputs of 144 products.
    layer = cost.of("conv2d.forward", [_no(8, 16, 128, 128), _no(16, 16, 3, 3), _no(16)], _no(8, 16, 128, 128))
    assert layer.operations == 2 * 301_989_888
    assert layer.bytes == 8_388_608 + 9_216 + 64 + 8_388_608
    assert layer.intensity == pytest.approx(35.98, abs=0.01)  # reference: 2.25 C for equal channels
    # 3 → 7 channels, 5 × 5, stride 2, padding 2, one image of 9 × 11 → 5 × 6: 210 outputs of 75 products.
    layer = cost.of("conv2d.forward", [_no(1, 3, 9, 11), _no(7, 3, 5, 5), _no(7)], _no(1, 7, 5, 6), stride=(2, 2))
    assert layer == cost.Cost(2 * 210 * 75, 4 * (297 + 525 + 7 + 210))
    # A depthwise convolution: 32 channels, each 3 × 3 on 10²: 3200 outputs of 9 products.
    layer = cost.of("conv2d.forward", [_no(1, 32, 10, 10), _no(32, 1, 3, 3), _no(32)], _no(1, 32, 10, 10), groups=32)
    assert layer == cost.Cost(2 * 3200 * 9, 4 * (3200 + 288 + 32 + 3200))


def test_the_gradients_of_a_convolution_take_as_many_products_as_itself():
    x, w, y = _no(2, 6, 15, 13), _no(8, 3, 3, 2), _no(2, 8, 7, 6)
    for equation, arrays, result in (
        ("conv2d.forward", (x, w, _no(8)), y),
        ("conv2d.grad_input", (y, w), x),
        ("conv2d.grad_weight", (y, x), w),
    ):
        assert cost.of(equation, arrays, result).operations == 2 * (2 * 8 * 7 * 6) * (3 * 3 * 2), equation
    assert cost.of("conv2d.grad_input", (y, w), x).bytes == 4 * (672 + 144 + 2340)


def test_a_transposed_convolution_counts_each_input_times_its_window():
    # 32 → 16 channels, 2 × 2, stride 2, 8 images of 64²: 1,048,576 inputs, each in 16 · 4 products.
    layer = cost.of("conv2d.grad_input", [_no(8, 32, 64, 64), _no(32, 16, 2, 2)], _no(8, 16, 128, 128))
    assert layer.operations == 2 * 67_108_864


def test_statistics_from_the_convolution_save_a_pass_over_its_output():
    # 16 → 16 channels, 3 × 3, on 2 images of 8²: 2048 outputs, whose mean takes 1 operation each and whose variance 3.
    arrays, y, channel = [_no(2, 16, 8, 8), _no(16, 16, 3, 3), _no(16)], _no(2, 16, 8, 8), _no(16)
    alone = cost.of("conv2d.forward", arrays, y)
    both = cost.of("conv2d.forward_statistics", arrays, (y, channel, channel))
    assert (both.operations - alone.operations, both.bytes - alone.bytes) == (4 * 2048, 2 * 64)
    apart = alone + cost.of("batch_norm.forward_relu", [y, channel, channel], (y, channel, channel))
    together = both + cost.of("batch_norm.inference_relu", [y, *[channel] * 4], y)
    assert apart.bytes - together.bytes == 4 * 2048 - 2 * 64  # less the statistics, which are written and read


@pytest.mark.parametrize(
    ("equation", "arrays", "result", "options", "bytes_each", "elements"),
    [
        ("batch_norm.forward", [_no(8, 1, 64, 64)], (_no(8, 1, 64, 64),), {}, 12, 32768),
        ("batch_norm.grad_affine_relu", [_no(8, 1, 64, 64)] * 2, (), {}, 8, 32768),
        ("batch_norm.grad_input_relu", [_no(8, 1, 64, 64)] * 2, _no(8, 1, 64, 64), {}, 12, 32768),  # with the line above: 20
        ("cross_entropy.forward_and_grad", [_no(1, 21, 8, 8), _no(1, 8, 8, dtype=np.uint8)], (_no(1, 21, 8, 8),), {}, 8 * 21 + 1, 64),
        ("label.argmax", [_no(1, 21, 8, 8)], _no(1, 8, 8, dtype=np.uint8), {}, 4 * 21 + 1, 64),
        ("pool2d.max", [_no(1, 4, 8, 8)], (_no(1, 4, 4, 4), _no(1, 4, 4, 4, dtype=np.uint8)), {"kernel_size": (2, 2)}, 21, 64),
        ("pool2d.grad_max", [_no(1, 4, 4, 4), _no(1, 4, 4, 4, dtype=np.uint8)], _no(1, 4, 8, 8), {}, 21, 64),
        ("pool2d.average", [_no(1, 4, 8, 8)], _no(1, 4, 4, 4), {"kernel_size": (2, 2)}, 20, 64),
        ("resize.bilinear", [_no(1, 4, 4, 4)], _no(1, 4, 8, 8), {}, 20, 64),
        ("resize.grad_bilinear", [_no(1, 4, 8, 8)], _no(1, 4, 4, 4), {}, 20, 64),
        ("activation.relu", [_no(100)], _no(100), {}, 8, 100),
        ("optimiser.adam", [[_no(60), _no(40)]] * 4, None, {}, 28, 100),
        ("optimiser.sgd", [_no(100)] * 3, None, {}, 20, 100),
    ],
)
def test_least_bytes(equation, arrays, result, options, bytes_each, elements):
    assert cost.of(equation, arrays, result, **options).bytes == bytes_each * elements


def test_arithmetic_of_small_equations():
    assert cost.of("pool2d.max", [_no(1, 4, 8, 8)], (_no(1, 4, 4, 4), _no(1, 4, 4, 4)), kernel_size=(2, 2)).operations == 256
    assert cost.of("pool2d.forward", [_no(1, 4, 8, 8), _no(4, 2, 2), _no(4)], (_no(1, 4, 4, 4),) * 2).operations == 3 * 256
    assert cost.of("label.prototypes", [_no(1, 3, 8, 8), _no(5, 3)], _no(1, 8, 8)).operations == 3 * 5 * 192


def test_costs_add_up_and_the_roof_is_the_lower_of_two():
    machine = cost.Roof(peak=100.0, bandwidth=10.0)
    assert machine.ridge == 10
    little, much = cost.Cost(200, 100), cost.Cost(20_000, 100)  # 2 and 200 FLOP/B
    assert (machine.bound(little), machine.attainable(little), machine.seconds(little)) == ("memory", 20, 10)
    assert (machine.bound(much), machine.attainable(much), machine.seconds(much)) == ("arithmetic", 100, 200)
    assert little + much == cost.Cost(20_200, 200)


def test_every_equation_has_a_cost_and_an_unknown_one_is_refused():
    assert {e.id for e in registry.equations()} == set(cost._OPERATIONS)
    with pytest.raises(ValueError, match=r"no cost is known of 'conv2d.forwards'"):
        cost.of("conv2d.forwards", [], None)


def test_it_reads_what_a_program_really_returns():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    with backends.use("numpy"):
        y = conv2d.forward(x, w, b, stride=2)
    assert cost.of("conv2d.forward", [x, w, b], y).bytes == 8 * (252 + 108 + 4 + 2 * 4 * 3 * 2)
