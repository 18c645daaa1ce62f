"""``tests/on_gpu.py`` as far as it goes with no GPU: its commands against the stand-in for CuPy, and what it keeps when parts fail."""

import contextlib
import io
import json
import sys
import time
from pathlib import Path

import on_gpu
import pytest
from support import fake_cupy
from support.bench import emulated, small
from support.targets import Target

from minisegnet import bench
from minisegnet.bench import breakdown, cases, libraries, report, runner
from minisegnet.cli import bench as command
from minisegnet.cli import main, parser
from minisegnet_kernels import backends, registry

__all__ = ["small"]  # the fixture


@pytest.fixture(autouse=True)
def just_started(monkeypatch):
    """The ten minutes begin with the test, and not when its file was read."""
    monkeypatch.setattr(on_gpu, "_started", time.monotonic())


def test_what_a_part_had_started_ends_with_it_and_what_it_had_said_is_kept(monkeypatch):
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    line = f"import subprocess, sys, time; print(subprocess.Popen({child}).pid); time.sleep(60)"
    code, text, seconds = on_gpu.call([sys.executable, "-c", line], 2)
    assert code == 124 and seconds < 30
    state = Path(f"/proc/{int(text)}/stat")
    time.sleep(0.2)
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z", "what it had started goes on"
    assert on_gpu.call([sys.executable, "-c", "print(1); raise SystemExit(3)"], 20)[:2] == (3, "1\n")
    monkeypatch.setattr(on_gpu, "_started", time.monotonic() - on_gpu.BUDGET)
    assert on_gpu.call(["never"], 20) == (124, "no time was left for it", 0.0)


def test_its_commands_are_understood_and_fit_into_ten_minutes():
    for options, _ in on_gpu.PARTS.values():
        parser().parse_args([*on_gpu.BENCH[3:], *options, "--json", "part.json"])
        if "--who" in options:
            device = "cuda" if "cuda" in options else "cpu"
            assert set(options[options.index("--who") + 1].split(",")) <= {*runner.OURS[device], *runner.PEERS[device]}
    assert sum(limit for _, limit in on_gpu.PARTS.values()) < on_gpu.BUDGET < 600


def test_the_files_that_it_tests_have_all_tests_for_a_gpu(monkeypatch):
    seen = []
    monkeypatch.setattr(on_gpu, "call", lambda command, limit: seen.append(command) or (0, "== 3 passed, 2 skipped ==\n", 1.0))
    assert on_gpu.tests() == {"passed": True, "said": "3 passed, 2 skipped", "seconds": 1.0}
    assert {"tests/cuda/test_cuda.py", "tests/cuda/test_cuda_training.py"} <= set(seen[0])


@emulated
def test_all_parts_are_kept_although_some_fail(small, monkeypatch, tmp_path):
    """The parts for the GPU run for real, in the stand-in; those that need PyTorch on a GPU fail."""
    monkeypatch.setattr(command, "require_gpu", lambda: None)
    monkeypatch.setattr(cases, "CASES", {"conv": cases.CASES["conv"]})
    monkeypatch.setattr(cases, "STEP", "relu")
    monkeypatch.setattr(runner, "libraries", lambda device: ["numpy", "cuda", "cuda-last"])
    measured = bench.run
    monkeypatch.setattr(bench, "run", lambda names, **options: measured(names, **{**options, "rounds": 1, "repeats": 2}))
    make, measure = libraries.Minisegnet.make, breakdown.measure
    cropped = lambda a: a[:2, ..., :16, :16] if a.shape[-1] == 128 else a
    monkeypatch.setattr(libraries.Minisegnet, "make", lambda self, a, **options: make(self, cropped(a), **options))
    monkeypatch.setattr(breakdown, "measure", lambda threads, device: measure(threads, steps=1, device=device))
    monkeypatch.setattr(backends, "gpu_count", lambda: 1)
    monkeypatch.setattr(report, "_gpu", lambda: {"gpu": {"name": "NVIDIA H1.5 PCIe"}})
    done = []

    def call(line, limit):
        done.append(line)
        if "pytest" in line:
            return 1, "E   a failing test\n== 1 failed, 4 passed ==\n", 2.0
        if line[:4] == on_gpu.BENCH and "cuda" in line and "torch" not in " ".join(line):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                code = main(line[3:])
            return code, printed.getvalue(), 1.0
        return 124, "too late\n", 3.0

    monkeypatch.setattr(on_gpu, "call", call)
    monkeypatch.setattr(on_gpu.shutil, "which", lambda name: "/usr/bin/compute-sanitizer")
    assert on_gpu.main([str(tmp_path)]) == 1
    (path,) = tmp_path.glob("*.json")
    assert path.name.startswith("nvidia-h1-5-pcie-20")
    record = json.loads(path.read_text())
    assert record["tests"] == {
        "passed": False,
        "said": "1 failed, 4 passed",
        "seconds": 2.0,
        "report": "E   a failing test\n== 1 failed, 4 passed ==\n",
    }
    assert {part: record[part]["passed"] for part in on_gpu.PARTS} == {
        "cuda": True, "ladder": True, "breakdown": True, "compiled": False, "cpu": False,
    }  # fmt: skip
    assert record["cpu"]["said"] == "too late\n" and "empty kernel of cuda" in record["cuda"]["said"]
    assert {r["library"] for r in record["cuda"]["results"]} == {"numpy", "cuda", "cuda-last"}
    assert {r["library"][0] for r in record["ladder"]["results"]} >= set("12345678")
    assert set(record["pictures"].values()) == {f"{path.stem}-{name}.png" for name in ("bars", "roofline", "step")}
    assert all((tmp_path / name).stat().st_size > 5000 for name in record["pictures"].values())
    assert set(record["sanitizers"]) == set(on_gpu.SANITIZERS) and not any(s["ran"] for s in record["sanitizers"].values())
    assert len([line for line in done if "sanitizer" in line[0]]) == 1, "that it runs at all is tried first, once"


@pytest.mark.parametrize(
    ("code", "text", "clean"), [(0, "ERROR SUMMARY: 0 errors", True), (9, "RACECHECK SUMMARY: 2 hazards displayed", False)]
)
def test_what_sanitizers_say_is_read(code, text, clean, monkeypatch):
    monkeypatch.setattr(on_gpu.shutil, "which", lambda name: "/usr/bin/compute-sanitizer")
    answers = iter([(0, "", 1.0), *[(code, text, 1.0)] * 4])
    monkeypatch.setattr(on_gpu, "call", lambda line, limit: next(answers))
    kept = []
    found = on_gpu.sanitizers(lambda so_far: kept.append(len(so_far)))
    assert kept == [1, 2, 3, 4] and all(s["ran"] and (s["errors"] == 0) is clean and s["exit_code"] == code for s in found.values())
    monkeypatch.setattr(on_gpu.shutil, "which", lambda name: None)
    monkeypatch.setattr(on_gpu.Path, "glob", lambda self, pattern: iter(()))
    assert found.keys() == on_gpu.sanitizers(kept.append).keys() and not on_gpu.sanitizers(kept.append)["memcheck"]["ran"]


@emulated
def test_the_small_cases_run_on_the_device(small, monkeypatch):
    from support import targets

    ran = []

    class Counted(Target):
        def run(self, operation, case):
            ran.append(str(operation))
            return super().run(operation, case)

    monkeypatch.setattr(targets, "ON_DEVICE", (Counted("cuda", "cuda"),))
    monkeypatch.setattr(registry, "OPERATIONS", ("activation", "label"))
    fake_cupy.waits.clear()
    on_gpu.small_cases()
    assert len(set(ran)) >= 6 and fake_cupy.waits["get"] > 0
