"""Descriptions in docstrings are whole phrases: "Of the labels' dtype." and "If it is none." lack the thing that they describe."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick
ROOT = Path(__file__).parents[2]
_SECTION = re.compile(r"(Parameters|Attributes|Returns|Yields|Raises)\n-+\n(.*?)(?=\n\w[^\n]*\n-+\n|\Z)", re.S)
_INCOMPLETE = re.compile(r"^    (Of [^\n]*|If (?:it|that) is no\b[^\n]*|If (?:it|there) (?:is|are) none\b[^\n]*)", re.M)


def incomplete(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for _, entries in _SECTION.findall(ast.get_docstring(node) or ""):
                yield from _INCOMPLETE.findall(entries)


def test_no_description_lacks_its_noun():
    files = [path for folder in ("minisegnet", "kernels", "docs") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): list(incomplete(path.read_text(encoding="utf-8"))) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_incomplete_descriptions_are_found():
    docstring = (
        "Read.\n\nReturns\n-------\narray\n    Of x.\n\nRaises\n------\nValueError\n    If it is no image.\nKeyError\n    If there is none."
    )
    assert list(incomplete(f"def read():\n    {docstring!r}")) == ["Of x.", "If it is no image.", "If there is none."]
