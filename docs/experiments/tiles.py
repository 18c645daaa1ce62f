"""Memory and time of labelling a large image, as a whole and in tiles. Feeds ``docs/inference.md``.

::

    python docs/experiments/tiles.py --size 1024,2048 --threads 1 --checkpoint runs/first --json docs/benchmarks/tiling.json

Each case runs in its own process, because the peak memory of a process never falls. Such a process is
``tiles.py case SIZE HOW THREADS LABELS [CHECKPOINT]``; it prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from PIL import Image

from minisegnet import models
from minisegnet.bench.report import save_record
from minisegnet.data import class_palette, nuclei_field
from minisegnet.files import check_writable
from minisegnet.inference import Tiling, load_model, predict, prepare, segment_large
from minisegnet.random import manual_seed
from minisegnet.viz import save_label_png

_TILE = 512
# The margin is the radius of a padded four-level U-Net's receptive field, 108 pixels, rounded up to a multiple of its stride.
HOW: dict[str, dict[str, Any] | None] = {
    "whole": None,
    "tiles, blended": {"tile": _TILE, "overlap": 0.25},
    "tiles, exact": {"tile": _TILE, "overlap": 0.0, "margin": 112},
}


def measure(
    sizes: list[int], threads: int, checkpoint: str | None = None, progress: Callable[[str], None] = lambda m: None
) -> dict[str, Any]:
    """Measure every size in each of the ways of `HOW`.

    Returns
    -------
    dict
        ``runs``: for each case ``peak_mib``, ``before_mib`` (memory before the image was made), ``seconds``, ``tiles``, and
        ``differs``, the share of pixels that get another label than when the image is labelled as a whole.
    """
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            whole: np.ndarray | None = None
            for how in HOW:
                progress(f"{size} × {size}, {how}")
                path = Path(folder) / "labels.png"
                command = [sys.executable, __file__, "case", str(size), how, str(threads), str(path), *([checkpoint] if checkpoint else [])]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    runs.append({"size": size, "how": how, "failed": f"exit code {done.returncode}; out of memory?"})
                    continue
                labels = _labels(path)
                whole = labels if how == "whole" else whole
                differs = None if whole is None or how == "whole" else float((labels != whole).mean())
                runs.append({"size": size, "how": how, **json.loads(done.stdout), "differs": differs})
    return {"tile": _TILE, "runs": runs}


def table(results: dict[str, Any]) -> str:
    """For the screen."""
    lines = [
        f"{'image':>13}  {'how':14}  {'tiles':>5}  {'peak MiB':>8}  {'of which image and network':>26}  {'seconds':>8}  {'other labels':>12}"
    ]
    for run in results["runs"]:
        head = f"{run['size']:>5} × {run['size']:<5}  {run['how']:14}"
        if "failed" in run:
            lines.append(f"{head}  {run['failed']}")
            continue
        differs = "" if run["differs"] is None else f"{run['differs']:.4%}"
        own = run["peak_mib"] - run["before_mib"]
        lines.append(f"{head}  {run['tiles']:5}  {run['peak_mib']:8.0f}  {own:26.0f}  {run['seconds']:8.1f}  {differs:>12}")
    return "\n".join(lines)


def _field(size: int) -> np.ndarray:
    """The embedded field of nuclei, cut or extended by its mirror images to `size` rows and columns."""
    image, _ = nuclei_field()
    return np.pad(image, [(0, size - n) for n in image.shape], mode="symmetric") if size > image.shape[0] else image[:size, :size]


def _labels(path: Path) -> np.ndarray:
    Image.MAX_IMAGE_PIXELS = None  # Pillow's guard against hostile files; this one was written by this program
    with Image.open(path) as picture:
        return np.array(picture)


def _case(size: int, how: str, threads: int, labels: str, checkpoint: str | None = None) -> None:
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    manual_seed(0)
    model: Any = models.create("unet", 1, 2, 0.25).eval() if checkpoint is None else load_model(checkpoint)
    predict(model, np.zeros((1, model.in_channels, 64, 64), np.float32))  # compiles before anything is measured
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    before, options = peak(), HOW[how]
    image = _field(size)
    start = time.perf_counter()
    if options is None:
        tiles = 1
        save_label_png(predict(model, prepare(image, model.in_channels)), class_palette(model.num_classes), labels)
    else:
        tiling = Tiling(**options)
        tiles = tiling.count(size, size)
        segment_large(model, image, labels, tiling=tiling)
    print(json.dumps({"tiles": tiles, "before_mib": before, "peak_mib": peak(), "seconds": time.perf_counter() - start}))


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python docs/experiments/tiles.py", description=(__doc__ or "").partition("\n\n")[0])
    top.add_argument("--size", type=_sizes, default=[1024, 2048], metavar="N,N", help="sides of the images (default: 1024,2048)")
    top.add_argument("--threads", type=int, default=2, metavar="N", help="(default: 2)")
    top.add_argument("--checkpoint", metavar="RUN", help="the network (default: a U-Net of width 1/4, untrained)")
    top.add_argument("--json", type=Path, metavar="FILE", help="write the record")
    args = top.parse_args(argv)
    try:
        if args.json:
            check_writable(args.json)
        results = measure(args.size, args.threads, args.checkpoint, lambda case: print(f"  {case} …", file=sys.stderr))
        print(table(results))
        if args.json:
            save_record({"checkpoint": args.checkpoint, **results}, args.json, threads=args.threads)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _sizes(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) >= 16 for word in words):
        raise argparse.ArgumentTypeError(f"expected whole numbers, 16 or more, separated by commas, not {text!r}")
    return [int(word) for word in words]


if __name__ == "__main__":
    if sys.argv[1:2] == ["case"]:
        size, how, threads, *files = sys.argv[2:]
        _case(int(size), how, int(threads), *files)
    else:
        sys.exit(main())
