"""From labels to objects: what microscopists count and measure.

An object is a connected piece of one class (neighbours share an edge). If the network has learnt the boundaries of objects as a class of its
own, an object is a connected piece of the interior, to which the boundary around it belongs. The measures are those of scikit-image
(``pip install scikit-image``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..exchange.outlines import Ring, rings

_MEASURES = ("area", "perimeter", "eccentricity", "axis_major_length", "axis_minor_length", "solidity")
COLUMNS = (
    "object", "class", "area", "centroid_row", "centroid_column", "top", "left", "bottom", "right", "touches_edge",
    "perimeter", "eccentricity", "major_axis", "minor_axis", "solidity", "mean_intensity",
)  # fmt: skip


@dataclass(frozen=True)
class Object:
    """One object of an image.

    Attributes
    ----------
    number : int
        From 1; the object's value in the map of objects.
    label : str
        Its class.
    measures : dict
        One value for each of `COLUMNS` from "area" on. Lengths are in pixels, areas in square pixels; rows and columns count from 0 at the
        top left, and "bottom" and "right" are the first row and column behind the object. "mean_intensity" is that of the image as it is
        stored, over all its channels; without an image it is missing.
    outline : list of Ring
        See `exchange.outlines.rings`: the first surrounds the object, the others its holes.
    """

    number: int
    label: str
    measures: dict[str, Any]
    outline: list[Ring]


def find_objects(labels: np.ndarray, classes: Sequence[str], background: int | None = 0, smallest: int = 1) -> tuple[np.ndarray, list[int]]:
    """Number the objects of a label map.

    Parameters
    ----------
    labels : integer array, (H, W)
    classes : sequence of str
    background : int or None
        The class that has no objects.
    smallest : int
        Smaller objects, in pixels, are left out.

    Returns
    -------
    ids : array, int32, (H, W)
        0 outside of objects; the objects are numbered from 1 in the order of their first pixels.
    classes_of : list of int
        The class of each object.

    Raises
    ------
    ImportError
        If scikit-image is not installed.
    """
    from skimage.measure import label
    from skimage.segmentation import relabel_sequential

    if tuple(classes[1:3]) == ("interior", "boundary") and len(classes) == 3:
        ids = _grown(label(labels == 1, connectivity=1), labels == 2)
        kinds = np.where(ids > 0, 1, 0)
    else:
        wanted = np.isin(labels, [k for k in range(len(classes)) if k != background])
        kinds = np.where(wanted, labels + 1, 0)  # a class of its own for 0, which `label` would leave out
        ids = label(kinds, background=0, connectivity=1)
        kinds = kinds - 1
    sizes = np.bincount(ids.ravel())
    ids = relabel_sequential(np.where(sizes[ids] >= smallest, ids, 0))[0].astype(np.int32)
    first = np.unique(ids, return_index=True)
    return ids, [int(kinds.ravel()[place]) for number, place in zip(*first, strict=True) if number]


def _grown(seeds: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Seeds with the pixels around them; each such pixel goes to the nearest seed of its own connected piece."""
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import label

    row, column = distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    pieces = label((seeds > 0) | around, connectivity=1)
    nearest = seeds[row, column]
    belongs = around & (pieces == pieces[row, column])
    return np.where(belongs, nearest, seeds)


def measure_objects(ids: np.ndarray, classes_of: Sequence[int], classes: Sequence[str], image: np.ndarray | None = None) -> list[Object]:
    """Measure the objects that `find_objects` has numbered.

    Parameters
    ----------
    ids, classes_of
        The result of `find_objects`.
    classes : sequence of str
    image : array, (C, H, W), optional
        As it is stored, for the mean intensity; NaN counts for nothing.

    Returns
    -------
    list of Object
    """
    from skimage.measure import regionprops

    height, width = ids.shape
    found = []
    for region in regionprops(ids):
        top, left, bottom, right = region.bbox
        values = {name: float(getattr(region, name)) for name in _MEASURES}
        measures: dict[str, Any] = {
            "area": int(values["area"]),
            "centroid_row": float(region.centroid[0]),
            "centroid_column": float(region.centroid[1]),
            **{"top": top, "left": left, "bottom": bottom, "right": right},
            "touches_edge": bool(top == 0 or left == 0 or bottom == height or right == width),
            "perimeter": values["perimeter"],
            "eccentricity": values["eccentricity"],
            "major_axis": values["axis_major_length"],
            "minor_axis": values["axis_minor_length"],
            "solidity": values["solidity"] if region.area > 2 else 1.0,
        }
        if image is not None:
            measures["mean_intensity"] = float(np.nanmean(image[:, top:bottom, left:right][:, region.image], dtype=np.float64))
        outline = [[(r + top, c + left) for r, c in ring] for ring in rings(region.image)]
        found.append(Object(region.label, classes[classes_of[region.label - 1]], measures, outline))
    return found
