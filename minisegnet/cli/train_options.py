"""What ``minisegnet train`` can be told: the one declaration, for the command line and for files (see `config`)."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_backend, add_data, positive


def add_options(command: argparse.ArgumentParser) -> None:
    """Declare every option of the command."""
    add_data(command, 'default "nuclei"', "of a published data set, to train on (default: train; val is held out)")
    option = command.add_argument_group("network").add_argument
    option("--model", default="unet", metavar="NAME", help="see minisegnet models (default: unet)")
    option("--width", type=float, default=0.25, help="multiplies the channels of every layer (default: 0.25)")
    option("--aux", type=float, metavar="WEIGHT", help="train with the network's auxiliary head, with this weight (0.4 in PSPNet)")

    option = command.add_argument_group("training").add_argument
    option("--steps", type=positive, default=150, help="length of the training (default: 150; with --resume: that of the run)")
    option("--batch-size", type=positive, default=4, metavar="N", help="crops in a batch (default: 4)")
    option("--accumulate", type=positive, default=1, metavar="N", help="batches in a step, for large batches in little memory (default: 1)")
    option("--crop", type=positive, default=128, metavar="N", help="rows and columns of a crop (default: 128)")
    option("--optimizer", choices=("adam", "adamw", "sgd"), default="adam", help="(default: adam)")
    option("--lr", type=float, default=1e-3, metavar="RATE", help="learning rate (default: 0.001)")
    option("--lr-factor", type=factors, metavar="NAME=F[,...]", help="parts that learn at another rate: outc=10, a head at ten times it")
    option("--schedule", choices=("cosine", "poly", "step"), help="how the learning rate falls (default: it stays)")
    option("--warmup", type=natural, default=0, metavar="N", help="steps in which the learning rate grows to its full size (default: 0)")
    option("--weight-decay", type=float, metavar="W", help="(default: the optimizer's own, 0.01 for adamw, else 0)")
    option("--clip-norm", type=float, metavar="NORM", help="shorten gradients that are longer than this (default: never)")
    option("--ema", type=float, metavar="DECAY", help="average the weights over the steps, such as 0.99, and evaluate the average")
    option("--seed", type=int, default=0, help="of weights, order, augmentation and held-out part (default: 0)")
    option("--val-fraction", type=float, default=0.2, metavar="F", help="share of a folder that is held out (default: 0.2)")

    option = command.add_argument_group("loss").add_argument
    option(
        "--loss",
        default="ce",
        metavar="NAME[+NAME...]",
        help="ce, ohem, focal, dice, lovasz, boundary, or a sum: ce+0.5*dice (default: ce)",
    )
    option("--class-weights", type=weights, metavar="HOW", help="median or inverse (computed from the data), or numbers with commas")
    option(
        "--label-smoothing", type=float, default=0.0, metavar="S", help="share of the target that is spread over all classes (default: 0)"
    )

    option = command.add_argument_group("augmentation").add_argument
    option(
        "--flip", choices=("turns", "both", "horizontal", "none"), default="turns", help="mirror; turns: and quarter turns (default: turns)"
    )
    option("--scale", type=interval, metavar="LOW,HIGH", help="resize by a random factor, such as 0.5,2 (default: not)")
    option("--rotate", type=float, default=0.0, metavar="DEGREES", help="turn by up to so much (default: 0)")
    option("--jitter", type=float, default=0.0, metavar="J", help="change brightness, contrast and colours, 0 to 1 (default: 0)")
    option("--blur", type=float, default=0.0, metavar="SIGMA", help="blur every other crop by up to so many pixels (default: 0)")
    option("--noise", type=float, default=0.0, metavar="STD", help="add noise, in standard deviations of the image (default: 0)")

    option = command.add_argument_group("evaluation").add_argument
    option("--eval-every", type=positive, metavar="N", help="steps between evaluations (default: a tenth of all)")
    option("--best-by", choices=("iou", "mean_iou", "dice", "loss"), default="iou", help="what makes a checkpoint the best (default: iou)")
    option("--patience", type=positive, metavar="N", help="stop after so many evaluations without a better one (default: never)")

    option = command.add_argument_group("output").add_argument
    option("--out", metavar="DIR", help="folder of the run (default: runs/MODEL-DATA)")
    option("--overwrite", action="store_true", help="replace the run that is there")
    option("--resume", metavar="RUN", help="go on with the run in this folder, under its own conditions")
    option("--quiet", action="store_true", help="no progress, only the result")
    option("--config", metavar="FILE", help="read options from a TOML file; those on the command line win")
    option("--write-config", metavar="FILE", help="write the options to a TOML file, and do not train")
    add_backend(command)


def natural(text: str) -> int:
    """A whole number, 0 or more, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, not {text!r}")
    return int(text)


def factors(text: str) -> dict[str, float]:
    """``outc=10,up4=2`` → ``{"outc": 10.0, "up4": 2.0}``, for argparse."""
    found = {}
    for part in text.split(","):
        name, _, factor = (word.strip() for word in part.partition("="))
        try:
            found[name] = float(factor)
        except ValueError:
            name = ""
        if not name:
            raise argparse.ArgumentTypeError(f"expected NAME=FACTOR, such as outc=10, not {part.strip()!r}")
    return found


def interval(text: str) -> tuple[float, float]:
    """``0.5,2`` → ``(0.5, 2.0)``, for argparse."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers with a comma between, such as 0.5,2, not {text!r}") from None
    return low, high


def weights(text: str) -> str | list[float]:
    """``median``, ``inverse``, or numbers with commas between, for argparse."""
    if text in ("median", "inverse"):
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected median, inverse, or a number for each class (1,5), not {text!r}") from None


def augmentation_options(args: argparse.Namespace) -> dict[str, Any]:
    """Those of the options that go to `data.augmentation`."""
    flip = "both" if args.flip == "turns" else args.flip
    steps = {"scale": args.scale, "rotate": args.rotate, "jitter": args.jitter, "blur": args.blur, "noise": args.noise}
    return {**steps, "flip": flip, "quarter_turns": args.flip == "turns"}
