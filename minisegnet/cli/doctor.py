"""``minisegnet doctor``"""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet doctor
      put its output into a report of a bug
"""


def add(subparsers: Any) -> None:
    add_command(
        subparsers,
        "doctor",
        "what runs on this machine",
        "Tell what runs on this machine: Python, packages, backends (with the reason and the line that\nmends it where one does not), GPU, CPU and Numba.",
        EXAMPLES,
        run,
    )


def run(args: argparse.Namespace) -> int:
    from ..doctor import doctor

    print(doctor())
    return 0
