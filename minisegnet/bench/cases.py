"""The cases that are measured. One expression serves minisegnet and PyTorch, because the names are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A differentiable expression of ``F``, float32 arrays of the given shapes and, if `classes` is positive, a target."""

    expression: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    classes: int = 0  # if positive, the last argument is an integer target of the images' size

    def arrays(self, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The floating-point arguments, and the integer ones."""
        rng = np.random.default_rng(seed)
        floats = [rng.standard_normal(shape, np.float32) for shape in self.shapes]
        n, _, *size = self.shapes[0]
        return floats, [rng.integers(0, self.classes, (n, *size))] if self.classes else []


def _image(channels: int, size: int, batch: int = 8) -> tuple[int, int, int, int]:
    return batch, channels, size, size


def _conv(channels: int, outputs: int, size: int, kernel: int = 3) -> Case:
    padding = kernel // 2
    return Case(lambda F, x, w: F.conv2d(x, w, padding=padding), (_image(channels, size), (outputs, channels, kernel, kernel)))


def _norm_relu(F: Any, x: Any, w: Any, b: Any) -> Any:
    """Batch normalisation and ReLU as each library's network computes them: here in one function, in PyTorch in two."""
    if hasattr(F, "batch_norm_relu"):
        return F.batch_norm_relu(x, None, None, w, b, True)
    return F.relu(F.batch_norm(x, None, None, w, b, True))


# The layers of a U-Net with 16 channels at the top on 128² images, from top to bottom.
CASES: dict[str, Case] = {
    "conv 3×3  1→16, 128²": _conv(1, 16, 128),
    "conv 3×3  16→16, 128²": _conv(16, 16, 128),
    "conv 3×3  32→32, 64²": _conv(32, 32, 64),
    "conv 3×3  64→64, 32²": _conv(64, 64, 32),
    "conv 3×3  128→128, 16²": _conv(128, 128, 16),
    "conv 3×3  256→256, 8²": _conv(256, 256, 8),
    "conv 1×1  16→2, 128²": _conv(16, 2, 128, 1),
    "conv transposed 2×2  32→16, 64²": Case(lambda F, x, w, b: F.conv_transpose2d(x, w, b, 2), (_image(32, 64), (32, 16, 2, 2), (16,))),
    "batch norm + ReLU  16, 128²": Case(_norm_relu, (_image(16, 128), (16,), (16,))),
    "max pool 2×2  16, 128²": Case(lambda F, x: F.max_pool2d(x, 2), (_image(16, 128),)),
    "average pool 2×2  16, 128²": Case(lambda F, x: F.avg_pool2d(x, 2), (_image(16, 128),)),
    "bilinear ×2  32, 64²": Case(lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), (_image(32, 64),)),
    "ReLU  16, 128²": Case(lambda F, x: F.relu(x), (_image(16, 128),)),
    "cross-entropy  2, 128²": Case(lambda F, x, t: F.cross_entropy(x, t), (_image(2, 128),), classes=2),
    "cross-entropy  21, 128²": Case(lambda F, x, t: F.cross_entropy(x, t), (_image(21, 128),), classes=21),
}


def _step(batch: int, size: int) -> str:
    return f"U-Net training step (width ¼, {batch} × {size}², Adam)"


STEP = _step(8, 128)
#: The steps that `bench --sweep` measures: (batch, size), one of which varies at a time.
SWEEP = {_step(batch, size): (batch, size) for batch, size in ((1, 64), (2, 64), (4, 64), (8, 64), (4, 32), (4, 128), (4, 256))}
#: The training steps of all sizes.
STEPS = {STEP: (8, 128), **SWEEP}
#: The cases that `bench --quick` measures: one of each kind, and a training step on half as many images.
QUICK = (
    "conv 3×3  16→16, 128²",
    "conv 3×3  128→128, 16²",
    "batch norm + ReLU  16, 128²",
    "max pool 2×2  16, 128²",
    "cross-entropy  2, 128²",
    _step(4, 128),
)
