"""Modules made of modules, and the one place where neighbours are fused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from minisegnet_kernels import backends

from .. import functional as F
from .activation import Identity, ReLU
from .convolution import Conv2d
from .module import Module
from .normalisation import BatchNorm2d


def _convolved_and_normalised(x: Any, conv: Conv2d, norm: BatchNorm2d, *relu: ReLU) -> Any:
    """The convolution also returns the batch's statistics, so that the normalisation is one pass over its output."""
    y, *statistics = conv.run(F.conv2d_statistics, x)
    return norm.run(y, bool(relu), statistics)


# Neighbours in a Sequential that are computed together, in fewer passes over memory, with the same result up to rounding.
# They are computed one after the other if one of them has a hook or a replaced `forward`, or is of a subclass.
FUSED: dict[tuple[type, ...], Callable] = {
    (Conv2d, BatchNorm2d, ReLU): _convolved_and_normalised,
    (Conv2d, BatchNorm2d): _convolved_and_normalised,
    (Conv2d, ReLU): lambda x, conv, relu: conv.run(F.conv2d_relu, x),
    (BatchNorm2d, ReLU): lambda x, norm, relu: norm.run(x, relu=True),
}


def chain(x: Any, *modules: Module) -> Any:
    """Apply modules one after another; neighbours that are listed in `FUSED` are computed in one pass.

    A `Sequential` calls it with all its modules. A module that keeps its layers under names of its own, such as a block
    of a ResNet, calls it with the layers that follow each other. An `Identity` is skipped, so its neighbours can fuse.
    """
    waiting = [module for module in modules if type(module) is not Identity or _is_observed(module)]
    while waiting:
        together = next((waiting[:count] for count in (3, 2) if _are_fused(waiting[:count], x)), waiting[:1])
        first = together[0]
        x = first(x) if len(together) == 1 else first._located(FUSED[_kinds(together)], x, *together)
        waiting = waiting[len(together) :]
    return x


def _kinds(modules: Sequence[Module]) -> tuple[type, ...]:
    return tuple(map(type, modules))


def _is_observed(module: Module) -> bool:
    """Whether a call of the module does more than its class says: it has a hook, or a `forward` of its own."""
    return bool(module._hooks()) or "forward" in vars(module)


def _are_fused(modules: Sequence[Any], x: Any) -> bool:
    """Whether neighbours are computed in one pass.

    A convolution and its normalisation are fused only in the program for a GPU, with the batch's statistics. The
    program for a CPU is faster as it is: it normalises a channel while the channel is still in the cache.
    """
    if _kinds(modules) not in FUSED or any(map(_is_observed, modules)):
        return False
    return _kinds(modules[:2]) != (Conv2d, BatchNorm2d) or (modules[1].uses_batch and backends.current(x.device) == "cuda")


class _Numbered(Module):
    """Modules in an order; their names are usually "0", "1", ..."""

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
    """A list of modules that are part of the module which holds it, with their parameters. It has no `forward`."""

    def __init__(self, modules: Iterable[Module] = ()):
        self.extend(modules)

    def _part(self, named: list[tuple[str, Module]]) -> ModuleList:
        return ModuleList([module for _, module in named])
