"""Rows of a predictions file, whatever carries them: JSON, JSON lines, a table of text columns.

The carrier is recognised by content, never by the file's ending. Rows keep their place in the file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from x2vlm import plain
from x2vlm.errors import PredictionError

LISTS = ("results", "annotations", "predictions", "answers", "outputs", "data", "rows")
"""keys of an object under which a list of rows may stand"""
SEPARATORS = ",;\t|"
KEY = "(key)"
"""the id of a row that was found under that key of an object"""
VALUE = "(value)"
"""what was found there when it is not an object"""


@dataclass(frozen=True)
class Carried:
    """values: rows, mostly objects. sources: "FILE:ROW" of each. carrier: "json", or "table", whose
    values are texts. head: names of a table's columns; empty when it has none."""

    values: Sequence[Any]
    sources: Sequence[str]
    carrier: Literal["json", "table"] = "json"
    head: tuple[str, ...] = ()


def read_text(path: Path) -> str:
    """The file as UTF-8 text that is not empty; PredictionError otherwise."""
    try:
        text = plain.read_bytes(path, PredictionError, plain.MOST_LINES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictionError(f"{path}: not readable as UTF-8 text ({error})") from error
    if not text.strip():
        raise PredictionError(f"{path}: the file is empty; predict again")
    return text


def read_carried(path: Path, fields: Sequence[str]) -> Carried:
    """All rows. fields: names that the head of a table may have; without any, it has no head.

    Raises PredictionError naming file and row of what is neither JSON nor a table.
    """
    text = read_text(path)
    if text.lstrip()[0] not in "[{":
        return _table(path, text, fields)
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if line.strip())
    several = any(line.strip() for line in lines[first + 1 :])
    if several and _is_json(lines[first]):
        return _lines(path, lines)
    try:
        value = plain.loads(text, finite=False)
    except ValueError as error:
        _name_row(path, text)
        if several and lines[first].lstrip()[0] == "{" and lines[first].rstrip()[-1] == "}":
            return _lines(path, lines)  # names the line
        raise PredictionError(f"{path}: not complete JSON ({error}); fetch it again") from error
    return _value(path, value, fields)


def _name_row(path: Path, text: str) -> None:
    """PredictionError of the first row that cannot be read, of an array that can be taken apart."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return
    for number, row in enumerate(rows if isinstance(rows, list) else (), 1):
        try:
            plain.loads(json.dumps(row), finite=False)
        except (ValueError, RecursionError) as error:
            raise PredictionError(f"{path}:{number}: not a row of JSON ({error})") from error


def _is_json(line: str) -> bool:
    try:
        plain.loads(line, finite=False)
    except ValueError:
        return False
    return True


def _lines(path: Path, lines: Sequence[str]) -> Carried:
    values, sources = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                values.append(plain.loads(line, finite=False))
            except ValueError as error:
                raise PredictionError(f"{path}:{number}: not a line of JSON ({error})") from error
            sources.append(f"{path}:{number}")
    return Carried(values, sources)


def _value(path: Path, value: Any, fields: Sequence[str]) -> Carried:
    """Rows of one JSON value: a list, a list inside an object, an object by id, or a lone row."""
    if isinstance(value, Mapping):
        inside = [name for name in LISTS if isinstance(value.get(name), (list, dict))]
        if inside:
            return _value(path, value[inside[0]], fields)
        tables = [inner for inner in value.values() if _is_rows(inner)]
        if len(tables) == 1 and not set(value) & set(fields):
            return _value(path, tables[0], fields)
        if set(value) & set(fields):
            return Carried([value], [f"{path}:1"])
        rows = [{KEY: key, **_inner(inner)} for key, inner in value.items()]
        return Carried(rows, [f"{path}:{key}" for key in value])
    return Carried(value, [f"{path}:{number}" for number in range(1, len(value) + 1)])


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _inner(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {VALUE: value}


def _table(path: Path, text: str, fields: Sequence[str]) -> Carried:
    """Rows of columns. The head names the separator; without a head there are two columns."""
    head = next(line for line in text.splitlines() if line.strip())
    known = {name.lower(): name for name in fields}
    separator = max(
        SEPARATORS, key=lambda mark: (len(_cells(head, mark) & set(known)), head.count(mark))
    )
    named = bool(_cells(head, separator) & set(known))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    names: tuple[str, ...] = ()
    values: list[Any] = []
    sources: list[str] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            source = f"{path}:{reader.line_num}"
            if named and not names:
                names = tuple(known.get(cell.lower(), cell) for cell in cells)
                continue
            if names and len(cells) != len(names):
                raise PredictionError(
                    f"{source}: {len(cells)} fields, the head has {len(names)}: {', '.join(names)}"
                    "\n  to do: put texts that hold the separator between quotation marks"
                )
            values.append(dict(zip(names, cells, strict=True)) if names else cells)
            sources.append(source)
    except csv.Error as error:
        raise PredictionError(
            f"{path}:{reader.line_num}: not a row of a table ({error})"
        ) from error
    return Carried(values, sources, "table", names)


def _cells(line: str, separator: str) -> set[str]:
    return {cell.strip().strip('"').lower() for cell in line.split(separator)}
