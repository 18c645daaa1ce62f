"""Predictions beside the truth, one row per image."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.colours import class_palette
from ..metrics.errors import near_boundary
from .pictures import IGNORED, as_rgb, background_of, colourise
from .style import FAINT, GREY, INK, KEY_LABEL, KEY_LINE, MARGIN, finish, key_step, legend, new_figure

# Okabe and Ito's colours, which people with any common colour-blindness can tell apart.
FOUND, FALSE, MISSED, CONFUSED, SKIPPED = (0, 158, 115), (213, 94, 0), (86, 180, 233), (240, 228, 66), (150, 150, 150)
_MARGIN, _GAP, _CAPTION, _HEAD = MARGIN, 0.14, 0.34, 0.85  # inches


def error_map(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    background: int | None = 0,
    ignore_index: int = 255,
    band: float | None = None,
) -> np.ndarray:
    """Where a prediction is right and how it is wrong, over the darkened image; uint8 (H, W, 3).

    With a background class, found pixels (TP) are green, false alarms (FP) orange, missed pixels (FN) blue, and objects
    with a wrong class yellow; correct background shows the image. With ``background=None``, wrong pixels are orange.
    Pixels labelled `ignore_index` are grey. With a `band`, errors less than `band` pixels from a true boundary are
    dimmed, so that the others stand out.
    """
    base = np.rint(as_rgb(image) * 0.45).astype(np.uint8)
    picture = base.copy()
    if background is None:
        picture[truth != prediction] = FALSE
    else:
        is_object, called_object = truth != background, prediction != background
        picture[is_object & called_object] = CONFUSED
        picture[is_object & (truth == prediction)] = FOUND
        picture[~is_object & called_object] = FALSE
        picture[is_object & ~called_object] = MISSED
    if band is not None:
        dim = near_boundary(truth, band, ignore_index) & (truth != prediction)
        picture[dim] = (picture[dim].astype(np.uint16) + base[dim]) // 2
    picture[truth == ignore_index] = SKIPPED
    return picture


def predictions(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    classes: Sequence[str],
    palette: np.ndarray | None = None,
    path: str | os.PathLike | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "Predictions",
    background: int | str | None = "auto",
    ignore_index: int = 255,
    band: float | None = None,
) -> Any:
    """One picture with a row for each image: image | truth | prediction | errors, and a legend.

    Parameters
    ----------
    images : sequence of arrays, (H, W) or (C, H, W)
    truths, predictions : sequences of integer arrays, (H, W)
    classes : sequence of str
    palette : uint8, (K, 3), optional
    path : path, optional
        Where to write the PNG. Without it, the picture is returned.
    names : sequence of str, optional
        A caption for each row.
    title : str
    background : int, None or "auto"
        The background class of the error map (see `error_map`); "auto" uses `background_of`.
    ignore_index : int
    band : float, optional
        Errors less than `band` pixels from a true boundary are dimmed.

    Returns
    -------
    Path or PIL.Image.Image

    Raises
    ------
    ValueError
        If there is nothing to show, or shapes differ.
    """
    rows = [(np.asarray(i), np.asarray(t), np.asarray(p)) for i, t, p in zip(images, truths, predictions, strict=True)]
    if not rows:
        raise ValueError("predictions: there is no image to show")
    for k, (image, truth, guess) in enumerate(rows):
        if truth.shape != guess.shape or as_rgb(image).shape[:2] != truth.shape:
            raise ValueError(
                f"predictions: in row {k} the image is {image.shape}, the truth {truth.shape} and the prediction {guess.shape}"
            )
    if background == "auto":
        background = background_of(classes)
    colours = class_palette(len(classes)) if palette is None else np.asarray(palette)
    ignored = any((truth == ignore_index).any() for _, truth, _ in rows)
    class_key = [*zip(classes, colours, strict=False)] + [("ignored", IGNORED)] * ignored
    error_key = _error_key(background, len(classes), ignored)

    # Everything is placed in inches, from the top, so that nothing overlaps, however many rows there are.
    aspects = [truth.shape[0] / truth.shape[1] for _, truth, _ in rows]
    cell = min(2.6, max(1.5, 4.0 / max(aspects)))
    heights = [min(cell * a, 4.0) for a in aspects]
    width = 2 * _MARGIN + 4 * cell + 3 * _GAP
    columns = max(1, int((width - 2 * _MARGIN - KEY_LABEL) / key_step(class_key)))
    class_lines = math.ceil(len(class_key) / columns)
    foot = 0.2 + KEY_LINE * (class_lines + 1) + 0.2
    height = _HEAD + sum(heights) + _CAPTION * len(rows) + foot
    figure = new_figure(width, height)
    figure.text(_MARGIN / width, 1 - 0.3 / height, title, fontsize=14, weight="bold", color=INK, va="center")
    errors = "errors" if band is None else f"errors (dim: < {band:g} px)"
    for column, heading in enumerate(("image", "truth", "prediction", errors)):
        x = _MARGIN + column * (cell + _GAP)
        figure.text((x + cell / 2) / width, 1 - (_HEAD - 0.13) / height, heading, fontsize=10.5, color=GREY, ha="center", va="center")

    top = height - _HEAD
    for k, ((image, truth, guess), tall) in enumerate(zip(rows, heights, strict=True)):
        shown = (
            as_rgb(image),
            colourise(truth, colours, ignore_index),
            colourise(guess, colours, ignore_index),
            error_map(image, truth, guess, background=background, ignore_index=ignore_index, band=band),  # type: ignore[arg-type]
        )
        for column, picture in enumerate(shown):
            left = _MARGIN + column * (cell + _GAP)
            axes = figure.add_axes((left / width, (top - tall) / height, cell / width, tall / height))
            axes.imshow(picture, interpolation="nearest" if column else "antialiased")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(FAINT)
        below = (top - tall - 0.12) / height
        if names is not None:
            figure.text(_MARGIN / width, below, _shortened(str(names[k]), int(cell * 26)), fontsize=8.5, color=GREY, va="center")
        figure.text(
            1 - _MARGIN / width,
            below,
            _score(truth, guess, len(classes), background, ignore_index),
            fontsize=8.5,
            color=GREY,
            ha="right",
            va="center",
        )
        top -= tall + _CAPTION

    top -= 0.2
    legend(figure, width, height, top, "classes", class_key, columns)
    legend(figure, width, height, top - KEY_LINE * class_lines, "errors", error_key, len(error_key))
    return finish(figure, path)


def _error_key(background: Any, num_classes: int, ignored: bool) -> list[tuple[str, Any]]:
    if background is None:
        key = [("wrong", FALSE)]
    else:
        key = [("found (TP)", FOUND), ("false alarm (FP)", FALSE), ("missed (FN)", MISSED)] + [("wrong class", CONFUSED)] * (
            num_classes > 2
        )
    return key + [("ignored", SKIPPED)] * ignored


def _score(truth: np.ndarray, guess: np.ndarray, num_classes: int, background: Any, ignore_index: int) -> str:
    """For two classes the IoU of the object class, otherwise the fraction of correct pixels."""
    counted = truth != ignore_index
    truth, guess = truth[counted], guess[counted]
    if not truth.size:
        return "nothing to score"
    if num_classes == 2 and background is not None:
        union = ((truth != background) | (guess != background)).sum()
        return f"IoU {((truth != background) & (guess != background)).sum() / union:.3f}" if union else "no object, none predicted"
    return f"{(truth == guess).mean():.1%} of pixels right"


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
