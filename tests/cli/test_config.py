"""Options of ``minisegnet train`` from a TOML file: the command line overrides it, and a run can be repeated from its file."""

import argparse
import json
import re
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.cli import config, main
from minisegnet.cli.train import OPTIONS
from minisegnet.exchange import checkpoint
from minisegnet.options import FLAG, pick
from minisegnet.training import Recipe

TINY = ["--data", "shapes", "--width", "0.03", "--crop", "32", "--steps", "3", "--batch-size", "2", "--eval-every", "2", "--quiet"]


def run(*argv):
    return main([str(a) for a in argv])


PARSER = argparse.ArgumentParser()
config.add_options(PARSER, OPTIONS.values(), defaults=False)
IN_FILES = {about.key: about for about in OPTIONS.values() if about.typed and about.in_file}
VALUES = {
    "option": "backbone=resnet18,aux=true,rate=0.5,k=none",
    "weights": "theirs.pth",
    "standardise": "imagenet",  # a value for each option that takes one: not the default, written as on the command line
    "data": "some/folder",
    "split": "trainval", "val-data": "other/folder", "images": "plates", "masks-dir": "drawn", "mask-suffix": "_gt",
    "colours": "road=#804080,sky=#4682b4", "classes": "sky,road,car", "masks": "binary", "levels": "0,85,170", "threshold": "0.3", "ignore-index": "7", "model": "unet_paper", "width": "0.1", "aux": "0.4",
    "steps": "7", "batch-size": "3", "accumulate": "2", "crop": "64", "optimizer": "sgd", "lr": "1e-05", "lr-factor": "outc=10,up4=0.5", "schedule": "poly",
    "warmup": "5", "weight-decay": "0.0001", "clip-norm": "1.5", "ema": "0.99", "seed": "3", "val-fraction": "0.3", "loss": "ce+0.5*dice",
    "class-weights": "0.5,2", "label-smoothing": "0.1", "flip": "none", "scale": "0.5,2", "rotate": "10", "jitter": "0.3", "blur": "1.5", "noise": "0.1",
    "eval-every": "2", "best-by": "loss", "patience": "4", "out": "runs/x", "backend": "numpy", "device": "cuda",
}  # fmt: skip


def settled(argv=(), file=""):
    return config.settled(vars(PARSER.parse_args(list(argv))), OPTIONS, config.parse(file, "f.toml", OPTIONS))


def everything():
    flags = [f"--{key}" for key, about in IN_FILES.items() if about.kind is FLAG]
    return flags + [word for key, value in VALUES.items() for word in (f"--{key}", value)]


def test_every_option_of_the_command_line_can_be_in_a_file():
    assert set(VALUES) == {key for key, about in IN_FILES.items() if about.kind is not FLAG}
    typed = settled(everything())
    again = settled(file=config.write(typed, OPTIONS))
    assert again == typed
    defaults = settled()
    assert [key for key, about in IN_FILES.items() if typed[about.name] == defaults[about.name]] == []


def test_a_file_from_windows_is_read(tmp_path):
    (tmp_path / "a.toml").write_text("steps = 7\n", encoding="utf-8-sig")
    assert config.read(str(tmp_path / "a.toml"), OPTIONS) == {"steps": 7}


def test_defaults_survive_the_file_and_are_what_help_promises():
    defaults = settled()
    assert settled(file=config.write(defaults, OPTIONS)) == defaults
    assert [defaults[n] for n in ("steps", "batch_size", "learning_rate", "optimizer", "out")] == [150, 4, 1e-3, "adam", None]
    said = " ".join(PARSER.format_help().split())
    for words in ("steps (default: 150)", "learning rate (default: 0.001)", "crops in a batch (default: 4)", "(default: runs/MODEL-DATA)"):
        assert words in said


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default():
    file = '[training]\nsteps = 50\nlr = 0.5\n[loss]\nloss = "dice"\n'
    found = settled(["--lr", "0.25", "--quiet"], file)
    assert [found[n] for n in ("steps", "learning_rate", "loss", "quiet", "batch_size")] == [50, 0.25, "dice", True, 4]
    assert settled(["--steps", "150"], file)["steps"] == 150  # given on the command line, although it is the default


def test_tables_may_be_left_out_and_lists_are_lists():
    found = settled(
        file='steps = 5\nclasses = ["a", "b"]\nscale = [0.5, 2]\nclass-weights = [1, 2.5]\nlr-factor = ["outc=10"]\noverwrite = true\nlr = 1\n'
    )
    assert [found[n] for n in ("steps", "classes", "scale", "class_weights")] == [5, ["a", "b"], (0.5, 2.0), [1.0, 2.5]]
    assert found["lr_factors"] == {"outc": 10.0} and found["overwrite"] is True and isinstance(found["learning_rate"], float)


@given(
    st.dictionaries(st.sampled_from(["data", "model", "out"]), st.text(st.characters(codec="utf-8"), max_size=20)),
    st.floats(min_value=5e-324, allow_infinity=False),
    st.integers(min_value=0),
)
def test_every_string_and_number_comes_back(texts, rate, seed):
    values = {**settled(), **texts, "learning_rate": rate, "seed": seed}
    text = config.write(values, OPTIONS)
    assert settled(file=text) == values
    assert tomllib.loads(text)["training"]["lr"] == rate  # read by another TOML parser


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 5\nstep = 3", r"f\.toml: no option 'step': did you mean 'steps'"),
        ("batch_size = 5", r"no option 'batch_size': did you mean 'batch-size'"),
        ("zzz = 5", r"no option 'zzz': there are accumulate, aux, "),
        ("[trainig]\nsteps = 5", r"no table \[trainig\]: did you mean 'training'"),
        ("[network]\nlr = 0.1", r"lr belongs in \[training\], not in \[network\]"),
        ("lr = 0.1\n[training]\nlr = 0.2", r"lr appears twice"),
        ("steps = 0", r"steps = 0: expected a whole number, 1 or more"),
        ("steps = 2.5", r"steps = 2\.5: expected a whole number, 1 or more"),
        ("seed = 1.5", r"seed = 1\.5: expected a whole number"),
        ("lr = 'fast'", r'lr = "fast": expected a number above 0'),
        ("lr = true", r"lr = true: expected a number above 0"),
        ("quiet = 1", r"quiet = 1: expected true or false"),
        ("optimizer = 'adma'", r'optimizer = "adma": expected one of adam, adamw, sgd'),
        ("model = 5", r"model = 5: expected a string"),
        ("resume = 'runs/x'", r"resume can only be given on the command line"),
        ("config = 'other.toml'", r"config can only be given on the command line"),
        ("steps = = 3", r"f\.toml: this is not TOML: .*line 1"),
        ("scale = [1]", r"scale = \[1\]: expected two numbers"),
    ],
)
def test_what_cannot_be_understood_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        config.parse(text, "f.toml", OPTIONS)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("warmup", "-1"), ("warmup", "x"), ("lr-factor", "outc"), ("lr-factor", "=3"), ("lr-factor", "outc=-1"), ("scale", "1"),
        ("scale", "a,b"), ("scale", "2,1"), ("class-weights", "1,x"), ("class-weights", "0,0"), ("ema", "1"), ("clip-norm", "nan"),
        ("classes", "1"), ("classes", "a,a"), ("val-fraction", "1"), ("width", "0"), ("schedule", "steps"),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_on_the_command_line_in_a_file_and_in_python(key, text, capsys):
    about = IN_FILES[key]
    with pytest.raises(SystemExit):
        PARSER.parse_args([f"--{key}={text}"])
    said = capsys.readouterr().err
    assert f"argument --{key}: " in said and text in said
    with pytest.raises(ValueError, match=f"f.toml: {key} = .*expected {re.escape(about.kind.expected)}"):
        config.parse(f'{key} = "{text}"', "f.toml", OPTIONS)
    with pytest.raises(ValueError, match=f"{about.name}: expected {re.escape(about.kind.expected)}, not 'no such value"):
        about.check("no such value,")


def test_a_file_of_the_version_before_recipes_still_loads():
    file = """# minisegnet train --config THIS_FILE

[data]
data = "nuclei"
masks = "auto"
ignore-index = 255
boundary = false

[network]
model = "unet"
width = 0.25
aux = 0.4

[training]
steps = 150
batch-size = 4
accumulate = 1
crop = 128
optimizer = "adam"
lr = 0.001
lr-factor = ["outc=10.0", "up4=0.5"]
schedule = "poly"
warmup = 5
weight-decay = 0.0001
clip-norm = 1.0
ema = 0.99
seed = 0
val-fraction = 0.2

[loss]
loss = "ce+dice"
class-weights = [0.5, 2.0]
label-smoothing = 0.0

[augmentation]
flip = "turns"
scale = [0.5, 2.0]
rotate = 0.0
jitter = 0.0
blur = 0.0
noise = 0.0

[evaluation]
eval-every = 15
best-by = "iou"
patience = 4

[output]
quiet = false

[options]
backend = "numba"
device = "cpu"
"""
    found = settled(file=file)
    assert (found["lr_factors"], found["scale"], found["val_fraction"]) == ({"outc": 10.0, "up4": 0.5}, (0.5, 2.0), 0.2)
    assert pick(Recipe, found) == Recipe(
        steps=150, lr_factors={"outc": 10, "up4": 0.5}, schedule="poly", warmup=5, weight_decay=1e-4, clip_norm=1, ema=0.99, loss="ce+dice",
        class_weights=[0.5, 2.0], scale=(0.5, 2.0), eval_every=15, patience=4,
    )  # fmt: skip


# --- the command --------------------------------------------------------------------------------


def losses_of(folder):
    return [line.split(",")[1] for line in (folder / "log.csv").read_text().splitlines()]


def test_a_run_can_be_repeated_from_its_file_and_goes_on_under_its_own_conditions(tmp_path, capsys):
    """With nearly every option on, a run from the file and a resumed run give the same bits as the original."""
    more = ["--loss", "ce+dice", "--class-weights", "inverse", "--schedule", "poly", "--warmup", 1, "--ema", 0.9, "--accumulate", 2, "--clip-norm", 1,
            "--lr-factor", "outc=10", "--scale", "0.8,1.2", "--rotate", 5, "--jitter", 0.2, "--seed", 3, "--best-by", "loss"]  # fmt: skip
    first = tmp_path / "first"
    assert run("train", *TINY, *more, "--out", first) == 0
    written = tomllib.loads((first / "run.toml").read_text())
    assert written["loss"] == {"loss": "ce+dice", "class-weights": "inverse", "label-smoothing": 0.0} and "out" not in written.get(
        "output", {}
    )
    assert run("train", "--config", first / "run.toml", "--out", tmp_path / "second", "--quiet") == 0
    assert losses_of(tmp_path / "second") == losses_of(first)
    assert (tmp_path / "second" / "run.toml").read_text() == (first / "run.toml").read_text()
    weights = [checkpoint.read(tmp_path / name / "last.safetensors").weights for name in ("first", "second")]
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value.array, weights[1][name].array)

    assert run("train", "--resume", first, "--steps", 4, "--quiet") == 0
    assert tomllib.loads((first / "run.toml").read_text())["training"]["steps"] == 4
    assert json.loads((first / "config.json").read_text())["options"]["lr_factors"] == {"outc": 10.0}
    before = (first / "last.safetensors").read_bytes()
    assert run("train", "--resume", first, "--steps", 9, "--lr", 1, "--loss", "ce") == 2
    assert "--lr, --loss: a run continues under its own options; with --resume go only --steps" in capsys.readouterr().err
    assert (first / "last.safetensors").read_bytes() == before


def test_write_config_writes_and_does_not_train(tmp_path, capsys):
    file = tmp_path / "new" / "mine.toml"
    assert run("train", "--write-config", file, "--steps", 7, "--out", "runs/mine") == 0
    assert tomllib.loads(file.read_text())["training"]["steps"] == 7 and tomllib.loads(file.read_text())["output"]["out"] == "runs/mine"
    assert f"minisegnet train --config {file}" in capsys.readouterr().out
    assert [p.name for p in tmp_path.rglob("*")] == ["new", "mine.toml"]
    assert run("train", "--write-config", file) == 2
    assert "exists: choose another name" in capsys.readouterr().err and "steps = 7" in file.read_text()
    assert run("train", "--config", file, "--write-config", file, "--lr", 1, "--overwrite") == 0
    assert "steps = 7" in file.read_text() and "lr = 1.0" in file.read_text()


@pytest.mark.parametrize(
    ("content", "argv", "words"),
    [
        ("stepz = 3", [], "f.toml: no option 'stepz': did you mean 'steps'"),
        (b"\xff\xfe", [], "not text in UTF-8"),
        (None, [], "no configuration file"),
        ("loss = 'dise'", [], "did you mean 'dice'"),
        ("flip = 'none'\njitter = 3", [], "from 0 to 1"),
        ("", ["--lr-factor", "head=10"], "no parameters under 'head'"),
        ("", ["--aux", "0.4"], "--aux: the network unet has no auxiliary head"),
        ("masks = 'binary'", [], "--masks: this is for a folder"),
        ("", ["--write-config", "x.toml", "--resume", "nowhere"], "with --resume go only"),
    ],
)
def test_mistakes_are_reported_and_leave_no_file(tmp_path, monkeypatch, capsys, content, argv, words):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "f.toml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(tmp_path.rglob("*"))
    how = [] if "--resume" in argv else ["--config", "f.toml", *TINY[:-1]]
    assert run("train", *how, *argv) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told
    assert sorted(tmp_path.rglob("*")) == before
