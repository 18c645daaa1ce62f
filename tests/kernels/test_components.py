"""Connected components and distances, against definitions that look at every pair of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minisegnet_kernels.components import connected_components, distance_transform, nearest_objects

maps = arrays.arrays(
    np.int64, arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9), elements=st.sampled_from([0, 0, 0, 1, 2, 7])
)


def distances_by_definition(instances, count):
    """The smallest distance to each object, over all pairs of pixels; then the `count` smallest of these."""
    places = np.stack(np.meshgrid(*map(np.arange, instances.shape), indexing="ij"), -1).reshape(-1, 2)
    pairs = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    to_each = [pairs[:, instances.ravel() == k].min(1) for k in np.unique(instances[instances != 0])]
    to_each += [np.full(len(places), np.inf)] * count
    return np.sort(to_each, axis=0)[:count].reshape(count, *instances.shape)


@given(maps)
def test_distances_to_the_two_nearest_objects(instances):
    for count in (1, 2):
        expected = np.stack([distances_by_definition(image, count) for image in instances], axis=1)
        np.testing.assert_array_equal(nearest_objects(instances, count), expected)


@given(maps)
def test_distance_transform_is_the_distance_to_the_outside(mask):
    expected = [distances_by_definition((image == 0).astype(int), 1)[0] for image in mask]
    np.testing.assert_array_equal(distance_transform(mask), expected)
    np.testing.assert_array_equal(distance_transform(mask[0] != 0), expected[0])


def test_distance_transform_of_a_large_mask_equals_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.random.default_rng(0).random((70, 131)) > 0.01
    np.testing.assert_allclose(distance_transform(mask), ndimage.distance_transform_edt(mask), rtol=1e-15)


def flooded(labels, corners):
    """Regions by flooding from each pixel in turn."""
    found = np.zeros(labels.shape, np.int64)
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)] + [(-1, -1), (-1, 1), (1, -1), (1, 1)] * corners
    for start in zip(*np.nonzero(labels), strict=True):
        if not found[start]:
            number, shore = found.max() + 1, [start]
            while shore:
                i, j = shore.pop()
                if 0 <= i < labels.shape[0] and 0 <= j < labels.shape[1] and labels[i, j] == labels[start] and not found[i, j]:
                    found[i, j] = number
                    shore += [(i + di, j + dj) for di, dj in steps]
    return found


@pytest.mark.parametrize("connectivity", [4, 8])
@given(labels=maps)
def test_components_are_what_a_flood_reaches(connectivity, labels):
    expected = np.stack([flooded(image, connectivity == 8) for image in labels])
    np.testing.assert_array_equal(connected_components(labels, connectivity), expected)
    np.testing.assert_array_equal(connected_components(labels[0].astype(np.uint8), connectivity), expected[0])


def test_a_spiral_is_one_region_and_corners_part_or_join():
    spiral = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    assert connected_components(spiral).max() == 1
    assert connected_components(np.eye(4, dtype=int)).max() == 4
    assert connected_components(np.eye(4, dtype=int), 8).max() == 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="connectivity is 4 or 8, not 6"):
        connected_components(np.zeros((2, 2), int), 6)
    with pytest.raises(ValueError, match=r"integers .* got float64 \(2, 2\)"):
        nearest_objects(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="count is 1 or 2"):
        nearest_objects(np.zeros((2, 2), int), 3)
