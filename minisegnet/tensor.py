"""The engine: a tensor that remembers how it was computed, and the chain rule.

Read this file top to bottom. A :class:`Tensor` is an array and, if a gradient will be
asked for, a :class:`Node` that says from which nodes it was computed and how a gradient
travels back. :func:`differentiable` makes such functions. :meth:`Tensor.backward` is the
chain rule: for ``L = f(h)``, ``h = h(x)``,

    ∂L/∂x = ∂L/∂h · ∂h/∂x

read from left to right, a row vector times a Jacobian at each step, so that no Jacobian
is ever built. The operators (``+``, ``@``, ``[]``, ...) come from ``functional/arithmetic.py`` and ``shape.py``.
"""

from __future__ import annotations

import heapq
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import count
from typing import Any

import numpy as np

from .values import Values

_serials = count()
_mode: dict[str, Any] = {"record": True, "anomaly": False, "observer": None}


@contextmanager
def _switched(name: str, value: Any) -> Iterator[None]:
    before, _mode[name] = _mode[name], value
    try:
        yield
    finally:
        _mode[name] = before


def no_grad():
    """Compute without remembering how: ``with no_grad(): ...``, or ``@no_grad()``."""
    return _switched("record", False)


def enable_grad():
    """Undo an enclosing `no_grad`."""
    return _switched("record", True)


def is_grad_enabled() -> bool:
    return _mode["record"]


def detect_anomaly():
    """Find the first NaN: inside, each operation and each gradient is tested (slow).

    Raises
    ------
    FloatingPointError
        By the operation that first makes a NaN; names it and the line that called it.
    """
    return _switched("anomaly", True)


def observed(observer: Callable[[Callable, tuple, dict, tuple], None]):
    """Inside, tell ``observer(function, args, options, results)`` of every differentiable function that was applied, in order."""
    return _switched("observer", observer)


class Node:
    """One application of a differentiable function, or a leaf, which has no inputs.

    Nodes do not hold the arrays of their tensors: what a pullback does not need can be freed.
    """

    __slots__ = ("dtype", "hooks", "inputs", "name", "owner", "pullback", "serial", "shape", "versions", "where")

    def __init__(self, owner: Tensor, name: str = "leaf", inputs: tuple = (), pullback: Callable | None = None):
        self.owner = weakref.ref(owner)
        self.name, self.inputs, self.pullback = name, inputs, pullback
        self.shape, self.dtype = owner.shape, owner.dtype
        self.serial = next(_serials)
        self.hooks: list[Callable] = []
        self.versions: list[tuple] = []
        self.where = ""

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Tensor(Values):
    """An array with a memory of how it was computed.

    Parameters
    ----------
    data : array or Tensor
        NumPy or CuPy; it is not copied.
    requires_grad : bool
        Whether ``backward()`` shall compute ``grad``, the gradient for this tensor.

    Attributes
    ----------
    data : array
    grad : Tensor or None
        The sum of all gradients that have arrived since it was last None.
    """

    __array_ufunc__ = None  # so that ``array * tensor`` asks the tensor
    __hash__ = object.__hash__

    def __init__(self, data: Any, requires_grad: bool = False):
        data = data.data if isinstance(data, Tensor) else data
        self.data = data if hasattr(data, "dtype") and hasattr(data, "ndim") and not isinstance(data, np.generic) else np.asarray(data)
        self.grad: Tensor | None = None
        self._node: Node | None = None
        self._retains_grad = False
        self._changes = [0]  # a count of the changes in place, one for all tensors that share the memory
        self._requires_grad = False
        if requires_grad:
            self.requires_grad_()

    # --- its history -------------------------------------------------------------------

    is_leaf = property(lambda self: self._node is None or not self._node.inputs)
    grad_fn = property(lambda self: None if self.is_leaf else self._node)
    requires_grad = property(lambda self: self._requires_grad, lambda self, value: self.requires_grad_(value))

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient (or no longer) on a leaf; returns the tensor."""
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors can require a gradient; this one is {self.dtype}")
        if not self.is_leaf and not requires_grad:
            raise RuntimeError("requires_grad can be switched off on leaves only; use .detach() for a tensor without a history")
        self._requires_grad = bool(requires_grad)
        return self

    def detach(self) -> Tensor:
        """The same memory, without a history."""
        other = Tensor(self.data)
        other._changes = self._changes
        return other

    def _changed(self) -> None:
        """Every change of the values in place is told, lest `backward` compute with the wrong ones."""
        self._changes[0] += 1

    def copy_(self, source: Any) -> Tensor:
        """Overwrite the values in place (not recorded); a graph that used the old ones will refuse `backward`."""
        source = source.data if isinstance(source, Tensor) else source
        if np.shape(source) != self.shape:
            raise ValueError(f"copy_: expected shape {self.shape}, got {np.shape(source)}")
        self.data[...] = source
        self._changed()
        return self

    def __repr__(self) -> str:
        values = np.array2string(self.data, separator=", ", threshold=200, prefix="tensor(") if self.device == "cpu" else repr(self.data)
        notes = [] if self.dtype in (np.float32, np.int64, np.bool_) else [f"dtype={self.dtype}"]
        notes += [f"grad_fn={self._node}"] if not self.is_leaf else ["requires_grad=True"] * self._requires_grad
        return f"tensor({', '.join([values, *notes])})"

    def __deepcopy__(self, memo: dict) -> Tensor:
        """A leaf with memory of its own: a history belongs to one tensor."""
        return Tensor(self.data.copy(), self._requires_grad)

    # --- gradients ---------------------------------------------------------------------

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``hook(gradient)`` when the gradient is complete; what it returns replaces it.

        Returns a function that removes the hook.
        """
        if not self._requires_grad:
            raise RuntimeError("a hook needs a tensor that requires a gradient")
        hooks = _node_of(self).hooks
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    def retain_grad(self) -> None:
        """Keep ``grad`` on this tensor although it is not a leaf."""
        if not self._requires_grad:
            raise RuntimeError("retain_grad needs a tensor that requires a gradient")
        self._retains_grad = True

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add to ``grad`` of every leaf its share of the gradient of this tensor.

        Parameters
        ----------
        gradient : Tensor or array, optional
            The cotangent, of this tensor's shape. A scalar needs none: it is 1.
        retain_graph : bool
            Keep what the pullbacks remember, for a second `backward`.

        Raises
        ------
        RuntimeError
            If the tensor has no history, if it is no scalar and `gradient` is missing, if the
            graph has already been used, or if a tensor was changed in place since.
        """
        if not self._requires_grad:
            raise RuntimeError(
                "backward() needs a tensor that was computed from one with requires_grad=True; this one was not (or under no_grad)"
            )
        if gradient is None and self.numel() != 1:
            raise RuntimeError(
                f"backward() starts at a scalar, and this tensor has shape {self.shape}: reduce it (.mean(), .sum()) or pass gradient="
            )
        seed = np.ones_like(self.data) if gradient is None else gradient.data if isinstance(gradient, Tensor) else gradient
        if np.shape(seed) != self.shape:
            raise ValueError(f"gradient must have the tensor's shape {self.shape}, not {np.shape(seed)}")

        root = _node_of(self)
        pending = {root: seed.astype(self.dtype, copy=False) if hasattr(seed, "astype") else np.asarray(seed, self.dtype)}
        # A value is always made after the values it is made from. So, newest first, every
        # node is reached only when all gradients that flow into it have been added. A heap
        # instead of recursion: 50,000 nodes in a row are no deeper than one.
        newest = [(-root.serial, root)]
        while newest:
            _, node = heapq.heappop(newest)
            g = _hooked(node, pending.pop(node))
            _deposit(node, g)
            for source, product in zip(node.inputs, _products(node, g, retain_graph), strict=True):
                if source is None or product is None:
                    continue
                share = _fit(product(), source)
                if _mode["anomaly"] and _has_nan(share):
                    raise FloatingPointError(f"the gradient of {node.name} made a NaN; it was called at {node.where}")
                if source in pending:
                    pending[source] = pending[source] + share  # a value used twice: its influences add up
                else:
                    pending[source] = share
                    heapq.heappush(newest, (-source.serial, source))


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """A tensor with a copy of the data. Python floats become float32, arrays keep their dtype."""
    if isinstance(data, Tensor):
        data = data.data
    array = data.copy() if hasattr(data, "__cuda_array_interface__") else np.array(data)
    if dtype is None and array.dtype == np.float64 and not hasattr(data, "dtype"):
        dtype = np.float32
    array = array if dtype is None else array.astype(dtype, copy=False)
    made = Tensor(array) if device == "cpu" else Tensor(array).to(device)
    return made.requires_grad_() if requires_grad else made


def differentiable(function: Callable) -> Callable:
    """Turn a function on arrays, that returns its value and its pullback, into one on tensors.

    ``function(*arrays, **options)`` returns ``value, pullback``. ``pullback(g)`` gets the gradient
    for the value and returns, for each positional argument in order, a function that computes that
    argument's gradient (a vector-Jacobian product), or None for an argument without one; trailing
    ones may be left out. Only the products that are needed are computed. What they have in common
    is computed in ``pullback`` itself. A product may come in the shape of a broadcast: it is summed
    back. If ``value`` is a tuple, the first element is differentiable and the others are constants.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def apply(*args: Any, **options: Any) -> Any:
        if options:  # tensors may come by keyword too
            bound = signature.bind(*args, **options)
            bound.apply_defaults()  # without them, an argument behind one that is left out would not count as positional
            args, options = bound.args, bound.kwargs
        value, pullback = function(*map(_array, args), **options)
        value, constants = (value[0], value[1:]) if isinstance(value, tuple) else (value, ())
        result = Tensor(value)
        if _mode["anomaly"] and _has_nan(value):
            raise FloatingPointError(f"{function.__name__} made a NaN; it was called at {_caller()}")
        if _mode["record"] and result.dtype.kind == "f":
            nodes = tuple(_node_of(a) if isinstance(a, Tensor) and a._requires_grad else None for a in args)
            if any(nodes):
                result._requires_grad = True
                result._node = Node(result, function.__name__, nodes, pullback)
                result._node.versions = [(a._changes, a._changes[0], a.shape) for a in args if isinstance(a, Tensor)]
                result._node.where = _caller() if _mode["anomaly"] else ""
        results = (result, *map(Tensor, constants))
        if _mode["observer"]:
            _mode["observer"](function, args, options, results)
        return results if constants else result

    return apply


# --- the steps of backward ----------------------------------------------------------------


def _products(node: Node, g: Any, retain_graph: bool) -> tuple:
    """The pullback's products, one for each input; none for a leaf."""
    if not node.inputs:
        return ()
    if node.pullback is None:
        raise RuntimeError(
            f"backward() a second time through {node.name}, whose graph was freed: call the first backward(retain_graph=True)"
        )
    for changes, before, shape in node.versions:
        if changes[0] != before:
            raise RuntimeError(
                f"a tensor of shape {shape} that {node.name} needs was changed in place since: call backward() before the change"
            )
    products = node.pullback(g)
    if not retain_graph:
        node.pullback = None
    return (*products, *(None,) * len(node.inputs))[: len(node.inputs)]  # arguments may be left out at the end


def _fit(share: Any, node: Node) -> Any:
    """A gradient in the shape and dtype of what it belongs to.

    Broadcasting copies one value into many; each copy sends a gradient back, and they add up.
    """
    if share.shape != node.shape:
        extra = share.ndim - len(node.shape)
        stretched = tuple(a + extra for a, size in enumerate(node.shape) if size == 1 and share.shape[a + extra] != 1)
        share = share.sum(axis=(*range(extra), *stretched)).reshape(node.shape)
    return share.astype(node.dtype, copy=False)


def _hooked(node: Node, g: Any) -> Any:
    for hook in list(node.hooks):
        replaced = hook(Tensor(g))
        if replaced is not None:
            g = _fit(_array(replaced), node)
    return g


def _deposit(node: Node, g: Any) -> None:
    """Add a gradient to ``grad``, in memory of its own, if the tensor keeps one."""
    owner = node.owner()
    if owner is None or not (owner.is_leaf or owner._retains_grad):
        return
    if owner.grad is None:
        owner.grad = Tensor(g.copy())
    else:
        owner.grad.data = owner.grad.data + g


def _node_of(tensor: Tensor) -> Node:
    if tensor._node is None:
        tensor._node = Node(tensor)
    return tensor._node


def _array(value: Any) -> Any:
    """What a function on arrays gets; NumPy's scalars become Python's, which promote nothing."""
    return value.data if isinstance(value, Tensor) else value.item() if isinstance(value, np.generic) else value


def _has_nan(array: Any) -> bool:
    return array.dtype.kind == "f" and bool((array != array).any())


def _caller() -> str:
    """File and line of the first frame outside this package."""
    package = __name__.partition(".")[0]
    frame: Any = sys._getframe(1)
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown line"
