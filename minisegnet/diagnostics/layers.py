"""The outputs of the layers of a network for one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..inference import scores
from ..nn import Module
from ..tensor import Tensor
from ..trace import Output, layers_recorded, leaves


def chosen(model: Module, names: Sequence[str] | None) -> dict[str, Module]:
    """The modules with these paths; by default all layers.

    Raises
    ------
    ValueError
        If the network has no module with one of the paths; the message lists similar ones.
    """
    if names is None:
        return leaves(model)
    modules = dict(model.named_modules())
    if missing := [name for name in names if name not in modules]:
        near = [name for name in modules if name and name.startswith(missing[0].partition(".")[0])] or [n for n in modules if n]
        raise ValueError(f"{type(model).__name__} has no layer {missing[0]!r}; there are {', '.join(near[:12])}, ...")
    return {name: modules[name] for name in names}


def last_outputs(outputs: Sequence[Output]) -> dict[str, Tensor]:
    """The output of each layer by its path, in order of computation; of a layer that was called several times, the last one."""
    last: dict[str, Tensor] = {}
    for output in outputs:
        last.pop(output.path, None)
        last[output.path] = output.tensor
    return last


def activations(model: Module, image: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The outputs of layers for one image.

    Parameters
    ----------
    model : Module
    image : array, (C, H, W)
        Prepared: standardised.
    names : sequence of str, optional
        Paths of modules as in ``model.named_modules()``; all layers by default.

    Returns
    -------
    dict of str to array, (channels, h, w)
        In the order in which they were computed.

    Raises
    ------
    ValueError
        If the network has no such layer.
    """
    with layers_recorded(chosen(model, names)) as outputs:
        scores(model, np.asarray(image)[None])
    return {name: output.detach().cpu().array[0] for name, output in last_outputs(outputs).items()}
