"""The result of a check: one line if everything is right; otherwise the first wrong value, marked in its grid.

A `Verdict` is true or false, prints as text in a terminal, and is shown as HTML by a notebook.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

_MARKS = {"right": "✓", "wrong": "✗", "not yet": "…"}
_INK = {"right": "#1a7f37", "wrong": "#b2182b", "not yet": "#666666"}
_MOST = 9  # rows and columns of a grid that are shown


@dataclass
class Grid:
    """A result beside the right one, at the first place where they differ.

    Attributes
    ----------
    name : str
        The symbol of the result.
    letters : tuple of str
        The equation's letter of each axis; empty if the axes have none.
    expected, actual : array
        The right values and the given ones, in arrays of equal shapes.
    """

    name: str
    letters: tuple[str, ...]
    expected: np.ndarray
    actual: np.ndarray

    def __post_init__(self) -> None:
        self.wrong = ~close(self.actual, self.expected)
        self.first = tuple(int(k) for k in np.unravel_index(int(self.wrong.argmax()), self.wrong.shape))

    def place(self) -> str:
        """``y[n=0, o=1, i=0, j=2]``."""
        if not self.first:
            return self.name
        letters = self.letters if len(self.letters) == len(self.first) else ("",) * len(self.first)
        return f"{self.name}[{', '.join(f'{a}={k}' if a else str(k) for a, k in zip(letters, self.first, strict=True))}]"

    def sentence(self) -> str:
        """The first wrong value, with enough digits to tell it from the right one."""
        right, wrong = self.expected[self.first], self.actual[self.first]
        told = [number(right), number(wrong)] if number(right) != number(wrong) else [f"{right:.15g}", f"{wrong:.15g}"]
        count = f" ({int(self.wrong.sum())} of {self.wrong.size} values are wrong)" if self.wrong.size > 1 else ""
        return f"{self.place()}: expected {told[0]}, got {told[1]}{count}"

    def planes(self) -> tuple[str, np.ndarray, np.ndarray, np.ndarray] | None:
        """The plane that contains the first wrong value: its title, the right values, the reader's values, and which of them are wrong."""
        if self.expected.ndim == 0 or self.expected.size == 1:
            return None
        before, plane = self.first[:-2], [np.atleast_2d(a[self.first[:-2]]) for a in (self.expected, self.actual, self.wrong)]
        title = f"{self.name}[{', '.join(map(str, before))}{', :' * min(2, self.expected.ndim) if before else ', '.join([':'] * self.expected.ndim)}]"
        return title, plane[0], plane[1], plane[2]


@dataclass
class Verdict:
    """The result of a check.

    Attributes
    ----------
    subject : str
        What was checked.
    state : str
        ``"right"``, ``"wrong"`` or ``"not yet"``.
    lines : list of str
        The message, one sentence per line.
    grid : Grid or None
        The first wrong value, among its neighbours.
    mistake : str
        The mistake, if it is a known one; otherwise empty.
    formula : str
        The formula that the answer computes, as MathML, if the mistake is a slip in the formula.
    parts : list of Verdict
        The verdicts on single terms, for a check of several.
    """

    subject: str
    state: str
    lines: list[str]
    grid: Grid | None = None
    mistake: str = ""
    formula: str = ""
    parts: list[Verdict] | None = None

    def __bool__(self) -> bool:
        return self.state == "right"

    def __str__(self) -> str:
        if self.parts:
            return "\n".join(map(str, self.parts))
        first, *others = self.lines
        told = [f"{_MARKS[self.state]} {self.subject}: {first}", *(f"  {line}" for line in others)]
        if self.mistake:
            told.append(f"  → Your result equals the equation, but {self.mistake}.")
        if self.grid and (planes := self.grid.planes()):
            told += ["", *(f"  {row}" for row in _text_grid(*planes, first=self.grid.first))]
        return "\n".join(told)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if self.parts:
            return "".join(part._repr_html_() for part in self.parts)
        first, *others = map(escape, self.lines)
        ink = _INK[self.state]
        told = f'<div style="border-left:4px solid {ink};padding:2px 0 2px 10px;margin:4px 0">'
        told += f'<div><b style="color:{ink}">{_MARKS[self.state]} {escape(self.subject)}</b>: {first}</div>'
        told += "".join(f"<div>{line}</div>" for line in others)
        if self.mistake:
            told += f"<div>→ Your result equals the equation, but <b>{escape(self.mistake)}</b>.</div>"
        if self.formula:
            told += f'<div style="overflow-x:auto;margin:6px 0">You have computed {self.formula}</div>'
        if self.grid and (planes := self.grid.planes()):
            told += _html_grid(*planes, first=self.grid.first)
        return told + "</div>"


def close(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Where two arrays agree: integers exactly, other numbers within nine digits of the largest."""
    if np.asarray(expected).dtype.kind in "iub":
        return np.asarray(actual) == expected
    scale = float(np.abs(expected, where=np.isfinite(expected), out=np.zeros(np.shape(expected))).max(initial=0))
    with np.errstate(invalid="ignore"):
        return np.isclose(actual, expected, rtol=1e-9, atol=1e-10 * max(scale, 1e-3))


def number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float | np.floating) else str(value)


def _cut(a: np.ndarray) -> list[list[str]]:
    return [[number(v) for v in row[:_MOST]] + ["…"] * (len(row) > _MOST) for row in a[:_MOST]] + [["…"]] * (len(a) > _MOST)


def _text_grid(title: str, expected: np.ndarray, actual: np.ndarray, wrong: np.ndarray, first: tuple[int, ...]) -> list[str]:
    """Both planes side by side; the first wrong value stands in brackets, the others have a star."""
    at = (first[-2], first[-1]) if len(first) > 1 else (0, first[-1])
    left, right = _cut(expected), _cut(actual)
    for i, row in enumerate(right):
        for j in range(len(row)):
            if i < len(wrong) and j < wrong.shape[1] and wrong[i, j] and row[j] != "…":
                row[j] = f"[{row[j]}]" if (i, j) == at else f"{row[j]}*"
    width = max(len(cell) for side in (left, right) for row in side for cell in row) + 1
    lines = [["".join(cell.rjust(width) for cell in row) for row in side] for side in (left, right)]
    span = max(map(len, lines[0]))
    head = f"{f'{title} expected'.ljust(span)}    got"
    span = max(span, len(title) + 9)
    return [head, *(f"{a.ljust(span)}    {b}" for a, b in zip(*lines, strict=True))]


def _html_grid(title: str, expected: np.ndarray, actual: np.ndarray, wrong: np.ndarray, first: tuple[int, ...]) -> str:
    at = (first[-2], first[-1]) if len(first) > 1 else (0, first[-1])

    def table(caption: str, cells: list[list[str]], paint: bool) -> str:
        rows = ""
        for i, row in enumerate(cells):
            rows += "<tr>"
            for j, cell in enumerate(row):
                style = "padding:2px 8px;text-align:right;border:1px solid #ddd;color:#111;background:#fff"
                if paint and i < len(wrong) and j < wrong.shape[1] and wrong[i, j]:
                    style += ";background:#fddbc7" + (";outline:3px solid #b2182b;outline-offset:-2px" if (i, j) == at else "")
                rows += f'<td style="{style}">{escape(cell)}</td>'
            rows += "</tr>"
        return f'<div><div style="color:#666">{escape(caption)}</div><table style="border-collapse:collapse;margin:0">{rows}</table></div>'

    return (
        '<div style="display:flex;gap:24px;flex-wrap:wrap;margin:6px 0">'
        + table(f"{title} expected", _cut(expected), False)
        + table("got", _cut(actual), True)
        + "</div>"
    )
