"""The source of the library's random numbers: initial weights and dropout.

It is NumPy's generator, also for tensors on a GPU, so that a seed gives the same network everywhere.
"""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the library's random numbers from a seed; returns the generator.

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
    """The generator in use. Call this function for each draw, because `manual_seed` replaces the generator."""
    return _generator
