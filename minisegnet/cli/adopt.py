"""``minisegnet adopt``"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..options import Kind, text, whole
from .common import add_command
from .config import typed
from .train_options import OPTIONS

EXAMPLES = """\
  minisegnet adopt deeplabv3_resnet50_coco.pth --model deeplabv3 --option backbone=resnet50 --classes 21 --standardise imagenet
      the weights of torchvision, as deeplabv3_resnet50_coco.safetensors; then: minisegnet segment photo.jpg --checkpoint ...
  minisegnet adopt epoch9.ckpt --model unet_resnet --classes road,car,sky --standardise imagenet --out streets.safetensors
      a checkpoint of Lightning with a Unet of segmentation_models.pytorch
  minisegnet adopt unet.pth --model unet_resnet --one-logit --classes background,crack --standardise imagenet
      a network with one output, as segmentation_models.pytorch makes it for classes=1
"""


def _read_classes(given: str) -> list[str]:
    return [f"class {k}" for k in range(int(given))] if given.isdigit() else [name.strip() for name in given.split(",")]


_CLASSES = Kind(
    "a number of classes, 2 or more, or different names with commas between them",
    _read_classes,
    lambda names: len(names) > 1 and all(names) and len(set(names)) == len(names),
    "N|NAMES",
)


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "adopt",
        "make a checkpoint from another library's weights",
        "Load the weights of another library into a network, and write a checkpoint that segment, evaluate, explain, export and\n"
        "train --weights use. The file does not say which network it is for, what its classes are called, and how images\n"
        "were prepared in its training: name these. Nothing in the file is run.",
        EXAMPLES,
        run,
    )
    command.add_argument("file", metavar="FILE", help="a file of PyTorch, Lightning, NumPy (.npz) or safetensors")
    command.add_argument("--model", required=True, metavar="NAME", help="the network; minisegnet models lists them")
    command.add_argument(
        "--classes",
        required=True,
        type=typed(_CLASSES),
        metavar="N|NAMES",
        help="number of classes, or their names in the order of the output",
    )
    command.add_argument(
        "--standardise",
        required=True,
        choices=("per-image", "imagenet", "unit"),
        help="how images were prepared: to mean 0 and deviation 1 each, with the mean and deviation of ImageNet's colours, or to 0...1",
    )
    command.add_argument(
        "--option", type=typed(OPTIONS), action="append", default=[], metavar="NAME=VALUE[,...]", help="options of the network's class"
    )
    command.add_argument("--one-logit", action="store_true", help="the network has one output, the logit of the second of two classes")
    command.add_argument("--width", type=float, default=1.0, help="multiplies the number of channels of every layer (default: 1)")
    command.add_argument("--in-channels", type=typed(whole(1)), default=3, metavar="N", help="channels of the image (default: 3)")
    command.add_argument(
        "--key", type=typed(text("NAME")), metavar="NAME", help="the entry of the file that holds the weights (default: found)"
    )
    command.add_argument("--out", metavar="FILE", help="the checkpoint to write (default: NAME.safetensors in this folder)")
    command.add_argument("--overwrite", action="store_true", help="replace a file of that name")


def run(args: argparse.Namespace) -> int:
    from .. import data, models
    from ..exchange import checkpoint
    from ..exchange.weights import load_pretrained

    out = Path(args.out or f"{Path(args.file).stem}.safetensors")
    if out.exists() and not args.overwrite:
        raise FileExistsError(f"{out} exists: choose another name (--out), or replace it (--overwrite)")
    way = args.standardise.replace("-", " ")
    if way != "per image":
        data.preparation.constants(way, args.in_channels)
    if args.one_logit and len(args.classes) != 2:
        raise ValueError(f"--one-logit: one output tells two classes apart; --classes names {len(args.classes)}")
    options = {name: value for given in args.option for name, value in given.items()}
    try:
        model: Any = models.create(args.model, args.in_channels, 1 if args.one_logit else len(args.classes), width=args.width, **options)
    except TypeError as error:
        raise ValueError(f"--option: {error}") from error
    report = load_pretrained(model, args.file, key=args.key)
    if report.of("kept"):
        raise ValueError(
            f"{report}\n  The file has weights for a part of the network only. To train the rest: minisegnet train --weights {args.file}"
        )
    print(report)
    about = checkpoint.About(
        recipe=model.recipe,
        classes=tuple(args.classes),
        palette=data.palette(len(args.classes)).tolist(),
        in_channels=args.in_channels,
        standardise=way,
        run={"what": f"the weights of {Path(args.file).name}"},
    )
    checkpoint.write(out, model, about)
    print(f"{out}\n\nto use it:  minisegnet segment IMAGE --checkpoint {out}")
    return 0
