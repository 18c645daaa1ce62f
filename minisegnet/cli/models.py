"""``minisegnet models``"""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command, positive

EXAMPLES = """\
  minisegnet models
  minisegnet models --width 0.25 --in-channels 1 --classes 2
      how many parameters they have when they are narrower
"""


def add(subparsers: Any) -> None:
    command = add_command(subparsers, "models", "list the networks", "List the networks and their numbers of parameters.", EXAMPLES, run)
    command.add_argument("--in-channels", type=positive, default=3, metavar="N", help="of the image (default: 3)")
    command.add_argument("--classes", type=positive, default=2, metavar="N", help="with background (default: 2)")
    command.add_argument("--width", type=float, default=0.25, help="multiplies the channels of every layer (default: 0.25)")


def run(args: argparse.Namespace) -> int:
    from .. import models

    described = models.list_models()
    width = max(map(len, described))
    print(f"{'name'.ljust(width)}  {'parameters':>12}   ({args.in_channels} channels, {args.classes} classes, width {args.width:g})")
    for name, line in described.items():
        model = models.create(name, args.in_channels, args.classes, width=args.width)
        print(f"{name.ljust(width)}  {sum(p.numel() for p in model.parameters()):>12,}   {line}")
    return 0
