"""What every layer makes of an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..inference import scores
from ..nn import Module
from ..tensor import Tensor


def leaves(model: Module) -> dict[str, Module]:
    """The modules that hold no others, by their paths: the layers."""
    return {name: module for name, module in model.named_modules() if next(module.children(), None) is None}


@contextmanager
def recorded(model: Module, names: Any = None) -> Iterator[dict[str, Tensor]]:
    """Inside, a dictionary is filled with the output of each layer that is called, in the order of the calls.

    Neighbours are not fused meanwhile. Of a layer that is called several times the last output counts.

    Raises
    ------
    ValueError
        If a name is no layer of the network; names some that are.
    """
    modules = dict(model.named_modules())
    chosen = leaves(model) if names is None else {name: modules.get(name) for name in names}
    if missing := [name for name, module in chosen.items() if module is None]:
        near = [name for name in modules if name and name.startswith(missing[0].partition(".")[0])] or [n for n in modules if n]
        raise ValueError(f"{type(model).__name__} has no layer {missing[0]!r}; there are {', '.join(near[:12])}, ...")
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: Module, args: tuple, output: Any) -> None:
            outputs.pop(name, None)
            outputs[name] = output[0] if isinstance(output, tuple) else output  # pooling may give its indices, too

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in chosen.items() if module is not None]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def at_rest(model: Module) -> Iterator[None]:
    """Inside, no parameter asks for a gradient, so that a look at a network leaves none behind."""
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)


def activations(model: Module, image: np.ndarray, names: Any = None) -> dict[str, np.ndarray]:
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
        If there is no such layer.
    """
    with recorded(model, names) as outputs:
        scores(model, np.asarray(image)[None])
    return {name: output.detach().cpu().array[0] for name, output in outputs.items()}
