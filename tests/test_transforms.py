"""Joint transforms: the image and its mask stay on top of each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.data import transforms

seeds = st.integers(0, 2**32 - 1)


def coordinates(height, width):
    """An image and a mask whose every pixel says where it came from."""
    mask = np.arange(height * width).reshape(height, width)
    return mask[None].astype(np.float32), mask


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
