"""The command ``minisegnet``.

Each subcommand is a module here with ``add(subparsers)``, which describes its arguments and names the
function that runs it. At import such a module takes argparse and nothing heavy: ``--help`` has to
answer at once. A new command is a new module and its name in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from ..version import __version__

COMMANDS = ("train", "evaluate", "segment", "explain", "export", "data", "equation", "models", "bench", "ladder", "doctor")
EXAMPLES = """\
examples:
  minisegnet train                                     train a U-Net on the data that come along
  minisegnet train --data DIR --out runs/mine          ... on your own images/ and masks/
  minisegnet segment cell.png --checkpoint runs/mine   label an image
  minisegnet data check DIR                            what is wrong with a data set
  minisegnet equation conv2d.forward                   a formula beside its code
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    top = argparse.ArgumentParser(
        prog="minisegnet",
        description="Segmentation networks, from the formula to the GPU.",
        epilog=EXAMPLES + "\nminisegnet COMMAND --help tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"minisegnet {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f".{name}", __package__).add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0 is success, 2 something that the user can mend, told in one message, and 130 Ctrl-C.
    ``MINISEGNET_DEBUG=1`` shows where an error arose.
    """
    for stream in (sys.stdout, sys.stderr):  # where "─" or "→" cannot be written, "?" does
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    args = parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except BrokenPipeError:  # the reader of the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        print(f"\nminisegnet: {str(error) or 'stopped'}", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("MINISEGNET_DEBUG") or not _mendable(error):
            raise
        print(f"minisegnet: error: {_message(error)}", file=sys.stderr)
        return 2


def _mendable(error: Exception) -> bool:
    """Whether the user can do something about it; anything else is a bug, whose traceback is wanted."""
    from minisegnet_kernels.backends import BackendError

    return isinstance(error, ValueError | OSError | BackendError | FloatingPointError | MemoryError)


def _message(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}): a smaller --batch-size, --crop or --width needs less"
    return str(error) or type(error).__name__
