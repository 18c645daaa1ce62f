"""``minisegnet sass``"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet sass
      the main loop of every rung of the convolution ladder on an H100: its instructions, and the speed that they allow
  minisegnet sass conv2d.forward --rung 7 --gpu sm_80
      rung 7 on an A100, by kind of instruction
  minisegnet sass conv2d.forward --rung 3 --lines
      the loop itself
  minisegnet sass --gpu sm_75,sm_80,sm_90 --json docs/benchmarks/sass.json
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "sass",
        "show the machine code of the convolution ladder, and the speed that it allows",
        "Compile the rungs for a GPU, find the loop with the most multiply-adds in the machine code (SASS), and count its\n"
        "instructions. Each takes a slot in which a scheduler could have issued a multiply-add, so the counts limit the speed:\n"
        "a bound, and not a measurement. Needs no GPU: pip install cuda-bindings nvidia-cuda-nvrtc-cu12 nvidia-cuda-nvdisasm",
        EXAMPLES,
        run,
    )
    command.add_argument(
        "equation", nargs="?", metavar="EQUATION", help="conv2d.forward, conv2d.grad_input or conv2d.grad_weight (default: all)"
    )
    command.add_argument("--rung", metavar="RUNG", help="a rung by number or name (default: all)")
    command.add_argument(
        "--gpu",
        default="sm_90",
        metavar="NAMES",
        help="compute capabilities, with commas: sm_75 (T4), sm_80, sm_86, sm_89, sm_90 (default)",
    )
    command.add_argument("--lines", action="store_true", help="print the instructions of the loop")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the counts to a JSON file")


def run(args: argparse.Namespace) -> int:
    from minisegnet_kernels.cuda import nvrtc

    from ..bench import sass
    from ..files import check_writable, write_text

    names = [name.strip() for name in args.gpu.split(",")]
    if unknown := [name for name in names if name not in sass.GPUS]:
        raise ValueError(f"no figures of {', '.join(unknown)}; there are {', '.join(f'{a} ({g.name})' for a, g in sass.GPUS.items())}")
    if args.equation and args.equation not in (known := sorted({r.equation for r in sass.RUNGS})):
        raise ValueError(f"no rung computes {args.equation!r}; the rungs compute {', '.join(known)}")
    rungs = [r for r in sass.RUNGS if args.equation in (None, r.equation) and args.rung in (None, r.label, r.name)]
    if not rungs:
        raise ValueError(f"no rung {args.rung!r} of {args.equation or 'the ladder'}; minisegnet ladder lists them")
    if args.json:
        check_writable(args.json)
    sass.check_tools()
    said = lambda line: print(f"  {line} …", file=sys.stderr, flush=True)
    if args.lines or args.rung:
        found = []
        for name in names:
            for rung in (r for r in rungs if r.capability <= nvrtc.capability(name)):
                loop, lines = sass.analyse(rung, name)
                found.append(loop)
                print(f"{loop.kernel} for {sass.GPUS[name].name} ({name}), {loop.registers} registers; a pass through its main loop:")
                print("\n".join(f"{k:5}  {line}" for k, line in enumerate(lines, 1)) if args.lines else _by_kind(loop))
                print()
    else:
        found = list(sass.every(names, rungs, said))
    print(sass.table(found))
    if args.json:
        write_text(args.json, json.dumps({"nvrtc": nvrtc._version(), "loops": [asdict(m) for m in found]}, indent=1) + "\n")
        print(f"wrote {args.json}")
    return 0


def _by_kind(loop: Any) -> str:
    return "\n".join(f"{count:6}  {kind:8} {count / loop.instructions:4.0%}" for kind, count in loop.counts.items())
