"""Formulas are rendered while the site is built, by KaTeX: the pages need its style sheet and fonts, and no script.

KaTeX is the ``katex.min.js`` of the package sphinxcontrib-katex, run by V8 in this process (mini-racer), so no Node is needed. Style sheet
and fonts in ``_static/katex`` must be of the same version: with another one, subscripts get the wrong size.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

STYLE = Path(__file__).parents[1] / "_static" / "katex" / "katex.min.css"


@cache
def katex() -> MiniRacer:
    """A context in which KaTeX is loaded."""
    script = Path(find_spec("sphinxcontrib.katex").origin).with_name("katex.min.js")
    context = MiniRacer()
    context.eval(script.read_text(encoding="utf-8"))
    found, wanted = context.eval("katex.version"), re.search(r'content:"([\d.]+)"', STYLE.read_text(encoding="utf-8"))[1]
    if found != wanted:
        raise ExtensionError(f"sphinxcontrib-katex brings KaTeX {found}, and {STYLE} is of {wanted}; replace the style sheet and fonts")
    context.eval("function render(tex, displayMode) { return katex.renderToString(tex, {displayMode, strict: 'ignore'}); }")
    return context


@cache
def render(tex: str, display: bool = False) -> str:
    """HTML of a formula, with MathML for screen readers; an error if KaTeX does not understand it."""
    try:
        return katex().call("render", tex, display)
    except JSEvalException as error:
        message = re.search(r"ParseError: (.*)", str(error))
        raise ExtensionError(f"{message[1] if message else 'KaTeX fails'} in the formula {tex}") from None


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(render(node.astext()))
    raise nodes.SkipNode


def _display(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math-block">{render(node.astext(), True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("prerendered", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
