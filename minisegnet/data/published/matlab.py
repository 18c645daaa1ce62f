"""The MATLAB files of the Semantic Boundaries Dataset, read by SciPy (extra ``voc``)."""

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
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=[variable]).get(variable)
    except FileNotFoundError:
        raise
    except NotImplementedError as error:
        raise DataError(
            f"{path}: a MATLAB file of version 7.3; save it again in MATLAB with save(name, '-struct', ..., '-v7'), or as PNG"
        ) from error
    except Exception as error:  # a damaged file makes SciPy raise errors of many types
        raise DataError(f"{path}: this is not a MATLAB file of version 5 to 7, or it is damaged or cut off ({error})") from error
    if found is None or found.dtype.names is None or field not in found.dtype.names or found.size != 1:
        raise DataError(f"{path}: there is no {variable}.{field} in it")
    return found[field].item()
