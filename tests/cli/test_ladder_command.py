"""``minisegnet ladder``: the emulator's counts for a rung agree with theory, and the command prints them."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from minisegnet.bench import ladder, ladder_picture
from minisegnet.bench.ladder import Layer
from minisegnet.cli import main
from minisegnet_kernels import backends
from minisegnet_kernels.conv2d.ladder import RUNGS

emulated = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")
SMALL = Layer(channels=4, outputs=5, size=9)
FIRST = [rung for rung in RUNGS if rung.name in ("direct", "tile") and rung.equation == "conv2d.forward"]


@pytest.fixture(scope="module")
def counted():
    return {c.name: c for c in ladder.count(SMALL, FIRST)}


def test_every_rung_is_listed_with_its_idea(capsys):
    assert main(["ladder"]) == 0
    shown = capsys.readouterr().out
    for rung in RUNGS:
        assert rung.title in shown and rung.idea in shown and rung.path.name in shown


def test_theory_against_counts_by_hand():
    # 3 × 3 windows on 9²: 25 = 2 + 7 · 3 + 2 cells an axis, 625 a plane. 81 · 5 results; 180 weights.
    direct, tile = FIRST
    assert ladder.predicted(direct, SMALL) == 4 * (2 * 625 * 4 * 5 + 2 * 405)
    # Tiles of 8 × 32 with four channels: 2 tiles; their rows reach over 9 and 2 cells, the columns over 9; x passes ⌈5/4⌉ times.
    assert ladder.predicted(tile, SMALL) == 4 * ((9 + 2) * 9 * 4 * 2 + 180 * 2 + 2 * 405)


@emulated
def test_what_is_counted_is_what_theory_says(counted):
    for c in counted.values():
        assert c.bytes == c.predicted_bytes and c.error < 1e-6
        assert c.least_bytes == 4 * (324 + 180 + 5 + 405) and c.operations == 2 * 405 * 36
        assert c.sectors >= c.least_sectors > 0
        assert c.lines > 50
    direct, tile = counted["direct"], counted["tile"]
    assert direct.wavefronts == 0 and tile.wavefronts >= tile.least_wavefronts > 0
    assert tile.bytes < direct.bytes / 10 and tile.intensity > 10 * direct.intensity


@emulated
def test_counts_do_not_depend_on_the_addresses_of_arrays(counted):
    holes = [np.empty(n) for n in (3, 1001, 17)]  # so that arrays get other addresses than before
    assert {c.name: c for c in ladder.count(SMALL, FIRST)} == counted and holes


@emulated
def test_table_and_picture(counted, tmp_path):
    found = list(counted.values())
    lines = ladder.table(found, SMALL).splitlines()
    assert [line.split()[1] for line in lines[3:]] == ["direct", "tile"] and "1.00" not in lines[0]
    ladder_picture.picture(found, SMALL, tmp_path / "l.png")
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")


@emulated
def test_the_command_writes_what_it_counted(tmp_path, capsys):
    assert main(["ladder", "--emulate", "--only", "tile", "--layer", "3,4,6", "--json", str(tmp_path / "l.json")]) == 0
    record = json.loads((tmp_path / "l.json").read_text())
    (count, *gradients) = record["counts"]
    assert [c["equation"] for c in gradients] == ["conv2d.grad_input", "conv2d.grad_weight"]
    assert count["name"] == "tile" and record["layer"]["outputs"] == 4
    assert f"{count['sectors']}" in capsys.readouterr().out
    if find_spec("cuda"):  # with NVRTC: the registers are those of the compile check
        table = json.loads((Path(__file__).parents[2] / "docs/benchmarks/compiled.json").read_text())["kernels"][
            "conv2d/ladder/rung2_tile.cu"
        ]["instances"]
        known = {(c["kernel"], c["architecture"]): c["registers"] for c in table}
        (kernel,) = count["kernels"]
        assert kernel["name"] == "conv2d_forward__tile<float>" and kernel["registers"] == known[kernel["name"], "sm_90"]


@emulated
def test_a_wrong_rung_is_not_counted():
    from dataclasses import replace

    zeros = lambda x, w, b, **options: np.zeros((1, 5, 9, 9), np.float32)
    with pytest.raises(ArithmeticError, match=r"rung 1 \(direct\) differs from the reference"):
        ladder.count(SMALL, [replace(FIRST[0], program=zeros)])


def test_a_rung_that_does_not_serve_the_layer_is_left_out_and_named():
    from dataclasses import replace

    said = []
    never = replace(FIRST[0], serves=lambda *case: False, needs="nothing")
    if backends.available()["cuda"]:
        assert ladder.count(SMALL, [never], said.append) == [] and "serves nothing" in said[0]


@pytest.mark.slow
@emulated
def test_every_rung_requests_the_bytes_of_the_theory():
    """The layer is a multiple of every tile; otherwise some rungs re-read the last row."""
    for c in ladder.count(Layer(channels=4, outputs=64, size=16)):
        if c.equation == "conv2d.forward" and c.predicted_bytes is not None:
            assert c.bytes == c.predicted_bytes, (c.label, c.name)
        elif c.equation == "conv2d.grad_input" and c.predicted_bytes is not None:
            assert c.bytes >= c.predicted_bytes, (c.label, c.name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "l.json"], "--json: this goes with --emulate"),
        (["--emulate", "--only", "99"], "no rung 99; there are 1 direct"),
    ],
)
def test_wrong_arguments(arguments, words, capsys):
    assert main(["ladder", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_malformed_layer_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["ladder", "--emulate", "--layer", "3,4"])
    assert "such as 16,64,16" in capsys.readouterr().err
