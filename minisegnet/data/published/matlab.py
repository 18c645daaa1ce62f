"""MATLAB files with labels, read by SciPy (extra ``voc``): of the Semantic Boundaries Dataset, and masks of any folder."""

from __future__ import annotations

import os

import numpy as np

from ..base import DataError


def check_scipy(path: str | os.PathLike) -> None:
    """Raise `DataError` if the MATLAB files in a folder cannot be read because SciPy is not installed."""
    try:
        import scipy.io  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path}: these labels are MATLAB files, which SciPy reads: pip install scipy. "
            "The same labels as PNGs, in SegmentationClassAug/, are read without it"
        ) from error


def read_field(path: str | os.PathLike, variable: str, field: str) -> np.ndarray:
    """A field of a structure in a ``.mat`` file.

    Parameters
    ----------
    path : path
    variable, field : str
        ``variable.field`` in MATLAB.

    Returns
    -------
    array, (rows, columns)

    Raises
    ------
    DataError
        If the file is not a MATLAB file of version 5 to 7, is damaged, or has no such field.
    """
    found = _variables(path, [variable]).get(variable)
    if found is None or found.dtype.names is None or field not in found.dtype.names or found.size != 1:
        raise DataError(f"{path}: there is no {variable}.{field} in it")
    return found[field].item()


def label_map(path: str | os.PathLike) -> np.ndarray:
    """The one label map in a ``.mat`` file, (rows, columns): a variable, or a field of a structure; the one called Segmentation if there are several.

    Raises
    ------
    DataError
        If SciPy is missing, the file cannot be read, or it is not clear which array is meant; lists the arrays.
    """
    check_scipy(path)
    arrays: dict[str, np.ndarray] = {}
    for name, value in _variables(path).items():
        fields = {f"{name}.{f}": value[f].item() for f in value.dtype.names} if value.dtype.names and value.size == 1 else {name: value}
        arrays |= {n: a for n, a in fields.items() if isinstance(a, np.ndarray) and a.ndim == 2 and a.size > 1 and a.dtype.kind in "buif"}
    chosen = [n for n in arrays if n.rpartition(".")[2].lower() == "segmentation"] or list(arrays)
    if len(chosen) != 1:
        listed = ", ".join(f"{n} {a.shape}" for n, a in arrays.items()) or "none"
        raise DataError(
            f"{path}: expected one label map, or one that is called Segmentation; the arrays of numbers in the file are {listed}"
        )
    return arrays[chosen[0]]


def _variables(path: str | os.PathLike, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """The variables in a file, by name."""
    from scipy.io import loadmat

    try:
        return {name: value for name, value in loadmat(path, variable_names=names).items() if not name.startswith("__")}
    except FileNotFoundError:
        raise
    except NotImplementedError as error:
        raise DataError(
            f"{path}: a MATLAB file of version 7.3; save it again in MATLAB with save(name, '-struct', ..., '-v7'), or as PNG"
        ) from error
    except Exception as error:  # a damaged file makes SciPy raise errors of many types
        raise DataError(f"{path}: this is not a MATLAB file of version 5 to 7, or it is damaged or cut off ({error})") from error
