"""A prediction that knows the file and row it came from, for the messages of later stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from x2vlm.types import Prediction


class SourcedPrediction(dict[str, Any]):
    """The values of one row; source: "FILE:ROW", rows counted from 1."""

    __slots__ = ("source",)

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        super().__init__(values)
        self.source = source


def replaced(row: Prediction, **values: Any) -> Prediction:
    """The row with other values, and the same source if it has one."""
    new = {**row, **values}
    return SourcedPrediction(new, row.source) if isinstance(row, SourcedPrediction) else new


def where(row: Prediction) -> str:
    """ "FILE:ROW" of a row that came from a file, else its id."""
    return row.source if isinstance(row, SourcedPrediction) else f"prediction {row.get('id')!r}"
