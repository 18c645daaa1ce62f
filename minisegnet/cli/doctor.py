"""``minisegnet doctor``"""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet doctor
      add the output to a bug report
"""


def add(subparsers: Any) -> None:
    add_command(
        subparsers,
        "doctor",
        "show what runs on this machine",
        "Show what runs on this machine: Python, packages, backends, GPU, CPU and Numba. For a backend that does\nnot run, the reason and the command that mends it are shown.",
        EXAMPLES,
        run,
    )


def run(args: argparse.Namespace) -> int:
    from ..doctor import doctor

    print(doctor())
    return 0
