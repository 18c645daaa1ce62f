"""Every ``pip install`` in the pages, the messages and the docstrings works as it is typed."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.quick
ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
KNOWN: dict[str, list[Requirement]] = {}
for listed in (PROJECT["dependencies"], *EXTRAS.values()):
    for one in map(Requirement, listed):
        KNOWN.setdefault(one.name, []).append(one)

#: What only a clone has, so that its reader is in the clone; and what is installed, whose messages have to say so.
IN_THE_CLONE = [
    *ROOT.glob("*.md"),
    *(p for folder in ("docs", "tutorials", "tests") for e in ("md", "py") for p in (ROOT / folder).rglob(f"*.{e}")),
]
INSTALLED = [path for folder in ("minisegnet", "kernels") for path in (ROOT / folder).rglob("*.py")]
_LINE = re.compile(r"pip install((?:\s+(?:-\w+|\"[^\"]*\"|'[^']*'|[\w.][^\s\"'`;,:()#]*))+)")


def mistakes(text: str, clone: bool) -> list[str]:
    """What is wrong with the lines of a text. `clone` is whether its reader is in the clone."""
    return [fault for line in text.splitlines() for found in _LINE.finditer(line) for fault in _faults(line, found.group(1), clone)]


def _faults(line: str, arguments: str, clone: bool):
    words = [word for word in re.findall(r"\"[^\"]*\"|'[^']*'|\S+", arguments) if not word.startswith("-")]
    for position, word in enumerate(words):
        argument = word.strip("\"'")
        if word == argument != ".":
            word = argument = argument.rstrip(".\\")  # the end of a sentence, or of a pattern
        name = re.split(r"[\[<>=!~.]", argument)[0]
        prose = position > 0 and word == argument and name not in KNOWN  # the sentence goes on
        if prose or "{" in argument or argument.startswith("git+"):
            continue
        if word == argument and re.search(r"[\[<>]", argument):
            yield f"{word}: a shell reads [ and > itself: quote it"
        elif argument.startswith("."):
            if not clone and "in the clone" not in line and argument != ".":
                yield f"{word}: say that it is typed in the clone"
            for extra in re.findall(r"[\w-]+", argument):
                if extra not in EXTRAS:
                    yield f"{word}: pyproject.toml has no extra {extra!r}"
        elif name not in KNOWN or name == PROJECT["name"]:
            yield f"{word}: pyproject.toml does not list it"
        elif not any(_same(Requirement(argument), listed) for listed in KNOWN[name]):
            yield f"{word}: pyproject.toml has {' or '.join(map(str, KNOWN[name]))}"


def _same(given: Requirement, listed: Requirement) -> bool:
    """Whether pip installs what the project was tested with: a bound from above must be there."""
    bounded = any(s.operator in ("<", "<=", "==", "~=") for s in listed.specifier)
    return given.extras <= listed.extras and (given.specifier == listed.specifier or not (bounded or given.specifier))


def test_every_line_works_as_it_is_typed():
    files = {path: True for path in IN_THE_CLONE if path != Path(__file__)} | dict.fromkeys(INSTALLED, False)
    found = {str(path.relative_to(ROOT)): mistakes(path.read_text(encoding="utf-8"), clone) for path, clone in files.items()}
    assert {path: faults for path, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("needs SciPy: pip install 'minisegnet[voc]'", "does not list it"),
        ("see pip install scippy", "does not list it"),
        ('pip install ".[largest]" in the clone', "no extra 'largest'"),
        ('pip install ".[large]"', "in the clone"),
        ("pip install pyvips[binary]", "quote it"),
        ("pip install numba-cuda", "pyproject.toml has numba-cuda"),
        ('pip install "pyvips[all]"', "pyproject.toml has pyvips"),
        ('pip install scipy "numba-cuda>=0.2"', "pyproject.toml has numba-cuda"),
    ],
)
def test_a_line_that_does_not_work_is_found(line, fault):
    (found,) = mistakes(line, clone=False)
    assert fault in found


def test_lines_that_work_are_left_alone():
    text = """pip install scipy. The same labels as PNGs
    pip install -e ".[dev]" in the clone; pip install torch  # optional
    pip install "numba-cuda>=0.30,<0.31"; pip install cuda-bindings nvidia-cuda-nvrtc-cu12`` is the compiler"""
    assert mistakes(text, clone=False) == []
