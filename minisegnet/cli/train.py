"""``minisegnet train``"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import config
from .common import add_command, data_settings, open_data, tells_data, use_backend
from .train_options import add_options, augmentation_options

EXAMPLES = """\
  minisegnet train
      a U-Net, a quarter as wide as published, on the field of cells that comes along
  minisegnet train --data DIR --steps 1000 --batch-size 8 --out runs/mine
      your own data: DIR/images/a.png with DIR/masks/a.png, and so on; a fifth is held out
  minisegnet train --data DIR --loss ce+dice --class-weights median --schedule poly --warmup 50 --ema 0.99
      rare classes, and a longer training
  minisegnet train --config runs/mine/run.toml --seed 1
      the same again with another seed; every run leaves its run.toml
  minisegnet train --resume runs/mine --steps 2000
      go on where a run stopped, under the same conditions
  minisegnet train --data shapes --model article1 --width 0.06
"""
_RESUMED = ("resume", "steps", "eval_every", "patience", "quiet", "backend", "device")  # what may be said to a run that goes on


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "train",
        "train a network",
        "Train a network on random crops, evaluate it on whole images that are held out, and write\n"
        "checkpoints, a log, pictures and run.toml to a folder. Ctrl-C stops and leaves all of them usable.",
        EXAMPLES,
        run,
    )
    add_options(command)
    command.set_defaults(options=config.declared(command))


def run(args: argparse.Namespace) -> int:
    options, args = args.options, _settled(args)
    settings = {**data_settings(args), "val_fraction": args.val_fraction, "seed": args.seed}
    args.data = settings["data"]  # the whole path, so that the file can be used from another folder
    if args.write_config is not None:
        return _write_config(args, options)
    use_backend(args)
    recipe = config.write(args, options, leave_out=("out", "overwrite", "quiet"))

    from .. import training
    from ..data import augmentation
    from ..random import manual_seed

    train, held_out = open_data(settings, "train"), open_data(settings, "held out")
    manual_seed(args.seed)
    model = _network(args, train).to(args.device)
    out = args.resume or args.out or _free_folder(args.model, settings["data"])
    if not args.quiet:
        _introduce(model, train, held_out, args.model, args.width, settings["data"], out)
    history = training.fit(
        model,
        train,
        held_out,
        steps=args.steps,
        batch_size=args.batch_size,
        accumulate=args.accumulate,
        learning_rate=args.lr,
        lr_factors=args.lr_factor,
        crop=args.crop,
        optimizer=args.optimizer,
        schedule=args.schedule,
        warmup=args.warmup,
        weight_decay=args.weight_decay,
        clip_norm=args.clip_norm,
        ema=args.ema,
        loss=args.loss,
        class_weights=args.class_weights,
        label_smoothing=args.label_smoothing,
        aux_weight=args.aux or 0.0,
        transform=augmentation(args.crop, train.ignore_index, **augmentation_options(args)),
        seed=args.seed,
        out=out,
        overwrite=args.overwrite,
        resume=args.resume,
        eval_every=args.eval_every,
        best_by=args.best_by,
        patience=args.patience,
        progress=not args.quiet,
        settings={**settings, "run.toml": recipe},
        files={"run.toml": recipe},
    )
    print(f"\n{history.confusion}\n\n{history}")
    print("\n".join(f"  {path}" for path in sorted(map(str, Path(out).iterdir()))))
    if not args.quiet:
        print(f"\nto use it:  minisegnet segment IMAGE --checkpoint {out}")
    return 0


def _settled(args: argparse.Namespace) -> argparse.Namespace:
    """Every option, from the command line, from ``--config``, or from the run that goes on."""
    given, options = vars(args), args.options
    if given.get("resume") is None:
        return config.settled(given, options, config.read(given["config"], options) if "config" in given else {})

    from ..exchange import checkpoint

    other = [o.key for o in options.values() if o.action.dest in given and o.action.dest not in _RESUMED]
    if other:
        able = ", ".join(f"--{name.replace('_', '-')}" for name in _RESUMED[1:])
        raise ValueError(f"--{', --'.join(other)}: a run goes on under its own conditions; with --resume go only {able}")
    path = checkpoint.find(args.resume, ("last",))
    settings = checkpoint.read_about(path).run.get("settings", {})
    if "run.toml" not in settings or not tells_data(settings):
        raise ValueError(f"{path}: the run was not started by minisegnet train, so only training.fit(..., resume=...) can go on with it")
    settled = config.settled(given, options, config.parse(settings["run.toml"], f"run.toml in {path}", options))
    settled.resume = str(path.parent)
    return settled


def _write_config(args: argparse.Namespace, options: dict[str, config.Option]) -> int:
    from ..files import write_text

    if args.resume is not None:
        raise ValueError("--write-config goes without --resume: the run's own file is run.toml in its folder")
    path = Path(args.write_config)
    if path.exists() and not args.overwrite:
        raise FileExistsError(f"{path} is there already: choose another name, or replace it (--overwrite)")
    write_text(path, config.write(args, options, leave_out=("overwrite",)))
    print(f"{path}\n\nto train with it:  minisegnet train --config {path}")
    return 0


def _network(args: argparse.Namespace, train: Any) -> Any:
    from .. import models

    try:
        return models.create(args.model, train.in_channels, len(train.classes), width=args.width, **({"aux": True} if args.aux else {}))
    except TypeError as error:
        if args.aux:
            raise ValueError(f"--aux: the network {args.model} has no auxiliary head ({error})") from error
        raise


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
