"""``minisegnet evaluate``"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ..options import number, pick, whole
from .common import add_backend, add_command, use_backend
from .config import add_options, typed
from .dataset import Data, data_options, data_settings, given, open_all, open_part, tells_data

if TYPE_CHECKING:
    from ..data import Dataset

EXAMPLES = """\
  minisegnet evaluate runs/mine
      the best checkpoint of a run, on the images that were held out of it
  minisegnet evaluate runs/mine/last.safetensors --data DIR --json figures.json --pictures errors.png
      the last checkpoint, on all images of a folder
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
    add_options(command, (about for name, about in options.items() if name not in ("val_fraction", "val_data")))
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
    command.add_argument("--json", metavar="FILE", help="write the figures to a JSON file")
    command.add_argument("--confusion", metavar="FILE", help="write a PNG of the confusion matrix")
    command.add_argument("--pictures", metavar="FILE", help="write a PNG of up to eight images with truth, prediction and errors")
    add_backend(command)


def run(args: argparse.Namespace) -> int:
    use_backend(args)
    from ..files import check_writable, write_atomically
    from ..inference import load_model, predict
    from ..metrics import BoundaryErrors, BoundaryF1, BoundaryIoU
    from ..progress import compiling
    from ..training import evaluate
    from ..viz import confusion as confusion_picture
    from ..viz import predictions

    for target in filter(None, (args.json, args.confusion, args.pictures)):
        check_writable(target)
    model: Any = load_model(args.checkpoint).to(args.device)
    about = model.about
    dataset, remarks = _dataset(args, about)
    contours: dict[str, Any] = {}
    if args.boundaries:
        options = (len(dataset.classes), dataset.ignore_index, dataset.classes)
        contours = {"boundary_iou": BoundaryIoU(*options), "bf_score": BoundaryF1(*options)}
    if args.band is not None:
        contours["boundary_errors"] = BoundaryErrors(args.band, dataset.ignore_index)
    with compiling():
        confusion = evaluate(model, dataset, args.batch_size, tuple(contours.values())).under(args.convention)
    print(f"{len(dataset)} image{'s' * (len(dataset) != 1)}, {args.checkpoint} after {about.step} steps")
    print("\n".join([*(f"note: {remark}" for remark in remarks), "", str(confusion)]))
    for contour in contours.values():
        print(contour)
    if args.json:
        figures = {"checkpoint": args.checkpoint, "step": about.step, "images": len(dataset), "notes": remarks, **confusion.to_dict()}
        text = json.dumps(figures | {name: contour.to_dict() for name, contour in contours.items()}, indent=2) + "\n"
        write_atomically(args.json, lambda stream: stream.write(text.encode()))
    if args.confusion:
        confusion_picture(confusion, args.confusion)
    if args.pictures:
        items = [dataset[k] for k in range(min(len(dataset), 8))]
        labels = [predict(model, image) for image, _ in items]
        images, truths = zip(*items, strict=True)
        predictions(
            images,
            truths,
            labels,
            dataset.classes,
            dataset.palette,
            args.pictures,
            names=dataset.names[: len(items)],
            ignore_index=dataset.ignore_index,
            band=args.band,
        )
    return 0


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
        named = data_settings(asked)
        if asked.classes is None and asked.masks == "auto" and len(about.classes) > 2:
            named["classes"] = list(about.classes)  # a folder may lack pixels of a class; a published data set lists its classes
        dataset = open_all(named, about.in_channels)
    trained = settings.get("parts", {}).get("train", {}).get("items")
    if trained is None:
        return dataset, [*drift, "the checkpoint does not record which images it was trained on; some of these may be among them"]
    if seen := copies(record(dataset), trained):
        drift.append(f"{len(seen)} of the {len(dataset)} images are ones that the network was trained on ({some(seen)}): this flatters it")
    return dataset, drift
