"""Datasets: the embedded field, arrays, subsets, synthetic scenes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet import data

seeds = st.integers(0, 2**32 - 1)


def assert_is_dataset(dataset):
    assert isinstance(dataset, data.Dataset)
    assert len(dataset.names) == len(dataset)
    assert dataset.palette.shape == (len(dataset.classes), 3) and dataset.palette.dtype == np.uint8
    for k in range(min(len(dataset), 5)):
        image, mask = dataset[k]
        assert image.dtype == np.float32 and mask.dtype == np.int64
        assert image.shape == (dataset.in_channels, *mask.shape)
        assert image.flags.c_contiguous and mask.flags.c_contiguous
        assert set(np.unique(mask)) <= {*range(len(dataset.classes)), dataset.ignore_index}


# --- standardise ------------------------------------------------------------------------


@given(seeds, st.floats(0.01, 1000), st.floats(-100, 100), st.sampled_from([(1, 5, 7), (3, 8, 8), (6, 9)]))
def test_standardised_images_have_mean_0_and_deviation_1_and_forget_gain_and_offset(seed, gain, offset, shape):
    image = np.random.default_rng(seed).normal(size=shape)
    result = data.standardise(image)
    assert result.dtype == np.float32
    assert abs(result.mean(dtype=np.float64)) < 1e-5 and abs(result.std(dtype=np.float64) - 1) < 1e-5
    np.testing.assert_allclose(result, (image - image.mean()) / image.std(), atol=1e-4)
    np.testing.assert_allclose(data.standardise(image * gain + offset), result, atol=1e-3)


def test_a_large_offset_does_not_swallow_the_picture():
    image = np.random.default_rng(0).normal(size=(1, 8, 8))
    np.testing.assert_allclose(data.standardise(image + 1e9), data.standardise(image), atol=1e-5)
    wide = np.array([[2**30, 2**30 + 1]], np.int32)
    np.testing.assert_array_equal(data.standardise(wide), [[-1, 1]])


@pytest.mark.parametrize("value", [0, 7, 0.1, -3.3e5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_constant_image_becomes_zeros(value, dtype):
    image = np.full((3, 17, 19), value).astype(dtype)
    np.testing.assert_array_equal(data.standardise(image), np.zeros(image.shape))


def test_standardise_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match="infinity"):
        data.standardise(np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="nothing but NaN"):
        data.standardise(np.array([np.nan, np.nan]))
    with pytest.raises(ValueError, match="empty"):
        data.standardise(np.zeros((1, 0, 4)))


# --- the embedded field -----------------------------------------------------------------


def test_the_field_is_whole():
    image, instances = data.nuclei_field()
    assert image.shape == instances.shape == (512, 512)
    assert (image.min(), image.max()) == (0, 235)
    assert len(np.unique(instances)) - 1 == 125


@pytest.mark.parametrize("boundary", [False, True])
def test_train_and_test_are_the_left_and_the_right_of_the_field(boundary):
    parts = {split: data.nuclei(split, boundary=boundary, standardise=False) for split in ("train", "test", "all")}
    for part in parts.values():
        assert_is_dataset(part)
    assert parts["train"][0][0].shape == (1, 512, 384) and parts["test"][0][0].shape == (1, 512, 128)
    for which in (0, 1):
        np.testing.assert_array_equal(np.concatenate([parts["train"][0][which], parts["test"][0][which]], axis=-1), parts["all"][0][which])
    image, instances = data.nuclei_field()
    np.testing.assert_array_equal(parts["all"][0][0][0] * 255, image)
    np.testing.assert_array_equal(parts["all"][0][1] > 0, instances > 0)


def test_each_part_of_the_field_is_standardised_by_itself():
    for split in ("train", "test"):
        np.testing.assert_array_equal(data.nuclei(split)[0][0], data.standardise(data.nuclei(split, standardise=False)[0][0]))


def test_an_unknown_part_is_an_error():
    with pytest.raises(ValueError, match="'train', 'test', 'all', not 'validation'"):
        data.nuclei("validation")


def test_the_boundary_is_where_an_object_meets_something_else():
    rng = np.random.default_rng(0)
    instances = np.kron(rng.integers(0, 4, (5, 6)), np.ones((4, 4), int))
    height, width = instances.shape
    expected = np.zeros(instances.shape, int)
    for i in range(height):
        for j in range(width):
            near = instances[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            if instances[i, j]:
                expected[i, j] = 1 + (near != instances[i, j]).any()
    np.testing.assert_array_equal(data.semantic(instances, boundary=True), expected)
    np.testing.assert_array_equal(data.semantic(instances), instances > 0)


# --- arrays, subsets, splits ------------------------------------------------------------


def test_arrays_are_a_dataset_and_cannot_be_changed_through_their_items():
    arrays = data.Arrays([np.ones((4, 5))] * 2, [np.zeros((4, 5), np.uint8)] * 2, ["a", "b"], standardise=False)
    assert_is_dataset(arrays)
    arrays[0][0][:] = 9
    arrays[0][1][:] = 1
    assert arrays[0][0].max() == 1 and arrays[0][1].max() == 0


def test_arrays_name_the_item_that_does_not_fit():
    good = np.zeros((3, 4, 5)), np.zeros((4, 5), int)
    with pytest.raises(data.DataError, match=r"second.*label 2, 7 is out of range.*0 to 1.*255"):
        data.Arrays(
            [good[0]] * 2, [good[1], np.array([[0, 2], [7, 255]]).repeat(2, 0)[:, [0, 0, 0, 1, 1]]], "ab", names=["first", "second"]
        )
    with pytest.raises(data.DataError, match=r"item 0: .*\(4, 5\)"):
        data.Arrays([np.zeros((3, 9, 9))], [good[1]], "ab")
    with pytest.raises(data.DataError, match="2 images and 1 masks"):
        data.Arrays([good[0]] * 2, [good[1]], "ab")
    with pytest.raises(data.DataError, match="same number of channels"):
        data.Arrays([good[0], good[0][:1]], [good[1]] * 2, "ab")
    with pytest.raises(data.DataError, match="integer labels"):
        data.Arrays([good[0]], [good[1].astype(float)], "ab")


@given(st.integers(2, 40), st.floats(0.01, 0.99), seeds)
def test_a_split_is_disjoint_complete_and_repeatable(length, fraction, seed):
    shapes = data.Shapes(length, size=8)
    train, held = data.split(shapes, fraction, seed)
    assert sorted(train.indices + held.indices) == list(range(length))
    assert train.indices and held.indices
    assert abs(len(held) - length * fraction) <= 1
    assert data.split(shapes, fraction, seed)[0].indices == train.indices


def test_a_subset_has_the_attributes_and_the_items_of_the_whole():
    whole = data.Shapes(9, size=16, classes=3, in_channels=1)
    part = data.Subset(whole, [7, 2])
    assert_is_dataset(part)
    assert part.names == ["scene 7", "scene 2"] and part.classes == whole.classes
    for mine, theirs in zip(part[0], whole[7], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(IndexError, match="no item 9 in a dataset of 9"):
        data.Subset(whole, [9])


def test_a_split_of_one_item_or_by_a_wrong_share_is_an_error():
    with pytest.raises(data.DataError, match="cannot be split"):
        data.split(data.nuclei(), 0.5)
    with pytest.raises(ValueError, match="between 0 and 1, not 5"):
        data.split(data.Shapes(10), 5)


# --- synthetic scenes -------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "in_channels", "size"), [(2, 1, 32), (4, 3, (24, 40)), (8, 3, 64)])
def test_scenes_are_a_dataset(classes, in_channels, size):
    scenes = data.Shapes(1000, size, classes, in_channels=in_channels)
    assert_is_dataset(scenes)
    assert len(list(data.Shapes(3, size=8))) == 3
    seen = np.unique([scenes[k][1] for k in range(40)])
    assert seen.tolist() == list(range(classes))


def test_names_of_scenes_are_a_sequence():
    names = data.Shapes(5).names
    assert len(names) == 5 and names[1] == "scene 1" and names[-1] == "scene 4"
    assert names[3:9] == ["scene 3", "scene 4"] == list(names)[3:]
    with pytest.raises(IndexError):
        names[5]


def test_a_scene_depends_on_its_seed_and_number_only():
    short, long = data.Shapes(5, 32, seed=3), data.Shapes(10**6, 32, seed=3)
    long[999_999]
    for mine, theirs in zip(short[4], long[4], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (data.Shapes(5, 32, seed=4)[4][1] != short[4][1]).any()
    assert (short[3][1] != short[4][1]).any()


def test_forms_have_the_areas_that_geometry_gives():
    """The area of each shape, counted on a fine grid, equals the formula for the shape of that name."""
    from minisegnet.data.scenes import _FORMS

    u, v = np.meshgrid(*[np.linspace(-1.2, 1.2, 1200)] * 2)
    cell = (2.4 / 1199) ** 2
    lens = 1.0 * np.arccos((0.25 + 1 - 0.64) / (2 * 0.5)) + 0.64 * np.arccos((0.25 + 0.64 - 1) / (2 * 0.5 * 0.8))
    lens -= 0.5 * np.sqrt((-0.5 + 1 + 0.8) * (0.5 + 1 - 0.8) * (0.5 - 1 + 0.8) * (0.5 + 1 + 0.8))
    expected = {
        "disc": np.pi * 0.81,
        "box": 1.9 * 1.2,
        "triangle": 1.65**2 / np.sqrt(3),
        "ring": np.pi * (1 - 0.36),
        "cross": 2 * 1.9 * 0.56 - 0.56**2,
        "star": 10 * 0.5 * 0.45 * np.sin(np.pi / 5),
        "crescent": np.pi - lens,
    }
    assert expected.keys() == _FORMS.keys()
    for name, area in expected.items():
        assert _FORMS[name](u, v).sum() * cell == pytest.approx(area, rel=0.01), name


def test_impossible_scenes_are_errors():
    for options in ({"classes": 1}, {"classes": 9}, {"in_channels": 2}, {"size": 4}):
        with pytest.raises(ValueError, match="Shapes"):
            data.Shapes(3, **options)
    with pytest.raises(IndexError, match="no item 3 of 3"):
        data.Shapes(3)[3]
