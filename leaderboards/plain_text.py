"""Texts that leave the project: no hidden characters, no spreadsheet formulas.

Names in records and data come from anywhere. A terminal obeys control characters, a reader is
deceived by characters that reorder the text, a spreadsheet computes a cell that begins with "=".
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control, format (direction, zero width), surrogates, separators of lines"""
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""what spreadsheets take for the start of a formula, in both widths"""


def visible(text: str) -> str:
    r"""`text` with hidden characters as JSON escapes them (\u202e); tabs and line ends stay."""
    if text.isascii() and (text.isprintable() or all(map(_stays, text))):
        return text
    return "".join(character if _stays(character) else _escape(character) for character in text)


def _stays(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in HIDDEN


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV of one line per row. Texts that a spreadsheet would compute begin with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = visible(" ".join(value.splitlines()).replace("\t", " "))
    return f"'{text}" if text.lstrip().startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
