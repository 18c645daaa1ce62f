"""Frames a second of one network in four forms: what fusing and folding are worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from ..inference import Speed, predict, scores
from ..nn import Module, containers, fold


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Inside, no neighbours are computed in one pass."""
    before = dict(containers.FUSED)
    containers.FUSED.clear()
    try:
        yield
    finally:
        containers.FUSED.update(before)


def measure(
    model: Module, size: int, frames: int, warm_up: int = 3, progress: Callable[[str], None] = lambda message: None
) -> dict[str, Any]:
    """Time the forms in turn, frame by frame, so that what else the machine does hits all of them alike.

    Returns
    -------
    dict
        ``forms``: for each its `Speed` as a dictionary, and by how much its scores differ from those of the first form,
        relative to the largest.
    """
    folded = fold(model)
    forms: dict[str, tuple[Module, Any]] = {
        "layer by layer": (model, layer_by_layer),
        "batch norm + ReLU fused": (model, nullcontext),
        "folded, layer by layer": (folded, layer_by_layer),
        "folded, convolution + ReLU fused": (folded, nullcontext),
    }
    images = np.random.default_rng(0).standard_normal((1, getattr(model, "in_channels", 3), size, size), np.float32)
    found: dict[str, np.ndarray] = {}
    for name, (form, manner) in forms.items():
        progress(name)
        with manner():
            found[name] = scores(form, images).cpu().data
            for _ in range(warm_up):
                predict(form, images)
    first = next(iter(found.values()))
    times: dict[str, list[float]] = {name: [] for name in forms}
    progress(f"{frames} frames of each")
    for _ in range(frames):
        for name, (form, manner) in forms.items():
            with manner():
                start = time.perf_counter()
                predict(form, images)
                times[name].append(time.perf_counter() - start)
    speeds = {name: Speed.of(seconds, 1, (size, size)) for name, seconds in times.items()}
    error = {name: float(np.abs(value - first).max() / np.abs(first).max()) for name, value in found.items()}
    return {"forms": {name: {**speed.to_dict(), "difference": error[name]} for name, speed in speeds.items()}}


def table(results: dict[str, Any]) -> str:
    """For the screen."""
    forms = results["forms"]
    base = next(iter(forms.values()))["median"]
    wide = max(map(len, forms))
    lines = [f"{'form':{wide}}  {'frames/s':>8}  {'median ms':>9}  {'p95 ms':>8}  {'speed-up':>8}  {'difference':>10}"]
    lines += [
        f"{name:{wide}}  {f['fps']:8.2f}  {1e3 * f['median']:9.1f}  {1e3 * f['p95']:8.1f}  {base / f['median']:8.2f}  {f['difference']:10.1e}"
        for name, f in forms.items()
    ]
    return "\n".join(lines)
