"""Batch normalisation folded into the convolution before it: fewer passes over memory at inference."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from ..tensor import Node, Tensor, enable_grad
from .activation import Identity
from .convolution import Conv2d, ConvTranspose2d
from .modes import watching
from .module import Module
from .normalisation import BatchNorm2d
from .parameter import Parameter


def fold(model: Module, example: Any = None) -> Module:
    """A copy of a network for inference, without the batch normalisations that follow a convolution.

    In evaluation, batch normalisation is a scale and a shift of each channel, and so is what it does to the
    kernel and the bias of the convolution before it::

        γ (w∗x + b − μ) / √(σ² + ε) + β  =  (s w)∗x + ((b − μ) s + β),    s = γ / √(σ² + ε)

    An image is sent through the network to find the pairs: a normalisation is folded if its input is the output of a
    convolution and nothing else uses that output. Every other normalisation stays. A folded one becomes an `Identity`,
    so that the convolution and the ReLU behind it are neighbours and are computed in one pass.

    Parameters
    ----------
    model : Module
        Not changed.
    example : Tensor or array, (N, C, H, W), optional
        An image that the network takes; zeros of 64 × 64 pixels by default, or what its ``size_for`` makes of that.

    Returns
    -------
    Module
        In evaluation mode. Its outputs are those of ``model.eval()`` up to rounding. Train the original, not this one.

    References
    ----------
    The "BN absorber" of SegNet: Badrinarayanan, Kendall & Cipolla, PAMI 2017.
    """
    copy = deepcopy(model).eval()
    for conv, norm in _pairs(copy, _example(copy) if example is None else example):
        _absorb(conv, norm)
        _replace(copy, norm)
    return copy


def _example(model: Module) -> np.ndarray:
    first = next((m for m in model.modules() if isinstance(m, Conv2d)), None)
    channels = getattr(model, "in_channels", first.in_channels if first is not None else 1)
    size = getattr(model, "size_for", lambda n: n)(64)
    return np.zeros((1, channels, size, size), np.float32)


def _pairs(model: Module, example: Any) -> list[tuple[Any, Any]]:
    """Pairs of a convolution and the normalisation that alone uses its output; each of the two is called once."""
    made: dict[Node, list[Module]] = {}  # by whom a tensor was made
    taken: dict[BatchNorm2d, list[Node | None]] = {}  # which tensors a normalisation was given

    def watch(module: Module, args: tuple, output: Tensor) -> None:
        if isinstance(module, BatchNorm2d):
            taken.setdefault(module, []).append(args[0]._node)
        elif output._node is not None:
            made.setdefault(output._node, []).append(module)

    kinds = (Conv2d, ConvTranspose2d, BatchNorm2d)
    like = next(model.parameters())
    data = example.array if isinstance(example, Tensor) else np.asarray(example)
    # The graph shows which operation uses which tensor.
    with watching([module for module in model.modules() if type(module) in kinds], watch), enable_grad():
        image = Tensor(data.astype(like.dtype)).to(like.device).requires_grad_()
        uses = _uses(model(image))
    calls = [module for makers in made.values() for module in makers]
    found = []
    for norm, nodes in taken.items():
        node = nodes[0]
        if len(nodes) != 1 or node is None or node not in made or uses.get(node) != 1:
            continue
        (conv,) = made[node]
        if calls.count(conv) == 1 and norm.running_mean is not None:
            found.append((conv, norm))
    return found


def _uses(output: Any) -> dict[Node, int]:
    """How often each tensor behind an output (or several) is an input of an operation, or an output itself."""
    outputs = output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else [output]
    waiting = [tensor._node for tensor in outputs if isinstance(tensor, Tensor) and tensor._node is not None]
    uses = dict.fromkeys(waiting, 1)
    while waiting:
        for source in waiting.pop().inputs:
            if source is not None:
                if source not in uses:
                    waiting.append(source)
                uses[source] = uses.get(source, 0) + 1
    return uses


def _absorb(conv: Any, norm: Any) -> None:
    """Scale the kernel and set the bias, computed in float64."""
    wide = lambda tensor, default: np.asarray(tensor.detach().cpu().array, np.float64) if tensor is not None else default
    scale = wide(norm.weight, 1.0) / np.sqrt(wide(norm.running_var, None) + norm.eps)
    bias = (wide(conv.bias, 0.0) - wide(norm.running_mean, None)) * scale + wide(norm.bias, 0.0)
    kernel = wide(conv.weight, None)
    if isinstance(conv, ConvTranspose2d):  # (C, O/G, U, V): the rows of a group hold that group's outputs
        groups = conv.groups
        split = kernel.reshape(groups, -1, *kernel.shape[1:])
        kernel = (split * scale.reshape(groups, 1, -1, 1, 1)).reshape(kernel.shape)
    else:
        kernel = kernel * scale[:, None, None, None]
    like = conv.weight
    for name, value in (("weight", kernel), ("bias", bias)):
        setattr(conv, name, Parameter(Tensor(value.astype(like.dtype)).to(like.device).array))


def _replace(model: Module, norm: Module) -> None:
    """Replace a module by an `Identity`, which `chain` skips, so that its neighbours can be fused."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child is norm:
                setattr(parent, name, Identity())
