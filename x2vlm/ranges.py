"""One setting: what it means, which values it may hold, and how a wrong one is named."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from x2vlm.errors import close

LONGEST_NAME = 200
"""bytes of a name that becomes a folder: a suffix still fits into the 255 of file systems"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What one field means and may hold, beside its type. Limits are of numbers, or of each number
    of a list or mapping."""

    meaning: str
    """one line, in words"""
    unit: str = ""
    least: float | None = None
    """smallest allowed value"""
    above: float | None = None
    """every allowed value is larger"""
    most: float | None = None
    """largest allowed value"""
    below: float | None = None
    """every allowed value is smaller"""
    choices: tuple[str, ...] = ()
    """the allowed texts; empty: any"""
    required: bool = False
    """a text, list or mapping that must not be empty"""
    form: Literal["text", "path", "name"] = "text"
    """of texts. path: of a file or folder. name: becomes one part of a path, or is empty"""
    key: str = ""
    """as written on the command line; empty: the name below the KEY of the class"""

    def contains(self, number: float) -> bool:
        """Whether a number is within the limits."""
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def limits(self) -> str:
        """The limits in words, with a blank in front: " from 0 to 1"; "" without."""
        low = "" if self.least is None else f" from {_plain(self.least)}"
        low = low if self.above is None else f" above {_plain(self.above)}"
        if self.most is not None:
            return f"{low} to {_plain(self.most)}" if low else f" of at most {_plain(self.most)}"
        return low if self.below is None else f"{low}{' and' if low else ''} below {self.below:g}"


class SettingField(NamedTuple):
    """One field of a class of settings. key: in full, as on the command line. kind: its type,
    without None, which `optional` stands for. default: MISSING when it must be given."""

    name: str
    key: str
    kind: Any
    optional: bool
    setting: Setting
    default: Any

    def fits(self, value: Any, *, ranges: bool = True) -> bool:
        """Whether the field may hold `value`; without `ranges` the type alone counts."""
        if value is None:
            return self.optional
        return _fits(self.kind, self.setting, value, ranges)

    def expected(self) -> str:
        """What the field may hold, in words: "a whole number from 1 to 100 or null"."""
        words = _expected(self.kind, self.setting)
        return f"{words} or null" if self.optional else words

    def problem(self, value: Any) -> Problem:
        """The problem of a value that does not fit."""
        choices = _choices(self.kind, self.setting)
        texts = value if isinstance(value, tuple) else [value]
        wrong = [text for text in texts if isinstance(text, str) and text not in choices]
        near = close(wrong[0], choices) if choices and wrong else []
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        got = shown(list(value) if isinstance(value, tuple) else value)
        return Problem(self.key, f"must be {self.expected()}, got {got}{hint}")


class Problem(NamedTuple):
    """What is wrong with one setting: "KEY WHAT" is the sentence."""

    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.key} {self.what}" if self.key else self.what


def is_name(text: str) -> bool:
    """Whether a text can be one part of a path: the folder of a run, the file of a table.

    Refused: separators, "." in front (so "." and ".."), "~" in front, characters that cannot be
    seen, blanks at the ends, more than LONGEST_NAME bytes, and the empty text.
    """
    return (
        bool(text)
        and text == text.strip()
        and not text.startswith((".", "~"))
        and not set(text) & set("/\\")
        and not any(unicodedata.category(character)[0] == "C" for character in text)
        and len(text.encode(errors="replace")) <= LONGEST_NAME
    )


def shown(value: Any) -> str:
    """A value for a message, cut when it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"


# -- kinds -----------------------------------------------------------------------------------


def _fits(kind: Any, setting: Setting, value: Any, ranges: bool) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return isinstance(value, str) and (value in parts or not ranges)
    if origin in (Union, UnionType):
        return any(_fits(part, setting, value, ranges) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple) or (ranges and setting.required and not value):
            return False
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
        return len(value) == len(kinds) and all(
            _fits(one, setting, item, ranges) for one, item in zip(kinds, value, strict=True)
        )
    if origin is not None:  # Mapping[str, …]
        return (
            isinstance(value, Mapping)
            and not (ranges and setting.required and not value)
            and all(isinstance(name, str) for name in value)
            and all(_fits(parts[1], setting, item, ranges) for item in value.values())
        )
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int or kind is float:
        return isinstance(value, (int, kind)) and _number_fits(setting, value, ranges)
    return isinstance(value, kind) and (kind is not str or _text_fits(setting, value, ranges))


def _number_fits(setting: Setting, value: float, ranges: bool) -> bool:
    finite = isinstance(value, int) or math.isfinite(value)
    return finite and (not ranges or setting.contains(value))


def _text_fits(setting: Setting, value: str, ranges: bool) -> bool:
    if "\0" in value:
        return False
    if not ranges:
        return True
    if not value:
        return not setting.required and (not setting.choices or "" in setting.choices)
    if setting.choices:
        return value in setting.choices
    return setting.form != "name" or is_name(value)


def _expected(kind: Any, setting: Setting) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if choices := _choices(kind, setting):
        named = [one or "empty" for one in choices]
        words = " or ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
        return f"a list of {words}" if origin is tuple else words
    if origin in (Union, UnionType):
        return " or ".join(_expected(part, setting) for part in parts)
    if origin is tuple:
        count = "" if parts[-1] is Ellipsis else f"{len(parts)} "
        required = ", not empty" if setting.required else ""
        return f"a list of {count}{_several(parts[0], setting)}{required}"
    if origin is not None:
        return f"a mapping from names to {_several(parts[1], setting)}"
    if kind is bool:
        return "true or false"
    if kind is int or kind is float:
        return f"a {'whole ' if kind is int else ''}number{setting.limits()}"
    if kind is not str:
        return f"{kind.__name__}"
    return _texts(setting)


def _texts(setting: Setting) -> str:
    if setting.form == "name":
        return (
            "one name of a folder, without / and \\, not beginning with . or ~, without "
            f"invisible characters, of at most {LONGEST_NAME} bytes"
        )
    words = "a path" if setting.form == "path" else "a text"
    return f"{words} that is not empty" if setting.required else words


def _several(kind: Any, setting: Setting) -> str:
    names = {int: "whole numbers", float: "numbers", str: "texts"}
    words = names.get(kind, "values" if kind is Any else "settings")
    return f"{words}{setting.limits()}"


def _choices(kind: Any, setting: Setting) -> tuple[str, ...]:
    """The texts to choose from, of a value or of the parts of a list; () when there are others."""
    kind = get_args(kind)[0] if get_origin(kind) is tuple else kind
    return setting.choices or (get_args(kind) if get_origin(kind) is Literal else ())


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else f"{number:g}"
