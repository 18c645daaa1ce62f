"""The parts of the GPU benchmark that need no GPU: the contents of a row in a record, and pictures of records from both devices."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from support.bench import STEP, small

from minisegnet import bench
from minisegnet.bench import about, breakdown, cases, clock, libraries, pictures, results, rungs, runner
from minisegnet_kernels import backends
from minisegnet_kernels.conv2d import reference
from minisegnet_kernels.cost import Roof

__all__ = ["small"]  # the fixture: every test here runs with it


def answering(value):
    """A worker whose every result is `value`."""

    def ask(request):
        if "verify" in request:
            np.savez(request["verify"], np.array([value]))
        if "count" in request:
            return {"about": {"forward": {"costs": [2, 1], "lines": 1, "kernels": []}}, "layout": "rows first"}
        if "roof" in request:
            return {"precision": "float32", "peak": 1.0, "bandwidth": 1.0, "launch": None}
        return {"forward": [1.0] * request["rounds"], "peak_mib": 1.0} if "rounds" in request else {"deterministic": True}

    return ask


def test_a_graph_is_a_row_of_training_steps_only(monkeypatch):
    monkeypatch.setattr(runner, "_worker", lambda *arguments: nullcontext(answering(1.0)))
    run = bench.run([STEP, "relu"], who=["cuda", "cuda-graph"], device="cuda", rounds=2, repeats=1)
    assert [(r.case, r.library) for r in run.results] == [(STEP, "cuda"), (STEP, "cuda-graph"), ("relu", "cuda")]


def test_a_wrong_rung_has_no_times():
    found = {"1 direct": answering(1.0), "2 tile": answering(2.0)}
    run = results.Run([], {"float32": Roof(1.0, 1.0)}, "cuda")
    runner._measure("case", found, dict.fromkeys(found, "float32"), found["1 direct"], run, 1, 2)
    assert [r.library for r in run.results] == ["1 direct"]
    assert [f.library for f in run.failures] == ["2 tile"] and "differs from 1 direct's" in run.failures[0].reason


def test_marks_are_read_when_the_step_is_over():
    order = []

    class Clock:
        def mark(self):
            order.append("mark")
            return len(order)

        def between(self, start, end):
            order.append("read")
            return end - start

    from minisegnet import functional, tensor

    x = tensor(np.ones((1, 4), np.float32))
    with backends.use("numpy"):
        found = breakdown.divide(lambda: functional.relu(x), steps=2, clock=Clock())
    assert order == ["mark"] * 4 + ["read"] * 2 + ["mark"] * 4 + ["read"] * 2
    assert found.shares[0].seconds == 1 and found.seconds == 3


def test_numba_kernels_are_listed_with_their_registers(monkeypatch):
    import sys
    from types import SimpleNamespace

    program = SimpleNamespace(
        py_func=SimpleNamespace(__name__="relu"),
        get_regs_per_thread=lambda: {"a": 8, "b": 12},
        get_shared_mem_per_block=lambda: {"a": 0, "b": 64},
    )
    jit = SimpleNamespace(SIMULATED=False, _listeners=[])
    monkeypatch.setitem(sys.modules, "minisegnet_kernels.cuda.jit", jit)
    with about.launches() as seen:
        for listener in jit._listeners:
            listener(program, ())
    assert seen == [about.Launch("relu", None, 12, 64)] and jit._listeners == []
    jit.SIMULATED = True
    with about.launches() as seen:
        assert jit._listeners == []  # simulated kernels have no registers
    assert seen == []


@pytest.mark.parametrize(
    ("name", "layout", "tf32"),
    [
        ("torch", "contiguous_format", True),
        ("torch-last", "channels_last", True),
        ("torch-fp32", "contiguous_format", False),
        ("torch-last-fp32", "channels_last", False),
    ],
)
def test_pytorch_in_four_settings(name, layout, tf32, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(clock, "TorchEvents", clock.Wall)
    settings = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [of.allow_tf32 for of in settings]
    try:
        library = libraries.make(name, torch.get_num_threads(), "cuda")
        assert [of.allow_tf32 for of in settings] == [tf32, tf32]
    finally:
        for of, value in zip(settings, before, strict=True):
            of.allow_tf32 = value
    library.device = "cpu"
    assert library.make(np.zeros((2, 3, 4, 5), np.float32)).is_contiguous(memory_format=getattr(torch, layout))
    one = results.Result("c", "forward", "x", 1.0, (1.0, 1.0), 0.0, precision=library.precision, layout=library.layout)
    assert one.peer == name, "ours is compared with the peer of its precision and layout"
    for case, (layer, equation) in rungs.CASES.items():  # PyTorch's three equations, here on the CPU
        phases, of = rungs.phases(library, case, None)
        arguments, options = layer.arguments(equation, False)
        expected = getattr(reference, equation.partition(".")[2])(*arguments, **options)
        np.testing.assert_allclose(of()[0], expected, rtol=1e-3, atol=1e-3)
        assert list(phases) == [equation.partition(".")[2]]


def both(tmp_path):
    """Two records with invented times, in a file as ``on_gpu.py`` writes it."""
    cpu, gpu = {"float32": Roof(1e11, 2e10)}, {"float32": Roof(5e13, 3e12), "tf32": Roof(4e14, 3e12)}
    result = lambda case, phase, library, seconds, **more: results.Result(
        case, phase, library, seconds, (seconds, seconds), 1.0, 6 * 10**8, 10**7, **more
    )
    names = ["conv", "pool", "step"]
    on_cpu = [
        result(c, "forward", w, 0.01 * (k + 1) * f) for k, c in enumerate(names) for w, f in (("numpy", 9), ("numba", 1.1), ("torch", 1))
    ]
    on_gpu = [
        result(c, p, w, 1e-5 * (k + 1) * f, precision="tf32", layout="channels last")
        for k, c in enumerate(names)
        for p in ("forward", "backward")
        for w, f in (("numba_cuda", 5), ("cuda-last", 1.5), ("torch-last", 1))
    ]
    steps = [
        result("conv2d.forward  big", "forward", f"{n} rung", 1e-3 / n**2, precision="float32" if n < 6 else "tf32") for n in range(1, 8)
    ]
    runs = {"cpu": results.Run(on_cpu, cpu), "cuda": results.Run(on_gpu, gpu, "cuda"), "ladder": results.Run(steps, gpu, "cuda")}
    (tmp_path / "gpu.json").write_text(json.dumps({"environment": {}, **{name: run.to_dict() for name, run in runs.items()}}))
    return tmp_path / "gpu.json"


def test_pictures_from_a_record_of_both_devices(tmp_path, monkeypatch):
    runs = results.load([both(tmp_path)])
    assert [run.device for run in runs] == ["cpu", "cuda", "cuda"] and runs[1].peer_of(runs[1].results[1]) == runs[1].results[2]
    drawn = {}
    monkeypatch.setattr(pictures, "finish", lambda figure, path: drawn.setdefault(path.name, figure))
    pictures.bars(runs, tmp_path / "bars.png")
    pictures.roofline(runs, tmp_path / "roof.png")
    pictures.bars(runs[:1], tmp_path / "cpu.png")
    (axes,) = drawn["bars.png"].axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "CPU: numpy", "CPU: numba", "CPU: torch", "GPU: numba_cuda", "GPU: cuda-last", "GPU: torch-last",
    ]  # fmt: skip
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[:3] == pytest.approx([90, 180, 270]) and widths[-3:] == pytest.approx([0.02, 0.04, 0.06]), "both phases together"
    assert [panel.get_title("left") for panel in drawn["roof.png"].axes] == ["CPU", "GPU", "GPU: the rungs of the convolution ladder"]
    labels = [t.get_text() for t in drawn["roof.png"].axes[2].texts]
    assert labels[-7:] == [str(n) for n in range(1, 8)], "each rung has its number"
    said = " ".join(t.get_text() for t in drawn["cpu.png"].texts)
    assert "these records contain no GPU" in said and all(
        "GPU:" not in t.get_text() for t in drawn["cpu.png"].axes[0].get_legend().get_texts()
    )


@pytest.mark.slow
def test_torch_compile_is_measured_or_says_why(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.undo()
    (relu,) = [name for name in cases.CASES if name.startswith("ReLU")]
    run = bench.run([relu], who=["numba", "torch-compile"], rounds=1, repeats=2)
    assert {r.library for r in run.results} == ({"numba", "torch-compile"} if not run.failures else {"numba"})
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    run = bench.run([relu], who=["numba", "torch-compile"], rounds=1, repeats=2)
    assert [f.library for f in run.failures] == ["torch-compile"] and "ompiler" in run.failures[0].reason
    assert {r.library for r in run.results} == {"numba"}
