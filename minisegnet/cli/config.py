"""Options of a command: from the command line, from a TOML file, or their defaults.

Each option is declared once, as the field of a dataclass (see `minisegnet.options`). Here the declarations become arguments of
argparse and keys of a TOML file. For the value of an option the command line wins over the file, and the file over the default.
"""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..options import FLAG, Kind, Option, nearest


def add_options(command: argparse.ArgumentParser, options: Iterable[Option], defaults: bool = True) -> None:
    """Declare options to argparse, in a group for each section.

    Parameters
    ----------
    defaults : bool
        Whether an option that is not typed has its default in the namespace. If not, it is missing there, so that it can be
        taken from a file.
    """
    groups: dict[str, Any] = {"options": command}
    for about in options:
        if not about.typed:
            continue
        if about.section not in groups:
            groups[about.section] = command.add_argument_group(about.section)
        arguments: dict[str, Any] = {"dest": about.name, "help": about.described.replace("%", "%%")}
        arguments["default"] = about.default if defaults else argparse.SUPPRESS
        if about.kind is FLAG:
            arguments["action"] = "store_true"
        elif about.kind.choices:
            arguments["choices"] = about.kind.choices
        else:
            arguments |= {"type": typed(about.kind), "metavar": about.kind.metavar}
        groups[about.section].add_argument(f"--{about.key}", **arguments)


def settled(given: Mapping[str, Any], options: Mapping[str, Option], file: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every option, by name: as given, else as in the file, else its default."""
    return {name: given.get(name, file.get(name, about.default)) for name, about in options.items()}


def read(path: str, options: Mapping[str, Option]) -> dict[str, Any]:
    """The options in a TOML file, by name.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is not TOML, or has a key or a value that the command does not know; the message names it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no configuration file {path}")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # Windows begins a text in UTF-8 with a mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is not text in UTF-8 ({error})") from error
    return parse(text, path, options)


_LONGEST, _DEEPEST = 1 << 20, 20


def parse(text: str, where: str, options: Mapping[str, Option]) -> dict[str, Any]:
    """The options in a TOML text, by name; messages call it `where`."""
    # No file of options is like this, and the parser's time grows with the square of a key's length.
    if len(text) > _LONGEST or any(line.partition("=")[0].count(".") > _DEEPEST for line in text.splitlines()):
        raise ValueError(f"{where}: more than {_LONGEST} characters, or a key of more than {_DEEPEST} parts: this is not a file of options")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: this is not TOML: {error}") from error
    by_key = {about.key: about for about in options.values() if about.typed}
    sections = {about.section for about in by_key.values()}
    found: dict[str, Any] = {}
    for name, content in document.items():
        if isinstance(content, dict):
            if name not in sections:
                raise ValueError(f"{where}: no table [{name}]: {nearest(name, sections)}")
            entries, section = content, name
        else:
            entries, section = {name: content}, None
        for key, value in entries.items():
            about = _known(key, section, where, by_key)
            if about.name in found:
                raise ValueError(f"{where}: {key} appears twice")
            found[about.name] = _converted(value, about, where)
    return found


def write(values: Mapping[str, Any], options: Mapping[str, Option], leave_out: tuple[str, ...] = ()) -> str:
    """The options as a TOML text that `parse` reads, without those that have no value and those named in `leave_out`."""
    written = [o for o in options.values() if o.typed and o.in_file and o.name not in leave_out and values[o.name] not in (None, {})]
    lines = ["# minisegnet train --config THIS_FILE"]
    for section in dict.fromkeys(about.section for about in written):
        lines += ["", f"[{section}]", *(f"{o.key} = {_toml(values[o.name])}" for o in written if o.section == section)]
    return "\n".join(lines) + "\n"


def typed(kind: Kind) -> Callable[[str], Any]:
    """The ``type`` of an argument for argparse: makes a value of a text, or an error that says what was expected."""

    def read_value(text: str) -> Any:
        try:
            return _value(text, kind)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from error

    return read_value


def _value(text: str, kind: Kind) -> Any:
    try:
        value = kind.read(text)
    except ValueError:
        value = None
    if value is None or not kind.fits(value):
        raise ValueError(f"expected {kind.expected}")
    return value


def _known(key: str, section: str | None, where: str, by_key: Mapping[str, Option]) -> Option:
    if key not in by_key:
        raise ValueError(f"{where}: no option {key!r}: {nearest(key, [k for k, o in by_key.items() if o.in_file])}")
    about = by_key[key]
    if not about.in_file:
        raise ValueError(f"{where}: {key} can only be given on the command line")
    if section not in (None, about.section):
        raise ValueError(f"{where}: {key} belongs in [{about.section}], not in [{section}]")
    return about


def _converted(value: Any, about: Option, where: str) -> Any:
    """A value of TOML as the command line would have it."""
    said = f"{where}: {about.key} = {_toml(value) if not isinstance(value, dict) else '{...}'}"
    if type(value) not in about.kind.toml:
        raise ValueError(f"{said}: expected {about.kind.expected}")
    if about.kind is FLAG:
        return value
    try:
        return _value(",".join(map(str, value)) if isinstance(value, list) else str(value), about.kind)
    except ValueError as error:
        raise ValueError(f"{said}: {error}") from error


def _toml(value: Any) -> str:
    """A value as TOML. Its strings are those of JSON, except that TOML forbids one more control character."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):  # as on the command line: NAME=VALUE
        return _toml(
            [
                f"{name}={v if isinstance(v, str) else repr(v).lower() if isinstance(v, bool | None) else repr(v)}"
                for name, v in value.items()
            ]
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    return repr(value) if isinstance(value, int | float) else json.dumps(str(value))
