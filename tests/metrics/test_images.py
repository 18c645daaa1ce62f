"""Metrics of each image: the same as those of a confusion matrix that has seen only this image."""

import numpy as np
import pytest

from minisegnet.metrics import ConfusionMatrix, PerImage


def test_each_image_has_its_own_figures():
    rng = np.random.default_rng(0)
    truths, found = rng.integers(0, 3, (2, 5, 6, 7))
    truths[3] = 255
    truths[4][truths[4] == 2] = 0
    metric = PerImage(3, 255, ("a", "b", "c")).update(truths[:2], found[:2]).update(truths[2], found[2]).update(truths[3:], found[3:])
    rows = metric.rows(list("vwxyz"))
    for k, row in enumerate(rows):
        alone = ConfusionMatrix(3).update(truths[k], found[k])
        assert row["image"] == "vwxyz"[k] and row["pixels"] == (truths[k] != 255).sum()
        for name, value in (("mean_iou", alone.mean_iou), ("pixel_accuracy", alone.pixel_accuracy), ("iou_b", alone.iou[1])):
            assert row[name] == (None if np.isnan(value) else pytest.approx(value))
    assert rows[3]["mean_iou"] is None
    order = metric.hardest(5)
    assert order[-1] == 3 and [rows[k]["mean_iou"] for k in order[:4]] == sorted(rows[k]["mean_iou"] for k in (0, 1, 2, 4))
    assert metric.present().tolist()[3] == [False] * 3 and not metric.present()[4][2]
