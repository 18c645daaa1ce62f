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
        ``forms``: for each its `Speed` as a dictionary; the median of the processor time, of all threads, which tells more
        than the clock does on a busy machine; and by how much its scores differ from those of the first form, relative
        to the largest.
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
    work: dict[str, list[float]] = {name: [] for name in forms}
    progress(f"{frames} frames of each")
    for _ in range(frames):
        for name, (form, manner) in forms.items():
            with manner():
                start, busy = time.perf_counter(), time.process_time()
                predict(form, images)
                times[name].append(time.perf_counter() - start)
                work[name].append(time.process_time() - busy)
    speeds = {name: Speed.of(seconds, 1, (size, size)) for name, seconds in times.items()}
    error = {name: float(np.abs(value - first).max() / np.abs(first).max()) for name, value in found.items()}
    return {
        "forms": {
            name: {**speed.to_dict(), "processor": float(np.median(work[name])), "difference": error[name]}
            for name, speed in speeds.items()
        }
    }


def table(results: dict[str, Any]) -> str:
    """For the screen."""
    forms = results["forms"]
    base = next(iter(forms.values()))
    wide = max(map(len, forms))
    head = ("frames/s", "median ms", "p95 ms", "speed-up", "processor ms", "speed-up", "difference")
    lines = ["  ".join([f"{'form':{wide}}", *head])]
    for name, f in forms.items():
        cells = (
            f"{f['fps']:.2f}",
            f"{1e3 * f['median']:.1f}",
            f"{1e3 * f['p95']:.1f}",
            f"{base['median'] / f['median']:.2f}",
            f"{1e3 * f['processor']:.1f}",
            f"{base['processor'] / f['processor']:.2f}",
            f"{f['difference']:.1e}",
        )
        lines.append("  ".join([f"{name:{wide}}", *(cell.rjust(len(title)) for cell, title in zip(cells, head, strict=True))]))
    return "\n".join(lines)
