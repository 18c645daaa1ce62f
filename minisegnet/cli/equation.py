"""``minisegnet equation``"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet equation
      list all equations, with the programs that each has
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
    command.add_argument("id", nargs="?", help="an equation, such as conv2d.forward (default: list all)")
    command.add_argument("--markdown", action="store_true", help="print Markdown")


def run(args: argparse.Namespace) -> int:
    from ..learn.equations import equation, listing

    if args.id is None:
        print(listing())
        return 0
    page = equation(args.id)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(page._repr_markdown_() if args.markdown else page.text(colour))
    return 0
