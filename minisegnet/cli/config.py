"""The options of a command from a TOML file.

What an option is called, which values it takes and what it is if nobody says anything is declared once, where the command
describes its arguments to argparse. `declared` reads that declaration; everything else follows from it:

    default  <  file (--config)  <  command line
"""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

ONCE = ("config", "write-config", "resume")  # about this call of the command, so not in a file


@dataclass(frozen=True)
class Option:
    """An option of a command: `key` is its name without ``--``, `section` the title of its group."""

    key: str
    section: str
    action: argparse.Action
    default: Any


def declared(command: argparse.ArgumentParser) -> dict[str, Option]:
    """The options of a command, by key; from now on its namespace holds only those that were given."""
    found = {}
    for group in command._action_groups:  # argparse has no public way to list what was declared
        for action in group._group_actions:
            if action.option_strings and action.dest != "help":
                key = action.option_strings[-1].removeprefix("--")
                found[key] = Option(key, group.title or "", action, action.default)
                action.default = argparse.SUPPRESS
    return found


def settled(given: Mapping[str, Any], options: Mapping[str, Option], file: Mapping[str, Any]) -> argparse.Namespace:
    """Every option: as given, else as in the file, else its default. `given` goes by attribute, `file` by key."""
    values = {o.action.dest: given.get(o.action.dest, file.get(o.key, o.default)) for o in options.values()}
    return argparse.Namespace(**values)


def read(path: str, options: Mapping[str, Option]) -> dict[str, Any]:
    """The options in a TOML file, by key.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, it is no TOML, or holds a key or a value that the command does not know; names it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no configuration file {path}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is no text in UTF-8 ({error})") from error
    return parse(text, path, options)


def parse(text: str, where: str, options: Mapping[str, Option]) -> dict[str, Any]:
    """As `read`, of a text; `where` is how messages call it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: this is not TOML: {error}") from error
    found: dict[str, Any] = {}
    sections = {option.section for option in options.values()}
    for name, content in document.items():
        if isinstance(content, dict):
            if name not in sections:
                raise ValueError(f"{where}: no table [{name}]{_nearest(name, sections)}")
            entries, section = content, name
        else:
            entries, section = {name: content}, None
        for key, value in entries.items():
            option = _known(key, section, where, options)
            if key in found:
                raise ValueError(f"{where}: {key} is there twice")
            found[key] = _converted(value, option, where)
    return found


def write(values: argparse.Namespace, options: Mapping[str, Option], leave_out: tuple[str, ...] = ()) -> str:
    """The options as a TOML text that `parse` reads; those without a value are left out."""
    lines = ["# minisegnet train --config THIS_FILE"]
    for section in dict.fromkeys(option.section for option in options.values()):
        entries = []
        for option in options.values():
            value = getattr(values, option.action.dest)
            if option.section == section and option.key not in (*ONCE, *leave_out) and value is not None:
                entries.append(f"{option.key} = {_toml(value)}")
        if entries:
            lines += ["", f"[{section}]", *entries]
    return "\n".join(lines) + "\n"


def _known(key: str, section: str | None, where: str, options: Mapping[str, Option]) -> Option:
    if key in ONCE:
        raise ValueError(f"{where}: {key} belongs on the command line, not into a file")
    if key not in options:
        raise ValueError(f"{where}: no option {key!r}{_nearest(key, set(options) - set(ONCE))}")
    option = options[key]
    if section not in (None, option.section):
        raise ValueError(f"{where}: {key} belongs into [{option.section}], not into [{section}]")
    return option


def _nearest(name: str, known: set[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"


def _converted(value: Any, option: Option, where: str) -> Any:
    """A value of TOML as the command line would have it."""
    action, said = option.action, f"{where}: {option.key} = {_toml(value) if not isinstance(value, dict) else '{...}'}"
    if action.nargs == 0:  # a flag
        if not isinstance(value, bool):
            raise ValueError(f"{said}: expected true or false")
        return value
    if isinstance(value, bool | dict) or (action.type is None and not isinstance(value, str)):
        raise ValueError(f"{said}: expected {'a string' if action.type is None else 'a value, as on the command line'}")
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        result = action.type(text) if callable(action.type) else text
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{said}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{said}: expected a {'whole ' if action.type is int else ''}number") from error
    if action.choices is not None and result not in action.choices:
        raise ValueError(f"{said}: choose one of {', '.join(map(str, action.choices))}")
    return result


def _toml(value: Any) -> str:
    """A value as TOML: its strings are JSON's, but for the one control character that JSON leaves as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):  # as on the command line: NAME=VALUE
        return _toml([f"{name}={v!r}" for name, v in value.items()])
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    return repr(value) if isinstance(value, int | float) else json.dumps(str(value))
