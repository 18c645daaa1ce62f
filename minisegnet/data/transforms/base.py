"""What a transform is, and transforms that are made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair]


def contiguous(image: np.ndarray, mask: np.ndarray) -> Pair:
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


@dataclass(frozen=True)
class Compose:
    """Several transforms, one after the other."""

    transforms: Sequence[Transform]

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        for transform in self.transforms:
            image, mask = transform(image, mask, rng)
        return contiguous(image, mask)


@dataclass(frozen=True)
class RandomApply:
    """A transform that is applied with probability `p`."""

    transform: Transform
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"RandomApply: p is a probability, from 0 to 1, not {self.p}")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        return self.transform(image, mask, rng) if rng.random() < self.p else contiguous(image, mask)
