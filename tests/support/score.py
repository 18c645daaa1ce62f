"""The score of the planted faults: how many were planted, how many were rejected, and which checks no trial reached.

It consists of plain lists and dicts, so that a worker of pytest-xdist can hand it to the process that prints the table.
"""

from __future__ import annotations

from collections.abc import Iterable

KINDS = ("barriers and waits", "checks")

_scores: dict[str, dict[str, list[int]]] = {}  # operation or rung -> kind of fault -> [rejected, planted, equivalent]
_reached: dict[str, dict[str, bool]] = {}  # file -> text of a check -> whether a trial reached it


def count(name: str, kind: str, rejected: int, planted: int, equivalent: int) -> None:
    """Record the faults of one kind in an operation or rung."""
    _scores.setdefault(name, {})[kind] = [rejected, planted, equivalent]


def reach(file: str, text: str, reached: bool) -> None:
    """Record that a check was planted, and whether a trial reached it. One trial in one kernel is enough."""
    checks = _reached.setdefault(file, {})
    checks[text] = checks.get(text, False) or reached


def unreached(names: Iterable[str]) -> list[tuple[str, str]] | None:
    """The checks, of headers for instance, that no trial has reached; None if not all of `names` have been tested."""
    if any("checks" not in _scores.get(name, {}) for name in names):
        return None
    return [(file, text) for file, checks in _reached.items() for text, reached in checks.items() if not reached]


def handed_on() -> list[dict]:
    """What `merge` takes in another process."""
    return [_scores, _reached]


def merge(handed: list[dict]) -> None:
    """Add the score of another process to that of this one."""
    scores, reached = handed
    for name, kinds in scores.items():
        _scores.setdefault(name, {}).update(kinds)
    for file, checks in reached.items():
        for text, flag in checks.items():
            reach(file, text, flag)


def table() -> str:
    """The score as a Markdown table; empty if no fault was planted."""
    if not _scores:
        return ""
    rows = [("operation or rung", *KINDS), ("---",) * 3]
    rows += [(name, *(_cell(kinds.get(kind, [0, 0, 0])) for kind in KINDS)) for name, kinds in sorted(_scores.items())]
    totals = ([sum(kinds.get(kind, [0, 0, 0])[k] for kinds in _scores.values()) for k in range(3)] for kind in KINDS)
    rows.append(("all", *map(_cell, totals)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(counted: list[int]) -> str:
    rejected, planted, equivalent = counted
    return f"{rejected}/{planted}" + (f" ({equivalent} equivalent)" if equivalent else "") if planted else "–"
