"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4


@contextmanager
def replaced(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its name in one step when the block is left without an error.

    So a reader, a crash or a full disk never meets half a file: what was there before stays until then.

    Parameters
    ----------
    path : path
        Missing folders are made. An existing file is replaced at the end.

    Yields
    ------
    Path
        Of the temporary file, which is there and empty.

    Raises
    ------
    OSError
        If the folder cannot be made or written to; names it. The file that was there before stays.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it")
    # Not tempfile: its files are readable by their owner only, and would stay so.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)  # safetensors, for one, makes files that only their owner can read
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # the content is on the disk before the name is
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike) -> None:
    """Find out whether a file could be written, before hours are spent on what it shall hold; nothing stays behind.

    Raises
    ------
    OSError
        As `replaced` would.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it")
    there = path.parent
    while not there.exists():
        there = there.parent
    trial = there / f".{uuid4().hex}.part"
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> OSError:
    return type(error)(f"cannot write {path}: the folder {path.parent} cannot be made or written to ({error.strerror})")


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], Any]) -> Path:
    """Write a file by way of `replaced`; ``write`` gets the open binary file.

    Returns
    -------
    Path
    """
    with replaced(path) as temporary, temporary.open("wb") as stream:
        write(stream)
    return Path(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write a text, as UTF-8 and with its line ends as they are, by way of `replaced`."""
    return write_atomically(path, lambda stream: stream.write(text.encode()))
