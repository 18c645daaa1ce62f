r"""A formula in lines, so that it fits a phone: each statement begins a line, and a long one continues on the next.

Only layout is added, so the lines are read into the same tree as the formula.

>>> print(broken(r"y_i = \sum_u w_u\; x_k,\quad k = i + u"))
\begin{aligned}
y_i &= \sum_u w_u\; x_k \\
k &= i + u
\end{aligned}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

#: A line of this many widths of a letter fits a phone's 390 pixels.
LINE = 36.0

_TOKEN = re.compile(r"\\text\{[^}]*\}|\\(?:begin|end)\{\w+\}|\\(?:[A-Za-z]+|.)|\s+|.")
_SIZES = {r"\big", r"\Big", r"\bigg", r"\bigl", r"\bigr", r"\Bigl", r"\Bigr"}
_WIDTHS = {r"\quad": 2.0, r"\;": 0.6, r"\,": 0.4, r"\sum": 2.6, r"\max": 3.5, r"\min": 3.5, r"\exp": 3.5, r"\log": 3.2}
_WIDTHS |= dict.fromkeys((r"\bar", r"\hat", r"\substack", "{", "}", "&", *_SIZES), 0.0)
_WIDTHS |= {"=": 2.6, "+": 2.2, "-": 2.2, r"\le": 2.6, r"\ge": 2.6, r"\ne": 2.6, "<": 2.6, ">": 2.6, r"\in": 2.6}


def broken(tex: str, line: float = LINE) -> str:
    """The formula as an ``aligned`` block.

    Parameters
    ----------
    tex : str
        A formula in the notation of `formulas`.
    line : float
        The longest line, in widths of a letter.

    Returns
    -------
    str
        One line if the formula is a single statement that fits.
    """
    rows = [row for statement in re.split(r",\s*\\quad\s*", tex) for row in _rows(statement, line)]
    if len(rows) == 1:
        return rows[0].replace("&", "", 1)
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def width(tex: str) -> float:
    """The width of LaTeX without line breaks, roughly, in widths of a letter."""
    return _width(_TOKEN.findall(tex), 0)[0]


def _rows(statement: str, line: float) -> list[str]:
    """A statement, aligned at its ``=``. A continued line begins with a sign, a sum, a factor, or the next condition of a set."""
    left, relation, value = _sides(statement)
    rows, row = [], f"{left} &{relation}"
    for part in _parts(value):
        if width(row) + width(part) > line and not row.endswith(f"&{relation}"):
            rows.append(re.sub(r"(\\;|\s)+$", "", row))
            row, part = r"&\quad ", re.sub(r"^(\\;|\s)+", "", part)
        row += part
    return [*rows, row]


def _sides(statement: str) -> tuple[str, str, str]:
    for token, depth, start, end in _walk(statement):
        if depth == 0 and token in ("=", r"\leftarrow"):
            return statement[:start].strip(), token, statement[end:]
    raise ValueError(f"no = or \\leftarrow in {statement}")


def _parts(value: str) -> list[str]:
    """The pieces between which a line may end."""
    cuts, before, inside = [0], "", False
    for token, depth, start, end in _walk(value):
        inside = (inside or token == r"\{") and token != r"\}"
        if depth == 0 and start and token in ("+", "-", r"\sum", r"\begin{cases}") and before not in ("", "(", "="):
            cuts.append(start)
        elif (depth == 0 and token == r"\;") or (depth == _SET and inside and token == ","):
            cuts.append(end)
        if not token.isspace() and token != r"\;" and depth == 0:
            before = token if (token not in "_{}" and before != r"\sum") or token == "}" else before
    return [value[a:b] for a, b in pairwise([*cuts, len(value)])]


#: Depth inside the braces of a set. A line may end between its conditions, but nowhere inside other brackets.
_SET, _BRACKETS = 1, 100


def _walk(tex: str) -> Iterator[tuple[str, int, int, int]]:
    """Every token with the depth at which it stands, and where it begins and ends. Brackets made large, such as ``\\Big(``, add no depth."""
    depth, large = 0, False
    for match in _TOKEN.finditer(tex):
        token = match[0]
        opens = 0 if large else _SET * (token == r"\{") + _BRACKETS * (token in ("{", "(", "[") or token.startswith(r"\begin"))
        closes = 0 if large else _SET * (token == r"\}") + _BRACKETS * (token in ("}", ")", "]") or token.startswith(r"\end"))
        depth -= closes
        yield token, depth, match.start(), match.end()
        depth += opens
        large = token in _SIZES


def _width(tokens: list[str], place: int, end: str = "") -> tuple[float, int]:
    """The width of the tokens up to `end`, and the place after it; for rows below each other, the width of the widest."""
    total, widest = 0.0, 0.0
    while place < len(tokens) and tokens[place] != end:
        token = tokens[place]
        place += 1
        if token in (r"\\", "&&"):
            widest, total = max(widest, total), 0.0
        elif token == r"\frac":
            above, place = _group(tokens, place)
            below, place = _group(tokens, place)
            total += 0.8 * max(above, below) + 0.5
        elif token in "_^":
            inner, place = _group(tokens, place)
            total += 0.7 * inner
        elif token == "{":
            inner, place = _width(tokens, place, "}")
            total, place = total + inner, place + 1
        elif token.startswith(r"\text"):
            total += 0.9 * len(token[6:-1])
        else:
            total += 0.0 if token.isspace() or token.startswith((r"\begin", r"\end")) else _WIDTHS.get(token, 1.1)
    return max(widest, total), place


def _group(tokens: list[str], place: int) -> tuple[float, int]:
    while tokens[place].isspace():
        place += 1
    if tokens[place] == r"\substack":
        place += 1
    if tokens[place] != "{":
        return 1.1, place + 1
    inner, place = _width(tokens, place + 1, "}")
    return inner, place + 1
