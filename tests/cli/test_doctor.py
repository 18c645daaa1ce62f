"""``minisegnet doctor``: which kernels a GPU gets, from the rule; packages that stand in each other's way."""

from importlib import import_module

import pytest

from minisegnet_kernels.conv2d import examples, kernel
from minisegnet_kernels.conv2d.ladder import RUNGS, allow_tf32

doctor = import_module("minisegnet.doctor")
SECTION = "Convolutions on a GPU of compute capability {}"


def said(gpu):
    """The rows of the section on one GPU, and the rungs of its layers."""
    sections = doctor.doctor(gpu).sections
    (title,) = [title for title in sections if title.startswith("Convolutions")]
    return title, dict(sections[title]), [row for row in sections[title] if row[0] in examples.LAYERS]


@pytest.mark.parametrize(("gpu", "capability"), [("sm_75", (7, 5)), ("sm_89", (8, 9)), ("sm_120", (12, 0))])
@pytest.mark.parametrize("tf32", [False, True])
def test_it_says_what_the_rule_says(gpu, capability, tf32):
    with allow_tf32(tf32):
        title, rows, layers = said(gpu)
        for layer, text in layers:
            cases = (examples.described(equation, **examples.LAYERS[layer])[0] for equation in kernel.RULE)
            chosen = [kernel.choose(case, capability) for case in cases]
            assert text == "; ".join(f"{rung.label} {rung.name}" for rung in chosen)
    assert title == SECTION.format(".".join(map(str, capability)))
    assert len(layers) == len(examples.LAYERS)
    assert f"compiled for {gpu}" in rows["compiled"]
    lacking = {f"{rung.label} {rung.name}" for rung in RUNGS if rung.capability > capability}
    assert set(rows.get("passed over", "").partition(":")[0].split(", ")) == (lacking or {""})
    if capability >= (8, 0):
        assert rows["TF32"].startswith("allowed" if tf32 else "forbidden")
    else:
        assert "TF32" not in rows and rows["passed over"].endswith("need compute capability 8.0")


def test_it_says_why_a_layer_goes_no_further():
    """Rows first, the rule passes over the rung with the fewest demands only for what that rung serves."""
    with allow_tf32(True):
        rows = doctor.doctor("sm_80").sections[SECTION.format("8.0")]
    at = next(k for k, (layer, _) in enumerate(rows) if layer == "3×3, 64 → 64, 128², rows first")
    assert rows[at][1].startswith("6 tf32;")
    assert rows[at + 1] == ("", "not 7 tf32_tuned: it serves float32 without groups, x channels last with C a multiple of 4")
    assert rows[at + 2][1].startswith("not 4s winograd: another rung does this layer with less work")


def test_a_gpu_that_no_test_compiles_for_is_named_as_such():
    assert said("sm_70")[1]["compiled"] == "no test compiles the kernels for sm_70"


@pytest.mark.parametrize("name", ["T4", "7.5", "sm_", "sm_9"])
def test_an_unknown_architecture_is_refused(name):
    with pytest.raises(ValueError, match=rf"no architecture '{name}'.*such as sm_75"):
        doctor.doctor(name)


def test_the_gpus_of_the_machine_are_shown(monkeypatch):
    devices = ["Tesla T4, 550.54.15, 15360 MiB, 7.5", "Tesla T4, 550.54.15, 15360 MiB, 7.5", "NVIDIA H100, 550.54.15, 81559 MiB, 9.0"]
    monkeypatch.setattr(doctor, "_devices", lambda: devices)
    found = doctor.doctor().sections
    assert [text for name, text in found["GPU"] if name.startswith("device")] == devices
    assert [title for title in found if title.startswith("Convolutions")] == [SECTION.format("7.5"), SECTION.format("9.0")]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({}, 'missing: pip install ".[cuda12]" in the clone'),
        ({"cupy-cuda12x": "14.2.0"}, "cupy-cuda12x 14.2.0"),
        ({"cupy-cuda12x": "14.2.0", "cupy": "13.6.0"}, "2 packages with the same files, cupy-cuda12x 14.2.0 and cupy 13.6.0: uninstall"),
    ],
)
def test_a_second_cupy_is_found(monkeypatch, installed, expected):
    monkeypatch.setattr(doctor, "_version", installed.get)
    assert dict(doctor._gpu(["a GPU, 9.0"]))["cupy"].startswith(expected)


@pytest.mark.parametrize(("policy", "said"), [("passive", "sleep"), ("PASSIVE", "sleep"), ("active", "spin (OMP_WAIT_POLICY=active)")])
def test_it_says_what_threads_do_that_wait(monkeypatch, policy, said):
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    assert dict(doctor._numba())["waiting threads"].startswith(said)


@pytest.mark.parametrize("kept", [True, False])
def test_it_says_how_much_freed_memory_is_kept(monkeypatch, kept):
    monkeypatch.setattr("minisegnet_kernels.process.keep_freed_memory", lambda: kept)
    assert dict(doctor._numba()).get("freed memory", "").startswith("up to 1 GiB" if kept else "")
    assert ("freed memory" in dict(doctor._numba())) is kept
