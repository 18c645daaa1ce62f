"""From an equation to its code: formula, symbols and the source of every view.

Everything shown here comes from the registry and the files that it points to, so it cannot go stale.
"""

from __future__ import annotations

from pathlib import Path

from minisegnet_kernels import registry

_ROOT = Path(registry.__file__).parent.parent
_GREEK = ("alpha", "beta", "gamma", "epsilon", "theta", "lambda", "mu", "nu", "rho", "tau", "eta", "ell")
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
    """

    def __init__(self, equation: registry.Equation):
        self.equation = equation

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
        return "\n\n".join(parts)


def equation(id: str) -> EquationPage:
    """Show an equation beside its code.

    Parameters
    ----------
    id : str
        Such as ``"conv2d.forward"``; `minisegnet equation` lists all.

    Returns
    -------
    EquationPage

    Raises
    ------
    ValueError
        If no equation has this id; the message names the nearest ids.

    Examples
    --------
    >>> equation("conv2d.forward").place("formula").partition(":")[0]
    'minisegnet_kernels/conv2d/formula.py'
    """
    try:
        return EquationPage(registry.get(id))
    except KeyError as error:
        raise ValueError(f"{error.args[0]} Without an id, minisegnet equation lists all.") from None


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
