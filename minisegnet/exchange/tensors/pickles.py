"""An interpreter for pickles that cannot be made to run code.

A pickle is a program for a small stack machine. Most instructions push a number or a string, or move values from the
stack into a list or dictionary; they are harmless. Two are not: GLOBAL imports any name of any Python module, and
REDUCE calls it. This is how a pickle can delete your files.

`run` executes the harmless instructions itself. For GLOBAL it imports nothing, but looks the name up in a short list
of stand-ins that the caller provides. Any other name or instruction is an error that names it. Python's ``pickle`` is
not used; ``pickletools`` splits the bytes into instructions and executes none.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

LARGEST = 8 << 20  # bytes; the index of a network with thousands of tensors has less than 1 MiB


class Known:
    """The stand-in for a name that GLOBAL may import: the name, its meaning, and the function to call (None: not callable)."""

    def __init__(self, name: str, meaning: Any = None, call: Callable | None = None):
        self.name, self.meaning, self.call = name, meaning, call

    def __repr__(self) -> str:
        return f"the name {self.name}"


def run(program: bytes, known: Mapping[str, Known], persistent: Callable[[Any], Any]) -> Any:
    """The object that a pickle describes.

    Parameters
    ----------
    program : bytes
    known : mapping of str to Known
        ``"module name"`` → its stand-in. No other names are allowed.
    persistent : callable
        Resolves the file's references to storages (BINPERSID).

    Returns
    -------
    object
        Consists of dictionaries, lists, tuples, strings, numbers, None, and the results of `known` and `persistent`.

    Raises
    ------
    ValueError
        At the first instruction that is not allowed, does not fit the stack, or is cut off; names it and its position.
    """
    if len(program) > LARGEST:
        raise ValueError(f"the pickle has {len(program):,} bytes, more than the {LARGEST:,} that any index of tensors needs")
    machine = _Machine(known, persistent)
    place, name = 0, "the first instruction"
    try:
        for opcode, argument, position in pickletools.genops(program):
            place, name = position or 0, opcode.name
            if opcode.name == "STOP":
                return machine.result()
            step = _STEPS.get(opcode.name)
            if step is None:
                raise ValueError("this instruction is not needed for tensors and not allowed")
            step(machine, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as error:
        reason = error.args[0] if type(error) is ValueError else f"it does not fit what is on the stack ({type(error).__name__}: {error})"
        raise ValueError(f"pickle, byte {place}, {name}: {reason}") from None
    raise ValueError("the pickle has no end")


class _Machine:
    """The stack, the marks on it, and the memo."""

    def __init__(self, known: Mapping[str, Known], persistent: Callable[[Any], Any]):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.known, self.persistent = known, persistent

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("there is nothing on the stack")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The top of the stack, which an instruction changes; it must have this type."""
        if not self.stack or type(self.stack[-1]) is not kind:
            found = type(self.stack[-1]).__name__ if self.stack else "nothing"
            raise ValueError(f"expected a {kind.__name__} on the stack, found {found}")
        return self.stack[-1]

    def since_mark(self) -> list:
        if not self.marks:
            raise ValueError("there is no mark on the stack")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def result(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise ValueError(f"{len(self.stack)} objects are left on the stack, expected one")
        return self.stack[0]

    # --- the instructions that do more than push ---------------------------------------

    def look_up(self, name: str) -> None:
        if name not in self.known:
            raise ValueError(f"the file asks for {name.replace(' ', '.')}, which is neither a tensor nor a plain container")
        self.push(self.known[name])

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name must be two strings")
        self.look_up(f"{module} {name}")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Known) or function.call is None or type(arguments) is not tuple:
            raise ValueError(f"the file calls {_describe(function)}, which is not a function that makes tensors")
        self.push(function.call(*arguments))

    def build(self) -> None:
        """Set the state of an object. The attributes of an OrderedDict (PyTorch's ``_metadata``) are not tensors and are dropped."""
        state = self.pop()
        self.top(dict)
        if type(state) is not dict:
            raise ValueError(f"expected attributes by name, found {_describe(state)}")

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"nothing was remembered under the number {index}")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        if not self.stack:
            raise ValueError("there is nothing to remember")
        self.memo[index] = self.stack[-1]

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def set_items(self, values: list) -> None:
        target = self.top(dict)
        if len(values) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # No other keys: computing the hash of a nested tuple or of a huge number can take very long.
            if type(key) is not str and not (type(key) is int and abs(key) < 1 << 63):
                raise ValueError(f"keys are strings or numbers, not {_describe(key)}")
            target[key] = value


def _describe(value: Any) -> str:
    return repr(value) if isinstance(value, Known) else f"an object of type {type(value).__name__}"


def _pushes(make: Callable[[], Any]) -> Callable:
    return lambda machine, _: machine.push(make())


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _append(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: _Machine, _: Any) -> None:
    values = machine.since_mark()
    machine.top(list).extend(values)


_ARGUMENTS = ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    **dict.fromkeys(_ARGUMENTS, lambda machine, argument: machine.push(argument)),
    "NONE": _pushes(lambda: None),
    "NEWTRUE": _pushes(lambda: True),
    "NEWFALSE": _pushes(lambda: False),
    "EMPTY_DICT": _pushes(dict),
    "EMPTY_LIST": _pushes(list),
    "EMPTY_TUPLE": _pushes(tuple),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "BINPUT": lambda machine, index: machine.put(index),
    "LONG_BINPUT": lambda machine, index: machine.put(index),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "BINGET": lambda machine, index: machine.get(index),
    "LONG_BINGET": lambda machine, index: machine.get(index),
    "GLOBAL": lambda machine, name: machine.look_up(name),
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.push(machine.persistent(machine.pop())),
}
