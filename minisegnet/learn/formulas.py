r"""Formulas run: the LaTeX of an equation is itself a program, and this file computes it.

The registry prints a formula; the literal loops beside it compute one. Here the printed formula is parsed and evaluated
index by index, so that a test can compare it with the loops. A formula with stride and dilation swapped, a wrong sign of the
padding or a forgotten term then fails a test.

>>> f = Formula(r"y_i = \sum_u w_u\; x_{i + u},\quad x = 0 \text{ outside}", {"x": "input, (H,)", "w": "kernel, (U,)", "y": "output, (P,)"})
>>> f({"x": [1.0, 2.0, 3.0], "w": [1.0, 10.0]}, {}, {"y": (3,)})["y"]
array([21., 32.,  3.])
>>> compute("activation.relu", np.array([-1.0, 2.0]))
(array([0., 2.]),)

What the notation means
-----------------------
A formula is a list of statements, separated by commas.

=====================================  =====================================================================================
``y_{n,i} = expression``               the value for each n and i; the right-hand side may use statements that come later
``k = i s_h + u``                      an abbreviation; it is evaluated where it is used, with the letters bound there
``\theta_{k,i} \leftarrow expression``  an update in place; updates take effect in the order in which they stand
``x = 0 \text{ outside}``              reading x outside its array gives 0; without this line it is an error
``\min \varnothing = -1``              the least element of an empty set (``\max`` likewise)
``\Lambda(t) = expression``            a function of one argument
=====================================  =====================================================================================

An *index letter* runs over the axis that it indexes: in ``w_{o,c}`` with w of shape (O, C) the letter o takes the values
0 to O − 1. ``\sum`` and ``\max`` run over the letters under them. If there are only conditions under them, they run over the
letters of the conditions that have no value yet. A set ``\{iQ + j : ...\}`` binds the letters of its head. ``[...]`` is 1 if the
condition holds and 0 if not. ``\text{mean}`` in a condition is true if an option is on or has that value; elsewhere it is the
option's value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from minisegnet_kernels import registry

from .notation import Expression, FormulaError, Reader, Statement, walk
from .symbols import option_values, ranges, sizes

_RELATIONS = {
    **{"=": operator.eq, "<": operator.lt, ">": operator.gt, r"\le": operator.le, r"\ge": operator.ge, r"\ne": operator.ne},
    r"\in": lambda a, b: a in b,
}
_FUNCTIONS = {r"\exp": math.exp, r"\log": math.log, r"\sqrt": math.sqrt, r"\lfloor": math.floor, r"\lceil": math.ceil}


class Formula:
    """A formula that can be computed.

    Parameters
    ----------
    tex : str
        LaTeX in the notation above.
    symbols : mapping of str to str
        What each symbol means. A shape in it, such as ``(N, C, H, W)``, names the sizes of an array's axes, and ``option NAME`` at its
        beginning binds the symbol to an option.

    Raises
    ------
    FormulaError
        If the LaTeX is not in the notation.
    """

    def __init__(self, tex: str, symbols: Mapping[str, str]):
        self.tex, self.symbols = tex, dict(symbols)
        compounds = {f"{name[:-1]}{side}" for name in symbols if "_" in name for side in (name[-1], "w")}
        statements, self.outside, self.empty, self.functions = Reader(tex, compounds).formula()
        self.statements = statements
        self.definitions = {s.name: s for s in statements if not s.updates}

    def names(self) -> set[str]:
        """Every name in the formula: arrays, options, sizes, index letters, abbreviations."""
        found = {name for s in self.statements for name in (s.name, *s.letters)} | self.outside
        found |= {function.removeprefix("\\") for function in self.functions}
        for expression in [*(s.value for s in self.statements), *(body for _, body in self.functions.values())]:
            found |= {node.parts[0] for node in walk(expression) if node.kind in ("name", "at")}
        return found - {parameter for parameter, _ in self.functions.values()}

    def element(self, name: str, place: tuple[int, ...], *given: Any) -> Any:
        """One value of one symbol; `given` are the arguments of a call."""
        return _Run(self, *given).symbol(name, dict(zip(self.definitions[name].letters, place, strict=True)))

    def __call__(self, arrays: Mapping[str, Any], options: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Compute it.

        Parameters
        ----------
        arrays : mapping of str to array, or to list of arrays
            The values of the symbols that are given.
        options : mapping of str to object
            The options of the equation by name, such as ``stride=(1, 1)``.
        shapes : mapping of str to tuple of int
            The shape of each symbol to compute. Symbols that are updated in place need no entry.

        Returns
        -------
        dict of str to array
            The symbols of `shapes`, and the arrays that were updated, as float64.

        Raises
        ------
        FormulaError
            If a symbol has no value, if an index letter has two different ranges, or if an index lies outside an array for which
            the formula does not say that it is 0 outside.
        """
        return _Run(self, arrays, options, shapes).results()


@cache
def formula(id: str) -> Formula:
    """The parsed formula of an equation."""
    entry = registry.get(id)
    return Formula(entry.tex, entry.symbols)


def compute(id: str, *arrays: Any, **options: Any) -> tuple:
    """Compute an equation from its LaTeX. It is called like the literal loops (``registry.get(id).oracle``).

    Parameters
    ----------
    id : str
        Such as ``"conv2d.forward"``.
    *arrays
        The arguments of the equation, in order.
    **options
        Its options, in the form that the loops take: pairs, and padding for each side.

    Returns
    -------
    tuple of array
        The results, in float64. An equation that updates arguments in place leaves them unchanged here; their new values are
        returned in the order of the arguments.

    Raises
    ------
    FormulaError
        If the formula cannot be computed.
    """
    entry = registry.get(id)
    read = formula(id)
    shapes = [shape for shape, _ in entry.results(*arrays, **options)]
    names = entry.returns.split() or [read.statements[0].name]
    values = read(dict(zip(entry.arguments, arrays, strict=True)), options, dict(zip(names, shapes, strict=False)))
    if shapes:
        return tuple(values[name] for name in names)
    return tuple(values.get(name, given) for name, given in zip(entry.arguments, arrays, strict=True))


class _Run:
    """One evaluation: the values of all symbols, and the ranges of all letters."""

    def __init__(self, formula: Formula, arrays: Mapping[str, Any], options: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]):
        self.formula, self.options, self.shapes = formula, options, shapes
        self.values: dict[str, Any] = {name: _own(a) for name, a in arrays.items()}
        self.values |= option_values(formula.symbols, options)
        every = {name: a.shape for name, a in self.values.items() if isinstance(a, np.ndarray)} | dict(shapes)
        self.values |= sizes(formula.symbols, every) | dict(zip("UV", options.get("kernel_size", ()), strict=False))
        self.ranges = ranges(formula.statements, every, self.values)
        self.known: dict[tuple, Any] = {}  # values of definitions, until the next update in place
        self.closures: dict[str, tuple[str, ...]] = {}
        self.letters: dict[Expression, dict[str, None]] = {}

    def results(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for statement in self.formula.statements:
            if statement.updates and self.holds(statement.only_if, {}):
                made[statement.name] = self.update(statement)
        for name, shape in self.shapes.items():
            letters = self.formula.definitions[name].letters
            if letters:
                places = np.ndindex(*shape) if len(letters) == len(shape) else np.ndindex(math.prod(shape))
                made[name] = np.array([self.symbol(name, dict(zip(letters, at, strict=True))) for at in places], float).reshape(shape)
            else:
                made[name] = np.broadcast_to(np.asarray(self.symbol(name, {}), float), shape)
        return made

    def update(self, statement: Statement) -> list[np.ndarray]:
        arrays = self.values[statement.name]
        number, element = statement.letters
        new = [
            np.array([self.value(statement.value, {number: k, element: i}) for i in range(a.size)], float).reshape(a.shape)
            for k, a in enumerate(arrays)
        ]
        self.values[statement.name] = new
        self.known.clear()
        return new

    def option(self, text: str) -> Any:
        """``\\text{...}``: True for ``otherwise``; the value of an option (0 for None); or whether an option has the value `text`."""
        key = text.strip().lower().replace(" ", "_")
        if key == "otherwise":
            return True
        if key in self.options:
            return 0 if self.options[key] is None else self.options[key]
        choices = [v for v in self.options.values() if isinstance(v, str)]
        if not choices:
            raise FormulaError(f"no option {text!r}; there are {', '.join(self.options) or 'none'}")
        return key in choices

    def symbol(self, name: str, at: dict[str, int]) -> Any:
        """The value of a symbol: given, or computed from the statement that defines it, with the letters bound in `at`."""
        if name in at:
            return at[name]
        if name in self.values:
            return self.values[name]
        if name not in self.formula.definitions:
            raise FormulaError(f"{name} has no value: it is neither given nor an option, a size or an index letter that is bound here")
        statement = self.formula.definitions[name]
        if any(letter not in at for letter in statement.letters):  # the whole array
            places = product(*(range(self.ranges[letter]) for letter in statement.letters))
            values = [self.symbol(name, at | dict(zip(statement.letters, place, strict=True))) for place in places]
            return np.reshape(values, [self.ranges[letter] for letter in statement.letters])
        key = (name, *(at.get(letter) for letter in self.closure(name)))
        if key not in self.known:
            self.known[key] = self.value(statement.value, at)
        return self.known[key]

    def closure(self, name: str) -> tuple[str, ...]:
        """The letters on which a definition depends, directly or through other definitions."""
        if name not in self.closures:
            seen, queue = {name}, [name]
            letters: set[str] = set()
            while queue:
                statement = self.formula.definitions[queue.pop()]
                letters |= set(statement.letters)
                for node in walk(statement.value):
                    if node.kind in ("name", "at"):
                        letters |= {node.parts[0]} & self.ranges.keys()
                        queue += [n for n in {node.parts[0]} & self.formula.definitions.keys() if n not in seen]
                        seen |= set(queue)
            self.closures[name] = tuple(sorted(letters))
        return self.closures[name]

    # --- the value of a node of the tree, given the bound letters

    def value(self, node: Expression, at: dict[str, int]) -> Any:
        return getattr(self, _METHODS[node.kind])(*node.parts, at)

    def number(self, number: Any, at: dict[str, int]) -> Any:
        return number

    def text(self, text: str, at: dict[str, int]) -> Any:
        return self.option(text)

    def at(self, name: str, places: tuple[Expression, ...], at: dict[str, int]) -> Any:
        index = [self.whole(self.value(place, at), name) for place in places]
        if name not in self.values:
            letters = self.formula.definitions[name].letters if name in self.formula.definitions else ()
            if len(letters) != len(index):
                raise FormulaError(f"{name} has {len(index)} indices here, and {len(letters)} where it is defined")
            return self.symbol(name, at | dict(zip(letters, index, strict=True)))
        array = self.values[name]
        if isinstance(array, list):
            return array[index[0]].flat[index[1]].item()
        if len(index) == 1 and array.ndim != 1:  # of any shape: elements are counted
            array = array.reshape(-1)
        if len(index) != array.ndim:
            raise FormulaError(f"{name} has {array.ndim} axes, and {len(index)} indices")
        if all(0 <= i < size for i, size in zip(index, array.shape, strict=True)):
            return array[tuple(index)].item()
        if name in self.formula.outside:
            return 0
        raise FormulaError(f"{name}{index} lies outside of its shape {array.shape}, and the formula does not say that it is 0 there")

    def whole(self, value: Any, name: str) -> int:
        if value != int(value):
            raise FormulaError(f"an index of {name} is {value}: indices are whole numbers")
        return int(value)

    def negative(self, a: Expression, *rest: Any) -> Any:
        return -self.value(a, rest[0]) if len(rest) == 1 else self.value(a, rest[1]) - self.value(rest[0], rest[1])

    def plus(self, a: Expression, b: Expression, at: dict[str, int]) -> Any:
        return self.value(a, at) + self.value(b, at)

    def times(self, a: Expression, b: Expression, at: dict[str, int]) -> Any:
        left = self.value(a, at)
        return left if isinstance(left, bool | int | Fraction) and left == 0 else left * self.value(b, at)  # 0 · …: b is not evaluated

    def over(self, a: Expression, b: Expression, at: dict[str, int]) -> Any:
        left, right = self.value(a, at), self.value(b, at)
        exact = isinstance(left, int | Fraction) and isinstance(right, int | Fraction)
        return Fraction(left) / Fraction(right) if exact else left / right

    def modulo(self, a: Expression, b: Expression, at: dict[str, int]) -> Any:
        return self.value(a, at) % self.value(b, at)

    def power(self, a: Expression, b: Expression, at: dict[str, int]) -> Any:
        left, right = self.value(a, at), self.value(b, at)
        return left**right if isinstance(right, int) or right == int(right) else float(left) ** float(right)

    def pair(self, parts: tuple[Expression, ...], at: dict[str, int]) -> tuple:
        return tuple(self.value(part, at) for part in parts)

    def call(self, function: str, a: Expression, at: dict[str, int]) -> Any:
        value = self.value(a, at)
        if function == "|":
            return len(value) if isinstance(value, list) else abs(value)
        return _FUNCTIONS[function](value)

    def defined(self, function: str, a: Expression, at: dict[str, int]) -> Any:
        parameter, body = self.formula.functions[function]
        return self.value(body, at | {parameter: self.value(a, at)})

    def holds(self, conditions: tuple[Expression, ...], at: dict[str, int]) -> bool:
        return all(self.value(condition, at) for condition in conditions)

    def chain(self, relations: tuple[str, ...], terms: tuple[Expression, ...], at: dict[str, int]) -> bool:
        left = self.value(terms[0], at)
        for relation, term in zip(relations, terms[1:], strict=True):
            right = self.value(term, at)
            if not _RELATIONS[relation](left, right):
                return False
            left = right
        return True

    def iverson(self, conditions: tuple[Expression, ...], at: dict[str, int]) -> int:
        return int(self.holds(conditions, at))

    def bound(self, letters: tuple[str, ...], conditions: tuple[Expression, ...], at: dict[str, int]) -> Iterator[dict[str, int]]:
        """`at` with every combination of the letters for which the conditions hold; each is tested as soon as it can be."""
        letters = letters or tuple(dict.fromkeys(letter for c in conditions for letter in self.free(c) if letter not in at))
        if not letters:
            if self.holds(conditions, at):
                yield at
            return
        first, *others = letters
        now = tuple(c for c in conditions if not self.free(c).keys() & set(others))
        later = tuple(c for c in conditions if c not in now)
        for index in range(self.ranges[first]):
            inner = at | {first: index}
            if self.holds(now, inner):
                yield from self.bound(tuple(others), later, inner) if others else (inner,)

    def free(self, expression: Expression) -> dict[str, None]:
        """The index letters in an expression, in order, including those inside abbreviations."""
        if expression not in self.letters:
            names = [node.parts[0] for node in walk(expression) if node.kind in ("name", "at")]
            found = [[n] if n not in self.formula.definitions else self.closure(n) for n in names]
            self.letters[expression] = dict.fromkeys(letter for some in found for letter in some if letter in self.ranges)
        return self.letters[expression]

    def total(self, letters: tuple[str, ...], conditions: tuple[Expression, ...], body: Expression, at: dict[str, int]) -> Any:
        return sum(self.value(body, inner) for inner in self.bound(letters, conditions, at))

    def last(self, letters: tuple[str, ...], conditions: tuple[Expression, ...], body: Expression, at: dict[str, int]) -> Any:
        """The last term of a sum: what remains if a loop writes = for +=."""
        return self.value(body, [at, *self.bound(letters, conditions, at)][-1])

    def ranging(self, letter: str, first: Expression, last: Expression, body: Expression, at: dict[str, int]) -> Any:
        start, end = self.value(first, at), self.value(last, at)
        return sum(self.value(body, at | {letter: m}) for m in range(int(start), int(end) + 1))

    def extreme(
        self, which: str, letters: tuple[str, ...], conditions: tuple[Expression, ...], body: Expression, at: dict[str, int]
    ) -> Any:
        return self.choose(which, [self.value(body, inner) for inner in self.bound(letters, conditions, at)], at)

    def choice(self, which: str, values: tuple[Expression, ...], at: dict[str, int]) -> Any:
        found = [self.value(v, at) for v in values]
        return self.choose(which, found[0] if len(found) == 1 and isinstance(found[0], list) else found, at)

    def choose(self, which: str, values: list, at: dict[str, int]) -> Any:
        if values:
            return max(values) if which == r"\max" else min(values)
        if which not in self.formula.empty:
            raise FormulaError(f"{which} of no value, and the formula does not say what that is")
        return self.value(self.formula.empty[which], at)

    def set(self, head: Expression, conditions: tuple[Expression, ...], at: dict[str, int]) -> list:
        letters = tuple(sorted({node.parts[0] for node in walk(head) if node.kind == "name"} & self.ranges.keys()))
        return [self.value(head, inner) for inner in self.bound(letters, conditions, at)]

    def cases(self, rows: tuple[tuple[Expression, tuple[Expression, ...]], ...], at: dict[str, int]) -> Any:
        for value, conditions in rows:
            if self.holds(conditions, at):
                return self.value(value, at)
        raise FormulaError("none of the cases holds")


_METHODS = {
    **{"number": "number", "name": "symbol", "option": "text", "at": "at", "+": "plus", "-": "negative", "*": "times", "/": "over"},
    **{"mod": "modulo", "^": "power", "tuple": "pair", "call": "call", "defined": "defined", "chain": "chain", "iverson": "iverson"},
    **{"sum": "total", "last": "last", "range": "ranging", "extreme": "extreme", "choice": "choice", "set": "set", "cases": "cases"},
}


def _own(array: Any) -> Any:
    """A copy in float64 or integers. For a list, a list of such copies."""
    return [np.array(a) for a in array] if isinstance(array, list) and array and hasattr(array[0], "shape") else np.array(array)
