"""The one list of formulas.

``@equation`` enters a literal-loop function of a ``formula.py`` in the list. The entry knows its LaTeX and
its symbols, the shapes of its results, how many operations it takes, and where its views are. Tests, cost
model, documentation, notebooks and ``minisegnet equation ID`` all read this one source.

An operation is a folder with a ``formula.py``; nothing else has to name it.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

VIEWS = {
    "formula": "formula.py",
    "numpy": "reference.py",
    "numba": "numba_cpu.py",
    "numba_cuda": "numba_cuda.py",
    "cuda": "kernel.cu",
}


_ROOT = Path(__file__).parent
_FIRST = ("conv2d", "pool2d", "label")  # the three documented formulas open every list; the rest follows by name
OPERATIONS = tuple(
    sorted((path.parent.name for path in _ROOT.glob("*/formula.py")), key=lambda name: ((*_FIRST, name).index(name), name)),
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """The text of one view, its file, and the first and last line there."""

    path: Path
    first_line: int
    last_line: int
    text: str


@dataclass(frozen=True)
class Equation:
    """One formula of the library.

    Attributes
    ----------
    id : str
        ``operation.name``, e.g. ``conv2d.grad_weight``; `name` is the name of the function in every view.
    tex : str
        The formula, in LaTeX (math mode, without dollar signs).
    symbols : dict
        What each symbol means, with shapes.
    oracle : callable
        The literal loops.
    returns : tuple of str
        The symbols of the results, in order; the left-hand side of the formula if nothing else is said.
    shape : callable (*arrays, **options)
        The shape of the result; for several results a list of their shapes, ``[]`` if the equation returns nothing.
        Called with the arguments of the equation, of which it reads shapes and options only.
    operations : callable (*arrays, **options) -> int
        Floating-point operations of the formula, as `cost` counts them; called like `shape`.
    dtypes : callable (*arrays, **options) -> list of dtype, optional
        The dtypes of the results, where some differ from the dtype of the first argument.
    passes : callable (*arrays, **options) -> dict of str to int, optional
        How often an argument moves between memory and the processor, by name, where that is not once: twice if
        the formula needs a second sweep over it, or if it is updated in place (read and written); 0 if the options
        leave it unused. Called like `shape`.
    grad_of, wrt : str or None
        For a gradient: the equation that it differentiates, and the argument.
    reference : str
        Where the formula comes from.
    missing : dict
        Views that this equation does not have, with the reason.
    """

    id: str
    tex: str
    symbols: dict[str, str]
    oracle: Callable
    shape: Callable[..., Shape | list[Shape]]
    operations: Callable[..., int]
    dtypes: Callable[..., list[Any]] | None = None
    passes: Callable[..., dict[str, int]] | None = None
    returns: str = ""
    grad_of: str | None = None
    wrt: str | None = None
    reference: str = ""
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]

    @property
    def arguments(self) -> list[str]:
        """The names of the array arguments, in order."""
        parameters = inspect.signature(self.oracle).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    def results(self, *arrays: Any, **options: Any) -> list[tuple[Shape, np.dtype]]:
        """Shape and dtype of each result, from the shapes of the arguments and the options alone."""
        shapes = self.shape(*arrays, **options)
        shapes = shapes if isinstance(shapes, list) else [shapes]
        dtypes = self.dtypes(*arrays, **options) if self.dtypes else [arrays[0].dtype for _ in shapes]
        return [(tuple(shape), np.dtype(dtype)) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def program(self, view: str) -> Callable | None:
        """The Python host function of a view (``formula``, ``numpy``, ``numba``, ...); None if the view is missing.

        Raises
        ------
        ImportError
            If the view needs a package that is not installed.
        """
        if view == "formula":
            return self.oracle
        module = f"{__package__}.{self.operation}.{Path(VIEWS[view]).stem}"
        return getattr(import_module(module), self.name, None) if find_spec(module) else None

    def source(self, view: str) -> Source | None:
        """The text of a view, with the private functions of its file that it uses; None if the view is missing."""
        path = _ROOT / self.operation / VIEWS[view]
        if not path.exists():
            return None
        return _cuda_source(path, f"{self.operation}_{self.name}") if path.suffix == ".cu" else _python_source(path, self.name)


_EQUATIONS: dict[str, Equation] = {}


def equation(id: str, **entry: Any) -> Callable[[Callable], Callable]:
    """Enter the decorated literal-loop function in the list of equations.

    Parameters
    ----------
    id : str
        ``operation.name``, where `name` is the name of the function.
    **entry
        The other attributes of `Equation`: ``tex``, ``symbols``, ``shape`` and ``operations``, the rest if it applies.

    Raises
    ------
    ValueError
        If the id is taken, or does not end with the name of the function.
    """

    def enter(oracle: Callable) -> Callable:
        if id in _EQUATIONS:
            raise ValueError(f"equation {id!r} is defined twice")
        if oracle.__name__ != id.partition(".")[2]:
            raise ValueError(f"equation {id!r} must be a function named {id.partition('.')[2]!r}, not {oracle.__name__!r}")
        _EQUATIONS[id] = Equation(id, oracle=oracle, **entry)
        return oracle

    return enter


def equations(operation: str | None = None) -> list[Equation]:
    """All equations, or those of one operation, in the order of their files."""
    operations = OPERATIONS if operation is None else (operation,)
    for name in operations:
        import_module(f"{__package__}.{name}.formula")
    return [e for name in operations for e in _EQUATIONS.values() if e.operation == name]


def get(id: str) -> Equation:
    """The equation with this id.

    Raises
    ------
    KeyError
        If no equation has this id; the message lists the nearest ids.
    """
    operation = id.partition(".")[0]
    if operation in OPERATIONS:
        import_module(f"{__package__}.{operation}.formula")
    if id not in _EQUATIONS:
        equations()
        near = get_close_matches(id, _EQUATIONS, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"their ids begin with {', '.join(OPERATIONS)}."
        raise KeyError(f"no equation {id!r}; {hint}")
    return _EQUATIONS[id]


def _python_source(path: Path, name: str) -> Source | None:
    """A module-level function and the private helpers of its file that it reaches, in the file's order."""
    text = path.read_text(encoding="utf-8")
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    if name not in functions:
        return None
    wanted, queue = {name}, [name]
    while queue:
        used = {node.id for line in functions[queue.pop()].body for node in ast.walk(line) if isinstance(node, ast.Name)}
        new = {f for f in used if f in functions and f.startswith("_")} - wanted
        wanted |= new
        queue += new
    lines = text.splitlines()
    chosen = sorted((functions[f] for f in wanted), key=lambda f: f.lineno)
    code = "\n\n\n".join("\n".join(lines[_first_line(f) - 1 : f.end_lineno]) for f in chosen)
    return Source(path, _first_line(functions[name]), functions[name].end_lineno or 0, code)


def _first_line(function: ast.FunctionDef) -> int:
    """The first line of a function, with its decorators but without ``@equation(...)``, whose text is shown as mathematics."""
    shown = [d.lineno for d in function.decorator_list if not (isinstance(d, ast.Call) and getattr(d.func, "id", "") == "equation")]
    return min([function.lineno, *shown])


def _cuda_source(path: Path, kernel: str) -> Source | None:
    """The ``__global__`` functions ``kernel`` and ``kernel__part``, and the ``__device__`` functions of the file that they reach."""
    text = path.read_text(encoding="utf-8")
    spans = dict(cuda_functions(text))
    wanted = [name for name in spans if name == kernel or name.startswith(f"{kernel}__")]
    if not wanted:
        return None
    own = spans[kernel if kernel in spans else wanted[0]]
    for name in wanted:  # grows as helpers are found
        body = text[slice(*spans[name])]
        wanted += [
            other for other in spans if other not in wanted and f"{path.parent.name}_" not in other and re.search(rf"\b{other}\b", body)
        ]
    first = text.count("\n", 0, own[0]) + 1
    last = text.count("\n", 0, own[1]) + 1
    return Source(path, first, last, "\n\n".join(text[a:b] for a, b in sorted(spans[name] for name in wanted)))


def cuda_functions(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name and span of each function of a ``.cu`` file, with the comment above it, by matching braces."""
    declaration = r"((?:^//[^\n]*\n)*)^(?:template\s*<[^>]*>\s*)?(?:static )?__(?:global|device)__[^;{(]*?(?:__launch_bounds__\([^)]*\)\s*)?\b(\w+)\s*\("
    for match in re.finditer(declaration, text, re.M):
        depth, place = 1, text.index("{", match.end()) + 1
        while depth and place < len(text):
            depth += (text[place] == "{") - (text[place] == "}")
            place += 1
        yield match[2], (match.start(), place)
