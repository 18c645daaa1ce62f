"""Gradients that add up several values for one element, on CuPy's arrays: in a fixed order, with NumPy's values."""

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet.tensor import Tensor
from minisegnet_kernels.arrays import scatter

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("combine", [np.add, np.maximum], ids=["add", "maximum"])
def test_values_with_one_index_are_combined(gpu, combine):
    import cupy

    into, index, values = RNG.normal(size=(5, 2)), np.array([3, 0, 3, 3, 1, 0, 3]), RNG.normal(size=(7, 2))
    on_gpu = [cupy.asarray(a) for a in (into, index, values)]
    scatter(combine, *on_gpu)
    scatter(combine, into, index, values)
    np.testing.assert_allclose(on_gpu[0].get(), into, rtol=1e-15)
    np.testing.assert_array_equal(on_gpu[1].get(), index)
    np.testing.assert_array_equal(on_gpu[2].get(), values)


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x[:, [0, 2, 0, 0]],
        lambda x: x[x.detach().array > 0],
        lambda x: F.pad(x, (2, 1, 1, 3), mode="reflect"),
        lambda x: F.interpolate(x, scale_factor=1.7),
    ],
    ids=["index", "mask", "pad", "resize"],
)
def test_an_element_that_is_taken_several_times_gets_all_gradients(gpu, take):
    import cupy

    image = RNG.normal(size=(1, 3, 4, 4))
    found = []
    for array in (image, cupy.asarray(image)):
        x = Tensor(array, requires_grad=True)
        y = take(x)
        g = np.random.default_rng(1).normal(size=y.shape)
        y.backward(cupy.asarray(g) if array is not image else g)
        found.append(x.grad.cpu().array)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-14)
    assert np.any(found[0])
