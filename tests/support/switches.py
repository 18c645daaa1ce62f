"""A switch at every check of a CUDA file: one changed copy contains all planted faults, and a number turns one of them on.

What is planted, and where:

==============================================  ==============================================================
an order (<, <=, >, >=), or which thread it is,  it is true; before a ``return``, ``continue`` or ``break``, where
in an ``if``, a ``bool`` with a name, a result   a true condition is the way out, it is false
the same before a ``?``                          it is true (*always*); and, as another fault, false (*never*)
the bound of a ``for`` or ``while``              it is moved by one: < and <= go a step too far, > and >= stop a step
                                                 too soon. Not if it is a constant: such a loop counts registers
``min(a, b)``, ``max(a, b)``                     a; and, as another fault, b
==============================================  ==============================================================

Comparisons stand alone or in a chain of && and ||. Left out: what the compiler computes (``constexpr``), and what only the
emulator or only NVRTC reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from minisegnet_kernels.cuda.source import Source


@dataclass(frozen=True)
class Mutant:
    """A planted fault: its kind, its line, and the text of the line or of the check."""

    kind: str
    file: str
    line: int
    text: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.kind} at {self.file}:{self.line}: {self.text}"


_CHECK = re.compile(r"\s(<|<=|>|>=)\s|\bthreadIdx\.x == ")
_CONSTANT = re.compile(r"(?:[A-Z][A-Z_]+|[\d\s()+*/-])*")  # numbers, and names in capitals
_HEAD = """
static int mutant_number = 0;
static char mutant_reached[{size}];
extern "C" void set_mutant(int number) {{ mutant_number = number; }}
extern "C" char* reached_mutants() {{ return mutant_reached; }}
[[gnu::no_sanitize_thread]] static bool mutant_is(int number) {{ mutant_reached[number] = 1; return mutant_number == number; }}
template <typename T> static T min_or_mutant(int number, T a, T b) {{ return mutant_is(number) ? a : mutant_is(number + 1) ? b : min(a, b); }}
template <typename T> static T max_or_mutant(int number, T a, T b) {{ return mutant_is(number) ? a : mutant_is(number + 1) ? b : max(a, b); }}
#line 1 "{name}"
"""


def switched(source: Source) -> tuple[str, list[Mutant]]:
    """The text with its includes inserted and a switch at every check, and the list of checks, those of included files too."""
    text = source.whole()
    bare, place = _bare(text), _Places(text, source.path.name)
    found: list[Mutant] = []
    inserted: list[tuple[int, int, str]] = []  # (position, order at that position, text)

    def add(start: int, said: str) -> int:
        found.append(Mutant("check", *place(start), " ".join(said.split()), len(found) + 1))
        return len(found)

    for first, last, kind in _conditions(bare):
        for start, part in _parts(bare, first, last):
            end = start + len(part)
            if kind == "bound":
                bound = re.search(r"\s(<|<=|>|>=)\s(.*)", part, re.S)
                if bound and (bound[1][0] == ">" or not _CONSTANT.fullmatch(bound[2])):
                    inserted.append((end, 0, f" + mutant_is({add(start, part)})"))
            elif kind == "choice":
                always, never = add(start, f"{part} [always]"), add(start, f"{part} [never]")
                inserted += [(start, start - end, f"(mutant_is({always}) || (!mutant_is({never}) && ("), (end, end - start, ")))")]
            else:
                value = "!" if kind == "way out" else ""
                number = add(start, part)
                inserted += [(start, start - end, f"({value}mutant_is({number}) {'&&' if value else '||'} ("), (end, end - start, "))")]
    for match in re.finditer(r"\b(min|max)\(", bare):
        said = bare[match.start() : _closed(bare, match.end())]
        number = add(match.start(), f"{said} [first]")
        add(match.start(), f"{said} [second]")
        inserted.append((match.end(1), 0, "_or_mutant"))
        inserted.append((match.end(), 0, f"{number}, "))
    pieces, end = [], 0
    for where, _, what in sorted(inserted):  # at one position, closing text comes before opening text, and inner before outer
        pieces += [text[end:where], what]
        end = where
    return _HEAD.format(size=len(found) + 1, name=source.path.name) + "".join(pieces) + text[end:], _told_apart(found)


def _told_apart(found: list[Mutant]) -> list[Mutant]:
    """Number checks of one file that have the same text: the second is "... (2)", and so on."""
    seen: Counter[tuple[str, str]] = Counter()
    named = {}
    for mutant in sorted(found, key=lambda m: (m.file, m.line, m.number)):
        seen[mutant.file, mutant.text] += 1
        count = seen[mutant.file, mutant.text]
        named[mutant.number] = replace(mutant, text=f"{mutant.text} ({count})") if count > 1 else mutant
    return [named[mutant.number] for mutant in found]


def _bare(text: str) -> str:
    """The text with everything that is not run (comments, directives, assertions, constants of the compiler) replaced by blanks."""
    patterns = (r"//[^\n]*", r"^#ifndef EMULATOR\n.*?^#endif", r"^#[^\n]*(?<!\\)$", r"^#(?:[^\n]*\\\n)+[^\n]*", r"static_assert\([^;]*;")
    patterns += (r"\bconstexpr [^;={(]*=[^;]*;",)
    for pattern in patterns:
        text = re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.M | re.S)
    return text


class _Places:
    """The file and line of a position in a text with ``#line`` directives."""

    def __init__(self, text: str, name: str):
        self.text, self.name = text, name
        self.marks = [(m.end() + 1, int(m[1]), m[2]) for m in re.finditer(r'^#line (\d+) "([^"]+)"$', text, re.M)]

    def __call__(self, start: int) -> tuple[str, int]:
        at, line, file = max((m for m in self.marks if m[0] <= start), default=(0, 1, self.name))
        return file, line + self.text.count("\n", at, start)


def _conditions(bare: str) -> Iterator[tuple[int, int, str]]:
    """The start and end of each condition, and its kind."""
    for match in re.finditer(r"\bif \(", bare):
        end = _closed(bare, match.end())
        way_out = re.match(r"\s*\{?\s*(return|continue|break)\b", bare[end:])
        yield match.end(), end - 1, "way out" if way_out else "guard"
    for match in re.finditer(r"\bwhile \(", bare):
        yield match.end(), _closed(bare, match.end()) - 1, "bound"
    for match in re.finditer(r"\bfor \([^;]*;([^;]*);", bare):
        yield match.start(1), match.end(1), "bound"
    for match in re.finditer(r"\bbool \w+ = ([^;?]*);|\breturn ([^;?{}]*);", bare):
        yield *match.span(match.lastindex or 0), "guard"
    for match in re.finditer(r" \? ", bare):
        yield _start_of_choice(bare, match.start()), match.start(), "choice"


def _closed(bare: str, place: int) -> int:
    """The position after the bracket that closes the one before `place`."""
    depth = 1
    while depth:
        depth += (bare[place] == "(") - (bare[place] == ")")
        place += 1
    return place


def _start_of_choice(bare: str, end: int) -> int:
    """The start of the condition that ends before a ``?``."""
    depth, place = 0, end
    while depth or not re.match(r"[(,;{}?:]|\breturn |(?<![<>=!])= ", bare[place - 1 :]) or bare[place - 2 : place] == "::":
        place -= 1
        depth += (bare[place] in ")]}") - (bare[place] in "([{")
    return place - 1 + len(re.match(r"return |= |.", bare[place - 1 :], re.S)[0])  # type: ignore[index]


def _parts(bare: str, first: int, last: int) -> Iterator[tuple[int, str]]:
    """The checks in a chain of && and ||, each with its position."""
    start = first
    for part in re.split(r"(&&|\|\|)", bare[first:last]):
        if _CHECK.search(part) and all(part.count(a) == part.count(b) for a, b in ("()", "[]", "{}")):
            yield start + len(part) - len(part.lstrip()), part.strip()
        start += len(part)
