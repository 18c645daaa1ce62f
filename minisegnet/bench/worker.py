"""One library in a process of its own: ``python -m minisegnet.bench.worker torch 2 cpu``.

Reads a line of JSON for each request and answers with one:

``{"case": name, "verify": path, "seed": k}``  write the results of a case to a file, and say whether a second run gave
                                               the same bits;
``{"case": name, "rounds": k}``                time each phase of the case k times, in seconds;
``{"case": name, "count": true}``              count operations and bytes of each phase by the cost model, its lines of
                                               code, and its launches on a GPU;
``{"roof": true}``                             time the library's fastest matrix product and copy, and an empty launch.

With a case of `rungs`, ``"rung": label`` says which rung of the ladder runs. The answer to a request that fails is
``{"failed": reason}``.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from . import about, libraries, rungs
from .cases import CASES, STEPS

#: The seed of the inputs that are timed, and of the first comparison.
SEED = 0


Phases = tuple[dict[str, Callable[[], Any]], Callable[[], list[np.ndarray]]]
#: For a case and a rung: the phases, a function that returns the results, and the calls that are timed. For a single kernel on a GPU these
#: calls replay a graph, because the kernel may take less time than its launch.
Prepared = dict[tuple[str, str | None], tuple[dict[str, Callable[[], Any]], Callable[[], list[np.ndarray]], dict[str, Callable[[], Any]]]]


def _phases(library: Any, name: str, seed: int = SEED, rung: str | None = None) -> Phases:
    """The timed phases of a case, and a function that returns its results for comparison."""
    if name in STEPS:
        return training_step(library, *STEPS[name], seed=seed)
    if name not in CASES:
        return rungs.phases(library, name, rung, seed)
    case = CASES[name]
    floats, integers = case.arrays(seed)
    inputs = [library.make(a, requires_grad=True) for a in floats]
    arguments = inputs + [library.make(a) for a in integers]
    compute = library.prepare(lambda *arrays: case.expression(library.F, *arrays))
    y = compute(*arguments)
    cotangent = library.make(np.random.default_rng(seed + 1).standard_normal(tuple(y.shape)).astype(np.float32))

    def forward() -> Any:
        return compute(*arguments)

    def backward() -> None:
        for t in inputs:
            t.grad = None
        y.backward(cotangent, retain_graph=True)

    def results() -> list[np.ndarray]:
        backward()
        return [library.value(forward()), *(library.value(t.grad) for t in inputs)]

    return {"forward": forward, "backward": backward}, results


def training_step(library: Any, batch: int = 8, size: int = 128, seed: int = SEED) -> Phases:
    """Forward, backward and Adam of a U-Net. The result for comparison is the loss of a first step."""
    rng = np.random.default_rng(seed + 1)
    x = library.make(rng.standard_normal((batch, 1, size, size), np.float32))
    t = library.make(rng.integers(0, 2, (batch, size, size)))
    model, optimiser = library.unet()
    criterion = library.prepare(lambda images, labels: library.F.cross_entropy(model(images), labels))

    def eager() -> Any:
        optimiser.zero_grad()
        loss = criterion(x, t)
        loss.backward()
        optimiser.step()
        return loss

    step: Callable[[], Any] = partial(_captured(library, model, optimiser, x, t), x, t) if library.graph else eager

    def results() -> list[np.ndarray]:
        """The first loss from weights that all libraries draw from NumPy in the same order."""
        draw = np.random.default_rng(seed + 2)
        for p in model.parameters():
            values = draw.standard_normal(tuple(p.shape)) * (2 / max(1, np.prod(p.shape[1:]))) ** 0.5
            library.assign(p, values if len(p.shape) > 1 else abs(values))
        return [library.value(step()).reshape(1)]

    return {"step": step}, results


def _captured(library: Any, model: Any, optimiser: Any, x: Any, t: Any) -> Callable[[Any, Any], Any]:
    from ..training import CapturedStep

    return CapturedStep(model, library.F.cross_entropy, optimiser, x, t)


def _verified(results: Callable[[], list[np.ndarray]], path: str) -> bool:
    """Write the results, and return whether a second run gives the same bits."""
    first, second = results(), results()
    np.savez(path, *first)
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def serve(library: Any, requests: Iterable[str], say: Callable[[str], None]) -> None:
    """Answer requests, one line each, until the input ends."""
    prepared: Prepared = {}
    for line in requests:
        try:
            answer = _answer(library, json.loads(line), prepared)
        except Exception as error:  # anything that another library may raise; the table shows the reason
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        say(json.dumps(answer))


def _answer(library: Any, request: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    if "roof" in request:
        return {"precision": library.precision, **library.roof(), "launch": library.launch()}
    name, rung, seed = request["case"], request.get("rung"), request.get("seed", SEED)
    if seed != SEED:  # other values than the timed ones
        return {"deterministic": _verified(_phases(library, name, seed, rung)[1], request["verify"])}
    if (name, rung) not in prepared:
        for other in [key for key in prepared if key[0] != name]:  # only one case's arrays are in memory at a time
            del prepared[other]
        prepared[name, rung] = (*_phases(library, name, rung=rung), {})
    phases, results, timed = prepared[name, rung]
    answer: dict[str, Any] = {}
    if "verify" in request:
        answer["deterministic"] = _verified(results, request["verify"])
    if "count" in request:
        answer["layout"], answer["about"] = _about(library, name, rung, phases)
    for phase, call in phases.items() if "rounds" in request else ():
        timed[phase] = timed.get(phase) or (library.replayed(call) if name in rungs.CASES else call)
        times = []
        for _ in range(request["rounds"]):
            library.finish()
            times.append(library.clock.seconds(timed[phase]))
        answer[phase] = times
    answer["peak_mib"] = library.peak_mib()
    return answer


def _about(library: Any, name: str, rung: str | None, phases: dict[str, Callable[[], Any]]) -> tuple[str, dict[str, Any]]:
    """The memory layout of images, and the result of `about.of` for each phase. For PyTorch only the layout is known."""
    if rung is not None:
        return rungs.layout(name, rung), {phase: rungs.tell(name, rung, call) for phase, call in phases.items()}
    known = not library.graph and hasattr(library, "backend")
    return library.layout, {phase: about.of(call, library.backend) for phase, call in phases.items()} if known else {}


if __name__ == "__main__":
    _, name, threads, device = sys.argv
    answers, sys.stdout = sys.stdout, sys.stderr  # stray prints go to stderr, so that stdout carries only answers
    serve(libraries.make(name, int(threads), device), sys.stdin, lambda line: print(line, file=answers, flush=True))
