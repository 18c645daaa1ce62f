"""``minisegnet ladder``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet ladder
      list the rungs
  minisegnet ladder --emulate
      count the memory accesses of each rung, its sectors and bank conflicts, without a GPU
  minisegnet ladder --emulate --only 2,3 --layer 8,16,24
      rungs 2 and 3, for 8 → 16 channels on an image of 24 × 24
  minisegnet ladder --emulate --json ladder.json --picture ladder.png
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "ladder",
        "show how a convolution becomes fast on a GPU, rung by rung",
        "List the rungs of the convolution ladder, from one thread per output to the tensor cores. With --emulate each\n"
        "rung computes a small layer on the CPU, and its memory accesses are counted and compared with theory. This needs\n"
        "a C++ compiler; the first time it takes some seconds per rung.",
        EXAMPLES,
        run,
    )
    command.add_argument("--emulate", action="store_true", help="run the rungs in the emulator and count")
    command.add_argument("--only", metavar="RUNGS", help="only these rungs, by number or name, with commas between them")
    command.add_argument(
        "--layer", type=_layer, metavar="C,O,SIZE", help="channels in, channels out, side of the image, for --emulate (default: 16,64,16)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the counts to a JSON file, for --emulate")
    command.add_argument("--picture", type=Path, metavar="FILE", help="write a PNG of the counts, for --emulate")


def run(args: argparse.Namespace) -> int:
    if not args.emulate and (idle := [f"--{name}" for name in ("layer", "json", "picture") if getattr(args, name) is not None]):
        raise ValueError(f"{', '.join(idle)}: this goes with --emulate")
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
