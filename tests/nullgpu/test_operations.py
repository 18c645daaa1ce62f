"""Every operation of the table on CuPy arrays: the values if the null GPU computes them; otherwise shape, dtype and layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE, as_tuple
from support.checks import check_parity
from support.targets import Target, few

from minisegnet_kernels import backends

pytestmark = pytest.mark.slow  # a hundred of CuPy's kernels are compiled by the emulator


@pytest.mark.parametrize("operation", TABLE, ids=str)
@pytest.mark.parametrize("backend", ["cuda", "numpy"])
@few(2)
@given(data=st.data())
def test_the_values_are_right(operation, backend, data):
    check_parity(operation, Target(backend, "cuda"), data.draw(operation.cases), "float32")


@pytest.mark.parametrize("operation", TABLE, ids=str)
@few(2)
@given(data=st.data())
def test_numba_cuda_compiles_and_launches_its_kernels(operation, data):
    """Its kernels are compiled and launched, but nothing computes them here, so only shape, dtype and layout of the results are tested."""
    from support.nullgpu import installed

    case = data.draw(operation.cases).cast("float32")
    with backends.use("numpy"):
        expected = as_tuple(operation(case))
    log = installed().log
    log.clear()
    results = Target("numba_cuda", "cuda").run(operation, case)
    assert [(r.shape, r.dtype) for r in results] == [(np.shape(e), np.asarray(e).dtype) for e in expected]
    assert any(not call.computed for call in log) or all(np.size(e) == 0 for e in expected)
