"""All architectures side by side. Feeds ``docs/models.md``.

::

    python docs/experiments/architectures.py --costs --json docs/benchmarks/architectures_costs.json
    python docs/experiments/architectures.py --data DIR --steps 160 \\
        --json docs/benchmarks/architectures.json --picture docs/images/architectures.png

It answers two questions:

* **What does a step cost?** (``--costs``) Forward, loss, backward and Adam at one width, in processor seconds.
* **What does a network learn?** (``--data DIR``) All networks are trained on one budget: the same images, split, seed,
  steps, batches and augmentation. To make their costs comparable, each network gets the largest width (1/4, 1/8, ... of
  the width in its paper) at which a crop takes at most ``--budget`` multiply-adds.

Times are processor seconds, because the wall clock also counts other programs on the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lineup import LINEUP, Cost, Entry, Outcome, cost, learn, packed
from lineup_picture import grey, picture

from minisegnet.bench.report import environment
from minisegnet.data import Folder, Subset, split
from minisegnet.files import check_writable, write_atomically


def save(results: Sequence[Outcome | Cost], path: Path, about: dict[str, Any]) -> None:
    """Write the record from which tables and pictures are made."""
    text = json.dumps({**about, "results": [asdict(result) for result in results]}, indent=1, ensure_ascii=False)
    write_atomically(path, lambda file: file.write((text + "\n").encode()))


def load(path: Path, about: dict[str, Any]) -> list[Outcome]:
    """The outcomes that a record already has, so that a comparison can be continued; empty if the file does not exist.

    Raises
    ------
    ValueError
        If the record was made on another budget or with other data, or the file is not such a record.
    """
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key in ("budget", "data") if found[key] != about[key]]
        outcomes = [Outcome(**result) for result in found["results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: this is not the record of a comparison ({error}); name another file") from error
    if other:
        raise ValueError(f"{path}: this comparison was made with another {' and other '.join(other)}; name another file to start a new one")
    return outcomes


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python docs/experiments/architectures.py", description=(__doc__ or "").partition("\n\n")[0])
    top.add_argument("--data", metavar="DIR", help="a folder with images/ and masks/: train all networks on it")
    top.add_argument("--costs", action="store_true", help="measure what a training step of each network costs")
    top.add_argument(
        "--only", metavar="NAMES", help="only these networks, separated by commas: " + ",".join(entry.name for entry in LINEUP)
    )
    top.add_argument("--width", type=float, default=0.25, help="for --costs (default: 0.25)")
    top.add_argument("--steps", type=int, default=80, metavar="N", help="of training, at least 2 (default: 80)")
    top.add_argument("--batch-size", type=int, default=4, metavar="N", help="(default: 4)")
    top.add_argument("--lr", type=float, default=3e-3, metavar="RATE", help='of Adam at the start; it falls by "poly" (default: 0.003)')
    top.add_argument("--crop", type=int, default=128, metavar="N", help="rows and columns of the crops (default: 128)")
    top.add_argument("--budget", type=float, default=2e8, metavar="N", help="multiply-adds for a crop (default: 2e8)")
    top.add_argument("--validate", type=int, default=12, metavar="N", help="held-out images to evaluate on (default: 12)")
    top.add_argument("--seed", type=int, default=0)
    top.add_argument("--json", type=Path, metavar="FILE", help="the record, rewritten after each network; an existing record is continued")
    top.add_argument("--picture", type=Path, metavar="FILE", help="write a picture, PNG")
    return top


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return _run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    entries = _chosen(args.only)
    if args.costs == bool(args.data):
        raise ValueError("give either --data DIR, to train all networks on it, or --costs, to measure a training step of each")
    for path in (args.json, args.picture):
        if path:
            check_writable(path)
    if args.costs:
        _costs(entries, args)
    else:
        _compare(entries, args)
    return 0


def _say(line: Any) -> None:
    print(line, file=sys.stderr, flush=True)


def _costs(entries: tuple[Entry, ...], args: argparse.Namespace) -> None:
    if args.picture:
        raise ValueError("--picture goes with --data")
    found = []
    for entry in entries:
        found.append(cost(entry, args.width))
        _say(found[-1])
    head = f"| network | parameters, 3 → 21 | multiply-adds, 128² | seconds a step, width {args.width:g} |"
    print("\n".join([head, "|---|---:|---:|---:|", *map(str, found)]))
    if args.json:
        save(found, args.json, {"environment": environment(_threads())})


def _compare(entries: tuple[Entry, ...], args: argparse.Namespace) -> None:
    if args.steps < 2 or args.validate < 1:
        raise ValueError(f"--steps must be at least 2 and --validate at least 1, not {args.steps} and {args.validate}")
    train, held_out = split(Folder(args.data), 0.2, args.seed)
    held_out = Subset(held_out, range(min(args.validate, len(held_out))))
    budget = {"steps": args.steps, "batch_size": args.batch_size, "crop": args.crop, "budget": args.budget, "learning_rate": args.lr}
    image, truth = held_out[0]
    about = {
        "environment": environment(_threads()),
        "budget": {**budget, "seed": args.seed},
        "data": {"folder": Path(args.data).name, "train": len(train), "held_out": len(held_out), "classes": list(train.classes)},
        "sample": {"name": held_out.names[0], "size": list(truth.shape), "image": packed(grey(image)), "truth": packed(truth)},
    }
    outcomes = load(args.json, about) if args.json else []
    for entry in entries:
        if any(outcome.name == entry.name for outcome in outcomes):
            continue
        outcome = learn(entry, train, held_out, **budget, seed=args.seed)
        outcomes.append(outcome)
        _say(
            f"{outcome.name:14} width 1/{1 / outcome.width:<3g} {outcome.parameters:>10,} parameters  IoU {outcome.iou:.3f}  "
            f"loss {outcome.loss:.3f}  {outcome.seconds / args.steps:.2f} s a step"
        )
        if args.json:
            save(outcomes, args.json, about)
    if args.picture:
        picture([outcome for outcome in outcomes if any(outcome.name == entry.name for entry in entries)], args.picture, about)
        print(f"wrote {args.picture}")


def _chosen(only: str | None) -> tuple[Entry, ...]:
    if only is None:
        return LINEUP
    names = [name.strip() for name in only.split(",")]
    known = {entry.name: entry for entry in LINEUP}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--only: no network {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[name] for name in names)


def _threads() -> int:
    import numba

    return numba.get_num_threads()


if __name__ == "__main__":
    sys.exit(main())
