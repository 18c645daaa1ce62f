"""From an equation to its code: formula, symbols and the source of every view.

Everything shown here comes from the registry and the files that it points to, so it cannot go stale.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minisegnet_kernels import registry

from .lines import broken

_ROOT = Path(registry.__file__).parent.parent
_GREEK = ("Lambda", "alpha", "beta", "gamma", "epsilon", "theta", "lambda", "mu", "nu", "rho", "tau", "eta", "ell")
_TITLES = {
    "formula": "formula: literal loops, the oracle",
    "numpy": "NumPy",
    "numba": "Numba, on a CPU",
    "numba_cuda": "Numba, on a GPU",
    "cuda": "CUDA C++",
}


class EquationPage:
    """An equation beside its code. It prints as text; a notebook shows it as Markdown.

    Attributes
    ----------
    equation : minisegnet_kernels.registry.Equation
    rung : Rung or None
        The program of the operation's ladder that runs the case; None without a case.

    Parameters
    ----------
    equation : Equation
    case : dict, optional
    views : sequence of str, optional
        See `equation`.
    """

    def __init__(self, equation: registry.Equation, case: dict[str, Any] | None = None, views: Sequence[str] | None = None):
        self.equation = equation
        self.views = _chosen_views(views)
        self.rung = None if case is None else self._chosen(case)

    def _chosen(self, case: dict[str, Any]) -> Any:
        chosen = self._offered("chosen")
        rung = chosen(self.equation.id, **case) if chosen else None
        if rung is None:
            raise ValueError(f"{self.equation.id} has one CUDA program, which every case runs; leave out case=")
        return rung

    @property
    def routes(self) -> dict[str, dict[str, Any]]:
        """The program of the operation's ladder that runs each typical layer: {layer: {GPU: rung}}; empty if it has no ladder."""
        routes = self._offered("routes")
        return routes(self.equation.id) if routes else {}

    def _offered(self, name: str) -> Any:
        """The function of this name in the operation's ``examples.py``; None if the operation has no ladder."""
        module = f"{registry.__package__}.{self.equation.operation}.examples"
        return getattr(import_module(module), name) if find_spec(module) else None

    @property
    def gradients(self) -> list[registry.Equation]:
        """The equations that differentiate this one."""
        return [e for e in registry.equations(self.equation.operation) if e.grad_of == self.equation.id]

    @property
    def missing(self) -> dict[str, str]:
        """The views that this equation does not have, with the reason."""
        absent = [view for view in registry.VIEWS if self.equation.source(view) is None]
        return {view: self.equation.missing.get(view, "no reason is written down") for view in absent if view in self.views}

    def place(self, view: str) -> str:
        """``file:first-last``: file, first and last line of a view; the path starts at the folder of the kernels."""
        source = self.equation.source(view)
        if source is None:
            raise ValueError(f"{self.equation.id} has no {view} view: {self.equation.missing.get(view, 'no reason is written down')}")
        return f"{source.path.relative_to(_ROOT).as_posix()}:{source.first_line}-{source.last_line}"

    def _sources(self) -> list[tuple[str, registry.Source]]:
        """The programs that are shown, in the order of the views."""
        found = [(view, self.equation.source(view)) for view in _TITLES if view in self.views]
        return [(view, source) for view, source in found if source is not None]

    def _relations(self) -> list[str]:
        e = self.equation
        lines = [f"Gradient of {e.grad_of} with respect to {e.wrt}."] if e.grad_of else []
        if self.gradients:
            lines.append("Gradients: " + ", ".join(f"{g.id} (with respect to {g.wrt})" for g in self.gradients) + ".")
        return lines + ([f"Source: {e.reference}."] if e.reference else [])

    def _repr_markdown_(self) -> str:
        return self.markdown(folded=True)

    def markdown(self, folded: bool = False) -> str:
        """The page as Markdown.

        Parameters
        ----------
        folded : bool
            Whether to fold every program except the literal loops, as in a notebook, so that readers open the ones they want.
        """
        e = self.equation
        parts = [f"### `{e.id}`", f"$$\n{broken(e.tex)}\n$$"]
        parts.append(
            "\n".join(["| symbol | meaning |", "|---|---|", *(f"| ${_tex(s)}$ | {_meaning(text)} |" for s, text in e.symbols.items())])
        )
        parts += self._relations()
        for view, source in self._sources():
            language = "cpp" if source.path.suffix == ".cu" else "python"
            program = f"`{self.place(view)}`\n\n```{language}\n{source.text}\n```"
            if folded and view != "formula":
                parts.append(f"<details><summary>{_TITLES[view]}</summary>\n\n{program}\n\n</details>")
            else:
                parts.append(f"**{_TITLES[view]}** – {program}")
        parts += [f"*{_TITLES[view]}: {reason}.*" for view, reason in self.missing.items()]
        if "cuda" in self.views and self.rung:
            parts.append(f"**{_goes_to(self.rung)}** – `{_file(self.rung)}`\n\n```cpp\n{self.rung.path.read_text(encoding='utf-8')}```")
        elif "cuda" in self.views and self.routes:
            parts.append(_table(self.routes))
        return "\n\n".join(parts) + "\n"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<equation {self.equation.id}: {', '.join(view for view, _ in self._sources())}>"

    def text(self, colour: bool = False) -> str:
        """The page as plain text; with `colour` for a terminal that understands ANSI codes."""
        e = self.equation

        def bold(line: str) -> str:
            return f"\033[1;36m{line}\033[0m" if colour else line

        width = max(map(len, e.symbols), default=0)
        parts = [bold(e.id), e.tex, "\n".join(f"  {s.ljust(width)}  {text}" for s, text in e.symbols.items())]
        parts += self._relations()
        for view, source in self._sources():
            parts.append(f"{bold(f'── {_TITLES[view]} ── {self.place(view)}')}\n\n{source.text}")
        parts += [f"── {_TITLES[view]}: {reason}" for view, reason in self.missing.items()]
        if "cuda" in self.views and self.rung:
            text = self.rung.path.read_text(encoding="utf-8")
            parts.append(f"{bold(f'── {_goes_to(self.rung)} ── {_file(self.rung)}')}\n\n{text.rstrip()}")
        return "\n\n".join(parts)


def _goes_to(rung: Any) -> str:
    return f"CUDA C++ of this case: rung {rung.label}, {rung.title}"


def _file(rung: Any) -> str:
    lines = rung.path.read_text(encoding="utf-8").count("\n")
    return f"{rung.path.relative_to(_ROOT).as_posix()}:1-{lines}"


def _table(routes: dict[str, dict[str, Any]]) -> str:
    """A table of the rung that runs each layer on each GPU, and the files of these rungs."""
    gpus = list(next(iter(routes.values())))
    rows = [f"| {layer} | {' | '.join(f'{rung.label} {rung.name}' for rung in by_gpu.values())} |" for layer, by_gpu in routes.items()]
    rungs = {rung.path: rung for by_gpu in routes.values() for rung in by_gpu.values()}
    files = [f"- {rung.label} {rung.name}, {rung.title}: `{_file(rung)}`" for rung in sorted(rungs.values(), key=lambda rung: rung.label)]
    return "\n".join(
        [
            "**Which CUDA program runs.** The program above is rung 1 of a ladder of faster ones. By its shapes and layout (channels last,",
            "float32 and batch 8 unless the row says otherwise) and by the GPU's compute capability a case goes to one of them:",
            "",
            f"| layer | {' | '.join(gpus)} |",
            f"|---|{'---|' * len(gpus)}",
            *rows,
            "",
            *files,
        ]
    )


def _chosen_views(views: Sequence[str] | None) -> tuple[str, ...]:
    chosen = tuple(_TITLES) if views is None else (views,) if isinstance(views, str) else tuple(views)
    if unknown := [view for view in chosen if view not in _TITLES]:
        raise ValueError(f"no view {unknown[0]!r}; choose from {', '.join(_TITLES)}")
    return chosen


def equation(id: str, case: dict[str, Any] | None = None, views: Sequence[str] | None = None) -> EquationPage:
    """Show an equation beside its code.

    Parameters
    ----------
    id : str
        Such as ``"conv2d.forward"``; `minisegnet equation` lists all.
    case : dict, optional
        A case of an operation that has a ladder of CUDA programs, such as convolution. The page then shows the program that
        runs this case. Keys: the shapes ``x`` and ``w``; optionally ``stride``, ``padding``, ``dilation``, ``groups``, ``dtype``,
        ``layout`` ("channels last", the default, or "rows first") and ``gpu``, a compute capability, by default (9, 0).

    views : sequence of str, optional
        The programs to show: some of "formula", "numpy", "numba", "numba_cuda", "cuda"; by default all. A notebook folds them,
        except the literal loops.

    Returns
    -------
    EquationPage

    Raises
    ------
    ValueError
        If no equation has this id (the message names the nearest ids), if there is no such view, or if the case does not fit.

    Examples
    --------
    >>> equation("conv2d.forward").place("formula").partition(":")[0]
    'minisegnet_kernels/conv2d/formula.py'
    >>> equation("conv2d.forward", {"x": (8, 64, 128, 128), "w": (64, 64, 3, 3), "gpu": (7, 5)}).rung.path.name
    'rung4_register_tile.cu'
    >>> equation("label.argmax", views=["formula"])
    <equation label.argmax: formula>
    """
    if id in registry.OPERATIONS:
        ids = ", ".join(e.id for e in registry.equations(id))
        raise ValueError(f"{id} is an operation with several equations; choose one of {ids}")
    try:
        found = registry.get(id)
    except KeyError as error:
        raise ValueError(f"{error.args[0]} Without an id, minisegnet equation lists all.") from None
    return EquationPage(found, case, views)


def listing(operation: str | None = None) -> str:
    """A table of all equations, or those of one operation, and the views that each has."""
    rows = [(e.id, ["●" if e.source(view) else "·" for view in registry.VIEWS]) for e in registry.equations(operation)]
    width = max(len(id) for id, _ in rows)
    head = f"{'equation'.ljust(width)}  {'  '.join(registry.VIEWS)}"
    lines = [
        f"{id.ljust(width)}  " + "  ".join(mark.center(len(view)) for mark, view in zip(marks, registry.VIEWS, strict=True))
        for id, marks in rows
    ]
    return "\n".join([head, "─" * len(head), *(line.rstrip() for line in lines)])


def _tex(symbol: str) -> str:
    r"""A symbol of the code in LaTeX: ``xbar`` → ``\bar x``, ``gammabar`` → ``\bar \gamma``, ``s_h`` stays."""
    name, _, index = symbol.partition("_")
    for accent in ("bar", "hat"):
        if name.endswith(accent):
            name = rf"\{accent} {_tex(name.removesuffix(accent))}"
    name = rf"\{name}" if name in _GREEK else name
    return f"{name}_{index}" if index else name


def _meaning(text: str) -> str:
    """What a symbol means, as the cell of a table: the symbols in it are shown as mathematics, and names of options stay as they are."""
    name = rf"(?:{'|'.join(_GREEK)}|[a-zA-Z])"
    symbol = rf"\b{name}_(?:\{{[^}}]*\}}|[a-z])(?!\w)|\b(?:{'|'.join(_GREEK)}|[gmv]hat)\b"
    shown = re.sub(rf"(option \w+)|({symbol})", lambda m: m[1] or f"${_tex(m[2])}$", text)
    return shown.replace("|", r"\|")
