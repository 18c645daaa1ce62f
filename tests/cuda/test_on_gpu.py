"""The parts of ``tests/on_gpu.py`` that need no GPU: its commands, its limits, and its reading of the output of other programs."""

import sys
import time
from pathlib import Path

import on_gpu
import pytest

from minisegnet.bench import runner
from minisegnet.cli import parser


@pytest.fixture(autouse=True)
def just_started(monkeypatch):
    """Let the ten minutes begin with the test, not with the import of the file."""
    monkeypatch.setattr(on_gpu, "_started", time.monotonic())


def test_what_a_part_had_started_ends_with_it_and_what_it_had_said_is_kept(monkeypatch):
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    line = f"import subprocess, sys, time; print(subprocess.Popen({child}).pid); time.sleep(60)"
    code, text, seconds = on_gpu.call([sys.executable, "-c", line], 2)
    assert code == 124 and seconds < 30
    state = Path(f"/proc/{int(text)}/stat")
    time.sleep(0.2)
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z", "a process that it had started is still running"
    assert on_gpu.call([sys.executable, "-c", "print(1); raise SystemExit(3)"], 20)[:2] == (3, "1\n")
    monkeypatch.setattr(on_gpu, "_started", time.monotonic() - on_gpu.BUDGET)
    assert on_gpu.call(["never"], 20) == (124, "no time was left for it", 0.0)


def test_its_commands_are_understood_and_fit_into_ten_minutes():
    for options, _ in on_gpu.PARTS.values():
        parser().parse_args([*on_gpu.BENCH[3:], *options, "--json", "part.json"])
        if "--who" in options:
            device = "cuda" if "cuda" in options else "cpu"
            assert set(options[options.index("--who") + 1].split(",")) <= {*runner.OURS[device], *runner.PEERS[device]}
    rest = sum(limit for _, limit in on_gpu.PARTS.values()) + on_gpu.COUNTERS
    assert on_gpu.CORRECTNESS <= 200 and on_gpu.CORRECTNESS + rest < on_gpu.BUDGET + 60 and on_gpu.BUDGET < 600


def test_parts_can_be_chosen_and_unknown_ones_are_refused(capsys):
    with pytest.raises(SystemExit):
        on_gpu.main(["--only", "ladder,stairs"])
    assert "no part stairs; there are rungs, tests" in capsys.readouterr().err


def test_the_files_that_it_tests_have_all_tests_for_a_gpu(monkeypatch):
    seen = []
    monkeypatch.setattr(on_gpu, "call", lambda command, limit: seen.append(command) or (0, "== 3 passed, 2 skipped ==\n", 1.0))
    assert on_gpu.tests("cuda") == {"passed": True, "said": "3 passed, 2 skipped", "seconds": 1.0}
    assert {"tests/cuda/test_cuda.py", "tests/cuda/test_on_device.py"} <= set(seen[0])


@pytest.mark.parametrize(
    ("code", "text", "clean"), [(0, "ERROR SUMMARY: 0 errors", True), (9, "RACECHECK SUMMARY: 2 hazards displayed", False)]
)
def test_what_sanitizers_say_is_read(code, text, clean, monkeypatch):
    monkeypatch.setattr(on_gpu.shutil, "which", lambda name: "/usr/bin/compute-sanitizer")
    answers = iter([(0, "", 1.0), (code, text, 1.0)])
    monkeypatch.setattr(on_gpu, "call", lambda line, limit: next(answers))
    found = on_gpu.sanitizer("memcheck")
    assert found["ran"] and (found["errors"] == 0) is clean and found["exit_code"] == code
    monkeypatch.setattr(on_gpu, "_tool", lambda name: None)
    assert not on_gpu.sanitizer("memcheck")["ran"]


def test_what_the_hardware_counts_is_read(monkeypatch, tmp_path):
    """The table that Nsight Compute writes has a line of units below its heading."""
    monkeypatch.setattr(on_gpu, "_tool", lambda name: f"/usr/bin/{name}")
    table = (
        '==PROF== Profiling "conv2d_forward__tile": 0%\n"ID","Kernel Name","Grid Size","smsp__inst_executed.sum"\n"","","","inst"\n'
        '"0","conv2d_forward__tile","(4, 1, 1)","1,024"\n'
    )

    def call(command, limit):
        Path(command[command.index("--log-file") + 1]).write_text(table, encoding="utf-8")
        return 0, "rung 2 tile of conv2d.forward\n", 1.0

    monkeypatch.setattr(on_gpu, "call", call)
    found = on_gpu.counters(tmp_path / "counters.csv")
    assert found["order"] == ["rung 2 tile of conv2d.forward"] and found["units"] == {"smsp__inst_executed.sum": "inst"}
    assert found["kernels"] == [{"Kernel Name": "conv2d_forward__tile", "Grid Size": "(4, 1, 1)", "smsp__inst_executed.sum": "1,024"}]
    table = "==ERROR== the counters of this GPU may not be read\n"
    assert not on_gpu.counters(tmp_path / "counters.csv")["ran"]
