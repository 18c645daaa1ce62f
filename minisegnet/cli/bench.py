"""``minisegnet bench``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..options import whole
from .common import add_command, require_gpu
from .config import typed

EXAMPLES = """\
  minisegnet bench
      every operation and a U-Net training step, on all backends, and in PyTorch (eager and compiled) if it is installed
  minisegnet bench --quick
      one case of each kind and a training step, in under a minute, without NumPy and torch.compile
  minisegnet bench --only step --who numba,torch
      the training step alone, in two libraries
  minisegnet bench --only conv --json conv.json --picture conv.png
      the convolutions, with a record and a picture
  minisegnet bench --only conv --roofline roof.png --details
      how close each library comes to the limits of memory and arithmetic; quartiles, errors, lines of code
  minisegnet bench --device cuda --json gpu.json
      on a GPU: both languages, layouts and precisions, the step as one CUDA graph, NumPy's program on CuPy arrays, and
      PyTorch in four settings and compiled; also registers, shared memory and the time of an empty launch
  minisegnet bench --ladder --device cuda --json rungs.json --roofline rungs.png
      on a GPU: every rung of the convolution ladder beside cuDNN
  minisegnet bench --breakdown --picture step.png
      the time of a training step by equation (on a GPU with --device cuda)
  minisegnet bench --sweep --picture sizes.png
      the time of a training step against the size of the image and of the batch
  minisegnet bench --from cpu.json,gpu.json,rungs.json --picture bars.png --roofline roof.png
      draw CPU against GPU, and all rooflines, from records; nothing is measured
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "bench",
        "measure the speed of each operation and of a training step",
        "Time each operation and a whole U-Net training step. Every library runs in a process of its own, and the\n"
        "libraries take turns. Their results are compared before the timing, and again afterwards with other values.\n"
        "The table shows medians and their percentage of the roof, which is the speed of the best matrix product and\n"
        "of the best copy in the same run. PyTorch takes part if it is installed. A library that fails or disagrees\n"
        "has no times; the reason is printed below the table, and the exit code is 1 if the library is minisegnet.",
        EXAMPLES,
        run,
    )
    command.add_argument("--only", metavar="WORD", help="only the cases whose name contains this word")
    command.add_argument(
        "--who",
        metavar="NAMES",
        help="only these of numpy,numba,torch,torch-compile; on a GPU numpy,numba_cuda,cuda-graph,cuda-fp32,cuda-last-fp32,cuda,cuda-last,"
        "torch,torch-last,torch-fp32,torch-last-fp32,torch-compile (default: all that run here)",
    )
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")
    command.add_argument("--threads", type=typed(whole(1)), default=2, metavar="N", help="threads of each library (default: 2)")
    command.add_argument(
        "--rounds",
        type=typed(whole(1)),
        metavar="N",
        help="turns of each library; a turn is 3 timings, on a GPU 10 (default: 7; with --quick 3 turns of one timing)",
    )
    command.add_argument(
        "--details",
        action="store_true",
        help="a line for each library: quartiles, speed, error, same bits again, lines of code, registers (the default on a GPU)",
    )
    other = command.add_mutually_exclusive_group()
    other.add_argument("--quick", action="store_true", help="few cases and few turns, in under a minute")
    other.add_argument("--sweep", action="store_true", help="time the training step for several sizes of the image and of the batch")
    other.add_argument("--ladder", action="store_true", help="time the rungs of the convolution ladder beside cuDNN, on a GPU")
    other.add_argument("--breakdown", action="store_true", help="divide the time of one training step among the equations")
    other.add_argument(
        "--from", dest="records", metavar="FILES", help="draw --picture and --roofline from these records; nothing is measured"
    )
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write a record of timings, processor and versions; it is rewritten after each case"
    )
    command.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write a PNG: bars relative to PyTorch; with --breakdown a waterfall, with --sweep curves, with --from CPU against GPU",
    )
    command.add_argument("--roofline", type=Path, metavar="FILE", help="write a PNG: the speed of each case under the roof")


def run(args: argparse.Namespace) -> int:
    from ..files import check_writable

    for path in (args.json, args.picture, args.roofline):
        if path:
            check_writable(path)
    return _breakdown(args) if args.breakdown else _draw(args) if args.records else _cases(args)


def _breakdown(args: argparse.Namespace) -> int:
    if args.only or args.who or args.roofline or args.details or args.rounds:
        raise ValueError("--breakdown shows one training step: only --device, --threads, --json and --picture go with it")
    if args.device == "cuda":
        require_gpu()
    from dataclasses import asdict

    from minisegnet_kernels import backends

    from ..bench import breakdown, pictures, report, runner

    found = breakdown.measure(args.threads, device=args.device)
    on_gpu = args.device == "cuda"
    roof = runner.roof("cuda-last" if on_gpu else backends.current("cpu"), args.threads, args.device)
    print(breakdown.table(found, roof))
    if args.json:
        roofs = {"tf32" if on_gpu else "float32": asdict(roof)}
        report.save_record({"roofs": roofs, **asdict(found)}, args.json, threads=args.threads)
        print(f"wrote {args.json}")
    if args.picture:
        pictures.waterfall(found, args.picture)
        print(f"wrote {args.picture}")
    return 0


def _draw(args: argparse.Namespace) -> int:
    """``--from``"""
    if args.only or args.who or args.details or args.rounds or args.json or not (args.picture or args.roofline):
        raise ValueError("--from draws pictures from records: --picture or --roofline goes with it, and no other option")
    from ..bench import pictures, results

    runs = results.load([Path(name.strip()) for name in args.records.split(",")])
    for path, draw in ((args.picture, pictures.bars), (args.roofline, pictures.roofline)):
        if path:
            draw(runs, path)
            print(f"wrote {path}")
    return 0


def _cases(args: argparse.Namespace) -> int:
    """The cases that are timed in several libraries."""
    from .. import bench
    from ..bench import pictures, report
    from ..bench.runner import libraries

    if args.sweep and args.only:
        raise ValueError("--only does not go with --sweep")
    if args.ladder and (args.device != "cuda" or args.who or args.picture):
        raise ValueError(
            "--ladder times the rungs on a GPU: --device cuda goes with it, and not --who or --picture. "
            "Without a GPU, minisegnet ladder --emulate counts memory accesses"
        )
    if args.device == "cuda":
        require_gpu()
    here = libraries(args.device)
    usual = [name for name in here if name not in ("numpy", "torch-compile") or not (args.quick or args.sweep)]
    who = usual if args.who is None else [name.strip() for name in args.who.split(",")]
    if unknown := [name for name in who if name not in here]:
        mend = " (pip install torch)" if any(name.startswith("torch") for name in unknown) else ""
        raise ValueError(f"--who: {', '.join(unknown)} cannot be measured here{mend}; there are {', '.join(here)}")
    names = _names(args)
    say = lambda message: print(f"  {message} …", file=sys.stderr)
    if left_out := [name for name in here if name not in usual and args.who is None and not args.ladder]:
        say(f"without {' and '.join(left_out)}, which take long: name them with --who to include them")
    run = bench.run(
        names,
        who=None if args.ladder else who,
        threads=args.threads,
        device=args.device,
        rounds=args.rounds or (3 if args.quick else 7),
        repeats=1 if args.quick else 10 if args.device == "cuda" else 3,
        ladder=args.ladder,
        progress=say,
        keep=lambda run: report.save_json(run, args.json, threads=args.threads) if args.json else None,
    )
    print(report.details(run) if args.details or args.device == "cuda" else report.table(run))
    if args.json:
        print(f"wrote {args.json}")
    if args.picture:
        pictures.sweep(run, args.picture) if args.sweep else pictures.relative(run, args.picture, threads=args.threads)
        print(f"wrote {args.picture}")
    if args.roofline:
        pictures.roofline([run], args.roofline)
        print(f"wrote {args.roofline}")
    return 1 if any(not failure.library.startswith("torch") for failure in run.failures) else 0


def _names(args: argparse.Namespace) -> list[str]:
    """The cases to measure."""
    from ..bench.cases import CASES, QUICK, STEP, SWEEP

    cases = QUICK if args.quick else tuple(SWEEP) if args.sweep else (*CASES, STEP)
    if args.ladder:
        from ..bench import rungs

        cases = tuple(rungs.CASES)
    names = [name for name in cases if not args.only or args.only.lower() in name.lower()]
    if not names:
        raise ValueError(f"--only: no case contains {args.only!r}; the cases are:\n  " + "\n  ".join(cases))
    return names
