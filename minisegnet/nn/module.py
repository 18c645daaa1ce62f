"""Modules: functions that own parameters.

A module is an ordinary object whose attributes are parameters, buffers and other modules. There is no registry:
`Module` finds them by their types, `Parameter`, `Buffer` and `Module`, in the order in which they were set. The path
of attributes is the name, ``down1.maxpool_conv.1.double_conv.0.weight``, and the names are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from minisegnet_kernels.modes import Mode

from ..functional.shape import LAYOUTS
from ..hooks import RemovableHandle
from ..tensor import Tensor, no_grad
from ..values import device_and_dtype
from .parameter import Buffer, Parameter


class IncompatibleKeys(NamedTuple):
    """The keys that `Module.load_state_dict` did not find, and those that the module does not have."""

    missing_keys: list[str]
    unexpected_keys: list[str]


#: For some modules, what holds in this thread and task instead of their own mode; see `nn.modes.evaluating`.
TRAINING_HERE: Mode[dict[Module, bool]] = Mode("training", {})
#: For some modules, the hooks that only this thread and task runs; see `nn.modes.watching`.
HOOKS_HERE: Mode[dict[Module, tuple[Callable, ...]]] = Mode("hooks", {})


class Module:
    """Base of all layers and networks; the counterpart of ``torch.nn.Module``.

    Set parameters, buffers and other modules as attributes in ``__init__``, and write ``forward``. Call the module, not
    ``forward``: the call also runs the hooks, and adds to the message of a shape error the path of the module that
    raised it.
    """

    _training = True

    @property
    def training(self) -> bool:
        """Training or evaluation mode, on which batch normalisation and dropout depend; set by `train` and `eval`."""
        return TRAINING_HERE.get().get(self, self._training)

    @training.setter
    def training(self, mode: bool) -> None:
        here = TRAINING_HERE.get()
        if self in here:
            here[self] = bool(mode)
        else:
            self._training = bool(mode)

    def __setattr__(self, name: str, value: Any) -> None:
        """A tensor that is assigned to a buffer becomes one, as in PyTorch; a parameter is replaced by a `Parameter` only."""
        held = vars(self).get(name)
        if isinstance(value, Tensor) and not isinstance(value, Parameter | Buffer):
            if isinstance(held, Parameter):
                raise TypeError(f"{name} is a parameter: assign nn.Parameter(...), or change its values with .data = ... or .copy_(...)")
            if isinstance(held, Buffer):
                value = Buffer(value, persistent=held.persistent)
        super().__setattr__(name, value)

    def forward(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **options: Any) -> Any:
        output = self._located(self.forward, *args, **options)
        for hook in self._hooks():
            replaced = hook(self, args, output)
            output = output if replaced is None else replaced
        return output

    def _located(self, function: Callable, *args: Any, **options: Any) -> Any:
        """Call the function; a ValueError that passes through gets the path of the module that raised it."""
        try:
            return function(*args, **options)
        except ValueError as error:
            _say_where(error, self)
            raise

    # --- what it holds -----------------------------------------------------------------

    def _own(self, kind: type) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if isinstance(value, kind)]

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Set an attribute to a `Buffer`, or to None.

        Parameters
        ----------
        name : str
        value : Tensor or None
        persistent : bool
            Whether it belongs to the `state_dict`.
        """
        setattr(self, name, None if value is None else Buffer(value, persistent=persistent))

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
            If there is no module at that path; the message lists the names where the path ends.
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
        return _once(self._tensors(prefix, recurse, Parameter))

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        return _once(self._tensors(prefix, recurse, Buffer))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _tensors(self, prefix: str, recurse: bool, kind: type) -> Iterator[tuple[str, Any]]:
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            yield from ((_join(path, name), value) for name, value in module._own(kind))

    # --- the state ---------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers under every name that they have, in PyTorch's order."""
        modules = self.named_modules(remove_duplicate=False)
        own = lambda m: [*m._own(Parameter), *((name, buffer) for name, buffer in m._own(Buffer) if buffer.persistent)]
        return {_join(path, name): value for path, module in modules for name, value in own(module)}

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
            If keys are missing or unexpected, or a shape differs; the message lists them all, and nothing is changed.
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
        """Set the gradients of all parameters to None (or fill them with zeros)."""
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
        """Move and convert parameters and buffers: ``.to("cuda")``, ``.to("float64")``.

        Integer buffers keep their dtype. Move a module before an optimiser takes its first step.

        Parameters
        ----------
        target : dtype or {"cpu", "cuda"}, optional
            A dtype or a device.
        device, dtype : optional
            The same by name.
        memory_format : {"contiguous", "channels_last"}, optional
            How parameters with four axes, the kernels of convolutions, lie in memory; their shapes stay. A network computes in
            the layout of its input, ``model(images.to(memory_format="channels_last"))``, and on a GPU kernels in channels last
            then need not be rearranged in every step.

        Raises
        ------
        ValueError
            If the device, dtype or layout does not exist.
        TypeError
            If the dtype is not a floating-point one.
        """
        device, dtype = device_and_dtype(target, device, dtype)
        if dtype is not None and dtype.kind != "f":
            raise TypeError(f"a module can be converted to a floating-point dtype only, not to {dtype}")
        if memory_format not in (None, *LAYOUTS):
            raise ValueError(f"no memory_format {memory_format!r}: choose one of {', '.join(LAYOUTS)}")
        for value in [*self.parameters(), *self.buffers()]:
            for part in [value] if value.grad is None else [value, value.grad]:
                to_dtype, layout = dtype if part.dtype.kind == "f" else None, memory_format if part.ndim == 4 else None
                part.data = part.detach().to(device, dtype=to_dtype, memory_format=layout)
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
        return vars(self).setdefault("_hooks_of_all", {})

    def _hooks(self) -> list[Callable]:
        """The hooks to run now: those of every thread, then those of this one."""
        return [*self._forward_hooks.values(), *HOOKS_HERE.get().get(self, ())]

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each `forward`, in every thread; what it returns replaces the output, unless it is None."""
        return RemovableHandle(self._forward_hooks, hook)

    def extra_repr(self) -> str:
        """The text between the brackets of the module's ``repr``."""
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
