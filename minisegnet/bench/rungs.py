"""The rungs of the convolution ladder, timed on a GPU beside cuDNN (through PyTorch).

The memory traffic of a rung can be counted without a GPU (`ladder`); its time cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minisegnet_kernels.conv2d.ladder import RUNGS, Rung
from minisegnet_kernels.layout import channels_last, is_channels_last

from . import about
from .ladder import Layer, _serves

EQUATIONS = ("conv2d.forward", "conv2d.grad_input", "conv2d.grad_weight")
#: Two layers of a U-Net, and one that is large enough for a kernel to show what it can do.
LAYERS = (Layer(16, 16, 128, batch=8), Layer(64, 64, 64, batch=8), Layer(256, 256, 64, batch=8))
CASES = {f"{equation}  {layer}": (layer, equation) for layer in LAYERS for equation in EQUATIONS}


def label(rung: Rung) -> str:
    """``"4 register_tile"``."""
    return f"{rung.label} {rung.name}"


def rungs_of(case: str) -> dict[str, Rung]:
    """The rungs that serve a case in at least one layout."""
    layer, equation = CASES[case]
    return {label(r): r for r in RUNGS if r.equation == equation and _layout(r, layer) is not None}


def _layout(rung: Rung, layer: Layer) -> bool | None:
    """Whether a rung gets its images channels last: its best layout if it serves that, else the other; None if it serves neither."""
    return next((last for last in (rung.best_last, not rung.best_last) if _serves(rung, layer, last)), None)


def phases(library: Any, case: str, rung: str | None, seed: int = 0) -> tuple[dict[str, Callable[[], Any]], Callable[[], list[np.ndarray]]]:
    """The timed call of a case, by a rung or (if `rung` is None) by PyTorch, and a function that returns its result for comparison."""
    layer, equation = CASES[case]
    if rung is None:
        arrays = [library.make(a) for a in layer.arguments(equation, False, seed)[0]]
        call = partial(_torch, library, layer, equation, arrays)
    else:
        chosen = rungs_of(case)[rung]
        arguments, options = layer.arguments(equation, bool(_layout(chosen, layer)), seed)
        call = partial(chosen.run, *map(_moved, arguments), **options)
    host = lambda y: y.get() if hasattr(y, "get") else library.value(y)
    return {equation.partition(".")[2]: call}, lambda: [host(call())]


def _moved(a: np.ndarray) -> Any:
    """Copy to the GPU. CuPy makes the copy rows first, so channels last has to be restored."""
    import cupy

    return channels_last(cupy.asarray(a)) if is_channels_last(a) else cupy.asarray(a)


def _torch(library: Any, layer: Layer, equation: str, arrays: list[Any]) -> Any:
    """The same equation by PyTorch's functions, without its autograd."""
    padding = layer.kernel // 2
    if equation == "conv2d.forward":
        return library.F.conv2d(*arrays, padding=padding)
    g, other = arrays  # the array whose gradient is wanted matters only for its shape, so an empty one stands in
    wants_x = equation == "conv2d.grad_input"
    like = (layer.batch, layer.channels, layer.size, layer.size) if wants_x else (layer.outputs, layer.channels, layer.kernel, layer.kernel)
    missing = g.new_empty(like).to(memory_format=library._format)
    x, w = (missing, other) if wants_x else (other, missing)
    found = library._torch.ops.aten.convolution_backward(
        g, x, w, None, [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, [wants_x, not wants_x, False]
    )
    return found[0 if wants_x else 1]


def tell(case: str, rung: str, call: Callable[[], Any]) -> dict[str, Any]:
    """The counterpart of `about.of` for a rung, which is called directly and not through the equation."""
    from minisegnet_kernels import cost

    layer, equation = CASES[case]
    chosen = rungs_of(case)[rung]
    with about.launches() as seen:
        call()
    arguments, options = layer.arguments(equation, False)
    least = cost.of(equation, arguments, **options)
    kernels = {launch.kernel: {"name": launch.kernel, "registers": launch.registers, "shared": launch.shared} for launch in seen}
    lines = about.file_lines(chosen.path) if chosen.path.parent.name == "ladder" else about.lines_of([equation], "cuda")
    return {"costs": [least.operations, least.bytes], "lines": lines, "kernels": list(kernels.values())}


def layout(case: str, rung: str) -> str:
    return "channels last" if _layout(rungs_of(case)[rung], CASES[case][0]) else "rows first"
