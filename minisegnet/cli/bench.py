"""``minisegnet bench``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .common import add_command, positive

EXAMPLES = """\
  minisegnet bench
      every operation and a whole U-Net training step, on all backends, with PyTorch if it is installed
  minisegnet bench --only step --who numba,torch
      the training step alone, of two
  minisegnet bench --only conv --json conv.json --picture conv.png
  minisegnet bench --breakdown
      where the time of a training step goes
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "bench",
        "measure the speed of each operation and of a training step",
        "Time each operation and a whole U-Net training step. Every library runs in a process of its own and\n"
        "they are asked in turn; their results are compared before any time counts. Medians are shown.\n"
        "PyTorch takes part where it is installed.",
        EXAMPLES,
        run,
    )
    command.add_argument("--only", metavar="WORD", help="cases whose name contains this word")
    command.add_argument("--who", metavar="NAMES", help="some of numpy,numba,torch (default: all that are here)")
    command.add_argument("--threads", type=positive, default=2, metavar="N", help="for each library (default: 2)")
    command.add_argument("--rounds", type=positive, default=7, metavar="N", help="how often each is asked for 3 timings (default: 7)")
    command.add_argument("--breakdown", action="store_true", help="where the time of one training step goes, by equation")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the record: timings, processor, versions")
    command.add_argument("--picture", type=Path, metavar="FILE", help="write a picture, PNG")


def run(args: argparse.Namespace) -> int:
    from .. import bench
    from ..bench import report
    from ..bench.cases import CASES, STEP
    from ..bench.runner import libraries

    if args.breakdown:
        from ..bench.breakdown import breakdown

        print(breakdown(args.threads))
        return 0
    here = libraries()
    who = here if args.who is None else [name.strip() for name in args.who.split(",")]
    if unknown := [name for name in who if name not in here]:
        mend = " (pip install torch)" if "torch" in unknown else ""
        raise ValueError(f"--who: {', '.join(unknown)} cannot be measured here{mend}; there are {', '.join(here)}")
    names = [name for name in (*CASES, STEP) if not args.only or args.only.lower() in name.lower()]
    if not names:
        raise ValueError(f"--only: no case contains {args.only!r}; the cases are:\n  " + "\n  ".join((*CASES, STEP)))
    say = lambda message: print(f"  {message} …", file=sys.stderr)
    results = bench.run(names, who=who, threads=args.threads, rounds=args.rounds, progress=say)
    print(report.table(results))
    for path, write in ((args.json, report.save_json), (args.picture, report.picture)):
        if path:
            write(results, path, threads=args.threads)
            print(f"wrote {path}")
    return 0
