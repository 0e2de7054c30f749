"""Tables as text: CSV with whatever separator, quoting, and JSON inside its cells."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from x2vlm.errors import DataError

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_LOOKED_AT = 50  # lines from which the separator is recognised


class Dialect(NamedTuple):
    """How cells are told apart. quoted: a cell in double quotes may hold separators and line ends;
    padded: a blank follows each separator."""

    separator: str
    quoted: bool = True
    padded: bool = False

    def cells(self, text: str) -> list[list[str]]:
        """The rows of a text, blank ones left out; csv.Error when it cannot be one."""
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            skipinitialspace=self.padded,
        )
        return [cells for cells in reader if cells and any(cell.strip() for cell in cells)]


def dialect_of(text: str) -> Dialect:
    """The dialect under which the first lines are most alike; a comma when none separates them."""
    head = text.split("\n", 1)[0]
    sample = "\n".join(text.split("\n", _LOOKED_AT)[:_LOOKED_AT])
    best, found = (0.0, 1), Dialect(",")
    for separator in SEPARATORS:
        padded = f"{separator} " in head and separator != "\t"
        for quoted in (True, False):
            dialect = Dialect(separator, quoted, padded)
            try:
                rows = dialect.cells(sample)
            except csv.Error:
                continue
            width = len(rows[0]) if rows else 0
            alike = sum(len(row) == width for row in rows) / max(len(sample.splitlines()), 1)
            if width > 1 and (round(alike, 1), width) > best:
                best, found = (round(alike, 1), width), dialect
    return found


def read_cells(text: str, path: Path) -> tuple[list[str], list[list[str]], Dialect]:
    """The head, the rows below it, and the dialect; DataError when no table can be made of it."""
    dialect = dialect_of(text)
    try:
        rows = dialect.cells(text)
    except csv.Error as error:
        raise DataError(
            f"is no CSV ({error})",
            source=str(path),
            expected="CSV with a head",
            fix="fetch the file again, or name another one",
        ) from error
    return [name.strip() for name in rows[0]], rows[1:], dialect


def named_cells(head: Sequence[str], cells: Sequence[str], dialect: Dialect, source: str) -> Any:
    """{name: value} of one row; DataError when it has not as many cells as the head."""
    if len(cells) != len(head):
        raise DataError(
            f"the row has {len(cells)} fields, the head {len(head)} "
            f"(separated by {SEPARATORS[dialect.separator]})",
            source=source,
            expected=f"fields {', '.join(head)}",
            fix="put cells that hold the separator into double quotes, or correct the row",
        )
    return {name: _value(cell) for name, cell in zip(head, cells, strict=True)}


def _value(cell: str) -> Any:
    """A cell: None when empty, a list or object as JSON or Python writes it, else the text."""
    text = cell.strip()
    if not text:
        return None
    if text[0] + text[-1] in ("[]", "{}"):
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return cell
