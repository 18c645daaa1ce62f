"""Options that are declared once.

An option is a field of a dataclass, made by `option`. The field carries everything that is known about the option: its default, the values
that it takes, what it means, the name under which a user types it, and the section in which it is listed. The command
line and its ``--help``, TOML files (`cli.config`), the check of every value, the docstring of `training.fit` and the table
in ``docs/training.md`` are all made from these fields, so that none of them can disagree with another one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """The values that an option takes.

    Attributes
    ----------
    expected : str
        These values in words, to be read after "expected": ``"a whole number, 1 or more"``.
    read : callable
        ``read(text)`` is the value that a user typed. It raises ValueError if the text is not such a value.
    fits : callable
        ``fits(value)`` tells whether a value is one of them.
    metavar : str
        Stands for the value in ``--help``.
    choices : tuple of str
        All values, if they can be listed.
    toml : tuple of type
        Types of a TOML file that can hold a value.
    """

    expected: str
    read: Callable[[str], Any]
    fits: Callable[[Any], bool]
    metavar: str = ""
    choices: tuple[str, ...] = ()
    toml: tuple[type, ...] = (str, int, float, list)


@dataclass(frozen=True)
class Option:
    """One option, as it is declared.

    Attributes
    ----------
    name : str
        Name of the field.
    key : str
        How a user types it: ``--key`` on the command line, ``key =`` in a TOML file.
    help, section : str
    kind : Kind
    default : object
    unset : str
        What None means, in words; an option whose default is not None takes None only if this is given.
    mutable : bool
        Whether a run that is resumed may have another value.
    in_file : bool
        Whether a TOML file may hold it.
    typed : bool
        Whether it can be given on the command line.
    """

    help: str
    section: str
    kind: Kind
    default: Any
    name: str = ""
    key: str = ""
    unset: str = ""
    mutable: bool = False
    in_file: bool = True
    typed: bool = True

    def check(self, value: Any, said: str = "") -> None:
        """Raise ValueError if the option does not take a value; `said` is how the message names the option."""
        if value is None and (self.default is None or self.unset):
            return
        if not self.kind.fits(value):
            raise ValueError(f"{said or self.name}: expected {self.kind.expected}, not {value!r}")

    @property
    def described(self) -> str:
        """What the option means, with its default."""
        if self.kind is FLAG or not self._default:
            return self.help
        return f"{self.help} (default: {self._default})"

    @property
    def _default(self) -> str:
        if self.default is None or self.default == {}:
            return self.unset
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def option(
    default: Any,
    kind: Kind,
    help: str,
    *,
    section: str,
    key: str | None = None,
    unset: str = "",
    mutable: bool = False,
    in_file: bool = True,
    typed: bool = True,
) -> Any:
    """A field of a dataclass that is an option; see `Option` for the arguments. The key is the field's name unless given."""
    about = Option(help, section, kind, default, "", key or "", unset, mutable, in_file, typed)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"option": about})
    return field(default=default, metadata={"option": about})


def options_of(*classes: type) -> dict[str, Option]:
    """All options of dataclasses, by the names of their fields."""
    found = {}
    for cls in classes:
        for one in dataclasses.fields(cls):
            about = one.metadata["option"]
            found[one.name] = dataclasses.replace(about, name=one.name, key=about.key or one.name.replace("_", "-"))
    return found


def check(values: Any) -> None:
    """Check each field of an instance; call it in ``__post_init__``.

    Raises
    ------
    ValueError
        If a value is not one that its option takes. The message names the field, what was expected, and what was given.
    """
    for name, about in options_of(type(values)).items():
        about.check(getattr(values, name))


def changed(values: Any, but: Iterable[str] = ()) -> list[Option]:
    """The options of an instance whose value is not the default, except those in `but`."""
    return [about for name, about in options_of(type(values)).items() if name not in but and getattr(values, name) != about.default]


def pick(cls: type[T], values: Mapping[str, Any]) -> T:
    """An instance of a dataclass from those of many values that are its fields."""
    return cls(**{name: values[name] for name in options_of(cls) if name in values})


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that is most like it, else all of them."""
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


# --- kinds -----------------------------------------------------------------------------------------


def whole(low: int | None = None) -> Kind:
    """Whole numbers, from `low` up if it is given."""
    expected = "a whole number" if low is None else f"a whole number, {low} or more"
    return Kind(expected, int, lambda v: _is_number(v, Integral) and (low is None or v >= low), "N")


def number(expected: str = "a number", fits: Callable[[float], bool] = lambda x: True, metavar: str = "X", infinite: bool = False) -> Kind:
    """Numbers, finite unless `infinite`, for which ``fits(x)``; `expected` says in words which these are."""

    def right(value: Any) -> bool:
        return _is_number(value, Real) and (math.isfinite(value) or (infinite and not math.isnan(value))) and fits(value)

    return Kind(expected, float, right, metavar)


def one_of(*choices: str, or_callable: str = "") -> Kind:
    """One of several words; or a function, which `or_callable` describes, from Python."""
    expected = f"one of {', '.join(choices)}" + (f", or {or_callable}" if or_callable else "")

    def fits(value: Any) -> bool:
        return (isinstance(value, str) and value in choices) or bool(or_callable and callable(value))

    return Kind(expected, str, fits, choices=choices, toml=(str,))


def text(metavar: str, expected: str = "a string", or_callable: bool = False) -> Kind:
    """Any text; or a function, from Python."""
    return Kind(expected, str, lambda v: isinstance(v, str) or (or_callable and callable(v)), metavar, toml=(str,))


def numbers(expected: str, fits: Callable[[float, float], bool], metavar: str) -> Kind:
    """Two numbers with a comma between them."""

    def read(given: str) -> tuple[float, ...]:
        return tuple(float(part) for part in given.split(","))

    def right(value: Any) -> bool:
        return is_sequence(value) and len(value) == 2 and all(_is_number(v, Real) for v in value) and fits(*value)

    return Kind(expected, read, right, metavar)


#: ``--name`` without a value: it is given, or it is not.
FLAG = Kind("true or false", lambda given: given == "true", lambda value: isinstance(value, bool), toml=(bool,))


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def is_sequence(value: Any) -> bool:
    """Whether a value is a list, a tuple or an array."""
    return (isinstance(value, Sequence) or hasattr(value, "__array__")) and not isinstance(value, str)


# --- from the fields to documents ------------------------------------------------------------------


def parameters(cls: type) -> str:
    """The fields as a numpydoc list of parameters."""
    lines = []
    for name, about in options_of(cls).items():
        lines += [f"{name} : {about.kind.expected}", f"    {about.described[0].upper()}{about.described[1:]}."]
    return "\n".join(lines)


def table(cls: type) -> str:
    """The fields as a table in Markdown: on the command line, in Python, and what they mean."""
    lines = []
    for section in dict.fromkeys(about.section for about in options_of(cls).values()):
        lines += ["", f"**{section.capitalize()}**", "", "| command line | Python | takes | meaning |", "|---|---|---|---|"]
        for name, about in options_of(cls).items():
            if about.section == section:
                typed = f"`--{about.key}`" if about.typed else ""
                lines.append(f"| {typed} | `{name}` | {about.kind.expected} | {about.described} |".replace("|  |", "| |"))
    return "\n".join(lines[1:]) + "\n"
