"""Pictures of small arrays: grey for images, red for positive and blue for negative values, numbers inside, windows framed."""

import numpy as np
import pytest

from minisegnet.learn.pictures import grids, tape
from minisegnet.learn.toy import Value


def pixels(picture):
    return np.asarray(picture, float)


def test_an_image_is_grey_and_a_signed_array_red_and_blue():
    image, signed = (pixels(grids(("", a))) for a in (np.ones((20, 20)), np.outer(np.linspace(-1, 1, 20), np.ones(20))))
    assert np.ptp(image, axis=2).max() == 0
    middle = signed.shape[1] // 2
    column = signed[:, middle, 0] - signed[:, middle, 2]
    inside = np.flatnonzero(np.abs(column) > 20)
    assert column[inside[0]] < 0 < column[inside[-1]], "negative rows are blue, positive ones red"


def test_a_pixel_of_a_large_array_is_a_square_of_whole_dots():
    board = np.indices((64, 64)).sum(0) % 2
    picture = pixels(grids(("", board)))[..., 0]
    assert set(np.unique(picture)) <= {0.0, 255.0}
    dark = np.flatnonzero((picture == 0).any(axis=0))
    assert len(dark) % 64 in (0, 63, 1) or len(dark) % 4 == 0


@pytest.mark.parametrize("windows", [(1, 0, 3, 3), [(1, 0, 3, 3), (0, 0, 1, 1)], None])
def test_windows_are_framed(windows):
    framed = pixels(grids(("x", np.zeros((5, 5)), windows)))
    orange = np.all(np.abs(framed - (224, 130, 20)) < 3, axis=2)
    assert orange.any() == (windows is not None)


def test_panels_stand_in_columns():
    two, four = (grids(*[("x", np.eye(3))] * n, columns=2) for n in (2, 4))
    assert two.width == four.width and four.height > 1.6 * two.height
    assert grids(("x", np.eye(3)), ("", "="), ("y", np.eye(3))).width > two.width


def test_a_tape_is_drawn():
    x, y = Value(2.0), Value(3.0)
    values = [x, y, x * y, x * x]
    picture = tape(values, ["x", "y", "x·y", "x·x"], [(0, 1), (0, 0), (2, 0), (2, 1)])
    assert picture.size == (340, 190)
    assert np.all(np.abs(pixels(picture) - (224, 130, 20)) < 3, axis=2).sum() > 300, "four arrows"
