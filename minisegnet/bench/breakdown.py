"""Where the time of a training step goes: every equation that runs is timed, on a GPU by two events in its stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from minisegnet_kernels.cost import Cost, Roof

from .clock import Wall
from .counted import watching

STEPS = 10
REST = "everything else"


@dataclass
class Share:
    """The part of a step that one equation takes.

    Attributes
    ----------
    equation : str
    calls : int
        Calls per step.
    seconds : float
        Time of all calls of a step; the mean over the steps.
    cost : Cost
        Cost of all calls of a step.
    """

    equation: str
    calls: int = 0
    seconds: float = 0.0
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Breakdown:
    """One training step: its median time, and the shares of its equations, the largest first.

    The last share is the rest: copies, the engine, Python.
    """

    seconds: float
    shares: list[Share]
    device: str = "cpu"


def measure(threads: int = 2, steps: int = STEPS, device: str = "cpu") -> Breakdown:
    """Time a U-Net's training step in this process, equation by equation. On a GPU it runs channels last, with TF32."""
    from minisegnet_kernels import backends

    from .libraries import Minisegnet
    from .worker import training_step

    library = Minisegnet("cuda-last" if device == "cuda" else backends.current("cpu"), threads, device)
    phases, _ = training_step(library)
    return replace(divide(phases["step"], steps, library.clock), device=device)


def divide(step: Callable[[], Any], steps: int, clock: Any = None) -> Breakdown:
    """Divide the time of `step` among the equations that it runs. One untimed call beforehand compiles them.

    Parameters
    ----------
    clock : optional
        A clock from the module `clock`; by default `Wall`. Its marks are read after the step, so that nothing waits during
        it. On a GPU the time of an equation includes the time for which the device waited for the host to launch kernels.
    """
    clock = clock or Wall()
    step()
    shares: dict[str, Share] = {}
    marks: list[tuple[str, Cost, Any, Any]] = []
    totals = []
    with watching(lambda *noticed: marks.append(noticed), clock.mark):
        for _ in range(steps):
            start = clock.mark()
            step()
            totals.append(clock.between(start, clock.mark()))
            for equation, cost, before, after in marks:
                share = shares.setdefault(equation, Share(equation))
                share.calls += 1
                share.seconds += clock.between(before, after)
                share.cost += cost
            marks.clear()
    ranked = sorted(shares.values(), key=lambda share: -share.seconds)
    rest = Share(REST, 0, sum(totals) - sum(share.seconds for share in ranked))
    for share in (*ranked, rest):
        share.calls //= steps
        share.seconds /= steps
        share.cost = Cost(share.cost.operations // steps, share.cost.bytes // steps)
    return Breakdown(median(totals), [*ranked, rest])


def from_dict(record: dict[str, Any]) -> Breakdown:
    """Read back a record that ``minisegnet bench --breakdown --json`` wrote."""
    shares = [Share(s["equation"], s["calls"], s["seconds"], Cost(**s["cost"])) for s in record["shares"]]
    return Breakdown(record["seconds"], shares, record["device"])


def table(found: Breakdown, roof: Roof) -> str:
    """A table for the screen: milliseconds, share, the rates that were reached, and percent of the roof."""
    total = sum(share.seconds for share in found.shares)
    head = f"{'equation':30}{'calls':>6}{'ms':>9}{'share':>8}{'GFLOP/s':>9}{'GB/s':>8}{'of roof':>9}"
    lines = [f"one step: {1e3 * found.seconds:.1f} ms", "", head]
    for share in found.shares:
        line = f"{share.equation:30}{share.calls or '':>6}{1e3 * share.seconds:9.2f}{share.seconds / total:8.1%}"
        if share.cost.bytes:
            rates = share.cost.operations / share.seconds / 1e9, share.cost.bytes / share.seconds / 1e9
            line += f"{rates[0]:9.1f}{rates[1]:8.1f}{roof.seconds(share.cost) / share.seconds:9.0%}"
        lines.append(line)
    lines += ["", roof_line(roof)]
    return "\n".join(lines)


def roof_line(roof: Roof) -> str:
    """The roof in words."""
    return f"roof, measured in the same run: {roof.peak / 1e9:.0f} GFLOP/s, {roof.bandwidth / 1e9:.1f} GB/s (ridge {roof.ridge:.1f} FLOP/B)"
