"""Write the pages of the math-to-code mapping and those of the ladder's rungs: ``python docs/build.py``.

Each operation has one page, and each program of the ladder (`course`). An operation's page shows each equation with its LaTeX, its symbols, and the source of every
view with a link to its file. A test fails while a committed page differs from what this program writes.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE / "explorer")]

import costs  # noqa: E402
import course  # noqa: E402
from scenes import SCENES  # noqa: E402

from minisegnet.learn.equations import EquationPage  # noqa: E402
from minisegnet_kernels import registry  # noqa: E402

HEADER = "<!-- Written by docs/build.py from kernels/minisegnet_kernels; edit the code, not this page. -->\n\n"


def page(operation: str) -> str:
    """The Markdown page of one operation."""
    story = (import_module(f"minisegnet_kernels.{operation}.formula").__doc__ or "").strip()
    equations = registry.equations(operation)
    contents = "\n".join(f"- [`{e.id}`](#{_anchor(e.id)}){_purpose(e)}" for e in equations)
    bodies = [_fenced(_linked(EquationPage(e).markdown(folded=True))).replace("### ", "## ", 1) for e in equations]
    section = costs.table(operation)
    return f"{HEADER}# {operation}\n\n{_prose(story)}\n\n{_beside(operation)}{contents}\n\n" + "\n".join(
        [*bodies, *([section] if section else [])]
    )


def _beside(operation: str) -> str:
    """What else there is of an operation: its explorer, which the site puts in place of a comment, and the derivation of its gradients."""
    explorers = [scene.page for scene in SCENES.values() if scene.operation == operation] + ["nuclei"] * (operation == "label")
    explorer = "".join(f"<!-- explorer {name} -->\n\n" for name in explorers)
    derived = f"[Where the gradients come from](../derivations/{operation}.md), one step a line.\n\n"
    return explorer + (derived if (HERE / "derivations" / f"{operation}.md").exists() else "")


def index() -> str:
    """The list of all pages."""
    lines = []
    for operation in registry.OPERATIONS:
        ids = ", ".join(f"[`{e.name}`]({operation}.md#{_anchor(e.id)})" for e in registry.equations(operation))
        lines.append(f"| [{operation}]({operation}.md) | {ids} |")
    table = "\n".join(["| operation | equations |", "|---|---|", *lines])
    return (
        f"{HEADER}# From the formula to the code\n\n"
        "Every equation has one name in the mathematics, in the loops that define it, and in every program that\n"
        "computes it. That they agree is tested: `pytest tests/kernels/test_parity.py tests/kernels/test_gradients.py`.\n\n"
        f"{table}\n"
    )


def pages() -> dict[Path, str]:
    """All files that belong in ``docs/mapping`` and ``docs/rungs``, with their text."""
    folder = HERE / "mapping"
    return {folder / "README.md": index()} | {folder / f"{name}.md": page(name) for name in registry.OPERATIONS} | course.pages()


def _anchor(id: str) -> str:
    return id.replace(".", "")


def _purpose(e: registry.Equation) -> str:
    return f": the gradient of `{e.grad_of}` with respect to `{e.wrt}`" if e.grad_of else ""


def _linked(markdown: str) -> str:
    """A place in a program becomes a link to its file, without the lines, which every edit above them would change; an equation, to its part."""
    markdown = re.sub(r"`(minisegnet_kernels/[\w/.]+):\d+-\d+`", r"[`\1`](../../kernels/\1)", markdown)
    relations = re.compile(r"^Gradient(?:s:| of) .*$", re.M)
    return relations.sub(lambda line: re.sub(r"\b(\w+\.\w+)\b(?!\.)", lambda id: f"[`{id[1]}`](#{_anchor(id[1])})", line[0]), markdown)


def _fenced(markdown: str) -> str:
    """``$$`` becomes a fence: between dollar signs GitHub removes the backslash before punctuation, as in ``\\,`` and ``\\{``."""
    return re.sub(r"^\$\$\n(.*?)\n\$\$$", r"```math\n\1\n```", markdown, flags=re.S | re.M)


def _prose(docstring: str) -> str:
    """reStructuredText's double backticks and its ``::`` are Markdown's single ones and a block."""
    text = docstring.replace("``", "`")
    return re.sub(
        r"::\n\n((?:    .*\n?|\n)+)", lambda m: ":\n\n```text\n" + re.sub(r"^    ", "", m[1], flags=re.M).strip("\n") + "\n```\n\n", text
    ).strip()


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(path)
