"""The confusion matrix and its scores, compared with loops over pixels."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisegnet import viz
from minisegnet.metrics import ConfusionMatrix
from minisegnet.tensor import Tensor


@st.composite
def label_maps(draw):
    """Truth and prediction with an ignored label, and often with classes that do not occur."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = draw(st.integers(1, 6))
    shape = draw(st.sampled_from([(7,), (4, 5), (2, 3, 4), (0, 3)]))
    used = rng.choice(classes, size=rng.integers(1, classes + 1), replace=False)
    truth, guess = rng.choice(used, shape), rng.integers(0, classes, shape)
    truth[rng.random(shape) < 0.2] = 255
    return classes, truth, guess


def by_loops(classes, truth, guess, ignore=255):
    """Every score, by counting pixels one at a time."""
    matrix = [[0] * classes for _ in range(classes)]
    for t, p in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
        if t != ignore:
            matrix[t][p] += 1
    figures = {name: [] for name in ("precision", "recall", "f1", "iou")}
    for k in range(classes):
        tp = fp = fn = 0
        for t in range(classes):
            for p in range(classes):
                tp += matrix[t][p] * (t == k and p == k)
                fp += matrix[t][p] * (t != k and p == k)
                fn += matrix[t][p] * (t == k and p != k)
        nan = float("nan")
        precision = tp / (tp + fp) if tp + fp else nan
        recall = tp / (tp + fn) if tp + fn else nan
        figures["precision"].append(precision)
        figures["recall"].append(recall)
        figures["iou"].append(tp / (tp + fp + fn) if tp + fp + fn else nan)
        harmonic = 2 / (1 / precision + 1 / recall) if tp else (0.0 if fp + fn else nan)
        figures["f1"].append(harmonic)
    return matrix, figures


def nan_mean(values):
    there = [v for v in values if not math.isnan(v)]
    return sum(there) / len(there) if there else float("nan")


@given(label_maps())
def test_every_figure_equals_a_count_of_pixels(case):
    classes, truth, guess = case
    cm = ConfusionMatrix(classes).update(truth, guess)
    matrix, figures = by_loops(*case)
    assert cm.matrix.dtype == np.int64
    assert cm.matrix.tolist() == matrix
    for name, values in figures.items():
        np.testing.assert_allclose(getattr(cm, name), values, rtol=1e-12)
        np.testing.assert_allclose(getattr(cm, f"mean_{name}"), nan_mean(values), rtol=1e-12)
    counted = truth != 255
    np.testing.assert_allclose(cm.pixel_accuracy, (truth == guess)[counted].mean() if counted.any() else np.nan, rtol=1e-12)


@given(label_maps(), label_maps())
def test_images_add_up_in_any_grouping(first, second):
    classes = max(first[0], second[0])
    one = ConfusionMatrix(classes).update(*first[1:])
    other = ConfusionMatrix(classes).update(*second[1:])
    both = ConfusionMatrix(classes).update(*first[1:]).update(*second[1:])
    before = one.matrix.copy()
    np.testing.assert_array_equal((one + other).matrix, both.matrix)
    np.testing.assert_array_equal(one.matrix, before)
    np.testing.assert_array_equal(one.merge(other).matrix, both.matrix)


@given(label_maps())
def test_f1_and_iou_say_the_same(case):
    cm = ConfusionMatrix(case[0]).update(*case[1:])
    np.testing.assert_allclose(cm.f1, 2 * cm.iou / (1 + cm.iou), rtol=1e-12)


def test_absent_classes_are_left_out_and_false_ones_are_not():
    cm = ConfusionMatrix(4).update(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))
    np.testing.assert_array_equal(cm.iou, [1, 0.5, 0, np.nan])  # 2 is only predicted, 3 is nowhere
    np.testing.assert_array_equal(cm.recall, [1, 0.5, np.nan, np.nan])
    np.testing.assert_array_equal(cm.precision, [1, 1, 0, np.nan])
    assert cm.mean_iou == 0.5 and cm.mean_recall == 0.75


def test_ignored_pixels_count_nowhere_whatever_is_predicted_there():
    cm = ConfusionMatrix(2, ignore_index=-1).update(np.array([-1, 0, 1]), np.array([99, 0, 1]))
    assert cm.matrix.tolist() == [[1, 0], [0, 1]]


def test_nothing_counted_has_no_figures():
    cm = ConfusionMatrix(3)
    assert math.isnan(cm.pixel_accuracy) and math.isnan(cm.mean_iou) and np.isnan(cm.iou).all()
    assert "nothing counted" in str(cm)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_any_integers_and_tensors_are_welcome(dtype):
    truth, guess = np.array([[0, 1, 255]], np.uint8).astype(dtype), np.array([[0, 2, 1]]).astype(dtype)
    expected = [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert ConfusionMatrix(3).update(truth, guess).matrix.tolist() == expected
    assert ConfusionMatrix(3).update(Tensor(truth), Tensor(guess)).matrix.tolist() == expected


def test_many_classes_in_a_narrow_dtype_do_not_overflow():
    truth, guess = np.full(10, 199, np.uint8), np.full(10, 198, np.uint8)
    assert ConfusionMatrix(200).update(truth, guess).matrix[199, 198] == 10


@pytest.mark.parametrize(
    ("truth", "guess", "words"),
    [
        ([0, 7], [0, 1], r"target contains the label 7 .*0 to 2, and 255 is ignored"),
        ([0, -1], [0, 1], r"target contains the label -1"),
        ([0, 1], [0, 3], r"prediction contains the label 3 \(1 pixels"),
        ([0, 1], [0, 255], r"prediction contains the label 255"),
        ([0, 1], [0], r"the same shape.*\(2,\).*\(1,\).*argmax"),
        ([0, 1], [0.1, 0.9], r"prediction must contain integer labels, not float64.*argmax"),
        ([0.0, 1.0], [0, 1], r"target must contain integer labels"),
    ],
)
def test_what_cannot_be_counted_is_named_and_not_counted(truth, guess, words):
    cm = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=words):
        cm.update(np.array(truth), np.array(guess))
    assert not cm.matrix.any()


def test_only_like_is_added_to_like():
    with pytest.raises(ValueError, match="3 classes that ignores 255 to one of 2"):
        ConfusionMatrix(2).merge(ConfusionMatrix(3))
    with pytest.raises(ValueError, match="ignores 0"):
        _ = ConfusionMatrix(2) + ConfusionMatrix(2, ignore_index=0)
    with pytest.raises(ValueError, match="1 names for 2 classes"):
        ConfusionMatrix(2, classes=["a"])
    with pytest.raises(ValueError, match="positive"):
        ConfusionMatrix(0)


def test_the_table_has_a_line_a_class_and_columns_that_line_up():
    cm = ConfusionMatrix(3, classes=["background", "nucleus", "unicorn"])
    cm.update(np.repeat([0, 1], [1500, 500]), np.repeat([0, 1, 0], [1500, 300, 200]))
    lines = str(cm).splitlines()
    assert lines[0].split() == ["class", "IoU", "F1", "precision", "recall", "pixels"]
    assert lines[2].split() == ["background", "0.8824", "0.9375", "0.8824", "1.0000", "1,500"]
    assert lines[3].split()[:2] == ["nucleus", "0.6000"]
    assert lines[4].split() == ["unicorn", "–", "–", "–", "–", "0"]
    assert lines[6].split()[:2] == ["mean", "0.7412"]
    assert len({len(line) for line in lines[:7]}) == 1
    assert lines[7] == "pixel accuracy 0.9000"
    assert lines[8] == f"frequency-weighted IoU {(1500 * 1500 / 1700 + 500 * 300 / 500) / 2000:.4f}"


def test_the_dictionary_is_plain_json():
    cm = ConfusionMatrix(2, classes=["a", "b"]).update(np.array([0, 0]), np.array([0, 0]))
    found = json.loads(json.dumps(cm.to_dict(), allow_nan=False))
    assert found["mean_iou"] == 1.0 and found["classes"]["a"]["iou"] == 1.0 and found["classes"]["b"]["iou"] is None
    assert found["matrix"] == [[2, 0], [0, 0]] and found["pixels"] == 2
    cm.reset()
    assert cm.to_dict()["pixel_accuracy"] is None


# --- the picture ------------------------------------------------------------------------


def test_the_picture_shows_the_shares_of_the_rows(tmp_path):
    cm = ConfusionMatrix(2, classes=["ground", "cell"]).update(np.repeat([0, 1], [300, 100]), np.repeat([0, 1, 0], [300, 50, 50]))
    cell, dark = (0.8 * 150) ** 2, np.array([8, 50, 92])  # pixels of a cell; the colour of 100 %
    areas = {}
    for of in ("truth", "prediction", "all"):
        with Image.open(viz.confusion(cm, tmp_path / f"{of}.png", of=of)) as picture:
            areas[of] = int((np.array(picture.convert("RGB")) == dark).all(-1).sum()) / cell
    # As shares of the truth one cell is dark: all ground was found. As shares of the prediction another is: all predicted cells are cells.
    assert 0.85 < areas["truth"] < 1.1 and 0.85 < areas["prediction"] < 1.1
    assert 0.85 < areas["all"] < 1.1  # here the darkest cell is the largest share


def test_a_picture_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="nothing was counted"):
        viz.confusion(ConfusionMatrix(2))
    with pytest.raises(ValueError, match="of is one of 'truth', 'prediction', 'all', not 'rows'"):
        viz.confusion(ConfusionMatrix(2).update([0], [0]), of="rows")


@pytest.mark.parametrize(("classes", "convention"), [(1, "voc"), (3, "cityscapes"), (40, "nanmean")])
def test_pictures_of_any_number_of_classes(classes, convention):
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, classes, (2, 50, 50))
    if convention == "cityscapes":
        guess[:5] = 255
    names = [f"a class with a long name, number {k}" for k in range(classes)]
    shown = np.array(viz.confusion(ConfusionMatrix(classes, classes=names, convention=convention).update(truth, guess)))
    edges = np.concatenate([shown[:4].reshape(-1, 3), shown[-4:].reshape(-1, 3), shown[:, :4].reshape(-1, 3), shown[:, -4:].reshape(-1, 3)])
    assert (edges == 255).all(), "something touches the edge of the picture"
