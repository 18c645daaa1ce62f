"""``tests/on_gpu.py`` rehearsed with the real CuPy on the null GPU: every part that a GPU alone runs, and what is kept when parts fail."""

import contextlib
import io
import json
import time

import on_gpu
import pytest
from support import rungs
from support.bench import small
from support.targets import Target

from minisegnet import bench
from minisegnet.bench import breakdown, cases, libraries, report, runner
from minisegnet.cli import bench as command
from minisegnet.cli import main
from minisegnet_kernels import backends, registry

__all__ = ["small"]  # the fixture


@pytest.fixture(autouse=True)
def just_started(monkeypatch):
    """Let the ten minutes begin with the test, not with the import of the file."""
    monkeypatch.setattr(on_gpu, "_started", time.monotonic())


def test_all_parts_are_kept_although_some_fail(small, monkeypatch, tmp_path):
    """The parts for the GPU run for real, on the null GPU; those that need PyTorch on a GPU fail."""
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
    which = on_gpu.shutil.which
    monkeypatch.setattr(on_gpu.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "compute-sanitizer" else which(name))
    assert on_gpu.main([str(tmp_path)]) == 1
    (path,) = tmp_path.glob("*.json")
    assert path.name.startswith("nvidia-h1-5-pcie-20")
    record = json.loads(path.read_text())
    for backend in on_gpu.TESTS:
        assert record[f"tests {backend}"] == {
            "passed": False,
            "said": "1 failed, 4 passed",
            "seconds": 2.0,
            "report": "E   a failing test\n== 1 failed, 4 passed ==\n",
        }
    assert record["rungs"]["passed"] is False and set(record) >= {"environment", "rungs", "tests cuda", "counters"}
    assert {part: record[part]["passed"] for part in on_gpu.PARTS} == {
        "cuda": True, "ladder": True, "step": False, "breakdown": True, "cpu": False,
    }  # fmt: skip
    assert record["cpu"]["said"] == "too late\n" and "empty kernel of cuda" in record["cuda"]["said"]
    assert {r["library"] for r in record["cuda"]["results"]} == {"numpy", "cuda", "cuda-last"}
    assert {r["library"][0] for r in record["ladder"]["results"]} >= set("12345678")
    assert set(record["pictures"].values()) == {f"{path.stem}-{name}.png" for name in ("bars", "roofline", "step")}
    assert all((tmp_path / name).stat().st_size > 5000 for name in record["pictures"].values())
    assert not any(record[f"sanitizer {tool}"]["ran"] for tool in on_gpu.SANITIZERS)
    assert len([line for line in done if "sanitizer" in line[0]]) == 4, "that a tool runs at all is tried first"


def test_every_rung_runs_once_for_the_counters(gpu, monkeypatch, capsys):
    from minisegnet.bench import ladder
    from minisegnet.bench import rungs as benchmark

    layers = tuple(ladder.Layer(channels, channels, 8, batch=1) for channels in (16, 64, 16))
    cases = {f"{equation}  {layer}": (layer, equation) for layer in layers for equation in benchmark.EQUATIONS}
    monkeypatch.setattr(benchmark, "LAYERS", layers)
    monkeypatch.setattr(benchmark, "CASES", cases)
    gpu.log.clear()
    on_gpu.each_rung_once()
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rung ")]
    assert len(said) >= 15 and all("64 → 64" in line for line in said)
    assert len([call for call in gpu.launches() if call.name.startswith("conv2d")]) >= len(said)


def test_the_small_cases_run_on_the_device(gpu, monkeypatch):
    from support import targets

    ran = []

    class Counted(Target):
        def run(self, operation, case):
            ran.append(str(operation))
            return super().run(operation, case)

    monkeypatch.setattr(targets, "ON_DEVICE", (Counted("cuda", "cuda"),))
    monkeypatch.setattr(registry, "OPERATIONS", ("activation", "label"))
    monkeypatch.setattr(rungs, "LAYERS", {"1×1": rungs.LAYERS["1×1"]})
    gpu.log.clear()
    on_gpu.small_cases()
    assert len(set(ran)) >= 6 and gpu.waits()
