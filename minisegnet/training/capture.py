"""A training step as one CUDA graph: recorded once, then replayed without Python.

A small network's step is some hundred launches, and what they cost the CPU is more than what they cost
the GPU. A graph is launched at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from minisegnet_kernels.backends import BackendError, current
from minisegnet_kernels.optimiser.rates import HeldRates, held_rates

from ..nn import Module
from ..optim.optimizer import Optimizer
from ..tensor import Tensor

_WARM_UP = 2  # steps: kernels are compiled, and the pool of memory grows to what a step needs


class CapturedStep:
    """Forward, backward and update, captured as a CUDA graph.

    Batches must have the shape and dtype of the first one, and live on the GPU. Weights, running
    statistics, moments and the optimiser's counts are as before when the step has been captured. The
    learning rate may change from step to step. What is drawn at random (dropout) would be the same in every
    replay, and what waits for the GPU cannot be captured.

    Parameters
    ----------
    model : Module
        On the GPU, in training mode.
    loss : callable
        ``loss(scores, labels)``, a scalar tensor.
    optimizer : Optimizer
    images, labels : Tensor
        A batch, for shapes and dtypes.

    Raises
    ------
    BackendError
        If the batch does not lie on a GPU, or another backend than ``cuda`` is selected.
    ValueError
        If the optimiser's first step would be another one than those that follow.

    Examples
    --------
    >>> step = CapturedStep(model, F.cross_entropy, optimizer, images, labels)  # doctest: +SKIP
    >>> for images, labels in batches:  # doctest: +SKIP
    ...     loss = step(images, labels)
    """

    def __init__(self, model: Module, loss: Callable[[Tensor, Tensor], Tensor], optimizer: Optimizer, images: Tensor, labels: Tensor):
        if images.device != "cuda" or current("cuda") != "cuda":
            raise BackendError(
                f"a step is captured on a GPU with the backend 'cuda'; the batch lies on the {images.device}, the backend is {current('cuda')!r}"
            )
        if any(group.get("dampening") for group in optimizer.param_groups) and not optimizer.state:
            raise ValueError("with dampening, the first step of SGD is another one than those that follow: take it before you capture one")
        import cupy

        self._model, self._criterion, self._optimizer = model, loss, optimizer
        self._images, self._labels = Tensor(images.array.copy()), Tensor(labels.array.copy())
        self._rates = HeldRates()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        # Memory of its own: what the graph writes to must not be given to anybody else, for as long as it lives.
        self._pool = cupy.cuda.MemoryPool()
        state = [value.array.copy() for value in model.state_dict().values()]
        earlier = {p: {n: v.array.copy() if isinstance(v, Tensor) else v for n, v in kept.items()} for p, kept in optimizer.state.items()}
        cupy.cuda.get_current_stream().synchronize()
        with ExitStack() as stack:
            stack.enter_context(cupy.cuda.using_allocator(self._pool.malloc))
            stack.enter_context(self._stream)
            for _ in range(_WARM_UP):
                self._step()
            self._stream.begin_capture()
            self.loss = self._step()
            self._graph = self._stream.end_capture()
            for value, before in zip(model.state_dict().values(), state, strict=True):
                value.copy_(before)
            self._restore(earlier)
        self._stream.synchronize()

    def _step(self) -> Tensor:
        with held_rates(self._rates):
            loss = self._criterion(self._model(self._images), self._labels)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        return loss.detach()

    def _restore(self, earlier: dict[Tensor, dict[str, Any]]) -> None:
        """Counts and moments as they were; the moments where they lie, since the graph knows their addresses."""
        for parameter, kept in self._optimizer.state.items():
            for name, value in kept.items():
                before = earlier.get(parameter, {}).get(name, 0)
                if isinstance(value, Tensor):
                    value.copy_(before)
                else:
                    kept[name] = before

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one step.

        Parameters
        ----------
        images, labels : Tensor
            A batch on the GPU, of the shape and dtype that was captured.

        Returns
        -------
        Tensor, ()
            The loss; its memory is written again by the next step.

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
            with held_rates(self._rates, only_rates=True):
                self._optimizer.step()
            self._graph.launch(self._stream)
            given_on.wait_event(self._stream.record())
        return self.loss
