"""The one source of random numbers: initial weights and dropout draw from it.

It is NumPy's generator, on a GPU too, so that one seed gives one network everywhere.
"""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Start the library's random numbers anew from a seed; returns the generator.

    Parameters
    ----------
    seed : int
        Not negative.
    """
    global _generator
    if seed < 0:
        raise ValueError(f"seed must not be negative, it is {seed}")
    _generator = np.random.default_rng(seed)
    return _generator


def generator() -> np.random.Generator:
    """The generator in use. Ask for it at each draw: `manual_seed` replaces it."""
    return _generator
