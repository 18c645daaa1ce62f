"""Joint transforms: image and mask stay aligned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.data import transforms

seeds = st.integers(0, 2**32 - 1)


def coordinates(height, width):
    """An image and a mask in which the value of every pixel encodes its place."""
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
    # A ramp stays a ramp: image and mask are not shifted by half a pixel against each other.
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


# --- rotation ---------------------------------------------------------------------------------


def origin(height, width):
    """An image whose two channels are the row and the column, and a mask that numbers the pixels."""
    return np.mgrid[:height, :width].astype(np.float32), np.arange(height * width).reshape(height, width)


MOVING = [
    transforms.RandomRotation(180, -1),
    transforms.RandomRotation(10, -1),
    transforms.RandomScale(0.5, 2.0),
    transforms.augmentation((11, 13), -1, scale=(0.5, 2.0), rotate=30),
    transforms.augmentation(None, -1, rotate=5, flip="horizontal"),
]


@pytest.mark.parametrize("transform", MOVING, ids=repr)
@given(height=st.integers(2, 16), width=st.integers(2, 16), seed=seeds)
def test_interpolated_pixels_come_from_where_their_label_says(transform, height, width, seed):
    """Bilinear interpolation of a ramp is exact, so the image gives the exact source of a pixel, and the label the nearest pixel to it."""
    image, mask = origin(height, width)
    moved, labels = transform(image, mask, np.random.default_rng(seed))
    assert moved.shape == (2, *labels.shape) and moved.dtype == np.float32 and labels.dtype == np.int64
    assert moved.flags.c_contiguous and labels.flags.c_contiguous
    known = labels != -1
    assert set(np.unique(labels[known])) <= set(range(height * width))
    place = np.stack(np.divmod(labels, width))
    # They agree within half a pixel, except where the ramp is bent: beyond the outermost centres, and where shrinking averages.
    reach = 0.5 + 1e-4 if not any(isinstance(t, transforms.RandomScale) for t in getattr(transform, "transforms", [transform])) else 1.3
    straight = known & (place > 0).all(0) & (place[0] < height - 1) & (place[1] < width - 1)
    assert (abs(moved - place)[:, straight] <= reach).all()
    np.testing.assert_array_equal(image, origin(height, width)[0])
    np.testing.assert_array_equal(mask, origin(height, width)[1])


@given(seed=seeds)
def test_an_image_equal_to_its_mask_stays_equal_away_from_edges(seed):
    """The image is the mask. They agree wherever the four neighbouring pixels are equal, and differ by less than 1 elsewhere."""
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.integers(0, 2, (4, 4)), np.ones((6, 6), int))
    moved, labels = transforms.RandomRotation(45, 255)(mask[None].astype(np.float32), mask, rng)
    known = labels != 255
    assert set(np.unique(labels[known])) <= {0, 1}
    assert (abs(moved[0] - labels)[known] <= 0.75 + 1e-5).all()  # of the four weights, which sum to 1, the nearest pixel's is at least 1/4
    pure = known & ((moved[0] < 0.2) | (moved[0] > 0.8))
    assert pure.sum() > 0.5 * known.sum()
    np.testing.assert_array_equal(np.rint(moved[0])[pure], labels[pure])


def test_turning_by_quarters_is_rot90_and_by_0_nothing():
    image, mask = origin(7, 7)
    for turns in range(-1, 3):
        moved, labels = transforms.rotate(image, mask, 90 * turns)
        np.testing.assert_array_equal(labels, np.rot90(mask, turns))
        np.testing.assert_allclose(moved, np.rot90(image, turns, (1, 2)), atol=1e-5)


def test_corners_from_outside_are_ignored_and_filled_by_reflection():
    image, mask = origin(20, 20)
    moved, labels = transforms.rotate(image, mask, 45, 99)
    assert (labels[[0, 0, -1, -1], [0, -1, 0, -1]] == 99).all() and labels[10, 10] != 99
    assert 0.1 < (labels == 99).mean() < 0.25  # a square turned by 45° covers 2(√2 − 1) = 0.83 of the original
    assert moved.min() >= 0 and moved.max() <= 19


def test_angles_are_drawn_from_the_whole_range():
    """The source of a pixel to the right of the centre reveals the angle."""
    image, mask = origin(41, 41)
    rng = np.random.default_rng(0)
    turned = [transforms.RandomRotation(30)(image, mask, rng)[0][:, 20, 35] - 20 for _ in range(200)]
    angles = [np.rad2deg(np.arctan2(row, column)) for row, column in turned]
    assert -30 <= min(angles) < -27 and 27 < max(angles) <= 30


# --- values -----------------------------------------------------------------------------------


def test_a_blur_is_the_convolution_with_a_gaussian():
    image = np.zeros((1, 21, 25), np.float32)
    image[0, 10, 12] = 1
    i, j = np.mgrid[-10:11, -12:13]
    inside = np.maximum(abs(i), abs(j)) <= 5
    bell = np.exp(-(i**2 + j**2) / (2 * 1.5**2)) * inside
    np.testing.assert_allclose(transforms.blur(image, 1.5)[0], bell / bell.sum(), atol=1e-6)


@given(seeds)
def test_a_blur_keeps_constants_and_the_mask_and_loses_contrast(seed):
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(size=(3, 12, 9)).astype(np.float32), rng.integers(0, 4, (12, 9))
    soft, labels = transforms.GaussianBlur(1.0, 2.0)(image, mask, rng)
    np.testing.assert_array_equal(labels, mask)
    assert soft.dtype == np.float32 and soft.std() < 0.7 * image.std()
    constant = np.full((2, 5, 6), 3.5, np.float32)
    np.testing.assert_allclose(transforms.blur(constant, 0.7), constant, rtol=1e-6)


def test_noise_has_the_deviation_that_was_drawn_and_no_mean():
    image, mask = np.zeros((1, 100, 100), np.float32), np.zeros((100, 100), int)
    found = [transforms.GaussianNoise(0.5)(image, mask, np.random.default_rng(k))[0] for k in range(40)]
    deviations = [noise.std() for noise in found]
    assert max(deviations) <= 0.51 and 0.2 < np.mean(deviations) < 0.3
    assert all(abs(noise.mean()) < 0.03 and noise.dtype == np.float32 for noise in found)


LUMA = np.array([0.299, 0.587, 0.114])


@given(seed=seeds, saturation=st.floats(0, 2), hue=st.floats(-0.5, 0.5))
def test_colours_turn_about_grey_and_keep_their_brightness(seed, saturation, hue):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(3, 4, 5))
    moved = transforms.adjust_colour(image, saturation, hue)
    np.testing.assert_allclose(np.tensordot(LUMA, moved, 1), np.tensordot(LUMA, image, 1), atol=1e-12)
    grey = np.broadcast_to(image[:1], image.shape)
    np.testing.assert_allclose(transforms.adjust_colour(grey, saturation, hue), grey, atol=1e-12)
    # The result is the same if gain and offset are applied afterwards: values need not lie between 0 and 1.
    np.testing.assert_allclose(transforms.adjust_colour(2 * image + 3, saturation, hue), 2 * moved + 3, atol=1e-9)
    if abs(saturation) > 1e-3:
        np.testing.assert_allclose(transforms.adjust_colour(moved, 1 / saturation, -hue), image, atol=1e-9)


def test_hues_go_round_and_no_saturation_is_grey():
    red = np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1)
    thirds = [transforms.adjust_colour(red, hue=k / 3).ravel() for k in range(4)]
    np.testing.assert_allclose(thirds[3], thirds[0], atol=1e-12)
    assert {int(t.argmax()) for t in thirds[:3]} == {0, 1, 2}  # red, then the other two
    np.testing.assert_allclose(transforms.adjust_colour(red, 0.0).ravel(), [0.299] * 3, atol=1e-12)
    np.testing.assert_allclose(transforms.adjust_colour(red), red, atol=1e-12)


@given(seeds, st.sampled_from([1, 3, 4]))
def test_colour_jitter_leaves_the_mask_and_of_other_channels_the_colours(seed, channels):
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(size=(channels, 6, 5)).astype(np.float32), rng.integers(0, 3, (6, 5))
    moved, labels = transforms.ColourJitter(0.0, 0.0, 0.5, 0.2)(image, mask, np.random.default_rng(seed))
    np.testing.assert_array_equal(labels, mask)
    assert moved.dtype == np.float32
    assert (abs(moved - image).max() > 1e-3) == (channels == 3)


def test_random_apply_is_sometimes_left_out():
    image, mask = coordinates(4, 4)
    rng = np.random.default_rng(0)
    mirror = transforms.RandomApply(lambda a, b, r: (a[..., ::-1], b[..., ::-1]), 0.25)
    turned = [mirror(image, mask, rng)[1][0, 0] == 3 for _ in range(400)]
    assert 60 < sum(turned) < 140


@given(seeds)
def test_one_seed_gives_one_result(seed):
    everything = transforms.augmentation(8, scale=(0.5, 2), rotate=20, jitter=0.3, blur=1.5, noise=0.2)
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(size=(3, 10, 12)).astype(np.float32), rng.integers(0, 3, (10, 12))
    first, second = (everything(image, mask, np.random.default_rng(seed)) for _ in range(2))
    assert first[0].shape == (3, 8, 8) and first[0].dtype == np.float32
    assert first[0].tobytes() == second[0].tobytes() and first[1].tobytes() == second[1].tobytes()
    assert set(np.unique(first[1])) <= {0, 1, 2, 255}


def test_augmentation_consists_of_the_requested_transforms():
    kinds = lambda **options: [type(t).__name__ for t in transforms.augmentation(8, **options).transforms]
    assert kinds() == ["RandomCrop", "Flip", "QuarterTurn"]
    assert kinds(flip="none") == ["RandomCrop"] and kinds(flip="horizontal") == ["RandomCrop", "Flip"]
    assert kinds(scale=(0.5, 2), rotate=10, jitter=0.2, blur=2, noise=0.1, quarter_turns=False) == [
        "RandomScale", "RandomRotation", "RandomCrop", "Flip", "ColourJitter", "RandomApply", "GaussianNoise",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transforms.RandomRotation(200), "0 and 180"),
        (lambda: transforms.ColourJitter(hue=0.7), "hue from 0 to 0.5"),
        (lambda: transforms.GaussianBlur(2, 1), "low <= high"),
        (lambda: transforms.GaussianNoise(-1), "std"),
        (lambda: transforms.RandomApply(transforms.Flip(), 2), "probability"),
        (lambda: transforms.augmentation(8, flip="left"), "horizontal"),
        (lambda: transforms.augmentation(8, jitter=2), "contrast and saturation from 0 to 1"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()
