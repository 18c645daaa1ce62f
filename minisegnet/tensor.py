"""The engine: a tensor that remembers how it was computed, and the chain rule.

Read `minisegnet/learn/toy.py` first: the same engine for single numbers, in thirty lines. This file is what it
becomes when values are arrays, graphs are large, and mistakes have to be noticed. It reads from top to bottom:

- a :class:`Tensor` is an array and, if a gradient is wanted, the :class:`Node` that made it;
- a :class:`Node` says from which nodes a value was computed, and how a gradient travels back to them;
- :func:`differentiable` makes a function that records nodes from one that computes a value and its pullback;
- :meth:`Tensor.backward` is the chain rule. For ``L = f(h)``, ``h = h(x)``,

    ∂L/∂x = ∂L/∂h · ∂h/∂x

  read from left to right: a row vector times a Jacobian at each step, so that no Jacobian is ever built.

Changes in place (``x += y``, ``x[0] = y``, ``x.zero_()``) are in ``functional/in_place.py``. They are counted, and
`backward` refuses a graph that was computed from values that have since been overwritten.
"""

from __future__ import annotations

import heapq
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import count
from typing import Any

import numpy as np

from minisegnet_kernels.arrays import alike, is_channels_last

from . import recording
from .hooks import RemovableHandle
from .recording import detect_anomaly, enable_grad, is_grad_enabled, no_grad, observed, set_grad_enabled  # noqa: F401
from .values import Memory, Values, as_array, has_nan, owner_of, seed_of

_serials = count()
_first_use = threading.Lock()


class Node:
    """One application of a differentiable function, or a leaf, which has no inputs.

    A node does not hold the arrays of its tensors, so what a pullback does not need can be freed.
    """

    __slots__ = ("dtype", "hooks", "inputs", "name", "owner", "pullback", "serial", "shape", "versions", "where")

    def __init__(self, owner: Tensor, name: str = "leaf", inputs: tuple = (), pullback: Callable | None = None):
        self.owner = weakref.ref(owner)
        self.name, self.inputs, self.pullback = name, inputs, pullback
        self.shape, self.dtype = owner.array.shape, owner.array.dtype
        self.serial = next(_serials)
        self.hooks: dict[int, Callable] = {}
        self.versions: list[tuple[Memory, int, tuple]] = []
        self.where = ""

    def __repr__(self) -> str:
        return f"<{self.name}>"


#: The functions behind the operators. `functional` adds them, because it imports this file and not the other way round.
OPERATIONS: dict[str, Callable] = {}


def _operator(name: str) -> tuple[Callable, Callable, Callable]:
    """``a + b``, ``b + a`` and ``a += b`` for the operation ``add``."""
    return (
        lambda a, b: OPERATIONS[name](a, b),
        lambda a, b: OPERATIONS[name](b, a),
        lambda a, b: OPERATIONS[f"{name}_"](a, b),
    )


class Tensor(Values):
    """An array with a memory of how it was computed.

    Parameters
    ----------
    data : array, Tensor, number or nested list
        An array (NumPy's or CuPy's) or a tensor is not copied. Python floats become float32.
    requires_grad : bool
        Whether ``backward()`` computes ``grad``, the gradient for this tensor.

    Attributes
    ----------
    array : array
        The values.
    grad : Tensor or None
        The sum of all gradients that have arrived since it was last None.
    """

    _memory: Memory
    __array_ufunc__ = None  # so that ``array * tensor`` calls the tensor's operator
    __hash__ = object.__hash__

    def __init__(self, data: Any, requires_grad: bool = False):
        if isinstance(data, Tensor):
            self.array = data.array
            data._memory.share(data, self)
        else:
            self.array, self._memory = as_array(data), Memory()
        self.grad: Tensor | None = None
        self._node: Node | None = None
        self._retains_grad = False
        self._requires_grad = False
        if requires_grad:
            self.requires_grad_()

    # --- operators: functions of functional/arithmetic.py and shape.py ---------------------

    __add__, __radd__, __iadd__ = _operator("add")
    __sub__, __rsub__, __isub__ = _operator("sub")
    __mul__, __rmul__, __imul__ = _operator("mul")
    __truediv__, __rtruediv__, __itruediv__ = _operator("div")
    __pow__, __rpow__, __ipow__ = _operator("pow")
    __matmul__, __rmatmul__, __imatmul__ = _operator("matmul")
    __floordiv__, __rfloordiv__, __ifloordiv__ = _operator("floor_divide")
    __mod__, __rmod__, __imod__ = _operator("remainder")
    __and__, __rand__, __iand__ = _operator("bitwise_and")
    __or__, __ror__, __ior__ = _operator("bitwise_or")
    __xor__, __rxor__, __ixor__ = _operator("bitwise_xor")

    def __getitem__(self, key: Any) -> Tensor:
        return OPERATIONS["getitem"](self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        OPERATIONS["setitem_"](self, key, value)

    # --- its history -------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor has no recorded history: it was created, or computed without recording."""
        return self._node is None or not self._node.inputs

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this tensor; None for a leaf."""
        return None if self.is_leaf else self._node

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Choose whether `backward` computes a gradient for this leaf; returns the tensor."""
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors can require a gradient; this one is {self.dtype}")
        if not self.is_leaf and not requires_grad:
            raise RuntimeError("requires_grad can be switched off on leaves only; use .detach() for a tensor without a history")
        self._requires_grad = bool(requires_grad)
        return self

    def detach(self) -> Tensor:
        """The same memory, without a history."""
        return Tensor(self)

    @property
    def data(self) -> Tensor:
        """The values as a tensor without a history, as `detach` gives them: ``p.data -= 0.1 * p.grad``.

        Assigning replaces the values by others, unrecorded. Unlike PyTorch's, a change through ``data`` is counted:
        a graph that used the old values refuses `backward`.
        """
        return self.detach()

    @data.setter
    def data(self, values: Any) -> None:
        source = values if isinstance(values, Tensor) else Tensor(values if hasattr(values, "dtype") else np.asarray(values, self.dtype))
        if source.array is self.array:
            return  # ``x.data -= y`` has changed them already
        if self._requires_grad and source.dtype.kind != "f":
            raise TypeError(f"data: this tensor requires a gradient, so its values must be floating-point, not {source.dtype}")
        self._memory.changes += 1
        self.array = source.array
        source._memory.share(source, self)
        if self._node is not None and self.is_leaf:  # gradients arrive in the leaf's shape and dtype
            self._node.shape, self._node.dtype = self.shape, self.dtype

    # --- gradients ---------------------------------------------------------------------

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(gradient)`` when the gradient is complete; a tensor that it returns replaces the gradient.

        ``remove()`` of the handle that is returned takes the hook away.
        """
        if not self._requires_grad:
            raise RuntimeError("register_hook needs a tensor that requires a gradient; call requires_grad_() on a leaf")
        return RemovableHandle(_node_of(self).hooks, hook)

    def retain_grad(self) -> None:
        """Keep ``grad`` on this tensor although it is not a leaf."""
        if not self._requires_grad:
            raise RuntimeError("retain_grad needs a tensor that requires a gradient; call requires_grad_() on a leaf")
        self._retains_grad = True

    def backward(self, gradient: Any = None, retain_graph: bool = False, inputs: Tensor | Sequence[Tensor] | None = None) -> None:
        """Compute the gradient for every leaf that this tensor was made from, and add it to the leaf's ``grad``.

        Parameters
        ----------
        gradient : Tensor or array, optional
            The cotangent: the gradient of the final result for this tensor, in this tensor's shape. A scalar is the
            final result itself and needs none.
        retain_graph : bool
            Keep what the pullbacks remember, for a second `backward`.
        inputs : Tensor or sequence of Tensor, optional
            Add gradients to these tensors only, leaves or not, and compute only what they need. Every other tensor keeps the
            ``grad`` that it has, so a network can be examined while another thread trains it.

        Raises
        ------
        RuntimeError
            If the tensor has no history; if it has several elements and `gradient` is missing; if the graph was
            used before; or if a tensor that the graph needs was changed in place.
        ValueError
            If `gradient` has another shape than this tensor, or `inputs` is empty.
        """
        if not self._requires_grad:
            raise RuntimeError(
                "backward() needs a tensor that was computed from one with requires_grad=True; this one was not (or under no_grad)"
            )
        root, wanted = _node_of(self), _nodes_of(inputs)
        oldest = min(node.serial for node in wanted) if wanted else 0
        pending = {root: seed_of(self, gradient)}
        # A value is always made after the values that it is made from. Newest first, every node is therefore
        # reached only when all gradients that flow into it have been added. A heap instead of recursion: 50,000
        # nodes in a row are no deeper than one.
        newest = [(-root.serial, root)]
        while newest:
            _, node = heapq.heappop(newest)
            g = _hooked(node, pending.pop(node))
            _deposit(node, g, wanted)
            for source, product in zip(node.inputs, _products(node, g, retain_graph), strict=True):
                if source is None or product is None:
                    continue
                if wanted and source not in wanted and (source.serial < oldest or not source.inputs):
                    continue  # it was made from none of them
                share = _fit(product(), source)
                if recording.ANOMALY.get() and has_nan(share):
                    raise FloatingPointError(f"the gradient of {node.name} made a NaN; it was called at {node.where}")
                if source in pending:
                    pending[source] = alike(np.add, pending[source], share)  # a value used twice: its influences add up
                else:
                    pending[source] = share
                    heapq.heappush(newest, (-source.serial, source))


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """A tensor with a copy of the data. Python floats become float32, arrays keep their dtype and their layout."""
    array = data.array if isinstance(data, Tensor) else as_array(data)
    copy = array.copy(order="K") if dtype is None else array.astype(dtype)
    made = Tensor(copy) if device == "cpu" else Tensor(copy).to(device)
    return made.requires_grad_() if requires_grad else made


def differentiable(function: Callable) -> Callable:
    """Turn a function on arrays, which returns its value and its pullback, into a function on tensors.

    ``function(*arrays, **options)`` returns ``value, pullback``. ``pullback(g)`` gets the gradient for the value and
    returns one function for each positional argument, in order: it computes the gradient for that argument (a
    vector-Jacobian product). None stands for an argument without a gradient; trailing ones may be left out. Only the
    products that are needed are computed; what they have in common is computed in ``pullback`` itself. A product may
    have the shape of a broadcast: it is summed back.

    If ``value`` is a tuple, the first element is differentiable and the others are constants. A function that changes
    arguments in place (running statistics) returns those arrays as a third element; its pullback must not read them.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def apply(*args: Any, **options: Any) -> Any:
        if options:  # tensors may come by keyword too
            bound = signature.bind(*args, **options)
            bound.apply_defaults()  # without them, an argument behind one that is left out would not count as positional
            args, options = bound.args, bound.kwargs
        value, pullback, *changed = function(*map(_array, args), **options)
        tensors = [a for a in args if isinstance(a, Tensor)]
        if changed:
            overwritten = {id(array) for array in changed[0]}
            for a in tensors:
                a._memory.changes += id(a.array) in overwritten
            tensors = [a for a in tensors if id(a.array) not in overwritten]
        value, constants = (value[0], value[1:]) if isinstance(value, tuple) else (value, ())
        result = _wrapped(value, tensors)
        if recording.ANOMALY.get() and has_nan(value):
            raise FloatingPointError(f"{function.__name__} made a NaN; it was called at {recording.caller()}")
        if recording.RECORDING.get() and result.dtype.kind == "f":
            nodes = tuple([_node_of(a) if isinstance(a, Tensor) and a._requires_grad else None for a in args])
            if nodes.count(None) < len(nodes):
                result._requires_grad = True
                result._node = Node(result, function.__name__, nodes, pullback)
                result._node.versions = [(a._memory, a._memory.changes, a.array.shape) for a in tensors]
                result._node.where = recording.caller() if recording.ANOMALY.get() else ""
        results = (result, *[_wrapped(constant, tensors) for constant in constants])
        if observer := recording.OBSERVER.get():
            observer(function, args, options, results)
        return results if constants else result

    return apply


def _wrapped(value: Any, arguments: list[Tensor]) -> Tensor:
    """A tensor of a result. If it is a view of an argument, changes of either count for both."""
    result = Tensor(value)
    base = getattr(value, "base", None)
    for a in arguments:
        if value is a.array or (base is not None and owner_of(base) is owner_of(a.array)):
            a._memory.share(a, result)
    return result


# --- the steps of backward ----------------------------------------------------------------


def _products(node: Node, g: Any, retain_graph: bool) -> tuple:
    """The pullback's products, one for each input; none for a leaf."""
    if not node.inputs:
        return ()
    if node.pullback is None:
        raise RuntimeError(
            f"backward() a second time through {node.name}, whose graph was freed: call the first backward(retain_graph=True)"
        )
    for memory, before, shape in node.versions:
        if memory.changes != before:
            raise RuntimeError(
                f"a tensor of shape {shape} that {node.name} was computed from has been changed in place since: call backward() before "
                "the change, or compute the graph anew"
            )
    products = node.pullback(g)
    if not retain_graph:
        node.pullback = None
    return (*products, *(None,) * len(node.inputs))[: len(node.inputs)]  # arguments may be left out at the end


def _fit(share: Any, node: Node) -> Any:
    """A gradient in the shape and dtype of the tensor that it belongs to.

    Broadcasting copies one value into many; each copy sends a gradient back, and they add up.
    """
    if share.shape != node.shape:
        extra = share.ndim - len(node.shape)
        stretched = tuple(a + extra for a, size in enumerate(node.shape) if size == 1 and share.shape[a + extra] != 1)
        share = share.sum(axis=(*range(extra), *stretched)).reshape(node.shape)
    return share.astype(node.dtype, copy=False)


def _hooked(node: Node, g: Any) -> Any:
    for hook in list(node.hooks.values()):
        replaced = hook(Tensor(g))
        if replaced is not None:
            g = _fit(_array(replaced), node)
    return g


def _deposit(node: Node, g: Any, wanted: set[Node]) -> None:
    """Add a gradient to ``grad``, in memory of its own, if the tensor keeps one."""
    owner = node.owner()
    if owner is None or owner._node is not node or not (node in wanted if wanted else owner.is_leaf or owner._retains_grad):
        return
    if owner.grad is None:
        # Where only `backward` and this function hold the array, and what it is a transposed view of, no copy is needed.
        alone = sys.getrefcount(g) == 3 and (g.base is None or (is_channels_last(g) and sys.getrefcount(g.base) == 2))
        owner.grad = Tensor(g if alone else g.copy("K"))
    else:
        owner.grad.array[...] = owner.grad.array + g
        owner.grad._memory.changes += 1


def _node_of(tensor: Tensor) -> Node:
    if tensor._node is None:
        with _first_use:  # two threads that use a leaf for the first time get the same node
            if tensor._node is None:
                tensor._node = Node(tensor)
    return tensor._node


def _nodes_of(inputs: Tensor | Sequence[Tensor] | None) -> set[Node]:
    """The nodes of `backward`'s `inputs`; an empty set if `inputs` is not given."""
    if inputs is None:
        return set()
    chosen = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not chosen:
        raise ValueError("backward(inputs=[]) would compute nothing: name at least one tensor, or leave inputs out for all leaves")
    if any(not tensor._requires_grad for tensor in chosen):
        raise RuntimeError("backward(inputs=...): each of them must require a gradient; call requires_grad_() on a leaf")
    return {_node_of(tensor) for tensor in chosen}


def _array(value: Any) -> Any:
    """The argument for a function on arrays. A NumPy scalar becomes a Python number, which does not change the dtype of a result."""
    return value.array if isinstance(value, Tensor) else value.item() if isinstance(value, np.generic) else value
