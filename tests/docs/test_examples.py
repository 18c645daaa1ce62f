"""Examples on the pages give what the pages show."""

import doctest
from pathlib import Path

import pytest

import minisegnet as ms

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "least"), [("article", 10), ("api", 30)])
def test_the_examples_of_a_page_give_what_it_shows(page, least):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").replace("```\n", "\n")
    test = doctest.DocTestParser().get_doctest(text, {}, page, f"{page}.md", 0)
    with ms.backend.use("numpy"):  # compiles nothing
        failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert tried >= least and not failed
