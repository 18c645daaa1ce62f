"""``minisegnet segment``"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ..options import Kind, whole
from .common import add_backend, add_command, use_backend
from .config import typed
from .results import FORMS, Collected, pictures, write_stack

EXAMPLES = """\
  minisegnet segment cell.png
      write segmented/cell.png, whose pixels are labels, with the included network for cell nuclei
  minisegnet segment photo.png --checkpoint runs/mine
      use a network that you trained
  minisegnet segment scans/ --checkpoint runs/mine/best.safetensors --out labels --overlay --confidence
      label every image of a folder; also write NAME_overlay.png and NAME_confidence.png
  minisegnet segment slide.png --checkpoint runs/mine --tile 512 --overlay
      label an image of any size, holding one row of tiles in memory; the overlay is a reduced overview
  minisegnet segment cell.png --checkpoint runs/mine --flip --scales 0.75,1,1.25
      average over four flipped copies at three scales
  minisegnet segment film.tif --checkpoint runs/mine --objects csv,rois
      label every image of a stack; also write a table of the objects and a set of ROIs for ImageJ
"""

_WHOLE = 1 << 22  # pixels (2048 × 2048): larger images are cut into tiles by default
_TILE, _OVERLAP = 512, 0.25
_FORMS = Kind(
    f"one or more of {', '.join(FORMS)} with commas between them",
    lambda given: tuple(given.split(",")),
    lambda forms: bool(forms) and set(forms) <= FORMS.keys(),
)
_SCALES = Kind(
    "factors above 0 and up to 16 with commas between them, such as 0.75,1,1.25",
    lambda given: tuple(float(word) for word in given.split(",")),
    lambda scales: all(0 < scale <= 16 for scale in scales),
)


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "segment",
        "label images",
        "Label every pixel of images of any size: grey, colour, bands, 8 or 16 bits. The PNG holds\nthe labels themselves (0, 1, ...) and a palette, so that viewers show colours. The labels of a stack are a TIFF stack.\nPixels without data (NaN, or the no-data value of a GeoTIFF) get the label 255.",
        EXAMPLES,
        run,
    )
    command.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP, WebP, GIF, .npy; or a folder of them")
    command.add_argument("--recursive", action="store_true", help="also label the images in the folders of a folder")
    command.add_argument(
        "--checkpoint",
        help="a .safetensors file, or the folder of a run (default: the included network for cell nuclei in fluorescence microscopy)",
    )
    command.add_argument("--out", default="segmented", metavar="DIR", help="folder of the results (default: segmented)")
    command.add_argument("--overlay", action="store_true", help="also write NAME_overlay.png, the image with its labels on top")
    command.add_argument(
        "--confidence", action="store_true", help="also write NAME_confidence.png, the probability of each label; 255 is 1"
    )
    command.add_argument(
        "--objects",
        nargs="?",
        const=("csv",),
        type=typed(_FORMS),
        metavar="FORM,FORM",
        help="also write the objects of each image: csv (counts and measures; the default), numbers (the objects as a grey image), "
        "geojson, rois (ImageJ), coco (one file for all images)",
    )
    command.add_argument(
        "--smallest", type=typed(whole(1)), default=1, metavar="N", help="leave out objects of fewer pixels (default: 1, none)"
    )
    command.add_argument(
        "--tile",
        type=typed(whole(0)),
        metavar="N",
        help=f"cut images into overlapping tiles of N × N pixels; 0 for never (default: {_TILE} for images above 4 million pixels)",
    )
    command.add_argument(
        "--overlap",
        type=float,
        default=_OVERLAP,
        metavar="F",
        help=f"share of a tile that overlaps with its neighbour (default: {_OVERLAP})",
    )
    command.add_argument("--margin", type=int, default=0, metavar="N", help="discard this many pixels at the borders of tiles (default: 0)")
    command.add_argument(
        "--flip", action="store_true", help="average over the image, its two flips and their combination: 4 times the work"
    )
    command.add_argument(
        "--scales", type=typed(_SCALES), default=(1.0,), metavar="F,F", help="average over the image at several scales (default: 1)"
    )
    add_backend(command)


def run(args: argparse.Namespace) -> int:
    use_backend(args)
    from ..files import check_writable
    from ..inference import load_model
    from ..progress import compiling

    if args.smallest > 1 and args.objects is None:
        raise ValueError("--smallest is about objects and goes with --objects")
    cut, scorer = _cut(args), _scorer(args)
    jobs = _jobs(args.images, Path(args.out), args)
    check_writable(next(iter(jobs[0].files.values())))
    model: Any = load_model(_checkpoint(args.checkpoint)).to(args.device)
    collected = None if args.objects is None else Collected(args.objects, model.about.classes, args.smallest, Path(args.out))
    failures = []
    for number, job in enumerate(jobs):
        try:
            start = time.perf_counter()
            with compiling(number == 0):
                said = _label(model, job, cut, scorer, collected)
            before = f"[{number + 1}/{len(jobs)}] " if len(jobs) > 1 else ""
            print(f"{before}{job.source} → {job.files['labels']}: {said}, {time.perf_counter() - start:.1f} s", flush=True)
        except (ValueError, OSError) as error:  # one bad file among many does not stop the others
            failures.append(str(error) if str(job.source) in str(error) else f"{job.source}: {error}")
    if collected is not None:
        collected.finish()
    for failure in failures:
        print(f"minisegnet: error: {failure}", file=sys.stderr)
    if failures and len(jobs) > 1:
        print(f"minisegnet: {len(failures)} of {len(jobs)} images could not be labelled", file=sys.stderr)
    return 2 if failures else 0


def _checkpoint(given: str | None) -> str | Path:
    """The given checkpoint, or else the included network; then a line says which that is and what it is for."""
    if given is not None:
        return given
    from ..exchange.checkpoint import read_about
    from ..exchange.weights import NUCLEI

    about = read_about(NUCLEI)
    print(
        f"no --checkpoint: using the included {NUCLEI.name}, for {about.run['what']} (U-Net, {about.step} steps, "
        f"IoU {about.metrics['iou_held_out_fields']:.2f} on held-out fields). For other images, train a network of your own"
    )
    return NUCLEI


class Job(NamedTuple):
    """An image file, the number of images in it, the files to write for it by what they hold, and where on the Earth it lies."""

    source: Path
    frames: int
    files: dict[str, Path]
    place: dict[int, tuple[int, object]]  # the tags of a GeoTIFF, which the results keep


def _jobs(given: list[str], out: Path, args: argparse.Namespace) -> list[Job]:
    """The images, each with the files to write for it. A file that would overwrite another result or an image is an error."""
    from ..data.imagefile import SUFFIXES

    sources: list[tuple[Path, Path]] = []  # with the folder of its results
    for path in map(Path, given):
        if path.is_dir():
            found = [(p, out / p.parent.relative_to(path)) for p in _inside(path, args.recursive)]
            if not found:
                raise ValueError(
                    f"{path}: no images in this folder ({', '.join(SUFFIXES)}){'' if args.recursive else '; --recursive looks deeper'}"
                )
            sources += found
        else:
            sources.append((path, out))
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    taken: dict[Path, Path] = {}
    originals = {source.resolve() for source, _ in sources}
    opened = [(source, folder, *_frames(source)) for source, folder in sources]
    jobs = [Job(source, frames, _files(folder, source, frames > 1 or bool(place), args), place) for source, folder, frames, place in opened]
    for job in jobs:
        for target in job.files.values():
            if target in taken:
                raise ValueError(f"{taken[target]} and {job.source} would both be written to {target}: label them in two runs")
            if target.resolve() in originals:
                raise ValueError(f"{target} would overwrite an image: choose another folder (--out)")
            taken[target] = job.source
    return jobs


def _inside(folder: Path, recursive: bool) -> list[Path]:
    """The image files of a folder."""
    from ..data.imagefile import SUFFIXES
    from ..data.layout import is_jpeg, mask_suffix
    from ..data.listing import files_in, folders_in

    found = [p for p in files_in(folder) if p.suffix.lower() in SUFFIXES]
    if (suffix := mask_suffix(found)) is not None:  # image and mask side by side
        masks = {
            p
            for p in found
            if (p.stem.endswith(suffix) if suffix else not is_jpeg(p) and any(q.stem == p.stem for q in found if is_jpeg(q)))
        }
        print(f"{folder}: {len(masks)} files with the names of masks are left out; name them to label them")
        found = [p for p in found if p not in masks]
    return found + [p for inner in (folders_in(folder) if recursive else []) for p in _inside(inner, True)]


def _frames(source: Path) -> tuple[int, dict]:
    """The number of images in a file, and its place on the Earth; 1 and none if it cannot be read, which is said when its turn comes."""
    from ..data.imagefile import ImageFile

    if source.suffix.lower() == ".npy":
        return 1, {}
    try:
        file = ImageFile(source)
        return len(file.frames), file.place(file.frames[0][0])
    except Exception:  # a damaged file makes Pillow raise nearly anything
        return 1, {}


def _files(out: Path, source: Path, as_tiff: bool, args: argparse.Namespace) -> dict[str, Path]:
    """The files that are written for an image, by what they hold."""
    suffix = ".tif" if as_tiff else ".png"
    wanted = {"labels": suffix, **{name: f"_{name}{suffix}" for name in ("overlay", "confidence") if getattr(args, name)}}
    wanted |= {form: FORMS[form].replace(".png", suffix) for form in args.objects or () if form != "coco"}
    return {name: out / f"{source.stem}{ending}" for name, ending in wanted.items()}


def _cut(args: argparse.Namespace) -> Callable[[tuple[int, int]], Any]:
    """A function that returns, for the size of an image, how it is cut into tiles, or None if it is not cut."""
    from ..inference import Tiling

    if args.tile == 0:
        if args.overlap != _OVERLAP or args.margin:
            raise ValueError("--overlap and --margin are about tiles, and do not go with --tile 0")
        return lambda size: None
    tiling = Tiling(args.tile or _TILE, args.overlap, args.margin)
    return lambda size: tiling if args.tile or size[0] * size[1] > _WHOLE else None


def _scorer(args: argparse.Namespace) -> Callable[[Any, Any], Any]:
    from ..inference import augmented_scores, scores

    if not args.flip and args.scales == (1.0,):
        return scores
    return lambda model, images: augmented_scores(model, images, "hv" if args.flip else "", args.scales)


def _label(model: Any, job: Job, cut: Any, scorer: Any, collected: Any) -> str:
    """Label the images of a file, and return a line about the result."""
    from ..inference import MISSING

    if job.frames == 1 and not job.place:
        counts, how = _segment(model, job.source, None, job.files, cut, scorer)
        if collected is not None:
            how += f", {collected.add(job.source, job.files, [job.files['labels']])} objects"
        return _shares(model.about.classes, counts) + how
    wanted = [name for name in ("labels", "overlay", "confidence") if name in job.files]
    total: Any = 0
    with TemporaryDirectory() as work:
        pages = {name: [Path(work) / f"{name}{frame}.png" for frame in range(job.frames)] for name in wanted}
        for frame in range(job.frames):
            counts, _ = _segment(model, job.source, frame, {name: pages[name][frame] for name in wanted}, cut, scorer)
            total = total + counts
        how = f", {job.frames} images" if job.frames > 1 else ""
        if collected is not None:
            how += f", {collected.add(job.source, job.files, pages['labels'], job.place)} objects"
        for name in wanted:
            # An overlay may be reduced, and a place that is told for another size would be wrong.
            place = {} if name == "overlay" else job.place
            write_stack(pictures(pages[name]), job.files[name], place, no_data=MISSING if name == "labels" else None)
    return _shares(model.about.classes, total) + how


def _shares(classes: Any, counts: Any) -> str:
    shares = counts / max(counts.sum(), 1)
    return ", ".join(f"{name} {share:.1%}" for name, share in zip(classes, shares, strict=True) if share)


def _segment(model: Any, source: Path, frame: int | None, files: dict[str, Path], cut: Any, scorer: Any) -> tuple[Any, str]:
    """Label one image; returns the pixels of each class, and how it was cut."""
    import numpy as np

    from ..inference import LargeImage
    from ..viz import background_of

    about = model.about
    colours = np.array(about.palette, np.uint8)
    background = background_of(about.classes)
    with LargeImage(source, about.in_channels, frame, about.standardise) as image:
        tiling = cut(image.size)
        if tiling is None:
            return _whole(image, model, files, colours, background, scorer), ""
        number = tiling.count(*image.size)
        return _in_tiles(image, model, files, colours, background, tiling, scorer), f", {number} tile{'s' * (number != 1)}"


def _whole(image: Any, model: Any, files: dict[str, Path], colours: Any, background: int | None, scorer: Any) -> Any:
    import numpy as np
    from PIL import Image

    from ..files import write_atomically
    from ..inference import MISSING, segment_prepared
    from ..viz import overlay, save_label_png

    pixels = image.rows(0, image.size[0], missing=True)
    missing = np.isnan(pixels).any(axis=0)
    labels, confidence = segment_prepared(model, np.nan_to_num(pixels), confidence=True, scorer=scorer)
    counts = np.bincount(labels[~missing], minlength=len(colours))
    labels[missing] = MISSING

    def save(picture: np.ndarray, path: Path) -> None:
        write_atomically(path, lambda stream: Image.fromarray(picture).save(stream, "PNG"))

    save_label_png(labels, colours, files["labels"])
    if "overlay" in files:
        save(overlay(image.shown(), labels, colours, background=background), files["overlay"])
    if "confidence" in files:
        save(np.where(missing, 0, np.rint(confidence * 255)).astype(np.uint8), files["confidence"])
    return counts


def _in_tiles(image: Any, model: Any, files: dict[str, Path], colours: Any, background: int | None, tiling: Any, scorer: Any) -> Any:
    from ..inference import segment_large
    from ..progress import Bar
    from ..viz import Overview

    strips = len(tiling.along(image.size[0]))
    bar = Bar(strips, 0, show=strips > 1)
    overview = Overview(image.size)

    def on_strip(start: int, rows: Any, labels: Any) -> None:
        overview.add(start, rows, labels)
        bar.step()

    try:
        counts = segment_large(
            model,
            image,
            files["labels"],
            confidence=files.get("confidence"),
            tiling=tiling,
            colours=colours,
            scorer=scorer,
            on_strip=on_strip,
        )
    finally:
        bar.close()
    if "overlay" in files:
        overview.save(files["overlay"], colours, background)
    return counts
