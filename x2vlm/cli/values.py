"""The value of a KEY=VALUE argument: the type of the setting decides how its text is read.

A text or a path is taken as it is written, whatever characters it holds. Numbers, true and false,
null and lists are written as YAML writes them. A text that is none of what is due is left as it is,
so that the check of the settings names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from x2vlm.ranges import Setting, SettingField
from x2vlm.settings import Settings

ANYTHING = SettingField("", "", Any, True, Setting("of no declared type"), None)
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_INTEGER = re.compile(r"[+-]?\d{1,4000}")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?\.?(inf|nan|infinity)", re.I)


def read_value(field: SettingField, text: str) -> Any:
    """The value that `text` stands for in a setting of this type."""
    if field.optional and field.kind is not Any and text in ("null", "None"):
        return None
    return _read(field.kind, field.setting, text)


def _read(kind: Any, setting: Setting, text: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is str or origin is Literal:
        return home(text) if setting.form == "path" else text
    if kind is Any:
        return _anything(text)
    if kind is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind is int or kind is float:
        number = _number(text.strip())
        return text if number is None or (kind is int and isinstance(number, float)) else number
    if origin in (Union, UnionType):
        found = [_read(part, setting, text) for part in parts if part is not str]
        return next((value for value in found if value != text), text)
    if origin is tuple:
        return tuple(_read(parts[0], setting, part) for part in _parts(text, setting))
    if isinstance(kind, type) and issubclass(kind, Settings):
        return text
    inner = parts[1] if parts else Any
    mapping = _mapping(text)
    if mapping is None or (isinstance(inner, type) and issubclass(inner, Settings)):
        return text
    return {name: _read(inner, setting, value) for name, value in mapping.items()}


def home(path: str) -> str:
    """A path with "~" in front, the user's home folder, written out."""
    return str(Path(path).expanduser()) if path == "~" or path.startswith("~/") else path


def split_commas(text: str) -> list[str]:
    """The parts of a comma list; commas in brackets or quotes do not part, nor does a comma after
    a backslash, which is taken away."""
    parts, open_brackets, quote, escaped = [""], list[str](), "", False
    for character in text:
        if escaped:
            parts[-1] = parts[-1][:-1] if character == "," else parts[-1]
            escaped = False
        elif character == "\\":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not parts[-1].strip():
            quote = character
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
        elif character == "," and not open_brackets:
            parts.append("")
            continue
        parts[-1] += character
    if quote or open_brackets:  # never closed: not meant as such
        return re.split(r"(?<!\\),", text)
    return parts


def _parts(text: str, setting: Setting) -> list[str]:
    """The parts of a list: "a,b" or "[a,b]", blanks around them and empty ones left out."""
    inside = text.strip()
    if inside.startswith("[") and inside.endswith("]"):
        inside = inside[1:-1]
    if setting.form == "path":
        return _paths(inside)
    parts = (_unquoted(part.strip()) for part in split_commas(inside))
    return [part for part in parts if part]


def _paths(text: str) -> list[str]:
    """A list of paths; a path that exists may hold commas."""
    rest, found = text.split(","), list[str]()
    while rest:
        counts = range(len(rest), 0, -1)
        count = next((n for n in counts if is_there(",".join(rest[:n]))), 1)
        found.append(",".join(rest[:count]))
        rest = rest[count:]
    return [path for path in found if path]


def is_there(path: str) -> bool:
    """Whether a file or folder of this name exists."""
    try:
        return bool(path) and Path(home(path)).exists()
    except (OSError, ValueError):  # too long, or a null character: not a path
        return False


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    return (
        float(text.replace(".inf", "inf").replace(".nan", "nan"))
        if _FLOAT.fullmatch(text)
        else None
    )


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _mapping(text: str) -> dict[str, str] | None:
    """The texts of "{a: 1, b: 2}" by name; None for anything else."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    rows = [part.partition(":") for part in split_commas(text[1:-1]) if part.strip()]
    if any(not colon for _, colon, _ in rows):
        return None
    return {_unquoted(name.strip()): value.strip() for name, _, value in rows}


def _anything(text: str) -> Any:
    """A value of no declared type: what it looks like; quotes make a text of it."""
    plain = text.strip()
    if plain in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[plain]
    number = _number(plain)
    if number is not None:
        return number
    if plain.startswith("[") and plain.endswith("]"):
        return [_anything(part.strip()) for part in split_commas(plain[1:-1]) if part.strip()]
    if (mapping := _mapping(plain)) is not None:
        return {name: _anything(value) for name, value in mapping.items()}
    return _unquoted(text)


def alternatives(field: SettingField, text: str) -> Sequence[str]:
    """What a sweep (`-m`) tries in turn: the parts between commas, as they are written.

    A path that exists is one value, whatever commas it holds, and so is the folder that the sweep
    writes to.
    """
    if field.setting.form == "path" and (field.key == "out" or is_there(text)):
        return [text]
    if field.kind is str:
        return [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]
    return [part.strip() for part in split_commas(text)]
