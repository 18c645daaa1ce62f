"""The training loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from .. import optim
from ..data import Dataset, Loader
from ..losses import CrossEntropyLoss
from ..nn import Module
from ..progress import Bar, compiling
from ..tensor import Tensor
from .history import History, Interrupted
from .interrupt import Request, stop_between_steps
from .options import Options, count_steps, default_transform
from .run import Run


def fit(
    model: Module,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 4,
    learning_rate: float = 1e-3,
    crop: int | None = 128,
    optimizer: str | Callable[..., optim.Optimizer] = "adam",
    schedule: str | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    transform: Callable | Literal["default"] | None = "default",
    seed: int = 0,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    resume: str | os.PathLike | None = None,
    eval_every: int | None = None,
    progress: bool = True,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> History:
    """Train a network on random crops, and evaluate it on whole images as it goes.

    Parameters
    ----------
    model : Module
        Trained in place. With its weights as they are: call `manual_seed` before you create it to get
        the same ones again.
    train, validation : Dataset
        Without validation data nothing is evaluated, and there is no best checkpoint.
    steps, epochs : int
        One of them. An epoch is ⌈items / batch_size⌉ steps; batches are always full.
    batch_size : int
    learning_rate : float
    crop : int or None
        Rows and columns of the crops; None for whole images, which must then be of one size.
    optimizer : {"adam", "adamw", "sgd"} or callable
        ``optimizer(parameters, lr=...)``; "sgd" has a momentum of 0.9.
    schedule : {"cosine", "poly"} or None
        How the learning rate falls.
    loss : callable, optional
        ``loss(scores, labels)``, a mean over the pixels. The default is the cross-entropy without ignored pixels.
    transform : callable or None
        See `data.transforms`. The default crops, flips and turns.
    seed : int
        Of the order of the data, the augmentation and dropout.
    out : path, optional
        A new or empty folder for ``config.json``, ``log.csv``, ``last`` and ``best.safetensors``,
        ``curves.png`` and ``predictions.png``. Without it nothing is written.
    overwrite : bool
        Whether the files of an earlier run in `out` may be replaced.
    resume : path, optional
        The folder of a run (or its ``last.safetensors``), to go on exactly where it stopped, up to
        `steps` in total; in the same folder unless `out` is given, which takes over the best checkpoint.
    eval_every : int, optional
        Steps between two evaluations, after each of which a checkpoint is written; a tenth of all by default.
    progress : bool
        Whether to show a bar and a line for each evaluation.
    callback : callable, optional
        Called with the row of the log after each step. A KeyboardInterrupt from it stops the run.
    settings : dict, optional
        More for ``config.json``, for example where the data are.

    Returns
    -------
    History

    Raises
    ------
    ValueError, OSError
        Before anything is computed: options that do not fit, a folder that cannot be written to.
    DivergedError
        If the loss is no longer a finite number; the checkpoint from before that remains.
    Interrupted
        On Ctrl-C, after checkpoint and pictures were written. It is a KeyboardInterrupt.
    """
    total = count_steps(steps, epochs, len(train), batch_size)
    name = optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", repr(optimizer))
    options = Options(total, batch_size, learning_rate, crop, name, schedule, seed, -(-total // 10) if eval_every is None else eval_every)
    if isinstance(transform, str):
        transform = default_transform(train, crop)
    criterion = loss if loss is not None else CrossEntropyLoss(ignore_index=train.ignore_index)
    loader = Loader(train, batch_size, transform, seed=seed, steps=total)
    run = Run(model, options, optimizer, criterion, loader, train, validation, settings or {})
    earlier = None
    if resume is not None:
        earlier = Path(resume) if Path(resume).is_dir() else Path(resume).parent
        run.restore(resume)
    run.open(out or earlier, overwrite, earlier)
    try:
        with stop_between_steps() as stop, ExitStack() as waiting:
            waiting.enter_context(compiling(progress))
            run.check()
            _steps(run, stop, progress, callback, waiting)
        run.draw()
    finally:
        run.close()
    if stop.made:
        raise Interrupted(run.history)
    return run.history


def _steps(run: Run, stop: Request, progress: bool, callback: Callable[[dict[str, Any]], Any] | None, waiting: ExitStack) -> None:
    """Up to the last step, or to Ctrl-C; `waiting` is closed when the first step is done."""
    options, history = run.options, run.history
    before, start = history.seconds, time.perf_counter()
    batches = iter(run.loader)
    bar = None
    try:
        while history.step < options.steps and not stop.made:
            row = run.step(*next(batches))
            if bar is None:
                waiting.close()
                bar = Bar(options.steps, history.step, progress)
            due = row["step"] % options.eval_every == 0 or row["step"] == options.steps
            if due and (line := run.evaluate(row, lambda: not stop.made)):
                bar.say(line)
            row["seconds"] = round(before + time.perf_counter() - start, 3)
            run.record(row)
            bar.step(loss=f"{row['loss']:.4f}", **run.shown())
            try:
                if callback is not None:
                    callback(row)
            except KeyboardInterrupt:
                stop.made = True
            if due or stop.made:
                run.save(row)
    finally:
        batches.close()  # type: ignore[attr-defined]
        if bar is not None:
            bar.close()


def train_segmentation_network(model: Module, dataset: Dataset, batch_size: int, num_epochs: int, learning_rate: float) -> History:
    """Train a network as the article does: Adam and cross-entropy on whole images, a line every 100 steps.

    It is `fit` with these defaults. The images must be of one size.

    Parameters
    ----------
    model : Module
    dataset : Dataset
    batch_size : int
    num_epochs : int
    learning_rate : float

    Returns
    -------
    History
    """
    in_epoch = -(-len(dataset) // max(batch_size, 1))

    def tell(row: dict[str, Any]) -> None:
        epoch, step = divmod(row["step"] - 1, in_epoch)
        if (step + 1) % 100 == 0:
            print(f"Epoch: [{epoch + 1}/{num_epochs}], Step: [{step + 1}/{in_epoch}], Loss: {row['loss']:.4f}")

    return fit(
        model,
        dataset,
        epochs=num_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        crop=None,
        transform=None,
        progress=False,
        callback=tell,
    )
