"""Checks of arguments, once, before any program runs; each message says what was expected, what was given and what to try."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from operator import index
from typing import Any, NoReturn

import numpy as np

FLOATS = ("float32", "float64")


def fail(operation: str, problem: str, *, expected: str, actual: str, hint: str = "") -> NoReturn:
    """Raise a ValueError in the one form that all operations use."""
    lines = [f"{operation}: {problem}", f"  Expected: {expected}", f"  Actual:   {actual}"]
    if hint:
        lines.append(f"  Try:      {hint}")
    raise ValueError("\n".join(lines))


def shape(axes: str, array: Any) -> str:
    """``shape("N C H W", x)`` → ``"(N, C, H, W) = (1, 3, 8, 8)"``."""
    return f"({axes.replace(' ', ', ')}) = {tuple(array.shape)}"


def rank(operation: str, name: str, array: Any, axes: str) -> None:
    """Check that an array has one axis for each letter of `axes`, such as ``"N C H W"``."""
    if not hasattr(array, "ndim"):
        fail(
            operation,
            f"{name} is not an array",
            expected=f"an array with axes ({axes.replace(' ', ', ')})",
            actual=f"{type(array).__name__}",
            hint="ms.tensor(...) or np.asarray(...)",
        )
    if array.ndim != len(axes.split()):
        fail(
            operation,
            f"{name} has {array.ndim} axes",
            expected=f"{name} with axes ({axes.replace(' ', ', ')})",
            actual=f"{name}.shape = {tuple(array.shape)}",
            hint=f"{name}[None] adds a batch axis" if array.ndim == len(axes.split()) - 1 else "",
        )


_FLOAT_DTYPES = tuple(map(np.dtype, FLOATS))


def floats(operation: str, **arrays: Any) -> np.dtype:
    """Check that all arrays have the same dtype, float32 or float64, and return it; None is skipped."""
    dtypes = {a.dtype for a in arrays.values() if a is not None}
    if len(dtypes) == 1 and (dtype := dtypes.pop()) in _FLOAT_DTYPES:  # the right case makes no text: this runs before every launch
        return dtype
    found = {name: str(a.dtype) for name, a in arrays.items() if a is not None}
    actual = ", ".join(f"{name}: {dtype}" for name, dtype in found.items())
    if not set(found.values()) <= set(FLOATS):
        fail(operation, "there is no kernel for this dtype", expected="float32 or float64", actual=actual, hint="x.astype('float32')")
    if len(set(found.values())) > 1:
        fail(
            operation,
            "the dtypes differ",
            expected="one dtype for all floating-point arguments",
            actual=actual,
            hint="convert one of them with .astype(...)",
        )
    return np.dtype(next(iter(found.values())))


def whole(operation: str, name: str, value: Any) -> int:
    """An int of 64 bits. A number such as 1.7, or a text, would otherwise be cut to another one."""
    if hasattr(value, "__index__") and not isinstance(value, bool) and -(2**63) <= index(value) < 2**63:
        return index(value)
    fail(operation, f"{name} does not fit", expected=f"{name}: an int of 64 bits", actual=f"{name} = {value!r}")


def pair(operation: str, name: str, value: Any, *, least: int) -> tuple[int, int]:
    """An int (also alone in a sequence) or a pair of ints, each at least ``least``, as a pair."""
    if type(value) is int and least <= value < 2**31:  # the usual cases are fast: this runs several times before every launch
        return value, value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and least <= min(value) <= max(value) < 2**31:
        return value
    values = (value, value) if np.isscalar(value) else tuple(value) if isinstance(value, Sequence) else None
    if values is not None and len(values) == 1:
        values *= 2
    if (
        values is None
        or len(values) != 2
        or any(isinstance(v, bool) or not isinstance(v, Real) or v % 1 != 0 or v < least or not v < 2**31 for v in values)
    ):
        fail(operation, f"{name} does not fit", expected=f"{name}: an int ≥ {least}, or two (rows, columns)", actual=f"{name} = {value!r}")
    return int(values[0]), int(values[1])
