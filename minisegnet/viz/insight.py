"""Pictures of the inside of a network: its confidence, feature maps, filters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .gallery import Panel, columns_for, gallery
from .pictures import as_rgb, overlay

_SURE, _UNSURE, _SIGNED = "viridis", "inferno", "RdBu_r"
_MAPS = 32  # the most channels or filters on a sheet


def doubt(
    image: np.ndarray,
    labels: np.ndarray,
    measures: Mapping[str, np.ndarray],
    palette: np.ndarray,
    path: str | os.PathLike | None = None,
    *,
    background: int | None = 0,
    title: str = "How sure the network is",
    classes: Sequence[str] | None = None,
) -> Any:
    """An image, its labels, and maps of how sure the network is.

    Parameters
    ----------
    image : array, (H, W), (C, H, W), or uint8 (H, W, 3)
    labels : integer array, (H, W)
    measures : dict of str to array, (H, W)
        Each between 0 and 1. "entropy" and "information" are bright where the network is unsure; others are bright where it is sure.
    palette : uint8, (K, 3)
    path : path, optional
        Where to write the PNG. Without it, the picture is returned.
    background : int or None
        The class without colour.
    title : str
    classes : sequence of str, optional
        Names for a legend.

    Returns
    -------
    Path or PIL.Image.Image
    """
    panels = [Panel("image", as_rgb(image)), Panel("labels", overlay(image, labels, palette, background=background))]
    for name, values in measures.items():
        unsure = name in ("entropy", "information")
        panels.append(Panel(f"{name}: bright is {'unsure' if unsure else 'sure'}", values, _UNSURE if unsure else _SURE, (0.0, 1.0)))
    key = () if classes is None else tuple(zip(classes, palette, strict=False))
    return gallery(panels, path, title=title, columns=len(panels) if len(panels) <= 5 else 3, key=key)


def features(values: np.ndarray, path: str | os.PathLike | None = None, *, title: str = "Feature maps") -> Any:
    """Draw the channels of a layer's output.

    Parameters
    ----------
    values : array, (C, h, w)
    path : path, optional
    title : str

    Returns
    -------
    Path or PIL.Image.Image
        Blue is negative, white is 0, red is positive; all channels have the same scale. Of more than 32 channels, the 32 that
        vary most are shown.
    """
    if values.ndim != 3:
        raise ValueError(f"feature maps have the shape (C, h, w); got {values.shape}")
    order = np.argsort(-values.std(axis=(1, 2)), kind="stable")[:_MAPS]
    limit = float(np.percentile(np.abs(values[order]), 99.5)) or 1.0
    chosen = sorted(order.tolist())
    panels = [Panel(f"channel {k}", values[k], _SIGNED, (-limit, limit), scale=False) for k in chosen]
    which = f"{len(values)} channels" if len(chosen) == len(values) else f"the {len(chosen)} of {len(values)} channels that vary most"
    note = f"{which}, {values.shape[1]} × {values.shape[2]}; blue is negative, red positive, ±{limit:.3g} at the ends"
    return gallery(panels, path, title=title, note=note, columns=columns_for(len(panels)), cell=1.25)


def filters(weight: np.ndarray, path: str | os.PathLike | None = None, *, title: str = "Filters") -> Any:
    """Draw the kernels of a convolution.

    Parameters
    ----------
    weight : array, (O, C/G, U, V)
    path : path, optional
    title : str

    Returns
    -------
    Path or PIL.Image.Image
        A kernel of three channels is shown in colour, where grey is 0; of any other kernel the mean over its channels is
        shown. Of more than 32 kernels, the 32 with the largest norm are shown.
    """
    weight = np.asarray(weight)
    if weight.ndim != 4:
        raise ValueError(f"the weight of a convolution has the shape (O, C/G, U, V); got {weight.shape}")
    order = sorted(np.argsort(-np.sqrt((weight**2).sum(axis=(1, 2, 3))), kind="stable")[:_MAPS].tolist())
    channels = weight.shape[1]
    limit = float(np.abs(weight[order]).max()) or 1.0
    coloured = channels == 3
    shown = [weight[k].transpose(1, 2, 0) / limit * 127.5 + 127.5 if coloured else weight[k].mean(axis=0) for k in order]
    if not coloured:
        limit = float(np.abs(shown).max()) or 1.0
    panels = [
        Panel(f"filter {k}", np.rint(p).astype(np.uint8) if coloured else p, _SIGNED, (-limit, limit), scale=False)
        for k, p in zip(order, shown, strict=True)
    ]
    what = "as colours, grey is 0" if coloured else "" if channels == 1 else f"the mean over {channels} channels"
    which = f"{len(order)} of {len(weight)} filters" if len(order) < len(weight) else f"{len(weight)} filters"
    note = ", ".join(filter(None, (f"{which} of {weight.shape[2]} × {weight.shape[3]}", what, f"±{limit:.3g} at the ends")))
    return gallery(panels, path, title=title, note=note, columns=columns_for(len(panels)), cell=1.0)
