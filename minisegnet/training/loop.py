"""The training loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from .. import optim
from ..data import Dataset, Loader
from ..nn import Module
from ..progress import Bar, compiling
from ..tensor import Tensor
from .history import History, Interrupted
from .interrupt import Request, stop_between_steps
from .options import Options, count_steps, default_transform, make_class_weights, name_of
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
    warmup: int = 0,
    weight_decay: float | None = None,
    lr_factors: Mapping[str, float] | None = None,
    loss: str | Callable[[Tensor, Tensor], Tensor] | None = None,
    class_weights: str | Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    aux_weight: float = 0.4,
    accumulate: int = 1,
    clip_norm: float | None = None,
    ema: float | None = None,
    transform: Callable | Literal["default"] | None = "default",
    seed: int = 0,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    resume: str | os.PathLike | None = None,
    eval_every: int | None = None,
    best_by: str = "iou",
    patience: int | None = None,
    progress: bool = True,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    settings: dict[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
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
        One of them. An epoch is ⌈items / (batch_size · accumulate)⌉ steps; batches are always full.
    batch_size : int
    learning_rate : float
    crop : int or None
        Rows and columns of the crops; None for whole images, which must then be of one size.
    optimizer : {"adam", "adamw", "sgd"} or callable
        ``optimizer(parameters, lr=...)``; "sgd" has a momentum of 0.9.
    schedule : {"cosine", "poly", "step"} or None
        How the learning rate falls: along half a cosine to 0, as (1 − t/steps)^0.9 to 0, or to a tenth after each third.
    warmup : int
        Steps in which the rate grows, from a hundredth, before the schedule begins.
    weight_decay : float, optional
        The optimiser's own by default: 0.01 for "adamw", else 0.
    lr_factors : mapping of str to float, optional
        Parts of the network that learn at another rate, by the names of their parameters: ``{"outc": 10}``.
    loss : str or callable, optional
        A name, or a sum such as ``"ce+dice"``: see `losses.create`; or ``loss(scores, labels)``, a mean over the pixels. The
        default is the cross-entropy, "ce". Pixels of the data set's `ignore_index` do not count.
    class_weights : {"median", "inverse"} or sequence of float, optional
        Computed from the training data (`losses.class_weights`), or given.
    label_smoothing : float
    aux_weight : float
        Share of each auxiliary output, for a network that returns several in training, the main one first.
    accumulate : int
        Batches whose gradients are averaged for one step. It is one batch of ``accumulate · batch_size`` as long as each
        loss is a mean over equally many pixels (none ignored, no class weights, no Dice), except for batch normalisation,
        which takes its statistics from each batch on its own.
    clip_norm : float, optional
        Gradients are shortened to this norm, all by one factor (`nn.utils.clip_grad_norm_`).
    ema : float, optional
        Decay of a moving average of the weights (`ExponentialMovingAverage`), such as 0.99. The average is what is
        evaluated and what the checkpoints hold, and the network has it when `fit` returns.
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
    best_by : {"iou", "mean_iou", "dice", "loss"}
        What makes a checkpoint the best: "iou" and "dice" are those of the object if there is one class of them, else means.
    patience : int, optional
        Stop after so many evaluations in a row that brought nothing better.
    progress : bool
        Whether to show a bar and a line for each evaluation.
    callback : callable, optional
        Called with the row of the log after each step. A KeyboardInterrupt from it stops the run.
    settings : dict, optional
        More for ``config.json``, for example where the data are.
    files : mapping of str to str, optional
        More text files for the folder, by name.

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
    total = count_steps(steps, epochs, len(train), batch_size * max(accumulate, 1))
    options = Options(
        steps=total,
        batch_size=batch_size,
        learning_rate=learning_rate,
        crop=crop,
        optimizer=name_of(optimizer, "adam"),
        schedule=schedule,
        seed=seed,
        eval_every=-(-total // 10) if eval_every is None else eval_every,
        loss=name_of(loss, "ce"),
        class_weights=make_class_weights(class_weights, train),
        label_smoothing=label_smoothing,
        aux_weight=aux_weight,
        weight_decay=weight_decay,
        lr_factors=dict(lr_factors or {}),
        warmup=warmup,
        accumulate=accumulate,
        clip_norm=clip_norm,
        ema=ema,
        patience=patience,
        best_by=best_by,
    )
    if isinstance(transform, str):
        transform = default_transform(train, crop)
    loader = Loader(train, batch_size, transform, seed=seed, steps=total * accumulate)
    run = Run(model, options, optimizer, loss, loader, train, validation, settings or {})
    earlier = None
    if resume is not None:
        earlier = Path(resume) if Path(resume).is_dir() else Path(resume).parent
        run.restore(resume)
    run.open(out or earlier, overwrite, earlier, files or {})
    try:
        with stop_between_steps() as stop, ExitStack() as waiting:
            waiting.enter_context(compiling(progress))
            run.check()
            _steps(run, stop, progress, callback, waiting)
        run.use_average()
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
        while history.step < options.steps and not stop.made and not history.stopped_early:
            row = run.step(islice(batches, options.accumulate))
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
            if due and run.out_of_patience():
                history.stopped_early = True
                bar.say(f"no better {history.score_name} in {history.stale} evaluations: the training stops early")
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
