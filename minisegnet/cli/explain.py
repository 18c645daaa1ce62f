"""``minisegnet explain``"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..options import whole
from .common import add_backend, add_command, use_backend
from .config import typed

EXAMPLES = """\
  minisegnet explain cell.png --checkpoint runs/mine
      maps of the network's confidence, Seg-Grad-CAM, and the path of its least certain pixel
  minisegnet explain cell.png --checkpoint runs/mine --pixel 120,64 --target nucleus
      the path of the pixel in row 120, column 64, with the gradient of its loss for the class nucleus
  minisegnet explain cell.png --checkpoint runs/mine --layer up4.conv --class nucleus
      feature maps of a layer, and Seg-Grad-CAM of a class at that layer; minisegnet models NAME lists the layers
"""
_MOST = 1 << 22  # pixels of an image whose maps are drawn
_WINDOW = 384  # rows and columns around the pixel for which the output of every layer is kept in memory


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "explain",
        "show why an image got its labels",
        "Draw what happens in a network: maps of uncertainty (confidence, entropy, margin), Seg-Grad-CAM,\n"
        "feature maps, filters, and the path of one pixel through all layers, with the gradient of its loss.",
        EXAMPLES,
        run,
    )
    command.add_argument("image", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP or WebP, up to 4 million pixels")
    command.add_argument("--frame", type=typed(whole(0)), metavar="N", help="the image to explain, from 0, in a file that holds several")
    command.add_argument("--checkpoint", required=True, help="a .safetensors file, or the folder of a run")
    command.add_argument("--out", default="explained", metavar="DIR", help="folder of the pictures (default: explained)")
    command.add_argument(
        "--pixel", type=_pixel, metavar="ROW,COLUMN", help="the pixel whose path is shown (default: the one of smallest margin)"
    )
    command.add_argument("--target", metavar="CLASS", help="class of the loss at that pixel, by name or number (default: its label)")
    command.add_argument("--class", dest="about", metavar="CLASS", help="the class that Seg-Grad-CAM explains (default: the last)")
    command.add_argument("--layer", metavar="NAME", help="for Seg-Grad-CAM and feature maps (default: the last of the lowest resolution)")
    command.add_argument(
        "--passes", type=typed(whole(1)), metavar="N", help="Monte Carlo dropout: N passes, and a map of their disagreement"
    )
    command.add_argument(
        "--window",
        type=typed(whole(0)),
        default=_WINDOW,
        metavar="N",
        help=f"Seg-Grad-CAM, features and the pixel's path are of N × N pixels around the pixel, because every layer is kept in memory; "
        f"0 for the whole image (default: {_WINDOW})",
    )
    add_backend(command)


def run(args: argparse.Namespace) -> int:
    use_backend(args)
    import numpy as np

    from .. import diagnostics, viz
    from ..data import prepared, read_image
    from ..files import check_writable
    from ..inference import confidence, entropy, load_model, margin
    from ..progress import compiling

    out, stem = Path(args.out), Path(args.image).stem
    check_writable(out / f"{stem}_doubt.png")
    model: Any = load_model(args.checkpoint).to(args.device)
    about = model.about
    image = read_image(args.image, about.in_channels, args.frame)
    if image.shape[1] * image.shape[2] > _MOST:
        raise ValueError(
            f"{args.image}: {image.shape[1]} × {image.shape[2]} pixels are more than 4 million: cut out the part to be explained"
        )
    given, image = prepared(image, about.standardise), np.nan_to_num(image)
    explained = _class(args.about, about.classes, "--class") if args.about is not None else len(about.classes) - 1
    target = None if args.target is None else _class(args.target, about.classes, "--target")

    with compiling():
        probabilities = _probabilities(model, given)
        measures = {"confidence": confidence(probabilities), "entropy": entropy(probabilities), "margin": margin(probabilities)}
        if args.passes is not None:
            measures["information"] = _information(model, given, args.passes)
        row, column = args.pixel if args.pixel is not None else divmod(int(measures["margin"].argmin()), image.shape[2])
        rows, columns = _around(row, image.shape[1], args.window), _around(column, image.shape[2], args.window)
        part, shown = given[:, rows, columns], image[:, rows, columns]
        path = diagnostics.follow_pixel(model, part, (row - rows.start, column - columns.start), target)
        cam = diagnostics.seg_grad_cam(model, part, explained, layer=args.layer)
        features = diagnostics.activations(model, part, [cam.layer])[cam.layer]

    background = viz.background_of(about.classes)
    name = about.classes[explained]
    written = [
        viz.doubt(
            image,
            probabilities.argmax(axis=0),
            measures,
            about.palette,
            out / f"{stem}_doubt.png",
            background=background,
            classes=about.classes,
        ),
        cam.draw(shown, name, out / f"{stem}_cam.png"),
        viz.features(features, out / f"{stem}_features.png", title=f"Feature maps of {cam.layer}"),
        path.draw(part, out / f"{stem}_pixel.png", classes=about.classes),
    ]
    if (first := _first_filters(model)) is not None:
        written.append(viz.filters(first[1], out / f"{stem}_filters.png", title=f"Filters of {first[0]}"))
    if part.shape != given.shape:
        print(
            f"window of {part.shape[1]} × {part.shape[2]} pixels around row {row}, column {column} (--window); below, "
            f"row 0 and column 0 are row {rows.start} and column {columns.start} of the image"
        )
    print(path)
    print("\nclasses: " + ", ".join(f"{k} {name}" for k, name in enumerate(about.classes)))
    print("\n".join(f"  {picture}" for picture in written))
    return 0


def _around(centre: int, length: int, window: int) -> slice:
    """A window around a row or column, moved where it would leave the image; everything if `window` is 0."""
    if not 0 <= centre < length or not 0 < window < length:  # a pixel outside of the image is refused by `follow_pixel`
        return slice(0, length)
    start = min(max(centre - window // 2, 0), length - window)
    return slice(start, start + window)


def _probabilities(model: Any, image: Any) -> Any:
    """The probabilities of the classes, (K, H, W); in tiles for a large image."""
    from .. import functional as F
    from ..inference import scores, tiled_scores, tiling_for
    from ..tensor import Tensor
    from ..training.evaluation import MOST

    tiling = tiling_for(image.shape[1:], MOST // 4)
    found = scores(model, image[None]).cpu() if tiling is None else Tensor(tiled_scores(model, image, tiling)[None])
    return F.softmax(found, dim=1).array[0]


def _information(model: Any, image: Any, passes: int) -> Any:
    """The disagreement of passes with dropout, (H, W); in tiles for a large image."""
    import numpy as np

    from ..inference import blend, monte_carlo_dropout, tiling_for
    from ..training.evaluation import MOST

    def found(part: Any) -> Any:
        return monte_carlo_dropout(model, part[None], passes).information

    size = image.shape[1:]
    tiling = tiling_for(size, MOST // 4)
    if tiling is None:
        return found(image)[0]
    return np.concatenate([strip[0] for _, strip in blend(found, lambda a, b: image[:, a:b], size, tiling)])


def _first_filters(model: Any) -> tuple[str, Any] | None:
    """Name and weight of the first convolution that is larger than 1×1."""
    from ..nn import Conv2d

    for name, module in model.named_modules():
        if isinstance(module, Conv2d) and module.kernel_size != (1, 1):
            return name, module.weight.detach().cpu().array
    return None


def _class(text: str, classes: tuple[str, ...], option: str) -> int:
    """The number of a class given by name or by number."""
    if text in classes:
        return classes.index(text)
    if text.isdigit() and int(text) < len(classes):
        return int(text)
    raise ValueError(f"{option}: there is no class {text!r}; there are {', '.join(f'{k} {name}' for k, name in enumerate(classes))}")


def _pixel(text: str) -> tuple[int, int]:
    row, _, column = text.partition(",")
    if not (row.strip().isdigit() and column.strip().isdigit()):
        raise argparse.ArgumentTypeError(f"expected the row and the column of a pixel, such as 120,64, not {text!r}")
    return int(row), int(column)
