"""The benchmark measures equal work, refuses unequal results, and reports what it measured."""

import json

import numpy as np
import pytest

from minisegnet import bench
from minisegnet.bench import report, runner
from minisegnet.bench.cases import CASES, STEP
from minisegnet.cli import main


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
