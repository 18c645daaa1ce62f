"""Ask the workers in turn, compare their results, and keep the medians."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from minisegnet_kernels.cost import Cost, Roof

from .cases import CASES, STEP

#: Of the results that are compared: before any time counts, and again when all are measured.
SEED, AFTER = 0, 1000
#: PyTorch's own default first; then channels last, and both without TF32.
PEERS_ON_GPU = ["torch", "torch-last", "torch-fp32", "torch-last-fp32"]


@dataclass(frozen=True)
class Result:
    """Timings of one phase of one case in one library.

    Attributes
    ----------
    case, phase, library : str
    seconds : float
        Median.
    quartiles : (float, float)
    peak_mib : float
        Largest memory of the worker so far, in MiB.
    operations, bytes : int
        Of the phase, from the cost model: the same for all libraries, whatever they really do.
    roof_seconds : float
        The least time for these under the roof that was measured in the same run.
    precision : {"float32", "tf32"}
        Of the library's matrix products, and so whose roof that was.
    error : float
        Largest difference of any result of the case from the first library's, over two seeds, relative to
        the largest value of that result.
    deterministic : bool or None
        Whether two runs gave the same bits.
    """

    case: str
    phase: str
    library: str
    seconds: float
    quartiles: tuple[float, float]
    peak_mib: float
    operations: int = 0
    bytes: int = 0
    roof_seconds: float = 0.0
    precision: str = "float32"
    error: float = 0.0
    deterministic: bool | None = None


@dataclass(frozen=True)
class Run:
    """What was measured together: the results, and the roof of each precision."""

    results: list[Result]
    roofs: dict[str, Roof]


class DisagreementError(AssertionError):
    """Two libraries computed different results, so that their times mean nothing."""


@contextmanager
def _worker(library: str, threads: int, device: str) -> Iterator[Callable[[dict], dict]]:
    command = [sys.executable, "-m", "minisegnet.bench.worker", library, str(threads), device]
    limits = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits})
    assert process.stdin and process.stdout
    source, sink = process.stdout, process.stdin

    def ask(request: dict) -> dict:
        sink.write(json.dumps(request) + "\n")
        sink.flush()
        line = source.readline()
        if not line:
            raise RuntimeError(f"the worker of {library} ended (exit code {process.wait()}); its message is above")
        return json.loads(line)

    try:
        yield ask
    finally:
        sink.close()
        process.wait()


def libraries(device: str = "cpu") -> list[str]:
    """What can be measured here: the backends of the device, and PyTorch where it is installed."""
    ours, peers = (["numpy", "numba"], ["torch"]) if device == "cpu" else (["numpy", "numba_cuda", "cuda-fp32", "cuda"], PEERS_ON_GPU)
    return ours + (peers if find_spec("torch") else [])


def roof(library: str, threads: int = 2, device: str = "cpu") -> Roof:
    """What one library's best matrix product and copy reach, in a process of its own."""
    with _worker(library, threads, device) as ask:
        answer = ask({"roof": True})
    return Roof(answer["peak"], answer["bandwidth"])


def run(
    names: list[str] | None = None,
    *,
    who: list[str] | None = None,
    threads: int = 2,
    device: str = "cpu",
    rounds: int = 7,
    repeats: int = 3,
    progress: Callable[[str], None] = lambda message: None,
) -> Run:
    """Measure cases in libraries, alternating.

    Parameters
    ----------
    names : list of str, optional
        Of `cases.CASES`, and `cases.STEP`; all if not given.
    who : list of str, optional
        Of `libraries()`; all if not given.
    threads : int
        For each library.
    device : {"cpu", "cuda"}
        On a GPU, a time ends when the device has finished.
    rounds, repeats : int
        Each library is asked `rounds` times, in turn, for `repeats` timings.

    Returns
    -------
    Run

    Raises
    ------
    DisagreementError
        If a library's results differ from those of the first, before the timings or, with other values, after them.
    """
    who = who or libraries(device)
    results: list[Result] = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(name, threads, device)) for name in who}
        counting = next((ask for name, ask in workers.items() if not name.startswith("torch")), None)
        counting = counting or stack.enter_context(_worker("numpy", threads, "cpu"))
        progress("the roof")
        roofs, precision = _roofs(workers)
        for case in names or [*CASES, STEP]:
            progress(case)
            before = _compare(case, workers)
            costs = {phase: Cost(*found) for phase, found in counting({"case": case, "count": True})["costs"].items()}
            times, peaks = _timed(case, workers, rounds, repeats)
            after = _compare(case, workers, AFTER)
            for (phase, library), seconds in times.items():
                low, _, high = quantiles(seconds, n=4)
                cost = costs[phase]
                results.append(
                    Result(
                        case,
                        phase,
                        library,
                        median(seconds),
                        (low, high),
                        peaks[library],
                        cost.operations,
                        cost.bytes,
                        roofs[precision[library]].seconds(cost),
                        precision[library],
                        max(before[library][0], after[library][0]),
                        before[library][1] and after[library][1],
                    )
                )
    return Run(results, roofs)


def _roofs(workers: dict[str, Callable[[dict], dict]]) -> tuple[dict[str, Roof], dict[str, str]]:
    """The best that any library reached, for each precision; and the precision of each library."""
    found = {library: ask({"roof": True}) for library, ask in workers.items()}
    precision = {library: answer["precision"] for library, answer in found.items()}
    bandwidth = max(answer["bandwidth"] for answer in found.values())
    peaks = {kind: max(a["peak"] for a in found.values() if a["precision"] == kind) for kind in dict.fromkeys(precision.values())}
    return {kind: Roof(peak, bandwidth) for kind, peak in peaks.items()}, precision


def _timed(
    case: str, workers: dict[str, Callable[[dict], dict]], rounds: int, repeats: int
) -> tuple[dict[tuple[str, str], list[float]], dict[str, float]]:
    """Seconds by phase and library, asked in turn; and the peak memory of each library."""
    times: dict[tuple[str, str], list[float]] = {}
    peaks: dict[str, float] = {}
    for ask in workers.values():
        ask({"case": case, "rounds": 2})  # warm caches, pools and compilers
    for _ in range(rounds):
        for library, ask in workers.items():
            answer = ask({"case": case, "rounds": repeats})
            peaks[library] = answer.pop("peak_mib")
            for phase, seconds in answer.items():
                times.setdefault((phase, library), []).extend(seconds)
    return times, peaks


def _compare(case: str, workers: dict[str, Callable[[dict], Any]], seed: int = SEED) -> dict[str, tuple[float, bool | None]]:
    """All libraries must give the same values and gradients, to 1e-3 of the largest.

    Returns the largest error of each, and whether a second run gave the same bits.
    """
    same = {}
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for library, ask in workers.items():
            path = Path(folder) / f"{library}.npz"
            same[library] = ask({"case": case, "verify": str(path), "seed": seed}).get("deterministic")
            with np.load(path) as arrays:
                found[library] = [arrays[k] for k in arrays]
    first, *others = found
    errors = {first: 0.0}
    for other in others:
        errors[other] = 0.0
        for k, (a, b) in enumerate(zip(found[first], found[other], strict=True)):
            error = float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30))
            if not error <= 1e-3:
                raise DisagreementError(f"{case}: result {k} of {other} differs from {first}'s by {error:.1e} of its largest value")
            errors[other] = max(errors[other], error)
    return {library: (errors[library], same[library]) for library in found}
