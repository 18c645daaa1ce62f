"""Planted faults for CUDA kernels: a barrier, a wait or a commit is left out, or a check is removed.

The emulator skips barriers, waits and commits at run time, so nothing is compiled again. Checks are removed in one changed
copy of the file, in which a number selects the check that is off (``switches.py``).

A *trial* is a call that returns whether it noticed a fault: a wrong result, or a report of the emulator.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, given, settings
from operations import RARE, TABLE, Case, map_arrays

from minisegnet_kernels import emulator, registry
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.cuda.source import COMMON, Source, parse
from minisegnet_kernels.emulator import build
from minisegnet_kernels.layout import channels_last
from support import score
from support.checks import assert_close, run
from support.switches import Mutant, switched

Trial = Callable[[], bool]

OPERATIONS = [name for name in registry.OPERATIONS if (registry._ROOT / name / "kernel.cu").exists()]
#: Faults that cannot be noticed in any file: {(file, the line of a barrier or the text of a check): why the result does not change}.
EVERYWHERE = {("common.cuh", "a.shape[1] > 1"): "with one channel both layouts give the same index"}

# --- cases --------------------------------------------------------------------------------------


def cases(operation: str, count: int, table: Iterable = TABLE) -> list[tuple]:
    """(row, case) for every equation of an operation, the same in every run. The last of each kind is also given channels last."""
    found = []
    for row in table:
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


def trials(operation: str, count: int) -> list[Trial]:
    """Trials of the table's cases and the rare ones. NumPy's program in float64 gives the expected results; the oracle is too slow."""
    return [_trial(row, case) for row, case in [*cases(operation, count), *cases(operation, count, RARE)]]


def _trial(row, case: Case) -> Trial:
    right = row.expected(case.cast("float64")) if row.expected else run(row, "numpy", case.cast("float64"))
    return lambda: noticed(lambda: assert_close(run(row, "cuda", case.cast("float32")), right, "float32", row.terms(case)))


def noticed(check: Callable[[], object]) -> bool:
    """Whether a check finds a wrong result or the emulator reports an error."""
    try:
        check()
    except (AssertionError, emulator.KernelError, ValueError, IndexError):
        return True
    return False


# --- barriers, waits and commits -----------------------------------------------------------------------


def missed_barriers(module: Module, trials: list[Trial]) -> tuple[list[Mutant], list[Mutant]]:
    """The barriers, waits and commits of a file that the trials reach; and those among them whose removal no trial notices."""
    texts = {path.name: path.read_text().split("\n") for path in (*module.path.parent.glob("*.cu*"), *COMMON.parent.glob("*.cuh"))}
    reached: dict[Mutant, list[tuple[float, int, Trial]]] = {}
    for number, trial in enumerate(trials):
        start = time.perf_counter()
        with emulator.launches() as seen:
            assert not trial(), "a trial rejects the unchanged program"
        cost = time.perf_counter() - start
        for file, line, kind in {site for launch in seen for site in launch.sites if site[0] in texts}:
            reached.setdefault(Mutant(kind, file, line, texts[file][line - 1].strip()), []).append((cost, number, trial))
    survivors = [m for m, those in reached.items() if not _barrier_is_missed(m, [t for _, _, t in sorted(those)])]
    return list(reached), survivors


def _barrier_is_missed(mutant: Mutant, trials: list[Trial]) -> bool:
    for watched in (True, False):
        for schedule in ("reverse", "random", "forward"):
            with emulator.options(skip=(mutant.file, mutant.line), schedule=schedule, seed=5, watched=watched):
                if any(trial() for trial in trials):
                    return True
    return False


# --- checks -----------------------------------------------------------------------------------------


def modules(operation: str) -> list[Module]:
    """The module of an operation's kernel.cu: a global of the files that launch its programs."""
    launching = [e.program("cuda").__globals__ for e in registry.equations(operation) if "cuda" not in e.missing]
    found = [m for names in launching for m in names.values() if isinstance(m, Module) and m.path.parent.name == operation]
    return list({id(m): m for m in found}.values())


@contextmanager
def changed(module: Module, text: str) -> Iterator[Source]:
    """Inside the block, the module is compiled from `text`, not from its file."""
    original = module.source
    try:
        module.__dict__["source"] = parse(original.path, text)
        yield module.source
    finally:
        module.__dict__["source"] = original


def missed_checks(module: Module, trials: list[Trial]) -> tuple[list[Mutant], list[Mutant]]:
    """The checks of a file, and those among them whose removal no trial notices. Checks of included files count if reached."""
    text, found = switched(module.source)
    with changed(module, text) as source, emulator.options(watched=True):
        library = build.library(source, "watched")
        library.reached_mutants.restype = ctypes.c_void_p
        switches = (ctypes.c_char * (len(found) + 1)).from_address(library.reached_mutants())
        reached: dict[int, list[tuple[float, int, Trial]]] = {}
        for number, trial in enumerate(trials):
            ctypes.memset(switches, 0, len(switches))
            start = time.perf_counter()
            assert not trial(), "a trial rejects the unchanged program"
            cost = time.perf_counter() - start
            for mutant in (k for k, flag in enumerate(switches.raw) if flag):
                reached.setdefault(mutant, []).append((cost, number, trial))
        for mutant in found:
            score.reach(mutant.file, mutant.text, mutant.number in reached)
        found = [m for m in found if m.file == module.path.name or m.number in reached]
        survivors = []
        for mutant in found:
            library.set_mutant(mutant.number)
            try:
                if not any(trial() for _, _, trial in sorted(reached.get(mutant.number, []))):
                    survivors.append(mutant)
            finally:
                library.set_mutant(0)
    return found, survivors


# --- the score ----------------------------------------------------------------------------------------


def assert_all_rejected(name: str, kind: str, found: list[Mutant], survivors: list[Mutant], equivalent: dict[tuple[str, str], str]) -> None:
    """Record the score. Fail if a fault survives that `equivalent`, {(file, text): proof}, does not list, or if a listed one is noticed."""
    explained = [m for m in survivors if (m.file, m.text) in equivalent]
    score.count(name, kind, len(found) - len(survivors), len(found), len(explained))
    unexplained = sorted(str(m) for m in survivors if m not in explained)
    assert not unexplained, "no trial notices the removal of\n" + "\n".join(unexplained)
    stale = {(m.file, m.text) for m in found} & set(equivalent) - {(m.file, m.text) for m in survivors}
    assert not stale, f"listed as equivalent, but noticed: {sorted(stale)}"
