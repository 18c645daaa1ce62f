"""Memory and time of large images, as a whole and in tiles, each in a process of its own.

``python -m minisegnet.bench.tiles SIZE HOW THREADS LABELS [CHECKPOINT]`` is such a process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_TILE = 512
# The margin is the 108 pixels that a padded U-Net of four levels sees to each side, rounded up to its stride.
HOW: dict[str, dict[str, Any] | None] = {
    "whole": None,
    "tiles, blended": {"tile": _TILE, "overlap": 0.25},
    "tiles, exact": {"tile": _TILE, "overlap": 0.0, "margin": 112},
}


def measure(
    sizes: list[int], threads: int, checkpoint: str | None = None, progress: Callable[[str], None] = lambda m: None
) -> dict[str, Any]:
    """Every size in every way.

    Returns
    -------
    dict
        ``runs``: peak memory in MiB, and what of it was there before the image was touched; seconds; tiles; and the share of
        pixels whose label is not that of the whole image, where the whole image was labelled.
    """
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            whole: np.ndarray | None = None
            for how in HOW:
                progress(f"{size} × {size}, {how}")
                path = Path(folder) / "labels.png"
                command = [sys.executable, "-m", __name__, str(size), how, str(threads), str(path), *([checkpoint] if checkpoint else [])]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    runs.append({"size": size, "how": how, "failed": f"exit code {done.returncode}, for want of memory?"})
                    continue
                labels = _labels(path)
                whole = labels if how == "whole" else whole
                differs = None if whole is None or how == "whole" else float((labels != whole).mean())
                runs.append({"size": size, "how": how, **json.loads(done.stdout), "differs": differs})
    return {"tile": _TILE, "runs": runs}


def table(results: dict[str, Any]) -> str:
    """For the screen."""
    lines = [
        f"{'image':>13}  {'how':14}  {'tiles':>5}  {'peak MiB':>8}  {'of it image and network':>23}  {'seconds':>8}  {'other labels':>12}"
    ]
    for run in results["runs"]:
        head = f"{run['size']:>5} × {run['size']:<5}  {run['how']:14}"
        if "failed" in run:
            lines.append(f"{head}  {run['failed']}")
            continue
        differs = "" if run["differs"] is None else f"{run['differs']:.4%}"
        own = run["peak_mib"] - run["before_mib"]
        lines.append(f"{head}  {run['tiles']:5}  {run['peak_mib']:8.0f}  {own:23.0f}  {run['seconds']:8.1f}  {differs:>12}")
    return "\n".join(lines)


def _field(size: int) -> np.ndarray:
    """The embedded field of nuclei and its mirror images, side by side."""
    from ..data import nuclei_field

    image, _ = nuclei_field()
    return np.pad(image, [(0, size - n) for n in image.shape], mode="symmetric") if size > image.shape[0] else image[:size, :size]


def _labels(path: Path) -> np.ndarray:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # made just now, and by us
    with Image.open(path) as picture:
        return np.array(picture)


def _serve(size: int, how: str, threads: int, labels: str, checkpoint: str | None = None) -> None:
    import numba

    from ..inference import Tiling, load_model, predict, prepare, segment_large
    from ..models import create
    from ..random import manual_seed
    from ..viz import class_palette, save_label_png

    numba.set_num_threads(min(threads, numba.get_num_threads()))
    manual_seed(0)
    model: Any = create("unet", 1, 2, 0.25).eval() if checkpoint is None else load_model(checkpoint)
    predict(model, np.zeros((1, model.in_channels, 64, 64), np.float32))  # compiled before anything is measured
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


if __name__ == "__main__":
    size, how, threads, *files = sys.argv[1:]
    _serve(int(size), how, int(threads), *files)
