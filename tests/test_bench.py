"""The benchmark measures equal work, refuses unequal results, and reports what it measured."""

import json

import numpy as np
import pytest

from minisegnet import bench, models, random
from minisegnet.bench import frames, report, runner, tiles
from minisegnet.bench.cases import CASES, STEP
from minisegnet.cli import main
from minisegnet.nn import containers


@pytest.fixture(scope="module")
def results():
    return bench.run(["ReLU  16, 128²", "cross-entropy  2, 128²"], who=["numpy", "numba"], rounds=2, repeats=2)


def test_every_phase_of_every_library_is_measured(results):
    assert {(r.case, r.phase, r.library) for r in results} == {
        (case, phase, library)
        for case in ("ReLU  16, 128²", "cross-entropy  2, 128²")
        for phase in ("forward", "backward")
        for library in ("numpy", "numba")
    }
    for r in results:
        assert 0 < r.quartiles[0] <= r.seconds <= r.quartiles[1] and r.peak_mib > 10


def test_table_json_and_picture(results, tmp_path):
    assert "numba ms" in report.table(results) and "ReLU  16, 128²" in report.table(results)
    report.save_json(results, tmp_path / "deep" / "b.json", threads=2)
    record = json.loads((tmp_path / "deep" / "b.json").read_text())
    assert len(record["results"]) == len(results) and record["environment"]["packages"]["numpy"] == np.__version__
    report.picture(results, tmp_path / "b.png", threads=2)
    from PIL import Image

    with Image.open(tmp_path / "b.png") as image:
        assert image.format == "PNG" and image.width > 600


def test_the_ratio_to_the_peer_is_in_the_table():
    rows = [runner.Result("c", "forward", name, seconds, (0.0, 0.0), 0.0) for name, seconds in (("numba", 0.002), ("torch", 0.004))]
    assert report.table(rows).splitlines()[1].split() == ["c", "forward", "2.000", "4.000", "0.50"]


def test_different_results_stop_the_benchmark():
    def worker(value):
        def ask(request):
            np.savez(request["verify"], np.array([value]))
            return {}

        return ask

    with pytest.raises(runner.DisagreementError, match="case: result 0 of b differs"):
        runner._compare("case", {"a": worker(1.0), "b": worker(1.01)})
    runner._compare("case", {"a": worker(1.0), "b": worker(1.0001)})


def test_a_worker_that_ends_is_reported():
    with pytest.raises(RuntimeError, match="the worker of nobody ended"):
        bench.run(["ReLU  16, 128²"], who=["nobody"], rounds=1)


@pytest.mark.parametrize(("arguments", "words"), [(["--only", "nothing"], "no case contains"), (["--who", "jax"], "cannot be measured")])
def test_wrong_arguments_of_the_command(arguments, words, capsys):
    assert main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_cases_are_named_once_and_seeded():
    assert STEP not in CASES
    for case in CASES.values():
        for kind, again in zip(case.arrays(), case.arrays(), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(kind, again, strict=True))


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
    assert "for want of memory" in tiles.table({"runs": [{"size": 80, "how": "whole", "failed": "exit code -9, for want of memory?"}]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "64"], "--size: that goes with --fps or --tiling"),
        (["--fps", "--only", "conv"], "do not go with --fps"),
        (["--tiling", "--frames", "3"], "--frames only with --fps"),
        (["--fps", "--size", "64,128"], "one --size"),
    ],
)
def test_options_of_the_benchmark_that_do_not_go_together(options, words, capsys):
    assert main(["bench", *options]) == 2
    assert words in capsys.readouterr().err
