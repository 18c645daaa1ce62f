"""Outlines of objects, for other programs: GeoJSON (QuPath, GIS), ROIs of ImageJ, and COCO.

An outline runs along the edges of pixels, so that it surrounds exactly the pixels of the object: its area is their number, and a program
that fills it gets the object back. A pixel in row r and column c covers the square from (r, c) to (r + 1, c + 1).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically

Ring = list[tuple[int, int]]  # corners (row, column); the last is joined to the first
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # right, down, left, up


def rings(mask: np.ndarray) -> list[Ring]:
    """The outlines of one object: first the one around it, then those of its holes.

    Parameters
    ----------
    mask : bool array, (H, W)
        One piece, whose pixels are connected by their edges.

    Returns
    -------
    list of Ring
        Only corners are listed, and no ring passes a corner twice. On the screen the outer ring runs clockwise and the holes run anticlockwise: the object is on the right.
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    middle = padded[1:-1, 1:-1]
    # The edges of pixels that have nothing on the other side, each as its beginning and its direction.
    sides = (
        (middle & ~padded[:-2, 1:-1], 0, (0, 0)),  # the upper edge, to the right
        (middle & ~padded[1:-1, 2:], 1, (0, 1)),  # the right edge, down
        (middle & ~padded[2:, 1:-1], 2, (1, 1)),  # the lower edge, to the left
        (middle & ~padded[1:-1, :-2], 3, (1, 0)),  # the left edge, up
    )
    begins: dict[tuple[int, int], list[int]] = {}
    for edge, direction, (down, right) in sides:
        for row, column in np.argwhere(edge).tolist():
            begins.setdefault((row + down, column + right), []).append(direction)
    found = []
    for start in sorted(begins):
        while begins[start]:
            found.append(_traced(begins, start))
    return sorted(found, key=_doubled_area, reverse=True)


def _traced(begins: dict[tuple[int, int], list[int]], start: tuple[int, int]) -> Ring:
    """Follow unused edges from a corner until it is reached again."""
    place, direction = start, begins[start].pop(0)
    first, corners = direction, [start]
    while True:
        place = (place[0] + _STEPS[direction][0], place[1] + _STEPS[direction][1])
        if place == start:
            break
        # Where two pixels touch at a corner only, the turn to the left goes on at the other pixel. So no ring touches itself.
        following = next(d for d in ((direction + 3) % 4, direction, (direction + 1) % 4) if d in begins[place])
        begins[place].remove(following)
        if following != direction:
            corners.append(place)
        direction = following
    return corners[1:] if direction == first and len(corners) > 4 else corners


def _doubled_area(ring: Ring) -> int:
    """Twice the area inside; negative for a hole."""
    return sum(a[1] * b[0] - b[1] * a[0] for a, b in zip(ring, ring[1:] + ring[:1], strict=True))


def area(outline: Sequence[Ring]) -> float:
    """The area of an object, in pixels, from its outline."""
    return sum(map(_doubled_area, outline)) / 2


def write_geojson(objects: Iterable[Any], path: str | os.PathLike) -> Path:
    """Write objects as a FeatureCollection; coordinates are x to the right and y down, in pixels, as QuPath reads them.

    Parameters
    ----------
    objects : iterable of (frame or None, Object)
    path : path
    """
    features = []
    for frame, found in objects:
        polygon = [[[c, r] for r, c in [*ring, ring[0]]] for ring in found.outline]
        properties = {"object": found.number, "classification": {"name": found.label}, "measurements": found.measures}
        if frame is not None:
            properties["frame"] = frame
        geometry = {"type": "Polygon", "coordinates": polygon}
        features.append({"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **properties}})
    return _write_json({"type": "FeatureCollection", "features": features}, path)


def write_rois(objects: Iterable[Any], path: str | os.PathLike) -> Path:
    """Write a ZIP for ImageJ's ROI Manager: the outer outline of each object, named CLASS-NUMBER, in its slice of a stack.

    Raises
    ------
    ImportError
        If roifile is not installed: ``pip install roifile``.
    """
    import io
    from zipfile import ZIP_DEFLATED, ZipFile

    from roifile import ROI_TYPE, ImagejRoi

    content = io.BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as archive:
        for frame, found in objects:
            points = np.array([(c, r) for r, c in found.outline[0]], np.int32)
            name = f"{found.label}-{found.number:04}" if frame is None else f"{found.label}-{frame:04}-{found.number:04}"
            roi = ImagejRoi.frompoints(points, name=name, position=frame)  # it counts slices from 1, as ImageJ does
            roi.roitype = ROI_TYPE.POLYGON
            archive.writestr(f"{name}.roi", roi.tobytes())
    return write_atomically(path, lambda stream: stream.write(content.getvalue()))


class Coco:
    """The objects of many images as one data set of COCO; `add` each image, then `write`."""

    def __init__(self, classes: Sequence[str]):
        self._numbers = {name: k for k, name in enumerate(classes)}
        self._images: list[dict[str, Any]] = []
        self._objects: list[dict[str, Any]] = []

    def add(self, name: str, size: tuple[int, int], objects: Iterable[Any], frame: int | None = None) -> None:
        """Add an image of a size (H, W) and its objects."""
        number = len(self._images) + 1
        about = {"id": number, "file_name": name, "height": size[0], "width": size[1]}
        self._images.append(about if frame is None else {**about, "frame": frame})
        for found in objects:
            top, left, bottom, right = (found.measures[side] for side in ("top", "left", "bottom", "right"))
            outline: Any = [[float(v) for r, c in found.outline[0] for v in (c, r)]]
            if len(found.outline) > 1:  # polygons of COCO have no holes
                outline = {"size": list(size), "counts": _runs(found.outline, size)}
            self._objects.append(
                {
                    "id": len(self._objects) + 1,
                    "image_id": number,
                    "category_id": self._numbers[found.label],
                    "segmentation": outline,
                    "area": found.measures["area"],
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                }
            )

    def write(self, path: str | os.PathLike) -> Path:
        """Write the file."""
        categories = [{"id": k, "name": name} for name, k in self._numbers.items()]
        return _write_json({"images": self._images, "categories": categories, "annotations": self._objects}, path)


def filled(outline: Sequence[Ring], size: tuple[int, int]) -> np.ndarray:
    """The mask that an outline surrounds, bool (H, W). Each vertical edge turns everything on its right from outside to inside or back."""
    turns = np.zeros((size[0], size[1] + 1), np.int64)
    for ring in outline:
        for (row, column), (to, _) in zip(ring, ring[1:] + ring[:1], strict=True):
            turns[min(row, to) : max(row, to), column] += 1
    return np.cumsum(turns, axis=1)[:, :-1] % 2 == 1


def _runs(outline: Sequence[Ring], size: tuple[int, int]) -> list[int]:
    """COCO's run lengths: column by column, beginning with a run outside, which may be empty."""
    flat = filled(outline, size).T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    return np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()


def _write_json(content: Any, path: str | os.PathLike) -> Path:
    text = json.dumps(content, ensure_ascii=False) + "\n"
    return write_atomically(path, lambda stream: stream.write(text.encode()))
