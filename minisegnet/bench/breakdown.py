"""Where the time of a training step goes: a clock around every equation that runs."""

from __future__ import annotations

import time
from collections import Counter
from statistics import median
from unittest import mock

STEPS = 10


def breakdown(threads: int = 2) -> str:
    """A table of one training step's time by equation, in this process.

    What no equation accounts for (copies, the engine, Python) is in the last line.
    """
    from minisegnet_kernels import backends

    from .worker import Minisegnet, training_step

    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    program_of = backends._program

    def timed(equation: str, backend: str, device: str):
        program = program_of(equation, backend, device)

        def run(*arrays, **options):
            start = time.perf_counter()
            value = program(*arrays, **options)
            spent[equation] += time.perf_counter() - start
            calls[equation] += 1
            return value

        return run

    phases, _ = training_step(Minisegnet(backends.current("cpu"), threads, "cpu"))
    phases["step"]()  # compiles
    totals = []
    with mock.patch.object(backends, "_program", timed):
        for _ in range(STEPS):
            start = time.perf_counter()
            phases["step"]()
            totals.append(time.perf_counter() - start)
    rest = sum(totals) - sum(spent.values())
    lines = [f"one step: {1e3 * median(totals):.1f} ms (median of {STEPS})", "", f"{'equation':30}{'calls':>6}{'ms':>9}{'share':>8}"]
    for equation, seconds in [*spent.most_common(), ("everything else", rest)]:
        count = str(calls[equation] // STEPS) if equation in calls else ""
        lines.append(f"{equation:30}{count:>6}{1e3 * seconds / STEPS:9.2f}{seconds / sum(totals):8.1%}")
    return "\n".join(lines)
