"""``minisegnet models``"""

from __future__ import annotations

import argparse
from typing import Any

from ..options import whole
from .common import add_command
from .config import typed
from .train_options import OPTIONS

EXAMPLES = """\
  minisegnet models
      list the networks
  minisegnet models --width 0.25 --in-channels 1 --classes 2
      the numbers of parameters at a quarter of the width, for grey images and two classes
  minisegnet models segnet --size 360x480
      every step of one network: shapes, parameters, operations, memory, receptive field
  minisegnet models deeplabv3 --option backbone=resnet101 --option aux=true
      a network with options of its class
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "models",
        "list the networks, or the steps of one",
        "List the networks and their numbers of parameters; with a NAME, list the steps of that network.\n"
        "No weights are made and nothing is computed, so even the largest network takes only a moment.",
        EXAMPLES,
        run,
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="the network whose steps are listed")
    command.add_argument("--in-channels", type=typed(whole(1)), default=3, metavar="N", help="channels of the image (default: 3)")
    command.add_argument(
        "--classes", type=typed(whole(1)), default=2, metavar="N", help="number of classes, background included (default: 2)"
    )
    command.add_argument("--width", type=float, help="multiplies the number of channels of every layer (default: 0.25; with NAME 1)")
    command.add_argument(
        "--size",
        type=_size,
        metavar="ROWSxCOLUMNS",
        help="size of the image, with NAME (default: 224x224, or the next size that the network takes)",
    )
    command.add_argument(
        "--option",
        action="append",
        type=typed(OPTIONS),
        default=[],
        metavar="NAME=VALUE",
        help="an option of the network's class, with NAME; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    if args.name is None:
        if args.size or args.option:
            raise ValueError("--size and --option go with the name of a network: minisegnet models NAME --size 360x480")
        _list(args)
    else:
        _describe(args)
    return 0


def _list(args: argparse.Namespace) -> None:
    from .. import models, nn

    described = models.list_models()
    wide = max(map(len, described))
    width = 0.25 if args.width is None else args.width
    print(f"{'name'.ljust(wide)}  {'parameters':>12}   ({args.in_channels} channels, {args.classes} classes, width {width:g})")
    for name, line in described.items():
        with nn.init.skip():  # the weights are never used
            model = models.create(name, args.in_channels, args.classes, width=width)
        print(f"{name.ljust(wide)}  {sum(p.numel() for p in model.parameters() if p.requires_grad):>12,}   {line}")


def _describe(args: argparse.Namespace) -> None:
    from .. import models, nn

    with nn.init.skip():
        try:
            model = models.create(
                args.name,
                args.in_channels,
                args.classes,
                width=1.0 if args.width is None else args.width,
                **{name: value for given in args.option for name, value in given.items()},
            )
        except TypeError as error:
            raise ValueError(f"--option: {error}") from error
    size_for = getattr(model, "size_for", lambda rows: rows)
    rows, columns = args.size or (size_for(224), size_for(224))
    print(models.summary(model, (1, args.in_channels, rows, columns)))


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (1, 2) or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected rows and columns, such as 360x480, not {text!r}")
    return int(parts[0]), int(parts[-1])
