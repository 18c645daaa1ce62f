"""The rates of a step in arrays on the device, so that a captured step can be replayed with other rates.

Rates are the numbers that change from step to step: the learning rate, bias corrections, shares of old and new values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class HeldRates:
    """The rates of a captured step: arrays that keep their addresses, in the order in which the optimisers use them.

    Attributes
    ----------
    arrays : list of array
    only_rates : bool
        Whether steps write their rates into these arrays and launch nothing.
    """

    def __init__(self) -> None:
        self.arrays: list = []
        self.only_rates = False
        self._next = 0

    def place(self, rates: list, like: Any) -> Any:
        """The array for these rates: a new one in the first step, the same one in later steps."""
        if self._next == len(self.arrays):
            self.arrays.append(np.asarray(rates, like.dtype, like=like))
        array = self.arrays[self._next]
        if self.only_rates:
            array[...] = np.asarray(rates, like.dtype, like=like)
        self._next += 1
        return array


_held: HeldRates | None = None


@contextmanager
def held_rates(held: HeldRates, only_rates: bool = False) -> Iterator[None]:
    """Take the rates of one step of all optimisers from `held`.

    An ordinary step fills `held`, and the captured step reads the same arrays. Before each replay, a step with
    `only_rates` advances the step counts of the optimisers and writes the new rates, and launches nothing.
    """
    global _held
    _held, held.only_rates, held._next = held, only_rates, 0
    try:
        yield
    finally:
        _held = None


def on_device(rates: list, like: Any) -> Any:
    """The rates in the dtype and on the device of `like`: a new array, or in a captured step the held one."""
    return np.asarray(rates, like.dtype, like=like) if _held is None else _held.place(rates, like)


def only_rates() -> bool:
    """Whether the step only writes its rates and launches nothing."""
    return _held is not None and _held.only_rates
