"""Speed, measured: each operation and a whole training step, beside PyTorch where it is installed.

Each library runs in its own process (`worker`), because two thread pools in one process slow each other down. The
parent process (`runner`) asks the libraries in turn, so that other load on the machine affects all of them alike. It
compares their results before the timings and again, on other inputs, after them. A time is judged by the roofline of
the machine, which is measured in the same run.
"""

from .results import Result, Run
from .runner import run

__all__ = ["Result", "Run", "run"]
