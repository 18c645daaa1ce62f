"""``minisegnet segment``"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from .common import add_backend, add_command, use_backend

EXAMPLES = """\
  minisegnet segment cell.png --checkpoint runs/mine
      writes segmented/cell.png, whose pixels are the labels
  minisegnet segment scans/ --checkpoint runs/mine/best.safetensors --out labels --overlay --confidence
      every image of a folder; beside the labels cell_overlay.png and cell_confidence.png
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "segment",
        "label images",
        "Label every pixel of images of any size: grey, colour, with alpha, 8 or 16 bits. The PNG holds\nthe labels themselves (0, 1, ...) and a palette, so that viewers show colours.",
        EXAMPLES,
        run,
    )
    command.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP, WebP; or a folder of them")
    command.add_argument("--checkpoint", required=True, help="a .safetensors file, or the folder of a run")
    command.add_argument("--out", default="segmented", metavar="DIR", help="where the results go (default: segmented)")
    command.add_argument("--overlay", action="store_true", help="write NAME_overlay.png too: the image under its labels")
    command.add_argument("--confidence", action="store_true", help="write NAME_confidence.png too: probability of the label, 255 for 1")
    add_backend(command)


def run(args: argparse.Namespace) -> int:
    use_backend(args)
    from ..files import check_writable
    from ..inference import load_model
    from ..progress import compiling

    jobs = _jobs(args.images, Path(args.out), args)
    check_writable(jobs[0][1]["labels"])
    model = load_model(args.checkpoint)
    failures = []
    for number, (source, files) in enumerate(jobs):
        try:
            start = time.perf_counter()
            with compiling(number == 0):
                shares = _segment(model, source, files)
            print(f"{source} → {files['labels']}: {shares}, {time.perf_counter() - start:.1f} s", flush=True)
        except (ValueError, OSError) as error:  # one bad file among many does not stop the others
            failures.append(str(error) if str(source) in str(error) else f"{source}: {error}")
    for failure in failures:
        print(f"minisegnet: error: {failure}", file=sys.stderr)
    if failures and len(jobs) > 1:
        print(f"minisegnet: {len(failures)} of {len(jobs)} images could not be labelled", file=sys.stderr)
    return 2 if failures else 0


def _jobs(given: list[str], out: Path, args: argparse.Namespace) -> list[tuple[Path, dict[str, Path]]]:
    """Images with the files that are made of them; refuses what would overwrite another result or an image."""
    from ..data.images import SUFFIXES

    sources: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not found:
                raise ValueError(f"{path}: no images in this folder ({', '.join(SUFFIXES)})")
            sources += found
        else:
            sources.append(path)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    taken: dict[Path, Path] = {}
    originals = {source.resolve() for source in sources}
    for source in sources:
        for target in _files(out, source, args).values():
            if target in taken:
                raise ValueError(f"{taken[target]} and {source} would both be written to {target}: label them in two runs")
            if target.resolve() in originals:
                raise ValueError(f"{target} would overwrite an image: choose another folder (--out)")
            taken[target] = source
    return [(source, _files(out, source, args)) for source in sources]


def _files(out: Path, source: Path, args: argparse.Namespace) -> dict[str, Path]:
    """What is written for an image."""
    wanted = {"labels": "", **{name: f"_{name}" for name in ("overlay", "confidence") if getattr(args, name)}}
    return {name: out / f"{source.stem}{ending}.png" for name, ending in wanted.items()}


def _segment(model: Any, source: Path, files: dict[str, Path]) -> str:
    import numpy as np
    from PIL import Image

    from ..data import read_image, standardise
    from ..files import write_atomically
    from ..inference import segment_prepared
    from ..viz import overlay, save_label_png

    about = model.about
    image = read_image(source, about.in_channels)
    labels, confidence = segment_prepared(model, standardise(image), confidence=True)
    palette = np.array(about.palette, np.uint8)

    def save(picture: np.ndarray, path: Path) -> None:
        write_atomically(path, lambda stream: Image.fromarray(picture).save(stream, "PNG"))

    save_label_png(labels, palette, files["labels"])
    if "overlay" in files:
        background = 0 if len(about.classes) == 2 or about.classes[0].lower().startswith("background") else None
        save(overlay(read_image(source), labels, palette, background=background), files["overlay"])
    if "confidence" in files:
        save(np.rint(confidence * 255).astype(np.uint8), files["confidence"])
    counts = np.bincount(labels.ravel(), minlength=len(about.classes)) / labels.size
    return ", ".join(f"{name} {share:.1%}" for name, share in zip(about.classes, counts, strict=True) if share)
