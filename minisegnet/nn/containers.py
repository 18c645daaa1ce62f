"""Modules made of modules, and the one place where neighbours are fused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

from minisegnet_kernels import backends

from .. import functional as F
from .activation import Identity, ReLU
from .convolution import Conv2d
from .module import Module
from .normalisation import BatchNorm2d


def _convolved_and_normalised(normalise: Callable) -> Callable:
    """The statistics of the batch come with the convolution, so that the normalisation is one pass over its output."""

    def run(x: Any, conv: Conv2d, norm: BatchNorm2d, *relu: ReLU) -> Any:
        y, mean, variance = conv.run(F.conv2d_statistics, x)
        return norm.run(partial(normalise, batch_mean=mean, batch_var=variance), y)

    return run


# Neighbours in a Sequential that take fewer passes over memory together. The result is that of one
# after the other, up to rounding. A hook on one of them, a subclass, or a `forward` of its own keeps them apart.
FUSED: dict[tuple[type, ...], Callable] = {
    (Conv2d, BatchNorm2d, ReLU): _convolved_and_normalised(F.batch_norm_relu),
    (Conv2d, BatchNorm2d): _convolved_and_normalised(F.batch_norm),
    (Conv2d, ReLU): lambda x, conv, relu: conv.run(F.conv2d_relu, x),
    (BatchNorm2d, ReLU): lambda x, norm, relu: norm.run(F.batch_norm_relu, x),
}


def chain(x: Any, *modules: Module) -> Any:
    """Apply modules one after another; neighbours that stand in `FUSED` are computed in one pass.

    A `Sequential` does this to all it holds. A module that keeps its layers under names of its own,
    as the blocks of a ResNet do, calls it with those that follow each other. An `Identity` is no neighbour.
    """
    waiting = [module for module in modules if type(module) is not Identity or module._hooks()]
    while waiting:
        together = next((waiting[:count] for count in (3, 2) if _are_fused(waiting[:count], x)), waiting[:1])
        first = together[0]
        x = first(x) if len(together) == 1 else first._located(FUSED[_kinds(together)], x, *together)
        waiting = waiting[len(together) :]
    return x


def _kinds(modules: Sequence[Module]) -> tuple[type, ...]:
    return tuple(map(type, modules))


def _are_fused(modules: Sequence[Any], x: Any) -> bool:
    """A convolution and its normalisation only where the statistics are the batch's, and on the GPU's program.

    Those for a CPU compute the statistics of a channel, and normalise it while it is still in the cache.
    """
    if _kinds(modules) not in FUSED or any(module._hooks() or "forward" in vars(module) for module in modules):
        return False
    return _kinds(modules[:2]) != (Conv2d, BatchNorm2d) or (modules[1].uses_batch and backends.current(x.device) == "cuda")


class _Numbered(Module):
    """Modules in an order; their names are mostly "0", "1", ..."""

    def _named(self) -> list[tuple[str, Module]]:
        return self._own(Module)

    def __len__(self) -> int:
        return len(self._named())

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self._named()])

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._part(self._named()[index])
        return self._named()[self._checked(index)][1]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._named()[self._checked(index)][0], module)

    def append(self, module: Module) -> Any:
        """Add a module at the end, under the first number from its length on that no module has; returns the container."""
        name = next(name for name in map(str, count(len(self))) if not hasattr(self, name))
        setattr(self, name, module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        for module in modules:
            self.append(module)
        return self

    def _part(self, named: list[tuple[str, Module]]) -> Any:
        raise NotImplementedError

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} modules; there is no number {index}")
        return index


class Sequential(_Numbered):
    """One module after another.

    Neighbours that stand in `FUSED` are computed in one pass.

    Parameters
    ----------
    *modules : Module, or one mapping of names to modules
    """

    def __init__(self, *modules: Any):
        named = modules[0].items() if len(modules) == 1 and isinstance(modules[0], Mapping) else enumerate(modules)
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules, and number {name} is of type {type(module).__name__}")
            setattr(self, str(name), module)

    def forward(self, x: Any) -> Any:
        return chain(x, *self)

    def _part(self, named: list[tuple[str, Module]]) -> Sequential:
        return Sequential(dict(named))


class ModuleList(_Numbered):
    """A list whose modules are found by `parameters` and the like. It has no `forward`."""

    def __init__(self, modules: Iterable[Module] = ()):
        self.extend(modules)

    def _part(self, named: list[tuple[str, Module]]) -> ModuleList:
        return ModuleList([module for _, module in named])
