"""The folder of a run: ``config.json``, ``log.csv``, the last and the best checkpoint, pictures."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ..exchange.checkpoint import plain
from ..files import check_writable, write_text

BEST = "best.safetensors"
FILES = ("config.json", "run.toml", "log.csv", "last.safetensors", BEST, "curves.png", "predictions.png")


class RunFolder:
    """The folder of a run. Creating this object only checks the folder; `begin` makes it and writes to it.

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
    OSError
        If the folder cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike, overwrite: bool = False, resume: bool = False, files: Mapping[str, str] | None = None):
        self.path, self._files = Path(path), dict(files or {})
        self._log: TextIO | None = None
        self._columns: list[str] = []
        self._resume = resume
        if self.path.is_dir() and any(self.path.iterdir()) and not (overwrite or resume):
            raise FileExistsError(
                f"{self.path} is not empty: choose another folder, overwrite the run (--overwrite), or continue it (--resume)"
            )
        check_writable(self.path / "log.csv")

    @property
    def begun(self) -> bool:
        """Whether this run has files in the folder."""
        return self._log is not None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def begin(self, config: Mapping[str, Any], columns: Iterable[str], rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Remove the results of an earlier run, unless it is continued; write the configuration, and open the log."""
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
        """Add a line; figures that were not measured stay empty."""
        assert self._log is not None
        csv.writer(self._log).writerow(self._cells(row))

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        return [repr(row[c]) if c in row else "" for c in self._columns]

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None


def read_log(path: Path, up_to: int) -> list[dict[str, Any]]:
    """The rows of a log up to a step; none if there is no log. A truncated line is left out."""
    if not path.exists():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            with suppress(ValueError):
                rows.append({name: float(cell) for name, cell in row.items() if name and cell})
    whole = [{**row, "step": int(row["step"])} for row in rows if "step" in row and "loss" in row]
    return [row for row in whole if row["step"] <= up_to]
