"""What a rung of the ladder says about itself, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...backends import BackendError
from ...layout import is_channels_last

FOLDER = Path(__file__).parent


class Serves(Protocol):
    """Whether a rung serves a case; the shapes are those of x and w, whichever equation it is."""

    def __call__(
        self, x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any], dtype: Any, channels_last: bool = False
    ) -> bool: ...


@dataclass(frozen=True)
class Rung:
    """One rung: an idea, the equation that it computes, the cases that it serves.

    Attributes
    ----------
    number : int
    name : str
        Its kernels are called ``conv2d_<equation>__<name>``.
    title, idea : str
        What it is, and in a sentence what it adds to the rung before.
    path : Path
        The ``.cu`` file.
    equation : str
        ``"conv2d.forward"`` (which includes ``conv2d.forward_relu``), ``"conv2d.grad_input"`` or ``"conv2d.grad_weight"``.
    needs : str
        The cases that it serves, in words.
    serves : callable
        The same in code: ``serves(x_shape, w_shape, options, dtype, channels_last)`` with the options of the front
        door's views (stride, padding, dilation, groups); ``channels_last`` says how the images lie (`lies_channels_last`).
    program : callable
        The host side. It takes what the oracle of the equation takes, and of a forward rung also ``relu``. It does not check.
    expected : (float, float)
        TFLOP/s on an H100 SXM at 128 to 256 channels: an estimate, not a measurement.
    tf32 : bool
        Whether products are rounded to TF32, so that ``allow_tf32`` must be on.
    side : bool
        Whether it stands beside the rung of its number, and no other is built on it.
    best_last : bool
        Whether it serves any layout, and is fastest where the channels lie last.
    with_statistics : callable, optional
        Of a forward rung whose epilogue also makes what batch normalisation asks of y. It takes what the oracle takes and
        returns y and its slabs: means and sums of squared deviations, (O, slabs) both, and how many pixels a slab has.
    """

    number: int
    name: str
    title: str
    idea: str
    path: Path
    equation: str
    needs: str
    serves: Serves
    program: Callable[..., Any]
    expected: tuple[float, float]
    tf32: bool = False
    side: bool = False
    best_last: bool = False
    with_statistics: Callable[..., Any] | None = None

    @property
    def label(self) -> str:
        """``"4"``, or ``"4s"`` of a side rung."""
        return f"{self.number}{'s' if self.side else ''}"

    def run(self, *arrays: Any, **options: Any) -> Any:
        """Run this rung on a case; arguments as of the equation's oracle (and ``relu=True`` for a forward rung).

        Raises
        ------
        BackendError
            If the rung does not serve the case.
        """
        x_shape, w_shape, images = _case(self.equation, arrays, options)
        geometry = {name: options[name] for name in ("stride", "padding", "dilation", "groups")}
        self.check(x_shape, w_shape, geometry, arrays[0].dtype, all(lies_channels_last(a) for a in images))
        return self.program(*arrays, **options)

    def check(self, x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any], dtype: Any, channels_last: bool) -> None:
        """Raise `BackendError` if the rung does not serve a case; arguments as of `serves`."""
        if not self.serves(x_shape, w_shape, options, dtype, channels_last):
            raise BackendError(
                f"{self.equation}: rung {self.label} ({self.name}) serves {self.needs}; this case has x {x_shape}, w {w_shape}, "
                f"{options}, {dtype}, {'channels last' if channels_last else 'not channels last'}"
            )


def _case(equation: str, arrays: tuple, options: dict) -> tuple[tuple, tuple, tuple]:
    """Shapes of x and w, and the images among the arrays."""
    first, second = arrays[:2]
    if equation == "conv2d.forward":
        return first.shape, second.shape, (first,)
    if equation == "conv2d.grad_input":
        return (first.shape[0], second.shape[1] * options["groups"], *options["input_size"]), second.shape, (first,)
    return second.shape, (first.shape[1], second.shape[1] // options["groups"], *options["kernel_size"]), (first, second)


def lies_channels_last(a: Any) -> bool:
    """Whether four channels of an image can be moved as 16 bytes, if their number is a multiple of four."""
    return is_channels_last(a) and _is_aligned(a)


def rows_of_weights(w: Any) -> Any:
    """(O, C, U, V) that lies as (O, U, V, C), in whole 16 bytes; a copy, unless it lies so already.

    Only weights are ever rearranged: they are small beside the images.
    """
    rows = w.transpose(0, 2, 3, 1)
    return (rows if rows.flags.c_contiguous and _is_aligned(rows) else rows.copy()).transpose(0, 3, 1, 2)


def _is_aligned(a: Any) -> bool:
    address = a.data.ptr if hasattr(a, "__cuda_array_interface__") else a.ctypes.data
    return address % 16 == 0


def is_float(dtype: Any) -> bool:
    return np.dtype(dtype) in (np.float32, np.float64)
