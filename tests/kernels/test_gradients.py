"""Every gradient equation against differentiation of the oracle.

The cotangent g and the direction d are random. A check with ``g = 1`` is blind: with it, a
convolution gradient that is flipped in space passes, and so does a softmax gradient of zero.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE
from support.checks import check_gradients, directional

DIFFERENTIABLE = [o for o in TABLE if o.differentiable]
table = pytest.mark.parametrize("operation", DIFFERENTIABLE, ids=str)
views = pytest.mark.parametrize("backend", ["formula", "numpy", "numba"])


@pytest.mark.quick
@table
@views
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_gradients_equal_differentiation_of_the_oracle(operation, backend, data, seed):
    check_gradients(operation, backend, data.draw(operation.cases), seed)


@table
def test_exhaustive_jacobian_of_one_tiny_case(operation):
    """Every output with respect to every input, one case an operation."""
    from hypothesis import HealthCheck, find, settings

    quiet = settings(database=None, derandomize=True, suppress_health_check=list(HealthCheck), max_examples=2000)
    case = find(operation.cases, lambda c: sum(c.arrays[n].size for n in operation.differentiable) >= 4, settings=quiet)
    outputs = operation(case)
    for name in operation.differentiable:
        jacobian = []
        for k in range(outputs[0].size):
            g = np.zeros(outputs[0].size)
            g[k] = 1
            jacobian.append(operation.vjp(case, outputs, g.reshape(outputs[0].shape))[name].ravel())
        shape = case.arrays[name].shape
        for m in range(int(np.prod(shape))):
            direction = np.zeros(int(np.prod(shape)))
            direction[m] = 1
            for k, row in enumerate(jacobian):
                g = np.zeros(outputs[0].size)
                g[k] = 1
                expected = directional(operation, case, g.reshape(outputs[0].shape), name, direction.reshape(shape))
                assert abs(row[m] - expected) <= 1e-6 * max(1, abs(expected)), (name, k, m)
