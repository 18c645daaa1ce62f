"""Modules: functions that own parameters.

A module is an ordinary object whose attributes are parameters, buffers and other modules.
Nothing is registered behind the reader's back: `Module` finds them by looking at its own
attributes, in the order in which they were set. The path of attributes is the name,
``down1.maxpool_conv.1.double_conv.0.weight``, and the names are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple, Self

import numpy as np

from ..tensor import Tensor, no_grad
from .parameter import Parameter


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` did not find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class RemovableHandle:
    """What `Module.register_forward_hook` returns: ``remove()`` takes the hook away."""

    _serials = count()

    def __init__(self, hooks: dict[int, Callable], hook: Callable):
        self._hooks, self._key = hooks, next(self._serials)
        hooks[self._key] = hook

    def remove(self) -> None:
        self._hooks.pop(self._key, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class Module:
    """Base of all layers and networks; the counterpart of ``torch.nn.Module``.

    Set parameters, buffers and other modules as attributes in ``__init__`` and write
    ``forward``. Call the module, not ``forward``: the call runs the hooks, and completes
    the message of a shape error with the path of the module in which it arose.

    Attributes
    ----------
    training : bool
        Switched by `train` and `eval`; batch normalisation and dropout look at it.
    """

    training: bool = True
    _buffers: Mapping[str, bool] = {}  # name -> whether it belongs to the state_dict

    def forward(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **options: Any) -> Any:
        output = self._located(self.forward, *args, **options)
        for hook in list(self._forward_hooks.values()):
            replaced = hook(self, args, output)
            output = output if replaced is None else replaced
        return output

    def _located(self, function: Callable, *args: Any, **options: Any) -> Any:
        """Call; a ValueError on its way up learns in which module it arose."""
        try:
            return function(*args, **options)
        except ValueError as error:
            _say_where(error, self)
            raise

    # --- what it holds -----------------------------------------------------------------

    def _own(self, kind: type) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if isinstance(value, kind)]

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Set an attribute that moves and is saved with the module, but is not learnt.

        Parameters
        ----------
        name : str
        value : Tensor or None
        persistent : bool
            Whether it belongs to the `state_dict`.
        """
        self._buffers = {**self._buffers, name: persistent}
        setattr(self, name, value)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        setattr(self, name, value)

    def add_module(self, name: str, module: Module | None) -> None:
        setattr(self, name, module)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one, each once."""
        seen: set[Module] = set()
        for name, module in self._own(Module):
            if module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True, memo: set | None = None) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their paths; parents come first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._own(Module):
            yield from module.named_modules(_join(prefix, name), remove_duplicate, memo)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def get_submodule(self, target: str) -> Module:
        """The module at a path (``"down1.maxpool_conv.1"``).

        Raises
        ------
        AttributeError
            If there is none; the message lists the names at the place where the path ends.
        """
        module = self
        for name in target.split(".") if target else ():
            own = dict(module._own(Module))
            if name not in own:
                raise AttributeError(
                    f"no module {target!r}: {type(module).__name__} has no {name!r}, it has {', '.join(own) or 'no modules'}"
                )
            module = own[name]
        return module

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths; a shared one comes once, under its first name."""
        return _once(self._tensors(prefix, recurse, lambda module: module._own(Parameter)))

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        return _once(self._tensors(prefix, recurse, lambda module: module._own_buffers()))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _own_buffers(self, persistent: bool = False) -> list[tuple[str, Tensor]]:
        named = [(name, getattr(self, name)) for name, kept in self._buffers.items() if kept or not persistent]
        return [(name, value) for name, value in named if value is not None]

    def _tensors(self, prefix: str, recurse: bool, of: Callable[[Module], list]) -> Iterator[tuple[str, Any]]:
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            yield from ((_join(path, name), value) for name, value in of(module))

    # --- the state ---------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers under every name that they have, in PyTorch's order."""
        modules = self.named_modules(remove_duplicate=False)
        return {_join(path, name): value for path, m in modules for name, value in [*m._own(Parameter), *m._own_buffers(persistent=True)]}

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and persistent buffers by name; they share memory with the module."""
        return {name: value.detach() for name, value in self._state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values from a `state_dict` into this module.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            From this library or from PyTorch. Values take the module's dtype and device.
        strict : bool
            Whether missing and unexpected keys are errors. A wrong shape always is.

        Returns
        -------
        IncompatibleKeys
            ``(missing_keys, unexpected_keys)``

        Raises
        ------
        RuntimeError
            Lists every key that is missing, unexpected or of another shape. Nothing has been
            changed then.
        """
        own = self._state()
        # PyTorch 0.4 and older saved no counter of batches: it may be missing.
        missing = [name for name in own if name not in state_dict and not name.endswith("num_batches_tracked")]
        unexpected = [name for name in state_dict if name not in own]
        shared = [name for name in own if name in state_dict]
        wrong = [f"{n}: expected {own[n].shape}, got {s}" for n in shared if (s := tuple(np.shape(state_dict[n]))) != own[n].shape]

        problems = [("missing keys", missing), ("unexpected keys", unexpected)] if strict else []
        report = [f"  {len(names)} {title}: {_some(names)}" for title, names in [*problems, ("wrong shapes", wrong)] if names]
        if report:
            if missing and unexpected and all(name.partition(".")[2] in own for name in unexpected):
                report.append(f"  Try: drop the prefix {unexpected[0].partition('.')[0] + '.'!r} of the keys")
            raise RuntimeError("\n".join([f"the state_dict does not fit {type(self).__name__}:", *report]))

        with no_grad():
            for name in shared:
                own[name].copy_(state_dict[name])
        return IncompatibleKeys(missing, unexpected)

    # --- changes to the whole ----------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Training mode (or, with False, evaluation mode) for this module and all below it."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or fill them with zeros)."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call a function on every module below this one, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, target: Any = None, *, device: str | None = None, dtype: Any = None, memory_format: str | None = None) -> Self:
        """Move and convert parameters and buffers: ``.to("cuda")``, ``.to("float64")``, ``.to(memory_format="channels_last")``.

        Integer buffers keep their dtype, and only what has four axes has a layout. Move a module before an
        optimiser takes its first step.
        """
        if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
            device = target
        elif target is not None:
            dtype = target
        if dtype is not None and np.dtype(dtype).kind != "f":
            raise TypeError(f"a module can be converted to a floating-point dtype only, not to {np.dtype(dtype)}")
        for value in [*self.parameters(), *self.buffers()]:
            for part in [value] if value.grad is None else [value, value.grad]:
                part.data = part.detach().to(device, dtype=dtype if part.dtype.kind == "f" else None)
        return self

    def cpu(self) -> Self:
        return self.to("cpu")

    def cuda(self) -> Self:
        return self.to("cuda")

    def float(self) -> Self:
        return self.to(np.float32)

    def double(self) -> Self:
        return self.to(np.float64)

    # --- inspection --------------------------------------------------------------------

    @property
    def _forward_hooks(self) -> dict[int, Callable]:
        return vars(self).setdefault("_hooks", {})

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each `forward`; what it returns replaces the output."""
        return RemovableHandle(self._forward_hooks, hook)

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's ``repr``."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}" for name, module in self._own(Module)]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        body = "\n".join([self.extra_repr(), *lines] if self.extra_repr() else lines)
        return f"{type(self).__name__}(\n  " + body.replace("\n", "\n  ") + "\n)"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _once(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _some(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def _say_where(error: ValueError, module: Module) -> None:
    """Write the path to the innermost module into the message, from this module down."""
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    innermost, message = vars(error).setdefault("arose_in", (module, error.args[0]))
    path = next((name for name, m in module.named_modules() if m is innermost), None)
    if path is not None:
        where = f"{type(module).__name__}.{path} ({type(innermost).__name__})" if path else type(module).__name__
        error.args = (f"{message}\n  In:       {where}",)
