"""What the symbols of a formula stand for: options, sizes of axes, and how far each index letter runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .notation import FormulaError, Statement, node, walk

_SHAPE = re.compile(r"\(((?:[^(),]+,)+[^(),]*)\)")


def axes(meaning: str) -> tuple[str, ...]:
    """The axes that a symbol's description names: ``("O", "C/G", "U", "V")``; empty if it names no shape."""
    match = _SHAPE.search(meaning)
    return tuple(axis.strip() for axis in match[1].split(",") if axis.strip()) if match else ()


def letters(symbols: Mapping[str, str], statements: Sequence[Statement], arrays: Iterable[str]) -> dict[str, str]:
    """How far each index letter runs, as the name of an axis: ``{"o": "O", "c": "C/G", ...}``.

    Parameters
    ----------
    symbols : mapping of str to str
        What each symbol of the formula means.
    statements : sequence of Statement
        The statements of the formula.
    arrays : iterable of str
        The arrays that are given, and those to compute.
    """
    shapes = {name: axes(symbols.get(name, "")) for name in arrays}
    named = {axis: axis for shape in shapes.values() for axis in shape if axis.isalpha()} | {"U": "U", "V": "V"}
    options = [name for name, meaning in symbols.items() if meaning.startswith("option")]
    return ranges(statements, shapes, named | dict.fromkeys(options))  # type: ignore[arg-type, return-value]


def option_values(symbols: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The symbols that stand for options: s, p, q, d for rows and columns, G, and those described as ``option NAME``."""
    pairs = {"s": options.get("stride"), "d": options.get("dilation")}
    if (padding := options.get("padding")) is not None:
        pairs |= {"p": [before for before, _ in padding], "q": [after for _, after in padding]}
    values = {f"{name}_{axis}": v for name, pair in pairs.items() if pair is not None for axis, v in zip("hw", pair, strict=True)}
    values |= {"G": options["groups"]} if "groups" in options else {}
    for name, meaning in symbols.items():
        match = re.match(r"option (\w+)", meaning)
        if match and np.ndim(options.get(match[1], ())) == 0:
            values[name] = options[match[1]]
    return values


def sizes(symbols: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """N, C, H, …: from the shapes that the symbols' descriptions name."""
    found: dict[str, int] = {}
    for name, shape in shapes.items():
        named = axes(symbols.get(name, ""))
        if len(named) != len(shape):
            continue  # no shape is named; or a scalar in another reduction
        for axis, size in zip(named, shape, strict=True):
            if re.fullmatch(r"[A-Z]", axis) and found.setdefault(axis, size) != size:
                raise FormulaError(f"{axis} is {found[axis]} and, by the shape of {name}, {size}")
    return found


def ranges(statements: Sequence[Statement], shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, Any]) -> dict[str, int]:
    """How far each index letter runs: the size of an axis that it alone indexes, directly or through a definition."""
    definitions = {s.name: s for s in statements if not s.updates}
    runs: dict[str, int] = {}
    nodes = [node("at", s.name, tuple(node("name", letter) for letter in s.letters)) for s in statements if s.letters]
    nodes += [n for s in statements for n in walk(s.value) if n.kind == "at"]
    for _ in range(2):  # the second round also uses the ranges that the first found for the letters of definitions
        for name, places in (n.parts for n in nodes):
            extent: Any = shapes.get(name) or [runs.get(letter) for letter in getattr(definitions.get(name), "letters", ())]
            if isinstance(values.get(name), list):
                extent = (len(values[name]), max((a.size for a in values[name]), default=0))
            if len(places) == 1 and len(extent) > 1:  # of any shape: elements are counted
                extent = (math.prod(extent),)
            for place, size in zip(places, extent, strict=False):
                letter = place.parts[0]
                if place.kind != "name" or size is None or letter in values or letter in definitions:
                    continue
                if runs.setdefault(letter, size) != size:
                    raise FormulaError(f"{letter} would run to {runs[letter]} and, in {name}, to {size}")
    letters = {node.parts[0] for s in statements for node in walk(s.value) if node.kind == "name"} - runs.keys()
    return runs | {letter: values[letter.upper()] for letter in letters if letter.islower() and letter.upper() in values}
