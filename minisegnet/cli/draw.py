"""``minisegnet draw``"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import add_command

EXAMPLES = """\
  minisegnet draw instances.json --images photos --out data
      the polygons of COCO as data/masks/, with the images in data/images/; then: minisegnet train --data data
  minisegnet draw labelled/ --out data --classes background,crack,rust
      a folder of labelme, a JSON beside each image; the classes in this order
  minisegnet draw annotations.xml --images frames --out data
      the XML "CVAT for images 1.1"
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "draw",
        "make masks from polygons",
        "Draw the polygons, boxes and masks of COCO, labelme or CVAT as label maps, and copy the images beside them, so that\n"
        "the folder can be trained on. A pixel belongs to a polygon if its centre does; the later of two shapes is on top.",
        EXAMPLES,
        run,
    )
    command.add_argument("annotations", metavar="FILE|DIR", help="a JSON of COCO, an XML of CVAT, or a folder of labelme")
    command.add_argument("--images", metavar="DIR", help="the folder of the images (default: the folder of the annotations)")
    command.add_argument("--out", required=True, metavar="DIR", help="folder of the data set; images/ and masks/ in it must not exist yet")
    command.add_argument(
        "--classes",
        type=lambda text: [name.strip() for name in text.split(",")],
        metavar="NAMES",
        help="the names of the classes with commas between them, the background first (default: in the order of the alphabet)",
    )


def run(args: argparse.Namespace) -> int:
    import shutil

    from ..data.colours import palette
    from ..data.polygons import classes_of, read_shapes
    from ..files import write_text
    from ..viz import save_label_png

    source, out = Path(args.annotations), Path(args.out)
    drawn = read_shapes(source)
    classes = classes_of(drawn, args.classes)
    if not 2 <= len(classes) <= 255:
        raise ValueError(f"a label map holds 2 to 255 classes, and there are {len(classes)}: {', '.join(classes[:8])}")
    folder = Path(args.images) if args.images else source if source.is_dir() else source.parent
    pairs = []
    for image in drawn:
        file = next((p for p in (folder / image.image, folder / image.image.name) if p.is_file()), None)
        if file is None:
            raise FileNotFoundError(f"{source}: there is no image {image.image} in {folder}; name its folder (--images)")
        if image.image.is_absolute() or ".." in image.image.parts:
            raise ValueError(f"{source}: the image {image.image} lies outside of {folder}")
        pairs.append((image, file))
    for name in ("images", "masks"):
        if (out / name).exists():
            raise FileExistsError(f"{out / name} exists: choose another folder (--out)")
    for image, file in pairs:
        save_label_png(image.labels(classes), palette(len(classes)), out / "masks" / image.image.with_suffix(".png"))
        (out / "images" / image.image).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, out / "images" / image.image)
    write_text(out / "class_names.txt", "\n".join(classes) + "\n")
    shapes, left_out = sum(len(image.shapes) for image in drawn), sum(image.left_out for image in drawn)
    print(f"{out}: {len(drawn)} masks of {shapes} shapes; classes: {', '.join(classes)}")
    if left_out:
        print(f"{left_out} points and lines are left out: they have no area")
    print(f"\nto train on it:  minisegnet train --data {out}")
    return 0
