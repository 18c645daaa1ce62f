"""The checks of one case: parity with the oracle, equal bits in a second run, gradients.

Every program of every operation undergoes the same checks: ``tests/kernels`` applies them to the CPU programs, ``tests/cuda``
to the GPU programs, and ``tests/kernels/test_sabotage.py`` to programs with planted faults.
"""

import numpy as np
from operations import Case, map_arrays

from minisegnet_kernels import backends
from support.targets import Target


def run(operation, backend: str, case: Case) -> tuple:
    """The outputs of one backend for NumPy arrays."""
    with backends.use(backend):
        return operation(case)


def assert_close(actual, expected, dtype, terms) -> None:
    """Assert |error| ≤ 16 ε √terms · scale, which is equality for terms = 0. A NaN on either side fails."""
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        if e.dtype.kind in "iub":
            np.testing.assert_array_equal(a, e)
            continue
        assert a.dtype == dtype
        bound = 16 * np.finfo(dtype).eps * terms**0.5
        scale = np.abs(e).max(initial=0)
        np.testing.assert_allclose(a, e, rtol=bound, atol=bound * scale, equal_nan=False)


def check_parity(operation, target: Target, case: Case, dtype, against: str = "formula") -> None:
    """Compare the target in `dtype` with the oracle in float64, or with NumPy's program where the oracle would take minutes."""
    case = case.cast(dtype)
    expected = run(operation, against, case.cast("float64"))
    assert_close(target.run(operation, case), expected, dtype, operation.terms(case))


def check_integers(operation, target: Target, case: Case) -> None:
    """For small integers the result equals the oracle's exactly, even in float32."""
    case.arrays = {name: map_arrays(lambda a: np.rint(4 * a) if a.dtype.kind == "f" else a, a) for name, a in case.arrays.items()}
    expected = run(operation, "formula", case)
    for a, e in zip(target.run(operation, case.cast("float32")), expected, strict=True):
        np.testing.assert_array_equal(a, e)


def check_bits(operation, target: Target, case: Case) -> None:
    """A second run gives the same bits."""
    case = case.cast("float32")
    first, second = target.run(operation, case), target.run(operation, case)
    assert [a.tobytes() for a in first] == [a.tobytes() for a in second]


def with_gaps(a: np.ndarray) -> np.ndarray:
    """The same values in every other column of a larger array: read-only and not contiguous."""
    if not a.ndim:
        return a
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), 7, a.dtype)
    wide[..., ::2] = a
    view = wide[..., ::2]
    view.flags.writeable = False
    return view


# --- gradients ----------------------------------------------------------------------------------------


def _moved(case: Case, name: str, direction, step) -> Case:
    return Case(case.arrays | {name: case.arrays[name] + step * direction}, case.options)


def directional(operation, case: Case, g, name: str, direction) -> float:
    """d/dε Σ g · oracle(..., argument + ε·direction, ...) at ε = 0."""
    if operation.analytic:
        (y, *_) = operation.oracle(_moved(case, name, direction, 1e-30j))
        return float((g * y.imag).sum() / 1e-30)
    step = 1e-6
    (above, *_), (below, *_) = (operation.oracle(_moved(case, name, direction, s)) for s in (step, -step))
    return float((g * (above - below)).sum() / (2 * step))


def check_gradients(operation, backend: str, case: Case, seed: int) -> None:
    """All gradients of one case in float64, for a random upstream gradient and random directions."""
    rng = np.random.default_rng(seed)
    with backends.use(backend):
        outputs = operation(case)
        g = rng.normal(size=outputs[0].shape)
        gradients = operation.vjp(case, outputs, g)
    assert set(gradients) == set(operation.differentiable)
    for name, gradient in gradients.items():
        assert gradient.shape == case.arrays[name].shape, name
        assert gradient.dtype == case.arrays[name].dtype, name
        direction = rng.normal(size=gradient.shape)
        expected = directional(operation, case, g, name, direction)
        scale = np.abs(gradient * direction).sum() + 1e-12
        tolerance = 1e-10 if operation.analytic else 1e-6
        assert abs((gradient * direction).sum() - expected) <= tolerance * max(scale, abs(expected)), name
