"""Slips of the pen: every formula that differs from a right one in a single place.

A reader who computes something else than an equation has often computed one of its slips: a term forgotten, a sign turned, two letters
exchanged, ``=`` written for ``+=``. Formulas run, so each slip is a program, and `minisegnet.learn.check` finds out which of them a
reader has written. The tests use the same list: they plant every slip in every formula and demand that it is noticed.

>>> from .formulas import formula
>>> for slip in slips(formula("conv2d.grad_bias")):
...     print(f"{slip.kind:22} {slip.sentence}")
last term only         only the last term of the sum over n, i, j is left (= stands where += belongs)
indices changed over   the first two indices of g are exchanged
indices changed over   indices 2 and 3 of g are exchanged
indices changed over   the last two indices of g are exchanged
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from math import isfinite
from typing import Any, NamedTuple

from .formulas import Formula
from .notation import Expression, node, walk

_TWINS = {"s_h": "d_h", "s_w": "d_w", "d_h": "s_h", "d_w": "s_w", "p_h": "p_w", "p_w": "p_h", "q_h": "q_w", "q_w": "q_h"}
_TWINS |= dict(zip("uvijklHWPQUVOCkr", "vujilkWHQPVUCOr" + "k", strict=True))
_EDGES = {"<": r"\le", r"\le": "<", ">": r"\ge", r"\ge": ">", "=": r"\ne", r"\ne": "="}
_SIGNS = {r"\le": "≤", r"\ge": "≥", r"\ne": "≠", r"\in": "∈"}
_GREEK = {"mu": "μ", "nu": "ν", "rho": "ρ", "alpha": "α", "beta": "β", "gamma": "γ", "epsilon": "ε", "ell": "ℓ", "theta": "θ", "tau": "τ"}
_GREEK |= {"lambda": "λ", "eta": "η", "Lambda": "Λ"}
_ROUNDED = {r"\lfloor": "⌊⌋", r"\lceil": "⌈⌉", "|": "||"}
_LOOSE = {"+": 1, "-": 1, "mod": 2, "*": 2, "/": 2}


class Slip(NamedTuple):
    """One way in which a formula can be wrong in one place.

    Attributes
    ----------
    kind : str
        The kind of slip: ``"sign"``, ``"term missing"``, ``"d_h for s_h"``, ...
    sentence : str
        What is wrong, in words.
    statement : int
        The number of the statement in the formula.
    path : tuple of int
        The way from the statement's value to the changed node: the number of a part at each step.
    change : Expression
        The node that takes its place.
    """

    kind: str
    sentence: str
    statement: int
    path: tuple[int, ...]
    change: Expression

    def planted(self, formula: Formula, mark: bool = False) -> Formula:
        """A copy of the formula with the slip in it; with `mark` the changed place is a ``marked`` node, which `mathml` paints."""
        statements = list(formula.statements)
        one = statements[self.statement]
        change = node("marked", self.change) if mark else self.change
        statements[self.statement] = one._replace(value=_replaced(one.value, self.path, change))
        changed = copy.copy(formula)
        changed.statements = statements
        changed.definitions = {s.name: s for s in statements if not s.updates}
        return changed


def slips(formula: Formula) -> Iterator[Slip]:
    """All slips of a formula, statement by statement."""
    names = {n.parts[0] for s in formula.statements for n in walk(s.value) if n.kind in ("name", "at")}
    for number, statement in enumerate(formula.statements):
        for path, place in _places(statement.value):
            for kind, sentence, change in _here(place, names):
                yield Slip(kind, sentence, number, path, change)


def _places(tree: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Expression]]:
    """Every node of a tree, and the way to it."""
    if isinstance(tree, Expression):
        yield path, tree
        tree, path = tree.parts, (*path, 1)
    if isinstance(tree, tuple):
        for k, part in enumerate(tree):
            yield from _places(part, (*path, k))


def _replaced(tree: Any, path: tuple[int, ...], change: Expression) -> Any:
    if not path:
        return change
    parts = [_replaced(part, path[1:], change) if k == path[0] else part for k, part in enumerate(tree)]
    return Expression(*parts) if isinstance(tree, Expression) else tuple(parts)


def _here(place: Expression, names: set[str]) -> Iterator[tuple[str, str, Expression]]:
    kind, parts = place
    if kind == "sum":
        over = f"the sum over {', '.join(parts[0])}" if parts[0] else f"the sum with {shown(parts[1])}"
        yield "last term only", f"only the last term of {over} is left (= stands where += belongs)", Expression("last", parts)
    if kind in ("+", "-") and len(parts) == 2:
        a, b = parts
        if b.kind == "sum":
            yield (
                "last term only",
                f"only the last term is left, and {shown(a)} is overwritten (= stands where += belongs)",
                node("last", *b.parts),
            )
        yield "sign", f"the term {shown(b)} has the wrong sign", Expression("-" if kind == "+" else "+", parts)
        yield "sign", f"the term {shown(a)} has the wrong sign", node("-", b, a) if kind == "+" else node("-", node("-", a), b)
        yield "term missing", f"the term {shown(b)} is missing", a
        yield "term missing", f"the term {shown(a)} is missing", b
    if kind == "-" and len(parts) == 1:
        yield "sign", f"the minus before {shown(parts[0])} is missing", parts[0]
    if kind == "*":
        yield "factor missing", f"the factor {shown(parts[1])} is missing", parts[0]
        yield "factor missing", f"the factor {shown(parts[0])} is missing", parts[1]
    if kind == "/":
        yield "mean forgotten", f"the division by {shown(parts[1])} is missing", parts[0]
        yield "upside down", f"the fraction {shown(place)} is upside down", node("/", *parts[::-1])
    if kind == "at" and len(parts[1]) > 1:
        for k in range(len(parts[1]) - 1):
            places = list(parts[1])
            places[k], places[k + 1] = places[k + 1], places[k]
            which = (
                "the first two indices" if k == 0 else "the last two indices" if k == len(places) - 2 else f"indices {k + 1} and {k + 2}"
            )
            yield "indices changed over", f"{which} of {_symbol(parts[0])} are exchanged", node("at", parts[0], tuple(places))
    if kind == "name" and _TWINS.get(parts[0]) in names:
        twin = _TWINS[parts[0]]
        yield f"{twin} for {parts[0]}", f"{_symbol(twin)} stands where {_symbol(parts[0])} belongs", node("name", twin)
    if kind == "chain":
        for k, relation in enumerate(parts[0]):
            if relation in _EDGES:
                changed = node("chain", (*parts[0][:k], _EDGES[relation], *parts[0][k + 1 :]), parts[1])
                yield "edge", f"{shown(changed)} stands where {shown(place)} belongs", changed
    if kind == "call" and parts[0] in (r"\lfloor", r"\lceil"):
        changed = node("call", r"\lceil" if parts[0] == r"\lfloor" else r"\lfloor", parts[1])
        yield "floor and ceiling", f"{shown(changed)} stands where {shown(place)} belongs", changed
    if kind in ("extreme", "choice"):
        other = r"\min" if parts[0] == r"\max" else r"\max"
        first = kind == "choice" and len(parts[1]) == 1 and parts[1][0].kind == "set"
        order = "of equal candidates the last one wins, not the first" if parts[0] == r"\min" else "of equal candidates the first wins"
        yield (
            "max and min",
            order if first else f"the {other[1:]} is taken, not the {parts[0][1:]}",
            Expression(kind, (other, *parts[1:])),
        )
    if kind == "number" and isfinite(float(parts[0])):
        yield "another number", f"{parts[0] + 1} stands where {parts[0]} belongs", node("number", parts[0] + 1)
    if kind == "^":
        yield "power missing", f"the power of {shown(place)} is missing", parts[0]
    if kind == "cases":
        for k, (value, conditions) in enumerate(parts[0][:-1]):
            missing = f"the case {shown(value)} if {shown(conditions)} is missing"
            yield "case missing", missing, node("cases", (*parts[0][:k], *parts[0][k + 1 :]))


def shown(tree: Any) -> str:
    """A tree in one line of plain text: ``w[o, c, u, v]``, ``i·s_h + u·d_h − p_h``."""
    if not isinstance(tree, Expression):
        return ", ".join(map(shown, tree))
    kind, parts = tree
    if kind == "at":
        return f"{_symbol(parts[0])}[{shown(parts[1])}]"
    if kind in ("name", "number", "option"):
        return _symbol(str(parts[0]).strip())
    if kind in _LOOSE and len(parts) == 2:
        tight = kind in "*/"
        a, b = (
            f"({shown(p)})" if _LOOSE.get(p.kind, 9) < _LOOSE[kind] or (p.kind in "*/" and kind == "/" and p is parts[1]) else shown(p)
            for p in parts
        )
        return f"{a}{'·' if kind == '*' else '/'}{b}" if tight else f"{a} {'−' if kind == '-' else kind} {b}"
    if kind == "-":
        return f"−{shown(parts[0])}"
    if kind == "^":
        return f"{shown(parts[0]) if parts[0].kind in ('name', 'at') else f'({shown(parts[0])})'}^{shown(parts[1])}"
    if kind == "call" and parts[0] in _ROUNDED:
        return f"{_ROUNDED[parts[0]][0]}{shown(parts[1])}{_ROUNDED[parts[0]][1]}"
    if kind in ("call", "defined"):
        return f"{_symbol(parts[0].removeprefix(chr(92)))}({shown(parts[1])})"
    if kind == "chain":
        return shown(parts[1][0]) + "".join(f" {_SIGNS.get(r, r)} {shown(t)}" for r, t in zip(parts[0], parts[1][1:], strict=True))
    if kind == "iverson":
        return f"[{shown(parts[0])}]"
    if kind in ("sum", "last"):
        return f"Σ({', '.join(parts[0]) or shown(parts[1])}) {shown(parts[2])}"
    if kind == "range":
        return f"Σ({parts[0]} = {shown(parts[1])} … {shown(parts[2])}) {shown(parts[3])}"
    if kind == "extreme":
        return f"{parts[0][1:]}({', '.join(parts[1])}) {shown(parts[3])}"
    if kind == "choice":
        return f"{parts[0][1:]}({shown(parts[1])})"
    if kind == "set":
        return f"{{{shown(parts[0])} : {shown(parts[1])}}}"
    if kind == "cases":
        return "{" + "; ".join(f"{shown(value)} if {shown(conditions)}" for value, conditions in parts[0]) + "}"
    return f"({shown(parts[0])})"  # a pair


def _symbol(name: str) -> str:
    base, _, index = name.partition("_")
    for accent, mark in (("bar", "\u0304"), ("hat", "\u0302")):
        if base.endswith(accent) and base != accent:
            base = _symbol(base.removesuffix(accent)) + mark
    return _GREEK.get(base, base) + (f"_{index}" if index else "")
