"""What the site adds to the Markdown that GitHub shows: pages of the source files to which it links, the explorers, and the landing page."""

from __future__ import annotations

import html
import json
import posixpath
import re
from pathlib import Path
from typing import Any

import glossary
import landing
from docutils import nodes
from explorer import build as explorer
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\])\((?!https?:|mailto:|#|<)([^)\s#]+)(#[^)\s]*)?\)")
#: ``<!-- explorer conv2d -->`` is the explorer, on the site only.
EXPLORER = re.compile(r"^<!-- explorer (\w+) -->$", re.M)
#: ``<!-- pages rungs -->`` hangs the pages of a folder below this one, on the site only.
PAGES = re.compile(r"^<!-- pages (\w+) -->$", re.M)
logger = logging.getLogger(__name__)


def prepare(app: Sphinx, docname: str, content: list[str]) -> None:
    """Put explorers in their place, and send links to programs to the pages that show them."""
    up = "../" * docname.count("/")

    def linked(match: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(docname), match[2]))
        if target == "README.md":
            return f"{match[1]}({up}index.html){{.external}}"
        if match[1].startswith("!") or posixpath.splitext(target)[0] in app.project.docnames:
            return match[0]
        if not (ROOT / target).exists():
            logger.warning("%s: no file %s", docname, target)
        linked_files(app).add(target)
        return f"{match[1]}({up}source/{target}.html){{.external}}"

    def rewritten(text: str) -> str:
        pieces = FENCE.split(PAGES.sub("```{toctree}\n:hidden:\n:glob:\n\n\\1/*\n```", EXPLORER.sub(frame, text)))
        return "".join(piece if k % 2 else LINK.sub(linked, piece) for k, piece in enumerate(pieces))

    frame = f'<iframe class="explorer" src="{up}explorer/\\1.html?embed" title="explorer of \\1" loading="lazy"></iframe>'
    if str(app.env.doc2path(docname)).endswith(".ipynb"):
        book = json.loads(content[0])
        for cell in (cell for cell in book["cells"] if cell["cell_type"] == "markdown"):
            cell["source"] = rewritten("".join(cell["source"]))
        content[0] = json.dumps(book)
    else:
        content[0] = rewritten(content[0])


def explain(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """A link to a term of the glossary shows what the term means when it is pointed at."""
    meanings = {glossary.anchor(term): meaning for term, meaning in glossary.terms().items()}
    for link in doctree.findall(nodes.reference):
        page, _, anchor = link.get("refuri", "").partition("#")
        if page.endswith("glossary.html") and anchor in meanings:
            link["reftitle"] = meanings[anchor]


def linked_files(app: Sphinx) -> set[str]:
    """The files and folders outside of the site to which its pages link."""
    if not hasattr(app.env, "house_linked"):
        app.env.house_linked = set()
    return app.env.house_linked


def finish(app: Sphinx, error: Exception | None) -> None:
    """Write the pages that are not Markdown."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for target in sorted(linked_files(app)):
        write_source(out, target)
    explorer.write(out / "explorer")
    for language, file in landing.FILES.items():
        (out / file).write_text(landing.page(language), encoding="utf-8")


def write_source(out: Path, target: str) -> None:
    """A file with numbered lines, or the list of a folder; the files of a folder too."""
    path = ROOT / target
    page = out / "source" / f"{target}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    up = "../" * (target.count("/") + 1)
    if path.is_dir():
        names = sorted(
            p.name for p in path.iterdir() if p.is_file() and p.suffix in {".py", ".cu", ".cuh", ".h", ".cpp", ".c", ".md", ".ipynb"}
        )
        body = "<ul>" + "".join(f'<li><a href="{path.name}/{name}.html">{name}</a></li>' for name in names) + "</ul>"
        for name in names:
            write_source(out, f"{target}/{name}")
    else:
        body = _code(path)
    page.write_text(_frame(target, body, up), encoding="utf-8")


def _code(path: Path) -> str:
    if path.suffix == ".png":
        return ""
    try:
        lexer = get_lexer_for_filename({".cu": "a.cpp", ".cuh": "a.cpp", ".json": "a.txt"}.get(path.suffix, path.name))
    except ClassNotFound:
        lexer = get_lexer_for_filename("a.txt")
    formatter = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True, classprefix="h-")
    return highlight(path.read_text(encoding="utf-8", errors="replace"), lexer, formatter)


def _frame(title: str, body: str, up: str) -> str:
    light = HtmlFormatter(style="default", classprefix="h-").get_style_defs(".highlight")
    dark = HtmlFormatter(style="native", classprefix="h-").get_style_defs(".highlight")
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>body {{ margin: 0 auto; max-width: 1200px; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; }}
pre {{ overflow: auto; font: 13px/1.5 ui-monospace, monospace; }} pre a {{ color: inherit; text-decoration: none; }}
{light}
@media (prefers-color-scheme: dark) {{ body {{ background: #14161a; color: #e8eaee; }} a {{ color: #82b7ff; }}
{dark} .highlight {{ background: #14161a; }} }}</style>
<p><a href="{up}index.html">minisegnet</a> / {html.escape(title)}</p>
{body}</html>
"""


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", prepare)
    app.connect("doctree-resolved", explain)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
