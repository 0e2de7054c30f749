"""Numbers that papers printed: data with a source and a state, beside ours and never averaged in.

`published/numbers.csv` holds one row per number (fields FIELDS); `sources.json` what its source
keys mean. Made by `python -m leaderboards.curate`.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboards.board import Cell, Column, Row
from x2vlm.errors import RecordError, unknown

FOLDER = Path(__file__).parent / "published"
FIELDS = ("row", "benchmark", "split", "metric", "protocol", "model", "parameters", "data", "ours",
          "value", "printed", "state", "source", "note")  # fmt: skip
STATES = ("verified", "weak", "digitised", "conflicting", "memory")
"""In falling order of trust. verified: read as text or print in the named source; weak: extracted
by a machine, size of the model not named; digitised: measured from a figure; conflicting: sources
disagree, or a misprint; memory: no source was seen."""


@dataclass(frozen=True, slots=True)
class Number:
    """One published number. value: in our unit (None for a misprint), printed: as printed.

    ours: which of our models it belongs to, "base/4M", "large/1B", "" for other people's.
    """

    benchmark: str
    split: str
    metric: str
    protocol: str
    model: str
    parameters: int | None
    data: str
    ours: str
    value: float | None
    printed: str
    state: str
    source: str
    note: str = ""

    @property
    def column(self) -> Column:
        """The column of the official boards it belongs to."""
        return Column("official", self.benchmark, self.split, self.protocol, self.metric)

    @property
    def cell(self) -> Cell:
        """It as a cell of a board."""
        return Cell(self.value, state=self.state, source=self.source, printed=self.printed,
                    note=self.note)  # fmt: skip


@functools.cache
def numbers() -> tuple[Number, ...]:
    """All published numbers, in the order of the collected table."""
    with (FOLDER / "numbers.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Number(
                **{
                    name: row[name] for name in FIELDS if name not in ("row", "parameters", "value")
                },
                parameters=int(row["parameters"]) if row["parameters"] else None,
                value=float(row["value"]) if row["value"] else None,
            )
            for row in csv.DictReader(file)
        )


@functools.cache
def sources() -> dict[str, str]:
    """Source key -> where the number was read."""
    found: dict[str, str] = json.loads((FOLDER / "sources.json").read_text(encoding="utf-8"))
    return found


def published_rows(
    states: Collection[str] = ("verified",), among: Iterable[Number] | None = None
) -> list[Row]:
    """One row per model, size and data, as printed. states: how far to trust, out of STATES.

    When several sources print one cell the most trusted state wins, the earlier source on a tie.
    """
    for state in states:
        if state not in STATES:
            raise RecordError(unknown("state of published numbers", state, STATES))
    rows: dict[tuple[str, int | None, str], Row] = {}
    for number in numbers() if among is None else among:
        if number.state not in states:
            continue
        key = (number.model, number.parameters, number.data)
        row = rows.setdefault(
            key, Row("published", number.model, number.data, number.parameters, {})
        )
        held = row.cells.get(number.column)
        if held is None or STATES.index(number.state) < STATES.index(held.state):
            row.cells[number.column] = number.cell
    return list(rows.values())


def reference(
    column: Column, model: str, pretraining: str, among: Sequence[Number] | None = None
) -> Number | None:
    """The paper's own number for one of our cells: same benchmark, split, metric and model.

    model and pretraining are those of our row ("base" or "base (384 px)", "... 4M ..."). The
    protocol may differ, the same one is preferred; then the most trusted. Numbers from memory are
    never a reference.
    """
    found = [
        number
        for number in (numbers() if among is None else among)
        if number.ours
        and number.value is not None
        and number.state != "memory"
        and (number.benchmark, number.split, number.metric)
        == (column.benchmark, column.split, column.metric)
        and _same_model(number.ours, model, pretraining)
    ]
    return min(
        found,
        key=lambda n: (n.protocol != column.protocol, STATES.index(n.state)),
        default=None,
    )


def _same_model(ours: str, model: str, pretraining: str) -> bool:
    name, _, data = ours.partition("/")
    return (
        name == model.partition(" (")[0]
        and data.lower() in pretraining.lower().replace("+", " ").split()
    )
