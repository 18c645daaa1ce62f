"""The one table of operations that the tests are parametrised with.

A row says how to draw inputs of one equation and which properties it has. Adding a row
adds its tests: parity of every backend with the oracle, gradients against
differentiation of the oracle, exactness, immutability, non-contiguous inputs.

Each module of this package is named like its operation and has the rows in ``ROWS``. ``RARE``, if a module has it, contains
rows for the mutation test alone: cases that a kernel must get right and that the cases of the table seldom or never reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from hypothesis.strategies import SearchStrategy

from minisegnet_kernels import backends, registry


@dataclass
class Case:
    """One drawn input: arrays by argument name, in the order of the signature, and options
    in the form that the views take, so that front door and oracle both accept them."""

    arrays: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def cast(self, dtype) -> Case:
        """The floating-point arrays in another dtype."""
        return Case(
            {name: map_arrays(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, a) for name, a in self.arrays.items()}, self.options
        )


@dataclass(frozen=True)
class Operation:
    """A row of the table.

    Attributes
    ----------
    equation : str
    cases : strategy of `Case`
        Small: the oracle takes about a microsecond a term. Float arrays are float64.
    large : strategy of `Case`, optional
        Shapes that cross the edges of tiles and blocks; compared with ``reference.py`` in float64.
    differentiable : tuple of str
        Arguments with a gradient. Empty for equations that are themselves gradients.
    vjp : callable (case, outputs, g) -> {argument: gradient}
        The gradients, through the front doors, of ``sum(g * outputs[0])``.
    analytic : bool
        Whether the oracle can be differentiated by a complex step. If not, `cases` must
        keep clear of ties and kinks, and central differences are used.
    terms : callable (case) -> int
        How many products one output adds up; sets the tolerance.
    exact : bool
        Whether small integers must give exact results in float32.
    run : callable (case) -> tuple of arrays, optional
        How to call the front door, if ``front_door(*arrays, **options)`` is not enough.
    expected : callable (case) -> tuple of arrays, optional
        The right results, for rows that NumPy's program cannot compute.
    """

    equation: str
    cases: SearchStrategy[Case]
    large: SearchStrategy[Case] | None = None
    differentiable: tuple[str, ...] = ()
    vjp: Callable[[Case, tuple, np.ndarray], dict[str, np.ndarray]] | None = None
    analytic: bool = True
    terms: Callable[[Case], int] = lambda case: 1
    exact: bool = False
    run: Callable[[Case], tuple] | None = None
    expected: Callable[[Case], tuple] | None = None

    def __call__(self, case: Case) -> tuple:
        """Outputs of the selected backend, always as a tuple. The shapes are compared with those that the equation declares."""
        with backends.calling(_as_declared):
            if self.run:
                return self.run(case)
            operation, _, name = self.equation.partition(".")
            front_door = getattr(import_module(f"minisegnet_kernels.{operation}"), name)
            return as_tuple(front_door(*case.arrays.values(), **case.options))

    def oracle(self, case: Case) -> tuple:
        """Outputs of the literal loops, on any dtype (complex numbers too)."""
        return as_tuple(registry.get(self.equation).oracle(*case.arrays.values(), **case.options))

    def __str__(self) -> str:
        return self.equation


def _as_declared(equation: str, program: Callable, *arrays: Any, **options: Any) -> Any:
    results = program(*arrays, **options)
    actual = [] if results is None else [(a.shape, a.dtype) for a in as_tuple(results)]
    declared = registry.get(equation).results(*arrays, **options)
    assert actual == declared, f"{equation} returns {actual}, and declares {declared}"
    return results


def as_tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def unchecked(equation: str, cases: SearchStrategy[Case], expected: Callable[[Case], tuple], **more: Any) -> Operation:
    """A row whose cases go past the front door, straight to the selected program.

    For values that the front door rejects on a CPU, but does not check on a GPU, where it would have to wait for them.
    NaN is an expected result here: its positions are compared as an additional output.
    """
    program = lambda case: backends.run(equation, *case.arrays.values(), **case.options)
    return Operation(
        equation, cases, run=lambda case: _nans_apart(program(case)), expected=lambda case: _nans_apart(expected(case)), **more
    )


def _nans_apart(outputs: Any) -> tuple:
    return tuple(part for a in as_tuple(outputs) for part in (np.isnan(a), np.where(np.isnan(a), a.dtype.type(0), a)))


def map_arrays(function: Callable, value: Any) -> Any:
    """Apply a function to an array, or to each array of a list; leave the rest alone."""
    if isinstance(value, list):
        return [map_arrays(function, v) for v in value]
    return function(value) if isinstance(value, np.ndarray) else value


def distinct(rng: np.random.Generator, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Values without ties and without zero: far enough apart for central differences."""
    size = int(np.prod(shape))
    values = np.linspace(low, high, size + size % 2) if size else np.zeros(0)
    return rng.permutation(values)[:size].reshape(shape)


_MODULES = [import_module(f"{__name__}.{name}") for name in registry.OPERATIONS]
TABLE: list[Operation] = [row for module in _MODULES for row in module.ROWS]
RARE: list[Operation] = [row for module in _MODULES for row in getattr(module, "RARE", [])]
