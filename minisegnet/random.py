"""The source of the library's random numbers: initial weights and dropout.

It is NumPy's generator, also for tensors on a GPU, so that a seed gives the same network everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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


def drawn(draw: Callable[[], np.ndarray], like: Any) -> Any:
    """The random array that `draw` makes on the CPU, on the device of the array `like`."""
    return np.asarray(draw(), like=like) if _held is None else _held.place(draw, like)


class HeldDraws:
    """The random arrays of a captured step, in device memory that stays where it is.

    A graph repeats what was captured, and the random numbers come from the CPU. So they are drawn again before each replay,
    in the order of the step, and copied to where the graph reads them: a replay sees the numbers of an ordinary step.
    """

    def __init__(self) -> None:
        self._made: list[tuple[Callable[[], np.ndarray], Any]] = []
        self._next = 0

    def place(self, draw: Callable[[], np.ndarray], like: Any) -> Any:
        """The array of this call: a new one in the first step, the same one, with its values, in later steps."""
        if self._next == len(self._made):
            self._made.append((draw, np.asarray(draw(), like=like)))
        self._next += 1
        return self._made[self._next - 1][1]

    def draw_again(self) -> None:
        """Give every array the values of the next step."""
        for draw, array in self._made:
            array[...] = np.asarray(draw(), like=array)


_held: HeldDraws | None = None


@contextmanager
def held_draws(held: HeldDraws) -> Iterator[None]:
    """Take the random arrays of one step from `held`."""
    global _held
    _held, held._next = held, 0
    try:
        yield
    finally:
        _held = None
