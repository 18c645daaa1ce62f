"""Which lines of a program compute which term of a formula.

The name is the mapping: an array, an abbreviation or an option has the same name in the formula and in every program. Where a program
computes a term under no name of its own, a comment says so: ``#: k, l`` at the end of a line (``//: k, l`` in CUDA C++).

>>> from minisegnet_kernels import registry
>>> lines = program(registry.get("conv2d.forward"), "formula")[0].lines
>>> [line.text.strip() for line in lines if {"w", "x"} <= set(line.terms)][-1]
'y[n, o, i, j] += w[o, c, u, v] * x[n, o * G // O * (C // G) + c, k, l]'
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minisegnet_kernels import registry

from .formulas import formula
from .notation import Expression, walk
from .symbols import axes

_TAG = re.compile(r"(?:#|//): ([\w, ]+)$")
_FUNCTION = re.compile(r"^def (\w+)", re.M)


@dataclass(frozen=True)
class Line:
    """A line of a program.

    Attributes
    ----------
    number : int
        In the file.
    text : str
        Without a tag.
    terms : tuple of str
        The terms of the formula that the line names.
    step : bool
        Whether it computes one term of the sum, or one candidate of the maximum. It indexes all arrays that take part.
    signature : bool
        Whether it declares the function.
    """

    number: int
    text: str
    terms: tuple[str, ...]
    step: bool
    signature: bool


@dataclass(frozen=True)
class Function:
    """A function of a program; `plain` if a reader needs it to find every term of the formula."""

    name: str
    lines: tuple[Line, ...]
    plain: bool

    @property
    def terms(self) -> set[str]:
        """The terms that its body shows."""
        return {term for line in self.lines if not line.signature for term in line.terms}


def terms(equation: registry.Equation) -> dict[str, set[str]]:
    """The terms of a formula, each with the names that it has in programs.

    Terms are the arrays, the abbreviations and the options. Index letters and sizes are left out, because they stand in nearly every line.

    Parameters
    ----------
    equation : Equation

    Returns
    -------
    dict of str to set of str
        ``{"x": {"x"}, "s_h": {"sh", "stride"}, ...}``, in the order in which the formula names them.
    """
    read = formula(equation.id)
    sizes = {letter for text in equation.symbols.values() for letter in re.findall(r"\b[A-Z]\b", text)}
    nodes = [n for statement in read.statements for n in walk(statement.value)]
    names = [statement.name for statement in read.statements]
    names += [str(n.parts[0]) for n in nodes if n.kind in ("name", "at")]
    names = [name for name in names if name in read.definitions or name in equation.arguments or _option(equation, name)]
    names += [n.parts[0].strip().replace(" ", "_") for n in nodes if n.kind == "option" and n.parts[0].strip() != "otherwise"]
    return {name: _spellings(equation, name) for name in dict.fromkeys(names) if name not in sizes - {"G"} - read.definitions.keys()}


def _option(equation: registry.Equation, name: str) -> str:
    """The option that a symbol stands for: ``stride`` for s_h and s_w."""
    described = equation.symbols.get(name) or equation.symbols.get(f"{name.partition('_')[0]}_h", "")
    match = re.match(r"option (\w+)", described)
    return match[1] if match else ""


def _spellings(equation: registry.Equation, name: str) -> set[str]:
    """``s_h`` is written sh or stride."""
    return {name, name.replace("_", ""), _option(equation, name)} - {""}


def factors(equation: registry.Equation) -> set[str]:
    """The arrays that meet in one term of the sum, or in one candidate of the maximum: what a step through the formula multiplies or compares."""
    read = formula(equation.id)
    inner = [
        node for s in read.statements for outer in walk(s.value) if outer.kind in ("sum", "range", "extreme", "set") for node in walk(outer)
    ]
    products = [_arrays(node, equation) for node in inner if node.kind == "*"]
    found = max(products, key=len, default=set()) or {name for node in inner for name in _arrays(node, equation)}
    if found:
        return found
    # Without a sum the whole formula is one step. It contains all arrays except those with one number per channel.
    whole = {name for s in read.statements for name in _arrays(s.value, equation)}
    most = max((len(axes(equation.symbols[name])) for name in whole), default=0)
    return {name for name in whole if len(axes(equation.symbols[name])) == most}


def _arrays(node: Expression, equation: registry.Equation) -> set[str]:
    """The arguments that are indexed in an expression, except those that only decide whether it counts."""
    found = {n.parts[0] for n in walk(node) if n.kind == "at"}
    found -= {n.parts[0] for test in walk(node) if test.kind == "iverson" for n in walk(test) if n.kind == "at"}
    return found & set(equation.arguments)


def program(equation: registry.Equation, view: str) -> list[Function]:
    """The functions of a view, each line with its terms, the plain ones marked.

    The function with the equation's name is plain. Then the helper that shows most of the missing terms becomes plain, and so on, until
    every term has a line in a body and one line is a step. The other functions make the program fast or serve another case.

    Parameters
    ----------
    equation : Equation
    view : str
        One of ``registry.VIEWS``.

    Returns
    -------
    list of Function
        In the order of the file; empty if the equation has no such view.
    """
    source = equation.source(view)
    if source is None:
        return []
    spelled = {
        term: re.compile(rf"(?<![\w.\"'])(?:at\.)?(?:{'|'.join(map(re.escape, sorted(names)))})(?![\w\"'])")
        for term, names in terms(equation).items()
    }
    together = factors(equation)
    whole = source.path.read_text(encoding="utf-8").splitlines()
    found = []
    for name, first, text in _functions(source, "\n".join(whole)):
        lines, signature = [], True
        for number, line in enumerate(text.split("\n"), first):
            tag = _TAG.search(line)
            code = re.sub(r"//.*$" if view == "cuda" else r"#.*$", "", line)
            named = [term for term, pattern in spelled.items() if pattern.search(code)]
            tagged = re.findall(r"\w+", tag[1]) if tag else []
            step = all(a in tagged or re.search(rf"(?<![\w.]){a}[\[(]", code) for a in together) and not signature
            lines.append(Line(number, _TAG.sub("", line).rstrip(), tuple(dict.fromkeys(named + tagged)), step, signature))
            signature = signature and not code.rstrip().endswith(("{", ":"))
        found.append((name, tuple(lines)))
    return _marked(equation, view, found)


def _marked(equation: registry.Equation, view: str, found: list[tuple[str, tuple[Line, ...]]]) -> list[Function]:
    entry = f"{equation.operation}_{equation.name}" if view == "cuda" else equation.name
    functions = [Function(name, lines, name == entry or name.startswith(f"{entry}__")) for name, lines in found]

    def shown(function: Function) -> set[str]:
        """Its terms, and "step" if the arrays of a step meet in one of its lines."""
        return function.terms | {"step" for line in function.lines if line.step}

    covered = {term for f in functions if f.plain for term in shown(f)}
    while True:
        helpers = [f for f in functions if not f.plain and shown(f) - covered]
        if not helpers:
            return functions
        best = max(helpers, key=lambda f: ("step" in shown(f) - covered, len(shown(f) - covered), -len(f.lines)))
        covered |= shown(best)
        functions = [Function(f.name, f.lines, f.plain or f is best) for f in functions]


def _functions(source: registry.Source, whole: str) -> list[tuple[str, int, str]]:
    """Name, first line and text of each function of a source."""
    if source.path.suffix == ".cu":
        pieces = [(name, whole[slice(*span)]) for name, span in registry.cuda_functions(whole)]
        pieces = [(name, piece) for name, piece in pieces if piece in source.text]
    else:
        pieces = [(match[1], piece) for piece in re.split(r"\n\n\n(?=\S)", source.text) if (match := _FUNCTION.search(piece))]
    return [(name, whole[: whole.index(piece)].count("\n") + 1, piece) for name, piece in pieces]
