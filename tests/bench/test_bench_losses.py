"""The comparison of losses: its scenes, its figures, its record."""

import json

import numpy as np

from minisegnet.bench import losses as bench
from minisegnet.data import Dataset
from minisegnet.losses import create


def test_specks_are_rare_small_and_apart_from_the_spots():
    scenes = bench.Specks(40, seed=3)
    assert isinstance(scenes, Dataset) and len(scenes.names) == 40
    sizes = []
    for k in range(40):
        image, mask = scenes[k]
        assert image.shape == (1, 64, 64) and image.dtype == np.float32 and mask.dtype == np.int64
        assert set(np.unique(mask)) == {0, 1}
        sizes.append(mask.mean())
    assert 0.002 < np.mean(sizes) < 0.01
    np.testing.assert_array_equal(scenes[5][0], bench.Specks(6, seed=3)[5][0])
    assert (scenes[5][0] != bench.Specks(6, seed=4)[5][0]).any()


def test_every_loss_that_is_compared_can_be_made():
    for loss, weights in (*bench.IMBALANCE, *bench.BOUNDARIES):
        assert create(loss, weight=[1.0, 2.0] if weights else None) is not None


def test_figures_of_a_perfect_and_a_blind_answer(monkeypatch):
    chosen = bench.setting("boundaries")
    truth = chosen.held_out[0][1]
    monkeypatch.setattr(bench, "predict", lambda model, image: truth)
    assert set(bench.measure(None, chosen).values()) == {1.0}
    monkeypatch.setattr(bench, "predict", lambda model, image: np.ones_like(truth))
    blind = bench.measure(None, chosen)
    assert blind["recall"] == 1 and blind["gap_recall"] == 0
    assert blind["iou"] == blind["precision"] == round(float((truth == 1).mean()), 4)


def test_the_record_and_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "IMBALANCE", (("ce", None), ("focal", "inverse")))
    monkeypatch.setattr(bench, "Specks", lambda length, seed, make=bench.Specks: make(4, seed))
    path = tmp_path / "record.json"
    assert bench.main(["imbalance", "--steps", "1", "--seeds", "1", "--width", "0.03", "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert [(r["loss"], r["class_weights"], r["seed"]) for r in record["results"]] == [("ce", None, 0), ("focal", "inverse", 0)]
    assert record["steps"] == 1 and "commit" in record["environment"]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "| loss | iou | precision | recall |" and shown[3].startswith("| `focal`, weights: inverse | ")
    assert bench.main(["imbalance", "--json", str(tmp_path)]) == 2
    assert "folder" in capsys.readouterr().err
