"""Synthetic scenes of simple shapes. Their labels are exact, because the image is painted from the labels.

Shapes lie on textured ground, later ones over earlier ones, with uneven light and camera noise. Colour and
texture are independent of the class; only the form determines it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .base import standardise as _standardise
from .colours import class_palette


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # By symmetry half of one point suffices: the side from the notch (0.45, 0) to the tip.
    radius, angle = np.hypot(u, v), np.abs(np.arctan2(v, u) % (2 * np.pi / 5) - np.pi / 5)
    a, b = radius * np.cos(angle) - 0.45, radius * np.sin(angle)
    return (np.cos(np.pi / 5) - 0.45) * b - np.sin(np.pi / 5) * a >= 0


# Whether a point lies in each shape. Shapes fit into the unit circle, the box and the cross nearly.
_FORMS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda u, v: u * u + v * v <= 0.81,
    "box": lambda u, v: (abs(u) <= 0.95) & (abs(v) <= 0.6),
    "triangle": lambda u, v: (v >= -0.55) & (np.sqrt(3) * abs(u) + v <= 1.1),
    "ring": lambda u, v: (u * u + v * v <= 1) & (u * u + v * v >= 0.36),
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.28) & (np.maximum(abs(u), abs(v)) <= 0.95),
    "star": _star,
    "crescent": lambda u, v: (u * u + v * v <= 1) & ((u - 0.5) ** 2 + v * v >= 0.64),
}


class Shapes:
    """Scenes of discs, boxes, triangles, rings, crosses, stars and crescents: any number, each from its seed.

    Parameters
    ----------
    length : int
    size : int or (int, int)
        Height and width.
    classes : int
        From 2 to 8, background included. The shapes are used in the order above.
    seed : int
        Item k depends only on ``(seed, k)`` and the options.
    in_channels : int
        1 (grey) or 3 (colour).
    standardise : bool
        Whether to standardise each image; if not, its values lie near 0…1.
    """

    ignore_index = 255

    def __init__(
        self,
        length: int,
        size: int | tuple[int, int] = 128,
        classes: int = 4,
        seed: int = 0,
        *,
        in_channels: int = 3,
        standardise: bool = True,
    ):
        if not 2 <= classes <= len(_FORMS) + 1:
            raise ValueError(f"Shapes: classes lies between 2 and {len(_FORMS) + 1} (background included), not {classes}")
        if in_channels not in (1, 3):
            raise ValueError(f"Shapes: in_channels is 1 or 3, not {in_channels}")
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if length < 1 or min(self.size) < 8:
            raise ValueError(f"Shapes: the length must be positive and the size at least 8, not {length} and {size}")
        self.classes = ("background", *list(_FORMS)[: classes - 1])
        self.palette = class_palette(classes)
        self.length, self.seed, self.in_channels, self.standardise = length, seed, in_channels, standardise
        self.names = _Numbers(length)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= k < self.length:
            raise IndexError(f"Shapes: there is no item {k} of {self.length}")
        rng = np.random.default_rng((self.seed, k))
        height, width = self.size
        i, j = np.mgrid[:height, :width].astype(np.float64)
        ground = self._colour(rng)
        image, mask = self._paint(ground, rng, i, j), np.zeros(self.size, np.int64)
        for _ in range(int(rng.integers(3, 9))):
            label = int(rng.integers(1, len(self.classes)))
            inside = self._place(rng, i, j, self.classes[label])
            image = np.where(inside, self._paint(self._colour(rng, ground), rng, i, j), image)
            mask[inside] = label
        image = _expose(image, rng, i, j).astype(np.float32)
        return _standardise(image) if self.standardise else image, mask

    def _colour(self, rng: np.random.Generator, ground: np.ndarray | None = None) -> np.ndarray:
        """A random colour, (C, 1, 1); given the ground, that of four which differs most from it, so that shapes stay visible."""
        drawn = rng.uniform(0.15, 0.85, (4, self.in_channels, 1, 1))
        return drawn[0 if ground is None else int(np.argmax(abs(drawn - ground).sum((1, 2, 3))))]

    def _paint(self, colour: np.ndarray, rng: np.random.Generator, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The colour with a texture of four plane waves, (C, H, W)."""
        texture = np.zeros(i.shape)
        for _ in range(4):
            frequency, direction, phase = np.exp(rng.uniform(np.log(0.05), np.log(1.2))), *rng.uniform(0, 2 * np.pi, 2)
            texture += np.sin(frequency * (i * np.sin(direction) + j * np.cos(direction)) + phase)
        return colour + rng.uniform(0.01, 0.06) * texture

    def _place(self, rng: np.random.Generator, i: np.ndarray, j: np.ndarray, form: str) -> np.ndarray:
        """The pixels whose centres lie in the shape, at a random place and angle and with a random size."""
        radius = rng.uniform(0.1, 0.24) * min(self.size)
        centre = rng.uniform(0.05, 0.95, 2) * self.size
        angle = rng.uniform(0, 2 * np.pi)
        a, b = (j + 0.5 - centre[1]) / radius, (i + 0.5 - centre[0]) / radius
        return _FORMS[form](a * np.cos(angle) + b * np.sin(angle), b * np.cos(angle) - a * np.sin(angle))


def _expose(image: np.ndarray, rng: np.random.Generator, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Uneven light, a slightly soft lens, noise."""
    direction, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    ramp = (i / i.shape[0] - 0.5) * np.sin(direction) + (j / j.shape[1] - 0.5) * np.cos(direction)
    image = image * (1 + strength * ramp)
    for axis in (1, 2):
        padded = np.pad(image, [(0, 0)] + [(1, 1) if a == axis else (0, 0) for a in (1, 2)], mode="edge")
        before, after = (np.take(padded, np.arange(start, start + image.shape[axis]), axis) for start in (0, 2))
        image = 0.5 * image + 0.25 * (before + after)
    return image + rng.normal(0, rng.uniform(0.01, 0.05), image.shape)


class _Numbers(Sequence):
    """Names of items, made when they are indexed: there may be a million."""

    def __init__(self, length: int):
        self._items = range(length)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, k: Any) -> Any:
        return [f"scene {n}" for n in self._items[k]] if isinstance(k, slice) else f"scene {self._items[k]}"
