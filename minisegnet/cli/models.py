"""``minisegnet models``"""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command, positive

EXAMPLES = """\
  minisegnet models
  minisegnet models --width 0.25 --in-channels 1 --classes 2
      how many parameters they have when they are narrower
  minisegnet models segnet --size 360x480
      every step of one: shapes, parameters, operations, memory, receptive field
  minisegnet models deeplabv3 --option backbone=resnet101 --option aux=true
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "models",
        "list the networks, or every step of one",
        "List the networks and their numbers of parameters; with a name, what that network is made of, step by step.\n"
        "Nothing is computed and no weights are made, so the largest is told in a moment.",
        EXAMPLES,
        run,
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="a network, to see every step of it")
    command.add_argument("--in-channels", type=positive, default=3, metavar="N", help="of the image (default: 3)")
    command.add_argument("--classes", type=positive, default=2, metavar="N", help="with background (default: 2)")
    command.add_argument("--width", type=float, help="multiplies the channels of every layer (default: 0.25; with a name 1)")
    command.add_argument(
        "--size",
        type=_size,
        metavar="ROWSxCOLUMNS",
        help="of the image, with a name (default: 224x224, or what the network needs for that)",
    )
    command.add_argument(
        "--option",
        action="append",
        type=_option,
        default=[],
        metavar="NAME=VALUE",
        help="of the network's class, with a name; may be repeated",
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
        with nn.init.skip():  # nobody computes with them
            model = models.create(name, args.in_channels, args.classes, width=width)
        print(f"{name.ljust(wide)}  {sum(p.numel() for p in model.parameters() if p.requires_grad):>12,}   {line}")


def _describe(args: argparse.Namespace) -> None:
    from .. import models, nn

    with nn.init.skip():
        try:
            model = models.create(
                args.name, args.in_channels, args.classes, width=1.0 if args.width is None else args.width, **dict(args.option)
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


def _option(text: str) -> tuple[str, Any]:
    """``name=value``; the value is a number, true, false or none where it looks like one, and else text."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, such as backbone=resnet18, not {text!r}")
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return name, words[value.lower()]
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
