"""``minisegnet evaluate``"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from .common import add_backend, add_command, add_data, data_settings, given, open_data, positive, tells_data, use_backend

if TYPE_CHECKING:
    from ..data import Dataset

EXAMPLES = """\
  minisegnet evaluate runs/mine
      the best checkpoint of a run, on the images that were held out of it
  minisegnet evaluate runs/mine/last.safetensors --data DIR --json figures.json --pictures errors.png
      on all images of a folder
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "evaluate",
        "measure a checkpoint",
        "Compare the labels of a trained network with the truth, on whole images: IoU, F1, precision\nand recall of each class, pooled over all pixels.",
        EXAMPLES,
        run,
    )
    command.add_argument("checkpoint", help="a .safetensors file, or the folder of a run")
    add_data(command, "default: what was held out of the run")
    command.add_argument("--batch-size", type=positive, default=4, metavar="N", help="images at a time (default: 4)")
    command.add_argument("--json", metavar="FILE", help="write the figures to a file")
    command.add_argument("--pictures", metavar="FILE", help="write a PNG of up to eight images with truth, prediction and errors")
    add_backend(command)


def run(args: argparse.Namespace) -> int:
    use_backend(args)
    from ..files import check_writable, write_atomically
    from ..inference import load_model, predict
    from ..progress import compiling
    from ..training import evaluate
    from ..viz import predictions

    for target in filter(None, (args.json, args.pictures)):
        check_writable(target)
    model: Any = load_model(args.checkpoint)
    about = model.about
    dataset = _dataset(args, about)
    with compiling():
        confusion = evaluate(model, dataset, args.batch_size)
    print(f"{len(dataset)} image{'s' * (len(dataset) != 1)}, {args.checkpoint} after {about.step} steps\n\n{confusion}")
    if args.json:
        text = (
            json.dumps({"checkpoint": args.checkpoint, "step": about.step, "images": len(dataset), **confusion.to_dict()}, indent=2) + "\n"
        )
        write_atomically(args.json, lambda stream: stream.write(text.encode()))
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
        )
    return 0


def _dataset(args: argparse.Namespace, about: Any) -> Dataset:
    if args.data is None:
        if idle := given(args):
            raise ValueError(f"{idle}: that goes with --data; without it, the data are those of the run")
        settings = about.run.get("settings", {})
        if not tells_data(settings):
            raise ValueError("the checkpoint does not tell what was held out of its training: name the data (--data)")
        return open_data(settings, "held out", about.in_channels)
    settings = data_settings(args)
    if args.classes is None and args.masks == "auto" and len(about.classes) > 2:
        settings["classes"] = list(about.classes)  # a folder need not show every class
    return open_data(settings, "held out" if args.data in ("nuclei", "shapes") else "all", about.in_channels)
