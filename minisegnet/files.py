"""Files that are written completely or not at all."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replaced(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file beside `path` that is renamed to `path` when the block ends without an error.

    The renaming is one step. A reader therefore never sees half a file, and after a crash or on a full disk the earlier file is
    still there. When the block has ended, the file survives a power failure: its content and its name are on the disk.
    A process that is killed inside the block leaves the temporary file; `remove_unfinished` finds it.

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
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")  # `remove_unfinished` knows this form
    try:
        make_folder(path.parent)
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
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: str | os.PathLike) -> None:
    """Make a folder and those above it, unless they exist. They survive a power failure."""
    path = Path(path)
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: str | os.PathLike) -> None:
    """Wait until the names in a folder are on the disk. Windows cannot wait for a folder, and its file systems keep the order of names."""
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_unfinished(path: str | os.PathLike) -> None:
    """Remove the temporary files of `path` that killed processes have left. No process may be writing the file."""
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        left.unlink(missing_ok=True)


class FolderLock:
    """A lock of a folder, which one process at a time can hold. It ends with its process, however that ends.

    The lock is held on the file ``.lock`` in the folder. Closing the lock removes the file; a killed process leaves it, unlocked.
    Windows has no such locks: there nothing is locked.

    Parameters
    ----------
    folder : path
        A folder that exists.

    Raises
    ------
    BlockingIOError
        If another process holds the lock; the message has its number.
    OSError
        If the folder cannot be written to.
    """

    NAME = ".lock"

    def __init__(self, folder: str | os.PathLike):
        self._path = Path(folder) / self.NAME
        self._file: int | None = None
        if fcntl is None:
            return
        while self._file is None:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise _cannot_write(self._path, error) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.read(file, 20).decode(errors="replace")
                os.close(file)
                if not isinstance(error, BlockingIOError):
                    raise
                raise BlockingIOError(
                    f"the folder {folder} is in use by another run (process {owner or 'unknown'}): wait for it, or choose another folder"
                ) from error
            # The process that held the lock may have removed the file between our two calls. Then this is a lock on nothing: try again.
            if self._path.exists() and os.path.samestat(os.fstat(file), self._path.stat()):
                self._file = file
            else:
                os.close(file)
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def close(self) -> None:
        """Release the lock. A lock that is closed already stays so."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)  # while it is locked, so that nobody else's is removed
            os.close(self._file)
            self._file = None


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
    try:
        with tempfile.TemporaryFile(dir=there):  # without a name on Linux, so that not even a killed process leaves it
            pass
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
