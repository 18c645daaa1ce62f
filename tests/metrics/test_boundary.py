"""Boundary IoU and BF score, against loops over pixels and pairs of pixels, and against SciPy where it is installed."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.metrics import BoundaryF1, BoundaryIoU
from minisegnet.metrics.boundary import band, contour


def blobs(seed, size=(19, 26), classes=3, ignored=0.0):
    """A label map of a few rectangles, and a slightly changed copy."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(size, int)
    for _ in range(4):
        i, j = rng.integers(0, size[0]), rng.integers(0, size[1])
        truth[i : i + rng.integers(1, 12), j : j + rng.integers(1, 12)] = rng.integers(0, classes)
    guess = np.roll(truth, tuple(rng.integers(-2, 3, 2)), (0, 1))
    truth[rng.random(size) < ignored] = 255
    return truth, guess


def neighbours_outside(mask, i, j, offsets):
    height, width = mask.shape
    return any(not (0 <= i + a < height and 0 <= j + b < width and mask[i + a, j + b]) for a, b in offsets)


def points(mask):
    """The contour, as a list of pixels."""
    four = ((0, 1), (1, 0), (0, -1), (-1, 0))
    return [(i, j) for i, j in zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True) if neighbours_outside(mask, i, j, four)]


def near_outside(mask, width):
    """The band: pixels of the mask around which a square with sides of 2·width + 1 is not entirely inside the mask."""
    square = [(a, b) for a in range(-width, width + 1) for b in range(-width, width + 1)]
    return {(i, j) for i, j in zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True) if neighbours_outside(mask, i, j, square)}


def f1_by_pairs(truth, guess, reach):
    def share(these, those):
        return sum(any(math.dist(p, q) <= reach for q in those) for p in these) / len(these)

    if not truth or not guess:
        return 0.0
    precision, recall = share(guess, truth), share(truth, guess)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.03, 0.06, 0.2, 0.6]), st.sampled_from([0.0, 0.1]))
def test_boundary_iou_equals_a_count_of_pixels(seed, ratio, ignored):
    pairs = [blobs(seed + k, ignored=ignored) for k in range(2)]
    found = BoundaryIoU(3, ratio=ratio)
    for pair in pairs:
        found.update(*pair)
    width = max(1, round(ratio * math.hypot(19, 26)))
    for k in range(3):
        both = either = 0
        for truth, guess in pairs:
            t, p = near_outside(truth == k, width), near_outside((guess == k) & (truth != 255), width)
            both, either = both + len(t & p), either + len(t | p)
        assert (found.intersection[k], found.union[k]) == (both, either)
    assert found.union.dtype == np.int64


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.04, 0.1, 0.31, 0.99]), st.sampled_from([0.0, 0.1]))
def test_bf_score_equals_a_search_over_pairs(seed, tolerance, ignored):
    pairs = [blobs(seed + k, size=(13, 17), ignored=ignored) for k in range(2)]
    found = BoundaryF1(3, tolerance=tolerance).update(*map(np.stack, zip(*pairs, strict=True)))
    for k in range(3):
        scores = []
        for truth, guess in pairs:
            t, p = truth == k, (guess == k) & (truth != 255)
            if t.any() or p.any():
                scores.append(f1_by_pairs(points(t), points(p), tolerance * math.hypot(13, 17)))
        np.testing.assert_allclose(found.f1[k], np.mean(scores) if scores else math.nan, rtol=1e-12)


def test_scipy_agrees_on_a_large_image():
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs SciPy (pip install scipy)")
    truth = np.kron(blobs(7, (106, 154), 2)[0], np.ones((2, 2), int))[1:, 1:]
    guess = np.roll(truth, (3, -2), (0, 1))
    mask, other = truth == 1, guess == 1
    assert mask.any() and not mask.all()
    diagonal = math.hypot(211, 307)
    width = round(0.02 * diagonal)
    square = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
    np.testing.assert_array_equal(band(mask, width), mask & ~square)
    edges = [m & ~ndimage.binary_erosion(m, border_value=0) for m in (mask, other)]
    np.testing.assert_array_equal(contour(mask), edges[0])
    for tolerance in (0.0075, 0.1):
        near = [(ndimage.distance_transform_edt(~edges[1 - k])[edges[k]] <= tolerance * diagonal).mean() for k in (0, 1)]
        expected = 2 * near[0] * near[1] / sum(near) if sum(near) else 0.0
        assert BoundaryF1(2, tolerance=tolerance).update(truth, guess).f1[1] == pytest.approx(expected, abs=1e-12)


def square(size, shift=0, side=40):
    labels = np.zeros((size, size), int)
    labels[20 + shift : 20 + shift + side, 20:60] = 1
    return labels


def test_a_shifted_contour_lowers_the_boundary_scores_although_the_iou_hardly_changes():
    truth, off = square(100), square(100, 1)
    inside = (truth & off).sum() / (truth | off).sum()
    narrow = BoundaryIoU(2, ratio=0.01).update(truth, off).iou[1]  # a band of one pixel
    assert inside == pytest.approx(39 / 41) and narrow < 0.6
    assert BoundaryF1(2, tolerance=0.0).update(truth, off).f1[1] < 0.6
    assert BoundaryF1(2, tolerance=0.01).update(truth, off).f1[1] == 1.0  # one pixel is within √2
    assert BoundaryF1(2, tolerance=0.01).update(truth, square(100, 3)).f1[1] < 1.0


@pytest.mark.parametrize("metric", [BoundaryIoU, BoundaryF1])
def test_the_right_answer_scores_one_whatever_is_predicted_where_nothing_counts(metric):
    truth = square(80)
    truth[30:50, 30:70] = 255
    guess = np.where(truth == 255, np.random.default_rng(0).integers(0, 2, truth.shape), truth)
    found = metric(3).update(truth, guess)
    values = found.iou if metric is BoundaryIoU else found.f1
    np.testing.assert_array_equal(values, [1, 1, np.nan])
    assert found.to_dict()["mean"] == 1.0 and found.to_dict()["classes"]["class 2"] is None
    json.dumps(found.to_dict(), allow_nan=False)
    assert "1.0000" in str(found) and "class 2" not in str(found)
    assert "nothing counted" in str(metric(3))


@pytest.mark.parametrize("metric", [BoundaryIoU, BoundaryF1])
def test_a_class_that_is_only_predicted_gets_zero(metric):
    found = metric(2).update(np.zeros((9, 9), int), square(80)[15:24, 15:24])
    assert (found.iou if metric is BoundaryIoU else found.f1)[1] == 0


def test_what_cannot_be_scored_is_named():
    for metric in (BoundaryIoU, BoundaryF1):
        with pytest.raises(ValueError, match=r"prediction contains the label 5"):
            metric(2).update(np.zeros((4, 4), int), np.full((4, 4), 5))
        with pytest.raises(ValueError, match=r"\(H, W\) or \(N, H, W\), not \(4,\)"):
            metric(2).update(np.zeros(4, int), np.zeros(4, int))
        with pytest.raises(ValueError, match="2 names"):
            metric(3, classes=["a", "b"])
    with pytest.raises(ValueError, match="tolerance is a fraction of the image's diagonal"):
        BoundaryF1(2, tolerance=5)
