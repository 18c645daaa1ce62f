"""Datasets, transforms and the loader."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet import data
from minisegnet.data import transforms

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


def coordinates(height, width):
    """An image and a mask whose every pixel says where it came from."""
    mask = np.arange(height * width).reshape(height, width)
    return mask[None].astype(np.float32), mask


# --- standardise ------------------------------------------------------------------------


@given(seeds, st.floats(0.01, 1000), st.floats(-100, 100), st.sampled_from([(1, 5, 7), (3, 8, 8), (6, 9)]))
def test_standardised_images_have_mean_0_and_deviation_1_and_forget_gain_and_offset(seed, gain, offset, shape):
    image = np.random.default_rng(seed).normal(size=shape)
    result = data.standardise(image)
    assert result.dtype == np.float32
    assert abs(result.mean(dtype=np.float64)) < 1e-5 and abs(result.std(dtype=np.float64) - 1) < 1e-5
    np.testing.assert_allclose(result, (image - image.mean()) / image.std(), atol=1e-4)
    np.testing.assert_allclose(data.standardise(image * gain + offset), result, atol=1e-3)


@pytest.mark.parametrize("value", [0, 7, 0.1, -3.3e5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_constant_image_becomes_zeros(value, dtype):
    image = np.full((3, 17, 19), value).astype(dtype)
    np.testing.assert_array_equal(data.standardise(image), np.zeros(image.shape))


def test_standardise_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match="NaN or infinity"):
        data.standardise(np.array([1.0, np.nan]))
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
    with pytest.raises(data.DataError, match="cannot be divided"):
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


def test_a_scene_depends_on_its_seed_and_number_only():
    short, long = data.Shapes(5, 32, seed=3), data.Shapes(10**6, 32, seed=3)
    long[999_999]
    for mine, theirs in zip(short[4], long[4], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (data.Shapes(5, 32, seed=4)[4][1] != short[4][1]).any()
    assert (short[3][1] != short[4][1]).any()


def test_forms_have_the_areas_that_geometry_gives():
    """Counted on a fine grid against the formula for each: the masks are what their names say."""
    from minisegnet.data.shapes import _FORMS

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


# --- transforms -------------------------------------------------------------------------

EVERY = [
    transforms.RandomCrop(6),
    transforms.RandomCrop((4, 7)),
    transforms.Flip(),
    transforms.QuarterTurn(),
    transforms.Compose([transforms.Flip(vertical=False), transforms.QuarterTurn()]),
    transforms.augmentation(5),
]


@pytest.mark.parametrize("transform", EVERY, ids=repr)
@given(seed=seeds)
def test_image_and_mask_move_together(transform, seed):
    image, mask = coordinates(9, 9)
    before = image.copy(), mask.copy()
    moved, labels = transform(image, mask, np.random.default_rng(seed))
    np.testing.assert_array_equal(moved[0], labels)
    assert moved.dtype == np.float32 and labels.dtype == np.int64
    assert moved.flags.c_contiguous and labels.flags.c_contiguous
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_flips_and_turns_reach_all_eight_positions_of_a_square():
    image, mask = coordinates(3, 3)
    rng = np.random.default_rng(0)
    both = transforms.Compose([transforms.Flip(), transforms.QuarterTurn()])
    assert len({both(image, mask, rng)[1].tobytes() for _ in range(200)}) == 8


def test_turning_keeps_the_shape_of_what_is_not_square():
    image, mask = coordinates(3, 5)
    rng = np.random.default_rng(0)
    found = {transforms.QuarterTurn()(image, mask, rng)[1].tobytes() for _ in range(50)}
    assert found == {mask.tobytes(), mask[::-1, ::-1].tobytes()}


def test_crops_reach_every_place_and_no_other():
    image, mask = coordinates(6, 5)
    rng = np.random.default_rng(0)
    corners = {int(transforms.RandomCrop((4, 4))(image, mask, rng)[1][0, 0]) for _ in range(300)}
    assert corners == {0, 1, 5, 6, 10, 11}


@given(st.integers(1, 9), st.integers(1, 9), seeds)
def test_a_small_image_is_padded_by_reflection_and_its_mask_by_ignore(height, width, seed):
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(size=(2, height, width)).astype(np.float32), rng.integers(0, 3, (height, width))
    crop, labels = transforms.RandomCrop(9, ignore_index=77)(image, mask, rng)
    assert crop.shape == (2, 9, 9) and labels.shape == (9, 9)
    assert (labels != 77).sum() == height * width
    np.testing.assert_array_equal(crop[:, labels != 77].reshape(image.shape), image)
    top, left = (9 - height) // 2, (9 - width) // 2
    if top and height > 1:
        np.testing.assert_array_equal(crop[:, top - 1, left : left + width], image[:, 1])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20), st.integers(1, 20), seeds)
def test_resizing_invents_no_label_and_keeps_the_picture_in_place(height, width, new_height, new_width, seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 5, 255], (height, width))
    image, labels = transforms.resize(mask[None].astype(np.float32), mask, (new_height, new_width))
    assert image.shape == (1, new_height, new_width) and labels.shape == (new_height, new_width)
    for i in range(new_height):
        for j in range(new_width):
            assert labels[i, j] == mask[int((i + 0.5) * height / new_height), int((j + 0.5) * width / new_width)]
    # A ramp stays a ramp: no shift by half a pixel between the image and where its mask was sampled.
    ramp = np.broadcast_to(np.arange(width, dtype=np.float32) + 0.5, (1, height, width))
    found = transforms.resize(ramp, mask, (new_height, new_width))[0][0, 0]
    inner = slice(1, -1) if new_width <= width else slice(new_width // width + 1, -(new_width // width) - 1)
    np.testing.assert_allclose(found[inner], ((np.arange(new_width) + 0.5) * width / new_width)[inner], atol=0.26)


def test_random_scale_stays_in_its_range_and_1_changes_nothing():
    image, mask = coordinates(20, 30)
    rng = np.random.default_rng(0)
    heights = [transforms.RandomScale(0.5, 2.0)(image, mask, rng)[1].shape[0] for _ in range(200)]
    assert 10 <= min(heights) < 12 and 35 < max(heights) <= 40
    same = transforms.RandomScale(1, 1)(image, mask, rng)
    np.testing.assert_array_equal(same[0], image)
    np.testing.assert_array_equal(same[1], mask)
    with pytest.raises(ValueError, match="low <= high"):
        transforms.RandomScale(2, 1)


@given(seeds)
def test_brightness_and_contrast_are_one_line_for_all_pixels(seed):
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(size=(2, 4, 4)).astype(np.float32), rng.integers(0, 2, (4, 4))
    result, labels = transforms.BrightnessContrast(0.3, 0.1)(image, mask, rng)
    assert labels is not None and (labels == mask).all()
    slope, shift = np.polyfit(image.ravel(), result.ravel(), 1)
    np.testing.assert_allclose(result, slope * image + shift, atol=1e-5)
    assert 0.9 - 1e-5 <= slope <= 1.1 + 1e-5
    assert abs(result.mean() - image.mean()) <= 0.3 + 1e-5


# --- the loader -------------------------------------------------------------------------


class Slow(data.Shapes):
    """Takes a random time for each item, so that threads meet in every order."""

    def __getitem__(self, k):
        time.sleep(float(np.random.default_rng().uniform(0, 0.003)))
        return super().__getitem__(k)


def collect(loader):
    return [(images.copy(), masks.copy()) for images, masks in loader]


def equal(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))


def loader_threads():
    return [t for t in threading.enumerate() if t.name == "minisegnet-loader"]


def test_batches_have_shapes_and_dtypes():
    loader = data.Loader(data.Shapes(7, 16), 3)
    batches = collect(loader)
    assert len(loader) == len(batches) == 3
    assert [images.shape for images, _ in batches] == [(3, 3, 16, 16), (3, 3, 16, 16), (1, 3, 16, 16)]
    assert all(i.dtype == np.float32 and m.dtype == np.int64 and m.shape == (len(i), 16, 16) for i, m in batches)
    assert len(collect(data.Loader(data.Shapes(7, 16), 3, drop_last=True))) == 2


def test_an_epoch_holds_every_item_once_or_as_often_as_asked():
    masks = np.arange(5)
    items = data.Arrays([np.zeros((1, 1))] * 5, [np.full((1, 1), k) for k in masks], "abcde")
    for repeat in (1, 3):
        seen = np.concatenate([m.ravel() for _, m in data.Loader(items, 2, repeat=repeat)])
        assert sorted(seen) == sorted(masks.tolist() * repeat)
    in_order = np.concatenate([m.ravel() for _, m in data.Loader(items, 2, shuffle=False)])
    assert in_order.tolist() == [0, 1, 2, 3, 4]
    full = [m.ravel() for _, m in data.Loader(items, 2, steps=5)]
    assert [len(m) for m in full] == [2] * 5
    assert sorted(np.concatenate(full)[:5]) == sorted(np.concatenate(full)[5:]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_batches_do_not_depend_on_the_timing_of_the_thread(prefetch):
    crop = transforms.augmentation(8)
    expected = collect(data.Loader(data.Shapes(9, 16), 2, crop, seed=4, prefetch=0))
    assert equal(collect(data.Loader(Slow(9, 16), 2, crop, seed=4, prefetch=prefetch)), expected)
    assert not equal(collect(data.Loader(data.Shapes(9, 16), 2, crop, seed=5)), expected)


def test_epochs_differ_and_can_be_had_again():
    loader = data.Loader(data.nuclei(), 2, transforms.augmentation(16), repeat=4)
    first, second = collect(loader), collect(loader)
    assert not equal(first, second)
    assert not np.array_equal(first[0][0][0], first[0][0][1]), "two crops of one image are the same"
    loader.set_epoch(0)
    assert equal(collect(loader), first) and equal(collect(loader), second)


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_loader_resumes_in_the_middle_of_an_epoch(at):
    def make():
        return data.Loader(data.Shapes(8, 16), 2, transforms.augmentation(8), seed=1)

    through = make()
    expected = collect(through) + collect(through)
    stopped, got = make(), []
    for images, masks in stopped:
        got.append((images.copy(), masks.copy()))
        if len(got) == at:
            state = dict(stopped.state)
            break
    resumed = make()
    resumed.load_state(state)
    while len(got) < len(expected):
        got += collect(resumed)
    assert equal(got, expected)


@pytest.mark.parametrize("leave", ["break", "error", "forget"])
def test_leaving_early_ends_the_thread(leave):
    assert not loader_threads()
    batches = iter(data.Loader(Slow(100, 16), 1))
    next(batches)
    assert len(loader_threads()) == 1
    if leave == "error":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
    elif leave == "break":
        batches.close()
    else:
        del batches
    assert not loader_threads()


class Broken(data.Shapes):
    def __getitem__(self, k):
        if k == 3:
            raise OSError("cut off")
        return super().__getitem__(k)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_in_the_thread_comes_out_with_the_name_of_the_item(prefetch):
    with pytest.raises(data.DataError, match="scene 3: OSError: cut off") as caught:
        collect(data.Loader(Broken(5, 16), 2, prefetch=prefetch))
    assert isinstance(caught.value.__cause__, OSError)
    assert not loader_threads()


def test_items_of_different_size_are_named():
    items = data.Arrays([np.zeros((4, 4)), np.zeros((5, 4))], [np.zeros((4, 4), int), np.zeros((5, 4), int)], "ab", names=["left", "right"])
    with pytest.raises(data.DataError, match=r"(?s)different shapes.*left.*RandomCrop"):
        collect(data.Loader(items, 2, shuffle=False))
    assert len(collect(data.Loader(items, 2, transforms.RandomCrop(4)))) == 1


def test_wrong_options_are_errors():
    scenes = data.Shapes(3, 16)
    for options in ({"batch_size": 0}, {"repeat": 0}, {"prefetch": -1}, {"seed": -1}, {"steps": 0}):
        with pytest.raises(ValueError, match="Loader"):
            data.Loader(scenes, **{"batch_size": 2} | options)
    with pytest.raises(data.DataError, match=r"3 items make no batch of 4.*drop_last"):
        data.Loader(scenes, 4, drop_last=True)
