"""Label maps and class names as the metrics take them."""

from __future__ import annotations

from typing import Any

import numpy as np


def label_map(what: str, value: Any) -> np.ndarray:
    """An integer NumPy array from an array or a Tensor, on the CPU or the GPU."""
    value = getattr(value, "array", value)  # of a Tensor
    array = value.get() if hasattr(value, "__cuda_array_interface__") else np.asarray(value)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{what} must contain integer labels, not {array.dtype}; take the argmax of scores over the classes first")
    return array


def label_maps(target: Any, prediction: Any) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction as integer arrays of one shape.

    Raises
    ------
    ValueError
        If a dtype is not an integer or the shapes differ; names both.
    """
    target, prediction = label_map("target", target), label_map("prediction", prediction)
    if target.shape != prediction.shape:
        raise ValueError(
            f"target and prediction must have the same shape, got {target.shape} and {prediction.shape}; "
            "take the argmax of scores over the classes first"
        )
    return target, prediction


def check_range(what: str, labels: np.ndarray, num_classes: int, also: str = "") -> None:
    """Raise ValueError if a label is not a class; names the label."""
    stray = labels[(labels < 0) | (labels >= num_classes)]
    if stray.size:
        raise ValueError(
            f"{what} contains the label {stray[0]} ({stray.size} pixels out of range): the classes are 0 to {num_classes - 1}{also}"
        )


def class_names(owner: str, num_classes: int, classes: Any) -> tuple[str, ...]:
    """The names of the classes, or "class 0", "class 1", ...

    Raises
    ------
    ValueError
        If there are not as many names as classes, or there is no class.
    """
    if num_classes < 1:
        raise ValueError(f"{owner}: num_classes must be positive, not {num_classes}")
    if classes is None:
        return tuple(f"class {k}" for k in range(num_classes))
    if len(classes) != num_classes:
        raise ValueError(f"{owner}: {len(classes)} names for {num_classes} classes")
    return tuple(classes)


def plain(value: float) -> float | None:
    """A number for JSON: NaN and infinity, which JSON lacks, become None."""
    return float(value) if np.isfinite(value) else None
