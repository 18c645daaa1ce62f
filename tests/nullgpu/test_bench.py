"""The benchmark with the real CuPy on the null GPU: its rows, the ladder, a step equation by equation.

The times mean nothing, because kernels run in the emulator. No figure of these tests is recorded.
"""

import numpy as np
from support.bench import STEP, small

from minisegnet import bench, no_grad
from minisegnet.bench import breakdown, clock, libraries, pictures, report, rungs, worker

__all__ = ["small"]  # the fixture: every test here runs with it


def test_every_layout_precision_and_language_is_a_row():
    who = ["numpy", "cuda-fp32", "cuda-last-fp32", "cuda", "cuda-last"]
    run = bench.run(["conv", "relu"], who=who, device="cuda", rounds=1, repeats=2)
    assert run.failures == [] and run.device == "cuda" and set(run.roofs) == {"float32", "tf32"}
    found = {(r.case, r.phase, r.library): r for r in run.results}
    assert len(found) == 2 * 2 * len(who) and all(r.seconds > 0 and r.deterministic for r in run.results)
    assert {name: (found["conv", "forward", name].layout, found["conv", "forward", name].precision) for name in who} == {
        "numpy": ("rows first", "float32"),
        "cuda-fp32": ("rows first", "float32"),
        "cuda-last-fp32": ("channels last", "float32"),
        "cuda": ("rows first", "tf32"),
        "cuda-last": ("channels last", "tf32"),
    }
    launched = {name: [k["name"] for k in found["conv", "forward", name].kernels] for name in who}
    assert launched["numpy"] == [] and found["conv", "forward", "numpy"].lines > 0
    assert set(launched["cuda-last-fp32"]).isdisjoint(launched["cuda-fp32"]), "the rung for channels last was not taken"
    assert any("tf32" in name for name in launched["cuda-last"]) and not any(
        "tf32" in n for name in launched if "fp32" in name for n in launched[name]
    )
    assert found["conv", "forward", "cuda-last"].error > found["conv", "forward", "cuda-last-fp32"].error
    assert all(k["registers"] > 8 for k in found["conv", "forward", "cuda"].kernels)
    assert set(run.launches) == set(who) - {"numpy"} and all(v > 0 for took in run.launches.values() for v in took.values())
    shown = report.details(run)
    assert "empty kernel of cuda:" in shown and "channels last, tf32" in shown


def test_a_step_as_a_graph_gives_the_same_and_is_channels_last_throughout():
    losses = {}
    for name in ("cuda-last", "cuda-graph"):
        _, of = worker._phases(libraries.make(name, 1, "cuda"), STEP)
        losses[name] = of()[0]
    assert losses["cuda-last"] == losses["cuda-graph"] > 0
    library = libraries.make("cuda-last", 1, "cuda")
    model, _ = library.unet()
    seen = []
    for module in model.modules():
        if type(module).__name__ in ("MaxPool2d", "ConvTranspose2d"):
            module.register_forward_hook(lambda module, given, y: seen.append(y.is_contiguous(memory_format="channels_last")))
    with no_grad():
        model(library.make(np.zeros((1, 1, 32, 32), np.float32)))
    assert seen == [True] * 8


def test_every_rung_is_measured_beside_the_others():
    run = bench.run(list(rungs.CASES), device="cuda", who=["cuda-fp32", "cuda"], ladder=True, rounds=1, repeats=2)
    assert run.failures == []
    measured = {(r.phase, r.library): r for r in run.results}
    served = {(case.split()[0].partition(".")[2], name) for case in rungs.CASES for name in rungs.rungs_of(case)}
    assert measured.keys() == served and len(served) >= 11
    tuned = measured["forward", "7 tf32_tuned"]
    assert (tuned.layout, tuned.precision, tuned.peer) == ("channels last", "tf32", "torch-last")
    assert tuned.operations == 2 * 64 * 36 * 16 * 9 and tuned.lines > 50
    assert [k["name"].partition("<")[0] for k in tuned.kernels] == ["conv2d_forward__tf32_tuned"]
    direct = measured["forward", "1 direct"]
    assert (direct.layout, direct.precision, direct.peer) == ("rows first", "float32", "torch-fp32")
    assert direct.error == 0 < tuned.error < 1e-2


def test_the_breakdown_of_a_step_is_made_of_events(monkeypatch, tmp_path):
    marked = []
    monkeypatch.setattr(clock.CupyEvents, "mark", lambda self, mark=clock.CupyEvents.mark: marked.append(mark(self)) or marked[-1])
    monkeypatch.setattr(libraries.Minisegnet, "make", lambda self, a, make=libraries.Minisegnet.make: make(self, a[:2, ..., :16, :16]))
    found = breakdown.measure(1, steps=2, device="cuda")
    calls = sum(share.calls for share in found.shares)
    assert found.device == "cuda" and calls > 50 and len(marked) == 2 * (2 * calls + 2), "two events per equation, and two per step"
    assert {"conv2d.forward", "conv2d.grad_weight", "optimiser.adam"} <= {share.equation for share in found.shares}
    pictures.waterfall(found, tmp_path / "w.png")
    assert (tmp_path / "w.png").stat().st_size > 5000
