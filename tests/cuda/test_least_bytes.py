"""Kernels that are limited by memory move exactly the bytes that the cost model counts, in either layout."""

import numpy as np
import pytest

from minisegnet_kernels import backends, cost, cross_entropy, emulator, label, pool2d, resize
from minisegnet_kernels.layout import channels_last

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")

RNG = np.random.default_rng(0)
IMAGE, HALF = (RNG.normal(size=(2, 8, *size)).astype("float32") for size in ((12, 16), (6, 8)))
WINNER = RNG.integers(0, 4, HALF.shape).astype("uint8")
LABELS, WEIGHT, BIAS = np.arange(8, dtype="uint8"), np.ones((8, 2, 2), "float32"), np.ones(8, "float32")
# Equation, arrays, options, bytes in float32 for each element of the smaller image.
ROWS = [
    (pool2d.max, [IMAGE], {"kernel_size": (2, 2)}, 4 * 4 + 4 + 1),
    (pool2d.grad_max, [HALF, WINNER], {"kernel_size": (2, 2), "input_size": (12, 16)}, 4 + 1 + 4 * 4),
    (pool2d.forward, [IMAGE, WEIGHT, BIAS], {}, 4 * 4 + 4 + 1),
    (pool2d.grad_input, [HALF, WINNER, WEIGHT], {"input_size": (12, 16)}, 4 + 1 + 4 * 4),
    (pool2d.average, [IMAGE], {"kernel_size": (2, 2)}, 4 * 4 + 4),
    (pool2d.grad_average, [HALF], {"kernel_size": (2, 2), "input_size": (12, 16)}, 4 + 4 * 4),
    (resize.bilinear, [HALF], {"output_size": (12, 16)}, 4 + 4 * 4),
    (resize.grad_bilinear, [IMAGE], {"input_size": (6, 8)}, 4 * 4 + 4),
    (label.argmax, [HALF, LABELS], {}, 4 + 1 / 8),  # a byte a point, which has 8 scores
]


def laid(arrays, layout):
    return [layout(a) if a.ndim == 4 else a for a in arrays]


def watched(function, arrays, options):
    """The results, the counters of each launch, and the least bytes of the equation that ran."""
    least = []

    def priced(equation, program, *arrays, **options):
        least.append(cost.of(equation, arrays, **options).bytes)
        return program(*arrays, **options)

    with backends.use("cuda"), backends.calling(priced), emulator.options(watched=True), emulator.launches() as seen:
        results = function(*arrays, **options)
    return results, [launch.counters for launch in seen], least[0]


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last], ids=["rows first", "channels last"])
@pytest.mark.parametrize(
    ("function", "arrays", "options", "each"), ROWS, ids=[f"{row[0].__module__[19:]}.{row[0].__name__}" for row in ROWS]
)
def test_no_byte_beyond_the_least(function, arrays, options, each, layout):
    _, (seen,), least = watched(function, laid(arrays, layout), options)
    parameters = sum(a.nbytes for a in arrays if a.ndim < 4)
    assert seen["distinct_bytes"] == each * HALF.size + parameters
    assert seen["distinct_bytes"] == least


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last], ids=["rows first", "channels last"])
def test_max_pooling_requests_no_byte_twice(layout):
    """In the backward pass each g is read once, by the cell that won, and each winner by the four cells of its window."""
    options = {"kernel_size": (2, 2)}
    (_, winner), (forward,), _ = watched(pool2d.max, [layout(IMAGE)], options)
    _, (back,), _ = watched(pool2d.grad_max, [layout(HALF), winner], options | {"input_size": (12, 16)})
    assert forward["global_bytes"] == 21 * HALF.size
    assert back["global_bytes"] == (21 + 3) * HALF.size
    if layout is channels_last:  # rows first, the two columns of a window are read one after the other
        assert forward["sectors"] == forward["least_sectors"]
        assert winner.strides[1] == 1


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_reads_scores_once_and_labels_as_they_are(reduction, dtype):
    """Loss and gradient move 8 K bytes per pixel, and its label; twice for the mean, which first needs the sum of the weights."""
    t = RNG.integers(0, 8, (2, 12, 16)).astype(dtype)
    (loss, gradient), seen, _ = watched(cross_entropy.forward_and_grad, [IMAGE, t], {"reduction": reduction})
    weights, number, slabs = 4 * 8, 4, 8 * 2 * 2  # of the classes; one float32; losses and weights of two blocks
    sweep = IMAGE.nbytes + t.nbytes + weights + number + gradient.nbytes
    expected = {
        "mean": [t.nbytes + weights + slabs, slabs / 2 + 2 * number, sweep + slabs, slabs + number],
        "sum": [sweep + slabs, slabs + number],
        "none": [sweep + loss.nbytes],
    }
    assert [launch["distinct_bytes"] for launch in seen] == expected[reduction]


def test_cross_entropy_copies_other_labels_to_int64():
    t = RNG.integers(0, 8, (2, 12, 16)).astype("int16")
    with backends.use("cuda"), emulator.launches() as seen:
        cross_entropy.forward(IMAGE, t, reduction="none")
    assert [launch.kernel for launch in seen] == ["cross_entropy_forward<float, long long, true>"]
