"""One library in a process of its own: ``python -m minisegnet.bench.worker torch 2 cpu``.

Reads a line of JSON for each request and answers with one:

``{"case": name, "verify": path, "seed": k}``  writes the results of a case to a file, and tells whether a second
                                               run gave the same bits;
``{"case": name, "rounds": k}``                k timings in seconds for each of its phases;
``{"case": name, "count": true}``              operations and least bytes of each phase, from the cost model;
``{"roof": true}``                             the library's best matrix product and copy.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import clock
from .cases import CASES, STEPS

#: Of results that are compared before any time counts, and of what is timed.
SEED = 0


class Minisegnet:
    """This library, with one of its backends; ``cuda-fp32`` is ``cuda`` without TF32."""

    def __init__(self, name: str, threads: int, device: str):
        import numba

        from minisegnet_kernels import backends

        from .. import functional, models, optim
        from ..tensor import tensor

        numba.set_num_threads(min(threads, numba.get_num_threads()))
        self.precision = "tf32" if device == "cuda" and name == "cuda" else "float32"
        os.environ["CUPY_TF32"] = str(int(self.precision == "tf32"))  # of the matrix product that is the roof
        backends.allow_tf32(self.precision == "tf32")
        backends.use(name.removesuffix("-fp32"))
        self.F, self.device, self._tensor, self._models, self._optim = functional, device, tensor, models, optim
        self.name = name
        self.clock = clock.CupyEvents() if device == "cuda" else clock.Wall()

    def roof(self) -> dict[str, float]:
        if self.device == "cuda":
            import cupy

            return clock.roof(self.clock, cupy, "cuda", cupy.copyto, cupy.asarray)
        if self.name == "numba":
            from .copy import copy

            return clock.roof(self.clock, np, "cpu", copy, np.asarray)
        return clock.roof(self.clock, np, "cpu", np.copyto, np.asarray)

    def make(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        return self._tensor(array, requires_grad=requires_grad, device=self.device)

    def value(self, t: Any) -> np.ndarray:
        return t.detach().cpu().data

    def assign(self, t: Any, values: np.ndarray) -> None:
        t.data[...] = self.make(values.astype(np.float32)).data

    def finish(self) -> None:
        """Wait until the device has done what it was asked for."""
        if self.device == "cuda":
            import cupy

            cupy.cuda.get_current_stream().synchronize()

    def unet(self) -> tuple[Any, Any]:
        model = self._models.create("unet", in_channels=1, num_classes=2, width=0.25).to(self.device)
        return model, self._optim.Adam(model.parameters(), lr=1e-3)


class Torch:
    """The peer, with its own choice of algorithms.

    On a GPU it comes in four forms: rows first or ``-last`` (channels last), with TF32 or, as
    ``-fp32``, without. ``torch`` alone is PyTorch's default: rows first, TF32 in convolutions.
    """

    def __init__(self, name: str, threads: int, device: str):
        import torch

        torch.set_num_threads(threads)
        self.F, self.device = torch.nn.functional, device
        self._torch, self._layout = torch, torch.channels_last if "-last" in name else torch.contiguous_format
        self.precision = "tf32" if device == "cuda" and "-fp32" not in name else "float32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        self.clock = clock.TorchEvents() if device == "cuda" else clock.Wall()

    def roof(self) -> dict[str, float]:
        return clock.roof(self.clock, self._torch, self.device, lambda a, b: a.copy_(b), self.make)

    def make(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        made = self._torch.tensor(array, device=self.device)
        made = made.to(memory_format=self._layout) if made.ndim == 4 else made
        return made.requires_grad_(requires_grad)

    def value(self, t: Any) -> np.ndarray:
        return t.detach().cpu().numpy()

    def assign(self, t: Any, values: np.ndarray) -> None:
        with self._torch.no_grad():
            t.copy_(self._torch.tensor(values))

    def finish(self) -> None:
        if self.device == "cuda":
            self._torch.cuda.synchronize()

    def unet(self) -> tuple[Any, Any]:
        from .twin import UNet

        model: Any = UNet(1, 2, 0.25)
        model = model.to(self.device, memory_format=self._layout)
        return model, self._torch.optim.Adam(model.parameters(), lr=1e-3)


Phases = tuple[dict[str, Callable[[], Any]], Callable[[], list[np.ndarray]]]


def _phases(library: Any, name: str, seed: int = SEED) -> Phases:
    """The timed parts of a case, and its results for comparison."""
    if name in STEPS:
        return training_step(library, *STEPS[name], seed=seed)
    case = CASES[name]
    floats, integers = case.arrays(seed)
    inputs = [library.make(a, requires_grad=True) for a in floats]
    arguments = inputs + [library.make(a) for a in integers]
    y = case.expression(library.F, *arguments)
    cotangent = library.make(np.random.default_rng(seed + 1).standard_normal(tuple(y.shape)).astype(np.float32))

    def forward() -> Any:
        return case.expression(library.F, *arguments)

    def backward() -> None:
        for t in inputs:
            t.grad = None
        y.backward(cotangent, retain_graph=True)

    def results() -> list[np.ndarray]:
        backward()
        return [library.value(forward()), *(library.value(t.grad) for t in inputs)]

    return {"forward": forward, "backward": backward}, results


def training_step(library: Any, batch: int = 8, size: int = 128, seed: int = SEED) -> Phases:
    """Forward, backward and Adam of a U-Net; its result for comparison is a first loss."""
    rng = np.random.default_rng(seed + 1)
    x = library.make(rng.standard_normal((batch, 1, size, size), np.float32))
    t = library.make(rng.integers(0, 2, (batch, size, size)))
    model, optimiser = library.unet()

    def step() -> Any:
        optimiser.zero_grad()
        loss = library.F.cross_entropy(model(x), t)
        loss.backward()
        optimiser.step()
        return loss

    def results() -> list[np.ndarray]:
        """The first loss from weights that both libraries draw from NumPy in the same order."""
        draw = np.random.default_rng(seed + 2)
        for p in model.parameters():
            values = draw.standard_normal(tuple(p.shape)) * (2 / max(1, np.prod(p.shape[1:]))) ** 0.5
            library.assign(p, values if len(p.shape) > 1 else abs(values))
        return [library.value(step()).reshape(1)]

    return {"step": step}, results


def _verified(results: Callable[[], list[np.ndarray]], path: str) -> bool:
    """Write the results; whether a second run gives the same bits."""
    first, second = results(), results()
    np.savez(path, *first)
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def _counted(phases: dict[str, Callable[[], Any]]) -> dict[str, list[int]]:
    from .counted import cost

    costs = {phase: cost(call) for phase, call in phases.items()}
    return {phase: [found.operations, found.bytes] for phase, found in costs.items()}


def _serve(library: Any) -> None:
    prepared: dict[str, Phases] = {}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_roof(library) if "roof" in request else _answer(library, request, prepared)), flush=True)


def _roof(library: Any) -> dict[str, Any]:
    return {"precision": library.precision, **library.roof()}


def _answer(library: Any, request: dict[str, Any], prepared: dict[str, Phases]) -> dict[str, Any]:
    name, seed = request["case"], request.get("seed", SEED)
    if seed != SEED:  # other values than the timed ones
        return {"deterministic": _verified(_phases(library, name, seed)[1], request["verify"])}
    if name not in prepared:
        prepared.clear()  # one case's arrays in memory at a time
        prepared[name] = _phases(library, name)
    phases, results = prepared[name]
    answer: dict[str, Any] = {}
    if "verify" in request:
        answer["deterministic"] = _verified(results, request["verify"])
    if "count" in request:
        answer["costs"] = _counted(phases)
    for phase, call in phases.items() if "rounds" in request else ():
        times = []
        for _ in range(request["rounds"]):
            library.finish()
            times.append(library.clock.seconds(call))
        answer[phase] = times
    answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return answer


if __name__ == "__main__":
    _, name, threads, device = sys.argv
    _serve((Torch if name.startswith("torch") else Minisegnet)(name, int(threads), device))
