"""The recorded machine code belongs to the current source, and its instructions are counted correctly."""

import json
import os
import shutil

import pytest

from minisegnet.learn import machine_code
from minisegnet.learn.machine_code import KERNELS, Loop, between_barriers, fingerprint, loop, mnemonic


@pytest.mark.parametrize("rung", KERNELS)
def test_the_record_belongs_to_the_present_source(rung):
    record = json.loads(machine_code.RECORD.read_text(encoding="utf-8"))["loops"]
    assert list(record) == list(KERNELS)
    assert record[rung]["fingerprint"] == fingerprint(rung), "run: python -m minisegnet.learn.machine_code NVDISASM"
    assert record[rung]["kernel"] == KERNELS[rung][1]


def test_what_the_source_says_is_what_the_machine_code_does():
    """Rung 3: 16 products from two numbers each. Rung 4: 8 × 8 products for each of 8 terms, from two times two pieces of 16 bytes."""
    plain, tiled = loop("implicit_gemm"), loop("register_tile")
    assert (plain.counts["FFMA"], plain.counts["LDS"], plain.counts["BAR"]) == (16, 32, 2)
    assert (tiled.counts["FFMA"], tiled.counts["LDS"], tiled.counts["BAR"]) == (8 * 64, 8 * 4, 2)
    assert all(line.startswith("LDS.128 ") for line in tiled.instructions if mnemonic(line) == "LDS")
    assert plain.instructions[0].startswith("BAR") and plain.instructions[-1].startswith("BAR")


def test_the_loop_is_cut_from_a_listing():
    line = lambda text, at: f"        /*{at:04x}*/                   {text} ;"
    words = [
        "MOV R1, R2",
        "BAR.SYNC 0x0",
        "LDS R3, [R4]",
        "@!P0 BRA `(.L_x_1)",
        "BAR.SYNC 0x0",
        "FFMA R1, R1, R2, R3",
        "BAR.SYNC 0x0",
        "EXIT",
    ]
    found = between_barriers("\n".join(["\t.text", ".L_x_1:", *(line(w, 16 * k) for k, w in enumerate(words))]))
    assert found == words[4:7]
    assert Loop("k", "sm_90", tuple(found)).counts == {"BAR": 2, "FFMA": 1}
    with pytest.raises(ValueError, match="has 1 barriers; the loop lies between two"):
        between_barriers(line("BAR.SYNC 0x0", 0))
    with pytest.raises(ValueError, match="no machine code of a rung 'tile' is recorded; there are implicit_gemm, register_tile"):
        loop("tile")
    assert [mnemonic(w) for w in ("@!UP0 LDS.128 R1, [R2]", "@P1 EXIT", "")] == ["LDS", "EXIT", ""]


def test_the_record_is_made_again():
    """With NVRTC and nvdisasm, the same instructions."""
    nvdisasm = os.environ.get("NVDISASM") or shutil.which("nvdisasm")
    if nvdisasm is None:
        pytest.skip("nvdisasm is not installed (pip install nvidia-cuda-nvdisasm, and set NVDISASM to its path)")
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed (pip install cuda-bindings nvidia-cuda-nvrtc-cu12)")
    record = json.loads(machine_code.RECORD.read_text(encoding="utf-8"))
    if ".".join(map(str, nvrtc.nvrtcVersion()[1:])) != record["nvrtc"]:
        pytest.skip("another version of the compiler made the record")
    assert machine_code.record(nvdisasm) == record
