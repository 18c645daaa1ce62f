"""A record of the emulator's runs of the tutorials' kernels, for readers without a C++ compiler.

With a compiler, kernels run, and the record is not read. Without one, a recorded run is shown, with a line that says so.
``python tutorials/build.py`` writes the record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet_kernels import emulator

from .verdict import Verdict

RECORD = Path(__file__).with_name("recorded.json")
NOTE = "no C++ compiler here: this is the record of a run elsewhere"


@dataclass
class Seen:
    """A launch: its accesses, its counters, and its arrays afterwards."""

    traced: emulator.Traced
    counters: dict[str, int]
    arrays: list[np.ndarray]


def can_run() -> bool:
    """Whether there is a C++ compiler for the emulator."""
    try:
        emulator.compiler()
    except emulator.CompilerError:
        return False
    return True


def seen(subject: str, arrays: Sequence[np.ndarray], run: Callable[[], Seen]) -> Seen:
    """Run, or find the record of the same run.

    Parameters
    ----------
    subject : str
        The kernel and the way it is run.
    arrays : sequence of arrays
        The arrays before the run. A record is found by its subject and these values.
    run : callable

    Raises
    ------
    CompilerError
        If there is no compiler and no record; the message says how to get a compiler.
    """
    key = _key(subject, *(f"{a.dtype} {a.shape}".encode() + a.tobytes() for a in arrays))
    if can_run():
        found = run()
        _keep(key, lambda: _launch_to_json(found))
        return found
    if key not in _record():
        emulator.compiler()  # raises the error that says how to get one
    print(f"({NOTE})")
    return _launch_from_json(_record()[key])


def verdict(subject: str, judge: Callable[[], Verdict]) -> Verdict:
    """Judge, or find the record of the same judgement. Without a compiler and without a record it is "not yet" right."""
    key = _key(subject)
    if can_run():
        found = judge()
        _keep(key, lambda: {"subject": found.subject, "state": found.state, "lines": found.lines})
        return found
    if key not in _record():
        return Verdict(subject.split("\n")[0], "not yet", ["not checked: there is no C++ compiler here to run it with"])
    entry = _record()[key]
    return Verdict(entry["subject"], entry["state"], [*entry["lines"], f"({NOTE})"])


def _key(subject: str, *parts: bytes) -> str:
    return hashlib.sha256(b"\0".join([subject.encode(), *parts])).hexdigest()[:16]


@cache
def _record() -> dict[str, Any]:
    return json.loads(RECORD.read_text(encoding="utf-8"))


def _keep(key: str, entry: Callable[[], dict[str, Any]]) -> None:
    """Add an entry to the file that ``$MINISEGNET_RECORD`` names, if it is set."""
    if not os.environ.get("MINISEGNET_RECORD"):
        return
    path = Path(os.environ["MINISEGNET_RECORD"])
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found[key] = entry()
    rows = (f" {json.dumps(k)}: {json.dumps(found[k], ensure_ascii=False)}" for k in sorted(found))
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def _launch_to_json(found: Seen) -> dict[str, Any]:
    traced = found.traced
    return {
        "kernel": traced.kernel,
        "grid": traced.grid,
        "block": traced.block,
        "accesses": [astuple(access) for access in traced.accesses],
        "counters": found.counters,
        "arrays": [{"dtype": str(a.dtype), "shape": a.shape, "values": a.ravel().tolist()} for a in found.arrays],
    }


def _launch_from_json(entry: dict[str, Any]) -> Seen:
    accesses = tuple(emulator.Access(*row) for row in entry["accesses"])
    traced = emulator.Traced(entry["kernel"], tuple(entry["grid"]), tuple(entry["block"]), accesses)
    arrays = [np.array(a["values"], a["dtype"]).reshape(a["shape"]) for a in entry["arrays"]]
    return Seen(traced, entry["counters"], arrays)
