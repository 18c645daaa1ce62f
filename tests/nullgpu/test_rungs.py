"""What ``on_gpu.py`` begins with, on the null GPU: every rung on device arrays."""

import pytest
from support import rungs


def test_every_rung_is_right_on_device_arrays(gpu, monkeypatch, capsys):
    monkeypatch.setattr(rungs, "LAYERS", {name: rungs.LAYERS[name] for name in ("odd", "1×1")})
    assert rungs.check() == 0
    printed = capsys.readouterr().out
    names = {(rung.name, rung.equation) for rung in rungs.RUNGS}
    assert {(r.name, r.equation) for r in rungs.RUNGS if f"{r.equation} by rung {r.label} {r.name}," in printed} == names


def test_a_wrong_rung_is_counted(monkeypatch):
    trials = [("conv2d.forward by rung 1 direct", 1e-3), ("by rung 7 tf32_tuned", 1e-3), ("by rung 2 tile", float("nan"))]
    monkeypatch.setattr(rungs, "trials", lambda: iter(trials))
    assert rungs.check() == 2


@pytest.mark.nullgpu(capability=75)
def test_a_t4_tries_only_instructions_that_it_has(gpu):
    found = dict(rungs.trials(["1×1"]))
    assert found and not any("tf32_tuned" in label or "asynchronous" in label for label in found)
    assert max(found.values()) < 2**-17, "also where TF32 is allowed, because it has none"
