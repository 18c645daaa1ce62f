"""The folder of a run, and the protocol by which a run survives kills, full disks and power failures.

**The truth.** ``last.safetensors`` alone decides how a run goes on: it holds the weights, the optimiser's state, the random numbers,
the number of steps done, every row of the log, and value and step of the best evaluation. All other files follow from it. None of
them is read when a run is resumed, except ``best.safetensors``, and that only to see whether it is there.

**Whole files.** Every file but ``log.csv`` is written under another name, flushed to the disk, and then renamed (`files.replaced`).
So a file under its own name is complete, and when the next file is begun, it survives a power failure.

**The order.** Each line happens before the next one begins:

1. *lock* the folder: one run at a time (`files.FolderLock`; the lock ends with its process);
2. *begin*, after the first step: remove the results of an earlier run, ``last`` first, and unfinished files of killed processes;
   write ``config.json``, the caller's files, and ``log.csv`` with the rows so far;
3. *each step*: a line is appended to ``log.csv``. It is for people who watch, and a power failure may lose it;
4. *each checkpoint*: ``last``; then ``best``, if this evaluation is the best so far; then the log is flushed to the disk;
5. *the end*: ``curves.png``, then ``predictions.png``.

**Best.** When ``last`` is written, either its own weights are the best ones, or ``best`` was written before it. So there is no instant
at which the best weights are lost: a run that was killed between the two files writes ``best`` from ``last`` when it is resumed, and
until then `exchange.checkpoint.find` takes ``last``.

**What a resumed run mends.** It locks the folder, removes unfinished files, writes ``best`` if that was not done, and writes
``config.json`` and ``log.csv`` anew from ``last``: lines behind the checkpoint go, lines that were lost come back. The pictures are
removed, because they show an earlier state, and drawn at the end. An evaluation that Ctrl-C interrupted is made up for. A run that
has done all of its steps but lacks one of these files is completed. A run without ``last`` was killed before its first checkpoint:
there is nothing to resume, and it starts again.

``tests/training/test_crashes.py`` stops a run before each of these file operations in turn.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..exchange.checkpoint import plain
from ..files import FolderLock, check_writable, make_folder, remove_unfinished, write_text

LAST, BEST = "last.safetensors", "best.safetensors"
PICTURES = ("curves.png", "predictions.png")
FILES = (LAST, BEST, "config.json", "run.toml", "log.csv", *PICTURES)  # `last` is removed first: without it there is no run to resume


class RunFolder:
    """The folder of a run. Creating this object locks a folder that exists, and changes nothing in it; `begin` writes to it.

    Parameters
    ----------
    path : path
    overwrite : bool
        Whether the files of an earlier run may be replaced. Other files are never touched.
    resume : bool
        Whether the run in this folder is continued.
    files : mapping of str to str
        Further text files to write, by name.

    Raises
    ------
    FileExistsError
        If the folder is not empty and neither `overwrite` nor `resume` is set.
    BlockingIOError
        If another process trains in this folder.
    OSError
        If the folder cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike, overwrite: bool = False, resume: bool = False, files: Mapping[str, str] | None = None):
        self.path, self._files = Path(path), dict(files or {})
        self._log: TextIO | None = None
        self._lock: FolderLock | None = None
        self._columns: list[str] = []
        self._resume, self._overwrite = resume, overwrite
        self._check_empty()
        check_writable(self.path / "log.csv")
        if self.path.is_dir():
            self._lock = FolderLock(self.path)

    def _check_empty(self) -> None:
        if self._overwrite or self._resume or not self.path.is_dir():
            return
        if any(found.name != FolderLock.NAME for found in self.path.iterdir()):
            raise FileExistsError(
                f"{self.path} is not empty: choose another folder, overwrite the run (--overwrite), or continue it (--resume)"
            )

    @property
    def begun(self) -> bool:
        """Whether this run has files in the folder."""
        return self._log is not None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def begin(self, config: Mapping[str, Any], columns: Iterable[str], rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Remove the results of an earlier run, or the pictures of the one that is continued; write the configuration, and open the log.

        Raises
        ------
        FileExistsError
            If another run has used the folder since it was chosen.
        """
        if self._lock is None:
            make_folder(self.path)
            self._lock = FolderLock(self.path)
            self._check_empty()
        for name in PICTURES if self._resume else FILES:
            (self / name).unlink(missing_ok=True)
        for name in dict.fromkeys((*FILES, *self._files)):
            remove_unfinished(self / name)
        self._columns = list(columns)
        write_text(self / "config.json", json.dumps(config, indent=2, default=plain) + "\n")
        for name, content in self._files.items():
            write_text(self / name, content)
        self.rewrite_log(rows)

    def rewrite_log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the log anew with these rows, and open it for the next ones."""
        if self._log is not None:
            self._log.close()
        write_text(self / "log.csv", self._lines(rows))
        self._log = (self / "log.csv").open("a", newline="", buffering=1, encoding="utf-8")  # a line reaches the file when it is complete

    def log(self, row: Mapping[str, Any]) -> None:
        """Add a line; figures that were not measured stay empty."""
        assert self._log is not None
        csv.writer(self._log).writerow(self._cells(row))

    def sync(self) -> None:
        """Wait until the lines of the log are on the disk."""
        assert self._log is not None
        self._log.flush()
        os.fsync(self._log.fileno())

    def complete(self, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether a run that has done all of its steps has left every file that follows from its checkpoint, except ``best``."""
        self._columns = list(columns)
        expected = {"config.json": None, "log.csv": self._lines(rows), **dict.fromkeys(self._files), **dict.fromkeys(PICTURES)}
        for name, text in expected.items():
            path = self / name
            if not path.is_file() or (text is not None and path.read_bytes() != text.encode()):
                return False
        return True

    def _lines(self, rows: Iterable[Mapping[str, Any]]) -> str:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows([self._columns, *map(self._cells, rows)])
        return lines.getvalue()

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        return [repr(row[c]) if c in row else "" for c in self._columns]

    def close(self) -> None:
        """Close the log and unlock the folder."""
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
