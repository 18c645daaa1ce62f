"""A run is stopped before every operation on its files. Resumed, it ends with the bytes of an undisturbed run.

``python tests/support/crashes.py WAY SHARD SHARDS`` runs one of these tests alone and prints its figures, and
``python tests/support/crashes.py random SEED KILLS`` kills at random times.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import crashes

import minisegnet as ms
from minisegnet import training
from minisegnet.exchange import checkpoint
from minisegnet.files import FolderLock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
SCRIPT = Path(crashes.__file__)


def figures(*argv):
    """In a process of its own, in which no thread of a kernel has run yet: only such a process can be forked."""
    done = subprocess.run([sys.executable, SCRIPT, *map(str, argv)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def check(found, said):
    assert found["runs"] > 0 and not {"failed", "differ", "left over"} & found.keys(), said


SHARDS = 4


@pytest.mark.parametrize("way", crashes.WAYS)
@pytest.mark.parametrize("shard", [pytest.param(k, marks=pytest.mark.slow) for k in range(SHARDS)])
def test_every_stop_is_mended(way, shard):
    found, said = figures(way, shard, SHARDS)
    check(found, said)
    assert found["operations"] > 200 and found["stopped"] >= 0.9 * found["runs"]


def test_some_stops_of_each_way_are_mended():
    check(*figures("all", 7, 26))


def test_a_finished_run_survives_a_power_failure():
    """Its seven files are on the disk. So is the file of its lock, whose name may come back, unlocked."""
    assert figures("end", 0, 0)[0] == {"files": 8}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_kills_are_mended(seed):
    found, said = figures("random", seed, 50)
    check(found, said)
    assert found["kills"] >= 50


# --- the protocol, one promise at a time -------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    for name, quick in crashes.PICTURES.items():
        monkeypatch.setattr(ms.viz, name, quick)


def train(folder, steps=4, **options):
    ms.manual_seed(0)
    recipe = {"steps": steps, "eval_every": 2, "batch_size": 1, "crop": 8, "learning_rate": 0.1, "progress": False, **options}
    data, validation = recipe.pop("data", crashes.data(0, 3)), recipe.pop("validation", crashes.data(1, 2))
    with ms.backend.use("numpy"):
        return training.fit(crashes.Network(), data, validation, out=folder, **recipe)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stop_in_evaluation(monkeypatch, step):
    """Ctrl-C during the evaluation of a step."""
    real, seen = training.run.measure, []

    def measure(*args, **options):
        seen.append(1)
        if len(seen) == step // 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(training.run, "measure", measure)


@pytest.mark.parametrize("step", range(1, 6))
def test_a_stopped_run_ends_with_the_bytes_of_an_undisturbed_one(tmp_path, monkeypatch, step):
    monkeypatch.setattr(training.loop, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    crashes.train(tmp_path / "whole")
    with pytest.raises(training.Interrupted):
        crashes.train(tmp_path / "run", callback=stop_at(step))
    crashes.train(tmp_path / "run")
    assert content(tmp_path / "run") == content(tmp_path / "whole")


@pytest.mark.parametrize("step", [2, 4])
def test_an_interrupted_evaluation_is_made_up_for(tmp_path, monkeypatch, step):
    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_in_evaluation(patch, step)
        with pytest.raises(training.Interrupted, match=f"stopped after step {step}"):
            train(tmp_path / "run")
    about = checkpoint.read_about(tmp_path / "run" / "last.safetensors")
    assert about.step == step and about.resume["owed"] and "val_loss" not in about.metrics
    again = train(tmp_path / "run", resume=tmp_path / "run")
    for ours, theirs in zip(again.rows, whole.rows, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    assert (again.best_step, again.best_score) == (whole.best_step, whole.best_score)
    for name in ("best.safetensors", "predictions.png"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["curves.png", "predictions.png", "log.csv", "config.json"])
def test_a_finished_run_makes_what_is_missing(tmp_path, name):
    train(tmp_path / "run")
    before = content(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    train(tmp_path / "run", resume=tmp_path / "run")
    assert content(tmp_path / "run") == before
    with pytest.raises(ValueError, match="has done 4 steps already"):
        train(tmp_path / "run", resume=tmp_path / "run")


def test_the_best_weights_are_written_from_the_last_ones_or_asked_for(tmp_path):
    """The best step is the last one: `best` follows from `last`. If it is an earlier one, its weights are lost with the file."""
    best = train(tmp_path / "run", best_by="loss", learning_rate=0.01).best_step
    assert best == 4
    kept = (tmp_path / "run" / "best.safetensors").read_bytes()
    (tmp_path / "run" / "best.safetensors").unlink()
    assert checkpoint.find(tmp_path / "run").name == "last.safetensors"
    train(tmp_path / "run", best_by="loss", learning_rate=0.01, resume=tmp_path / "run")
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == kept
    with pytest.raises(training.Interrupted):
        train(tmp_path / "run", steps=9, best_by="loss", learning_rate=0.01, resume=tmp_path / "run", callback=stop_at(5))
    (tmp_path / "run" / "best.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"best\.safetensors, with the weights of step 4, has been removed"):
        checkpoint.find(tmp_path / "run")
    resumed = {"steps": 9, "best_by": "loss", "learning_rate": 0.01, "resume": tmp_path / "run"}
    with pytest.raises(ValueError, match=r"expected the weights of step 4, the best so far.*--accept-changes"):
        train(tmp_path / "run", **resumed)
    assert train(tmp_path / "run", accept_changes=True, **resumed).best_step > 5


def stop_at(step):
    def stop(row):
        if row["step"] == step:
            raise KeyboardInterrupt

    return stop


def test_one_run_a_folder_at_a_time(tmp_path):
    train(tmp_path / "run")
    (tmp_path / "run" / ".lock").write_text("99999")  # a killed process has left it
    code = "import sys; from minisegnet.files import FolderLock; lock = FolderLock(sys.argv[1]); print('locked', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    for options in ({"resume": tmp_path / "run"}, {"overwrite": True}):
        with pytest.raises(BlockingIOError, match=rf"is in use by another run \(process {other.pid}\)"):
            train(tmp_path / "run", steps=6, **options)
    other.kill()
    other.wait()
    assert train(tmp_path / "run", steps=6, resume=tmp_path / "run").step == 6
    assert not list((tmp_path / "run").glob(".*"))


def test_two_new_runs_of_one_folder_do_not_mix(tmp_path):
    """The second one finds the folder taken when it begins to write, which is after its first step."""

    def other(image, mask, rng):
        if not (tmp_path / "run").exists():
            train(tmp_path / "run")
        return image, mask

    with pytest.raises(FileExistsError, match="is not empty"):
        train(tmp_path / "run", transform=other, steps=6)
    assert checkpoint.read_about(tmp_path / "run" / "last.safetensors").step == 4 and not list((tmp_path / "run").glob(".*"))


def test_a_lock_can_be_taken_again_and_closed_twice(tmp_path):
    first = FolderLock(tmp_path)
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    first.close()
    first.close()
    FolderLock(tmp_path).close()
    assert not list(tmp_path.iterdir())


def test_sigterm_saves_as_ctrl_c_does(tmp_path):
    def stop(row):
        if row["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    with pytest.raises(training.Interrupted, match="stopped after step 3") as caught:
        train(tmp_path / "run", callback=stop)
    assert caught.value.signal == signal.SIGTERM and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert checkpoint.read_about(tmp_path / "run" / "last.safetensors").step == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": crashes.data(0, 4)}, "the train data had 3 items and have 4 now"),
        ({"data": crashes.data(5, 3)}, "the train data have other content"),
        ({"validation": crashes.data(5, 2)}, "the validation data have other content"),
        ({"validation": None}, "the validation data were there and are missing now"),
        ({"transform": None}, r"was started with the transform .* \(now None\)"),
    ],
)
def test_other_data_are_noticed_and_need_a_word(tmp_path, changed, message):
    train(tmp_path / "run")
    before = content(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", steps=6, resume=tmp_path / "run", **changed)
    assert content(tmp_path / "run") == before
    assert train(tmp_path / "run", steps=6, resume=tmp_path / "run", accept_changes=True, **changed).step == 6


def test_files_that_killed_processes_left_are_removed_and_no_others(tmp_path):
    train(tmp_path / "run")
    for name in (".last.safetensors.0123abcd.part", ".log.csv.89abcdef.part", ".lock"):
        (tmp_path / "run" / name).write_bytes(bytes(9))
    (tmp_path / "run" / ".mine.csv.0123abcd.part").write_bytes(b"precious")
    train(tmp_path / "run", steps=6, resume=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").glob(".*")] == [".mine.csv.0123abcd.part"]


def test_a_flipped_bit_is_noticed(tmp_path):
    train(tmp_path / "run")
    path = tmp_path / "run" / "last.safetensors"
    for where in (-1, -100, -300):
        written = bytearray(path.read_bytes())
        written[where] ^= 1
        path.write_bytes(written)
        with pytest.raises(ValueError, match="the tensors are not those that were written"):
            train(tmp_path / "run", steps=6, resume=tmp_path / "run")
        written[where] ^= 1
        path.write_bytes(written)


def described(change):
    """A description as `train` writes it, changed."""
    entries = {
        "recipe": None, "classes": ["a", "b"], "palette": [[0, 0, 0], [255, 0, 0]], "in_channels": 1, "ignore_index": 255, "standardise": "per image",
        "step": 4, "metrics": {"val_loss": 1.0}, "run": {"options": {}, "data": {}, "transform": "None", "settings": {}}, "digest": "", "format": 2,
        "resume": {"optimizer": {"state": {"0": {"step": 4}}, "param_groups": [{"params": [0], "lr": 0.1}]}, "random": {"bit_generator": "PCG64"},
                   "score_name": "b IoU", "best_score": 0.5, "best_step": 2, "owed": False},
    }  # fmt: skip
    change(entries)
    return entries


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("classes"), "classes: missing"),
        (lambda e: e.update(surprise=1), "surprise: an unknown entry"),
        (lambda e: e.update(recipe="unet"), "recipe: expected null, or the arguments of models.create.*got 'unet'"),
        (lambda e: e.update(recipe={"width": 1}), "recipe: expected"),
        (lambda e: e.update(classes=[]), "classes: expected a list of names"),
        (lambda e: e.update(classes=["a", 3]), "classes: expected a list of names"),
        (lambda e: e.update(palette=[[0, 0, 0]]), "palette: expected a colour for each of 2 classes, got 1"),
        (lambda e: e.update(palette=[[0, 0, 0], [0, 0, 256]]), "palette: expected"),
        (lambda e: e.update(in_channels=0), "in_channels: expected a whole number, 1 or more, got 0"),
        (lambda e: e.update(ignore_index=10**20), "ignore_index: expected a whole number that fits into 64 bits"),
        (lambda e: e.update(standardise="none"), "standardise: expected"),
        (lambda e: e.update(step=4.5), r"step: expected a whole number, 0 or more, got 4\.5"),
        (lambda e: e.update(step=True), "step: expected"),
        (lambda e: e.update(metrics={"val_loss": "low"}), "metrics: expected numbers by name"),
        (lambda e: e.update(run=3), "run: expected entries by name, got 3"),
        (lambda e: e.update(format="two"), "format: expected"),
        (lambda e: e["run"].pop("options"), r"run\.options: missing"),
        (lambda e: e["run"].update(settings=None), r"run\.settings: expected entries by name"),
        (lambda e: e["resume"].pop("optimizer"), r"resume\.optimizer: missing"),
        (lambda e: e["resume"]["optimizer"].update(state={"x": {}}), r"resume\.optimizer: expected"),
        (lambda e: e["resume"]["optimizer"].update(param_groups=[{}]), r"resume\.optimizer: expected"),
        (lambda e: e["resume"].update(random=7), r"resume\.random: expected"),
        (lambda e: e["resume"].update(best_score=None), r"resume\.best_score: expected a number"),
        (lambda e: e["resume"].update(best_step=5), r"resume\.best_step: step 5 is after step 4"),
        (lambda e: e["resume"].update(owed="no"), r"resume\.owed: expected true or false"),
    ],
)
def test_a_description_is_checked_entry_by_entry(tmp_path, change, message):
    path = tmp_path / "a.safetensors"
    ms.save({"x": np.zeros(1)}, path, {"minisegnet": json.dumps(described(lambda entries: None))})
    assert checkpoint.read_about(path).step == 4
    ms.save({"x": np.zeros(1)}, path, {"minisegnet": json.dumps(described(change))})
    with pytest.raises(ValueError, match=rf"a\.safetensors: the description in the checkpoint is damaged \({message}"):
        checkpoint.read_about(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, "[]", "3", "null", '"x"', "{", '{"format": 1e400}', '{"format": 3, "classes": 1}']
)
def test_a_description_of_another_form_is_refused(tmp_path, text):
    ms.save({"x": np.zeros(1)}, tmp_path / "a.safetensors", {"minisegnet": text})
    with pytest.raises(ValueError, match=r"a\.safetensors: (the description in the checkpoint is damaged|written by a newer)"):
        checkpoint.read_about(tmp_path / "a.safetensors")
