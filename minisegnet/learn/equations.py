"""From an equation to its code: formula, symbols and the source of every view.

Everything shown here comes from the registry and the files that it points to, so it cannot go stale.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from minisegnet_kernels import registry

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
        The program of the operation's ladder that the case goes to; None without a case.

    Parameters
    ----------
    equation : Equation
    case : dict, optional
        See `equation`.
    """

    def __init__(self, equation: registry.Equation, case: dict[str, Any] | None = None):
        self.equation = equation
        self.rung = None if case is None else self._chosen(case)

    def _chosen(self, case: dict[str, Any]) -> Any:
        chosen = self._offered("chosen")
        rung = chosen(self.equation.id, **case) if chosen else None
        if rung is None:
            raise ValueError(f"{self.equation.id} has one CUDA program, which every case runs; leave out case=")
        return rung

    @property
    def routes(self) -> dict[str, dict[str, Any]]:
        """Which program of the operation's ladder typical layers go to: {layer: {GPU: rung}}; empty if there is no ladder."""
        routes = self._offered("routes")
        return routes(self.equation.id) if routes else {}

    def _offered(self, name: str) -> Any:
        """A function that the operation's ``kernel.py`` offers to pages beside its programs; None if it does not."""
        if self.equation.source("cuda") is None:
            return None
        return getattr(import_module(f"{registry.__package__}.{self.equation.operation}.kernel"), name, None)

    @property
    def gradients(self) -> list[registry.Equation]:
        """The equations that differentiate this one."""
        return [e for e in registry.equations(self.equation.operation) if e.grad_of == self.equation.id]

    @property
    def missing(self) -> dict[str, str]:
        """The views that this equation does not have, with the reason."""
        absent = [view for view in registry.VIEWS if self.equation.source(view) is None]
        return {view: self.equation.missing.get(view, "no reason is written down") for view in absent}

    def place(self, view: str) -> str:
        """``file:first-last``: file, first and last line of a view; the path starts at the folder of the kernels."""
        source = self.equation.source(view)
        if source is None:
            raise ValueError(f"{self.equation.id} has no {view} view: {self.missing[view]}")
        return f"{source.path.relative_to(_ROOT).as_posix()}:{source.first_line}-{source.last_line}"

    def _relations(self) -> list[str]:
        e = self.equation
        lines = [f"Gradient of {e.grad_of} with respect to {e.wrt}."] if e.grad_of else []
        if self.gradients:
            lines.append("Gradients: " + ", ".join(f"{g.id} (with respect to {g.wrt})" for g in self.gradients) + ".")
        return lines + ([f"Source: {e.reference}."] if e.reference else [])

    def _repr_markdown_(self) -> str:
        e = self.equation
        parts = [f"### `{e.id}`", f"$$\n{e.tex}\n$$"]
        parts.append(
            "\n".join(["| symbol | meaning |", "|---|---|", *(f"| ${_tex(s)}$ | {_cell(text)} |" for s, text in e.symbols.items())])
        )
        parts += self._relations()
        for view, title in _TITLES.items():
            source = e.source(view)
            if source is not None:
                language = "cpp" if source.path.suffix == ".cu" else "python"
                parts.append(f"**{title}** – `{self.place(view)}`\n\n```{language}\n{source.text}\n```")
        parts += [f"*{_TITLES[view]}: {reason}.*" for view, reason in self.missing.items()]
        if self.rung:
            parts.append(f"**{_goes_to(self.rung)}** – `{_file(self.rung)}`\n\n```cpp\n{self.rung.path.read_text(encoding='utf-8')}```")
        elif self.routes:
            parts.append(_table(self.routes))
        return "\n\n".join(parts) + "\n"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<equation {self.equation.id}: {', '.join(v for v in _TITLES if v not in self.missing)}>"

    def text(self, colour: bool = False) -> str:
        """The page as plain text; with `colour` for a terminal that understands ANSI codes."""
        e = self.equation

        def bold(line: str) -> str:
            return f"\033[1;36m{line}\033[0m" if colour else line

        width = max(map(len, e.symbols), default=0)
        parts = [bold(e.id), e.tex, "\n".join(f"  {s.ljust(width)}  {text}" for s, text in e.symbols.items())]
        parts += self._relations()
        for view, title in _TITLES.items():
            source = e.source(view)
            if source is not None:
                parts.append(f"{bold(f'── {title} ── {self.place(view)}')}\n\n{source.text}")
        parts += [f"── {_TITLES[view]}: {reason}" for view, reason in self.missing.items()]
        if self.rung:
            text = self.rung.path.read_text(encoding="utf-8")
            parts.append(f"{bold(f'── {_goes_to(self.rung)} ── {_file(self.rung)}')}\n\n{text.rstrip()}")
        return "\n\n".join(parts)


def _goes_to(rung: Any) -> str:
    return f"CUDA C++ of this case: rung {rung.label}, {rung.title}"


def _file(rung: Any) -> str:
    lines = rung.path.read_text(encoding="utf-8").count("\n")
    return f"{rung.path.relative_to(_ROOT).as_posix()}:1-{lines}"


def _table(routes: dict[str, dict[str, Any]]) -> str:
    """Which rung each layer goes to on each GPU, and the files of these rungs."""
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


def equation(id: str, case: dict[str, Any] | None = None) -> EquationPage:
    """Show an equation beside its code.

    Parameters
    ----------
    id : str
        Such as ``"conv2d.forward"``; `minisegnet equation` lists all.
    case : dict, optional
        A case of an operation whose CUDA programs are a ladder, as convolution's are. The page then shows the program that the
        case really runs. Keys: the shapes ``x`` and ``w``; optionally ``stride``, ``padding``, ``dilation``, ``groups``, ``dtype``,
        ``layout`` ("channels last", the default, or "rows first") and ``gpu``, a compute capability, (9, 0) unless given.

    Returns
    -------
    EquationPage

    Raises
    ------
    ValueError
        If no equation has this id (the message names the nearest ids), or if the case does not fit.

    Examples
    --------
    >>> equation("conv2d.forward").place("formula").partition(":")[0]
    'minisegnet_kernels/conv2d/formula.py'
    >>> equation("conv2d.forward", {"x": (8, 64, 128, 128), "w": (64, 64, 3, 3), "gpu": (7, 5)}).rung.path.name
    'rung4_register_tile.cu'
    """
    try:
        found = registry.get(id)
    except KeyError as error:
        raise ValueError(f"{error.args[0]} Without an id, minisegnet equation lists all.") from None
    return EquationPage(found, case)


def listing() -> str:
    """All equations with the views that they have, as a table."""
    rows = [(e.id, ["●" if e.source(view) else "·" for view in registry.VIEWS]) for e in registry.equations()]
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


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
