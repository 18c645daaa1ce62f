"""An interpreter for pickles that cannot be made to run code.

A pickle is a program for a small stack machine. Most instructions push a number or a string, or move values from the
stack into a list or dictionary; they are harmless. Two are not: GLOBAL imports any name of any Python module, and
REDUCE calls it. This is how a pickle can delete your files.

`run` executes the harmless instructions itself. For GLOBAL it imports nothing. It looks the name up in a short list of
stand-ins that the caller provides; for any other name it pushes a `Foreign`, an object that only remembers its name.
Calling a `Foreign` gives another `Foreign`, with the attributes and items that the file stores for it. So the settings
beside the weights of a checkpoint are read past, whatever classes they have, and none of their code exists here.
Python's ``pickle`` is not used; ``pickletools`` splits the bytes into instructions and executes none.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any

LARGEST = 8 << 20  # bytes; the index of a network with thousands of tensors has less than 1 MiB

# The modules of functions that a program needs to do harm. Nothing is run here, so reading past them would be safe; but a
# file with such a name was made to attack whoever unpickles it, and that has to be said.
_ATTACKS = frozenset(
    [
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "pty",
        "shutil",
        "socket",
        "runpy",
        "code",
        "codeop",
        "importlib",
        "pkgutil",
        "builtins",
        "__builtin__",
        "ctypes",
        "webbrowser",
        "signal",
        "urllib",
        "http",
        "ftplib",
        "smtplib",
        "pickle",
        "_pickle",
        "marshal",
    ]
)
_HARMLESS = frozenset(
    [
        "set",
        "frozenset",
        "list",
        "dict",
        "tuple",
        "complex",
        "bytearray",
        "bytes",
        "slice",
        "range",
        "object",
        "int",
        "float",
        "str",
        "bool",
        "getattr",
    ]
)


class Known:
    """The stand-in for a name that GLOBAL may import: the name, its meaning, and the function to call (None: not callable)."""

    def __init__(self, name: str, meaning: Any = None, call: Callable | None = None):
        self.name, self.meaning, self.call = name, meaning, call

    def __repr__(self) -> str:
        return f"the name {self.name}"


class Foreign:
    """An object, class or function that is not known here.

    Attributes
    ----------
    name : str
        The name of the class or function, such as ``"argparse.Namespace"``.
    attributes : dict
        What BUILD stored, if it was a dictionary.
    items : dict
        The items, if it is a kind of dictionary.
    members : list of str
        The strings in it, if it is a set.
    """

    def __init__(self, name: str):
        self.name = name
        self.attributes: dict[str, Any] = {}
        self.items: dict[Any, Any] = {}
        self.members: list[str] = []

    def add(self, members: Any) -> Foreign:
        """Add what is put into a set; strings only, whose hashes cost nothing."""
        self.members += [member for member in members if type(member) is str] if type(members) is list else []
        return self

    def __repr__(self) -> str:
        return f"a {self.name}"


def brief(value: Any, nested: bool = True) -> str:
    """A value of a file for a message. Its length and time are bounded, whatever the file holds: 300 bytes can describe 2²² nested tuples."""
    if isinstance(value, str | bytes):
        return repr(value[:60])
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
    if nested and isinstance(value, tuple | list):
        return f"({', '.join(brief(each, False) for each in value[:4])}{', …' * (len(value) > 4)})"
    if isinstance(value, Known | Foreign):
        return repr(value)[:60]
    return repr(value) if value is None or isinstance(value, float) else type(value).__name__


def run(program: bytes | IO[bytes], known: Mapping[str, Known], persistent: Callable[[Any], Any]) -> Any:
    """The object that a pickle describes.

    Parameters
    ----------
    program : bytes or binary file
        A file is read to the end of the pickle and not further.
    known : mapping of str to Known
        ``"module name"`` → its stand-in. Any other name becomes a `Foreign`.
    persistent : callable
        Resolves the file's references to storages (BINPERSID).

    Returns
    -------
    object
        Consists of dictionaries, lists, tuples, strings, bytes, numbers, None, `Foreign`, and the results of `known` and
        `persistent`. Items of a dictionary whose key is neither a string nor a number are left out, and so are the
        members of a set that are no strings.

    Raises
    ------
    ValueError
        At the first instruction that is not allowed, does not fit the stack, or is cut off, and at the first name of a
        function that does harm; names it and its position.
    """
    if isinstance(program, bytes) and len(program) > LARGEST:
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

    def top(self, *kinds: type) -> Any:
        """The top of the stack, which an instruction changes; it must have one of these types."""
        if not self.stack or type(self.stack[-1]) not in kinds:
            found = type(self.stack[-1]).__name__ if self.stack else "nothing"
            raise ValueError(f"expected a {kinds[0].__name__} on the stack, found {found}")
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
        if name in self.known:
            return self.push(self.known[name])
        module, _, attribute = name.partition(" ")
        if module.partition(".")[0] in _ATTACKS and not (module in ("builtins", "__builtin__") and attribute in _HARMLESS):
            raise ValueError(
                f"the file asks for {module}.{attribute}, which no file of weights needs: whoever unpickles this file runs foreign code"
            )
        self.push(Foreign(f"{module}.{attribute}"))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name must be two strings")
        self.look_up(f"{module} {name}")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if isinstance(function, Foreign):
            made = Foreign(function.name)
            return self.push(made.add(arguments[0]) if type(arguments) is tuple and arguments else made)
        if not isinstance(function, Known) or function.call is None or type(arguments) is not tuple:
            raise ValueError(f"the file calls {_describe(function)}, which is not a function that makes tensors")
        self.push(function.call(*arguments))

    def new_object(self) -> None:
        _, made = self.pop(), self.pop()
        self.push(made.call() if isinstance(made, Known) and made.call is not None else Foreign(getattr(made, "name", "object")))

    def build(self) -> None:
        """Store the state of an object. The attributes of an OrderedDict (PyTorch's ``_metadata``) are not tensors and are dropped."""
        state = self.pop()
        if isinstance(self.stack[-1] if self.stack else None, Foreign):
            values = [part for part in (state if type(state) is tuple else (state,)) if type(part) is dict]
            for part in values:
                self.stack[-1].attributes.update(part)
            return
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
        target = self.top(dict, Foreign)
        if len(values) % 2:
            raise ValueError("a key without a value")
        items = target.items if isinstance(target, Foreign) else target
        for key, value in zip(values[::2], values[1::2], strict=True):
            # No other keys: computing the hash of a nested tuple or of a huge number can take very long.
            if type(key) is str or (type(key) is int and abs(key) < 1 << 63):
                items[key] = value

    def extend(self, values: list) -> None:
        target = self.top(list, Foreign)
        if type(target) is list:
            target.extend(values)


def _describe(value: Any) -> str:
    return repr(value) if isinstance(value, Known) else f"an object of type {type(value).__name__}"


def _pushes(make: Callable[[], Any]) -> Callable:
    return lambda machine, _: machine.push(make())


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _append(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    machine.extend([value])


def _add_items(machine: _Machine, _: Any) -> None:
    members = machine.since_mark()
    machine.top(Foreign).add(members)


def _frozen_set(machine: _Machine, _: Any) -> None:
    machine.push(Foreign("builtins.frozenset").add(machine.since_mark()))


def _new_object_ex(machine: _Machine, _: Any) -> None:
    machine.pop()
    machine.new_object()


_ARGUMENTS = (
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
)
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    **dict.fromkeys(_ARGUMENTS, lambda machine, argument: machine.push(argument)),
    "NONE": _pushes(lambda: None),
    "NEWTRUE": _pushes(lambda: True),
    "NEWFALSE": _pushes(lambda: False),
    "EMPTY_DICT": _pushes(dict),
    "EMPTY_LIST": _pushes(list),
    "EMPTY_TUPLE": _pushes(tuple),
    "EMPTY_SET": _pushes(lambda: Foreign("builtins.set")),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _append,
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": _add_items,
    "FROZENSET": _frozen_set,
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "BINPUT": lambda machine, index: machine.put(index),
    "LONG_BINPUT": lambda machine, index: machine.put(index),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "BINGET": lambda machine, index: machine.get(index),
    "LONG_BINGET": lambda machine, index: machine.get(index),
    "GLOBAL": lambda machine, name: machine.look_up(name),
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.new_object(),
    "NEWOBJ_EX": _new_object_ex,
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.push(machine.persistent(machine.pop())),
}
