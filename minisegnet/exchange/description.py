"""The entries of a checkpoint's description: their names, types and ranges, declared once.

A description comes from a file that anybody may have written or edited. `check` runs before any entry is used, so that nothing
behind it meets an entry of another type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..data.preparation import WAYS


class DescriptionError(ValueError):
    """An entry is missing, unknown, or not what it must be; the message names it."""


@dataclass(frozen=True)
class Entry:
    """What an entry holds, in words, and the check of it."""

    expected: str
    fits: Callable[[Any], bool]
    required: bool = False


def _whole(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _by_name(value: Any) -> bool:
    return isinstance(value, dict)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _colour(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_whole(part, 0, 255) for part in value)


def _optimizer(value: Any) -> bool:
    if not _by_name(value) or set(value) != {"state", "param_groups"} or not _by_name(value["state"]):
        return False
    groups = value["param_groups"]
    numbered = all(key.isdecimal() and _by_name(kept) and all(map(_number, kept.values())) for key, kept in value["state"].items())
    return (
        numbered
        and isinstance(groups, list)
        and all(_by_name(g) and isinstance(g.get("params"), list) and all(_whole(k, 0) for k in g["params"]) for g in groups)
    )


WHOLE_FROM_0 = "a whole number, 0 or more"
ENTRIES = {
    "recipe": Entry(
        "null, or the arguments of models.create, with the name of the network",
        lambda v: v is None or (_by_name(v) and isinstance(v.get("name"), str)),
        required=True,
    ),
    "classes": Entry("a list of names", _texts, required=True),
    "palette": Entry("a list of [red, green, blue] from 0 to 255", lambda v: isinstance(v, list) and all(map(_colour, v)), required=True),
    "in_channels": Entry("a whole number, 1 or more", lambda v: _whole(v, 1), required=True),
    "ignore_index": Entry("a whole number that fits into 64 bits", lambda v: _whole(v, -(2**63), 2**63 - 1)),
    "standardise": Entry(f"one of {', '.join(WAYS)}", lambda v: isinstance(v, str) and v in WAYS),
    "step": Entry(WHOLE_FROM_0, lambda v: _whole(v, 0, 2**53)),
    "metrics": Entry("numbers by name", lambda v: _by_name(v) and all(map(_number, v.values()))),
    "run": Entry("entries by name", _by_name),
    "resume": Entry("entries by name", _by_name),
    "digest": Entry("a text", lambda v: isinstance(v, str)),
    "format": Entry("a whole number, 1 or more", lambda v: _whole(v, 1), required=True),
}
#: The entries of `resume`; a checkpoint that only holds weights has none of them.
RESUME = {
    "optimizer": Entry("the state of an optimiser and its groups of parameters", _optimizer, required=True),
    "random": Entry(
        "the state of a bit generator of NumPy", lambda v: _by_name(v) and isinstance(v.get("bit_generator"), str), required=True
    ),
    "score_name": Entry("a text", lambda v: isinstance(v, str), required=True),
    "best_score": Entry("a number", _number, required=True),
    "best_step": Entry(WHOLE_FROM_0, lambda v: _whole(v, 0, 2**53), required=True),
    "owed": Entry("true or false", lambda v: isinstance(v, bool)),
}
#: Those of the entries of `run` with which a run continues. Without `resume`, the entries of `run` are notes.
RUN = {
    "options": Entry("the fields of a training.Recipe by name", _by_name, required=True),
    "data": Entry("entries by name", _by_name, required=True),
    "transform": Entry("a text", lambda v: isinstance(v, str), required=True),
    "settings": Entry("entries by name", _by_name, required=True),
}


def check(entries: Any) -> None:
    """Check the description of a checkpoint.

    Parameters
    ----------
    entries : object
        As it was read from JSON.

    Raises
    ------
    DescriptionError
    """
    if not isinstance(entries, dict):
        raise DescriptionError(f"expected entries by name, got {_short(entries)}")
    _check(entries, ENTRIES, "")
    if len(entries["palette"]) != len(entries["classes"]):
        raise DescriptionError(f"palette: expected a colour for each of {len(entries['classes'])} classes, got {len(entries['palette'])}")
    if entries.get("resume"):
        _check(entries["resume"], RESUME, "resume.")
        if entries["resume"]["best_step"] > entries.get("step", 0):
            raise DescriptionError(f"resume.best_step: step {entries['resume']['best_step']} is after step {entries.get('step', 0)}")
        _check({name: value for name, value in entries.get("run", {}).items() if name in RUN}, RUN, "run.")
    elif not _by_name(entries.get("run", {}).get("settings", {})):
        raise DescriptionError("run.settings: expected entries by name")


def _check(given: Mapping[str, Any], declared: Mapping[str, Entry], where: str) -> None:
    for name in given:
        if name not in declared:
            raise DescriptionError(f"{where}{name}: an unknown entry")
    for name, entry in declared.items():
        if name not in given:
            if entry.required:
                raise DescriptionError(f"{where}{name}: missing")
        elif not entry.fits(given[name]):
            raise DescriptionError(f"{where}{name}: expected {entry.expected}, got {_short(given[name])}")


def _short(value: Any) -> str:
    """The value, or its type and length: a file may hold megabytes."""
    if isinstance(value, dict | list):
        return f"{'entries by name' if isinstance(value, dict) else 'a list'} ({len(value)})"
    text = repr(value) if not isinstance(value, str) else repr(value[:60])
    return text if len(text) <= 70 else f"{text[:60]}…"
