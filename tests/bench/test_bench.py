"""The benchmark measures equal work, refuses unequal results, and reports what it measured."""

import json

import numpy as np
import pytest

from minisegnet import bench, functional, tensor
from minisegnet.bench import about, breakdown, pictures, report, results, runner
from minisegnet.bench.cases import CASES, QUICK, STEP, STEPS, SWEEP
from minisegnet.cli import main
from minisegnet_kernels.cost import Cost, Roof


@pytest.fixture(scope="module")
def measured():
    return bench.run(["ReLU  16, 128²", "cross-entropy  2, 128²"], who=["numpy", "numba"], rounds=2, repeats=2)


def test_every_phase_of_every_library_is_measured(measured):
    assert {(r.case, r.phase, r.library) for r in measured.results} == {
        (case, phase, library)
        for case in ("ReLU  16, 128²", "cross-entropy  2, 128²")
        for phase in ("forward", "backward")
        for library in ("numpy", "numba")
    }
    for r in measured.results:
        assert 0 < r.quartiles[0] <= r.seconds <= r.quartiles[1] and r.peak_mib > 10
        assert r.error < 1e-5 and r.deterministic is True


def test_what_a_phase_costs_is_counted_and_its_roof_measured(measured):
    found = {(r.case, r.phase, r.library): r for r in measured.results}
    elements = 8 * 16 * 128 * 128
    for library in ("numpy", "numba"):
        forward, backward = (found["ReLU  16, 128²", phase, library] for phase in ("forward", "backward"))
        assert (forward.operations, forward.bytes) == (elements, 8 * elements)
        assert (backward.operations, backward.bytes) == (elements, 12 * elements)
    (roof,) = measured.roofs.values()
    assert roof.peak > 1e8 and roof.bandwidth > 1e8
    assert forward.roof_seconds == pytest.approx(max(elements / roof.peak, 8 * elements / roof.bandwidth))


def test_table_json_and_pictures(measured, tmp_path):
    assert "numba ms" in report.table(measured) and "ReLU  16, 128²" in report.table(measured)
    assert report.details(measured).count("\n") == 1 + len(measured.results) + 1
    report.save_json(measured, tmp_path / "deep" / "b.json", threads=2)
    record = json.loads((tmp_path / "deep" / "b.json").read_text())
    assert len(record["results"]) == len(measured.results) and record["environment"]["packages"]["numpy"] == np.__version__
    assert record["roofs"]["float32"]["peak"] == measured.roofs["float32"].peak
    assert results.load([tmp_path / "deep" / "b.json"])[0].roofs == measured.roofs
    pictures.relative(measured, tmp_path / "b.png", threads=2)
    pictures.roofline([measured], tmp_path / "r.png")
    steps = [runner.Result(case, "step", "numba", 0.1 * k + 0.1, (0.0, 0.0), 0.0) for k, case in enumerate(SWEEP)]
    pictures.sweep(runner.Run(steps, {}), tmp_path / "s.png")
    arguments = ["--picture", str(tmp_path / "c.png"), "--roofline", str(tmp_path / "f.png")]
    assert main(["bench", "--from", str(tmp_path / "deep" / "b.json"), *arguments]) == 0
    from PIL import Image

    for name in ("b.png", "r.png", "s.png", "c.png", "f.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG" and image.width > 600


def test_a_step_is_divided_among_its_equations(tmp_path):
    x = tensor(np.ones((1, 4, 16, 16), np.float32), requires_grad=True)
    found = breakdown.divide(lambda: functional.relu(functional.relu(x)).sum().backward(), steps=3)
    shares = {share.equation: share for share in found.shares}
    assert list(shares)[-1] == breakdown.REST and set(shares) == {"activation.relu", "activation.grad_relu", breakdown.REST}
    assert shares["activation.relu"].calls == 2 and shares["activation.relu"].cost == Cost(2 * 1024, 2 * 8 * 1024)
    assert "activation.grad_relu" in breakdown.table(found, Roof(1e9, 1e9))
    pictures.waterfall(found, tmp_path / "w.png")
    assert (tmp_path / "w.png").stat().st_size > 5000


def test_the_ratio_to_the_peer_is_in_the_table():
    rows = [runner.Result("c", "forward", name, seconds, (0.0, 0.0), 0.0) for name, seconds in (("numba", 0.002), ("torch", 0.004))]
    table = report.table(runner.Run(rows, {}))
    assert table.splitlines()[1].split() == ["c", "forward", "2.000", "4.000", "0.50", "-", "-"]


def test_a_rate_is_in_the_unit_of_its_limit():
    roofs = {"float32": Roof(peak=1e11, bandwidth=1e10)}
    much = runner.Result("much", "forward", "numba", 1.0, (1.0, 1.0), 0.0, 50 * 10**9, 10**9, 0.5)
    little = runner.Result("little", "forward", "numba", 1.0, (1.0, 1.0), 0.0, 10**9, 2 * 10**9, 0.2)
    lines = report.table(runner.Run([much, little], roofs)).splitlines()
    assert lines[1].split()[-3:] == ["50.0", "GFLOP/s", "50%"] and lines[2].split()[-3:] == ["2.0", "GB/s", "20%"]


def test_results_are_compared_before_and_after_with_other_values(monkeypatch):
    seen = []

    class Worker:
        def __init__(self, *arguments):
            pass

        def __enter__(self):
            return self.ask

        def __exit__(self, *exc):
            pass

        def ask(self, request):
            seen.append(request)
            if "verify" in request:
                np.savez(request["verify"], np.zeros(1))
            answer = {"precision": "float32", "peak": 1.0, "bandwidth": 1.0} if "roof" in request else {"deterministic": True}
            answer |= {"about": {"forward": {"costs": [1, 1], "lines": 7, "kernels": []}}} if "count" in request else {}
            times = {"forward": [1.0] * request["rounds"], "peak_mib": 1.0} if "rounds" in request else {}
            return times or answer

    monkeypatch.setattr(runner, "_worker", Worker)
    (found,) = bench.run(["ReLU  16, 128²"], who=["numpy"], rounds=1, repeats=2).results
    assert found.lines == 7
    kinds = ["roof" if "roof" in r else ("verify", r["seed"]) if "verify" in r else "rounds" if "rounds" in r else "count" for r in seen]
    assert kinds == ["roof", ("verify", 0), "count", "rounds", "rounds", ("verify", runner.AFTER)] and runner.AFTER != 0


def worker(value):
    def ask(request):
        if value is None:
            return {"failed": "CompileError: no compiler"}
        np.savez(request["verify"], np.array([value]))
        return {"deterministic": True}

    return ask


def test_a_library_that_disagrees_or_fails_has_no_times_but_a_reason():
    kinds = dict.fromkeys("abcde", "float32") | {"e": "tf32"}
    workers = {"a": worker(1.0), "b": worker(1.01), "c": worker(1.0001), "d": worker(None), "e": worker(1.005)}
    agreed, failed = runner._compare("case", workers, kinds)
    assert set(agreed) == {"a", "c", "e"} and agreed["c"] == (pytest.approx(1e-4), True)
    assert "result 0 differs from a's by 1.0e-02" in failed["b"] and failed["d"] == "CompileError: no compiler"
    agreed, failed = runner._compare("case", {"a": worker(np.nan), "c": worker(1.0)}, kinds)
    assert not agreed and set(failed) == {"a", "c"}, "NaN agrees with no result"


def test_a_failure_stands_below_the_table_and_decides_the_exit_code(measured, monkeypatch, capsys):
    for library, code in (("torch-compile", 0), ("numba", 1)):
        run = results.Run(measured.results, measured.roofs, failures=[results.Failure("ReLU  16, 128²", library, "no compiler")])
        monkeypatch.setattr(bench, "run", lambda *args, run=run, **options: run)
        assert main(["bench", "--only", "relu"]) == code
        assert f"no times of {library} for ReLU  16, 128²: no compiler" in capsys.readouterr().out


def test_a_worker_that_ends_is_reported():
    with pytest.raises(RuntimeError, match="no times of nobody: its worker ended"):
        bench.run(["ReLU  16, 128²"], who=["nobody"], rounds=1)


def test_a_case_that_fails_in_the_worker_is_answered_with_the_reason(capsys):
    said = []

    class Library:
        graph = False

        def make(self, *arguments, **options):
            raise RuntimeError("out of memory\nat line 7")

    from minisegnet.bench import worker

    worker.serve(Library(), ['{"case": "ReLU  16, 128²", "rounds": 1}'], said.append)
    assert json.loads(said[0]) == {"failed": "RuntimeError: out of memory\nat line 7"}
    assert "Traceback" in capsys.readouterr().err


def test_lines_of_code_are_those_with_code():
    python = '"""Module."""\n\ndef f(x):\n    """Two\n    lines."""\n    # comment\n    y = (x,\n         x)  # two lines\n    return y\n'
    assert about.code_lines(python, ".py") == 5  # the module's docstring counts; programs of an equation have none
    assert about.code_lines("// a\n/* b\n c */ int d;\n\nint e; // f\n", ".cu") == 2
    forward = about.lines_of(["activation.relu"], "numba")
    assert 0 < forward < about.lines_of(["activation.relu", "activation.grad_relu"], "numba")
    from minisegnet_kernels.conv2d.ladder import find

    tuned = about.file_lines(find("tf32_tuned").path)
    assert tuned > about.code_lines(find("tf32_tuned").path.read_text(), ".cu"), "its headers count"


@pytest.mark.parametrize(("arguments", "words"), [(["--only", "nothing"], "no case contains"), (["--who", "jax"], "cannot be measured")])
def test_wrong_arguments_of_the_command(arguments, words, capsys):
    assert main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_cases_are_named_once_and_seeded():
    assert STEP not in CASES and set(QUICK) <= {*CASES, *STEPS} and set(SWEEP) < set(STEPS)
    for case in CASES.values():
        for kind, again in zip(case.arrays(), case.arrays(), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(kind, again, strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--breakdown", "--who", "torch"], "only --device, --threads, --json and --picture"),
        (["--from", "a.json"], "--picture or --roofline goes with it"),
        (["--from", __file__, "--picture", "b.png"], "this is not a benchmark record"),
        (["--ladder"], "--device cuda goes with it"),
        (["--sweep", "--only", "64"], "does not go with --sweep"),
    ],
)
def test_options_of_the_benchmark_that_do_not_go_together(options, words, capsys):
    assert main(["bench", *options]) == 2
    assert words in capsys.readouterr().err
