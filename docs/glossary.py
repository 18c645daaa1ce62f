"""The glossary of the site: its terms, and the links to them from pages that are generated."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).with_name("glossary.md")


@cache
def terms() -> dict[str, str]:
    """The terms of ``glossary.md`` and what each means."""
    text = PAGE.read_text(encoding="utf-8")
    return {term: " ".join(meaning.split()) for term, meaning in re.findall(r"^### (.+)\n\n((?:(?!#).+\n)+)", text, re.M)}


def anchor(term: str) -> str:
    """The anchor of a term on the page, on the site as on GitHub."""
    return re.sub("[^a-z0-9-]", "", term.lower().replace(" ", "-"))


def linked(markdown: str, path: str) -> str:
    """The first time that a term stands in the prose of a page, it becomes a link to its meaning; `path` leads to the glossary."""
    longest_first = sorted(terms(), key=len, reverse=True)
    word = re.compile(rf"(?<![\w`.])({'|'.join(map(re.escape, longest_first))})(s?)(?![\w`])")
    skipped = re.compile(r"(^```.*?^```$|^#[^\n]*$|^<!--[^\n]*$|\[[^\]]*\]\([^)]*\)|`[^`\n]*`|<[^>\n]*>)", re.M | re.S)
    met: set[str] = set()

    def link(found: re.Match) -> str:
        term = found[1]
        if term in met:
            return found[0]
        met.add(term)
        return f"[{found[0]}]({path}#{anchor(term)})"

    return "".join(piece if k % 2 else word.sub(link, piece) for k, piece in enumerate(skipped.split(markdown)))
