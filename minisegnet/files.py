"""Files that are written completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4


@contextmanager
def replaced(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file beside `path` that is renamed to `path` when the block ends without an error.

    The renaming is one step. A reader therefore never sees half a file, and after a crash or on a full disk the earlier file is
    still there.

    Parameters
    ----------
    path : path
        The file to write. Missing folders are made, an existing file is replaced.

    Yields
    ------
    Path
        The temporary file, which exists and is empty.

    Raises
    ------
    OSError
        If the folder, which the message names, cannot be made or written to. The earlier file stays.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it")
    # Not `tempfile`, whose files only their owner can read.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)  # some libraries, such as safetensors, make files that only their owner can read
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # the content is on the disk before the name is
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike) -> None:
    """Check that a file could be written, before hours are spent on its content; nothing is left behind.

    Raises
    ------
    OSError
        The error that `replaced` would raise.
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
    """Write a file with `replaced`: ``write(stream)`` gets the open binary file.

    Returns
    -------
    Path
    """
    with replaced(path) as temporary, temporary.open("wb") as stream:
        write(stream)
    return Path(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write a text with `replaced`, as UTF-8 and with unchanged line ends."""
    return write_atomically(path, lambda stream: stream.write(text.encode()))
