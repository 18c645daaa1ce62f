"""``minisegnet train``"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import add_backend, add_command, add_data, data_settings, open_data, positive, tells_data, use_backend

EXAMPLES = """\
  minisegnet train
      a U-Net, a quarter as wide as published, on the field of cells that comes along
  minisegnet train --data DIR --steps 1000 --batch-size 8 --out runs/mine
      your own data: DIR/images/a.png with DIR/masks/a.png, and so on; a fifth is held out
  minisegnet train --resume runs/mine --steps 2000
      go on where a run stopped, under the same conditions
  minisegnet train --data shapes --model article1 --width 0.06
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "train",
        "train a network",
        "Train a network on random crops, evaluate it on whole images that are held out, and write\n"
        "checkpoints, a log and pictures to a folder. Ctrl-C stops and leaves all of them usable.",
        EXAMPLES,
        run,
    )
    add_data(command, 'default "nuclei"', "of a published data set, to train on (default: train; val is held out)")
    group = command.add_argument_group("network")
    group.add_argument("--model", default="unet", metavar="NAME", help="see minisegnet models (default: unet)")
    group.add_argument("--width", type=float, default=0.25, help="multiplies the channels of every layer (default: 0.25)")
    group = command.add_argument_group("training")
    group.add_argument("--steps", type=positive, help="length of the training (default: 150; with --resume: that of the run)")
    group.add_argument("--batch-size", type=positive, default=4, metavar="N", help="crops in a step (default: 4)")
    group.add_argument("--crop", type=positive, default=128, metavar="N", help="rows and columns of a crop (default: 128)")
    group.add_argument("--lr", type=float, default=1e-3, metavar="RATE", help="learning rate (default: 0.001)")
    group.add_argument("--optimizer", choices=("adam", "adamw", "sgd"), default="adam", help="(default: adam)")
    group.add_argument("--schedule", choices=("cosine", "poly"), help="how the learning rate falls (default: it stays)")
    group.add_argument("--seed", type=int, default=0, help="of weights, order, augmentation and held-out part (default: 0)")
    group.add_argument("--val-fraction", type=float, default=0.2, metavar="F", help="share of a folder that is held out (default: 0.2)")
    group.add_argument("--eval-every", type=positive, metavar="N", help="steps between evaluations (default: a tenth of all)")
    group = command.add_argument_group("output")
    group.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/MODEL-DATA)")
    group.add_argument("--overwrite", action="store_true", help="replace the run that is there")
    group.add_argument("--resume", metavar="RUN", help="go on with the run in this folder; takes all but --steps and --eval-every from it")
    group.add_argument("--quiet", action="store_true", help="no progress, only the result")
    add_backend(command)


def run(args: argparse.Namespace) -> int:
    use_backend(args)
    if args.resume is not None:
        _resume(args)
    settings = {**data_settings(args), "val_fraction": args.val_fraction, "seed": args.seed} if args.resume is None else args.settings

    from .. import models, training
    from ..random import manual_seed

    train, held_out = open_data(settings, "train"), open_data(settings, "held out")
    manual_seed(args.seed)
    model = models.create(args.model, train.in_channels, len(train.classes), width=args.width)
    out = args.resume or args.out or _free_folder(args.model, settings["data"])
    if not args.quiet:
        _introduce(model, train, held_out, args.model, args.width, settings["data"], out)
    history = training.fit(
        model,
        train,
        held_out,
        steps=args.steps or 150,
        batch_size=args.batch_size,
        learning_rate=args.lr,
        crop=args.crop,
        optimizer=args.optimizer,
        schedule=args.schedule,
        seed=args.seed,
        out=out,
        overwrite=args.overwrite,
        resume=args.resume,
        eval_every=args.eval_every,
        progress=not args.quiet,
        settings=settings,
    )
    print(f"\n{history.confusion}\n\n{history}")
    print("\n".join(f"  {path}" for path in sorted(map(str, Path(out).iterdir()))))
    if not args.quiet:
        print(f"\nto use it:  minisegnet segment IMAGE --checkpoint {out}")
    return 0


def _resume(args: argparse.Namespace) -> None:
    """Take the arguments from the run, so that it goes on under the same conditions."""
    from .. import checkpoint

    if args.out is not None or args.overwrite:
        raise ValueError("--resume goes on in the folder of the run; it does not go with --out or --overwrite")
    path = checkpoint.find(args.resume, ("last",))
    about = checkpoint.read_about(path)
    options, args.settings = about.run.get("options"), about.run.get("settings", {})
    if not options or not tells_data(args.settings) or about.recipe is None:
        raise ValueError(f"{path}: the run was not started by minisegnet train, so only training.fit(..., resume=...) can go on with it")
    args.resume = str(path.parent)
    args.model, args.width = about.recipe["name"], about.recipe["width"]
    args.steps = args.steps or options["steps"]
    args.eval_every = args.eval_every or options["eval_every"]
    args.lr = options["learning_rate"]
    for name in ("batch_size", "crop", "optimizer", "schedule", "seed"):
        setattr(args, name, options[name])


def _free_folder(model: str, data: str) -> str:
    """runs/MODEL-DATA, or with a number behind it the first that is not taken."""
    wanted = Path("runs") / f"{model}-{Path(data).name}"
    number = 1
    while (folder := wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")).exists():
        number += 1
    return str(folder)


def _introduce(model: Any, train: Any, held_out: Any, name: str, width: float, data: str, out: str) -> None:
    whole = getattr(train, "dataset", train)
    if hasattr(whole, "files"):
        print(whole)
    elif data == "nuclei":
        print("data     nuclei: one field of 125 nuclei; the left three quarters train, the right quarter is held out")
    else:
        print(f"data     {data}")
    parameters = sum(p.numel() for p in model.parameters())
    print(f"         {len(train)} to train on, {len(held_out)} held out; {train.in_channels} channels; classes: {', '.join(train.classes)}")
    print(f"network  {name}, width {width:g}: {parameters:,} parameters")
    print(f"folder   {out}", flush=True)
