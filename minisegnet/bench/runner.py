"""Ask the workers in turn, compare their results, and keep the medians."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from minisegnet_kernels.cost import Cost, Roof

from .cases import CASES, STEP, STEPS
from .results import Failure, Result, Run

#: Seeds of the inputs of the two comparisons: before the timings, and after them.
SEED, AFTER = 0, 1000
#: Largest difference of two libraries' results, relative to the largest value.
TOLERANCE = {"float32": 1e-3, "tf32": 1e-2}
OURS = {
    "cpu": ["numpy", "numba"],
    "cuda": ["numpy", "numba_cuda", "cuda-graph", "cuda-fp32", "cuda-last-fp32", "cuda", "cuda-last"],
}
#: PyTorch's own default first.
PEERS = {"cpu": ["torch", "torch-compile"], "cuda": ["torch", "torch-last", "torch-fp32", "torch-last-fp32", "torch-compile"]}

Ask = Callable[[dict], dict]


@contextmanager
def _worker(library: str, threads: int, device: str) -> Iterator[Ask]:
    command = [sys.executable, "-m", "minisegnet.bench.worker", library, str(threads), device]
    limits = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits})
    assert process.stdin and process.stdout
    source, sink = process.stdout, process.stdin

    def ask(request: dict) -> dict:
        with suppress(OSError):  # if the worker has ended, there is nothing to read below either
            sink.write(json.dumps(request) + "\n")
            sink.flush()
        line = source.readline()
        if not line:
            return {"failed": f"its worker ended (exit code {process.wait()}); its message is above"}
        return json.loads(line)

    try:
        yield ask
    finally:
        with suppress(OSError):
            sink.close()
        process.wait()


def libraries(device: str = "cpu") -> list[str]:
    """The libraries that can be measured here: the backends of the device, and PyTorch if it is installed."""
    return OURS[device] + (PEERS[device] if find_spec("torch") else [])


def roof(library: str, threads: int = 2, device: str = "cpu") -> Roof:
    """The rates of one library's fastest matrix product and copy, measured in its own process."""
    with _worker(library, threads, device) as ask:
        answer = ask({"roof": True})
    if "failed" in answer:
        raise RuntimeError(f"no roof of {library}: {answer['failed']}")
    return Roof(answer["peak"], answer["bandwidth"])


def run(
    names: list[str] | None = None,
    *,
    who: list[str] | None = None,
    threads: int = 2,
    device: str = "cpu",
    rounds: int = 7,
    repeats: int = 3,
    ladder: bool = False,
    progress: Callable[[str], None] = lambda message: None,
    keep: Callable[[Run], None] = lambda run: None,
) -> Run:
    """Measure cases in several libraries, which take turns.

    Parameters
    ----------
    names : list of str, optional
        Names from `cases.CASES` and `cases.STEPS`, or from `rungs.CASES`. Default: all of `cases.CASES`, and `cases.STEP`.
    who : list of str, optional
        Names from `libraries()`. Default: all.
    threads : int
        Threads of each library.
    device : {"cpu", "cuda"}
        On a GPU, a time ends when the device has finished.
    rounds, repeats : int
        Each library is asked `rounds` times, in turn, for `repeats` timings. One more round before them is not counted.
    ladder : bool
        Measure the rungs that serve a case, and PyTorch in four settings, unless `who` says otherwise.
    progress : callable
        Called with the name of each case before it is measured.
    keep : callable
        Called with the run after each case, so that it can be saved in case a later one hangs.

    Returns
    -------
    Run
        A library has no times for a case in which it fails, or in which its results differ from the first library's (before
        the timings or, on other inputs, after them); ``failures`` says why.

    Raises
    ------
    RuntimeError
        If no library has times for any case.
    """
    who = who or (["cuda-fp32", "cuda", *[p for p in libraries(device) if p in PEERS["cuda"][:4]]] if ladder else libraries(device))
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_worker(name, threads, device)) for name in who}
        progress("the roof")
        run, precision = _roofs(processes, device)
        alive = [name for name in who if name in precision]
        counting = next((processes[name] for name in alive if not name.startswith("torch") and name != "cuda-graph"), None)
        counting = counting or stack.enter_context(_worker("numpy", threads, "cpu"))
        for case in names or [*CASES, STEP]:
            progress(case)
            workers = {name: processes[name] for name in alive if name != "cuda-graph" or case in STEPS}
            kinds = {name: precision[name] for name in workers}
            if ladder:
                workers, kinds = _rungs(case, workers, kinds)
            _measure(case, workers, kinds, counting, run, rounds, repeats)
            keep(run)
    if not run.results:
        raise RuntimeError("\n".join(map(str, run.failures)))
    return run


def _rungs(case: str, workers: dict[str, Ask], kinds: dict[str, str]) -> tuple[dict[str, Ask], dict[str, str]]:
    """Replace our libraries by the rungs that serve a case, each in the process of its precision."""
    from .rungs import rungs_of

    peers = {name: ask for name, ask in workers.items() if name.startswith("torch")}
    homes = {label: "cuda" if rung.tf32 else "cuda-fp32" for label, rung in rungs_of(case).items()}
    rungs = {label: _asking(workers[home], label) for label, home in homes.items() if home in workers}
    return {**rungs, **peers}, {**{label: kinds[homes[label]] for label in rungs}, **{name: kinds[name] for name in peers}}


def _asking(ask: Ask, rung: str) -> Ask:
    return lambda request: ask({**request, "rung": rung})


def _roofs(workers: dict[str, Ask], device: str) -> tuple[Run, dict[str, str]]:
    """A run without results that has the roof of each precision (the best of any library), and the precision of each library."""
    answers = {library: ask({"roof": True}) for library, ask in workers.items()}
    failures = [Failure(None, library, answer["failed"]) for library, answer in answers.items() if "failed" in answer]
    found = {library: answer for library, answer in answers.items() if "failed" not in answer}
    if not found:
        raise RuntimeError("\n".join(map(str, failures)))
    precision = {library: answer["precision"] for library, answer in found.items()}
    bandwidth = max(answer["bandwidth"] for answer in found.values())
    peaks = {kind: max(a["peak"] for a in found.values() if a["precision"] == kind) for kind in dict.fromkeys(precision.values())}
    launches = {library: answer["launch"] for library, answer in found.items() if answer.get("launch")}
    return Run([], {kind: Roof(peak, bandwidth) for kind, peak in peaks.items()}, device, launches, failures), precision


def _measure(case: str, workers: dict[str, Ask], kinds: dict[str, str], counting: Ask, run: Run, rounds: int, repeats: int) -> None:
    """Add the results of one case to a run, and the reason for each library that has none."""

    def checked(seed: int) -> dict[str, tuple[float, bool | None]]:
        same, failed = _compare(case, {name: ask for name, ask in workers.items() if name not in gone}, kinds, seed)
        gone.update(failed)
        return same

    gone: dict[str, str] = {}
    before = checked(SEED)
    about = {name: workers[name]({"case": case, "count": True}) for name in before}
    first = next((a["about"] for a in about.values() if a.get("about")), None) or counting({"case": case, "count": True})["about"]
    times, peaks = _timed(case, {name: workers[name] for name in before}, rounds, repeats, gone)
    after = checked(AFTER)
    run.failures.extend(Failure(case, name, reason) for name, reason in gone.items())
    for (phase, library), seconds in times.items():
        if library not in after:
            continue
        low, _, high = quantiles(seconds, n=4)
        cost = Cost(*first[phase]["costs"])
        own = about[library].get("about", {}).get(phase, {})
        run.results.append(
            Result(
                case,
                phase,
                library,
                median(seconds),
                (low, high),
                peaks[library],
                cost.operations,
                cost.bytes,
                run.roofs[kinds[library]].seconds(cost),
                kinds[library],
                max(before[library][0], after[library][0]),
                before[library][1] and after[library][1],
                about[library].get("layout", "rows first"),
                own.get("lines"),
                own.get("kernels", []),
            )
        )


def _timed(
    case: str, workers: dict[str, Ask], rounds: int, repeats: int, gone: dict[str, str]
) -> tuple[dict[tuple[str, str], list[float]], dict[str, float]]:
    """Seconds by phase and library, which take turns; and the peak memory of each library. A library that fails is added to `gone`."""
    times: dict[tuple[str, str], list[float]] = {}
    peaks: dict[str, float] = {}
    for round_ in range(-1, rounds):  # the first warms caches, pools and compilers
        for library, ask in workers.items():
            if library in gone:
                continue
            answer = ask({"case": case, "rounds": repeats})
            if "failed" in answer:
                gone[library] = answer["failed"]
                continue
            peaks[library] = answer.pop("peak_mib")
            for phase, seconds in answer.items() if round_ >= 0 else ():
                times.setdefault((phase, library), []).extend(seconds)
    return times, peaks


def _compare(
    case: str, workers: dict[str, Ask], kinds: dict[str, str], seed: int = SEED
) -> tuple[dict[str, tuple[float, bool | None]], dict[str, str]]:
    """Compare every library's values and gradients with those of the first one that does not fail, within `TOLERANCE`.

    Returns, for each library that agrees, its largest error and whether a second run gave the same bits; and for each of the
    others the reason.
    """
    agreed: dict[str, tuple[float, bool | None]] = {}
    failed: dict[str, str] = {}
    first: list[np.ndarray] | None = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.npz"
        for library, ask in workers.items():
            answer = ask({"case": case, "verify": str(path), "seed": seed})
            if "failed" in answer:
                failed[library] = answer["failed"]
                continue
            with np.load(path) as arrays:
                found = [arrays[k] for k in arrays]
            first = found if first is None else first
            errors = [float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in zip(first, found, strict=True)]
            worst = max(range(len(errors)), key=lambda k: np.inf if np.isnan(errors[k]) else errors[k])
            if errors[worst] <= TOLERANCE[kinds[library]]:
                agreed[library] = errors[worst], answer.get("deterministic")
            else:
                base = next(iter(agreed), library)
                failed[library] = f"result {worst} differs from {base}'s by {errors[worst]:.1e} of its largest value"
    return agreed, failed
