"""The main loop of each rung in machine code (SASS), and the speed that its instructions allow on a GPU. No GPU is needed.

A multiprocessor has four schedulers, and each issues one instruction of a warp per clock cycle. A multiply-add instruction keeps
the arithmetic busy for some cycles; every other instruction of the loop takes an issue slot as well. So the share of the peak that
a loop can reach is at most ``busy cycles / max(busy cycles, issue slots)``. Waiting, shared memory and memory lower it further. It
is a bound and no measurement. It holds for a pass through the whole loop; a branch that is skipped saves slots.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisegnet_kernels.backends import BackendError
from minisegnet_kernels.conv2d.ladder import RUNGS, Rung
from minisegnet_kernels.cuda import nvrtc
from minisegnet_kernels.cuda.source import Source, read

from ..learn.machine_code import mnemonic


@dataclass(frozen=True)
class GPU:
    """Figures of NVIDIA's data sheets: TFLOP/s in float32, and in TF32 (dense); lanes for float32 of a scheduler."""

    name: str
    float32: float
    tf32: float
    lanes: int


GPUS = {
    "sm_75": GPU("T4", 8.1, 0.0, 16),
    "sm_80": GPU("A100", 19.5, 156.0, 16),
    "sm_86": GPU("RTX 3090", 35.6, 35.6, 32),
    "sm_89": GPU("RTX 4090", 82.6, 82.6, 32),
    "sm_90": GPU("H100 SXM", 66.9, 494.7, 32),
}
#: The GPUs of the committed record.
RECORDED = ("sm_75", "sm_80", "sm_90")
#: Products of the literal sum that one product stands for.
_GAIN = {"winograd": 2.25}
_LABEL = re.compile(r"^(\.L\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
_JUMP = re.compile(r"\bBRA(?:\.\w+)* .*`\((\.L\w+)\)")
_TENSOR = re.compile(r"HMMA\.(\d\d)(\d)(\d)\.")


@dataclass(frozen=True)
class MainLoop:
    """The loop of a kernel that holds most of its multiply-adds, and what it allows.

    Attributes
    ----------
    label, name, equation : str
        The rung's.
    kernel : str
        The instance, as C++ writes it.
    architecture, fingerprint : str
        What it was compiled for, and a hash of the source (`nvrtc.fingerprint`).
    registers : int
        How many a thread has.
    counts : dict
        Instructions of the loop by their first word.
    products : int
        Multiply-adds of a warp in one pass through the loop.
    bound, peak : float
        TFLOP/s: what the instructions allow, and the data sheet's figure.
    """

    label: str
    name: str
    equation: str
    kernel: str
    architecture: str
    fingerprint: str
    registers: int
    counts: dict[str, int]
    products: int
    bound: float
    peak: float

    @property
    def unit(self) -> str:
        """The instruction that multiplies and adds."""
        return "HMMA" if self.counts.get("HMMA") else "FFMA"

    @property
    def instructions(self) -> int:
        return sum(self.counts.values())


def instance(rung: Rung, source: Source) -> str:
    """The instance of a rung's kernel for float32 and its widest tile."""
    mine = [k for name, k in source.kernels.items() if re.fullmatch(rf"{rung.equation.replace('.', '_')}(__(?!sum|merge)\w+)?", name)]
    wide = lambda chosen: [int(value) if value.isdigit() else 0 for value in chosen.values()]
    (kernel,) = mine
    return kernel.expression(max((i for i in kernel.instances() if i.get("T", "float") == "float"), key=wide))


def nvdisasm() -> str:
    """The path of NVIDIA's disassembler.

    Raises
    ------
    BackendError
        If it is not installed.
    """
    package = importlib.util.find_spec("nvidia")
    folders = package.submodule_search_locations if package else None
    found = shutil.which("nvdisasm") or next((str(p) for f in folders or () for p in sorted(Path(f).glob("*/bin/nvdisasm"))), None)
    if found is None:
        raise BackendError("machine code needs the program nvdisasm: pip install nvidia-cuda-nvdisasm")
    return found


def check_tools() -> None:
    """Raise `BackendError` unless NVRTC and `nvdisasm` are installed; the message says how to get them."""
    try:
        from cuda.bindings import nvrtc  # noqa: F401
    except ImportError as error:
        raise BackendError(f"machine code needs NVRTC ({error}): pip install cuda-bindings nvidia-cuda-nvrtc-cu12") from error
    nvdisasm()


def listing(cubin: bytes) -> str:
    """Machine code as text. Needs `nvdisasm`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        return subprocess.run([nvdisasm(), "-c", str(path)], capture_output=True, text=True, check=True).stdout


def main_loop(text: str) -> list[str]:
    """The instructions of the innermost loop with the most multiply-adds.

    A loop reaches from a label to a jump back to it.

    Raises
    ------
    ValueError
        If no loop multiplies and adds.
    """
    labels: dict[str, int] = {}
    lines: list[str] = []
    loops = []
    for line in text.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(lines)
        elif instruction := _INSTRUCTION.match(line):
            lines.append(" ".join(instruction[2].split()))
            jump = _JUMP.search(lines[-1])
            if jump and jump[1] in labels:  # a label that stands before the jump
                loops.append(lines[labels[jump[1]] :])
    found = max(loops, key=lambda loop: (products(loop), -len(loop)), default=[])
    if not products(found):
        raise ValueError("the machine code has no loop that multiplies and adds")
    inside = [loop for loop in loops if 2 * products(loop) > products(found)]
    return min(inside, key=len)


def products(lines: Sequence[str]) -> int:
    """Multiply-adds of a warp: 32 in an FFMA; m · n · k in an instruction of the tensor cores, which its name gives."""
    found = 0
    for line in lines:
        if mnemonic(line) == "FFMA":
            found += 32
        elif tensor := _TENSOR.search(line):
            found += int(tensor[1]) * int(tensor[2]) * int(tensor[3])
    return found


def bound(count: Counter[str], products: int, architecture: str) -> tuple[float, float]:
    """TFLOP/s that the instructions of a loop allow on a GPU, and the GPU's peak for these instructions."""
    gpu = GPUS[architecture]
    peak = gpu.tf32 if count["HMMA"] else gpu.float32
    busy = products / (gpu.lanes * peak / gpu.float32)  # cycles of a scheduler's arithmetic
    return peak * busy / max(busy, sum(count.values())), peak


def analyse(rung: Rung, architecture: str) -> tuple[MainLoop, list[str]]:
    """The main loop of a rung on a GPU, and its instructions."""
    source = read(rung.path)
    kernel = instance(rung, source)
    cubin, registers = nvrtc.machine_code(source, kernel, architecture)
    lines = main_loop(listing(cubin))
    counts = Counter(map(mnemonic, lines))
    reached, peak = bound(counts, products(lines), architecture)
    return MainLoop(
        rung.label,
        rung.name,
        rung.equation,
        kernel,
        architecture,
        nvrtc.fingerprint(source),
        registers,
        dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        products(lines),
        round(_GAIN.get(rung.name, 1) * reached, 1),
        peak,
    ), lines


def every(
    architectures: Sequence[str], rungs: Sequence[Rung] = RUNGS, progress: Callable[[str], Any] = lambda said: None
) -> Iterator[MainLoop]:
    """The main loops of all rungs that these GPUs can run."""
    for architecture in architectures:
        for rung in rungs:
            if rung.capability <= nvrtc.capability(architecture):
                progress(f"{rung.label} {rung.name}, {rung.equation}, {architecture}")
                yield analyse(rung, architecture)[0]


def markdown(loops: Sequence[MainLoop]) -> list[str]:
    """The table of docs/ladder.md: the loop on the last of the recorded GPUs, and the bounds on all of them."""
    found = {(m.label, m.name, m.equation, m.architecture): m for m in loops}
    shown = list(reversed(RECORDED))
    lines = [
        f"| rung | equation | loop | multiply-adds | {' | '.join(f'{GPUS[a].name}' for a in shown)} |",
        "|---|---|---|---|" + "---|" * len(shown),
    ]
    for label, name, equation, architecture in found:
        if architecture == shown[0]:
            m = found[label, name, equation, architecture]
            of = [found.get((label, name, equation, a)) for a in shown]
            cells = [
                f"{b.bound:.0f} of {b.peak:.0f}" if b and b.bound >= 10 else f"{b.bound:.1f} of {b.peak:.0f}" if b else "–" for b in of
            ]
            lines.append(
                f"| {label} {name} | {equation.partition('.')[2]} | {m.instructions} | {m.counts[m.unit]} {m.unit} | {' | '.join(cells)} |"
            )
    return lines


def load(path: Path) -> list[MainLoop]:
    """The loops of a record that ``minisegnet sass --json`` has written."""
    return [MainLoop(**loop) for loop in json.loads(path.read_text(encoding="utf-8"))["loops"]]


def table(loops: Sequence[MainLoop]) -> str:
    """A line for each loop."""
    head = f"{'rung':18}{'equation':13}{'GPU':10}{'registers':>10}{'loop':>6}{'FFMA':>6}{'HMMA':>6}{'bound':>9}{'of':>7}  TFLOP/s"
    lines = [
        f"{f'{m.label} {m.name}':18}{m.equation.partition('.')[2]:13}{GPUS[m.architecture].name:10}{m.registers:10}{m.instructions:6}"
        f"{m.counts.get('FFMA', 0):6}{m.counts.get('HMMA', 0):6}{m.bound:9.1f}{m.peak:7.1f}"
        for m in loops
    ]
    return "\n".join([head, *lines])
