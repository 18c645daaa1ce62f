"""Errors near the boundaries of the truth and away from them, and how the error map distinguishes the two."""

import numpy as np
import pytest

from minisegnet import viz
from minisegnet.metrics import BoundaryErrors, near_boundary
from minisegnet.viz.sheet import FALSE, FOUND, MISSED, error_map

RNG = np.random.default_rng(0)


def test_the_band_by_measuring_every_distance():
    truth = RNG.integers(0, 2, (3, 4)).repeat(6, 0).repeat(5, 1)
    truth[:4, :7] = truth[14:, 13:] = 255
    edges = [
        place for place in np.ndindex(truth.shape)
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0))
        if all(0 <= p + s < n for p, s, n in zip(place, step, truth.shape, strict=True))
        and truth[place] != truth[place[0] + step[0], place[1] + step[1]] and 255 not in (truth[place], truth[place[0] + step[0], place[1] + step[1]])
    ]  # fmt: skip
    for width in (1, 1.5, 3):
        expected = [min(np.hypot(i - a, j - b) for a, b in edges) < width for i, j in np.ndindex(truth.shape)]
        np.testing.assert_array_equal(near_boundary(truth, width).ravel(), expected)
    assert not near_boundary(np.zeros((5, 5), int), 3).any()
    with pytest.raises(ValueError, match="positive, not 0"):
        near_boundary(truth, 0)


def test_errors_are_counted_where_they_are():
    truth = np.zeros((20, 30), int)
    truth[:, 15:] = 1
    truth[0, 0] = 255
    guess = truth.copy()
    guess[:, 15] = 0  # a contour that is off by one pixel: 20 wrong pixels near it
    guess[3, 2] = 1  # and one far away
    guess[0, 0] = 1  # an ignored one does not count
    found = BoundaryErrors(2).update(truth, guess)
    assert (found.near, found.near_wrong, found.far, found.far_wrong) == (80, 20, 599 - 80, 1)
    assert found.share == 20 / 21
    assert "95.2% of 21 wrong pixels lie less than 2 px from a true boundary; wrong there 25.00%, elsewhere 0.19%" in str(found)
    found.update(truth, truth)
    assert (found.near, found.near_wrong) == (160, 20)
    assert found.to_dict() == {"width": 2, "near": 160, "near_wrong": 20, "far": 2 * 519, "far_wrong": 1}
    assert str(BoundaryErrors(2).update(truth, truth)) == "no pixel is wrong"
    with pytest.raises(ValueError, match=r"\(20, 30\) and \(3, 3\)"):
        found.update(truth, np.zeros((3, 3), int))


def test_a_batch_counts_as_its_images_do():
    truth, guess = RNG.integers(0, 3, (2, 3, 12, 14))
    one = BoundaryErrors(1.5)
    for t, g in zip(truth, guess, strict=True):
        one.update(t, g)
    assert one == BoundaryErrors(1.5).update(truth, guess)


def test_the_error_map_dims_errors_near_a_boundary():
    truth = np.zeros((9, 9), int)
    truth[:, 4:] = 1
    guess = truth.copy()
    guess[2, 3], guess[2, 0], guess[5, 4], guess[5, 8] = 1, 1, 0, 0
    image = np.full((9, 9, 3), 200, np.uint8)
    plain, banded = error_map(image, truth, guess), error_map(image, truth, guess, band=1)
    for place, colour in (((2, 0), FALSE), ((5, 8), MISSED), ((0, 7), FOUND)):
        assert tuple(plain[place]) == tuple(banded[place]) == colour
    for place, colour in (((2, 3), FALSE), ((5, 4), MISSED)):
        assert tuple(plain[place]) == colour
        np.testing.assert_allclose(banded[place], (np.array(colour) + 90) / 2, atol=1)  # half way to the darkened image
    sheet = viz.predictions([image], [truth], [guess], ("ground", "cell"), band=1)
    assert sheet.size[0] > 800
