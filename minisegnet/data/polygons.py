"""Outlines that were drawn by hand, as label maps: the files of COCO, labelme and CVAT.

=====================  =========================================================================================
COCO                   one JSON for all images: polygons, or runs of pixels (RLE)
labelme                a JSON beside each image: polygons, rectangles, circles, masks
CVAT for images 1.1    one XML for all images: polygons, boxes, masks
=====================  =========================================================================================

The formats are plain JSON and XML, and are read here. The polygons are filled by scikit-image (extra ``objects``), which the objects of
an image need as well; the packages of the three formats bring a compiler, a window system, or a server. A pixel belongs to a polygon
if its centre does, so that outlines along the edges of pixels, as ``segment --objects coco`` writes them, give the same pixels back.
Where shapes overlap, the later one is on top.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from .base import DataError
from .listing import files_below, files_in


@dataclass(frozen=True)
class Drawn:
    """The shapes of one image.

    Attributes
    ----------
    image : Path
        As the annotations name it.
    size : (int, int)
        H, W.
    shapes : list of (str, list of array (n, 2), or bool array (H, W))
        The class of each shape, and its polygons (x, y) or its pixels.
    left_out : int
        Shapes that have no area: points and lines.
    """

    image: Path
    size: tuple[int, int]
    shapes: list[tuple[str, Any]] = field(default_factory=list)
    left_out: int = 0

    def labels(self, classes: list[str]) -> np.ndarray:
        """The label map, uint8 (H, W), of the numbers of the classes; 0 where there is no shape.

        Raises
        ------
        ImportError
            If scikit-image is not installed.
        """
        from skimage.draw import polygon2mask

        found = np.zeros(self.size, np.uint8)
        for name, shape in self.shapes:
            if isinstance(shape, np.ndarray):
                found[shape] = classes.index(name)
                continue
            for ring in shape:
                found[polygon2mask(self.size, ring[:, ::-1] - 0.5)] = classes.index(name)
        return found


def read_shapes(path: Path) -> list[Drawn]:
    """The shapes of all images in a file of COCO or CVAT, or in the files of labelme in a folder.

    Raises
    ------
    DataError
        If the file has another format, or a shape cannot be understood; names the file and the shape.
    """
    if path.is_dir():
        found = [p for p in (*files_in(path), *files_below(path)) if p.suffix.lower() == ".json"]
        drawn = [d for p in found for d in _labelme(p, _json(p), path)]
        if not drawn:
            raise DataError(
                f"{path}: there are no files of labelme in it, a .json beside each image; of COCO and CVAT, name the file itself"
            )
        return drawn
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if path.suffix.lower() == ".xml":
        return list(_cvat(path))
    content = _json(path)
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        return list(_coco(path, content))
    found_one = list(_labelme(path, content, path.parent))
    if not found_one:
        raise DataError(f"{path}: expected COCO (images, annotations, categories), labelme (shapes, imagePath), or an XML of CVAT")
    return found_one


def classes_of(drawn: Iterable[Drawn], given: list[str] | None) -> list[str]:
    """The names of the classes, of which the first is the background: as given, or in the order of the alphabet.

    Raises
    ------
    DataError
        If a shape has a class that is not among the given ones.
    """
    used = sorted({name for image in drawn for name, _ in image.shapes})
    if given is None:
        return ["background", *(name for name in used if name != "background")]
    if unknown := [name for name in used if name not in given]:
        raise DataError(f"shapes are of the class {unknown[0]!r}, which is not among {', '.join(given)}")
    return given


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: this is not JSON in UTF-8 ({error})") from error


def _ring(path: Path, points: Any) -> np.ndarray:
    try:
        found = np.asarray(points, np.float64).reshape(-1, 2)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: a polygon is pairs of numbers, not {str(points)[:60]} ({error})") from error
    if len(found) < 3 or not np.isfinite(found).all():
        raise DataError(f"{path}: a polygon has three or more points, not {str(points)[:60]}")
    return found


def _coco(path: Path, content: dict) -> Iterator[Drawn]:
    try:
        names = {c["id"]: str(c["name"]) for c in content["categories"]}
        images = {i["id"]: Drawn(Path(i["file_name"]), (int(i["height"]), int(i["width"]))) for i in content["images"]}
        for shape in content["annotations"]:
            image, found = images[shape["image_id"]], shape["segmentation"]
            if isinstance(found, dict):
                image.shapes.append((names[shape["category_id"]], _runs(path, found["counts"], image.size).T))
            elif found:
                image.shapes.append((names[shape["category_id"]], [_ring(path, ring) for ring in found]))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not as COCO has it ({type(error).__name__}: {error})") from error
    yield from images.values()


def _runs(path: Path, counts: Any, size: tuple[int, int]) -> np.ndarray:
    """Runs of pixels outside and inside by turns, along the columns: a bool array (W, H). A text holds them as COCO packs them."""
    lengths = _unpacked(counts) if isinstance(counts, str) else [int(n) for n in counts]
    if min(lengths, default=0) < 0 or sum(lengths) != size[0] * size[1]:
        raise DataError(f"{path}: the runs of a mask have {sum(lengths)} pixels, its image {size[0] * size[1]}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size[1], size[0])


def _unpacked(text: str) -> list[int]:
    """Numbers of 5 bits a character, the lowest first, bit 5 for "more follows"; from the fourth on as differences from the one before the last."""
    found: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = shift = 0
    return found


def _labelme(path: Path, content: Any, root: Path) -> Iterator[Drawn]:
    if not (isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content):
        return
    try:
        image = Path(str(content["imagePath"]).replace("\\", "/"))
        size = (int(content["imageHeight"]), int(content["imageWidth"]))
        shapes: list[tuple[str, Any]] = []
        left_out = 0
        for shape in content["shapes"]:
            kind, points = shape.get("shape_type") or "polygon", np.asarray(shape["points"], np.float64)
            if kind == "polygon":
                shapes.append((str(shape["label"]), [_ring(path, points)]))
            elif kind == "rectangle":
                shapes.append((str(shape["label"]), [_box(*points.min(axis=0), *points.max(axis=0))]))
            elif kind == "circle":
                turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)
                radius = np.linalg.norm(points[1] - points[0])
                shapes.append((str(shape["label"]), [points[0] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)]))
            elif kind == "mask":
                shapes.append((str(shape["label"]), _pasted(shape["mask"], points, size)))
            else:
                left_out += 1
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not as labelme has it ({type(error).__name__}: {error})") from error
    yield Drawn(path.parent.relative_to(root) / image, size, shapes, left_out)


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _pasted(text: str, corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture of a part of the image, in a bool array of the whole."""
    from PIL import Image

    part = np.asarray(Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",))) > 0
    left, top = corners.min(axis=0).astype(int)
    whole = np.zeros(size, bool)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def _cvat(path: Path) -> Iterator[Drawn]:
    try:
        root = ElementTree.parse(path).getroot()
        if root.tag != "annotations" or root.find("image") is None:
            raise DataError(f"{path}: expected the XML of CVAT for images, with <annotations> and <image>")
        for image in root.iter("image"):
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            drawn = Drawn(Path(image.attrib["name"]), size, left_out=sum(image.find(kind) is not None for kind in ("polyline", "points")))
            for shape in sorted(image, key=lambda s: int(s.get("z_order", 0))):
                if shape.tag == "polygon":
                    ring = [[float(n) for n in point.split(",")] for point in shape.attrib["points"].split(";")]
                    drawn.shapes.append((shape.attrib["label"], [_ring(path, ring)]))
                elif shape.tag == "box":
                    corners = [float(shape.attrib[n]) for n in ("xtl", "ytl", "xbr", "ybr")]
                    drawn.shapes.append((shape.attrib["label"], [_box(*corners)]))
                elif shape.tag == "mask":
                    left, top, width, height = (int(shape.attrib[n]) for n in ("left", "top", "width", "height"))
                    counts = [int(n) for n in shape.attrib["rle"].split(",")]
                    whole = np.zeros(size, bool)
                    whole[top : top + height, left : left + width] = _runs(path, counts, (width, height))
                    drawn.shapes.append((shape.attrib["label"], whole))
            yield drawn
    except (ElementTree.ParseError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not as CVAT has it ({type(error).__name__}: {error})") from error
