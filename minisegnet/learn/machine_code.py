"""Loops of kernels in machine code (SASS), as NVIDIA's compiler writes them, read from a record.

``python -m minisegnet.learn.machine_code NVDISASM`` records them anew; ``pip install nvidia-cuda-nvdisasm`` brings the program
``nvdisasm``. The record holds a fingerprint of each source, and a test compares it with the current source.

>>> found = loop("implicit_gemm")
>>> found.counts["FFMA"], found.counts["LDS"]
(16, 32)
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from minisegnet_kernels.cuda import nvrtc
from minisegnet_kernels.cuda.source import read

RECORD = Path(__file__).with_name("machine_code.json")
ARCHITECTURE = "sm_90"
#: The rungs of the ladder, their files, and the instance that is shown.
KERNELS = {
    "implicit_gemm": ("conv2d/ladder/rung3_implicit_gemm.cu", "conv2d_forward__implicit_gemm<float>"),
    "register_tile": ("conv2d/ladder/rung4_register_tile.cu", "conv2d_forward__register_tile<64>"),
}
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", re.M)
_MNEMONIC = re.compile(r"(?:@!?U?P\w+ )?\s*([A-Z0-9]+)")


@dataclass(frozen=True)
class Loop:
    """What a kernel does between the two barriers of its main loop: the products of one step.

    Attributes
    ----------
    kernel : str
        The instance, as C++ writes it.
    architecture : str
    instructions : tuple of str
        In the order of the program, from the first barrier to the second.
    """

    kernel: str
    architecture: str
    instructions: tuple[str, ...]

    @cached_property
    def counts(self) -> Counter[str]:
        """How many instructions of each kind there are, by their first word: ``FFMA``, ``LDS``, ``BAR``, …"""
        return Counter(mnemonic(line) for line in self.instructions)

    def __str__(self) -> str:
        head = f"{self.kernel} for {self.architecture}, {len(self.instructions)} instructions"
        return "\n".join([head, *(f"{number:4}  {line}" for number, line in enumerate(self.instructions, 1))])

    __repr__ = __str__


def mnemonic(instruction: str) -> str:
    """The first word of an instruction, without its condition and its variants.

    >>> mnemonic("@!P0 LDS.128 R24, [R95]")
    'LDS'
    """
    match = _MNEMONIC.match(instruction)
    return match[1] if match else ""


def loop(rung: str) -> Loop:
    """The recorded loop of a rung.

    Parameters
    ----------
    rung : {"implicit_gemm", "register_tile"}
        Rung 3 or 4 of the convolution ladder.

    Raises
    ------
    ValueError
        If no loop of this rung is recorded.
    """
    if rung not in KERNELS:
        raise ValueError(f"no machine code of a rung {rung!r} is recorded; there are {', '.join(KERNELS)}")
    found = json.loads(RECORD.read_text(encoding="utf-8"))["loops"][rung]
    return Loop(found["kernel"], found["architecture"], tuple(found["instructions"]))


def between_barriers(sass: str) -> list[str]:
    """The instructions from the barrier that is followed by the most multiply-adds to the next barrier, both included.

    Raises
    ------
    ValueError
        If there are not two barriers.
    """
    lines = [" ".join(line.split()) for line in _INSTRUCTION.findall(sass)]
    barriers = [k for k, line in enumerate(lines) if mnemonic(line) == "BAR"]
    if len(barriers) < 2:
        raise ValueError(f"the machine code has {len(barriers)} barriers; the loop lies between two")
    pieces = [lines[a : b + 1] for a, b in pairwise(barriers)]
    return max(pieces, key=lambda piece: sum(mnemonic(line) == "FFMA" for line in piece))


def fingerprint(rung: str) -> str:
    """A hash of the source that a loop was compiled from; see `nvrtc.fingerprint`."""
    return nvrtc.fingerprint(read(nvrtc.ROOT / KERNELS[rung][0]))


def record(nvdisasm: str) -> dict:
    """Compile and disassemble every loop. Needs NVRTC and the program ``nvdisasm``, and no GPU."""
    loops = {}
    for rung, (path, kernel) in KERNELS.items():
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(nvrtc.machine_code(read(nvrtc.ROOT / path), kernel, ARCHITECTURE)[0])
            file.flush()
            sass = subprocess.run([nvdisasm, "-c", file.name], capture_output=True, text=True, check=True).stdout
        loops[rung] = {
            "kernel": kernel,
            "architecture": ARCHITECTURE,
            "fingerprint": fingerprint(rung),
            "instructions": between_barriers(sass),
        }
    return {"nvrtc": nvrtc._version(), "loops": loops}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m minisegnet.learn.machine_code NVDISASM: the path of the program nvdisasm (pip install nvidia-cuda-nvdisasm)")
    RECORD.write_text(json.dumps(record(sys.argv[1]), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {RECORD.name}")
