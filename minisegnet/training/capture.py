"""A training step as one CUDA graph: captured once, then replayed without Python.

A training step launches a few hundred kernels, and for a small network launching them takes the CPU longer than running them
takes the GPU. A graph is launched as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from minisegnet_kernels.backends import BackendError, current
from minisegnet_kernels.layout import uninitialised
from minisegnet_kernels.optimiser.rates import HeldRates, held_rates

from .. import random
from ..nn import Module
from ..nn.utils import clip_on_device
from ..optim.optimizer import Optimizer
from ..tensor import Tensor

_WARM_UP = 2  # steps in which kernels are compiled and the memory pool grows to what a step needs


class CaptureError(RuntimeError):
    """Something in a training step cannot be part of a CUDA graph."""


class CapturedStep:
    """Forward, backward and update, captured as a CUDA graph.

    Every batch must have the shape and dtype of the first one and lie on the GPU. The learning rate may change from step to
    step. Dropout draws a new mask for every replay, the one that an ordinary step would draw. Capturing takes steps of its own;
    afterwards, also if it fails, weights, running statistics, moments, the optimiser's counts and the random numbers are what
    they were before.

    Parameters
    ----------
    model : Module
        On the GPU, in training mode.
    loss : callable
        ``loss(scores, labels)``, a scalar tensor.
    optimizer : Optimizer
    images, labels : Tensor
        A batch. It gives shapes, dtypes and the layout; its values do not matter.
    clip_norm : float, optional
        Shorten the gradients to this norm before the update, as `nn.utils.clip_grad_norm_` does.

    Attributes
    ----------
    loss : Tensor, ()
        The loss of the last step.
    grad_norm : Tensor, (), or None
        The norm of its gradients before clipping, in float64; None without `clip_norm`.

    Raises
    ------
    BackendError
        If the batch is not on a GPU, or a backend other than ``cuda`` is selected.
    ValueError
        If the optimiser's first step differs from the ones after it.
    CaptureError
        If something in the step cannot be captured, such as a loss that reads a value on the CPU.

    Examples
    --------
    >>> step = CapturedStep(model, F.cross_entropy, optimizer, images, labels)  # doctest: +SKIP
    >>> for images, labels in batches:  # doctest: +SKIP
    ...     loss = step(images, labels)
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Tensor], Tensor],
        optimizer: Optimizer,
        images: Tensor,
        labels: Tensor,
        *,
        clip_norm: float | None = None,
    ):
        _check(optimizer, images)
        import cupy

        self._model, self._criterion, self._optimizer, self._clip_norm = model, loss, optimizer, clip_norm
        self._parameters, self._buffers = list(model.parameters()), list(model.buffers())  # to look for them takes longer than a replay
        self.grad_norm: Tensor | None = None
        self._images, self._labels = map(_copied, (images, labels))
        self._rates, self._draws = HeldRates(), random.HeldDraws()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        # A separate memory pool: as long as the graph lives, the memory that it writes to must not be handed to others.
        self._pool = cupy.cuda.MemoryPool()
        before = _State(model, optimizer)
        cupy.cuda.get_current_stream().synchronize()
        with ExitStack() as stack:
            stack.enter_context(cupy.cuda.using_allocator(self._pool.malloc))
            stack.enter_context(self._stream)
            stack.callback(before.restore)
            try:
                for _ in range(_WARM_UP):
                    self._step()
                self.loss, self._graph = self._captured()
            except BaseException:
                before.restore_gradients()
                raise
        self._stream.synchronize()

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of the images and labels that the step takes."""
        return self._images.shape, self._labels.shape

    def _captured(self) -> tuple[Tensor, Any]:
        self._stream.begin_capture()
        try:
            loss = self._step()
            return loss, self._stream.end_capture()
        except Exception as error:
            if self._stream.is_capturing():
                with suppress(Exception):  # CuPy raises a second error, which only says that the capture has failed
                    self._stream.end_capture()
            raise CaptureError(f"this training step cannot be captured as a CUDA graph: {error}. Take it as an ordinary step") from error

    def _step(self) -> Tensor:
        with held_rates(self._rates), random.held_draws(self._draws):
            loss = self._criterion(self._model(self._images), self._labels)
            self._optimizer.zero_grad()
            loss.backward()
            if self._clip_norm is not None:
                self.grad_norm = Tensor(clip_on_device(self._model.parameters(), self._clip_norm))
            self._optimizer.step()
        return loss.detach()

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one step.

        Parameters
        ----------
        images, labels : Tensor
            A batch on the GPU with the captured shape and dtype.

        Returns
        -------
        Tensor, ()
            The loss. The next step overwrites it.

        Raises
        ------
        ValueError
            If the batch does not fit.
        """
        for name, given, held in (("images", images, self._images), ("labels", labels, self._labels)):
            if given.shape != held.shape or given.dtype != held.dtype or given.device != "cuda":
                raise ValueError(
                    f"the step was captured for {name} of shape {held.shape} and dtype {held.dtype} on the GPU; "
                    f"got {given.shape}, {given.dtype}, on the {given.device}. Capture another step for other batches"
                )
        import cupy

        given_on = cupy.cuda.get_current_stream()
        with self._stream:
            self._stream.wait_event(given_on.record())
            self._images.array[...] = images.array
            self._labels.array[...] = labels.array
            self._draws.draw_again()
            with held_rates(self._rates, only_rates=True):
                self._optimizer.step()
            self._graph.launch(self._stream)
            given_on.wait_event(self._stream.record())
        # The launch runs no Python, so what it overwrites is counted here; the optimiser has counted its own.
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        for changed in (self._images, self._labels, self.loss, *gradients, *self._buffers):
            changed._memory.changes += 1
        return self.loss


def _check(optimizer: Optimizer, images: Tensor) -> None:
    """Refuse what is known to go wrong before anything is computed."""
    if images.device != "cuda" or current("cuda") != "cuda":
        raise BackendError(
            f"a step is captured on a GPU with the backend 'cuda'; the batch is on the {images.device}, the backend is {current('cuda')!r}"
        )
    if any(group.get("dampening") for group in optimizer.param_groups) and not optimizer.state:
        raise ValueError("the first step of SGD with dampening differs from the ones after it: take one ordinary step before capturing")


def _copied(batch: Tensor) -> Tensor:
    """A copy in memory of its own that lies as the batch does."""
    copy = uninitialised(batch.array, batch.shape)
    copy[...] = batch.array
    return Tensor(copy)


class _State:
    """Everything that a training step changes, so that it can be restored in place: a graph refers to memory addresses."""

    def __init__(self, model: Module, optimizer: Optimizer):
        copied = lambda value: _copied(value).array if isinstance(value, Tensor) else value
        self._model, self._optimizer = model, optimizer
        self._values = [copied(value) for value in model.state_dict().values()]
        self._gradients = [(p, p.grad) for p in model.parameters()]
        self._kept = {p: {name: copied(value) for name, value in kept.items()} for p, kept in optimizer.state.items()}
        self._random = random.generator().bit_generator.state

    def restore(self) -> None:
        for value, before in zip(self._model.state_dict().values(), self._values, strict=True):
            value.copy_(before)
        for parameter, kept in self._optimizer.state.items():
            for name, value in kept.items():
                before = self._kept.get(parameter, {}).get(name, 0)
                if isinstance(value, Tensor):
                    value.copy_(before)
                else:
                    kept[name] = before
        random.generator().bit_generator.state = self._random

    def restore_gradients(self) -> None:
        """Needed only after a failure, because every replay writes the gradients of a captured step."""
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
