"""The one reader of our own JSON formats: bounded when parsed, then held against their fields.

Records, notes of stages, metadata of weights and the like may come from anybody. Whatever is wrong
with one ends in one error of the caller's kind that names the file, the field, what was found and
what was expected. (Official files of benchmarks are read by `benchmarks.rows`.) No torch.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from x2vlm.errors import Error

LONGEST = 64 * 2**20
"""bytes of one file, or of one line of JSON lines"""
MOST_LINES = 2**30
"""bytes of a whole file of JSON lines that is read at once"""
DEEPEST = 32
"""lists and objects inside one another"""
LARGEST = 2**63 - 1
"""of whole numbers: seeds, counts, bytes"""

Parts = Iterator[tuple[str, Any, "Kind"]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value must be. words: the same for people. parts: (place, value, kind) inside it."""

    words: str
    fits: Callable[[Any], bool]
    parts: Callable[[Any], Parts] | None = None


# -- kinds of values ---------------------------------------------------------------------------


ANY = Kind("anything", lambda _: True)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text", lambda value: isinstance(value, str))
NAME = Kind(
    "a text in one line, of 1 to 1000 characters",
    lambda value: isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable(),
)
FILE_NAME = Kind(
    "the name of a file in the same folder",
    lambda value: (
        isinstance(value, str) and value not in ("", ".", "..") and not re.search(r"[/\\:]", value)
    ),
)


def whole(low: int = -LARGEST, high: int = LARGEST) -> Kind:
    """A whole number from `low` to `high`; true is not one."""
    ends = "" if low == -LARGEST else f" from {low}" + ("" if high == LARGEST else f" to {high}")
    return Kind(f"a whole number{ends}", lambda value: type(value) is int and low <= value <= high)


def number(low: float = -math.inf, high: float = math.inf) -> Kind:
    """A finite number from `low` to `high`; true is not one."""
    ends = (
        "" if low == -math.inf else f" from {low:g}" + ("" if high == math.inf else f" to {high:g}")
    )
    return Kind(
        f"a number{ends}",
        lambda value: type(value) in (int, float) and low <= value <= high and math.isfinite(value),
    )


def word(*known: str) -> Kind:
    """One of these texts."""
    return Kind(
        f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known
    )


def optional(kind: Kind) -> Kind:
    """null, or a value of `kind`."""
    parts = kind.parts
    return Kind(
        f"null or {kind.words}",
        lambda value: value is None or kind.fits(value),
        None if parts is None else lambda value: iter(()) if value is None else parts(value),
    )


def listed(kind: Kind, count: int | None = None) -> Kind:
    """A list of values of `kind`; count: how many there must be."""
    return Kind(
        "a list" if count is None else f"a list of {count} values",
        lambda value: isinstance(value, (list, tuple)) and count in (None, len(value)),
        lambda value: ((f"[{place}]", item, kind) for place, item in enumerate(value)),
    )


def mapped(kind: Kind) -> Kind:
    """An object whose values are all of `kind`."""
    return Kind(
        "an object",
        lambda value: isinstance(value, Mapping),
        lambda value: ((f".{name}", item, kind) for name, item in value.items()),
    )


def shaped(needed: Mapping[str, Kind], more: Mapping[str, Kind] | None = None) -> Kind:
    """An object with all fields of `needed` and perhaps of `more`; other fields may be anything."""
    known = {**needed, **(more or {})}

    def parts(value: Mapping[str, Any]) -> Parts:
        for name, kind in known.items():
            if name in value or name in needed:
                yield f".{name}", value.get(name, _ABSENT), kind

    return Kind("an object", lambda value: isinstance(value, Mapping), parts)


_ABSENT = object()
"""the value of a field that is not there; of no kind but ANY"""


def conform(value: Any, kind: Kind, where: str, error: type[Error], place: str = "") -> None:
    """Raise `error` for the first part of `value` that is not what `kind` says. where: the file;
    place: the name of the value in it."""
    if value is _ABSENT or not kind.fits(value):
        found = "is missing" if value is _ABSENT else f"is {shown(value)}"
        name = place.lstrip(".") or "the whole"
        raise error(f"{where}: {name} {found}\n  expected: {kind.words}")
    for name, part, inside in kind.parts(value) if kind.parts else ():
        conform(part, inside, where, error, place + name)


def shown(value: Any) -> str:
    """A value for a message, cut short; of containers only what they are."""
    if isinstance(value, (Mapping, list, tuple)):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)} values"
    named = {None: "null", True: "true", False: "false"}
    text = named[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


# -- parsing -----------------------------------------------------------------------------------


def loads(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON text; ValueError in words for anything that is not plain.

    That is NaN and infinite numbers, whole numbers beyond 64 bits, a field twice in one object,
    texts that are not Unicode or hold NUL, and nesting deeper than DEEPEST. finite: false lets NaN
    and infinite numbers through, as a loss that diverged has them.
    """
    try:
        constant = _no_number if finite else float
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=constant, parse_int=_whole
        )
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST}") from None
    _check_parts(value, finite)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the field {twice[:60]!r} is there twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number; what is undefined is null")


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > LARGEST:
        raise ValueError(f"the whole number {digits[:20]}… has more than 64 bits")
    return int(digits)


def _check_parts(value: Any, finite: bool) -> None:
    """ValueError for what JSON allows and nothing of ours can mean. Level by level, not recursive:
    the depth is what is to be found."""
    level = [value]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                _check_text(item)
            elif finite and isinstance(item, float) and not math.isfinite(item):
                raise ValueError("a number is not finite (beyond 1e308)")
        if not below:
            return
        level = below
    raise ValueError(f"it is nested deeper than {DEEPEST}")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a text holds the character NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the text {text[:20]!a} is not Unicode (half a surrogate)") from None


def parse(text: str | bytes, where: str, error: type[Error], what: str = "") -> dict[str, Any]:
    """The object of a JSON text. what: it is called so in messages."""
    if len(text) > LONGEST:
        raise error(f"{where}: {what or 'the JSON'} is longer than {LONGEST} bytes")
    try:
        value = loads(text)
    except ValueError as wrong:
        named = f"{what}: " if what else ""
        raise error(f"{where}: {named}not readable as JSON ({wrong})") from wrong
    if not isinstance(value, dict):
        raise error(f"{where}: {what or 'the whole'} is {shown(value)}\n  expected: a JSON object")
    return value


def read(path: Path, error: type[Error], kind: Kind | None = None) -> dict[str, Any]:
    """The JSON object in a file of at most LONGEST bytes, held against `kind`."""
    value = parse(read_bytes(path, error), str(path), error)
    if kind is not None:
        conform(value, kind, str(path), error)
    return value


def read_bytes(path: Path, error: type[Error], most: int = LONGEST) -> bytes:
    """A file of at most `most` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as wrong:
        raise error(f"{path}: not readable ({wrong})") from wrong
    if len(data) > most:
        raise error(f"{path}: larger than {most} bytes, the most that is read of such a file")
    return data


def lines(file: TextIO) -> Iterator[str]:
    """The lines of a text file; ValueError for one longer than LONGEST characters."""
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise ValueError(f"a line is longer than {LONGEST} characters")
        yield line


def rows(path: Path, kind: Kind, error: type[Error]) -> Iterator[Any]:
    """The values of JSON lines that are of `kind`. Others are left out: this is for caches and
    curves, whose last line a kill may have cut, and of which no score is made."""
    for line in read_bytes(path, error, MOST_LINES).split(b"\n"):
        try:
            value = loads(line, finite=False)
            conform(value, kind, "a line", Error)
        except (ValueError, Error):
            continue
        yield value
