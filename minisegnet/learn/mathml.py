r"""A formula's tree as MathML, which browsers show without a library and screen readers speak; and as lists, for JSON.

Each term carries its name in ``data-term``, so that a page can tie it to a line and to a cell. What a page shows and what it computes are
then the same tree.

>>> from .notation import Reader
>>> statements = Reader(r"y_i = 2 x_i", set()).formula()[0]
>>> statement(statements[0])[6:-7]
'<mrow><msub data-term="y"><mi>y</mi><mi data-term="i">i</mi></msub><mo>=</mo><mn>2</mn><msub data-term="x"><mi>x</mi><mi data-term="i">i</mi></msub></mrow>'
>>> statement(Reader(r"y_i = a + \sum_u x_u", set()).formula()[0][0]).count("<math>")  # it may continue on a second line before the +
2
>>> tree(statements[0].value)
['*', ['number', 2], ['at', 'x', [['name', 'i']]]]
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf
from typing import Any

from .formulas import Formula
from .notation import Expression, Statement

_GREEK = {"mu": "μ", "nu": "ν", "rho": "ρ", "alpha": "α", "beta": "β", "gamma": "γ", "epsilon": "ε", "ell": "ℓ", "theta": "θ", "tau": "τ"}
_GREEK |= {"lambda": "λ", "eta": "η", "Lambda": "Λ", "xi": "ξ", "delta": "δ", "kappa": "κ"}
_SIGNS = {r"\le": "≤", r"\ge": "≥", r"\ne": "≠", r"\in": "∈", "<": "&lt;", ">": "&gt;", "=": "="}
_STRENGTH = {"+": 1, "-": 1, "mod": 2, "*": 2, "/": 2, "sum": 2, "range": 2, "^": 3}


def formula(read: Formula) -> list[str]:
    """The ``<math>`` elements of a formula's statements, in order; then the arrays that are 0 outside, and the value of an empty extreme."""
    made = [statement(s) for s in read.statements]
    made += [_math(_row(_name(name), "<mo>=</mo><mn>0</mn><mtext>&nbsp;outside</mtext>")) for name in sorted(read.outside)]
    made += [_math(_row(f"<mo>{w[1:]}</mo><mi>∅</mi><mo>=</mo>", _show(value))) for w, value in read.empty.items()]
    return made


def statement(s: Statement) -> str:
    """One statement, as ``<math>`` elements between which a line may end; browsers do not break a line inside one."""
    left = _at(s.name, "".join(_separated([_name(letter) for letter in s.letters]))) if s.letters else _name(s.name)
    first, *others = _pieces(s.value)
    return _math(_row(left, "<mo>←</mo>" if s.updates else "<mo>=</mo>", first)) + "".join(_math(_row(piece)) for piece in others)


def _pieces(value: Expression) -> list[str]:
    """A right-hand side, divided before signs, before a sum, and between the factors after the sum; otherwise it is one piece."""
    kind, parts = value
    if kind == "+" or (kind == "-" and len(parts) == 2):
        sign = "+" if kind == "+" else "−"
        behind = _pieces(parts[1]) if kind == "+" or _STRENGTH.get(parts[1].kind, 9) > 1 else [_inside(parts[1], 2)]
        return [*_pieces(parts[0]), f'<mo form="infix">{sign}</mo>{behind[0]}', *behind[1:]]
    if kind == "-" and _STRENGTH.get(parts[0].kind, 9) > 1:
        first, *others = _pieces(parts[0])
        return [f'<mo form="prefix">−</mo>{first}', *others]
    if kind == "*" and _STRENGTH.get(parts[0].kind, 9) > 1 and parts[1].kind in ("sum", "range"):
        return [*_pieces(parts[0]), *_pieces(parts[1])]
    if kind == "*" and parts[1].kind in ("+", "-"):
        inner = _pieces(parts[1])
        inner[0] = f'{_inside(parts[0], 2)}<mo stretchy="false" form="prefix">(</mo>{inner[0]}'
        inner[-1] += '<mo stretchy="false" form="postfix">)</mo>'
        return inner
    if kind == "sum":
        letters, conditions, body = parts
        behind = _factors(body) if body.kind == "*" else _pieces(body) if body.kind == "sum" else [_inside(body, 2)]
        sign = _under("∑", letters, conditions)
        return [sign, *behind] if body.kind == "sum" else [sign + behind[0], *behind[1:]]
    if kind == "set":
        head, conditions = parts
        shown = [_show(c) for c in conditions]
        return _set([_show(head), *shown])
    if kind == "choice" and len(parts[1]) == 1 and parts[1][0].kind == "set":
        first, *others = _pieces(parts[1][0])
        return [f"<mo>{parts[0][1:]}</mo>{first}", *others]
    return [_show(value)]


def _set(shown: list[str]) -> list[str]:
    """``{ head : conditions }``, which may be divided after each comma."""
    head, *conditions = shown
    pieces = [f'<mo stretchy="false">{{</mo>{head}<mo>:</mo>{conditions[0]}', *conditions[1:]]
    return [
        piece + ('<mo separator="true">,</mo>' if k + 1 < len(pieces) else '<mo stretchy="false" form="postfix">}</mo>')
        for k, piece in enumerate(pieces)
    ]


def _factors(product: Expression) -> list[str]:
    """The factors of a product, each a piece."""
    a, b = product.parts
    dot = "<mo>·</mo>" if b.kind == "number" else ""
    return [*(_factors(a) if a.kind == "*" else [_inside(a, 2)]), dot + _inside(b, 2)]


def tree(expression: Any) -> Any:
    """A tree as nested lists of strings and numbers, infinity as "inf"."""
    if isinstance(expression, Expression):
        return [expression.kind, *(tree(part) for part in expression.parts)]
    if isinstance(expression, tuple):
        return [tree(part) for part in expression]
    if isinstance(expression, Fraction):
        return int(expression) if expression.denominator == 1 else float(expression)
    return "inf" if expression == inf else expression


def _math(inner: str) -> str:
    return f"<math>{inner}</math>"


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _separated(parts: list[str]) -> list[str]:
    return [part if k == 0 else f'<mo separator="true">,</mo>{part}' for k, part in enumerate(parts)]


def _letter(name: str) -> str:
    """A letter; an accent is a combining character, which every font puts in its place, while ``<mover>`` needs a mathematical font."""
    for accent, mark in (("bar", "\u0304"), ("hat", "\u0302")):
        if name.endswith(accent):
            letter = name.removesuffix(accent)
            return f'<mi style="font-style: italic">{_GREEK.get(letter, letter)}{mark}</mi>'
    return f"<mi>{_GREEK.get(name, name)}</mi>"


def _name(name: str) -> str:
    base, _, index = name.partition("_")
    shown = f"<msub>{_letter(base)}<mi>{index}</mi></msub>" if index else _letter(base)
    return shown.replace(">", f' data-term="{name}">', 1)


def _at(name: str, index: str) -> str:
    return f'<msub data-term="{name}">{_letter(name)}{index if index.count("data-term") == 1 else _row(index)}</msub>'


def _inside(node: Expression, strength: int) -> str:
    """The node, in parentheses if it binds less tightly than `strength`."""
    shown = _show(node)
    return _row("<mo>(</mo>", shown, "<mo>)</mo>") if _STRENGTH.get(node.kind, 9) < strength else shown


def _show(node: Expression) -> str:
    kind, parts = node
    return _SHOWN[kind](*parts)


def _minus(a: Expression, b: Expression | None = None) -> str:
    return f"<mo>−</mo>{_inside(a, 2)}" if b is None else f"{_show(a)}<mo>−</mo>{_inside(b, 2)}"


def _chain(relations: tuple[str, ...], terms: tuple[Expression, ...]) -> str:
    return _show(terms[0]) + "".join(f"<mo>{_SIGNS[r]}</mo>{_show(t)}" for r, t in zip(relations, terms[1:], strict=True))


def _conditions(conditions: tuple[Expression, ...]) -> str:
    return "".join(_separated([_show(c) for c in conditions]))


def _under(sign: str, letters: tuple[str, ...], conditions: tuple[Expression, ...]) -> str:
    rows = [_row(*_separated([_name(letter) for letter in letters]))] if letters else []
    rows += [_row(_show(condition)) for condition in conditions]
    below = rows[0] if len(rows) == 1 else "<mtable>" + "".join(f"<mtr><mtd>{row}</mtd></mtr>" for row in rows) + "</mtable>"
    kind = ' class="big"' if sign == "∑" else ""
    return f'<munder><mo movablelimits="false"{kind}>{sign}</mo>{below}</munder>'


def _extreme(which: str, letters: tuple[str, ...], conditions: tuple[Expression, ...], body: Expression) -> str:
    shown = _show(body)
    braced = _row("<mo>{</mo>", shown, "<mo>}</mo>") if body.kind in "+-" else shown
    return _under(which[1:], letters, conditions) + braced


def _choice(which: str, values: tuple[Expression, ...]) -> str:
    shown = "".join(_separated([_show(value) for value in values]))
    return f"<mo>{which[1:]}</mo>" + (shown if len(values) == 1 else _row("<mo>(</mo>", shown, "<mo>)</mo>"))


def _cases(rows: tuple[tuple[Expression, tuple[Expression, ...]], ...]) -> str:
    lines = "".join(f"<mtr><mtd>{_row(_show(value))}</mtd><mtd>{_row(_conditions(conditions))}</mtd></mtr>" for value, conditions in rows)
    return f'<mrow><mo fence="true" form="prefix" class="brace">{{</mo><mtable columnalign="left">{lines}</mtable></mrow>'


def _call(function: str, a: Expression) -> str:
    pairs = {r"\lfloor": "⌊⌋", r"\lceil": "⌈⌉", "|": "||"}
    if function in pairs:
        return _row(f"<mo>{pairs[function][0]}</mo>", _show(a), f"<mo>{pairs[function][1]}</mo>")
    if function == r"\sqrt":
        return f"<msqrt>{_show(a)}</msqrt>"
    return _row(f"<mi>{function[1:]}</mi>", "<mo>(</mo>", _show(a), "<mo>)</mo>")


def _text(text: str) -> str:
    name = text.strip().replace(" ", "_")
    return f'<mtext data-term="{name}">{text.strip()}</mtext>'


_SHOWN: dict[str, Callable[..., str]] = {
    "number": lambda value: "<mi>∞</mi>" if value == inf else f"<mn>{value}</mn>",
    "name": _name,
    "option": _text,
    "at": lambda name, places: _at(name, "".join(_separated([_show(place) for place in places]))),
    "+": lambda a, b: f"{_show(a)}<mo>+</mo>{_show(b)}",
    "-": _minus,
    "*": lambda a, b: _inside(a, 2) + ("<mo>·</mo>" if b.kind == "number" else "") + _inside(b, 2),
    "/": lambda a, b: f'{_inside(a, 2)}<mo lspace="0" rspace="0">/</mo>{_inside(b, 3)}',
    "mod": lambda a, b: f"{_inside(a, 2)}<mo>mod</mo>{_inside(b, 2)}",
    "^": lambda a, b: f"<msup>{_row(_inside(a, 4))}{_row(_show(b))}</msup>",
    "tuple": lambda parts: _row("<mo>(</mo>", *_separated([_show(part) for part in parts]), "<mo>)</mo>"),
    "call": _call,
    "defined": lambda function, a: _row(_name(function[1:]), "<mo>(</mo>", _show(a), "<mo>)</mo>"),
    "chain": _chain,
    "iverson": lambda conditions: _row("<mo>[</mo>", _conditions(conditions), "<mo>]</mo>"),
    "sum": lambda letters, conditions, body: _under("∑", letters, conditions) + _inside(body, 2),
    "last": lambda letters, conditions, body: _under("last", letters, conditions) + _inside(body, 2),
    "marked": lambda inner: f'<mrow class="marked" style="color:#b2182b;font-weight:bold">{_show(inner)}</mrow>',
    "range": lambda letter, first, last, body: (
        f'<munderover><mo movablelimits="false" class="big">∑</mo>{_row(_name(letter), "<mo>=</mo>", _show(first))}{_row(_show(last))}</munderover>{_inside(body, 2)}'
    ),
    "extreme": _extreme,
    "choice": _choice,
    "set": lambda head, conditions: _row("<mo>{</mo>", _show(head), "<mo>:</mo>", _conditions(conditions), "<mo>}</mo>"),
    "cases": _cases,
}
