"""The command ``minisegnet``.

Each subcommand is a module of this package. Its function ``add(subparsers)`` declares the arguments and the function that
runs the command. Importing such a module imports nothing heavy, so that ``--help`` answers at once. To add a command, add a
module and its name in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from signal import SIGINT

from ..version import __version__

COMMANDS = (
    "train",
    "evaluate",
    "segment",
    "explain",
    "export",
    "adopt",
    "draw",
    "data",
    "equation",
    "models",
    "bench",
    "ladder",
    "sass",
    "doctor",
)
EXAMPLES = """\
examples:
  minisegnet train                                     train a U-Net on the embedded field of nuclei
  minisegnet train --data DIR --out runs/mine          ... on your own images/ and masks/
  minisegnet segment cell.png --checkpoint runs/mine   label an image
  minisegnet data check DIR                            find the problems of a data set
  minisegnet equation conv2d.forward                   a formula beside its code
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    top = argparse.ArgumentParser(
        prog="minisegnet",
        description="Segmentation networks, from the formula to the GPU.",
        epilog=EXAMPLES + "\nminisegnet COMMAND --help shows the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"minisegnet {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f".{name}", __package__).add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    The code is 0 for success, 2 for an error that the user can mend, which is printed as one message, 130 for Ctrl-C, and 143 for a
    SIGTERM after which a training was saved.
    With ``MINISEGNET_DEBUG=1`` errors have a traceback.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show "─" or "→" gets "?"
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    args = parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except BrokenPipeError:  # the reader of the output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        print(f"\nminisegnet: {str(error) or 'stopped'}", file=sys.stderr)
        return 128 + getattr(error, "signal", SIGINT)
    except Exception as error:
        if os.environ.get("MINISEGNET_DEBUG") or not _mendable(error):
            raise
        print(f"minisegnet: error: {_message(error)}", file=sys.stderr)
        return 2


def _mendable(error: Exception) -> bool:
    """Whether the user can mend the error. Any other error is a bug, whose traceback is needed."""
    from minisegnet_kernels.backends import BackendError

    return isinstance(error, ValueError | OSError | BackendError | FloatingPointError | MemoryError)


def _message(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}): a smaller --batch-size, --crop or --width needs less"
    return str(error) or type(error).__name__
