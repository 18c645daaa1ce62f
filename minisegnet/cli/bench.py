"""``minisegnet bench``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .common import add_command, positive, require_gpu

EXAMPLES = """\
  minisegnet bench
      every operation and a whole U-Net training step, on all backends, with PyTorch (eager and compiled) if it is installed
  minisegnet bench --quick
      one case of each kind and a training step, in under a minute; without NumPy and torch.compile
  minisegnet bench --only step --who numba,torch
      the training step alone, of two
  minisegnet bench --only conv --json conv.json --picture conv.png
  minisegnet bench --only conv --roofline roof.png --details
      what each library reaches of what memory and arithmetic allow; quartiles, errors, lines of code
  minisegnet bench --device cuda --json gpu.json
      on a GPU: both languages, layouts and precisions, the step as one CUDA graph, NumPy's program on CuPy arrays, and
      PyTorch in four settings and compiled; registers, shared memory, what an empty launch takes
  minisegnet bench --ladder --device cuda --json rungs.json --roofline rungs.png
      on a GPU: every rung of the convolution ladder beside cuDNN
  minisegnet bench --breakdown --picture step.png
      where the time of a training step goes (on a GPU: --device cuda)
  minisegnet bench --sweep --picture sizes.png
      a training step against the image's size and the batch
  minisegnet bench --from cpu.json,gpu.json,rungs.json --picture bars.png --roofline roof.png
      measure nothing: draw CPU against GPU, and all roofs, from records
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "bench",
        "measure the speed of each operation and of a training step",
        "Time each operation and a whole U-Net training step. Every library runs in a process of its own and\n"
        "they are asked in turn; their results are compared before any time counts, and again afterwards with other\n"
        "values. Medians are shown, and what they reach of the roof: the speed of the best matrix product and of the\n"
        "best copy, measured in the same run. "
        "PyTorch takes part where it is installed.\n"
        "Who fails or disagrees has no times; the reason stands below the table, and the exit code is 1 if it is one of ours.",
        EXAMPLES,
        run,
    )
    command.add_argument("--only", metavar="WORD", help="cases whose name contains this word")
    command.add_argument(
        "--who",
        metavar="NAMES",
        help="some of numpy,numba,torch,torch-compile; on a GPU numpy,numba_cuda,cuda-graph,cuda-fp32,cuda-last-fp32,cuda,cuda-last,"
        "torch,torch-last,torch-fp32,torch-last-fp32,torch-compile (default: all that are here)",
    )
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")
    command.add_argument("--threads", type=positive, default=2, metavar="N", help="for each library (default: 2)")
    command.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help="how often each is asked for 3 timings, on a GPU for 10 (default: 7; with --quick 3, for one timing)",
    )
    command.add_argument(
        "--details",
        action="store_true",
        help="a line for each library: quartiles, what it reaches, error, same bits again, lines of code, registers (always so on a GPU)",
    )
    other = command.add_mutually_exclusive_group()
    other.add_argument("--quick", action="store_true", help="few cases and few rounds: under a minute")
    other.add_argument("--sweep", action="store_true", help="the training step on images of several sizes, and in batches of several sizes")
    other.add_argument("--ladder", action="store_true", help="the rungs of the convolution ladder beside cuDNN, on a GPU")
    other.add_argument("--breakdown", action="store_true", help="where the time of one training step goes, by equation")
    other.add_argument("--from", dest="records", metavar="FILES", help="measure nothing: draw --picture and --roofline from these records")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the record, anew after each case: timings, processor, versions")
    command.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write a picture, PNG: bars relative to PyTorch; of --breakdown a waterfall, of --sweep curves, of --from CPU against GPU",
    )
    command.add_argument("--roofline", type=Path, metavar="FILE", help="write a picture, PNG: what each case reached under the roof")


def run(args: argparse.Namespace) -> int:
    from ..files import check_writable

    for path in (args.json, args.picture, args.roofline):
        if path:
            check_writable(path)
    return _breakdown(args) if args.breakdown else _draw(args) if args.records else _cases(args)


def _breakdown(args: argparse.Namespace) -> int:
    if args.only or args.who or args.roofline or args.details or args.rounds:
        raise ValueError("--breakdown shows one training step: of the options only --device, --threads, --json and --picture go with it")
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
    """Everything that several libraries take part in."""
    from .. import bench
    from ..bench import pictures, report
    from ..bench.runner import libraries

    if args.sweep and args.only:
        raise ValueError("--only does not go with --sweep")
    if args.ladder and (args.device != "cuda" or args.who or args.picture):
        raise ValueError(
            "--ladder times the rungs on a GPU: --device cuda goes with it, and not --who or --picture. "
            "What can be counted with no GPU shows: minisegnet ladder --emulate"
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
        say(f"without {' and '.join(left_out)}, which take long: --who names them")
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
    """The cases that are asked for."""
    from ..bench.cases import CASES, QUICK, STEP, SWEEP

    cases = QUICK if args.quick else tuple(SWEEP) if args.sweep else (*CASES, STEP)
    if args.ladder:
        from ..bench import rungs

        cases = tuple(rungs.CASES)
    names = [name for name in cases if not args.only or args.only.lower() in name.lower()]
    if not names:
        raise ValueError(f"--only: no case contains {args.only!r}; the cases are:\n  " + "\n  ".join(cases))
    return names
