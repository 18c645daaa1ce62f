"""A small network, its batches and its steps, for tests of training on several devices."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minisegnet as ms
from minisegnet.data import Arrays

SIZE = 32


def batches(count: int, channels: int = 1, size: int = SIZE, classes: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        (rng.normal(size=(2, channels, size, size)).astype(np.float32), rng.integers(0, classes, (2, size, size))) for _ in range(count)
    ]


def network(name: str = "unet", channels: int = 1, width: float = 1 / 16, **options) -> ms.nn.Module:
    ms.manual_seed(0)
    return ms.models.create(name, in_channels=channels, num_classes=3, width=width, **options)


def steps(model, optimizer, data, device: str, loss=ms.functional.cross_entropy, memory_format=None) -> Iterator[ms.Tensor]:
    """The loss of each step, on the device."""
    for images, labels in data:
        images, labels = ms.tensor(images, device=device), ms.tensor(labels, device=device)
        if memory_format is not None:
            images = images.to(memory_format=memory_format)
        value = loss(model(images), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value.detach()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's log; figures that were not measured are left out."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(stream)]
    return [{**row, "step": int(row["step"])} for row in rows]


def squares(count: int, seed: int, size: int = 16, side: int = 6) -> Arrays:
    """Noisy images of one bright square each, and their masks."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), np.uint8)
    for mask, at in zip(masks, rng.integers(2, size - side - 2, count), strict=True):
        mask[at : at + side, at : at + side] = 1
    return Arrays([m + 0.3 * rng.normal(size=m.shape) for m in masks], list(masks), ("background", "square"))
