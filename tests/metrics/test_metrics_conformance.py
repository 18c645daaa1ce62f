"""The scores compared with those of the benchmarks: with the official script if it can run, else with loops by its definition."""

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisegnet.metrics import CONVENTIONS, ConfusionMatrix

# labelId → trainId, copied independently from the benchmark's table.
TRAIN_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
CATEGORIES = {
    "flat": [0, 1], "construction": [2, 3, 4], "object": [5, 6, 7], "nature": [8, 9], "sky": [10],
    "human": [11, 12], "vehicle": [13, 14, 15, 16, 17, 18],
}  # fmt: skip
TO_TRAIN = np.full(256, 255)
TO_TRAIN[TRAIN_IDS] = range(19)


def scenes(seed, images=3, size=(23, 31), used=range(34), right=0.6):
    """Truth and prediction in labelIds 0 to 33. Both have ignored labels, and consist of blocks so that classes form regions."""
    rng = np.random.default_rng(seed)
    for _ in range(images):
        truth = np.kron(rng.choice(list(used), (8, 8)), np.ones((4, 4), int))[: size[0], : size[1]].astype(np.uint8)
        noise = rng.integers(0, 34, size).astype(np.uint8)
        yield truth, np.where(rng.random(size) < right, truth, noise)


@pytest.fixture(scope="module")
def official():
    """The official evaluation of Cityscapes, run silently on images on disk."""
    # Importing it looks for the data set's folder and asks whether stderr is a terminal; neither matters here.
    module = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling", reason="needs cityscapesscripts (pip install cityscapesscripts)"
    )

    def evaluate(folder, pairs):
        files = []
        for k, pair in enumerate(pairs):
            files.append([os.fspath(folder / f"{k}_{kind}.png") for kind in ("truth", "prediction")])
            for file, labels in zip(files[-1], pair, strict=True):
                Image.fromarray(labels).save(file)
        options = module.args
        options.evalInstLevelScore, options.quiet, options.JSONOutput = False, True, False
        truths, predictions = zip(*files, strict=True)
        return module.evaluateImgLists(list(predictions), list(truths), options)

    return evaluate


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 0},
        {"seed": 1, "used": [0, 3, 7, 8, 11, 26, 30, 33]},  # most classes are only predicted
        {"seed": 2, "used": [7, 8, 1], "right": 1.0},  # most classes are absent: they have no IoU and are left out
        {"seed": 3, "used": [0, 1, 2, 10, 14, 29], "images": 1},  # nothing that counts
    ],
    ids=["all", "some", "few", "ignored"],
)
def test_cityscapes_as_its_official_script(official, tmp_path, options):
    pairs = list(scenes(**options))
    expected = official(tmp_path, pairs)
    found = ConfusionMatrix(19, convention="cityscapes")
    for truth, guess in pairs:
        found.update(TO_TRAIN[truth], TO_TRAIN[guess])
    from cityscapesscripts.helpers.labels import id2label

    classes = [expected["classScores"][id2label[k].name] for k in TRAIN_IDS]
    np.testing.assert_allclose(found.iou, classes, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.mean_iou, expected["averageScoreClasses"], rtol=0, atol=1e-12)
    groups = found.grouped(CATEGORIES)
    np.testing.assert_allclose(groups.iou, [expected["categoryScores"][name] for name in CATEGORIES], rtol=0, atol=1e-12)
    np.testing.assert_allclose(groups.mean_iou, expected["averageScoreCategories"], rtol=0, atol=1e-12)
    ours = np.array(expected["confMatrix"], dtype=np.int64)[np.ix_(TRAIN_IDS, TRAIN_IDS)]
    np.testing.assert_array_equal(found.matrix, ours)
    assert found.abstained.any() == (options["seed"] < 2)  # with these seeds some counted pixels have an ignored prediction


def test_cityscapes_by_its_definition():
    """Without the script: ignored truth is not counted; an ignored prediction is a false negative, but not a false positive."""
    pairs = list(scenes(5, used=[0, 4, 7, 8, 24, 26, 33]))
    found = ConfusionMatrix(19, convention="cityscapes")
    for truth, guess in pairs:
        found.update(TO_TRAIN[truth], TO_TRAIN[guess])
    scores = []
    for k, label in enumerate(TRAIN_IDS):
        tp = fp = fn = 0
        for truth, guess in pairs:
            for t, p in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
                tp += t == label and p == label
                fn += t == label and p != label
                fp += t != label and t in TRAIN_IDS and p == label
        assert (found.tp[k], found.fp[k], found.fn[k]) == (tp, fp, fn)
        if tp + fp + fn:
            scores.append(tp / (tp + fp + fn))
    assert found.mean_iou == pytest.approx(sum(scores) / len(scores), abs=1e-12)
    assert found.pixels == sum(np.isin(truth, TRAIN_IDS).sum() for truth, _ in pairs)


def voc_by_histogram(pairs, classes=21):
    """Accuracies and their mean as VOCevalseg defines them: counts of 1 + gt + res·num where gt < 255."""
    counts = [0] * (classes * classes)
    for truth, guess in pairs:
        for gt, res in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
            if gt < 255:
                counts[gt + res * classes] += 1
    accuracies = []
    for j in range(classes):
        of_truth = sum(counts[j + r * classes] for r in range(classes))
        of_result = sum(counts[g + j * classes] for g in range(classes))
        both = counts[j + j * classes]
        union = of_truth + of_result - both
        accuracies.append(100 * both / union if union else float("nan"))
    return accuracies, sum(accuracies) / classes


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_voc_as_its_definition(seed, complete):
    rng = np.random.default_rng(seed)
    used = range(21) if complete else rng.choice(21, 12, replace=False)
    pairs = []
    for _ in range(3):
        truth, guess = (rng.choice(list(used), (17, 19)) for _ in range(2))
        truth[rng.random(truth.shape) < 0.1] = 255
        pairs.append((truth, guess))
    found = ConfusionMatrix(21, convention="voc")
    for pair in pairs:
        found.update(*pair)
    accuracies, mean = voc_by_histogram(pairs)
    np.testing.assert_allclose(100 * found.iou, accuracies, rtol=0, atol=1e-10)
    np.testing.assert_allclose(100 * found.mean_iou, mean, rtol=0, atol=1e-10)
    assert math.isnan(found.mean_iou) == (not complete)


def test_scikit_learn_agrees():
    sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn (pip install scikit-learn)")
    rng = np.random.default_rng(3)
    truth, guess = rng.integers(0, 7, 5000), rng.integers(0, 7, 5000)
    truth[:700] = 255
    found, kept = ConfusionMatrix(7).update(truth, guess), truth != 255
    truth, guess = truth[kept], guess[kept]
    np.testing.assert_array_equal(found.matrix, sklearn.confusion_matrix(truth, guess))
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(truth, guess)
    for ours, theirs in (
        (found.precision, precision),
        (found.recall, recall),
        (found.dice, f1),
        (found.support, support),
        (found.iou, sklearn.jaccard_score(truth, guess, average=None)),
        (found.mean_iou, sklearn.jaccard_score(truth, guess, average="macro")),
        (found.frequency_weighted_iou, sklearn.jaccard_score(truth, guess, average="weighted")),
        (found.mean_recall, sklearn.balanced_accuracy_score(truth, guess)),
        (found.pixel_accuracy, sklearn.accuracy_score(truth, guess)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


# --- where the conventions differ -------------------------------------------------------


def counted(convention, guess):
    """Five classes: 0 all right, 1 half right, 2 only predicted, 3 missed, 4 nowhere."""
    truth = np.repeat([0, 1, 3, 255], [40, 20, 5, 35])
    return ConfusionMatrix(5, convention=convention).update(truth, guess)


def test_where_the_conventions_part():
    guess = np.repeat([0, 1, 2, 0, 4], [40, 10, 10, 5, 35])  # the last is where the truth is ignored
    iou = [40 / 45, 10 / 20, 0 / 10, 0 / 5]
    for name in CONVENTIONS:
        found = counted(name, guess)
        np.testing.assert_allclose(found.iou, [*iou, math.nan], atol=1e-12)  # all conventions agree on the classes
        assert found.pixel_accuracy == 50 / 65
        assert found.frequency_weighted_iou == pytest.approx((40 * iou[0] + 20 * iou[1] + 5 * iou[3]) / 65)
    means = {name: counted(name, guess).mean_iou for name in CONVENTIONS}
    assert means["nanmean"] == means["fcn"] == means["cityscapes"] == pytest.approx(sum(iou) / 4)
    assert means["segnet"] == pytest.approx(sum(iou) / 5)
    assert math.isnan(means["voc"])
    # Mean accuracy: class 2 is not in the truth, so it has no recall either.
    recall = {name: counted(name, guess).mean_recall for name in CONVENTIONS}
    assert recall["nanmean"] == recall["fcn"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert recall["segnet"] == pytest.approx((1 + 0.5 + 0) / 5)
    assert math.isnan(recall["voc"])


def test_the_command_offers_every_convention():
    from minisegnet.cli.evaluate import CONVENTIONS as offered

    assert tuple(CONVENTIONS) == offered


def test_only_cityscapes_knows_a_prediction_of_no_class():
    guess = np.repeat([0, 1, 255, 0, 255], [40, 10, 10, 5, 35])
    for name in ("nanmean", "fcn", "voc", "segnet"):
        with pytest.raises(ValueError, match="prediction contains the label 255"):
            counted(name, guess)
    found = counted("cityscapes", guess)
    np.testing.assert_allclose(found.iou, [40 / 45, 10 / 20, math.nan, 0, math.nan], atol=1e-12)
    assert found.abstained.tolist() == [0, 10, 0, 0, 0] and found.support.tolist() == [40, 20, 0, 5, 0]
    assert found.pixel_accuracy == 50 / 65 and found.pixels == 65
    assert found.to_dict()["abstained"] == [0, 10, 0, 0, 0]
    with pytest.raises(ValueError, match="'voc' does not allow them; 'cityscapes' does"):
        found.under("voc")


def test_counts_keep_when_the_convention_changes():
    found = counted("nanmean", np.repeat([0, 1, 2, 0, 4], [40, 10, 10, 5, 35]))
    other = found.under("segnet")
    np.testing.assert_array_equal(other.matrix, found.matrix)
    assert (found.convention.name, other.convention.name) == ("nanmean", "segnet")
    assert other.mean_iou == pytest.approx(found.mean_iou * 4 / 5)
    assert "segnet" in str(other) and other.to_dict()["convention"] == "segnet"
    other.update([4], [4])
    assert found.pixels == 65 and other.pixels == 66
    with pytest.raises(ValueError, match=r"convention is one of 'nanmean', .*not 'coco'"):
        found.under("coco")


def test_groups_hold_each_class_once():
    cm = ConfusionMatrix(3).update([0, 1, 2, 2], [1, 0, 2, 0])
    assert cm.grouped({"low": [0, 1], "high": [2]}).matrix.tolist() == [[2, 0], [1, 1]]
    for wrong in ({"low": [0, 1]}, {"low": [0, 1, 2], "high": [2]}):
        with pytest.raises(ValueError, match="each class from 0 to 2 once"):
            cm.grouped(wrong)
