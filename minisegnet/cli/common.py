"""What several commands share: how a command is declared, and the options about the machine. Those about data are in `dataset`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from ..options import one_of, option, options_of
from .config import add_options


def add_command(subparsers: Any, name: str, help: str, description: str, examples: str, run: Any) -> argparse.ArgumentParser:
    """A subcommand with a description, examples and the function that runs it."""
    command = subparsers.add_parser(
        name, help=help, description=description, epilog="examples:\n" + examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.set_defaults(run=run)
    return command


@dataclass(frozen=True)
class Machine:
    """The options about where a command computes, and with which programs."""

    backend: str | None = option(
        None,
        one_of("formula", "numpy", "numba", "numba_cuda", "cuda"),
        "the programs that compute the formulas",
        section="options",
        unset="the fastest for the device",
    )
    device: str = option("cpu", one_of("cpu", "cuda"), "where to compute; cuda is the GPU", section="options")


def add_backend(command: argparse.ArgumentParser) -> None:
    """Declare the options of `Machine`."""
    add_options(command, options_of(Machine).values())


def use_backend(machine: Machine | argparse.Namespace) -> None:
    """Select the backend, and check that the device can be used.

    Raises
    ------
    BackendError
        If one of them does not run here; the message says why, and what would mend it.
    """
    if machine.device == "cuda":
        require_gpu()
    if machine.backend is None:
        return
    from minisegnet_kernels import backends

    found = backends.available()[machine.backend]
    if not found:
        raise backends.BackendError(
            f"backend {machine.backend!r} does not run here: {found.reason}" + (f". To fix it: {found.mend}" if found.mend else "")
        )
    backends.use(machine.backend)


def require_gpu() -> None:
    """Raise BackendError if no GPU can be used; the message says what is missing, and what would mend it."""
    from minisegnet_kernels import backends

    if not backends.gpu_count():
        raise backends.BackendError("there is no GPU here: the NVIDIA driver does not answer. See: minisegnet doctor")
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        raise backends.BackendError(
            f'a GPU is here, but CuPy is not ({error}): pip install ".[cuda12]" in the clone, or ".[cuda13]"'
        ) from error
