"""The ladder as a course: one page a rung in ``docs/rungs``, written by ``python docs/build.py``.

A page holds what the header of the ``.cu`` file teaches, which thread computes what, what the emulator counted and the compiler reported
beside the rung that this one is built on, the layers that go to it, and its program with the lines that are new.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import glossary
from rung_tables import BUILT_ON, FOLDER, HERE, WORDS, below, compiled, counted, layers, rungs_of, source_of

from minisegnet_kernels.conv2d.ladder import Rung

HEADER = "<!-- Written by docs/build.py from kernels/minisegnet_kernels/conv2d; edit the code, not this page. -->\n\n"
#: How a file of the ladder opens, and the words with which its paragraphs begin.
TITLE = re.compile(r"^Rung \w+, (.+?)[:.](?=\s)")
LEAD = r"What (?:it adds|it costs|holds it back)|Bound on an H100|Serves"

#: The rungs whose recording a reader can step through, on the site.
REPLAYS = {"rung2_tile": ("<!-- explorer replay -->",)}


def pages() -> dict[Path, str]:
    """All files that belong in ``docs/rungs``, with their text."""
    return {HERE / "rungs" / f"{stem}.md": page(stem) for stem in BUILT_ON}


def page(stem: str) -> str:
    """The Markdown page of one ``.cu`` file."""
    rungs = rungs_of(stem)
    rung = rungs[0]
    parts = [
        f"# Rung {rung.label}: {_title(stem)}",
        _neighbours(stem),
        f"**{rungs[0].idea}**",
        _facts(stem, rungs),
        "## The idea",
        markdown(header(source_of(stem).read_text(encoding="utf-8"))),
    ]
    for name in new_headers(stem):
        parts += [f"## Its header `{name}`", markdown(header((FOLDER / name).read_text(encoding="utf-8")))]
    parts += ["## Which thread computes what", _threads(stem), *REPLAYS.get(stem, ()), "## What the emulator counts", counted(rungs)]
    parts += ["## What the compiler reports", compiled(stem), "## Which layers go to it", layers(rungs), "## The program", _program(stem)]
    parts += [_neighbours(stem)]
    return HEADER + glossary.linked("\n\n".join(parts), "../glossary.md") + "\n"


def new_headers(stem: str) -> list[str]:
    """The headers of the ladder's folder that a file includes and that no file below it does."""
    known = {name for under in below(stem) for name in _included(source_of(under))}
    return [name for name in _included(source_of(stem)) if name.endswith(".cuh") and name not in known]


def _included(path: Path) -> list[str]:
    return re.findall(r'^#include "([^"/]+)"', path.read_text(encoding="utf-8"), re.M)


def header(text: str) -> str:
    """The comment with which a file opens, without its slashes."""
    lines = re.match(r"(?://.*\n)+", text)[0].splitlines()  # type: ignore[index]
    return "\n".join(line.removeprefix("//").removeprefix(" ") for line in lines)


def markdown(comment: str) -> str:
    """A comment as Markdown: an indented block is a drawing or a formula, and a file of the ladder is a link."""
    comment = TITLE.sub("", re.sub(r"\n +\n", "\n\n", comment.strip("\n")), count=1).strip("\n ")
    comment = re.sub(rf"(?<=[^\n])\n(?={LEAD})", "\n\n", comment)
    made: list[str] = []
    for part in comment.split("\n\n"):
        drawing = part.startswith("  ")
        if drawing and made and made[-1].startswith("```text"):
            made[-1] = made[-1].removesuffix("\n```") + f"\n\n{part}\n```"
        else:
            made.append(f"```text\n{part}\n```" if drawing else re.sub(f"^({LEAD})", r"**\1**", _linked(part)))
    return "\n\n".join([made[0][:1].upper() + made[0][1:], *made[1:]])


def _linked(prose: str) -> str:
    return re.sub(
        r"(?<![\w/`])((?:rung\w+|kernel|matrix|statistics|tf32_pipeline|split_reduction)\.cuh?)\b", _link, prose.replace("<", "&lt;")
    )


def _link(found: re.Match) -> str:
    folder = "conv2d" if found[1] == "kernel.cu" else "conv2d/ladder"
    return f"[`{found[1]}`](../../kernels/minisegnet_kernels/{folder}/{found[1]})"


def _title(stem: str) -> str:
    """The title of a page: that of the file, which is its first words."""
    found = TITLE.match(header(source_of(stem).read_text(encoding="utf-8")))
    return found[1] if found else "the plain program"


def _neighbours(stem: str) -> str:
    order = list(BUILT_ON)
    place = order.index(stem)
    links = ["[the ladder](../ladder.md)"]
    if place:
        links.insert(0, f"[← {_name(order[place - 1])}]({order[place - 1]}.md)")
    if place + 1 < len(order):
        links.append(f"[{_name(order[place + 1])} →]({order[place + 1]}.md)")
    return " · ".join(links)


def _name(stem: str) -> str:
    """What a link to a page says: the rung's label and name, and for the gradients of rung 8 their equation."""
    rung = rungs_of(stem)[0]
    name = rung.name.replace("_", " ").replace("tf32", "TF32").replace("TF32 tuned", "TF32, tuned")
    name = name.replace("gemm", "GEMM").replace("winograd", "Winograd")
    return f"{rung.label} {name}, {WORDS[rung.equation]}" if rung.number == 8 else f"{rung.label} {name}"


def _page_link(stem: str) -> str:
    return f"[{_name(stem)}]({stem}.md)"


def _facts(stem: str, rungs: list[Rung]) -> str:
    """The equations, what each serves, what the GPU needs, and the files."""
    equations = [f"| [`{r.equation}`](../mapping/conv2d.md#{r.equation.replace('.', '')}) | {r.needs} |" for r in rungs]
    lines = ["| equation | serves |", "|---|---|", *equations, ""]
    under = BUILT_ON[stem]
    built = f"Built on {_page_link(under)}. " if under else ""
    needs = (
        f"It needs compute capability {'.'.join(map(str, rungs[0].capability))}. " if any(rungs[0].capability) else "Every GPU can run it. "
    )
    if rungs[0].tf32:
        needs += "Its inputs are rounded to TF32, so `ms.backend.allow_tf32` must be on. "
    host = FOLDER / f"{stem}.py"
    files = " and ".join(f"[`{path.name}`](../../{path.relative_to(HERE.parent).as_posix()})" for path in (source_of(stem), host))
    lines.append(f"{built}{needs}The program is {files}, which launches it.")
    return "\n".join(lines)


def _threads(stem: str) -> str:
    """What the comments above the kernels and their parts call "Thread map"."""
    rows: dict[str, list[str]] = {}
    for name in [f"{FOLDER.name}/{n}" for n in new_headers(stem)] + [source_of(stem).relative_to(FOLDER.parent).as_posix()]:
        text = (FOLDER.parent / name).read_text(encoding="utf-8")
        for comment, code in re.findall(r"((?:^//.*\n)+)((?:^(?!//).*\n){1,4})", text, re.M):
            flat = " ".join(line.removeprefix("//").strip() for line in comment.splitlines())
            function = re.search(r"(\w+)\((?=Array|const|Array<)", code)
            if "Thread map:" in flat and function and "_relu" not in function[1]:
                said = re.sub(r" [A-Z]+ = [\d, ]+$", "", flat.partition("Thread map:")[2].strip())
                rows.setdefault(said, []).append(f"`{function[1]}`")
    table = [f"| {', '.join(names)} | {_linked(said).replace('|', chr(92) + '|')} |" for said, names in rows.items()]
    return "\n".join(["| function | threads |", "|---|---|", *table])


def _program(stem: str) -> str:
    """The file without its header; beside the rung that it is built on, new lines have a plus and lines that fall away a minus."""
    under, code = BUILT_ON[stem], _code(source_of(stem))
    if under is None or source_of(under).name in _included(source_of(stem)):
        included = f" It includes all of {_page_link(under)}; these lines are all that it adds." if under else ""
        return f"{included}\n\n<details><summary>{source_of(stem).name}</summary>\n\n```cpp\n{code}\n```\n\n</details>".strip()
    headers = new_headers(stem)
    old = _with_headers(under, [name for name in new_headers(under) if name not in _included(source_of(stem))])
    lines = list(difference(old.splitlines(), _with_headers(stem, headers).splitlines()))
    kept, added = (sum(line.startswith(mark) and bool(line[1:].strip()) for line in lines) for mark in " +")
    said = (
        f"Of its lines, {kept} are those of {_page_link(under)} and {added} are new (+); a minus marks lines of that rung that fall away."
    )
    return (
        f"{said}\n\n<details><summary>{source_of(stem).name}, and what it changes</summary>\n\n```diff\n"
        + "\n".join(lines)
        + "\n```\n\n</details>"
    )


def difference(old: list[str], new: list[str]) -> Iterator[str]:
    """All lines, marked " " where both programs have them, "-" and "+". A line of a few signs alone, such as a brace, matches nothing."""
    matcher = SequenceMatcher(lambda line: len(line.strip()) < 8, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield from (f" {line}" for line in new[c:d])
        else:
            yield from (f"-{line}" for line in old[a:b])
            yield from (f"+{line}" for line in new[c:d])


def _with_headers(stem: str, names: list[str]) -> str:
    return "\n\n".join([_code(FOLDER / name) for name in names] + [_code(source_of(stem))])


def _code(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return text[re.match(r"(?://.*\n)+", text).end() :].strip("\n")  # type: ignore[union-attr]
