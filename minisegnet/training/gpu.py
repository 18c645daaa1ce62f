"""Steps on a GPU: channels last, captured as one CUDA graph, and figures that are read only when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minisegnet_kernels.backends import current
from minisegnet_kernels.layout import uninitialised

from ..losses.combined import AuxiliaryLoss, all_outputs
from ..nn import Module
from ..nn.utils import clip_on_device
from ..optim import Optimizer
from ..tensor import Tensor
from .capture import CapturedStep, CaptureError
from .recipe import Recipe

#: Batch of images and of masks, on the CPU.
Batch = tuple[np.ndarray, np.ndarray]


class GPUSteps:
    """The steps of a run on a GPU.

    The first step is an ordinary one. Then the step is captured as a CUDA graph, and a batch of the same shape replays it. A
    step that cannot be captured, because it reads a number on the CPU (`losses.OhemCrossEntropyLoss` does) or because the
    memory does not suffice, stays ordinary, and `said` gives the reason. So does one with several batches (`accumulate`).

    Parameters
    ----------
    model : Module
        Its convolution kernels are laid out channels last.
    loss : AuxiliaryLoss
    optimizer : Optimizer
    recipe : Recipe
    crop : callable
        ``crop(masks, size)``: the part of the masks that an output of this size covers.

    Attributes
    ----------
    said : list of str
        What a user should read.
    """

    def __init__(self, model: Module, loss: AuxiliaryLoss, optimizer: Optimizer, recipe: Recipe, crop: Callable):
        self._model, self._loss, self._optimizer, self._crop = model, loss, optimizer, crop
        self._clip_norm, self._captures = recipe.clip_norm, recipe.accumulate == 1 and current("cuda") == "cuda"
        self._size: tuple[int, int] | None = None  # of the output, known after the first step
        self._captured: CapturedStep | None = None
        self.said: list[str] = []
        model.to(memory_format="channels_last")

    def take(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """One update with the mean of the batches' gradients; its ``loss`` and ``grad_norm`` as arrays of shape () on the GPU."""
        if self._captures and self._size is not None:
            ((images, masks),) = batches
            x, target = self._images(images), self._target(masks, self._size)
            if self._captured is None:
                self._capture(x, target)
            if self._captured is not None and (x.shape, target.shape) == self._captured.shapes:
                loss = self._captured(x, target)
                return self._figures(loss, self._captured.grad_norm)
        return self._ordinary(batches)

    def _capture(self, x: Tensor, target: Tensor) -> None:
        import cupy

        self._captures = False  # one attempt is enough
        cupy.get_default_memory_pool().free_all_blocks()  # the graph has a memory pool of its own
        try:
            self._captured = CapturedStep(self._model, self._loss, self._optimizer, x, target, clip_norm=self._clip_norm)
            self._captures = True
        except (CaptureError, MemoryError) as error:
            self.said.append(f"each step is launched kernel by kernel, which takes the CPU longer: {error}")

    def _ordinary(self, batches: Sequence[Batch]) -> dict[str, Any]:
        self._optimizer.zero_grad()
        total = None
        for images, masks in batches:
            outputs = self._model(self._images(images))
            self._size = all_outputs(outputs)[0].shape[2:]
            loss = self._loss(outputs, self._target(masks, self._size)) / len(batches)
            loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        norm = None if self._clip_norm is None else Tensor(clip_on_device(self._model.parameters(), self._clip_norm))
        self._optimizer.step()
        return self._figures(total, norm)

    def _images(self, images: np.ndarray) -> Tensor:
        dtype = next(iter(self._model.parameters())).dtype
        return Tensor(images.astype(dtype, copy=False)).to("cuda", memory_format="channels_last")

    def _target(self, masks: np.ndarray, size: Any) -> Tensor:
        return Tensor(self._crop(masks, size)).to("cuda")

    @staticmethod
    def _figures(loss: Tensor | None, norm: Tensor | None) -> dict[str, Any]:
        assert loss is not None
        return {"loss": loss.array} if norm is None else {"loss": loss.array, "grad_norm": norm.array}


class Unread:
    """Rows of the log whose figures are still on the GPU.

    The host would have to wait for the GPU to read a figure of the step that it has just launched. So figures are collected
    in an array on the GPU and read together: when they are shown or saved, and at the latest after `ROOM` steps.
    """

    ROOM = 256

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._names: tuple[str, ...] = ()
        self._values: Any = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: dict[str, Any], figures: dict[str, Any]) -> None:
        """Note a row and its figures, arrays of shape () that the next step may overwrite."""
        if self._values is None:
            self._names = tuple(figures)
            self._values = uninitialised(figures["loss"], (self.ROOM, len(figures)), np.float64)
        for k, name in enumerate(self._names):
            self._values[len(self._rows), k] = figures[name]
        self._rows.append(row)

    def read(self) -> list[dict[str, Any]]:
        """Wait for the GPU, and write the figures into their rows; returns these rows."""
        rows, self._rows = self._rows, []
        if rows:
            for row, values in zip(rows, self._values[: len(rows)].get().tolist(), strict=True):
                row.update(zip(self._names, values, strict=True))
        return rows
