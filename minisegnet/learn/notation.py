r"""The notation of formulas: LaTeX is read into a tree.

Recursive descent: `Reader` has one method for each level, from a list of statements down to a name with indices. What the
notation means, and how a tree is computed, is in `formulas`.

>>> Reader(r"y_i = a\, x_i", set()).formula()[0][0].value
Expression(kind='*', parts=(Expression(kind='name', parts=('a',)), Expression(kind='at', parts=('x', (Expression(kind='name', parts=('i',)),)))))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf
from typing import Any, NamedTuple

_TOKEN = re.compile(r"\\text\{[^}]*\}|\\(?:begin|end)\{\w+\}|\\(?:[A-Za-z]+|.)|\d+|[A-Za-z]|\S")
_LAYOUT = {r"\;", r"\,", r"\:", r"\!", r"\ ", r"\quad", r"\qquad", r"\left", r"\right", r"\begin{aligned}", r"\end{aligned}"}
_LAYOUT |= {rf"\{size}{side}" for size in ("big", "Big", "bigg") for side in ("", "l", "r")}
RELATIONS = {"=", "<", ">", r"\le", r"\ge", r"\ne", r"\in"}
FUNCTIONS = {r"\exp", r"\log", r"\sqrt"}
_IF, _OUTSIDE = r"\text{ if }", r"\text{ outside}"
_CLOSING = {")", "]", "}", r"\}", r"\rfloor", r"\rceil", r"\end{cases}"}
_ENDS = {"", "+", "-", ",", ":", "&", r"\\", r"\leftarrow", _IF, _OUTSIDE, *_CLOSING, *RELATIONS}  # tokens that end a product


class FormulaError(ValueError):
    """A formula that cannot be parsed, or that uses a value that does not exist."""


class Expression(NamedTuple):
    """A node of the tree: its kind, and its parts."""

    kind: str
    parts: tuple


class Statement(NamedTuple):
    """``name_{letters} = value``; or, with `updates`, ``\\leftarrow``: an update that happens if the conditions `only_if` hold."""

    name: str
    letters: tuple[str, ...]
    value: Expression
    updates: bool = False
    only_if: tuple[Expression, ...] = ()


def node(kind: str, *parts: Any) -> Expression:
    return Expression(kind, parts)


class Reader:
    """Recursive descent, one method for each level of the notation: statements, conditions, sums, products, factors."""

    def __init__(self, tex: str, compounds: set[str]):
        tex = re.sub(r"\\\\\s*&\\quad", " ", tex)  # a continued line
        tex = re.sub(r"&(=|\\leftarrow)", r"\1", tex)
        tex = re.sub(r"\\text\{ if ([^}]+)\}", r"\\text{ if }\\text{\1}", tex)
        self.tokens = [t for t in _TOKEN.findall(tex) if t not in _LAYOUT]
        self.place = self.bars = 0
        self.compounds = compounds
        self.functions = {f"\\{name}" for name in re.findall(r"\\([A-Z][a-z]+)\(\w\)\s*=", tex)}

    def peek(self) -> str | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def next(self) -> str:
        if self.place >= len(self.tokens):
            raise FormulaError("the formula ends in the middle of an expression")
        self.place += 1
        return self.tokens[self.place - 1]

    def take(self, token: str) -> None:
        if self.peek() != token:
            raise FormulaError(f"expected {token} before {' '.join(self.tokens[self.place : self.place + 6]) or 'the end'}")
        self.place += 1

    def accept(self, token: str) -> bool:
        found = self.peek() == token
        self.place += found
        return found

    # --- statements

    def formula(self) -> tuple[list[Statement], set[str], dict[str, Any], dict[str, tuple[str, Expression]]]:
        """The statements; the arrays that are 0 outside; the value of an empty ``\\min`` or ``\\max``; the functions."""
        statements: list[Statement] = []
        outside: set[str] = set()
        empty: dict[str, Any] = {}
        functions: dict[str, tuple[str, Expression]] = {}
        while self.peek() is not None:
            if self.accept(",") or self.accept(r"\\"):
                continue
            if self.peek() in (r"\min", r"\max") and self.tokens[self.place + 1] == r"\varnothing":
                which = self.next()
                self.take(r"\varnothing")
                self.take("=")
                empty[which] = self.sum()
                continue
            if self.peek() in self.functions:
                name = self.next()
                self.take("(")
                parameter = self.next()
                self.take(")")
                self.take("=")
                functions[name] = (parameter, self.sum())
                continue
            if zeros := self.zeros():
                outside |= zeros
                continue
            name, letters = self.left_side()
            updates = self.accept(r"\leftarrow")
            if not updates:
                self.take("=")
            value = self.sum()
            only_if = (self.condition(),) if self.accept(_IF) else ()
            statements.append(Statement(name, letters, value, updates, only_if))
        return statements, outside, empty, functions

    def zeros(self) -> set[str]:
        """The names in ``g = x = 0 \\text{ outside}``. If something else follows, no names, and nothing is consumed."""
        end = self.place
        while self.tokens[end + 1 : end + 2] == ["="]:
            end += 2
        if self.tokens[end : end + 2] != ["0", _OUTSIDE]:
            return set()
        names = set(self.tokens[self.place : end : 2])
        self.place = end + 2
        return names

    def left_side(self) -> tuple[str, tuple[str, ...]]:
        """``y_{n,i}`` or ``∂L/∂y_{n,i}``, which is called ``ybar``."""
        gradient = self.accept(r"\frac")
        if gradient:
            for token in ("{", r"\partial", "L", "}", "{", r"\partial"):
                self.take(token)
        name = self.name() + ("bar" if gradient else "")
        letters: list[str] = []
        if self.accept("_"):
            if self.accept("{"):
                letters.append(self.next())
                while self.accept(","):
                    letters.append(self.next())
                self.take("}")
            else:
                letters.append(self.next())
        if gradient:
            self.take("}")
        return name, tuple(letters)

    def name(self) -> str:
        token = self.next()
        if token in (r"\bar", r"\hat"):
            braces = self.accept("{")
            name = self.name() + token[1:]
            if braces:
                self.take("}")
            return name
        if not re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+", token):
            raise FormulaError(f"expected a name, found {token} {' '.join(self.tokens[self.place : self.place + 5])}")
        return token.removeprefix("\\")

    # --- conditions, and what stands under a sum

    def condition(self) -> Expression:
        """``0 \\le k < H``, ``k \\in A_i``, ``\\text{option}``."""
        token = self.peek() or ""
        if token.startswith(r"\text{") and (self.place + 1 == len(self.tokens) or self.tokens[self.place + 1] not in RELATIONS):
            return node("option", self.next()[6:-1])
        terms, relations = [self.sum()], []
        while self.peek() in RELATIONS:
            relations.append(self.next())
            terms.append(self.sum())
        if not relations:
            raise FormulaError(f"expected a condition before {' '.join(self.tokens[self.place : self.place + 6])}")
        return node("chain", tuple(relations), tuple(terms))

    def conditions(self, end: str) -> tuple[Expression, ...]:
        found = [self.condition()]
        while self.peek() != end:
            if not (self.accept(",") or self.accept(r"\\")):
                raise FormulaError(f"expected , or {end} before {' '.join(self.tokens[self.place : self.place + 6])}")
            found.append(self.condition())
        self.take(end)
        return tuple(found)

    def under(self) -> tuple[tuple[str, ...], tuple[Expression, ...]]:
        """The letters and the conditions of ``_{u,v}``, ``_{i : k \\in A_i}``, ``_{\\substack{u, v \\\\ 0 \\le k < H}}``."""
        self.take("_")
        if not self.accept("{"):
            return (self.next(),), ()
        braces = self.accept(r"\substack") and self.accept("{")
        letters: list[str] = []
        conditions: list[Expression] = []
        while not self.accept("}"):
            if self.accept(",") or self.accept(":") or self.accept(r"\\"):
                continue
            alone = self.place + 1 < len(self.tokens) and self.tokens[self.place + 1] in (",", ":", "}", r"\\")
            if alone and re.fullmatch(r"[a-z]", self.peek() or ""):
                letters.append(self.next())
            else:
                conditions.append(self.condition())
        if braces:
            self.take("}")
        return tuple(letters), tuple(conditions)

    # --- expressions

    def sum(self) -> Expression:
        negative = self.accept("-")
        result = self.product()
        if negative:
            result = node("-", result)
        while self.peek() in ("+", "-"):
            result = node(self.next(), result, self.product())
        return result

    def product(self) -> Expression:
        result = self.factor()
        while not self.at_end():
            if self.accept("/"):
                result = node("/", result, self.factor())
            elif self.accept(r"\bmod"):
                result = node("mod", result, self.product())
            else:
                self.accept(r"\cdot")
                result = node("*", result, self.factor())
        return result

    def at_end(self) -> bool:
        """Whether a product ends here. A bar ends it if it closes an absolute value; otherwise it opens one."""
        token = self.peek() or ""
        return token in _ENDS or (token == "|" and self.bars > 0)

    def factor(self) -> Expression:
        base = self.base()
        while self.accept("^"):
            if self.accept("{"):
                base = node("^", base, self.sum())
                self.take("}")
            else:
                base = node("^", base, self.base())
        return base

    def base(self) -> Expression:
        token = self.peek() or ""
        if token.isdigit():
            return node("number", Fraction(self.next()))
        if token == r"\infty":
            self.next()
            return node("number", inf)
        if token.startswith(r"\text{"):
            return node("option", self.next()[6:-1])
        if token in FUNCTIONS:
            self.next()
            return node("call", token, self.braced() if token == r"\sqrt" else self.base())
        if token in self.functions:
            self.next()
            return node("defined", token, self.between("(", ")"))
        reading: dict[str, Callable[[], Expression]] = {
            r"\sum": self.summation,
            r"\max": self.extreme,
            r"\min": self.extreme,
            r"\frac": lambda: node("/", self.braced(), self.braced()),
            r"\begin{cases}": self.cases,
            r"\{": self.set,
            "[": lambda: node("iverson", self.conditions("]")),
            "(": self.parenthesis,
            r"\lfloor": lambda: node("call", r"\lfloor", self.until(r"\rfloor")),
            r"\lceil": lambda: node("call", r"\lceil", self.until(r"\rceil")),
            "|": self.size,
        }
        if token in reading:
            self.next()
            return reading[token]()
        return self.subscripted(self.name())

    def until(self, end: str) -> Expression:
        inner = self.sum()
        self.take(end)
        return inner

    def parenthesis(self) -> Expression:
        """``(a + b)``, or the pair ``(u, v)``."""
        parts = [self.sum()]
        while self.accept(","):
            parts.append(self.sum())
        self.take(")")
        return parts[0] if len(parts) == 1 else node("tuple", tuple(parts))

    def between(self, start: str, end: str) -> Expression:
        self.take(start)
        return self.until(end)

    def braced(self) -> Expression:
        return self.between("{", "}")

    def size(self) -> Expression:
        """``|a|`` of a number, ``|A|`` of a set."""
        self.bars += 1
        inner = self.until("|")
        self.bars -= 1
        return node("call", "|", inner)

    def subscripted(self, name: str) -> Expression:
        if not self.accept("_"):
            return node("name", name)
        if f"{name}_{self.peek()}" in self.compounds:  # s_h is a name, not an element of s
            return node("name", f"{name}_{self.next()}")
        if not self.accept("{"):
            number = (self.peek() or "").isdigit()
            return node("at", name, (node("number", Fraction(self.next())) if number else node("name", self.name()),))
        places = [self.sum()]
        while self.accept(","):
            places.append(self.sum())
        self.take("}")
        return node("at", name, tuple(places))

    def summation(self) -> Expression:
        start = self.place
        self.take("_")
        if self.accept("{") and re.fullmatch(r"[a-z]", self.peek() or "") and self.tokens[self.place + 1] == "=":  # \sum_{m = a}^{b}
            letter = self.next()
            self.take("=")
            first = self.sum()
            if self.accept("}") and self.accept("^"):
                return node("range", letter, first, self.braced(), self.product())
        self.place = start
        letters, conditions = self.under()
        return node("sum", letters, conditions, self.product())

    def extreme(self) -> Expression:
        """``\\max(a, b)``, ``\\max_u x_u``, ``\\max_u \\{ w_u x_u \\}``, ``\\min \\{ u : ... \\}``."""
        which = self.tokens[self.place - 1]
        if self.peek() == "_":
            letters, conditions = self.under()
            body = self.until(r"\}") if self.accept(r"\{") else self.product()
            return node("extreme", which, letters, conditions, body)
        if self.accept("("):
            values = [self.sum()]
            while self.accept(","):
                values.append(self.sum())
            self.take(")")
            return node("choice", which, tuple(values))
        return node("choice", which, (self.base(),))

    def set(self) -> Expression:
        """``\\{ head : conditions \\}``."""
        head = self.sum()
        self.take(":")
        return node("set", head, self.conditions(r"\}"))

    def cases(self) -> Expression:
        rows = []
        while not self.accept(r"\end{cases}"):
            value = self.sum()
            self.take("&")
            conditions = [self.condition()]
            while self.accept(","):
                conditions.append(self.condition())
            rows.append((value, tuple(conditions)))
            self.accept(r"\\")
        return node("cases", tuple(rows))


def walk(expression: Any) -> Iterator[Expression]:
    """Every node of a tree."""
    if isinstance(expression, Expression):
        yield expression
    if isinstance(expression, tuple):
        for part in expression.parts if isinstance(expression, Expression) else expression:
            yield from walk(part)
