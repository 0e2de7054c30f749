"""One row of an official file with typed access; a wrong field is an error naming file and row."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.files import Files
from x2vlm.errors import DataError
from x2vlm.types import Media, Record


@dataclass(frozen=True, slots=True)
class Row:
    """source: "FILE:ROW" (rows from 1, or the key of an object). values: the fields."""

    values: Mapping[str, Any]
    source: str
    key: str = ""

    def has(self, *names: str) -> bool:
        """Whether all of these fields are there and not null."""
        return all(self.values.get(name) is not None for name in names)

    def error(self, what: str, expected: str = "", fix: str = "") -> DataError:
        """A DataError that points at this row."""
        fix = fix or "correct the row, fetch the file again, or run with on_error=skip"
        return DataError(what, source=self.source, expected=expected, fix=fix)

    def wrong(self, name: str, expected: str) -> DataError:
        """The error of a field that is missing or of the wrong kind."""
        if name not in self.values:
            known = ", ".join(sorted(map(str, self.values))) or "none"
            return self.error(f"no field {name!r} (fields: {known})", f"{name!r}: {expected}")
        value = repr(self.values[name])
        return self.error(
            f"field {name!r} is {value[:60]}{'…' if len(value) > 60 else ''}",
            f"{name!r}: {expected}",
        )

    def text(self, *names: str) -> str:
        """A text that is not empty, of the first of these fields that is there."""
        name = self._first(names)
        value = self.values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "a text that is not empty")
        return value

    def texts(self, *names: str, empty: bool = False) -> tuple[str, ...]:
        """One text or a list of texts, at least one, none of them empty unless `empty`."""
        name = self._first(names)
        value = self.values.get(name)
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not items:
            raise self.wrong(name, "a list of texts that is not empty")
        if not all(isinstance(item, str) and (empty or item.strip()) for item in items):
            raise self.wrong(name, "texts, none of them empty")
        return tuple(items)

    def id(self, *names: str) -> str:
        """A whole number or a text, as text."""
        name = self._first(names)
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
            raise self.wrong(name, "a whole number or a text")
        return str(value)

    def word(self, name: str, known: Iterable[str]) -> str:
        """One of the texts `known`."""
        if self.values.get(name) not in (words := tuple(known)):
            raise self.wrong(name, f"one of {', '.join(words)}")
        return str(self.values[name])

    def integer(self, name: str) -> int:
        """A whole number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def rows(self, name: str) -> list[Row]:
        """A list of objects inside this one, each with this row's source."""
        value = self.values.get(name)
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
            raise self.wrong(name, "a list of objects")
        return [Row(v, self.source) for v in value]

    def box(self, name: str = "bbox", size: Sequence[int] | None = None) -> list[float]:
        """[x, y, w, h] in pixels, of positive area, inside `size` = (width, height) when known.

        One pixel of overhang is allowed: official boxes are rounded.
        """
        value = self.values.get(name)
        if (
            not isinstance(value, (list, tuple))
            or len(value) != 4
            or not all(type(v) in (int, float) and math.isfinite(v) for v in value)
        ):
            raise self.wrong(name, "[x, y, width, height], four numbers in pixels")
        x, y, w, h = (float(v) for v in value)
        if w <= 0 or h <= 0:
            raise self.wrong(name, "a box of positive width and height")
        if size and (x < -1 or y < -1 or x + w > size[0] + 1 or y + h > size[1] + 1):
            raise self.wrong(name, f"a box inside the image of {size[0]} x {size[1]} pixels")
        return [x, y, w, h]

    def picture(self, name: str) -> Media | None:
        """The image that this field holds itself: a hub column, or base64 text; None for others."""
        value = self.values.get(name)
        if isinstance(value, bytes):
            return Media(f"{self.source}#{name}", inline=(value,))
        if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
            return Media(f"{self.source}#{value.get('path') or name}", inline=(value["bytes"],))
        return None

    def base64(self, name: str) -> Media:
        """The image that this field holds as base64 text."""
        try:
            data = base64.b64decode(self.text(name), validate=True)
        except binascii.Error as error:
            raise self.wrong(name, "an image file in base64") from error
        return Media(f"{self.source}#{name}", inline=(data,))

    def _first(self, names: Sequence[str]) -> str:
        return next((name for name in names if name in self.values), names[0])


def index(rows: Iterable[Row], name: str) -> dict[str, Row]:
    """The rows of a table by their id; DataError for one that occurs twice: which is meant?"""
    found: dict[str, Row] = {}
    for row in rows:
        id_ = row.id(name)
        if id_ in found:
            raise row.error(
                f"{name} {id_} occurs twice (first at {found[id_].source})",
                "every id once",
                "remove the doubled row, or fetch the file again",
            )
        found[id_] = row
    return found


def each(
    files: Files, rows: Iterable[Row], make: Callable[[Row], Record | Sequence[Record] | None]
) -> Iterator[Record]:
    """The records that `make` makes of each row; a bad row goes to `files.skip`.

    An id that occurs twice is a bad row: keeping either one would change the score.
    """
    seen: dict[str, str] = {}
    for row in rows:
        try:
            made = make(row)
            records = [made] if isinstance(made, Record) else list(made or ())
            for record in records:
                if record.id in seen:
                    raise row.error(
                        f"id {record.id!r} occurs twice (first at {seen[record.id]})",
                        "every id once",
                        "remove the doubled row, or fetch the file again",
                    )
        except DataError as error:
            files.skip(error)
            continue
        for record in records:
            seen[record.id] = record.source
            yield record
