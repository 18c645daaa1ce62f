"""``minisegnet sass``: the main loop of a kernel in machine code, and the speed that it allows."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from minisegnet.bench import sass
from minisegnet.cli import main
from minisegnet_kernels.backends import BackendError
from minisegnet_kernels.conv2d.ladder import RUNGS
from minisegnet_kernels.cuda import nvrtc
from minisegnet_kernels.cuda.source import read

DOCS = Path(__file__).parents[2] / "docs"
RECORD = DOCS / "benchmarks" / "sass.json"
#: A kernel with a loop over pixels, a loop over terms inside it, and a jump forward.
LISTING = """
	.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   FFMA R9, R9, R9, R9 ;
.L_x_1:
        /*0020*/                   LDS R2, [R3] ;
        /*0030*/              @!P1 BRA `(.L_x_2) ;
        /*0040*/                   FFMA.FTZ R4, R2, R5, R4 ;
        /*0050*/                   FFMA.FTZ R6, R2, R7, R6 ;
.L_x_2:
        /*0060*/               @P0 BRA `(.L_x_1) ;
        /*0070*/                   STG.E [R8], R4 ;
        /*0080*/               @P2 BRA `(.L_x_0) ;
        /*0090*/                   EXIT ;
"""


def test_the_main_loop_is_the_innermost_one_with_most_multiply_adds():
    found = sass.main_loop(LISTING)
    assert [line.split()[0] for line in found] == ["LDS", "@!P1", "FFMA.FTZ", "FFMA.FTZ", "@P0"]
    assert sass.products(found) == 64
    with pytest.raises(ValueError, match="no loop that multiplies"):
        sass.main_loop(LISTING.replace("FFMA", "IADD3"))


def test_multiply_adds_of_the_tensor_cores_are_in_their_name():
    assert sass.products(["HMMA.1688.F32.TF32 R4, R8, R2, R4", "HMMA.1684.F32.TF32 R4, R8, R2, R4", "MUFU.RCP R1, R2"]) == 1024 + 512


@pytest.mark.parametrize(
    ("counts", "products", "gpu", "expected"),
    [
        ({"FFMA": 16, "LDS": 169}, 512, "sm_90", 66.9 * 16 / 185),  # a slot for each instruction
        ({"FFMA": 16, "LDS": 16}, 512, "sm_80", 19.5),  # 16 lanes are busy for two cycles, in which a load is issued
        ({"FFMA": 16, "LDS": 48}, 512, "sm_80", 19.5 / 2),
        ({"HMMA": 8, "LDS": 56}, 8 * 1024, "sm_80", 156.0),  # 8 cycles each
        ({"HMMA": 8, "LDS": 120}, 8 * 1024, "sm_80", 78.0),
    ],
)
def test_instructions_bound_the_speed(counts, products, gpu, expected):
    assert sass.bound(Counter(counts), products, gpu)[0] == pytest.approx(expected)


def test_the_record_belongs_to_the_present_sources():
    found = {(m.label, m.name, m.equation, m.architecture): m for m in sass.load(RECORD)}
    wanted = {(r.label, r.name, r.equation, a): r for a in sass.RECORDED for r in RUNGS if r.capability <= nvrtc.capability(a)}
    assert found.keys() == wanted.keys()
    for key, rung in wanted.items():
        source = read(rung.path)
        assert found[key].fingerprint == nvrtc.fingerprint(source), f"{key}: the command is in docs/ladder.md"
        assert found[key].kernel == sass.instance(rung, source)


def test_pages_and_headers_have_the_figures_of_the_record():
    loops = sass.load(RECORD)
    page = (DOCS / "ladder.md").read_text(encoding="utf-8")
    assert "\n".join(sass.markdown(loops)) in page
    for rung in RUNGS:
        said = re.search(r"Bound on an H100 by the instructions of its inner loop: ([\d.]+) TFLOP/s", rung.path.read_text(encoding="utf-8"))
        mine = [m.bound for m in loops if m.architecture == "sm_90" and read(rung.path).kernels.get(m.kernel.partition("<")[0])]
        assert said and float(said[1]) == mine[0], rung.path.name


def test_a_rung_gives_the_loop_of_the_record(capsys, tmp_path):
    try:
        sass.check_tools()
    except BackendError as error:
        pytest.skip(str(error))
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    if recorded["nvrtc"] != nvrtc._version():
        pytest.skip("another version of the compiler made the record")
    path = tmp_path / "sass.json"
    assert main(["sass", "conv2d.forward", "--rung", "3", "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "185" in shown and re.search(r"16 +FFMA +9%", shown)
    (loop,) = json.loads(path.read_text(encoding="utf-8"))["loops"]
    assert loop in recorded["loops"]
    assert main(["sass", "conv2d.forward", "--rung", "implicit_gemm", "--lines"]) == 0
    assert "FFMA.FTZ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpu", "sm_12"], "no figures of sm_12; there are sm_75 .T4."),
        (["conv2d.forwards"], "no rung computes 'conv2d.forwards'; the rungs compute conv2d.forward"),
        (["--rung", "9"], "no rung '9' of the ladder; minisegnet ladder lists them"),
    ],
)
def test_wrong_arguments_are_named(arguments, said, capsys):
    assert main(["sass", *arguments]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_missing_disassembler_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sass.shutil, "which", lambda name: None)
    monkeypatch.setattr(sass.importlib.util, "find_spec", lambda name: None)
    assert main(["sass"]) == 2
    assert "pip install nvidia-cuda-nvdisasm" in capsys.readouterr().err
