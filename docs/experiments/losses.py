"""Compare losses where they should differ. Feeds ``docs/losses.md``.

::

    python docs/experiments/losses.py imbalance --json docs/benchmarks/losses-imbalance.json
    python docs/experiments/losses.py boundaries --json docs/benchmarks/losses-boundaries.json

* **imbalance**: the objects are specks that cover less than 1 % of the pixels, among larger spots of the same brightness.
* **boundaries**: the embedded field of nuclei. Does the network find the narrow gaps between them?

A U-Net is trained once for each loss and seed; only the loss differs. It is evaluated on held-out images. The spread over
the seeds shows how much of a difference is chance.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from minisegnet import models, random
from minisegnet.bench.report import environment
from minisegnet.data import Dataset, nuclei, standardise
from minisegnet.files import check_writable, write_text
from minisegnet.inference import predict
from minisegnet.losses import unet_weight_map
from minisegnet.metrics import BoundaryIoU, ConfusionMatrix
from minisegnet.training import fit
from minisegnet_kernels.components import connected_components

#: (loss, class weights)
IMBALANCE = (
    ("ce", None),
    ("ce", "inverse"),
    ("focal", None),
    ("ohem", None),
    ("dice", None),
    ("ce+dice", None),
    ("ce+lovasz", None),
)
BOUNDARIES = (("ce", None), ("boundary", None), ("ce+dice", None))


class Specks:
    """Grey scenes of 64 × 64 pixels with one to three objects: specks of about ten pixels each.

    Larger spots of the same brightness are background, so the network has to recognise the size.

    Parameters
    ----------
    length, seed : int
        Item k depends only on ``(seed, k)``.
    """

    classes: tuple[str, ...] = ("background", "speck")
    in_channels, ignore_index = 1, 255
    palette = np.array([[0, 0, 0], [255, 200, 0]], np.uint8)

    def __init__(self, length: int, seed: int):
        self.length, self.seed = length, seed
        self.names: Sequence[str] = [f"scene {k}" for k in range(length)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, k))
        i, j = np.mgrid[:64, :64]
        waves, mask = rng.uniform(0.05, 0.2, 2), np.zeros((64, 64), np.int64)
        image = 0.3 * np.sin(waves[0] * i + waves[1] * j + rng.uniform(0, 6))
        for _ in range(3):
            image[np.hypot(i - rng.uniform(4, 60), j - rng.uniform(4, 60)) <= rng.uniform(5, 9)] = 1.0
        spots, specks = image == 1.0, int(rng.integers(1, 4))
        while specks:
            distance, radius = np.hypot(i - rng.uniform(4, 60), j - rng.uniform(4, 60)), rng.uniform(1.4, 2.2)
            if not spots[distance <= radius + 2].any():  # on a spot it would be invisible
                image[distance <= radius], mask[distance <= radius] = 1.0, 1
                specks -= 1
        return standardise((image + rng.normal(0, 0.25, image.shape))[None].astype(np.float32)), mask


@dataclass(frozen=True)
class Setting:
    """One experiment: data, losses, and how long to train."""

    train: Dataset
    held_out: Dataset
    losses: tuple[tuple[str, str | None], ...]
    crop: int | None
    band: int = 2  # width of the boundary IoU's band in pixels


def setting(name: str) -> Setting:
    """ "imbalance" or "boundaries"."""
    if name == "imbalance":
        return Setting(Specks(200, 1), Specks(60, 2), IMBALANCE, None)
    return Setting(nuclei("train"), nuclei("test"), BOUNDARIES, 96)


def learn(chosen: Setting, loss: str, class_weights: str | None, *, steps: int, width: float, seed: int) -> dict[str, float]:
    """Train once and evaluate."""
    random.manual_seed(seed)
    model = models.create("unet", 1, 2, width)
    start = time.process_time()
    fit(model, chosen.train, steps=steps, batch_size=4, crop=chosen.crop, loss=loss, class_weights=class_weights, seed=seed, progress=False)
    seconds = time.process_time() - start
    return {**measure(model, chosen), "cpu_seconds": round(seconds, 2)}


def measure(model: Any, chosen: Setting) -> dict[str, float]:
    """IoU, precision and recall of the object, its boundary IoU, and the share of gap pixels that are labelled as background."""
    confusion, found, gaps = ConfusionMatrix(2), [0, 0], [0, 0]
    for image, mask in (chosen.held_out[k] for k in range(len(chosen.held_out))):
        labels = predict(model, image)
        confusion.update(mask, labels)
        contours = BoundaryIoU(2, ratio=chosen.band / float(np.hypot(*mask.shape))).update(mask, labels)
        found = [a + int(b[1]) for a, b in zip(found, (contours.intersection, contours.union), strict=True)]
        gap = unet_weight_map(connected_components(mask)) > 1  # distances to two objects add up to < 11 pixels
        gaps = [gaps[0] + int((labels[gap] == 0).sum()), gaps[1] + int(gap.sum())]
    figures = {"iou": confusion.iou[1], "precision": confusion.precision[1], "recall": confusion.recall[1]}
    figures |= {"boundary_iou": found[0] / max(found[1], 1), "gap_recall": gaps[0] / gaps[1] if gaps[1] else float("nan")}
    return {name: round(float(value), 4) if np.isfinite(value) else 0.0 for name, value in figures.items()}


def compare(name: str, steps: int, width: float, seeds: Iterable[int], save: Any) -> list[dict[str, Any]]:
    """Train with every loss and seed. ``save(results)`` is called after each training, so that an interrupted run keeps its results."""
    chosen, results = setting(name), []
    for seed in seeds:
        for loss, class_weights in chosen.losses:
            figures = learn(chosen, loss, class_weights, steps=steps, width=width, seed=seed)
            results.append({"loss": loss, "class_weights": class_weights, "seed": seed, **figures})
            print(", ".join(f"{k} {v}" for k, v in results[-1].items()), file=sys.stderr, flush=True)
            save(results)
    return results


def table(what: str, results: list[dict[str, Any]]) -> str:
    """A Markdown table: the mean over the seeds, with the smallest and the largest value."""
    names = ("iou", "precision", "recall") if what == "imbalance" else ("iou", "boundary_iou", "gap_recall", "recall")
    lines = ["| loss | " + " | ".join(n.replace("_", " ") for n in names) + " |", "|---|" + "---:|" * len(names)]
    for loss, weights in dict.fromkeys((r["loss"], r["class_weights"]) for r in results):
        rows = [r for r in results if (r["loss"], r["class_weights"]) == (loss, weights)]
        cells = [f"{mean(v):.3f} ({min(v):.3f}–{max(v):.3f})" for v in ([r[n] for r in rows] for n in names)]
        lines.append(f"| `{loss}`{f', weights: {weights}' if weights else ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python docs/experiments/losses.py", description=(__doc__ or "").partition("\n\n")[0])
    top.add_argument("what", choices=("imbalance", "boundaries"))
    top.add_argument("--steps", type=int, default=150, metavar="N", help="of each training (default: 150)")
    top.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings with each loss (default: 3)")
    top.add_argument("--width", type=float, default=0.125, help="of the U-Net (default: 0.125)")
    top.add_argument("--json", type=Path, metavar="FILE", help="write the record")
    args = top.parse_args(argv)

    def save(results: list[dict[str, Any]]) -> None:
        if args.json:
            import numba

            about = {
                "what": args.what,
                "steps": args.steps,
                "width": args.width,
                "batch_size": 4,
                "optimizer": "adam",
                "learning_rate": 1e-3,
            }
            record = {**about, "environment": environment(numba.get_num_threads()), "results": results}
            write_text(args.json, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    try:
        if args.json:
            check_writable(args.json)
        print(table(args.what, compare(args.what, args.steps, args.width, range(args.seeds), save)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
