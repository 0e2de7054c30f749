"""What the templates show: plain values and finished pictures."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.cards import FILES, TESTS, counts
from leaderboards import charts
from leaderboards.aggregate import flags_of
from leaderboards.board import BoardTable, Cell, Column, Row
from leaderboards.boards import scale_of
from leaderboards.difference import Difference, interval_text
from leaderboards.export import MARKS, footnotes, labels, marks_of, number_text, size_text
from leaderboards.published import numbers
from leaderboards.runs import Run, slug
from x2vlm import plain
from x2vlm.errors import RecordError

View = dict[str, Any]
CURVES = plain.shaped({"step": plain.number()})
RADAR_ROWS, BAR_ROWS, BAR_CHARTS, PROGRESS = 5, 14, 12, 60


def board_link(table: BoardTable) -> View:
    """Page, title and suite of a board."""
    page = f"board-{table.suite}-{table.board.name}.html"
    return {"page": page, "title": table.board.title, "suite": table.suite}


def cell_marks(cell: Cell) -> str:
    """The marks of a cell, to stand behind its number."""
    return "".join(MARKS[name][0] for name in marks_of(cell))


def cell_title(cell: Cell) -> str:
    """What a pointer resting on a cell is told."""
    parts = [MARKS[name][2] for name in marks_of(cell)]
    if cell.n is not None:
        parts.insert(0, f"n = {cell.n}")
    parts += [text for text in (cell.source and f"source: {cell.source}", cell.note) if text]
    return "; ".join(parts)


def number(value: float | None, digits: int = 2) -> str:
    """A number for people, "" when undefined."""
    return "" if value is None else f"{value:.{digits}f}"


def shown(value: float | None, metric: str, digits: int = 2) -> str:
    """A metric's value as papers print it, "" when undefined."""
    return "" if value is None else number(value * scale_of(metric), digits)


FILTERS: dict[str, Callable[..., Any]] = {
    "size": size_text,
    "number": number,
    "shown": shown,
    "slug": slug,
    "cell_text": lambda cell, column: number_text(cell, column.scale),
    "cell_marks": cell_marks,
    "cell_title": cell_title,
    "interval": interval_text,
    "page_of": lambda record, where: where.get(record),
    "flags": lambda record: list(flags_of(record).values()),
    "date": lambda text: text[:16].replace("T", " "),
}


def summary(tables: Sequence[BoardTable], runs: Sequence[Run]) -> View:
    """The numbers on top of the first page, and how far each benchmark got from chance."""
    floors = [run.record.floor for run in runs if run.record.floor]
    return {
        "runs": len(runs),
        "benchmarks": len({run.record.benchmark for run in runs}),
        "models": len({run.model for run in runs}),
        "samples": sum(run.record.n for run in runs),
        "floors": len(floors),
        "floors_met": sum(bool(floor.get("met")) for floor in floors),
        "progress": _progress(runs),
        "latest": sorted(runs, key=lambda run: (run.record.benchmark, run.name)),
        "boards": [board_link(table) | {"about": table.board.about, "rows": len(table.rows),
                                        "columns": len(table.columns)} for table in tables],
    }  # fmt: skip


def _progress(runs: Sequence[Run]) -> View | None:
    """Headline between chance (0) and perfect (100), where both are known."""
    rows = []
    named = {run.name: f"{run.record.benchmark} {run.model} s{run.record.seed}" for run in runs}
    shared = {text for text, count in Counter(named.values()).items() if count > 1}
    for run in sorted(runs, key=lambda run: (named[run.name], run.record.split, run.name)):
        record, label = run.record, named[run.name]
        measure = record.metrics[record.headline]
        chance = record.chance.get(record.headline, 0.0)
        if measure.value is None or not record.perfect or record.perfect <= chance:
            continue
        scale = 100.0 / (record.perfect - chance)
        error = measure.standard_error
        label += f" {run.name}" if label in shared else ""
        missed = record.floor is not None and record.floor.get("met") is False
        rows.append(charts.Bar(label, (measure.value - chance) * scale,
                               None if error is None else error * scale,
                               mark="▽" if missed else ""))  # fmt: skip
    if not rows:
        return None
    which = f"the first {PROGRESS} of {len(rows)} runs" if rows[PROGRESS:] else "every run"
    title = f"Headline of {which}, from chance (0) to perfect (100)"
    return {"title": title, "picture": charts.bars(title, rows[:PROGRESS])}


def board_view(table: BoardTable, found: Sequence[Difference]) -> View:
    """Headers, footnotes, filters and pictures of a board."""
    common, heads = labels(table.columns)
    return {
        "common": common,
        "heads": heads,
        "footnotes": footnotes(table),
        "models": sorted({row.model for row in table.rows}),
        "data": sorted({row.pretraining for row in table.rows if row.pretraining}),
        "sizes": sorted({row.parameters for row in table.rows if row.parameters}),
        "protocols": sorted({column.protocol for column in table.columns}),
        "papers": any(row.kind == "published" for row in table.rows),
        "bars": [{"title": column.title, "chart": chart} for column in table.columns
                 if (chart := _bars(table, column))][:BAR_CHARTS],
        "radar": _radar(table),
        "differences": found,
        "intervals": _intervals(found),
    }  # fmt: skip


def _bars(table: BoardTable, column: Column) -> Markup | None:
    rows = []
    for row in table.rows:
        cell = row.cells.get(column)
        if cell is None or cell.value is None:
            continue
        spread = cell.error if cell.error is not None else cell.sd
        rows.append(charts.Bar(_row_name(row), cell.value * column.scale,
                               None if spread is None else spread * column.scale,
                               row.kind == "ours", cell_marks(cell)))  # fmt: skip
    if not any(bar.ours for bar in rows):
        return None
    rows.sort(key=lambda bar: bar.value, reverse=column.higher_is_better)
    kept = [bar for bar in rows if bar.ours] + [bar for bar in rows if not bar.ours]
    kept = sorted(kept[:BAR_ROWS], key=rows.index)
    chance = None if column.chance is None else column.chance * column.scale
    return charts.bars(column.title, kept, chance)


def _row_name(row: Row) -> str:
    return f"{row.model} {row.pretraining}".strip()


def _radar(table: BoardTable) -> Markup | None:
    """Rows that have every column that can be a share of 100; at least three columns."""
    columns = [
        column
        for column in table.columns
        if column.higher_is_better
        and all(
            0 <= cell.value * column.scale <= 100
            for row in table.rows
            if (cell := row.cells.get(column)) and cell.value is not None
        )
    ][:10]
    rows = []
    for row in table.rows:
        values = [row.cells[c].value for c in columns if c in row.cells]
        known = [value for value in values if value is not None]
        if len(known) == len(columns):
            shares = [value * c.scale / 100 for value, c in zip(known, columns, strict=True)]
            rows.append((_row_name(row), shares))
    if len(columns) < 3 or not rows:
        return None
    _, heads = labels(columns)
    return charts.radar(f"{table.board.title}: share of 100", heads, rows[:RADAR_ROWS])


def _intervals(found: Sequence[Difference]) -> Markup | None:
    spans = []
    for one in found:
        if one.value is None:
            continue
        scale = one.column.scale
        name = f"{one.column.benchmark} {one.column.metric} {one.model}"
        low = None if one.low is None else one.low * scale
        high = None if one.high is None else one.high * scale
        spans.append(
            charts.Span(name, one.value * scale, low, high, one.tolerance * scale, one.verdict)
        )
    return charts.intervals("Ours minus published, 95 % interval", spans) if spans else None


def run_view(run: Run) -> View:
    """Metrics, settings, environment and curves of one run."""
    record = run.record
    return {
        "metrics": [
            {"name": name, "measure": measure, "chance": record.chance.get(name),
             "leads": name == record.headline}
            for name, measure in record.metrics.items()
        ],
        "config": list(_flat(record.config)),
        "environment": [*_flat(record.hardware), *_flat(record.packages)],
        "facts": [
            ("model", *_joined(record.model)), ("revision", *_joined(record.revision)),
            ("predictions", *_joined(record.predictions)), ("data", *_joined(record.data)),
            ("video", *_joined(record.video or {})), ("seconds", *_joined(record.seconds)),
        ],
        "curves": _curves(run.folder / "train.jsonl") if run.folder else [],
    }  # fmt: skip


def _joined(values: Mapping[str, Any]) -> tuple[list[tuple[str, str]]]:
    return (list(_flat(values)),)


def _flat(values: Mapping[str, Any], front: str = "") -> Iterator[tuple[str, str]]:
    """("train.steps", "400") pairs of nested settings; empty ones left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{front}{name}.")
        elif value not in (None, "", [], ()):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{front}{name}", text


def _curves(path: Path) -> list[View]:
    """One picture per number that train.jsonl logs over its steps."""
    if not path.is_file():
        return []
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in plain.rows(path, CURVES, RecordError):
        step = row["step"]
        for name, value in row.items():
            numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
            numeric = numeric and math.isfinite(value)  # a loss that diverged
            if name != "step" and numeric:
                lines.setdefault(name, []).append((float(step), float(value)))
    losses_first = sorted(lines, key=lambda name: ("loss" not in name, name))
    return [
        {"name": name, "chart": charts.curves(name, [(name, lines[name])])}
        for name in losses_first[:12]
    ]


def benchmark_view(runs: Sequence[Run], keys: Mapping[str, str]) -> View:
    """Words, counts, history and published numbers of one benchmark.

    keys: run name -> its data set.
    """
    record, benchmark = runs[0].record, runs[0].benchmark
    history = sorted(runs, key=lambda run: (run.record.suite, run.record.created, run.name))
    suites = dict.fromkeys(run.record.suite for run in history)
    histories = (_history(suite, [run for run in history if run.record.suite == suite])
              for suite in suites)  # fmt: skip
    return {
        "tests": TESTS.get(benchmark.name, ""),
        "files": FILES.get(benchmark.name, "").replace("`", ""),
        "history": history,
        "samples": {
            keys[run.name]: f"{run.record.suite} data, split {run.record.split}, n = {run.record.n}"
            for run in history
        },
        "splits": [
            {"name": name, "role": split.role, "scored": split.scored, "note": split.note,
             "official": counts(benchmark, name)[0],
             "n": sorted({run.record.n for run in runs if run.record.split == name})}
            for name, split in benchmark.splits.items()
        ],
        "headline": record.headline,
        "charts": [chart for chart in histories if chart],
        "numbers": [n for n in numbers() if n.benchmark == record.benchmark],
    }  # fmt: skip


def _history(suite: str, runs: Sequence[Run]) -> View | None:
    headline = runs[0].record.headline
    scale, rows = scale_of(headline), []
    for run in runs:
        measure = run.record.metrics[run.record.headline]
        if measure.value is not None:
            error = measure.standard_error
            rows.append(charts.Bar(run.name, measure.value * scale,
                                   None if error is None else error * scale))  # fmt: skip
    if not rows:
        return None
    chance = runs[0].record.chance.get(headline)
    title = f"{headline} on {suite} data, oldest run first"
    picture = charts.bars(title, rows[-20:], None if chance is None else chance * scale)
    return {"title": title, "picture": picture}
