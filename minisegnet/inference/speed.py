"""How many frames a second."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..nn import Module
from .whole import predict


@dataclass(frozen=True)
class Speed:
    """Times of single frames, from an image in memory to its labels in memory.

    Attributes
    ----------
    median, p95 : float
        Seconds a frame: half of the frames, and 95 of 100, took no longer.
    frames, batch : int
        How many batches were timed, and how many frames are in each.
    size : (int, int)
        H, W.
    """

    median: float
    p95: float
    frames: int
    batch: int
    size: tuple[int, int]

    @classmethod
    def of(cls, times: list[float], batch: int, size: tuple[int, int]) -> Speed:
        """From the seconds that each batch took."""
        each = np.asarray(times) / batch
        return cls(float(np.median(each)), float(np.quantile(each, 0.95)), len(times), batch, (int(size[0]), int(size[1])))

    @property
    def fps(self) -> float:
        """Frames a second, by the median."""
        return 1 / self.median

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "fps": self.fps}

    def __str__(self) -> str:
        return (
            f"{self.fps:.1f} frames/s at {self.size[0]} × {self.size[1]} (median {1e3 * self.median:.1f} ms, p95 {1e3 * self.p95:.1f} ms)"
        )


def frames_per_second(
    model: Module, size: tuple[int, int] = (256, 256), *, batch: int = 1, warm_up: int = 3, frames: int = 30, seed: int = 0
) -> Speed:
    """Time the labelling of images, one batch after the other.

    What is timed is `predict`: network, argmax, and on a GPU both ways of the data, so that nothing is still
    under way when the clock is read.

    Parameters
    ----------
    model : Module
    size : (int, int)
        H, W of the images, which are noise: the time does not depend on what is in them.
    batch : int
        Images at a time.
    warm_up : int
        Batches before the clock starts: kernels are compiled, caches filled.
    frames : int
        Batches that are timed.

    Returns
    -------
    Speed

    Raises
    ------
    ValueError
        If a number is not positive.
    """
    if min(*size, batch, frames) < 1 or warm_up < 0:
        raise ValueError(f"size, batch and frames must be positive, got {size}, {batch}, {frames}; and warm_up not negative: {warm_up}")
    channels = getattr(model, "in_channels", 3)
    images = np.random.default_rng(seed).standard_normal((batch, channels, *size), np.float32)
    for _ in range(warm_up):
        predict(model, images)
    times = []
    for _ in range(frames):
        start = time.perf_counter()
        predict(model, images)
        times.append(time.perf_counter() - start)
    return Speed.of(times, batch, size)
