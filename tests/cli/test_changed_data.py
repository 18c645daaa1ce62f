"""A folder that changes after a run: what was held out stays held out, and what is new, gone or changed is said."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from support.layouts import put

from minisegnet import data
from minisegnet.cli import main
from minisegnet.exchange import checkpoint


def run(*argv):
    return main([str(a) for a in argv])


def pair(root, name, seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 32), np.uint8)
    mask[5 + seed % 9 : 25, 8:30] = 1
    put(root / "masks" / f"{name}.png", mask)
    put(root / "images" / f"{name}.png", (mask * 100 + rng.integers(0, 60, mask.shape)).astype(np.uint8))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on ten images; its folder, and the folder of its data."""
    root = tmp_path_factory.mktemp("changed")
    for k in range(10):
        pair(root / "data", f"{k}", k)
    options = ["--width", 0.03, "--crop", 32, "--steps", 2, "--batch-size", 1, "--eval-every", 1, "--quiet"]
    assert run("train", "--data", root / "data", *options, "--out", root / "run") == 0
    return root / "run", root / "data"


@pytest.fixture
def copy(trained, tmp_path):
    """The run and its data, to be changed."""
    shutil.copytree(trained[0], tmp_path / "run")
    shutil.copytree(trained[1], tmp_path / "data")
    for name in ("best", "last"):
        file = tmp_path / "run" / f"{name}.safetensors"
        found = checkpoint.read(file)
        parts = {part: {**kept, "data": str(tmp_path / "data")} for part, kept in found.about.run["settings"]["parts"].items()}
        edit(file, data=str(tmp_path / "data"), parts=parts)
    return tmp_path / "run", tmp_path / "data"


def edit(file, **settings):
    """Change the settings that a checkpoint records."""
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    (key,) = [key for key, text in header["__metadata__"].items() if '"settings"' in text]
    about = json.loads(header["__metadata__"][key])
    for name, value in settings.items():
        if value is None:
            del about["run"]["settings"][name]
        else:
            about["run"]["settings"][name] = value
    header["__metadata__"][key] = json.dumps(about)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


def recorded(run_folder):
    parts = checkpoint.read_about(run_folder / "last.safetensors").run["settings"]["parts"]
    return {part: set(kept["items"]) for part, kept in parts.items()}


def measured(run_folder, tmp_path, *options):
    file = tmp_path / "figures.json"
    assert run("evaluate", run_folder, "--json", file, *options) == 0
    return json.loads(file.read_text())


def test_a_split_depends_on_names_and_not_on_their_order_or_number():
    def held_out(names, seed=0):
        blank = [np.zeros((2, 2))] * len(names)
        return set(data.split(data.Arrays(blank, [np.zeros((2, 2), int)] * len(names), ("a", "b"), names=names), 0.2, seed)[1].names)

    names = [f"{k:03}" for k in range(100)]
    before = held_out(names)
    assert len(before) == 20 and before == held_out(names[::-1]) and before != held_out(names, 1)
    assert len(before & held_out([*names, "new"])) >= 19
    assert held_out([f"e\u0301 {k}" for k in range(50)]) == {
        n.replace("\xe9", "e\u0301") for n in held_out([f"\xe9 {k}" for k in range(50)])
    }
    assert held_out(names[:5]) == {"000"}, "the same draw in every version and on every system"


def test_a_run_records_its_images_and_evaluates_on_those_that_it_held_out(copy, tmp_path, capsys):
    folder, source = copy
    parts = recorded(folder)
    assert {part: len(names) for part, names in parts.items()} == {"train": 8, "held out": 2}
    assert not parts["train"] & parts["held out"]
    before = measured(folder, tmp_path)
    assert before["images"] == 2 and before["notes"] == []
    for k in range(10, 30):  # most of them would be held out by a new split, and most of the old ones trained on
        pair(source, f"{k:02}", k)
    after = measured(folder, tmp_path)
    assert after.pop("notes") == [
        after_note := "20 images are new since the run began: neither trained on nor held out (10, 11, 12, 13, 14, … and 15 more)"
    ]
    assert after == {k: v for k, v in before.items() if k != "notes"}
    assert after_note in capsys.readouterr().out


def test_what_is_gone_or_changed_is_said_and_the_rest_is_measured(copy, tmp_path, capsys):
    folder, source = copy
    first, second = sorted(recorded(folder)["held out"])
    (source / "images" / f"{first}.png").unlink()
    (source / "masks" / f"{first}.png").unlink()
    pair(source, second, 99)
    found = measured(folder, tmp_path)
    assert found["images"] == 1
    assert found["notes"] == [
        f"1 image is gone: the run had it and the folder no longer does ({first})",
        f"1 image is changed since the run began: the file of the image or of the mask has other content ({second})",
    ]
    (source / "images" / f"{second}.png").unlink()
    (source / "masks" / f"{second}.png").unlink()
    assert run("evaluate", folder) == 2
    assert "none of the 2 images is left that the run recorded as held out" in capsys.readouterr().err


def test_an_evaluation_says_which_images_were_trained_on_under_whatever_name(copy, tmp_path):
    folder, source = copy
    (note,) = measured(folder, tmp_path, "--data", source)["notes"]
    assert note.startswith("8 of the 10 images are ones that the network was trained on (")
    name = sorted(recorded(folder)["train"])[0]
    for part in ("images", "masks"):
        put(tmp_path / "other" / part / "unseen.png", Image.open(source / part / f"{sorted(recorded(folder)['held out'])[0]}.png"))
        shutil.copy(source / part / f"{name}.png", tmp_path / "other" / part / "renamed.png")
    (note,) = measured(folder, tmp_path, "--data", tmp_path / "other")["notes"]
    assert note == "1 of the 2 images are ones that the network was trained on (renamed): the figures are too good"


def test_a_resumed_run_goes_on_with_its_own_split(copy, capsys):
    folder, source = copy
    before = recorded(folder)
    for k in range(10, 14):
        pair(source, f"{k}", k)
    assert run("train", "--resume", folder, "--steps", 3, "--quiet") == 0
    assert recorded(folder) == before
    assert "note: 4 images are new since the run began" in capsys.readouterr().err


def test_a_run_whose_images_have_changed_goes_on_when_it_is_asked_to(copy, capsys):
    folder, source = copy
    name = sorted(recorded(folder)["train"])[0]
    pair(source, name, 99)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run("train", "--resume", folder, "--steps", 3, "--quiet") == 2
    said = capsys.readouterr().err
    assert f"1 image is changed since the run began: the file of the image or of the mask has other content ({name})" in said
    assert "the train data have other content. To go on nevertheless, accept the changes (--accept-changes" in said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run("train", "--resume", folder, "--steps", 3, "--quiet", "--accept-changes") == 0
    assert checkpoint.read_about(folder / "last.safetensors").step == 3


def test_a_run_that_did_not_record_its_images_is_not_guessed(copy, tmp_path, capsys):
    folder, source = copy
    for name in ("best", "last"):
        edit(folder / f"{name}.safetensors", parts=None)
    for command in (["evaluate", folder], ["train", "--resume", folder, "--steps", 3]):
        assert run(*command) == 2
        assert "did not record which images it trained on" in capsys.readouterr().err
    (note,) = measured(folder, tmp_path, "--data", source)["notes"]
    assert note.startswith("the checkpoint does not record which images it was trained on")
