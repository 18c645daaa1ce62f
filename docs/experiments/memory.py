"""Peak memory and processor time of a whole job, training and evaluation, beside a PyTorch twin. Feeds ``docs/training.md``.

::

    python docs/experiments/memory.py --json docs/benchmarks/memory.json

Every job is a process of its own, because a peak belongs to a process. The twin is `minisegnet.bench.twin.UNet`, with the same
parameters, batches and steps; it evaluates one whole image at a time, as most scripts do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

JOBS = {  # rows and columns of the six images, batch size, rows of a crop, steps
    "cells 256 × 256": (256, 256, 4, 128, 12),
    "retina 584 × 565": (584, 565, 4, 128, 12),
    "slide 1536 × 1536": (1536, 1536, 4, 128, 12),
}
LIBRARIES = ("minisegnet", "PyTorch")
WIDTH = 0.25


def images(rows: int, columns: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Six grey images of noise with a brighter rectangle each, and their masks."""
    rng = np.random.default_rng(0)
    masks = [np.zeros((rows, columns), np.int64) for _ in range(6)]
    for mask in masks:
        mask[rows // 4 : rows // 2, columns // 4 : columns // 2] = 1
    return [mask + rng.standard_normal(mask.shape, np.float32) for mask in masks], masks


def ours(rows: int, columns: int, batch: int, crop: int, steps: int) -> None:
    """Train and evaluate with this library."""
    from minisegnet import data, models, training

    pictures, masks = images(rows, columns)
    model = models.create("unet", 1, 2, width=WIDTH)
    whole = data.Arrays(pictures, masks, ("background", "object"))
    training.fit(model, whole, whole, steps=steps, batch_size=batch, crop=crop, eval_every=steps, progress=False)


def theirs(rows: int, columns: int, batch: int, crop: int, steps: int) -> None:
    """The same with PyTorch."""
    import torch

    from minisegnet.bench.twin import UNet

    torch.set_num_threads(2)
    pictures, masks = images(rows, columns)
    rng = np.random.default_rng(0)
    model = UNet(1, 2, WIDTH)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        cuts = [(k, rng.integers(rows - crop + 1), rng.integers(columns - crop + 1)) for k in rng.integers(0, len(pictures), batch)]
        x = torch.from_numpy(np.stack([pictures[k][None, i : i + crop, j : j + crop] for k, i, j in cuts]).astype(np.float32))
        t = torch.from_numpy(np.stack([masks[k][i : i + crop, j : j + crop] for k, i, j in cuts]))
        loss = torch.nn.functional.cross_entropy(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for picture, mask in zip(pictures, masks, strict=True):
            around = [(0, -n % 16) for n in picture.shape]
            x = torch.from_numpy(np.pad(picture, around, mode="reflect").astype(np.float32)[None, None])
            scores = model(x)[:, :, :rows, :columns]
            torch.nn.functional.cross_entropy(scores, torch.from_numpy(mask[None])).item()
            scores.argmax(1)


def measure(job: str, library: str) -> dict[str, Any]:
    """Run one job in a process of its own: its peak memory in MiB, and the processor time of all of its threads in seconds."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, __file__, "--one", job, library]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(f"{library}, {job}: {found.stderr.strip().splitlines()[-1]}")
    return {"job": job, "library": library, **json.loads(found.stdout.splitlines()[-1])}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, a job a line."""
    lines = ["| job | MiB here | MiB PyTorch | CPU s here | CPU s PyTorch |", "|---|---|---|---|---|"]
    for job in dict.fromkeys(row["job"] for row in rows):
        here, there = (next((r for r in rows if (r["job"], r["library"]) == (job, name)), None) for name in LIBRARIES)
        cells = [f"{r[key]:.0f}" if r else "–" for key in ("peak_mib", "processor_s") for r in (here, there)]
        lines.append(f"| {job} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORD", default="", help="only the jobs whose name contains this word")
    parser.add_argument("--json", metavar="FILE", help="write the record to this file")
    parser.add_argument("--one", nargs=2, metavar=("JOB", "LIBRARY"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        (ours if args.one[1] == LIBRARIES[0] else theirs)(*JOBS[args.one[0]])
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({"peak_mib": used.ru_maxrss / 1024, "processor_s": used.ru_utime + used.ru_stime}))
        return 0
    from minisegnet.bench.report import save_record

    rows = []
    for job in [name for name in JOBS if args.only in name]:
        for library in LIBRARIES:
            try:
                rows.append(measure(job, library))
            except RuntimeError as error:
                if library == LIBRARIES[0]:
                    raise
                print(f"without PyTorch: {error}", file=sys.stderr)
    print(table(rows))
    if args.json:
        save_record({"what": "train and evaluate", "width": WIDTH, "jobs": JOBS, "rows": rows}, Path(args.json), threads=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
