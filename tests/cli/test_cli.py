"""The command, run in this process where possible and as a program of its own where that matters."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.layouts import camvid_tutorial, dsb, voc

import minisegnet
from minisegnet import inference, models, save
from minisegnet.cli import COMMANDS, main
from minisegnet.exchange import checkpoint

TINY = ["--width", "0.03", "--crop", "32", "--steps", "4", "--batch-size", "2", "--eval-every", "2"]


def run(*argv):
    return main([str(a) for a in argv])


def process(*code):
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path):
    """Four grey images with masks of two classes."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for k in range(4):
        mask = np.zeros((40, 48), np.uint8)
        mask[5 + k : 25, 8:30] = 1
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{k}.png")
        Image.fromarray((mask * 100 + rng.integers(0, 60, mask.shape)).astype(np.uint8)).save(tmp_path / "data" / "images" / f"{k}.png")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short run on the embedded data."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert run("train", *TINY, "--out", out, "--quiet") == 0
    return out


# --- weights of others ------------------------------------------------------------------


def test_training_begins_with_the_weights_of_another_library(folder, tmp_path, capsys):
    """An encoder alone, a network with another number of classes, and the run of a moment ago."""
    for path in (folder / "images").iterdir():
        Image.open(path).convert("RGB").save(path)
    theirs = models.create("unet_resnet", 3, 5, width=1 / 16, backbone="resnet18")
    encoder = {name.removeprefix("encoder."): value for name, value in theirs.state_dict().items() if name.startswith("encoder.")}
    save(encoder | {"fc.weight": np.zeros((10, 32), np.float32)}, tmp_path / "encoder.safetensors")
    save(theirs, tmp_path / "whole.safetensors")
    options = [
        "train",
        "--data",
        folder,
        "--model",
        "unet_resnet",
        "--option",
        "backbone=resnet18",
        *TINY,
        "--width",
        1 / 16,
        "--lr",
        "1e-30",
    ]
    for file, said in ("encoder.safetensors", "names as in torchvision resnet"), ("whole.safetensors", "2 new head"):
        assert run(*options, "--weights", tmp_path / file, "--standardise", "imagenet", "--out", tmp_path / file[:5]) == 0
        assert said in capsys.readouterr().out
        found = checkpoint.read(tmp_path / file[:5])
        name = "encoder.layer1.0.conv1.weight"
        np.testing.assert_allclose(found.weights[name].array, theirs.state_dict()[name].array, atol=1e-6)
        assert found.about.standardise == "imagenet"
    assert run("train", "--config", tmp_path / "whole" / "run.toml", "--out", tmp_path / "again", "--quiet") == 0
    assert run("train", "--resume", tmp_path / "again", "--steps", "5", "--quiet") == 0
    assert run("train", *options[1:], "--weights", tmp_path / "whole", "--out", tmp_path / "third", "--quiet") == 0
    assert run("train", *options[1:], "--option", "spine=resnet18", "--out", tmp_path / "no") == 2
    assert "does not take spine" in capsys.readouterr().err


def test_weights_of_another_library_become_a_checkpoint(tmp_path, capsys):
    """adopt, then segment, evaluate and export; and images are prepared as in the training of the weights."""
    theirs = models.create("unet_resnet", 3, 3, width=1 / 16, backbone="resnet18")
    save({"model." + name: value for name, value in theirs.state_dict().items()}, tmp_path / "a.safetensors")
    adopt = ["adopt", tmp_path / "a.safetensors", "--model", "unet_resnet", "--option", "backbone=resnet18", "--width", 1 / 16]
    out = tmp_path / "b.safetensors"
    assert run(*adopt, "--classes", "sky,road,car", "--standardise", "imagenet", "--out", out) == 0
    assert run(*adopt, "--classes", "sky,road,car", "--standardise", "imagenet", "--out", out) == 2
    assert "exists" in capsys.readouterr().err
    photo = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "p.png")
    np.save(tmp_path / "q.npy", photo)
    assert run("segment", tmp_path / "p.png", tmp_path / "q.npy", "--checkpoint", out, "--out", tmp_path / "s") == 0
    prepared = ((photo / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32).transpose(2, 0, 1)
    expected = inference.predict(theirs, prepared)
    for name in ("p", "q"):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "s" / f"{name}.png")), expected)
    np.testing.assert_array_equal(inference.segment_image(inference.load_model(out), photo), expected)
    assert run("export", out, "--out", tmp_path / "m.onnx", "--size", "64") == 0
    assert run("explain", tmp_path / "p.png", "--checkpoint", out, "--out", tmp_path / "e") == 0
    assert run(*adopt, "--classes", "2", "--standardise", "unit", "--out", tmp_path / "c.safetensors") == 2
    assert "new_head=True" in capsys.readouterr().err


# --- help and version ------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_examples(command, capsys):
    with pytest.raises(SystemExit) as exit:
        run(command, "--help")
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert f"minisegnet {command}" in shown.partition("examples:")[2]


def test_help_and_package_import_nothing_heavy():
    heavy = "numba, matplotlib, PIL, tqdm, cupy, safetensors"
    for code in ("import minisegnet as ms; dir(ms); ms.tensor([1.0]) + 1", "from minisegnet.cli import parser; parser().format_help()"):
        found = process("-c", f"import sys; {code}; print([n for n in '{heavy}'.split(', ') if n in sys.modules])")
        assert found.stdout.strip() == "[]", found.stderr


def test_version_and_module_entry():
    for module in ("minisegnet", "minisegnet.cli"):
        assert process("-m", module, "--version").stdout == f"minisegnet {minisegnet.__version__}\n"


def test_every_public_name_is_there():
    for name in minisegnet.__all__:
        assert getattr(minisegnet, name) is not None
    assert set(minisegnet.__all__) <= set(dir(minisegnet))
    with pytest.raises(AttributeError, match="nonsense"):
        minisegnet.nonsense  # noqa: B018


def test_functions_are_not_hidden_by_files_of_the_same_name():
    code = "from minisegnet.tensor import Tensor; import minisegnet.doctor, minisegnet as ms; ms.doctor; print((ms.tensor([1.0]) + Tensor(2)).item())"
    assert process("-c", code).stdout == "3.0\n"


# --- commands --------------------------------------------------------------------------


def test_train_on_the_embedded_data(trained, capsys):
    assert {p.name for p in trained.iterdir()} == {
        "best.safetensors", "config.json", "curves.png", "last.safetensors", "log.csv", "predictions.png", "run.toml",
    }  # fmt: skip
    about = checkpoint.read_about(trained / "last.safetensors")
    assert about.classes == ("background", "nucleus") and about.step == 4
    assert run("evaluate", trained / "last.safetensors", "--json", trained / "figures.json", "--pictures", trained / "errors.png") == 0
    shown = capsys.readouterr().out
    figures = json.loads((trained / "figures.json").read_text())
    assert figures["pixels"] == 512 * 128
    assert figures["mean_iou"] == pytest.approx(about.metrics["val_iou"])
    assert f"{figures['classes']['nucleus']['iou']:.4f}" in shown
    with Image.open(trained / "errors.png") as picture:
        assert picture.size[0] > 100


def test_evaluate_by_a_convention_with_boundaries_and_a_picture(trained, tmp_path, capsys):
    figures, picture = tmp_path / "figures.json", tmp_path / "confusion.png"
    assert run("evaluate", trained, "--convention", "voc", "--boundaries", "--json", figures, "--confusion", picture) == 0
    shown, found = capsys.readouterr().out, json.loads(figures.read_text())
    assert found["convention"] == "voc" and "means by the convention voc" in shown
    for title, name in (("boundary IoU", "boundary_iou"), ("BF score", "bf_score")):
        assert f"{title} {found[name]['mean']:.4f}" in shown
        assert found[name]["mean"] == pytest.approx(sum(found[name]["classes"].values()) / 2)
    with Image.open(picture) as opened:
        assert opened.format == "PNG" and min(opened.size) > 300
    assert run("evaluate", trained, "--convention", "voc", "--json", figures) == 0
    assert "boundary_iou" not in json.loads(figures.read_text())
    with pytest.raises(SystemExit):
        run("evaluate", trained, "--convention", "coco")
    assert "'nanmean'" in capsys.readouterr().err


def test_train_prints_a_table_and_the_iou(folder, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("train", "--data", folder, *TINY, "--out", out, "--classes", "ground,box", "--val-fraction", "0.25") == 0
    shown = capsys.readouterr().out
    assert "box IoU" in shown and "class " in shown and "3 to train on, 1 held out" in shown
    config = json.loads((out / "config.json").read_text())
    assert config["settings"]["data"] == str(folder) and config["data"]["classes"] == ["ground", "box"]
    assert run("evaluate", out) == 0
    assert run("evaluate", out, "--data", folder) == 0
    assert "4 images" in capsys.readouterr().out


def test_train_and_evaluate_on_a_published_data_set(tmp_path, capsys):
    camvid_tutorial(tmp_path / "CamVid", (40, 48))
    out = tmp_path / "run"
    assert run("train", "--data", tmp_path / "CamVid", *TINY, "--steps", 2, "--out", out, "--quiet") == 0
    about = checkpoint.read_about(out / "last.safetensors")
    assert about.classes[0] == "Sky" and len(about.classes) == 11 and about.in_channels == 3
    capsys.readouterr()
    for options, names in (((), "0016E5_07959"), (("--data", tmp_path / "CamVid", "--split", "test"), "Seq05VD_f00000")):
        assert run("evaluate", out, *options, "--json", tmp_path / "f.json") == 0
        assert "1 image," in capsys.readouterr().out
        with Image.open(next(tmp_path.rglob(f"*annot/{names}.png"))) as mask:
            assert json.loads((tmp_path / "f.json").read_text())["pixels"] == int((np.asarray(mask) != 11).sum())


def test_options_that_a_layout_decides_are_refused(folder, tmp_path, capsys):
    voc(tmp_path / "voc")
    dsb(tmp_path / "dsb")
    for name, options, words in (
        ("voc", ["--classes", 3, "--ignore-index", 0], "--classes, --ignore-index: .*is Pascal VOC, whose layout decides this"),
        ("voc", ["--boundary"], "--boundary: .*Pascal VOC"),
        ("voc", ["--split", "trainval"], "--split trainval: 1 of its images are also in 'val', which is held out"),
        ("voc", ["--split", "tset"], "no split 'tset' here; there are train, trainval, val"),
        ("dsb", ["--split", "all"], "--split: .*Data Science Bowl 2018"),
        ("data", ["--split", "val"], "no split 'val' here; it is not divided into splits"),
        ("dsb/stage1_train/0000000000000000/masks", [], "not a known layout"),
    ):
        message = refused(capsys, tmp_path, "train", "--data", tmp_path / name, *options, *TINY, "--out", tmp_path / "run")
        assert re.search(words, message), message


def test_resume_keeps_the_options_of_the_run(folder, tmp_path, capsys):
    for name, steps in (("whole", 6), ("half", 3)):
        assert (
            run("train", "--data", folder, *TINY, "--eval-every", 1, "--steps", steps, "--seed", 5, "--out", tmp_path / name, "--quiet")
            == 0
        )
    assert run("train", "--resume", tmp_path / "half", "--steps", 6, "--quiet") == 0
    logs = [[line.split(",")[:2] for line in (tmp_path / name / "log.csv").read_text().splitlines()] for name in ("half", "whole")]
    assert logs[0] == logs[1] and len(logs[0]) == 7
    assert run("train", "--resume", tmp_path / "half") == 2
    assert "has done 6 steps already" in capsys.readouterr().err


def test_runs_get_folders_of_their_own(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("train", "--data", folder, *TINY, "--steps", 1, "--quiet") == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["unet-data", "unet-data-2"]


@pytest.mark.parametrize("form", ["L", "RGB", "RGBA", "P", "I;16"])
def test_segment_every_kind_of_image(trained, tmp_path, form):
    grey = np.random.default_rng(0).integers(0, 255, (37, 53), dtype=np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if form == "I;16" else Image.fromarray(grey).convert(form)
    image.save(tmp_path / "cell.png")
    assert run("segment", tmp_path / "cell.png", "--checkpoint", trained, "--out", tmp_path / "out", "--overlay", "--confidence") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cell.png", "cell_confidence.png", "cell_overlay.png"]
    with Image.open(tmp_path / "out" / "cell.png") as labels:
        assert labels.mode == "P" and labels.size == (53, 37)
        assert set(np.unique(np.asarray(labels))) <= {0, 1}
    with Image.open(tmp_path / "out" / "cell_confidence.png") as confidence:
        assert np.asarray(confidence).min() >= 127  # the likelier of two classes has a probability of at least 1/2


def test_segment_in_tiles_and_with_several_looks(trained, tmp_path, capsys):
    grey = np.random.default_rng(0).integers(0, 255, (150, 90), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "cell.png")
    found = {}
    for name, options in {
        "whole": ["--tile", 0], "tiles": ["--tile", 64, "--overlay", "--confidence"], "one": ["--tile", 512],
        "looks": ["--flip", "--scales", "0.5,1"], "both": ["--flip", "--scales", "0.5,1", "--tile", 256],
    }.items():  # fmt: skip
        assert run("segment", tmp_path / "cell.png", "--checkpoint", trained, "--out", tmp_path / name, *options) == 0
        with Image.open(tmp_path / name / "cell.png") as picture:
            found[name] = np.asarray(picture)
            assert picture.mode == "P" and picture.size == (90, 150)
    shown = capsys.readouterr().out
    assert "6 tiles" in shown and shown.count("1 tile,") == 2
    assert {p.name for p in (tmp_path / "tiles").iterdir()} == {"cell.png", "cell_overlay.png", "cell_confidence.png"}
    assert (found["whole"] != found["one"]).mean() < 1e-3 and (found["looks"] != found["both"]).mean() < 1e-3
    assert (found["whole"] != found["tiles"]).mean() < 0.2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tile", 64, "--overlap", 0.9], "cannot advance"),
        (["--tile", 64, "--margin", 40], "take larger tiles"),
        (["--tile", 0, "--margin", 40], "do not go with --tile 0"),
        (["--overlap", 1.5], "overlap < 1"),
    ],
)
def test_tiles_that_make_no_sense(trained, tmp_path, capsys, options, words):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a.png")
    assert words in refused(capsys, tmp_path, "segment", tmp_path / "a.png", "--checkpoint", trained, "--out", tmp_path / "out", *options)


@pytest.mark.parametrize("options", [["--tile", "big"], ["--scales", "a"], ["--scales", "0"], ["--scales", "nan"]])
def test_tiles_and_scales_are_numbers(options, capsys):
    with pytest.raises(SystemExit) as exit:
        run("segment", "a.png", "--checkpoint", "x", *options)
    assert exit.value.code == 2 and options[0] in capsys.readouterr().err


def test_segment_one_bad_file_does_not_stop_the_others(trained, tmp_path, capsys):
    source = tmp_path / "scans"
    source.mkdir()
    Image.fromarray(np.full((20, 20), 7, np.uint8)).save(source / "good.png")
    (source / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    assert run("segment", source, "--checkpoint", trained, "--out", tmp_path / "out") == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]
    assert "bad.png" in capsys.readouterr().err


def test_segment_never_overwrites_an_image(trained, tmp_path, capsys):
    for name in ("a.png", "b/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / name)
    before = (tmp_path / "a.png").read_bytes()
    assert run("segment", tmp_path / "a.png", "--checkpoint", trained, "--out", tmp_path) == 2
    assert "would overwrite an image" in capsys.readouterr().err
    assert run("segment", tmp_path / "a.png", tmp_path / "b" / "a.png", "--checkpoint", trained, "--out", tmp_path / "out") == 2
    assert "would both be written" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == before and not (tmp_path / "out").exists()


def test_segment_refuses_an_overlay_that_another_label_would_overwrite(trained, tmp_path, capsys):
    for name in ("a.png", "a_overlay.png"):
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / name)
    both = [tmp_path / "a.png", tmp_path / "a_overlay.png", "--checkpoint", trained, "--out", tmp_path / "out"]
    assert run("segment", *both, "--overlay") == 2
    assert "would both be written" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert run("segment", *both) == 0


def test_a_terminal_without_the_characters_gets_others():
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"}
    done = process(
        "-c",
        f"import os, sys; os.execve(sys.executable, [sys.executable, '-m', 'minisegnet', 'equation', 'conv2d.forward'], {{**os.environ, **{environment}}})",
    )
    assert done.returncode == 0 and "?? NumPy ??" in done.stdout, done.stderr


def test_equation_models_and_doctor(capsys):
    assert run("equation") == 0
    assert "conv2d.forward" in capsys.readouterr().out
    assert run("equation", "conv2d.forward") == 0
    shown = capsys.readouterr().out
    assert "minisegnet_kernels/conv2d/formula.py:" in shown and "\033" not in shown
    assert run("equation", "conv2d.forward", "--markdown") == 0
    assert "$$" in capsys.readouterr().out
    assert run("models", "--width", "1", "--in-channels", "3", "--classes", "2") == 0
    assert "31,037,698" in capsys.readouterr().out  # U-Net with transposed convolutions, as published
    assert run("doctor") == 0
    shown = capsys.readouterr().out
    for word in ("Python", "numba", "Backends", "cuda", "GPU", "threads", "cache"):
        assert word in shown


def test_backend_is_chosen(folder, tmp_path):
    losses = []
    for backend in ("numpy", "numba"):
        assert run("train", "--data", folder, *TINY, "--steps", 1, "--out", tmp_path / backend, "--backend", backend, "--quiet") == 0
        losses.append(float((tmp_path / backend / "log.csv").read_text().splitlines()[1].split(",")[1]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# --- bad input: a message, exit code 2, and no file left half written ---------------------


def refused(capsys, tmp_path, *argv):
    """The message of a command that has to fail without writing a file."""
    before = sorted(map(str, tmp_path.rglob("*")))
    assert run(*argv) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    return captured.err


def test_corrupt_image(folder, tmp_path, capsys):
    path = folder / "images" / "2.png"
    path.write_bytes(path.read_bytes()[:200])
    message = refused(capsys, tmp_path, "train", "--data", folder, *TINY, "--out", tmp_path / "run")
    assert "cannot be read" in message and "images/2.png" in message


def test_mask_of_another_size(folder, tmp_path, capsys):
    Image.fromarray(np.ones((40, 40), np.uint8)).save(folder / "masks" / "1.png")
    message = refused(capsys, tmp_path, "train", "--data", folder, *TINY, "--out", tmp_path / "run")
    assert "another size" in message and "masks/1.png" in message


def test_label_out_of_range(folder, tmp_path, capsys):
    mask = np.zeros((40, 48), np.uint8)
    mask[3, 4] = 7
    Image.fromarray(mask).save(folder / "masks" / "3.png")
    message = refused(capsys, tmp_path, "train", "--data", folder, "--classes", 2, "--masks", "classes", *TINY, "--out", tmp_path / "run")
    assert "out of range" in message and "masks/3.png" in message and "7" in message


def test_partner_missing(folder, tmp_path, capsys):
    (folder / "masks" / "0.png").unlink()
    message = refused(capsys, tmp_path, "train", "--data", folder, *TINY, "--out", tmp_path / "run")
    assert "without a mask" in message and "images/0.png" in message


def test_no_such_data(tmp_path, capsys):
    assert "nowhere" in refused(capsys, tmp_path, "train", "--data", tmp_path / "nowhere", *TINY, "--out", tmp_path / "run")


@pytest.mark.parametrize("classes", ["1", "x", "a,,b", "a,a"])
def test_unusable_classes(classes, capsys):
    with pytest.raises(SystemExit) as exit:
        run("train", "--classes", classes)
    assert exit.value.code == 2
    assert "--classes" in capsys.readouterr().err


def test_another_number_of_classes_than_the_masks(folder, tmp_path, capsys):
    message = refused(capsys, tmp_path, "train", "--data", folder, "--masks", "binary", "--classes", 3, *TINY, "--out", tmp_path / "run")
    assert "2 classes" in message and "classes=3" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--classes", 3], "--classes"),
        (["--masks", "binary", "--ignore-index", 0, "--val-fraction", 0.5], "--masks, --ignore-index, --val-fraction"),
        (["--data", "shapes", "--boundary"], "--boundary"),
        (["--split", "val"], "--split"),
        (["--data", "shapes", "--classes", "a,b"], "names of their own"),
    ],
)
def test_options_that_the_data_cannot_use_are_refused(tmp_path, capsys, options, words):
    assert words in refused(capsys, tmp_path, "train", *options, *TINY, "--out", tmp_path / "run")


def test_evaluate_refuses_options_without_data_and_runs_that_record_no_data(trained, tmp_path, capsys):
    assert "--classes: this goes with --data" in refused(capsys, tmp_path, "evaluate", trained, "--classes", 2)
    found = checkpoint.read(trained / "last.safetensors").about
    about = dataclasses.replace(found, run={**found.run, "settings": {"data": "mine"}}, resume={**found.resume, "best_step": 0})
    model = minisegnet.inference.load_model(trained)
    checkpoint.write(tmp_path / "last.safetensors", model, about)
    assert "name the data (--data)" in refused(capsys, tmp_path, "evaluate", tmp_path)
    assert "not started by minisegnet train" in refused(capsys, tmp_path, "train", "--resume", tmp_path)


def test_unknown_model_and_bad_width(tmp_path, capsys):
    for option, value, expected in (
        ("--width", "nan", "a number above 0, not 'nan'"),
        ("--width", "inf", "a number above 0, not 'inf'"),
        ("--width", "0", "a number above 0, not '0'"),
        ("--seed", "-1", "a whole number, 0 or more, not '-1'"),
    ):
        with pytest.raises(SystemExit) as exit:
            run("train", f"{option}={value}", "--out", tmp_path / "run")
        assert exit.value.code == 2 and f"argument {option}: expected {expected}" in capsys.readouterr().err
    assert "did you mean 'unet'" in refused(capsys, tmp_path, "train", "--model", "unett", "--out", tmp_path / "run")
    assert "16 × 16" in refused(capsys, tmp_path, "train", *TINY, "--crop", 8, "--out", tmp_path / "run")


def test_folder_that_cannot_be_used(tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    assert "cannot write" in refused(capsys, tmp_path, "train", *TINY, "--out", tmp_path / "file" / "run")
    assert "--overwrite" in refused(capsys, tmp_path, "train", *TINY, "--out", tmp_path)
    assert (tmp_path / "file").read_text() == "precious"


def test_backend_that_does_not_run_here(tmp_path, capsys):
    from minisegnet_kernels import backends

    missing = [name for name, found in backends.available().items() if not found]
    for name in missing:
        message = refused(capsys, tmp_path, "train", *TINY, "--backend", name, "--out", tmp_path / "run")
        assert name in message and backends.available()[name].reason in message


def test_damaged_checkpoint(trained, tmp_path, capsys):
    path = tmp_path / "c.safetensors"
    path.write_bytes((trained / "best.safetensors").read_bytes()[:5000])
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a.png")
    assert "not a safetensors file" in refused(
        capsys, tmp_path, "segment", tmp_path / "a.png", "--checkpoint", path, "--out", tmp_path / "out"
    )
    path.write_bytes((trained / "best.safetensors").read_bytes()[:-100])
    assert "truncated" in refused(capsys, tmp_path, "evaluate", path)
    assert "no checkpoint" in refused(capsys, tmp_path, "evaluate", tmp_path / "nothing.safetensors")
    assert "not a checkpoint of minisegnet" in refused(capsys, tmp_path, "evaluate", _pickle(tmp_path))
    assert "no checkpoint in the folder" in refused(capsys, tmp_path, "train", "--resume", tmp_path)


def test_results_that_cannot_be_written_are_known_before_anything_is_computed(trained, tmp_path, capsys, monkeypatch):
    for computing in ("minisegnet.inference.whole.scores", "minisegnet.training.evaluation.run"):
        monkeypatch.setattr(computing, lambda *a: pytest.fail("computed first"))
    (tmp_path / "file").write_text("precious")
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a.png")
    nowhere = tmp_path / "file" / "deep"
    message = refused(capsys, tmp_path, "segment", tmp_path / "a.png", "--checkpoint", trained, "--out", nowhere)
    assert "cannot write" in message and str(nowhere) in message
    for option in ("--json", "--pictures"):
        message = refused(capsys, tmp_path, "evaluate", trained, option, nowhere / "figures")
        assert "cannot write" in message and str(nowhere) in message
        assert "name a file in it" in refused(capsys, tmp_path, "evaluate", trained, option, tmp_path)


def _pickle(folder):
    (folder / "old.pth").write_bytes(b"PK\x03\x04 and so on")
    return folder / "old.pth"


def test_no_image(trained, tmp_path, capsys):
    assert "there is no such file" in refused(
        capsys, tmp_path, "segment", tmp_path / "x.png", "--checkpoint", trained, "--out", tmp_path / "out"
    )
    (tmp_path / "empty").mkdir()
    assert "no images" in refused(capsys, tmp_path, "segment", tmp_path / "empty", "--checkpoint", trained)
    (tmp_path / "a.txt").write_text("not an image")
    assert "a.txt" in refused(capsys, tmp_path, "segment", tmp_path / "a.txt", "--checkpoint", trained, "--out", tmp_path / "out")


def test_an_operation_lists_its_equations(capsys):
    assert run("equation", "conv2d") == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert listed == [
        "conv2d.forward",
        "conv2d.forward_relu",
        "conv2d.forward_statistics",
        "conv2d.grad_input",
        "conv2d.grad_weight",
        "conv2d.grad_bias",
    ]
    assert run("equation", "conv2d.forward", "--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == listed
    assert run("equation", "conv2d.grad_weight", "--view", "cuda") == 0
    shown = capsys.readouterr().out
    assert "__global__ void conv2d_grad_weight(" in shown and "np.ndindex" not in shown


def test_unknown_equation(tmp_path, capsys):
    assert "begin with conv2d, pool2d" in refused(capsys, tmp_path, "equation", "xyz")
    assert "did you mean conv2d.forward" in refused(capsys, tmp_path, "equation", "conv2d.forwrad")


def test_debug_shows_where(monkeypatch):
    monkeypatch.setenv("MINISEGNET_DEBUG", "1")
    with pytest.raises(ValueError, match="forwrad"):
        run("equation", "conv2d.forwrad")
    monkeypatch.delenv("MINISEGNET_DEBUG")


def test_ctrl_c_before_anything_was_done(monkeypatch, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("minisegnet.learn.equations.listing", interrupt)
    assert run("equation") == 130
    assert "stopped" in capsys.readouterr().err


# --- explain ---------------------------------------------------------------------------------


def test_explain_draws_and_tells(trained, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 33), dtype=np.uint8)).save(tmp_path / "cell.png")
    command = ["explain", tmp_path / "cell.png", "--checkpoint", trained, "--out", tmp_path / "out"]
    assert run(*command) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f"cell_{name}.png" for name in ("doubt", "cam", "features", "pixel", "filters")
    }  # fmt: skip
    assert "down4.maxpool_conv.1.double_conv.5" in capsys.readouterr().out
    assert run(*command, "--pixel", "39,0", "--target", "nucleus", "--class", "0", "--layer", "up4.conv") == 0
    shown = capsys.readouterr().out
    assert "pixel (row 39, column 0)" in shown and "compared with class 1" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--pixel", "40,0"], "outside"),
        (["--target", "car"], "--target: there is no class 'car'; there are 0 background, 1 nucleus"),
        (["--class", "2"], "--class: there is no class '2'"),
        (["--layer", "down9"], "no layer 'down9'"),
        (["--passes", "5"], "no dropout layer"),
    ],
)
def test_what_cannot_be_explained(trained, tmp_path, capsys, options, words):
    Image.fromarray(np.zeros((40, 33), np.uint8)).save(tmp_path / "cell.png")
    message = refused(capsys, tmp_path, "explain", tmp_path / "cell.png", "--checkpoint", trained, "--out", tmp_path / "out", *options)
    assert words in message


def test_a_pixel_is_a_row_and_a_column(capsys):
    with pytest.raises(SystemExit) as exit:
        run("explain", "a.png", "--checkpoint", "x", "--pixel", "12")
    assert exit.value.code == 2 and "120,64" in capsys.readouterr().err


def test_evaluate_counts_errors_near_boundaries(trained, tmp_path, capsys):
    assert run("evaluate", trained, "--band", "2", "--json", tmp_path / "f.json", "--pictures", tmp_path / "e.png") == 0
    assert "less than 2 px from a true boundary" in capsys.readouterr().out
    figures = json.loads((tmp_path / "f.json").read_text())
    counted = figures["boundary_errors"]
    assert counted["near"] + counted["far"] == 512 * 128
    assert counted["near_wrong"] + counted["far_wrong"] == round((1 - figures["pixel_accuracy"]) * 512 * 128)
    with pytest.raises(SystemExit):
        run("evaluate", trained, "--band", "0")
