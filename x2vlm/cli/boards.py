"""Commands about results: boards, and our number beside the published one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from leaderboards import export
from leaderboards.aggregate import FLAGS, read_records
from leaderboards.board import BoardTable, boards_of, get_board
from leaderboards.published import published_rows
from x2vlm.errors import ConfigError, unknown

FORMATS: Mapping[str, Callable[[BoardTable], str]] = {
    "md": export.to_markdown,
    "csv": export.to_csv,
    "tex": export.to_latex,
    "json": export.to_json,
    "html": export.to_html,
}


def board(words: Sequence[str], settings: Mapping[str, str]) -> int:
    """Print the boards of some runs, or write them: x2vlm board RUNS… out=DIR."""
    known = ("board", "format", "allow", "out")
    for name in settings:
        if name not in known:
            raise ConfigError(unknown("setting", name, known))
    kind = settings.get("format", "md")
    if kind not in FORMATS:
        raise ConfigError(unknown("format", kind, FORMATS))
    allow = tuple(filter(None, settings.get("allow", "").split(",")))
    for flag in allow:
        if flag not in FLAGS:
            raise ConfigError(unknown("flag", flag, FLAGS))
    records = read_records([Path(word) for word in words or ["runs"]])
    tables = boards_of(records, allow, published_rows())
    if "board" in settings:
        wanted = get_board(settings["board"])
        tables = [table for table in tables if table.board == wanted]
    if not tables:
        print("nothing to show: every record was refused, or fits no board", file=sys.stderr)
    for table in tables:
        if "out" in settings:
            print(write(table, kind, Path(settings["out"])))
        else:
            print(FORMATS[kind](table))
    return 0


def write(table: BoardTable, kind: str, folder: Path) -> Path:
    """One board as a file: FOLDER/SUITE-BOARD.FORMAT."""
    from benchmarks.record import write_atomically

    path = folder / f"{table.suite}-{table.board.name}.{kind}"
    write_atomically(path, FORMATS[kind](table))
    return path
