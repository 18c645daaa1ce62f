"""Planted faults for CUDA kernels: a barrier left out, a check taken away.

Barriers and waits are skipped by the emulator as it runs, so nothing is compiled again. Checks are
taken away in one changed copy of the file, in which a number says which check does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

from hypothesis import HealthCheck, Phase, given, settings
from operations import TABLE, Case, map_arrays
from test_parity import assert_close, run

from minisegnet_kernels import emulator
from minisegnet_kernels.cuda import Module, channels_last
from minisegnet_kernels.cuda.source import Source, parse
from minisegnet_kernels.emulator import build


@dataclass(frozen=True)
class Mutant:
    """A fault: what kind, in which line, and the text of the line."""

    kind: str
    file: str
    line: int
    text: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.kind} at {self.file}:{self.line}: {self.text}"


# --- cases --------------------------------------------------------------------------------------


def cases(operation: str, count: int) -> list[tuple]:
    """(row, case) of every equation of an operation, the same ones in every run; the last of each kind lies channels last too."""
    found = []
    for row in TABLE:
        if row.equation.partition(".")[0] == operation:
            for strategy in (row.cases, row.large):
                if strategy is None:
                    continue
                drawn = _drawn(strategy, count if strategy is row.cases else max(count // 6, 1))
                found += [(row, case) for case in [*drawn, _channels_last(drawn[-1])]]
    return found


def _channels_last(case: Case) -> Case:
    relaid = lambda a: channels_last(a) if a.ndim == 4 and a.dtype.kind == "f" else a
    return Case({name: map_arrays(relaid, a) for name, a in case.arrays.items()}, case.options)


def _drawn(strategy, count: int) -> list:
    collected: list = []

    @settings(
        max_examples=count, phases=[Phase.generate], derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def collect(case):
        collected.append(case)

    collect()
    return collected


# --- barriers and waits ----------------------------------------------------------------------------


def barriers(operation: str, drawn: list[tuple]) -> dict[Mutant, list[tuple]]:
    """Each barrier and wait that the cases reach, with the cases that reach it."""
    reached: dict[Mutant, list[tuple]] = {}
    for row, case in drawn:
        with emulator.launches() as seen:
            _check(row, case)
        for file, line, kind in {site for launch in seen for site in launch.sites}:
            mutant = Mutant(kind, file, line, _line(operation, file, line))
            reached.setdefault(mutant, []).append((row, case))
    return reached


def _line(operation: str, file: str, line: int) -> str:
    for module in modules(operation):
        for path in (
            module.path,
            module.path.parent.parent / "cuda" / file,
            module.path.parent / file,
            module.path.parent / "ladder" / file,
        ):
            if path.name == file and path.exists():
                return path.read_text().split("\n")[line - 1].strip()
    return "?"


def barrier_is_missed(mutant: Mutant, drawn: list[tuple]) -> bool:
    """Whether, without the barrier, some case gives a wrong result or a report."""
    for watched in (True, False):
        for schedule in ("reverse", "random", "forward"):
            for row, case in drawn:
                with emulator.options(skip=(mutant.file, mutant.line), schedule=schedule, seed=5, watched=watched):
                    if _rejected(row, case):
                        return True
    return False


# --- checks -----------------------------------------------------------------------------------------


def modules(operation: str) -> list[Module]:
    """The CUDA modules of an operation's host side."""
    return [m for m in vars(import_module(f"minisegnet_kernels.{operation}.kernel")).values() if isinstance(m, Module)]


def checks(source: Source, named: bool = False) -> tuple[str, list[Mutant]]:
    """The text with a switch at every check, and the checks.

    A check is a comparison by order (<, <=, >, >=) that stands alone or in a chain of && in the
    condition of an ``if`` or before a ``?``. Taken away, it holds; before a ``return`` or
    ``continue``, where it is the way out, it does not. With `named`, also what a ``const bool`` is made of.
    """
    text, found = source.text, []
    pieces, end = [], 0
    for first, last, way_out in _conditions(text, named):
        start = first
        for part in re.split(r"(&&|\|\|)", text[first:last]):
            if part not in ("&&", "||") and re.search(r"[^<>]\s(<|<=|>|>=)\s[^<>]", part) and part.count("(") == part.count(")"):
                number = len(found) + 1
                line = text.count("\n", 0, start) + 1
                found.append(Mutant("check", source.path.name, line, part.strip(), number))
                switched = f"(mutant_is({number}) ? {str(not way_out).lower()} : ({part.strip()}))"
                pieces += [text[end:start], switched]
                end = start + len(part)
            start += len(part)
    head = 'static int mutant_number = 0;\nextern "C" void set_mutant(int number) { mutant_number = number; }\n'
    head += "static bool mutant_is(int number) { return mutant_number == number; }\n#line 1\n"
    return head + "".join(pieces) + text[end:], found


def _conditions(text: str, named: bool = False) -> Iterator[tuple[int, int, bool]]:
    """First and last + 1 character of each condition, and whether it guards a way out; those of comments left out."""
    bare = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), text)
    spans = []
    for match in re.finditer(r"\bif (?:constexpr )?\(", bare):
        depth, place = 1, match.end()
        while depth:
            depth += (bare[place] == "(") - (bare[place] == ")")
            place += 1
        if "constexpr" not in match[0]:
            spans.append((match.end(), place - 1, bool(re.match(r"\s*\{?\s*(return|continue|break)\b", bare[place:]))))
    for match in re.finditer(r"(?<=[=(,] )([^=;?(){},]*(?:\([^()]*\)[^=;?(){},]*)*?[<>]=?[^=;?{},]*?) \?", bare):
        if match[1].count("(") == match[1].count(")"):
            spans.append((match.start(1), match.end(1), False))
    if named:
        spans += [(m.start(1), m.end(1), False) for m in re.finditer(r"\bconst bool \w+ = ([^;?]*);", bare)]
    yield from sorted(spans)


@contextmanager
def changed(module: Module, text: str) -> Iterator[Source]:
    """The module with another text in the place of its file."""
    original = module.source
    try:
        module.__dict__["source"] = parse(original.path, text)
        yield module.source
    finally:
        module.__dict__["source"] = original


def missed_checks(operation: str, drawn: list[tuple]) -> tuple[list[Mutant], list[Mutant]]:
    """All checks of an operation's files, and those whose absence no case notices."""
    everything, survivors = [], []
    for module in modules(operation):
        text, found = checks(module.source)
        everything += found
        with changed(module, text) as source, emulator.options(watched=True):
            library = build.library(source, "watched")
            for mutant in found:
                library.set_mutant(mutant.number)
                try:
                    if not any(_rejected(row, case) for row, case in drawn):
                        survivors.append(mutant)
                finally:
                    library.set_mutant(0)
    return everything, survivors


def _check(row, case) -> None:
    """Against NumPy's program in float64: the oracle would take minutes on the large cases."""
    case = case.cast("float32")
    expected = run(row, "numpy", case.cast("float64"))
    assert_close(run(row, "cuda", case), expected, "float32", row.terms(case))


def _rejected(row, case) -> bool:
    try:
        _check(row, case)
    except (AssertionError, emulator.KernelError, ValueError, IndexError):
        return True
    return False
