"""Speed, measured: each operation and a whole training step, beside PyTorch where it is installed.

Every library runs in a process of its own (`worker`), because two pools of threads in one
process slow each other down; the parent (`runner`) asks them in turn, so that a change of
the machine's mood meets all of them, and compares their results before any time counts and again, with other
values, when all are measured. What was reached is judged by a roof that is measured in the same run.
"""

from .results import Result, Run
from .runner import run

__all__ = ["Result", "Run", "run"]
