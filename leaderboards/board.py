"""Boards as data, and the table a board makes of records: rows are models, columns are scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import pandas as pd

from benchmarks.record import ResultRecord
from leaderboards.aggregate import Refusal, long_table, over_seeds
from leaderboards.boards import BOARDS, Board, Want, scale_of
from x2vlm.errors import RecordError, unknown

ABLATION = "ablation:"
"""Pre-training data that begin so belong to the ablation board, and to no other."""

OLDER = "older version"
"""State of a number that an older version of the benchmark than another one's measured."""


@dataclass(frozen=True, slots=True)
class Column:
    """One score of one benchmark under one protocol: what two numbers must share to be compared."""

    suite: str
    benchmark: str
    split: str
    protocol: str
    metric: str
    higher_is_better: bool = field(default=True, compare=False)
    chance: float | None = field(default=None, compare=False)

    @property
    def scale(self) -> float:
        """What values are multiplied by to be shown as papers print them."""
        return scale_of(self.metric)

    @property
    def title(self) -> str:
        """Header for people, e.g. "nlvr2 dev · accuracy · fine-tuned"."""
        return f"{self.benchmark} {self.split} · {self.metric} · {self.protocol}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A value in a table. error: standard error; sd: over `seeds`. rank: 1 best, 2 second of its
    column. state: "" for our own (OLDER when another cell is of a newer version of the benchmark),
    else how far a published number may be trusted; printed: a published number as its source
    prints it."""

    value: float | None
    error: float | None = None
    sd: float | None = None
    seeds: tuple[int, ...] = ()
    n: int | None = None
    flags: tuple[str, ...] = ()
    state: str = ""
    source: str = ""
    printed: str = ""
    note: str = ""
    rank: int | None = None
    floor: float | None = None
    floor_met: bool | None = None
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One model. kind: "ours" or "published"; cells has no entry where nothing is known."""

    kind: Literal["ours", "published"]
    model: str
    pretraining: str
    parameters: int | None
    cells: dict[Column, Cell]
    average: float | None = None


@dataclass(frozen=True)
class BoardTable:
    """A board filled in. refused: records that were left out, each with its reason."""

    board: Board
    suite: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    refused: tuple[Refusal, ...] = ()

    def frame(self) -> pd.DataFrame:
        """One row per model, one column per Column (by its title), the average last."""
        names = ["kind", "model", "pretraining", "parameters", *(c.title for c in self.columns)]
        rows: list[dict[str, object]] = []
        for row in self.rows:
            values: dict[str, object] = {
                "kind": row.kind,
                "model": row.model,
                "pretraining": row.pretraining,
                "parameters": row.parameters,
            }
            for column, cell in row.cells.items():
                values[column.title] = cell.value
            if self.board.average:
                values["average"] = row.average
            rows.append(values)
        return pd.DataFrame(rows, columns=[*names, *(["average"] if self.board.average else [])])


def get_board(name: str) -> Board:
    """The board called `name`; RecordError with the close matches when there is none."""
    for board in BOARDS:
        if board.name == name:
            return board
    raise RecordError(unknown("board", name, [board.name for board in BOARDS]))


def board_table(
    board: Board,
    cells: pd.DataFrame,
    suite: str,
    published: Sequence[Row] = (),
    refused: Iterable[Refusal] = (),
) -> BoardTable:
    """Fill a board from `over_seeds` cells of one suite, with rows of papers beside ours.

    A published row takes part with those of its cells that fall into a column of the board; the
    columns are ours plus, on the official suite, those that only papers fill. The average is over
    the columns of ours. refused: of them, those of the board's benchmarks are told.
    """
    ablation = cells["pretraining"].str.startswith(ABLATION)
    mine = cells[(cells["suite"] == suite) & (ablation == board.ablation)]
    columns = _columns(board, mine, suite, published)
    known = set(columns)
    rows = _our_rows(mine, known)
    for row in published:
        kept = {column: cell for column, cell in row.cells.items() if column in known}
        if kept:
            rows.append(replace(row, cells=kept))
    if board.average:
        filled = [c for c in columns if any(r.kind == "ours" and c in r.cells for r in rows)]
        rows = [replace(row, average=_average(row, filled)) for row in rows]
    rows = _ranked(rows, columns)
    rows.sort(key=lambda row: _place(row, columns))
    told = [
        one for one in refused if any(fnmatchcase(one.benchmark, w.benchmark) for w in board.wants)
    ]
    return BoardTable(board, suite, columns, tuple(rows), tuple(told))


def boards_of(
    records: Sequence[ResultRecord],
    allow: Collection[str] = (),
    published: Sequence[Row] = (),
) -> list[BoardTable]:
    """Every board that has something to show, suite by suite ("official" first)."""
    long = long_table(records, allow)
    cells = over_seeds(long.rows)
    suites = sorted(set(cells["suite"]), key=lambda name: (name != "official", name))
    tables = []
    for suite in suites:
        beside = published if suite == "official" else ()
        for board in BOARDS:
            table = board_table(board, cells, suite, beside, long.refused)
            if any(row.kind == "ours" for row in table.rows):
                tables.append(table)
    return tables


def _columns(
    board: Board, cells: pd.DataFrame, suite: str, published: Sequence[Row]
) -> tuple[Column, ...]:
    ours: dict[Column, bool] = {}
    for cell in cells.to_dict("records"):
        chance = cell["chance"]
        column = Column(
            suite, cell["benchmark"], cell["split"], cell["protocol"], cell["metric"],
            bool(cell["higher_is_better"]), None if pd.isna(chance) else float(chance),
        )  # fmt: skip
        ours[column] = ours.get(column, False) or bool(cell["headline"])
    everything = dict(ours)
    for row in published:
        for column in row.cells:
            everything.setdefault(column, False)
    found: dict[Column, None] = {}
    for want in board.wants:
        matching = [c for c, leads in everything.items() if _wanted(want, c, leads)]
        found.update(dict.fromkeys(sorted(matching, key=lambda c: _column_order(want, c))))
    return tuple(found)


def _wanted(want: Want, column: Column, headline: bool) -> bool:
    if not fnmatchcase(column.benchmark, want.benchmark):
        return False
    if want.splits and column.split not in want.splits:
        return False
    if not want.metrics:
        return headline
    return any(fnmatchcase(column.metric, pattern) for pattern in want.metrics)


def _column_order(want: Want, column: Column) -> tuple[object, ...]:
    split = want.splits.index(column.split) if column.split in want.splits else 0
    metric = next(
        (i for i, pattern in enumerate(want.metrics) if fnmatchcase(column.metric, pattern)), 0
    )
    return (column.benchmark, column.protocol, split, column.split, metric, column.metric)


def _our_rows(cells: pd.DataFrame, known: set[Column]) -> list[Row]:
    newest = cells.groupby("benchmark")["version"].max().to_dict()
    rows = []
    for _, group in cells.groupby(["model", "pretraining"], sort=True):
        first = group.iloc[0]
        found: dict[Column, Cell] = {}
        for cell in group.to_dict("records"):
            column = Column(
                cell["suite"], cell["benchmark"], cell["split"], cell["protocol"], cell["metric"]
            )
            if column in found:
                raise RecordError(
                    f"two results are both called {first['model']!r} in {column.title}: "
                    f"{' '.join([*found[column].records, *cell['records']])}\n"
                    "  to do: give one of them another name, model.label=NAME"
                )
            if column in known:
                found[column] = _our_cell(cell, newest[column.benchmark])
        if found:
            sizes = [int(size) for size in group["parameters"] if not pd.isna(size)]
            rows.append(
                Row("ours", first["model"], first["pretraining"], max(sizes, default=None), found)
            )
    return rows


def _our_cell(cell: Mapping[Hashable, Any], newest: int) -> Cell:
    def number(name: str) -> float | None:
        value = cell[name]
        return None if pd.isna(value) else float(value)

    met = cell["floor_met"]
    return Cell(
        value=number("value"),
        error=number("standard_error"),
        sd=number("sd"),
        seeds=cell["seeds"],
        n=int(cell["n"]),
        flags=cell["flags"],
        state="" if cell["version"] == newest else OLDER,
        note=str(cell["note"]),
        floor=number("floor"),
        floor_met=None if pd.isna(met) else bool(met),
        records=cell["records"],
    )


def _average(row: Row, columns: Sequence[Column]) -> float | None:
    """Mean over all columns; None as soon as one is missing or undefined."""
    values = [row.cells[column].value if column in row.cells else None for column in columns]
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _ranked(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Best and second of each column, among values nobody has to doubt; ties share a rank."""
    ranked = [dict(row.cells) for row in rows]
    for column in columns:
        sign = -1.0 if column.higher_is_better else 1.0
        places = {
            number: sign * cell.value
            for number, row in enumerate(rows)
            if (cell := row.cells.get(column)) and cell.value is not None and not _doubtful(cell)
        }
        best = sorted(set(places.values()))[:2]
        for number, value in places.items():
            if value in best and len(places) > 1:
                cell = ranked[number][column]
                ranked[number][column] = replace(cell, rank=best.index(value) + 1)
    return [replace(row, cells=cells) for row, cells in zip(rows, ranked, strict=True)]


def _doubtful(cell: Cell) -> bool:
    return bool(cell.flags) or cell.state not in ("", "verified")


def _place(row: Row, columns: Sequence[Column]) -> tuple[object, ...]:
    """Ours above published; within a kind the best of the first column that has a value first."""
    for number, column in enumerate(columns):
        cell = row.cells.get(column)
        if cell is not None and cell.value is not None:
            value = -cell.value if column.higher_is_better else cell.value
            return (row.kind != "ours", number, value, row.model, row.pretraining)
    return (row.kind != "ours", len(columns), 0.0, row.model, row.pretraining)
