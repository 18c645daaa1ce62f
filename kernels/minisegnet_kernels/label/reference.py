"""Labelling in NumPy, written to be read beside ``formula.py``."""

import numpy as np


def argmax(x, l):
    return l[x.argmax(axis=1)]  #: S, f, x


def intervals(x, r, l, *, default):
    S, inside = _nowhere(x, l, default)
    for k in reversed(range(len(l))):  # the lowest k is written last, and stays
        here = (r[k, 0] <= x) & (x < r[k, 1])  #: f, x
        S, inside = np.where(here, l[k], S), inside | here
    return S, _first_outside(inside)


def prototypes(x, p, l, *, default):
    S, inside = _nowhere(x[:, 0], l, default)
    least = np.full_like(x, np.inf, shape=S.shape)
    for k in range(len(l)):
        d = ((x - p[k, :, None, None]) ** 2).sum(axis=1)  #: x
        nearer = d < least  #: f
        S, inside, least = np.where(nearer, l[k], S), inside | nearer, np.where(nearer, d, least)
    return S, _first_outside(inside)


def _nowhere(x, l, default):
    """The map to start from: default labels everywhere, no point inside a region yet."""
    return np.full_like(l, 0 if default is None else default, shape=x.shape), np.zeros_like(x, dtype=bool)


def _first_outside(inside):
    """Place of the first point in no region, or −1."""
    outside = ~inside.reshape(1, -1)
    if not outside.size:
        return np.full_like(outside, -1, shape=1, dtype=np.int64)
    return np.where(outside.any(axis=1), outside.argmax(axis=1), -1)  #: o
