"""Grey masks whose values are not class numbers: what they probably are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .colours import palette
from .masks import STRETCH, Scan

_MANY = 64  # more classes than this are accepted only on request
_FEW = 16  # a mask of at most this many values may have been drawn in grey levels on purpose
_FLAT = 0.01  # a value with this share of the pixels fills areas; edges and compression make values that are rarer
_NEAR = 32 / 255  # the ringing of JPEG stays this close to the value of the area
_SHOWN = 8


class Suspicion(NamedTuple):
    """Why grey values are not taken for class numbers.

    Attributes
    ----------
    kind : {"levels", "flattened", "soft", "jpeg", "guess"}
        As in `doctor.report.ADVICE`.
    what : str
        The values, each with its share of the pixels.
    """

    kind: str
    what: str


def suspicion(scans: Sequence[Scan], ignore_index: int) -> Suspicion | None:
    """Check whether grey values can be class numbers: 0, 1, 2, … without a gap. If not, say what they probably are.

    Parameters
    ----------
    scans : sequence of Scan
        All masks of a folder, none in colour.
    ignore_index : int
        This value may occur beside the class numbers.

    Returns
    -------
    Suspicion or None
        None if they can be class numbers.
    """
    values, counts = counted(scans)
    classes = values[values != ignore_index]
    if classes.size and classes[0] == 0 and classes[-1] == len(classes) - 1:
        if len(classes) > _MANY or _numbered_objects(scans):
            return Suspicion("guess", f"the masks contain {len(values)} different values, up to {values[-1]}")
        return None
    return Suspicion(nature(values, counts), listed(values, counts))


def counted(scans: Sequence[Scan]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of all masks, rising, and the number of pixels of each."""
    values, place = np.unique(np.concatenate([s.values for s in scans]), return_inverse=True)
    return values, np.bincount(place, np.concatenate([s.counts for s in scans])).astype(np.int64)


def nature(values: np.ndarray, counts: np.ndarray) -> str:
    """The kind of `Suspicion` of values that have gaps.

    Few values were drawn on purpose: they are "levels", or "flattened" if each is the grey of a colour of Pascal VOC. Among many values,
    those that fill areas stand out. The others are "jpeg" if they are close to one of these, where compression puts them, and "soft"
    if they are spread between them, as along the edges of a drawing or after a resize that interpolates.
    """
    if len(values) <= _FEW:
        classes = set(values.tolist()) - {0, 255}
        return "flattened" if len(classes) > 1 and classes <= _FLATTENED else "levels"
    flat = values[counts >= _FLAT * counts.sum()]
    rest = ~np.isin(values, flat)
    if not flat.size or not rest.any():
        return "guess"
    scale = STRETCH * 255 if values[-1] > 255 else 255
    close = np.abs(values[rest][:, None] - flat).min(axis=1) <= _NEAR * scale
    return "jpeg" if counts[rest][close].sum() > counts[rest].sum() / 2 else "soft"


def listed(values: np.ndarray, counts: np.ndarray) -> str:
    """The values, the most frequent ones if there are many, each with its share of the pixels."""
    shown = np.sort(np.argsort(-counts, kind="stable")[:_SHOWN])
    words = [f"{values[k]} ({counts[k] / counts.sum():.2%})" for k in shown]
    more = f" and {len(values) - _SHOWN} others" if len(values) > _SHOWN else ""
    return f"the {len(values)} values in all masks together are {', '.join(words)}{more}"


def _numbered_objects(scans: Sequence[Scan]) -> bool:
    """Whether each mask counts its own objects: 0 to n without a gap, with another n for most of them."""
    tops = [int(s.values[-1]) for s in scans if s.values.size > 1]
    each = all(s.values[0] == 0 and s.values[-1] == len(s.values) - 1 for s in scans if s.values.size)
    return each and len(tops) > 1 and max(tops) > 7 and len(set(tops)) > len(tops) / 2


def _grey_of(colours: np.ndarray) -> set[int]:
    """The greys that Pillow, OpenCV and others make of colours, which may differ by one in the rounding."""
    exact = colours @ np.array([0.299, 0.587, 0.114])
    return {*np.floor(exact).astype(int).tolist(), *np.ceil(exact).astype(int).tolist()}


_FLATTENED = _grey_of(np.concatenate([palette(21), [[224, 224, 192]]]))  # with the rim that Pascal VOC ignores
