"""The experiments behind the pages: what they compare, compute, record and refuse."""

import json
import re
from pathlib import Path

import architectures
import frames
import lineup
import losses
import memory
import numpy as np
import pytest
import tiles
from PIL import Image

from minisegnet import models, nn, random
from minisegnet.data import Dataset
from minisegnet.losses import create as create_loss
from minisegnet.models import create, list_models
from minisegnet.nn import containers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """Five grey images with a brighter rectangle each."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "cells" / name).mkdir(parents=True)
    for k in range(5):
        mask = np.zeros((48, 48), np.uint8)
        mask[5 + k : 25, 8:30] = 1
        Image.fromarray(mask).save(tmp_path / "cells" / "masks" / f"{k}.png")
        Image.fromarray((mask * 100 + rng.integers(0, 60, mask.shape)).astype(np.uint8)).save(tmp_path / "cells" / "images" / f"{k}.png")
    return tmp_path / "cells"


# --- all architectures under one budget -------------------------------------------------------


def test_every_network_is_in_the_line_up_and_as_wide_as_the_budget_allows():
    assert {entry.name for entry in lineup.LINEUP} == set(list_models())
    for entry in lineup.LINEUP[::4]:
        size = entry.crop or 128
        width, cost = lineup.widest(entry, 1, 2, size, 2e8)
        assert width in lineup.WIDTHS and (cost <= 2e8 or width == lineup.WIDTHS[-1])
        # one step wider would have cost too much: it costs about four times as much
        assert width == lineup.WIDTHS[0] or 6 * cost > 2e8


def test_a_comparison_writes_a_record_and_a_picture(folder, tmp_path, capsys):
    record, picture = tmp_path / "out" / "a.json", tmp_path / "out" / "a.png"
    arguments = ["--data", folder, "--only", "segnet_basic,pspnet_smp", "--steps", "2", "--crop", "32", "--budget", "1e6"]
    arguments += ["--batch-size", "2", "--json", record, "--picture", picture]
    assert architectures.main([str(a) for a in arguments]) == 0
    said = capsys.readouterr()
    assert f"wrote {picture}" in said.out and "segnet_basic" in said.err
    found = json.loads(record.read_text())
    assert (
        architectures.main([str(a) for a in arguments]) == 0
    )  # the record is complete: nothing is trained, and the picture is made from the record
    assert json.loads(record.read_text()) == found
    assert architectures.main([str(a) for a in [*arguments, "--lr", "0.1"]]) == 2
    assert "another budget" in capsys.readouterr().err
    assert found["data"] == {"folder": "cells", "train": 4, "held_out": 1, "classes": found["data"]["classes"]}
    assert [r["name"] for r in found["results"]] == ["segnet_basic", "pspnet_smp"]
    for result in found["results"]:
        assert 0 <= result["iou"] <= 1 and result["seconds"] > 0 and len(result["losses"]) == 2 and result["multiply_adds"] <= 1e6
    with Image.open(picture) as image:
        assert image.width == 1800 and len(set(image.convert("L").tobytes())) > 50


def test_the_costs_are_a_table_and_a_record(tmp_path, capsys):
    record = tmp_path / "costs.json"
    assert architectures.main(["--costs", "--only", "segnet_basic", "--width", "0.02", "--json", str(record)]) == 0
    (found,) = json.loads(record.read_text())["results"]
    assert found["parameters"] == 1_417_237 and found["seconds"] > 0 and found["width"] == 0.02
    head, rule, row = capsys.readouterr().out.strip().splitlines()
    assert head.count("|") == rule.count("|") == row.count("|") == 5
    assert row.startswith("| `segnet_basic` | 1,417,237 |")  # at width 1, for 21 classes: 1,416,587 + 10 · (64 + 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "either --data DIR"),
        (["--costs", "--data", "nowhere"], "either --data DIR"),
        (["--costs", "--picture", "a.png"], "--picture goes with --data"),
        (["--costs", "--only", "segnot"], "no network segnot; there are article1"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "nowhere", "--steps", "1"], "--steps must be at least 2"),
    ],
)
def test_what_the_comparison_refuses(arguments, words, capsys):
    assert architectures.main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


# --- the page ---------------------------------------------------------------------------------


def test_the_page_lists_every_network_with_its_number_of_parameters():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d) → (\d+) \| ([\d,]+)", text, re.MULTILINE)
    assert [name for name, *_ in rows] == [entry.name for entry in lineup.LINEUP]
    for name, channels, classes, told in rows:
        with nn.init.skip():
            model = create(name, int(channels), int(classes))
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == int(told.replace(",", "")), name


# --- losses ------------------------------------------------------------------------------------


def test_specks_are_rare_small_and_apart_from_the_spots():
    scenes = losses.Specks(40, seed=3)
    assert isinstance(scenes, Dataset) and len(scenes.names) == 40
    sizes = []
    for k in range(40):
        image, mask = scenes[k]
        assert image.shape == (1, 64, 64) and image.dtype == np.float32 and mask.dtype == np.int64
        assert set(np.unique(mask)) == {0, 1}
        sizes.append(mask.mean())
    assert 0.002 < np.mean(sizes) < 0.01
    np.testing.assert_array_equal(scenes[5][0], losses.Specks(6, seed=3)[5][0])
    assert (scenes[5][0] != losses.Specks(6, seed=4)[5][0]).any()


def test_every_loss_that_is_compared_can_be_made():
    for loss, weights in (*losses.IMBALANCE, *losses.BOUNDARIES):
        assert create_loss(loss, weight=[1.0, 2.0] if weights else None) is not None


def test_figures_of_a_perfect_and_a_blind_answer(monkeypatch):
    chosen = losses.setting("boundaries")
    truth = chosen.held_out[0][1]
    monkeypatch.setattr(losses, "predict", lambda model, image: truth)
    assert set(losses.measure(None, chosen).values()) == {1.0}
    monkeypatch.setattr(losses, "predict", lambda model, image: np.ones_like(truth))
    blind = losses.measure(None, chosen)
    assert blind["recall"] == 1 and blind["gap_recall"] == 0
    assert blind["iou"] == blind["precision"] == round(float((truth == 1).mean()), 4)


def test_the_record_and_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(losses, "IMBALANCE", (("ce", None), ("focal", "inverse")))
    monkeypatch.setattr(losses, "Specks", lambda length, seed, make=losses.Specks: make(4, seed))
    path = tmp_path / "record.json"
    assert losses.main(["imbalance", "--steps", "1", "--seeds", "1", "--width", "0.03", "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert [(r["loss"], r["class_weights"], r["seed"]) for r in record["results"]] == [("ce", None, 0), ("focal", "inverse", 0)]
    assert record["steps"] == 1 and "commit" in record["environment"]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "| loss | iou | precision | recall |" and shown[3].startswith("| `focal`, weights: inverse | ")
    assert losses.main(["imbalance", "--json", str(tmp_path)]) == 2
    assert "folder" in capsys.readouterr().err


# --- frames a second, and tiles ----------------------------------------------------------------


def test_frames_of_every_form_agree_and_fusing_is_restored(monkeypatch):
    before = dict(containers.FUSED)
    random.manual_seed(0)
    model = models.create("unet", 1, 2, 1 / 32).eval()
    seen = []
    monkeypatch.setattr(frames, "predict", lambda form, images: seen.append((form is model, bool(containers.FUSED), images.shape)))
    found = frames.measure(model, 32, frames=2, warm_up=1)["forms"]
    assert before == containers.FUSED
    forms = [(True, False), (True, True), (False, False), (False, True)]
    assert [call[:2] for call in seen] == forms + forms + forms  # once each to warm up, then in turn
    assert {call[2] for call in seen} == {(1, 1, 32, 32)}
    assert len(found) == 4 and all(form["difference"] < 1e-4 and form["frames"] == 2 for form in found.values())
    assert frames.table({"forms": found}).count("\n") == 4


@pytest.mark.slow
def test_tiling_is_measured_in_processes_of_their_own():
    found = tiles.measure([80], threads=1)
    runs = {run["how"]: run for run in found["runs"]}
    assert list(runs) == list(tiles.HOW) and all(run["tiles"] == 1 and run["peak_mib"] >= run["before_mib"] > 10 for run in runs.values())
    assert runs["tiles, blended"]["differs"] <= 0.001 and runs["whole"]["differs"] is None
    assert "80 × 80" in tiles.table(found)
    assert "out of memory?" in tiles.table({"runs": [{"size": 80, "how": "whole", "failed": "exit code -9; out of memory?"}]})


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_memory_of_a_job_is_that_of_its_own_process(tmp_path, capsys):
    assert memory.main(["--only", "cells", "--json", str(tmp_path / "m.json")]) == 0
    rows = json.loads((tmp_path / "m.json").read_text())["rows"]
    assert [row["library"] for row in rows] == list(memory.LIBRARIES)[: len(rows)]
    assert all(100 < row["peak_mib"] < 2000 and row["processor_s"] > 1 for row in rows)
    assert "| cells 256 × 256 | " in capsys.readouterr().out


def test_the_table_of_memory_is_that_of_the_record():
    record = json.loads((ROOT / "docs" / "benchmarks" / "memory.json").read_text())
    page = (ROOT / "docs" / "training.md").read_text()
    for line in memory.table(record["rows"]).splitlines()[2:]:
        assert line.partition(" ")[2].partition(" ")[2] in page, line
