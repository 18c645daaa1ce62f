"""``minisegnet equation``"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from minisegnet_kernels.registry import OPERATIONS, VIEWS

from .common import add_command

EXAMPLES = """\
  minisegnet equation
      list all equations, with the programs that each has
  minisegnet equation conv2d
      list the six equations of convolution
  minisegnet equation conv2d.grad_weight --view cuda
      its formula and its CUDA C++; --view can be given several times
  minisegnet equation conv2d.forward
      its formula, symbols and gradients, and its code in every language
  minisegnet equation conv2d.forward --markdown > forward.md
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "equation",
        "show a formula beside its code",
        "Show an equation: its formula in LaTeX, its symbols, its gradients, and the source of every\nprogram that computes it.",
        EXAMPLES,
        run,
    )
    command.add_argument("id", nargs="?", help="an equation, such as conv2d.forward, or an operation, such as conv2d (default: list all)")
    command.add_argument("--view", action="append", choices=tuple(VIEWS), help="show this program only; can be repeated")
    command.add_argument("--list", action="store_true", help="list the equations, and show none")
    command.add_argument("--markdown", action="store_true", help="print Markdown")


def run(args: argparse.Namespace) -> int:
    from ..learn.equations import equation, listing

    operation = args.id.partition(".")[0] if args.id else None
    if args.id is None or args.id in OPERATIONS or (args.list and operation in OPERATIONS):
        print(listing(operation))
        return 0
    page = equation(args.id, views=args.view)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(page.markdown() if args.markdown else page.text(colour))
    return 0
