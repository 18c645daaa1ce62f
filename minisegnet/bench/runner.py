"""Ask the workers in turn, compare their results, and keep the medians."""

from __future__ import annotations

import json
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

from .cases import CASES, STEP

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
    """

    case: str
    phase: str
    library: str
    seconds: float
    quartiles: tuple[float, float]
    peak_mib: float


class DisagreementError(AssertionError):
    """Two libraries computed different results, so that their times mean nothing."""


@contextmanager
def _worker(library: str, threads: int, device: str) -> Iterator[Callable[[dict], dict]]:
    command = [sys.executable, "-m", "minisegnet.bench.worker", library, str(threads), device]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
    ours, peers = (["numpy", "numba"], ["torch"]) if device == "cpu" else (["numpy", "numba_cuda", "cuda"], PEERS_ON_GPU)
    return ours + (peers if find_spec("torch") else [])


def run(
    names: list[str] | None = None,
    *,
    who: list[str] | None = None,
    threads: int = 2,
    device: str = "cpu",
    rounds: int = 7,
    repeats: int = 3,
    progress: Callable[[str], None] = lambda message: None,
) -> list[Result]:
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
    list of Result

    Raises
    ------
    DisagreementError
        If a library's results differ from those of the first.
    """
    who = who or libraries(device)
    results: list[Result] = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(name, threads, device)) for name in who}
        for case in names or [*CASES, STEP]:
            progress(case)
            _compare(case, workers)
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
            for (phase, library), seconds in times.items():
                low, _, high = quantiles(seconds, n=4)
                results.append(Result(case, phase, library, median(seconds), (low, high), peaks[library]))
    return results


def _compare(case: str, workers: dict[str, Callable[[dict], Any]]) -> None:
    """All libraries must give the same values and gradients, to 1e-3 of the largest."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for library, ask in workers.items():
            path = Path(folder) / f"{library}.npz"
            ask({"case": case, "verify": str(path)})
            with np.load(path) as arrays:
                found[library] = [arrays[k] for k in arrays]
    first, *others = found
    for other in others:
        for k, (a, b) in enumerate(zip(found[first], found[other], strict=True)):
            error = float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30))
            if not error <= 1e-3:
                raise DisagreementError(f"{case}: result {k} of {other} differs from {first}'s by {error:.1e} of its largest value")
