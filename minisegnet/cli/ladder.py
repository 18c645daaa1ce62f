"""``minisegnet ladder``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet ladder
  minisegnet ladder --emulate
      what each rung asks memory for, sectors, bank conflicts: with no GPU
  minisegnet ladder --emulate --only 2,3 --layer 8,16,24
      two rungs, 8 → 16 channels on an image of 24²
  minisegnet ladder --emulate --json ladder.json --picture ladder.png
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "ladder",
        "how a convolution is made fast on a GPU, a rung at a time",
        "List the rungs of the convolution ladder, from one thread an output to the tensor cores. With --emulate each\n"
        "runs on a small layer on the CPU, and what it does to memory is counted beside what theory says; this takes\n"
        "a C++ compiler, and some seconds for a rung the first time.",
        EXAMPLES,
        run,
    )
    command.add_argument("--emulate", action="store_true", help="run the rungs in the emulator and count")
    command.add_argument("--only", metavar="RUNGS", help="some, by number or name, with commas between them")
    command.add_argument(
        "--layer", type=_layer, metavar="C,O,SIZE", help="channels in, channels out, side of the image, for --emulate (default: 16,64,16)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the counts, for --emulate")
    command.add_argument("--picture", type=Path, metavar="FILE", help="write a picture, PNG, for --emulate")


def run(args: argparse.Namespace) -> int:
    if not args.emulate and (idle := [f"--{name}" for name in ("layer", "json", "picture") if getattr(args, name) is not None]):
        raise ValueError(f"{', '.join(idle)}: that goes with --emulate")
    from ..bench import ladder

    rungs = _chosen(args.only, ladder.RUNGS)
    if not args.emulate:
        print(ladder.listing(rungs))
        return 0
    from dataclasses import asdict

    from ..bench import ladder_picture, report
    from ..files import check_writable

    for path in (args.json, args.picture):
        if path:
            check_writable(path)
    layer = ladder.Layer(*args.layer) if args.layer else ladder.Layer()
    found = ladder.count(layer, rungs, lambda message: print(f"  {message} …", file=sys.stderr))
    if not found:
        raise ValueError(f"--only: none of these rungs serves the layer {layer}")
    print(ladder.table(found, layer))
    if args.json:
        report.save_record({"layer": asdict(layer), "counts": [asdict(c) for c in found]}, args.json, threads=1)
        print(f"wrote {args.json}")
    if args.picture:
        ladder_picture.picture(found, layer, args.picture)
        print(f"wrote {args.picture}")
    return 0


def _chosen(only: str | None, rungs: Any) -> Any:
    if only is None:
        return rungs
    words = [word.strip() for word in only.split(",")]
    if unknown := [word for word in words if word not in {r.name for r in rungs} | {r.label for r in rungs}]:
        known = ", ".join(dict.fromkeys(f"{r.label} {r.name}" for r in rungs))
        raise ValueError(f"--only: no rung {', '.join(unknown)}; there are {known}")
    return [r for r in rungs if r.name in words or r.label in words]


def _layer(text: str) -> tuple[int, int, int]:
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3 or not all(word.isdigit() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(f"expected channels in, channels out and the image's side, such as 16,64,16, not {text!r}")
    channels, outputs, size = map(int, words)
    return channels, outputs, size
