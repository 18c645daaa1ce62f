"""``minisegnet doctor``"""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet doctor
      add the output to a bug report
  minisegnet doctor --gpu sm_75
      also show which kernels convolutions run on a T4, which need not be here
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "doctor",
        "show what runs on this machine",
        "Show what runs on this machine: Python, packages, backends, GPU, CPU and Numba. For a backend that does\nnot run, the reason and the command that mends it are shown.",
        EXAMPLES,
        run,
    )
    command.add_argument(
        "--gpu", metavar="SM", help="architecture of a GPU, such as sm_75, sm_80, sm_89 or sm_90: show which kernels convolutions run on it"
    )


def run(args: argparse.Namespace) -> int:
    from ..doctor import doctor

    print(doctor(args.gpu))
    return 0
