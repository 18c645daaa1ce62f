"""``minisegnet evaluate``"""

from __future__ import annotations

import argparse
import csv
import io
import json
from typing import TYPE_CHECKING, Any

from ..options import number, pick, whole
from .common import add_backend, add_command, use_backend
from .config import add_options, typed
from .dataset import Data, data_options, data_settings, given, open_all, open_part, tells_data

if TYPE_CHECKING:
    from ..data import Dataset
    from ..metrics import PerImage

EXAMPLES = """\
  minisegnet evaluate runs/mine
      the best checkpoint of a run, on the images that were held out of it
  minisegnet evaluate runs/mine/last.safetensors --data DIR --json figures.json --pictures errors.png
      the last checkpoint, on all images of a folder
  minisegnet evaluate runs/mine --split test --csv images.csv
      the test split of the run's own data, with the figures of each image
  minisegnet evaluate runs/mine --boundaries --confusion confusion.png
      also measure the contours, and draw which classes were confused
"""
CONVENTIONS = ("nanmean", "fcn", "voc", "cityscapes", "segnet")  # metrics.CONVENTIONS, which --help must not import


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "evaluate",
        "measure a checkpoint",
        "Compare the labels of a trained network with the truth on whole images: IoU, F1, precision and recall\nof each class, pooled over all pixels.",
        EXAMPLES,
        run,
    )
    command.add_argument("checkpoint", help="a .safetensors file, or the folder of a run")
    options = data_options("the images that were held out of the run", "val")
    add_options(command, (about for name, about in options.items() if name not in ("val_fraction", "val_data", "standardise")))
    command.add_argument("--batch-size", type=typed(whole(1)), default=4, metavar="N", help="images at a time (default: 4)")
    command.add_argument(
        "--convention",
        choices=CONVENTIONS,
        default="nanmean",
        help="how means treat a class that has no pixels; nanmean leaves it out (default: nanmean)",
    )
    command.add_argument("--boundaries", action="store_true", help="also measure the contours: boundary IoU and BF score")
    command.add_argument(
        "--band",
        type=typed(number("a number of pixels above 0", lambda x: x > 0)),
        metavar="PX",
        help="count errors within PX pixels of a true boundary apart from the others; --pictures draws them dim",
    )
    command.add_argument("--json", metavar="FILE", help="write the figures to a JSON file, including those of each image")
    command.add_argument("--csv", metavar="FILE", help="write the figures of each image to a table")
    command.add_argument("--confusion", metavar="FILE", help="write a PNG of the confusion matrix")
    command.add_argument(
        "--pictures",
        metavar="FILE",
        help="write a PNG of up to eight images with truth, prediction and errors: the worst one of each class and the worst of all",
    )
    add_backend(command)


def run(args: argparse.Namespace) -> int:
    use_backend(args)
    from ..files import check_writable, write_atomically, write_text
    from ..inference import load_model, predict_within
    from ..metrics import BoundaryErrors, BoundaryF1, BoundaryIoU, PerImage
    from ..progress import compiling
    from ..training import evaluate
    from ..training.evaluation import MOST
    from ..viz import confusion as confusion_picture
    from ..viz import predictions

    for target in filter(None, (args.json, args.csv, args.confusion, args.pictures)):
        check_writable(target)
    model: Any = load_model(args.checkpoint).to(args.device)
    about = model.about
    dataset, remarks = _dataset(args, about)
    contours: dict[str, Any] = {}
    options = (len(dataset.classes), dataset.ignore_index, dataset.classes)
    images = PerImage(*options)
    if args.boundaries:
        contours = {"boundary_iou": BoundaryIoU(*options), "bf_score": BoundaryF1(*options)}
    if args.band is not None:
        contours["boundary_errors"] = BoundaryErrors(args.band, dataset.ignore_index)
    with compiling():
        confusion = evaluate(model, dataset, args.batch_size, (images, *contours.values())).under(args.convention)
    print(f"{len(dataset)} image{'s' * (len(dataset) != 1)}, {args.checkpoint} after {about.step} steps")
    print("\n".join([*(f"note: {remark}" for remark in remarks), "", str(confusion)]))
    for contour in contours.values():
        print(contour)
    if args.json:
        figures = {"checkpoint": args.checkpoint, "step": about.step, "images": len(dataset), "notes": remarks, **confusion.to_dict()}
        figures["per_image"] = images.rows(dataset.names)
        text = json.dumps(figures | {name: contour.to_dict() for name, contour in contours.items()}, indent=2) + "\n"
        write_atomically(args.json, lambda stream: stream.write(text.encode()))
    if args.csv:
        write_text(args.csv, _table(images.rows(dataset.names)))
    if args.confusion:
        confusion_picture(confusion, args.confusion)
    if args.pictures:
        shown = _worst(images)
        items = [dataset[k] for k in shown]
        labels = [predict_within(model, image, MOST) for image, _ in items]
        images, truths = zip(*items, strict=True)
        predictions(
            images,
            truths,
            labels,
            dataset.classes,
            dataset.palette,
            args.pictures,
            names=[dataset.names[k] for k in shown],
            ignore_index=dataset.ignore_index,
            band=args.band,
        )
    return 0


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV; an empty cell where there is no figure."""
    lines = io.StringIO(newline="")
    table = csv.DictWriter(lines, rows[0])
    table.writeheader()
    table.writerows(rows)
    return lines.getvalue()


def _worst(images: PerImage, most: int = 8) -> list[int]:
    """The images to be shown, in their order: for each class the worst image that has it, then the worst of the others."""
    order, present = images.hardest(len(images.matrices)), images.present()
    firsts = [next((k for k in order if present[k, c]), None) for c in range(present.shape[1])]
    chosen = list(dict.fromkeys([*(k for k in firsts if k is not None), *order]))[:most]
    return sorted(chosen)


def _dataset(args: argparse.Namespace, about: Any) -> tuple[Dataset, list[str]]:
    """The images to measure, and what has to be known of them: how they differ from those of the run, and which were trained on."""
    from ..data.record import copies, record, some

    asked, settings = pick(Data, vars(args)), about.run.get("settings", {})
    drift: list[str] = []
    dataset: Any
    if asked.data is None:
        if idle := given(asked, but=("split",)):
            raise ValueError(f"{idle}: this goes with --data; without it, the data are those of the run")
        if not tells_data(settings):
            raise ValueError("the checkpoint does not record which images were held out of its training: name the data (--data)")
        if asked.split is None:
            dataset, found = open_part(settings, "held out", about.in_channels)
            drift = found.lines()
        else:
            dataset = open_all({**settings, "split": asked.split}, about.in_channels)
    else:
        named = data_settings(asked) | {"standardise": about.standardise}
        if asked.classes is None and asked.masks == "auto" and len(about.classes) > 2:
            named["classes"] = list(about.classes)  # a folder may lack pixels of a class; a published data set lists its classes
        dataset = open_all(named, about.in_channels)
    trained = settings.get("parts", {}).get("train", {}).get("items")
    if trained is None:
        return dataset, [*drift, "the checkpoint does not record which images it was trained on; some of these may be among them"]
    embedded = asked.data is None and asked.split is not None and not trained
    if embedded and asked.split in (settings["parts"]["train"]["split"], "all"):
        drift.append("the network was trained on these images, or on a part of them: the figures are too good")
    if seen := copies(record(dataset), trained):
        drift.append(
            f"{len(seen)} of the {len(dataset)} images are ones that the network was trained on ({some(seen)}): the figures are too good"
        )
    return dataset, drift
