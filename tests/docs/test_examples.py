"""Examples on the pages give what the pages show, and every name of the library that a page uses exists."""

import ast
import doctest
import hashlib
import re
from pathlib import Path

import pytest

import minisegnet as ms

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]


@pytest.mark.parametrize(("page", "least"), [("article", 10), ("api", 30)])
def test_the_examples_of_a_page_give_what_it_shows(page, least):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").replace("```\n", "\n")
    test = doctest.DocTestParser().get_doctest(text, {}, page, f"{page}.md", 0)
    with ms.backend.use("numpy"):  # compiles nothing
        failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert tried >= least and not failed


def names(text: str) -> set[str]:
    """The names of the library in the Python blocks of a page, such as ``ms.data.nuclei``."""
    found = set()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        code = re.sub(
            r"^(?:>>> |\.\.\. )",
            "",
            "\n".join(line for line in block.splitlines() if ">>>" not in block or line[:4] in (">>> ", "... ")),
            flags=re.M,
        )
        chains = [ast.unparse(node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
        found |= {chain for chain in chains if re.fullmatch(r"ms(?:\.\w+)+", chain)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_name_on_a_page_exists(page):
    for name in sorted(names(page.read_text(encoding="utf-8"))):
        value = ms
        for part in name.split(".")[1:]:
            assert hasattr(value, part), f"{name} on {page.name}"
            value = getattr(value, part)


def test_a_name_that_does_not_exist_is_found():
    assert names("```python\n>>> ms.nn.Conv3d(1)\nms.out\n```\n") == {"ms.nn.Conv3d", "ms.nn"}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.zh.md")), ids=lambda p: p.name)
def test_a_translation_is_of_the_page_as_it_is(page):
    """After a change of the source: translate it, then put its new hash into the first line."""
    source, digest = re.match(r"<!-- translated from ([\w.]+), (\w+) -->", page.read_text(encoding="utf-8")).groups()
    text = (DOCS / source).read_text(encoding="utf-8")
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == digest, f"{source} has changed since it was translated"
    assert text.count("\n| ") == page.read_text(encoding="utf-8").count("\n| ")
