"""What a ``.cu`` file says about itself: its kernels, their parameters, their template instances.

The signature in the file is the only declaration of a kernel. How arguments are packed, which instances are compiled and
the emulator's entry points all follow from what is read here, so nothing is written twice. On purpose, only a small part of
C++ is understood::

    // RELU = false, true                              the values of a template parameter that is not a type
    template <typename T, bool RELU>                   T is float or double; `TYPES` lists the other types
    __global__ void conv2d_forward(Array<const T, 4> x, Array<T, 4> y, Window at, int groups) {...}
"""

from __future__ import annotations

import ast
import itertools
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

#: C++ types of the elements and numbers that kernels take, and their dtypes.
DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "bool": np.dtype(np.bool_),
    "int": np.dtype(np.int32),
    "signed char": np.dtype(np.int8),
    "short": np.dtype(np.int16),
    "long long": np.dtype(np.int64),
    "unsigned char": np.dtype(np.uint8),
    "unsigned short": np.dtype(np.uint16),
    "unsigned int": np.dtype(np.uint32),
    "unsigned long long": np.dtype(np.uint64),
}
#: The types of template parameters that are known by name: L of a label, M of a position in a window, K of a true class.
TYPES = {
    "T": ("float", "double"),
    "L": tuple(name for name, dtype in DTYPES.items() if dtype.kind in "iu"),
    "M": ("unsigned char", "int"),
    "K": ("unsigned char", "int", "long long"),
}

#: The operators that the expression of a constant may have; as in C++, a quotient of integers is an integer.
_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
}

COMMON = Path(__file__).parent / "common.cuh"


@dataclass(frozen=True)
class Parameter:
    """``Array<const T, 4> x`` is an array with ``rank`` 4; ``const T* x`` a pointer (rank 0); the rest are values (None)."""

    type: str
    name: str

    @cached_property
    def element(self) -> str:
        """The type of the elements, or of the value."""
        inner = re.match(r"(?:const __grid_constant__ )?Array<(.*),", self.type)
        return (inner[1] if inner else self.type.rstrip("*")).removeprefix("const ").strip()

    @cached_property
    def rank(self) -> int | None:
        array = re.match(r"(?:const __grid_constant__ )?Array<.*, (\d+)>", self.type)
        return int(array[1]) if array else 0 if self.type.endswith("*") else None

    @cached_property
    def constant(self) -> bool:
        return self.type.startswith(("const ", "Array<const ")) or self.rank is None


@dataclass(frozen=True)
class Kernel:
    """A ``__global__`` function: name, template parameters with their values, parameters."""

    name: str
    template: dict[str, tuple[str, ...]]
    parameters: tuple[Parameter, ...]

    def instances(self) -> Iterator[dict[str, str]]:
        """Every combination of values of the template parameters."""
        for values in itertools.product(*self.template.values()):
            yield dict(zip(self.template, values, strict=True))

    def expression(self, instance: dict[str, str]) -> str:
        """``conv2d_forward<float, true>``, as C++ writes it."""
        return f"{self.name}<{', '.join(instance.values())}>" if instance else self.name


@dataclass(frozen=True, eq=False)  # each is equal to itself alone, so that what was compiled from it can be found again
class Source:
    """A ``.cu`` file, parsed."""

    path: Path
    text: str
    kernels: dict[str, Kernel]
    structs: dict[str, np.dtype | None]

    def whole(self) -> str:
        """The text with its includes inserted: one file that needs no search path."""
        return _expanded(self.path, self.text, set())

    @cached_property
    def constants(self) -> dict[str, int]:
        """Every ``constexpr int`` at the top level of the file and of its includes, by name."""
        return _constants(without_comments(self.whole()))


@cache
def read(path: Path) -> Source:
    """Read and parse a file; the result is cached."""
    return parse(path, path.read_text(encoding="utf-8"))


def parse(path: Path, text: str) -> Source:
    """Find the kernels and structs of a text whose includes are relative to `path`."""
    bare = without_comments(text)
    kernels = {}
    pattern = r"(?:template\s*<([^>]*)>\s*)?__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)"
    for match in re.finditer(pattern, bare):
        template, name, parameters = match.groups()
        comments = _comments_above(text, name)
        kernels[name] = Kernel(name, _template(template or "", comments, name), _parameters(parameters))
    everything = without_comments(_expanded(path, text, set()))
    structs = {m[1]: _struct(m[2]) for m in re.finditer(r"(?<!>\n)struct (\w+) \{([^}]*)\};", everything)}
    return Source(path, text, kernels, structs)


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), text)


def _comments_above(text: str, name: str) -> str:
    """The comment lines directly above a kernel."""
    declaration = rf"(?:template\s*<[^>]*>\s*)?__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?{name}\s*\("
    found = re.search(rf"((?:^[ \t]*//[^\n]*\n)*){declaration}", text, re.M)
    return found[1] if found else ""


def _template(declared: str, comments: str, kernel: str) -> dict[str, tuple[str, ...]]:
    values = {}
    for parameter in filter(None, (p.strip() for p in declared.split(","))):
        kind, name = parameter.rsplit(None, 1)
        listed = re.search(rf"//\s*{name} = ([^\n]+)", comments)
        if listed:
            values[name] = tuple(v.strip() for v in listed[1].split("  ")[0].split(","))
        elif kind == "typename" and name in TYPES:
            values[name] = TYPES[name]
        elif kind == "bool":
            values[name] = ("false", "true")
        else:
            raise ValueError(
                f"{kernel}: the values of the template parameter {name} are not listed; write '// {name} = ...' above the kernel"
            )
    return values


def _parameters(text: str) -> tuple[Parameter, ...]:
    pieces = re.split(r",(?![^<]*>)", text)
    found = []
    for piece in filter(None, (" ".join(p.split()) for p in pieces)):
        type_, name = re.fullmatch(r"(.*?[\s*&>])(\w+)", piece).groups()  # type: ignore[union-attr]
        found.append(Parameter(type_.strip(), name))
    return tuple(found)


def _struct(body: str) -> np.dtype | None:
    """The dtype of a struct of plain numbers, aligned as in C++; None for any other struct."""
    fields: list[tuple[str, np.dtype]] = []
    for line in filter(None, (statement.strip() for statement in body.split(";"))):
        match = re.fullmatch(rf"({'|'.join(DTYPES)}) (\w+(?:, \w+)*)", " ".join(line.split()))
        if match is None:
            return None
        fields += [(name, DTYPES[match[1]]) for name in match[2].split(", ")]
    return np.dtype(fields, align=True)


def _constants(bare: str) -> dict[str, int]:
    """The constants that are numbers, or sums, differences, products and quotients of numbers and earlier constants."""
    found: dict[str, int] = {}
    for line in re.findall(r"^constexpr int ([^;]*);", bare, re.M):
        for name, value in re.findall(r"(\w+) = ([^,]+)", line):
            found[name] = _value(ast.parse(value.strip(), mode="eval").body, found)
    return found


def _value(node: ast.expr, known: dict[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, known), _value(node.right, known))
    raise ValueError(f"a constexpr int at the top level must be a sum or product of numbers and earlier constants, not {ast.unparse(node)}")


def _expanded(path: Path, text: str, seen: set[Path]) -> str:
    def include(match: re.Match) -> str:
        target = (path.parent / match[1]).resolve()
        if target in seen:
            return ""
        seen.add(target)
        return f'#line 1 "{target.name}"\n{_expanded(target, target.read_text(encoding="utf-8"), seen)}\n#line {text.count(chr(10), 0, match.start()) + 2} "{path.name}"'

    return re.sub(r'^#include "([^"]+)"$', include, text.replace("#pragma once\n", "\n"), flags=re.M)
