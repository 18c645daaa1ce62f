"""The training loop."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any, Literal

from ..data import Dataset, Loader
from ..nn import Module
from ..progress import Bar, compiling
from . import build, state
from .history import History, Interrupted
from .interrupt import Request, stop_between_steps
from .recipe import Recipe, from_fields, with_fields
from .run import Run


@with_fields
def fit(
    model: Module,
    train: Dataset,
    validation: Dataset | None = None,
    recipe: Recipe | None = None,
    *,
    transform: Callable | Literal["recipe"] | None = "recipe",
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    resume: str | os.PathLike | None = None,
    accept_changes: bool = False,
    progress: bool = True,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    settings: dict[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    **fields: Any,
) -> History:
    """Train a network on random crops, and evaluate it on whole images during training.

    ``fit(model, train, validation, steps=1000, clip_norm=1.0)`` is short for
    ``fit(model, train, validation, Recipe(steps=1000, clip_norm=1.0))``.

    Parameters
    ----------
    model : Module
        Trained in place, from its current weights. For reproducible initial weights call `manual_seed` before you create it.
    train, validation : Dataset
        Without validation data nothing is evaluated, and there is no best checkpoint.
    recipe : Recipe, optional
        How to train; see `Recipe`.
    transform : callable or None
        An augmentation of your own, ``(image, mask, rng) -> (image, mask)``, instead of the recipe's; None applies none. See
        `data.transforms`.
    out : path, optional
        A new or empty folder for ``config.json``, ``log.csv``, ``last.safetensors`` and ``best.safetensors``,
        ``curves.png`` and ``predictions.png``. Without it nothing is written.
    overwrite : bool
        Whether the files of an earlier run in `out` may be replaced.
    resume : path, optional
        The folder of a run, or its ``last.safetensors``: continue it exactly where it stopped, up to `steps` in total. The
        run continues in its folder, or in `out`, to which its best checkpoint is copied. A run that has done its steps but was
        killed before all of its files were written is completed.
    accept_changes : bool
        Resume a run although its data, its transform or its ``best.safetensors`` are no longer those with which it stopped. Without
        it such a change is an error.
    progress : bool
        Whether to show a progress bar, and a line after each evaluation.
    callback : callable, optional
        Called after each step with its row of the log. A KeyboardInterrupt that it raises stops the run. On a GPU every step
        then has to be waited for; without it the loss is read only when it is shown or saved.
    settings : dict, optional
        Further entries of ``config.json``, for example where the data are.
    files : mapping of str to str, optional
        Further text files for the folder, by name.
    **fields
        Fields of the recipe; they replace those of `recipe`:

        {fields}

    Returns
    -------
    History

    Raises
    ------
    ValueError, OSError
        If options contradict each other, the network or the data, or the folder cannot be written to, or another process trains in
        it. All of this is checked before an image is read and before a folder is made.
    DivergedError
        If the loss is no longer a finite number; the last good checkpoint remains.
    Interrupted
        On Ctrl-C or SIGTERM, after checkpoint and pictures were written. It is a KeyboardInterrupt.
    """
    recipe = from_fields(recipe, fields).for_data(len(train))
    if transform == "recipe":
        transform = build.make_transform(recipe, train.ignore_index)
    elif recipe.augmented:
        raise ValueError("give either a transform of your own or the recipe's flip, scale, rotate, jitter, blur and noise, not both")
    loader = Loader(train, recipe.batch_size, transform, seed=recipe.seed, steps=recipe.steps * recipe.accumulate)
    run = Run(model, recipe, loader, train, validation, settings or {})
    with closing(run):
        run.choose_folder(out, overwrite, resume, files or {})
        if resume is not None:
            state.restore(run, resume, accept_changes)
        with stop_between_steps() as stop, ExitStack() as until_first_step:
            until_first_step.enter_context(compiling(progress))
            run.read_data()
            if (line := state.mend(run, lambda: not stop.made)) and progress:
                print(line, file=sys.stderr)
            _steps(run, stop, progress, callback, until_first_step)
        run.use_average()
        run.draw()
    if stop.made:
        raise Interrupted(run.history, stop.signal)
    return run.history


def _steps(run: Run, stop: Request, progress: bool, callback: Callable[[dict[str, Any]], Any] | None, until_first_step: ExitStack) -> None:
    """Train up to the last step, Ctrl-C or SIGTERM; `until_first_step` is closed after the first step."""
    recipe, history = run.recipe, run.history
    before, start = history.seconds, time.perf_counter()
    batches = iter(run.loader)
    bar = None
    shown: dict[str, str] = {}
    said: list[str] = []
    try:
        while history.step < recipe.steps and not stop.made and not history.stopped_early:
            row = run.step(islice(batches, recipe.accumulate))
            if bar is None:
                until_first_step.close()
                bar = Bar(recipe.steps, history.step, progress)
                said = run.steps_on_gpu.said if run.steps_on_gpu is not None else []
            due = run.due(row)
            if due or stop.made or callback is not None or bar.shows:
                run.read()
            if due and (line := run.evaluate(row, lambda: not stop.made)):
                bar.say(line)
            row["seconds"] = round(before + time.perf_counter() - start, 3)
            run.record(row)
            shown = shown if row["loss"] is None else {"loss": f"{row['loss']:.4f}", **run.shown()}
            bar.step(**shown)
            while said:
                bar.say(said.pop(0))
            try:
                if callback is not None:
                    callback(row)
            except KeyboardInterrupt:
                stop.made = True
            if due or stop.made:
                state.save(run, row)
            if due and run.out_of_patience():
                history.stopped_early = True
                bar.say(f"no better {history.score_name} in {history.stale} evaluations: training stops early")
    finally:
        batches.close()  # type: ignore[attr-defined]
        if bar is not None:
            bar.close()


def train_segmentation_network(model: Module, dataset: Dataset, batch_size: int, num_epochs: int, learning_rate: float) -> History:
    """Train a network as the article does: Adam and cross-entropy on whole images, with a printed line every 100 steps.

    This is `fit` with other defaults. All images must have one size.

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
