"""``minisegnet train``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..options import pick
from ..training.recipe import Recipe
from . import config
from .common import Machine, add_command, use_backend
from .dataset import RECORDED, Data, data_settings, open_part, open_parts, tells_data
from .train_options import Network, Output, train_options

EXAMPLES = """\
  minisegnet train
      a U-Net of a quarter of the published width, on the embedded field of nuclei
  minisegnet train --data DIR --steps 1000 --batch-size 8 --out runs/mine
      your own data: DIR/images/a.png with DIR/masks/a.png, and so on; a fifth of the images is held out
  minisegnet train --data DIR --loss ce+dice --class-weights median --schedule poly --warmup 50 --ema 0.99
      a recipe for rare classes
  minisegnet train --config runs/mine/run.toml --seed 1
      repeat a run with another seed; every run writes its run.toml
  minisegnet train --resume runs/mine --steps 2000
      continue a run under the same options, up to 2000 steps in total
  minisegnet train --data DIR --model unet_resnet --option backbone=resnet34 --width 1 --weights resnet34.pth --standardise imagenet
      begin with a pretrained encoder, or with a whole network of another library
  minisegnet train --data shapes --model article1 --width 0.06
      another network, on synthetic scenes
"""
OPTIONS = train_options()
# The options that go with --resume; all others are those of the run.
RESUMED = ("resume", *(name for name, about in OPTIONS.items() if about.mutable), "accept_changes", "quiet", "backend", "device")


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "train",
        "train a network",
        "Train a network on random crops, evaluate it on held-out whole images, and write checkpoints, a log,\n"
        "pictures and run.toml to a folder. Ctrl-C stops the run and leaves all of these usable.",
        EXAMPLES,
        run,
    )
    config.add_options(command, OPTIONS.values(), defaults=False)


def run(args: argparse.Namespace) -> int:
    values = _settled(vars(args))
    data, network, output = pick(Data, values), pick(Network, values), pick(Output, values)
    recipe = pick(Recipe, {**values, "aux_weight": network.aux or 0.0})
    settings = {**data_settings(data), "val_fraction": data.val_fraction, "seed": recipe.seed, **_kept(values)}
    values |= {"data": settings["data"], "val_data": settings["val_data"]}  # whole paths, so that the file can be used from another folder
    if network.weights is not None:
        values["weights"] = str(Path(network.weights).resolve())
    if output.write_config is not None:
        return _write_config(output, values)
    machine = pick(Machine, values)
    use_backend(machine)

    from .. import training
    from ..random import manual_seed

    train, held_out = _data(settings)
    manual_seed(recipe.seed)
    model = _network(network, train)
    loaded = _weights(model, network.weights, resumed=output.resume is not None)
    model = model.to(machine.device)
    out = output.resume or output.out or _free_folder(network.model, settings["data"])
    if not output.quiet:
        _introduce(model, train, held_out, network, settings["data"], out)
        if loaded:
            print(f"weights  {loaded}", flush=True)
    file = config.write(values, OPTIONS, leave_out=("out", "overwrite", "quiet"))
    history = training.fit(
        model,
        train,
        held_out,
        recipe,
        out=out,
        overwrite=output.overwrite,
        resume=output.resume,
        accept_changes=output.accept_changes,
        progress=not output.quiet,
        settings={**settings, "run.toml": file},
        files={"run.toml": file},
    )
    print(f"\n{history.confusion}\n\n{history}")
    print("\n".join(f"  {path}" for path in sorted(map(str, Path(out).iterdir()))))
    if not output.quiet:
        print(f"\nto use it:  minisegnet segment IMAGE --checkpoint {out}")
    return 0


def _kept(values: dict[str, Any]) -> dict[str, Any]:
    """What the run to resume recorded of its images; nothing for a new run."""
    return {name: values["recorded"][name] for name in RECORDED if name in values["recorded"]} if "recorded" in values else {}


def _data(settings: dict[str, Any]) -> tuple[Any, Any]:
    """The images to train on and the held-out ones. For a new run they are recorded in the settings; for a resumed one they are as recorded."""
    from ..data.record import copies, some

    if "parts" not in settings:
        train, held_out, found = open_parts(settings)
        settings |= found
        trained, held = (found["parts"][part]["items"] for part in ("train", "held out"))
        if shared := copies(held, trained):
            said = f"{len(shared)} of the {len(held)} held-out images are also among those to train on ({some(shared)}): the figures of the validation will be too good"
            print(f"minisegnet: note: {said}", file=sys.stderr)
        return train, held_out
    opened = [open_part(settings, part) for part in ("train", "held out")]
    for line in dict.fromkeys(line for _, drift in opened for line in drift.lines()):
        print(f"minisegnet: note: {line}", file=sys.stderr)
    return opened[0][0], opened[1][0]


def _settled(given: dict[str, Any]) -> dict[str, Any]:
    """The value of every option: from the command line, from ``--config``, or from the run to resume."""
    if given.get("resume") is None:
        return config.settled(given, OPTIONS, config.read(given["config"], OPTIONS) if "config" in given else {})

    from ..exchange import checkpoint

    if other := [f"--{about.key}" for name, about in OPTIONS.items() if name in given and name not in RESUMED]:
        able = ", ".join(f"--{OPTIONS[name].key}" for name in RESUMED[1:])
        raise ValueError(f"{', '.join(other)}: a run continues under its own options; with --resume go only {able}")
    path = checkpoint.find(given["resume"], ("last",))
    settings = checkpoint.read_about(path).run.get("settings", {})
    if "run.toml" not in settings or not tells_data(settings):
        raise ValueError(f"{path}: the run was not started by minisegnet train, so only training.fit(..., resume=...) can continue it")
    values = config.settled(given, OPTIONS, config.parse(settings["run.toml"], f"run.toml in {path}", OPTIONS))
    return {**values, "resume": str(path.parent), "recorded": settings}


def _write_config(output: Output, values: dict[str, Any]) -> int:
    from ..files import write_text

    path = Path(output.write_config or "")
    if path.exists() and not output.overwrite:
        raise FileExistsError(f"{path} exists: choose another name, or replace it (--overwrite)")
    write_text(path, config.write(values, OPTIONS, leave_out=("overwrite",)))
    print(f"{path}\n\nto train with it:  minisegnet train --config {path}")
    return 0


def _network(network: Network, train: Any) -> Any:
    from .. import models

    if network.one_logit and len(train.classes) != 2:
        raise ValueError(
            f"--one-logit: one output tells two classes apart, and the data have {len(train.classes)}: {', '.join(train.classes)}"
        )
    outputs = 1 if network.one_logit else len(train.classes)
    options = network.option | ({"aux": True} if network.aux else {})
    try:
        return models.create(network.model, train.in_channels, outputs, width=network.width, **options)
    except TypeError as error:
        if network.option:
            raise ValueError(f"--option: the network {network.model} does not take {', '.join(network.option)} ({error})") from error
        if network.aux:
            raise ValueError(f"--aux: the network {network.model} has no auxiliary head ({error})") from error
        raise


def _weights(model: Any, file: str | None, *, resumed: bool) -> str:
    """Load the weights with which a new run begins; returns what was loaded, in words. A resumed run has its own weights."""
    if file is None or resumed:
        return ""
    from ..exchange.weights import load_pretrained

    return str(load_pretrained(model, file, new_head=True))


def _free_folder(model: str, data: str) -> str:
    """runs/MODEL-DATA, or runs/MODEL-DATA-2, -3, ... if that exists."""
    folder = wanted = Path("runs") / f"{model}-{Path(data).name}"
    number = 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return str(folder)


def _introduce(model: Any, train: Any, held_out: Any, network: Network, data: str, out: str) -> None:
    whole = getattr(train, "dataset", train)
    if hasattr(whole, "files"):
        print(whole)
    elif data == "nuclei":
        print("data     nuclei: one field of 125 nuclei; the left three quarters train, the right quarter is held out")
    else:
        print(f"data     {data}")
    parameters = sum(p.numel() for p in model.parameters())
    print(f"         {len(train)} to train on, {len(held_out)} held out; {train.in_channels} channels; classes: {', '.join(train.classes)}")
    print(f"network  {network.model}, width {network.width:g}: {parameters:,} parameters")
    print(f"folder   {out}", flush=True)
