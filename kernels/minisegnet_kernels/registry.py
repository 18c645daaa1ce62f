"""The one list of formulas.

``@equation`` turns a literal-loop function in a ``formula.py`` into an entry of
the list. The entry knows its LaTeX, its symbols, and where its views are, so that
tests, documentation, notebooks and ``minisegnet equation ID`` all read one source.

Only the standard library is imported here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

# In the order of the story; one folder each.
OPERATIONS = (
    "conv2d",
    "pool2d",
    "label",
    "cross_entropy",
    "batch_norm",
    "activation",
    "resize",
    "lrn",
    "optimiser",
)

VIEWS = {
    "formula": "formula.py",
    "numpy": "reference.py",
    "numba": "numba_cpu.py",
    "numba_cuda": "numba_cuda.py",
    "cuda": "kernel.cu",
}


_ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Source:
    """Where the text of one view lies: file, first and last line, and the text."""

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
        ``operation.name``, e.g. ``conv2d.grad_weight``; the name of the function
        in every view.
    tex : str
        The formula, in LaTeX (math mode, without dollar signs).
    symbols : dict
        What each symbol means, with shapes.
    oracle : callable
        The literal loops.
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

    def why_missing(self, view: str) -> str | None:
        """The written reason why a view is absent, or None where it must exist."""
        return self.missing.get(view)

    def program(self, view: str) -> Callable:
        """The Python host function of a view (``formula``, ``numpy``, ``numba``, ...)."""
        if view == "formula":
            return self.oracle
        stem = VIEWS[view].removesuffix(".py").removesuffix(".cu")
        return getattr(import_module(f"{__package__}.{self.operation}.{stem}"), self.name)

    def source(self, view: str) -> Source | None:
        """The text of a view with the helpers of its file that it uses, or None."""
        path = _ROOT / self.operation / VIEWS[view]
        if not path.exists():
            return None
        return _cuda_source(path, f"{self.operation}_{self.name}") if path.suffix == ".cu" else _python_source(path, self.name)


_EQUATIONS: dict[str, Equation] = {}


def equation(
    id: str,
    *,
    tex: str,
    symbols: dict[str, str],
    grad_of: str | None = None,
    wrt: str | None = None,
    reference: str = "",
    missing: dict[str, str] | None = None,
) -> Callable[[Callable], Callable]:
    """Enter the decorated literal-loop function in the list of equations."""

    def enter(oracle: Callable) -> Callable:
        if id in _EQUATIONS:
            raise ValueError(f"equation {id!r} is defined twice")
        if oracle.__name__ != id.partition(".")[2]:
            raise ValueError(f"equation {id!r} must be a function named {id.partition('.')[2]!r}, not {oracle.__name__!r}")
        _EQUATIONS[id] = Equation(id, tex, symbols, oracle, grad_of, wrt, reference, missing or {})
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
        If there is none; the message lists the nearest ids.
    """
    operation = id.partition(".")[0]
    if operation in OPERATIONS:
        import_module(f"{__package__}.{operation}.formula")
    if id not in _EQUATIONS:
        from difflib import get_close_matches

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
    """With its decorators, but without ``@equation(...)``, whose text is shown as mathematics."""
    shown = [d.lineno for d in function.decorator_list if not (isinstance(d, ast.Call) and getattr(d.func, "id", "") == "equation")]
    return min([function.lineno, *shown])


def _cuda_source(path: Path, kernel: str) -> Source | None:
    """The ``__global__`` functions ``kernel`` and ``kernel__part``, and the ``__device__`` functions of the file that they reach."""
    text = path.read_text(encoding="utf-8")
    spans = dict(_cuda_functions(text))
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


def _cuda_functions(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name and span of each function of a ``.cu`` file, with the comment above it, by matching braces."""
    declaration = r"((?:^//[^\n]*\n)*)^(?:template\s*<[^>]*>\s*)?(?:static )?__(?:global|device)__[^;{(]*?(?:__launch_bounds__\([^)]*\)\s*)?\b(\w+)\s*\("
    for match in re.finditer(declaration, text, re.M):
        depth, place = 1, text.index("{", match.end()) + 1
        while depth and place < len(text):
            depth += (text[place] == "{") - (text[place] == "}")
            place += 1
        yield match[2], (match.start(), place)
