"""``minisegnet models`` and ``python -m minisegnet.bench.architectures``."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisegnet import nn
from minisegnet.bench import architectures, lineup
from minisegnet.cli import main
from minisegnet.models import create, list_models


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


def test_the_list_has_every_network(capsys):
    assert main(["models", "--width", "1", "--classes", "21"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in list_models())
    assert "251,805,653" in said and "134,362,751" in said  # DeconvNet; FCN-8s without its frozen layers


def test_a_name_tells_every_step(capsys):
    assert main(["models", "segnet", "--classes", "11", "--size", "360x480"]) == 0
    said = capsys.readouterr().out
    assert "1 × 512 × 23 × 30" in said and "29,449,355 parameters" in said
    assert main(["models", "unet_paper", "--in-channels", "1"]) == 0
    assert "1 × 1 × 412 × 412 → 1 × 2 × 228 × 228" in capsys.readouterr().out
    assert main(["models", "fcn_resnet", "--classes", "21", "--option", "backbone=resnet101", "--option", "aux=true"]) == 0
    assert "54,314,346 parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segnett"], "did you mean 'segnet'"),
        (["unet", "--size", "12"], "at least 16 × 16"),
        (["unet", "--option", "deep=3"], "--option: .*'deep'"),
        (["deeplabv3", "--option", "backbone=vgg"], "no backbone 'vgg'"),
        (["--size", "360x480"], "go with the name of a network"),
        (["unet", "--width", "0"], "positive"),
    ],
)
def test_what_models_refuses(arguments, words, capsys):
    assert main(["models", *arguments]) == 2
    said = capsys.readouterr().err
    assert re.search(words, said) and "Traceback" not in said


@pytest.mark.parametrize("arguments", [["unet", "--size", "axb"], ["unet", "--option", "deep"], ["unet", "--size", "0x3"]])
def test_what_the_parser_refuses(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["models", *arguments])
    assert exit.value.code == 2 and "expected" in capsys.readouterr().err


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
    assert architectures.main([str(a) for a in arguments]) == 0  # all is there: nothing is trained, the picture is made from the record
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
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d) → (\d+) \| ([\d,]+)", text, re.MULTILINE)
    assert [name for name, *_ in rows] == [entry.name for entry in lineup.LINEUP]
    for name, channels, classes, told in rows:
        with nn.init.skip():
            model = create(name, int(channels), int(classes))
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == int(told.replace(",", "")), name
