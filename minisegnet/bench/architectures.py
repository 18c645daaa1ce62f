"""All architectures side by side: ``python -m minisegnet.bench.architectures``.

Two things are asked:

* **What does a step cost?** (``--costs``) Forward, loss, backward and Adam at one width, in processor seconds.
* **What does it learn?** (``--data DIR``) All are trained under one budget: the same images, split, seed, steps,
  batches and augmentation. To be fair in cost, each is as wide as it may be while a crop takes no more than
  so many multiply-adds; the widths are 1/4, 1/8, ... of the papers'.

Processor seconds, not those on the wall: on a machine that others use too they tell more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .. import functional as F
from .. import nn, optim, random
from ..data import Dataset, Folder, Subset, split
from ..files import check_writable, write_atomically
from ..inference import predict
from ..models import create, summary
from ..tensor import Tensor
from ..training import evaluate, fit
from .lineup import grey, packed, picture
from .report import environment

WIDTHS = (1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)


@dataclass(frozen=True)
class Entry:
    """A network as it takes part: `crop` is the size of its training crops where it cannot take the others'."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    crop: int | None = None


# In the order of their publication; the article's own two come first.
LINEUP = (
    Entry("article1"),
    Entry("article2"),
    Entry("fcn32s"),
    Entry("fcn16s"),
    Entry("fcn8s"),
    Entry("deconvnet", {"bottleneck": 4}),  # 4 rows are left of 128
    Entry("unet_paper", crop=252),  # 68 × 68 scores of 252 × 252 pixels
    Entry("unet"),
    Entry("segnet"),
    Entry("segnet_basic"),
    Entry("dilated"),
    Entry("deeplabv2"),
    Entry("pspnet"),
    Entry("pspnet_smp"),
    Entry("fcn_resnet"),
    Entry("deeplabv3"),
    Entry("deeplabv3plus"),
    Entry("unet_resnet"),
)


@dataclass
class Outcome:
    """What came of one network.

    Attributes
    ----------
    name : str
    options : dict
    width : float
    parameters : int
        That are learnt, at this width.
    multiply_adds : int
        For one crop.
    crop : int
    iou : float
        Of the foreground class (of several: their mean), pooled over the held-out images.
    loss : float
        Mean of the last tenth of the steps.
    seconds : float
        Of the processor, for all steps.
    losses : list of float
    labels : str
        What it makes of the sample image; see `lineup.packed`.
    """

    name: str
    options: dict[str, Any]
    width: float
    parameters: int
    multiply_adds: int
    crop: int
    iou: float
    loss: float
    seconds: float
    losses: list[float]
    labels: str


def widest(entry: Entry, in_channels: int, num_classes: int, crop: int, budget: float) -> tuple[float, int]:
    """The largest of `WIDTHS` at which a crop takes at most `budget` multiply-adds (else the smallest), and how many it takes."""
    found = (0.0, 0)
    for width in WIDTHS:
        with nn.init.skip():
            model = create(entry.name, in_channels, num_classes, width, **entry.options)
        found = width, summary(model, (1, in_channels, crop, crop)).multiply_adds
        if found[1] <= budget:
            break
    return found


def learn(
    entry: Entry,
    train: Dataset,
    held_out: Dataset,
    *,
    steps: int,
    batch_size: int,
    crop: int,
    budget: float,
    learning_rate: float,
    seed: int,
) -> Outcome:
    """Train one network under the common budget and evaluate it on whole images."""
    channels, classes = train.in_channels, len(train.classes)
    width, multiply_adds = widest(entry, channels, classes, entry.crop or crop, budget)
    random.manual_seed(seed)
    model = create(entry.name, channels, classes, width, **entry.options)
    ticks: list[float] = []
    history = fit(
        model,
        train,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule="poly",
        crop=entry.crop or crop,
        seed=seed,
        progress=False,
        callback=lambda row: ticks.append(time.process_time()),
    )
    confusion = evaluate(model, held_out, batch_size)
    foreground = confusion.iou[1:]
    # The first step is left out: it compiles, or finds compiled, what it needs.
    seconds = (ticks[-1] - ticks[0]) * steps / (steps - 1)
    return Outcome(
        entry.name,
        entry.options,
        width,
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        multiply_adds,
        entry.crop or crop,
        float(np.nanmean(foreground)),
        float(np.mean(history.losses[-max(1, steps // 10) :])),
        seconds,
        [round(value, 5) for value in history.losses],
        packed(predict(model, held_out[0][0])),
    )


def step_seconds(entry: Entry, width: float, crop: int = 128, batch_size: int = 2, repeats: int = 3, enough: float = 10.0) -> float:
    """Processor seconds of one training step: forward, loss, backward, Adam.

    The median of `repeats` steps, or of fewer if they take `enough` seconds together; one more before them compiles.
    """
    size = entry.crop or crop
    random.manual_seed(0)
    model = create(entry.name, 3, 21, width, **entry.options)
    optimizer = optim.Adam([p for p in model.parameters() if p.requires_grad])
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((batch_size, 3, size, size), np.float32))
    times: list[float] = []
    while len(times) <= repeats and sum(times[1:]) < enough:
        start = time.process_time()
        y = model(x)
        optimizer.zero_grad()
        F.cross_entropy(y, rng.integers(0, 21, (batch_size, *y.shape[2:]))).backward()
        optimizer.step()
        times.append(time.process_time() - start)
    return median(times[1:])


def costs(entries: tuple[Entry, ...], width: float, say: Callable[[str], Any]) -> str:
    """A table in Markdown: parameters and multiply-adds at width 1, processor seconds of a step at `width`."""
    lines = [f"| network | parameters, 3 → 21 | multiply-adds, 128² | seconds a step, width {width:g} |", "|---|---:|---:|---:|"]
    for entry in entries:
        with nn.init.skip():
            model = create(entry.name, 3, 21, **entry.options)
        size = entry.crop or 128
        told = summary(model, (1, 3, size, size))
        seconds = step_seconds(entry, width)
        note = f" ({size}²)" if size != 128 else ""
        lines.append(f"| `{entry.name}` | {told.parameters:,} | {told.multiply_adds / 1e9:.1f} G{note} | {seconds:.2f} |")
        say(lines[-1])
    return "\n".join(lines)


def save(outcomes: list[Outcome], path: Path, about: dict[str, Any]) -> None:
    """The record, from which the picture is made."""
    text = json.dumps({**about, "results": [asdict(outcome) for outcome in outcomes]}, indent=1, ensure_ascii=False)
    write_atomically(path, lambda file: file.write((text + "\n").encode()))


def load(path: Path, about: dict[str, Any]) -> list[Outcome]:
    """What a record holds already, to go on from there; nothing if there is none.

    Raises
    ------
    ValueError
        If it was made under another budget or with other data, or is no such record.
    """
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key in ("budget", "data") if found[key] != about[key]]
        outcomes = [Outcome(**result) for result in found["results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: this is no record of a comparison ({error}); name another file") from error
    if other:
        raise ValueError(f"{path}: this comparison was made with another {' and other '.join(other)}; name another file to start anew")
    return outcomes


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m minisegnet.bench.architectures", description=(__doc__ or "").partition("\n\n")[0])
    top.add_argument("--data", metavar="DIR", help="a folder with images/ and masks/: train all networks on it")
    top.add_argument("--costs", action="store_true", help="what a step of each costs")
    top.add_argument("--only", metavar="NAMES", help="some of " + ",".join(entry.name for entry in LINEUP))
    top.add_argument("--width", type=float, default=0.25, help="for --costs (default: 0.25)")
    top.add_argument("--steps", type=int, default=80, metavar="N", help="of training, at least 2 (default: 80)")
    top.add_argument("--batch-size", type=int, default=4, metavar="N", help="(default: 4)")
    top.add_argument("--lr", type=float, default=3e-3, metavar="RATE", help='of Adam at the start; it falls by "poly" (default: 0.003)')
    top.add_argument("--crop", type=int, default=128, metavar="N", help="rows and columns of the crops (default: 128)")
    top.add_argument("--budget", type=float, default=2e8, metavar="N", help="multiply-adds for a crop (default: 2e8)")
    top.add_argument("--validate", type=int, default=12, metavar="N", help="held-out images to evaluate on (default: 12)")
    top.add_argument("--seed", type=int, default=0)
    top.add_argument("--json", type=Path, metavar="FILE", help="the record: written after each network, and gone on with if it is there")
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
    say = lambda line: print(line, file=sys.stderr, flush=True)
    if args.costs:
        print(costs(entries, args.width, say))
    if not args.data:
        if not args.costs:
            raise ValueError("nothing to do: give --data DIR, or --costs, or both")
        return 0
    if args.steps < 2 or args.validate < 1:
        raise ValueError(f"--steps must be at least 2 and --validate at least 1, not {args.steps} and {args.validate}")
    for path in (args.json, args.picture):
        if path:
            check_writable(path)
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
        say(
            f"{outcome.name:14} width 1/{1 / outcome.width:<3g} {outcome.parameters:>10,} parameters  IoU {outcome.iou:.3f}  "
            f"loss {outcome.loss:.3f}  {outcome.seconds / args.steps:.2f} s a step"
        )
        if args.json:
            save(outcomes, args.json, about)
    if args.picture:
        picture([outcome for outcome in outcomes if any(outcome.name == entry.name for entry in entries)], args.picture, about)
        print(f"wrote {args.picture}")
    return 0


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
