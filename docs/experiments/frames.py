"""Frames per second of one network in four forms, to show what fusing and folding gain. Feeds ``docs/inference.md``.

::

    python docs/experiments/frames.py --size 256 --frames 25 --threads 1 --checkpoint runs/first --json docs/benchmarks/frames.json
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numba
import numpy as np

from minisegnet import models
from minisegnet.bench.report import save_record
from minisegnet.files import check_writable
from minisegnet.inference import Speed, load_model, predict, scores
from minisegnet.nn import Module, containers, fold
from minisegnet.random import manual_seed


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Inside the block, neighbouring layers are computed one by one, not fused."""
    before = dict(containers.FUSED)
    containers.FUSED.clear()
    try:
        yield
    finally:
        containers.FUSED.update(before)


def measure(
    model: Module, size: int, frames: int, warm_up: int = 3, progress: Callable[[str], None] = lambda message: None
) -> dict[str, Any]:
    """Time the four forms, alternating frame by frame so that other load on the machine affects all of them alike.

    Returns
    -------
    dict
        ``forms``: for each form its `Speed` as a dictionary; ``processor``, the median processor time of a frame in seconds,
        all threads together, which is more reliable than the wall clock on a busy machine; and ``difference``, the largest
        difference of its scores from those of the first form, relative to the largest score.
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
            found[name] = scores(form, images).cpu().array
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
    """A table for the screen."""
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


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python docs/experiments/frames.py", description=(__doc__ or "").partition("\n\n")[0])
    top.add_argument("--checkpoint", metavar="RUN", help="the network (default: a U-Net of width 1/4, untrained)")
    top.add_argument("--size", type=int, default=256, metavar="N", help="rows and columns of a frame (default: 256)")
    top.add_argument("--frames", type=int, default=30, metavar="N", help="timed frames of each form (default: 30)")
    top.add_argument("--threads", type=int, default=2, metavar="N", help="(default: 2)")
    top.add_argument("--json", type=Path, metavar="FILE", help="write the record")
    args = top.parse_args(argv)
    try:
        if args.json:
            check_writable(args.json)
        numba.set_num_threads(min(args.threads, numba.get_num_threads()))
        results = measure(_network(args.checkpoint), args.size, args.frames, progress=lambda form: print(f"  {form} …", file=sys.stderr))
        print(table(results))
        if args.json:
            save_record({"checkpoint": args.checkpoint, **results}, args.json, threads=args.threads)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _network(checkpoint: str | None) -> Module:
    if checkpoint is not None:
        return load_model(checkpoint)
    manual_seed(0)
    return models.create("unet", 1, 2, 0.25).eval()


if __name__ == "__main__":
    sys.exit(main())
