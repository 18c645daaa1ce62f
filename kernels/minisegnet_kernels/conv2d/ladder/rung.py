"""What a rung of the ladder says about itself (`Rung`), and the convolution that it may serve (`Case`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...backends import BackendError
from ...cuda import Module
from ...layout import is_channels_last
from ..formula import output_size

FOLDER = Path(__file__).parent
Pair = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """What decides which rung computes a convolution or one of its gradients; values play no part.

    Attributes
    ----------
    equation : str
        ``"conv2d.forward"``, ``"conv2d.grad_input"`` or ``"conv2d.grad_weight"``.
    x_shape, w_shape : tuple of int
        (N, C, H, W) and (O, C/G, U, V), whichever equation it is.
    stride, dilation : (int, int)
    padding : ((int, int), (int, int))
        Above and below, left and right.
    groups : int
    dtype : dtype
    channels_last : bool
        Whether every image of the case `lies_channels_last`.
    """

    equation: str
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int
    dtype: np.dtype
    channels_last: bool

    @classmethod
    def of(cls, equation: str, first: Any, second: Any, *, input_size: Any = None, kernel_size: Any = None, **options: Any) -> Case:
        """The case of a call: the two arrays that the equation takes first, and its options."""
        last = lies_channels_last(first)
        if equation == "conv2d.forward":
            x_shape, w_shape = first.shape, second.shape
        elif equation == "conv2d.grad_input":
            x_shape, w_shape = (first.shape[0], second.shape[1] * options["groups"], *input_size), second.shape
        else:
            x_shape, w_shape = second.shape, (first.shape[1], second.shape[1] // options["groups"], *kernel_size)
            last = last and lies_channels_last(second)
        return cls(equation, x_shape, w_shape, **options, dtype=first.dtype, channels_last=last)

    @property
    def channels(self) -> int:
        """Input channels of a group, C/G."""
        return self.w_shape[1]

    @property
    def outputs(self) -> int:
        """Output channels of a group, O/G."""
        return self.w_shape[0] // self.groups

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """(U, V)."""
        return self.w_shape[2:]

    @property
    def taps(self) -> int:
        """U V."""
        return prod(self.kernel_size)

    @cached_property
    def output(self) -> tuple[int, ...]:
        """(P, Q)."""
        axes = zip(self.x_shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple(output_size(*axis) for axis in axes)

    @property
    def width(self) -> int:
        """Channels of the result in a group; of a weight gradient its output channels."""
        return self.channels if self.equation == "conv2d.grad_input" else self.outputs

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "not channels last"
        return (
            f"x {self.x_shape}, w {self.w_shape}, stride {self.stride}, padding {self.padding}, dilation {self.dilation}, "
            f"groups {self.groups}, {self.dtype}, {layout}"
        )


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One rung for one equation: an idea, the cases that it serves, and the program.

    Attributes
    ----------
    number : int
    name : str
        Its kernels are named ``conv2d_<equation>__<name>``, and those of rung 1 ``conv2d_<equation>``.
    title, idea : str
        What it is and, in a sentence, what it adds to the rung before.
    module : Module
        Its ``.cu`` file.
    equation : str
        ``"conv2d.forward"`` (which includes ``conv2d.forward_relu``), ``"conv2d.grad_input"`` or ``"conv2d.grad_weight"``.
    needs : str
        The cases that it serves, in words.
    serves : callable
        The same in code: ``serves(case)``.
    program : callable
        The host side. It takes what the equation's oracle takes; a forward rung takes ``relu`` as well. It does not check.
    capability : (int, int)
        The least compute capability of a GPU that has the instructions: (8, 0) for asynchronous copies and TF32.
    tf32 : bool
        Whether products are rounded to TF32, so that ``allow_tf32`` must be on.
    side : bool
        Whether it is a side branch of the rung with the same number: no other rung is built on it.
    best_last : bool
        Whether it serves any layout and is fastest with channels last.
    with_statistics : callable, optional
        A forward program whose epilogue also computes the batch-norm statistics of y. It takes what the oracle takes and
        returns y and its slabs: means and sums of squared deviations, both (O, slabs), and how many pixels a slab has.
    """

    number: int
    name: str
    title: str
    idea: str
    module: Module
    equation: str
    needs: str
    serves: Callable[[Case], bool]
    program: Callable[..., Any]
    capability: Pair = (0, 0)
    tf32: bool = False
    side: bool = False
    best_last: bool = False
    with_statistics: Callable[..., Any] | None = None

    @property
    def path(self) -> Path:
        """The ``.cu`` file."""
        return self.module.path

    @property
    def label(self) -> str:
        """``"4"``, or ``"4s"`` for a side rung."""
        return f"{self.number}{'s' if self.side else ''}"

    def run(self, *arrays: Any, **options: Any) -> Any:
        """Run this rung on a case. Arguments are those of the equation's oracle, and ``relu=True`` for a forward rung.

        Raises
        ------
        BackendError
            If the rung does not serve the case.
        """
        self.check(Case.of(self.equation, *arrays[:2], **{name: value for name, value in options.items() if name != "relu"}))
        return self.program(*arrays, **options)

    def check(self, case: Case) -> None:
        """Raise `BackendError` if the rung does not serve a case."""
        if not self.serves(case):
            raise BackendError(f"{self.equation}: rung {self.label} ({self.name}) serves {self.needs}; this case has {case}")


def lies_channels_last(a: Any) -> bool:
    """Whether an image lies channels last at a multiple of 16 bytes, so that four channels can be copied as one piece."""
    return is_channels_last(a) and _is_aligned(a)


def rows_of_weights(w: Any) -> Any:
    """(O, C, U, V) that lies in memory as (O, U, V, C) at a multiple of 16 bytes; a copy unless it lies so already.

    Only weights are ever rearranged: they are small beside the images.
    """
    rows = w.transpose(0, 2, 3, 1)
    return (rows if rows.flags.c_contiguous and _is_aligned(rows) else rows.copy()).transpose(0, 3, 1, 2)


def _is_aligned(a: Any) -> bool:
    address = a.data.ptr if hasattr(a, "__cuda_array_interface__") else a.ctypes.data
    return address % 16 == 0


def is_float32(case: Case) -> bool:
    return case.dtype == np.float32


def is_float(case: Case) -> bool:
    return case.dtype in (np.float32, np.float64)
