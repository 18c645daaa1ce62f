"""Numba's CUDA, and what is said where it is not installed."""

import importlib.util
import sys
from pathlib import Path

import numba
import pytest

import minisegnet_kernels


def test_without_numba_cuda_the_import_says_how_to_get_it(monkeypatch):
    monkeypatch.delattr(numba, "cuda", raising=False)
    monkeypatch.setitem(sys.modules, "numba.cuda", None)
    path = Path(minisegnet_kernels.__file__).parent / "cuda" / "jit.py"
    spec = importlib.util.spec_from_file_location("minisegnet_kernels.cuda.jit_again", path)
    with pytest.raises(ImportError, match=r"Numba's CUDA is not installed: .*numba-cuda>=0\.30,<0\.31"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
