"""How ids are written: one place where the ids of predictions are matched to those of a split.

COCO's image 42 is called 42, "42", "000000000042", "COCO_val2014_000000000042",
"COCO_val2014_000000000042.jpg", "val2014/COCO_val2014_000000000042.jpg" and "coco_42" in the result
files that circulate. An id that fits to the letter is never looked at twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from x2vlm.types import Record

_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".mp4",
        ".avi",
        ".mkv",
        ".webm",
        ".mov",
    )
)
_SCALAR = re.compile(r"(?:(?:np|numpy|torch)\.)?(?:u?int\d*|str_?|tensor)\((.*?)(?:,.*)?\)")
_NUMBER = re.compile(r"(?:[A-Za-z][A-Za-z0-9]*_)*0*([0-9]+)(?:\.0)?")


def text_of(value: Any) -> str | None:
    """An id as text: of a text, or of a whole number (42.0 is one); None of anything else."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if type(value) is int else None


def plain(text: str) -> str:
    """The id without folder, file suffix, and the prefix and padding of a number."""
    text = text.strip()
    if scalar := _SCALAR.fullmatch(text):
        text = scalar[1].strip("'\" ")
    name = PurePosixPath(text.replace("\\", "/"))
    found = name.stem if name.suffix.lower() in _SUFFIXES else name.name
    number = _NUMBER.fullmatch(found)
    return number[1] if number else found


class IdSpellings:
    """The ids of a split. respelt: how an id was written -> the id that is meant."""

    def __init__(
        self, ids: Iterable[str], records: Sequence[Record] = (), prefix: str = ""
    ) -> None:
        """records: those whose ids are the ids of their image, which may be called by its file.
        prefix: the language in front of every id ("de:"), which may be left out."""
        self.ids = frozenset(ids)
        self.respelt: dict[str, str] = {}
        self._records, self._prefix = records, prefix
        self._tables: list[dict[str, str]] = []

    def find(self, given: str) -> str | None:
        """The id of the split that is meant; None when there is none, or two are possible."""
        for exact in (given, self._prefix + given):
            if exact in self.ids:
                return exact
        found = self._look_up(given)
        if found is not None:
            self.respelt.setdefault(given, found)
        return found

    def name(self, given: str) -> str:
        """The id of the split that is meant; another one as it is, in the language of the split."""
        return self.find(given) or self._prefix + given.removeprefix(self._prefix)

    def note(self) -> str:
        """What was matched in spite of its spelling, in words; empty when nothing was."""
        if not self.respelt:
            return ""
        given, id_ = next(iter(self.respelt.items()))
        count = len(self.respelt)
        return f"{count} ids are spelt otherwise than in the split: {given!r} is {id_!r}"

    def _look_up(self, given: str) -> str | None:
        """By the image's file name, then by what is left without prefix and padding."""
        if not self._tables:
            bare = _unique((plain(id_.removeprefix(self._prefix)), id_) for id_ in self.ids)
            self._tables = [self._names(), bare]
        names, bare = self._tables
        file = PurePosixPath(given.strip().replace("\\", "/"))
        for text in (file.name, file.stem):
            if text in names:
                return names[text]
        return bare.get(plain(given.removeprefix(self._prefix)))

    def _names(self) -> dict[str, str]:
        paths = [
            (PurePosixPath(record.images[0].path), record.id)
            for record in self._records
            if len(record.images) == 1
        ]
        return _unique(pair for path, id_ in paths for pair in ((path.name, id_), (path.stem, id_)))


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """text -> id, of texts that belong to one id alone."""
    found: dict[str, str] = {}
    double = set()
    for text, id_ in pairs:
        if found.setdefault(text, id_) != id_:
            double.add(text)
    return {text: id_ for text, id_ in found.items() if text not in double}


def spellings_of(task: str, records: Sequence[Record]) -> IdSpellings:
    """Of the ids that rows of this task carry; in retrieval those of the images."""
    languages = {record.language for record in records}
    prefix = f"{min(languages)}:" if len(languages) == 1 else ""
    prefix = prefix if records and records[0].id.startswith(prefix) else ""
    by_image = records if task in ("captioning", "retrieval") else ()
    return IdSpellings([record.id for record in records], by_image, prefix)
