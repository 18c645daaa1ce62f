"""Rows of the table for the steps of the optimisers, which update lists of arrays in place."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import optimiser

from . import Case, Operation, distinct, map_arrays

_RATES = {"lr": st.sampled_from([0.01, 0.1]), "weight_decay": st.sampled_from([0.0, 0.05])}
_DECAY = st.floats(0.5, 0.95)
_SGD = st.one_of(
    st.fixed_dictionaries(
        _RATES | {"momentum": st.just(0.0), "dampening": st.just(0.0), "nesterov": st.just(False), "first": st.booleans()}
    ),
    st.fixed_dictionaries(_RATES | {"momentum": _DECAY, "dampening": st.just(0.0), "nesterov": st.just(True), "first": st.booleans()}),
    st.fixed_dictionaries(
        _RATES | {"momentum": _DECAY, "dampening": st.sampled_from([0.0, 0.3]), "nesterov": st.just(False), "first": st.booleans()}
    ),
)
_ADAM = st.fixed_dictionaries(
    {"step": st.integers(1, 1000)}
    | _RATES
    | {"beta1": _DECAY, "beta2": st.floats(0.9, 0.999), "eps": st.sampled_from([1e-8, 1e-3]), "decoupled": st.booleans()}
)
_RMSPROP = st.fixed_dictionaries(
    _RATES
    | {"alpha": _DECAY, "eps": st.sampled_from([1e-8, 1e-3]), "momentum": st.sampled_from([0.0, 0.5, 0.9]), "centered": st.booleans()}
)


@st.composite
def _drawn(draw, names, options, size=4):
    """One array for each name and parameter; a second moment is not negative.

    No array has fewer than five elements: the tolerance is set by the largest, and the one
    element of a small array may be a sum that cancels.
    """
    shape = st.tuples(st.integers(1, size), st.integers(1, size), st.integers(5, 5 + size)).flatmap(
        lambda s: st.sampled_from([s, s[1:], s[2:]])
    )
    shapes = draw(st.lists(shape, min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = {name: [distinct(rng, shape) for shape in shapes] for name in names}
    if "m" in names:
        arrays["v"] = [np.abs(v) for v in arrays["v"]]
    if "b" in names:  # v − m² is a variance: clear of zero, where rounding would decide
        arrays["v"] = [v + m * m + 0.1 for v, m in zip(arrays["v"], arrays["m"], strict=True)]
    return Case(arrays, draw(options))


def _stepped(function):
    """Call it on copies of the arguments; the results are the contents of the copies afterwards."""

    def run(case):
        lists = [map_arrays(np.copy, arrays) for arrays in case.arrays.values()]
        assert function(*lists, **case.options) is None
        return tuple(array for arrays in lists for array in arrays)

    return run


def _row(function, names, options):
    return Operation(
        f"optimiser.{function.__name__}",
        _drawn(names, options),
        large=_drawn(names, options, size=12),
        terms=lambda case: 8,
        run=_stepped(function),
    )


ROWS = [
    _row(optimiser.sgd, ("theta", "g", "v"), _SGD),
    _row(optimiser.adam, ("theta", "g", "m", "v"), _ADAM),
    _row(optimiser.rmsprop, ("theta", "g", "v", "m", "b"), _RMSPROP),
]
