"""The speed of labelling, in frames per second."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..nn import Module
from .whole import predict


@dataclass(frozen=True)
class Speed:
    """Times per frame, from an image in memory to its labels in memory.

    Attributes
    ----------
    median, p95 : float
        Seconds per frame: the median and the 95th percentile.
    frames, batch : int
        The number of batches that were timed, and the number of frames in each.
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
        """From the seconds of each batch."""
        each = np.asarray(times) / batch
        return cls(float(np.median(each)), float(np.quantile(each, 0.95)), len(times), batch, (int(size[0]), int(size[1])))

    @property
    def fps(self) -> float:
        """Frames per second, from the median."""
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

    The timed function is `predict`: the network, the argmax, and on a GPU the transfer of the data in both directions, so
    that all work is finished when the clock is read.

    Parameters
    ----------
    model : Module
    size : (int, int)
        H, W of the images. They contain noise, because the time does not depend on the content.
    batch : int
        Images per batch.
    warm_up : int
        Batches before the timing starts, which compile kernels and fill caches.
    frames : int
        Number of timed batches.

    Returns
    -------
    Speed

    Raises
    ------
    ValueError
        If a number is not positive, or `warm_up` is negative.
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
