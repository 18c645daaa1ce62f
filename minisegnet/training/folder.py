"""The folder of a run: config.json, log.csv, last and best checkpoint, pictures."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from ..exchange.checkpoint import plain
from ..files import write_text

BEST = "best.safetensors"
FILES = ("config.json", "run.toml", "log.csv", "last.safetensors", BEST, "curves.png", "predictions.png")


class RunFolder:
    """Checked when it is made, before anything is computed; written to only when there is something to write.

    Parameters
    ----------
    path : path
    overwrite : bool
        Whether the files of an earlier run may be replaced. Others are never touched.
    resume : bool
        Whether the run in this folder goes on.
    files : mapping of str to str
        More text files to write, by name.

    Raises
    ------
    FileExistsError
        If the folder holds something, and may not be overwritten.
    OSError
        If it cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike, overwrite: bool = False, resume: bool = False, files: Mapping[str, str] | None = None):
        self.path, self._files = Path(path), dict(files or {})
        self._log: TextIO | None = None
        self._columns: list[str] = []
        self._resume = resume
        if self.path.is_dir() and any(self.path.iterdir()) and not (overwrite or resume):
            raise FileExistsError(
                f"{self.path} is not empty: choose another folder, overwrite it (--overwrite), or go on with the run (--resume)"
            )
        self._fresh = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            trial = self.path / f".{uuid4().hex}.part"
            trial.touch()
            trial.unlink()
        except OSError as error:
            raise type(error)(f"cannot write to the folder {self.path}: {error.strerror or error}") from error

    @property
    def begun(self) -> bool:
        """Whether this run has files in the folder."""
        return self._log is not None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def begin(self, config: Mapping[str, Any], columns: Iterable[str], rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Remove an earlier run's results (unless the run goes on), write the configuration, and open the log."""
        if not self._resume:
            for name in FILES:
                (self.path / name).unlink(missing_ok=True)
        self._columns = list(columns)
        text = json.dumps(config, indent=2, default=plain) + "\n"
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows([self._columns, *map(self._cells, rows)])
        for name, content in {"config.json": text, **self._files}.items():
            write_text(self / name, content)
        write_text(self / "log.csv", lines.getvalue())
        self._log = (self / "log.csv").open("a", newline="", buffering=1, encoding="utf-8")  # a line reaches the file when it is complete

    def log(self, row: Mapping[str, Any]) -> None:
        """Add a line; what was not measured stays empty."""
        assert self._log is not None
        csv.writer(self._log).writerow(self._cells(row))

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        return [repr(row[c]) if c in row else "" for c in self._columns]

    def close(self) -> None:
        """Close the log; a folder made for a run that never began goes away again."""
        if self._log is not None:
            self._log.close()
            self._log = None
        elif self._fresh and self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()


def read_log(path: Path, up_to: int) -> list[dict[str, Any]]:
    """The rows of a log up to a step; none if there is no log. A line that was cut off is left out."""
    if not path.exists():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            with suppress(ValueError):
                rows.append({name: float(cell) for name, cell in row.items() if name and cell})
    whole = [{**row, "step": int(row["step"])} for row in rows if "step" in row and "loss" in row]
    return [row for row in whole if row["step"] <= up_to]
