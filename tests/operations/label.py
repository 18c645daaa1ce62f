"""Rows of the table for labelling."""

import numpy as np
from hypothesis import strategies as st

from . import Case, Operation


@st.composite
def _points(draw, largest, regions):
    """Shape, number of regions, their labels, and a generator of values."""
    N, H, W = draw(st.integers(1, 2)), draw(st.integers(1, largest)), draw(st.integers(1, largest))
    K, dtype = draw(st.integers(1, regions)), draw(st.sampled_from(["uint8", "int32", "int64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (N, H, W), K, rng.integers(0, 200, K).astype(dtype), rng


def _eighths(rng, shape, reach=2):
    """Values with many ties, exact in float32 with their squares: the rule for ties decides, in every dtype."""
    return rng.integers(-8 * reach, 8 * reach + 1, shape) / 8


@st.composite
def _argmax(draw, largest=6, regions=5):
    (N, H, W), K, l, rng = draw(_points(largest, regions))
    return Case({"x": _eighths(rng, (N, K, H, W)), "l": l})


@st.composite
def _intervals(draw, largest=6, regions=5):
    """Adjacent intervals over everything, or intervals anywhere and a default label."""
    shape, K, l, rng = draw(_points(largest, regions))
    if draw(st.booleans()):
        bounds = np.concatenate([[-np.inf], np.sort(_eighths(rng, K - 1)) + np.arange(K - 1), [np.inf]])
        r, default = np.stack([bounds[:-1], np.maximum(bounds[1:], bounds[:-1] + 1)], axis=1), None
    else:
        low = _eighths(rng, K)
        r, default = np.stack([low, low + rng.integers(1, 16, K) / 8], axis=1), draw(st.integers(0, 255))
    return Case({"x": _eighths(rng, shape), "r": r, "l": l}, {"default": default})


@st.composite
def _prototypes(draw, largest=6, regions=5):
    (N, H, W), K, l, rng = draw(_points(largest, regions))
    C, default = draw(st.integers(1, 4)), draw(st.none() | st.integers(0, 255))
    return Case({"x": _eighths(rng, (N, C, H, W)), "p": _eighths(rng, (K, C)), "l": l}, {"default": default})


_LARGE = {"largest": 60, "regions": 25}

ROWS = [
    Operation("label.argmax", _argmax(), large=_argmax(**_LARGE), exact=True),
    Operation("label.intervals", _intervals(), large=_intervals(**_LARGE)),
    Operation("label.prototypes", _prototypes(), large=_prototypes(**_LARGE), exact=True),
]
