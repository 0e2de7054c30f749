"""Commands that show results: boards, comparisons, ours beside the numbers of the paper."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.registry import get
from leaderboards.aggregate import FLAGS, flags_of, long_table, read_records
from leaderboards.board import BoardTable, boards_of, get_board
from leaderboards.export import FORMATS
from leaderboards.published import STATES, published_rows
from leaderboards.row_names import names_of
from x2vlm.cli.arguments import parse
from x2vlm.cli.values import home
from x2vlm.config import LARGEST_SEED
from x2vlm.errors import ConfigError
from x2vlm.ranges import Setting
from x2vlm.settings import Settings

if TYPE_CHECKING:
    from benchmarks.record import ResultRecord
    from leaderboards.runs import Run


ALLOW = Setting("flags of records that are shown, marked", choices=tuple(FLAGS))
STATES_SHOWN = Setting("states of published numbers that are shown", choices=tuple(STATES))
TRUSTED = Setting("FILE.py:NAME of benchmarks that records name and whose code may run")
SEED_OF_RESAMPLING = Setting("of resampling", least=0, most=LARGEST_SEED)


@dataclass(frozen=True, slots=True)
class BoardArguments(Settings):
    """Of x2vlm board."""

    board: Annotated[str, Setting("name of the one to show; empty: all")] = ""
    format: Annotated[str, Setting("of the tables", choices=tuple(FORMATS))] = "md"
    allow: Annotated[tuple[str, ...], ALLOW] = ()
    states: Annotated[tuple[str, ...], STATES_SHOWN] = STATES[:1]
    out: Annotated[str, Setting("folder to write to; empty: print", form="path")] = ""


def board(arguments: Sequence[str]) -> int:
    """Print the boards of some runs, or write them: x2vlm board RUNS… out=DIR."""
    plain, given = parse(BoardArguments, arguments)
    kind, allow = given.format, given.allow
    records = _checked(folders_of(plain))
    tables = boards_of(records, allow, published_rows(given.states or STATES[:1]))
    if given.board:
        wanted = get_board(given.board)
        tables = [table for table in tables if table.board == wanted]
    if not tables:
        print("nothing to show: every record was refused, or fits no board", file=sys.stderr)
    if given.out:
        for table in tables:
            print(write(table, kind, Path(given.out)))
    elif tables:
        print(_together([FORMATS[kind][1](table) for table in tables], kind))
    if not tables or given.out or kind in ("csv", "tex"):  # else the boards tell it
        for refusal in long_table(records, allow).refused:
            print(refusal, file=sys.stderr)
    return 0


def _checked(folders: Sequence[Path]) -> list[ResultRecord]:
    """Records held against their predictions, where these and the data are on this machine."""
    from benchmarks.mini.home import data_root
    from leaderboards.runs import recomputed

    records, unknown = recomputed(read_records(folders), partial(data_root, write=False))
    for line in unknown[:3]:
        print(f"not recomputed here: {line}", file=sys.stderr)
    if len(unknown) > 3:
        print(f"not recomputed here: {len(unknown)} records in all", file=sys.stderr)
    return records


def _together(texts: Sequence[str], kind: str) -> str:
    """Several boards as one text that its readers still read: CSV under one header, a JSON list."""
    if kind == "csv":
        rows = "".join(text.partition("\n")[2] for text in texts)
        return texts[0].partition("\n")[0] + "\n" + rows.rstrip("\n")
    if kind == "json" and len(texts) > 1:
        return f"[{','.join(texts)}]"
    return "\n".join(texts)


def trust(names: Sequence[str]) -> None:
    """Benchmarks whose code the user allows, for records that name it."""
    for name in names:
        get(name)


def folders_of(words: Sequence[str]) -> list[Path]:
    """Folders that the user names; by default runs/."""
    return [Path(home(word)) for word in words or ["runs"]]


def write(table: BoardTable, kind: str, folder: Path) -> Path:
    """One board as a file: FOLDER/SUITE-BOARD.FORMAT."""
    from x2vlm.writing import write_atomically

    suffix, to_text = FORMATS[kind]
    path = folder / f"{table.suite}-{table.board.name}{suffix}"
    write_atomically(path, to_text(table))
    return path


@dataclass(frozen=True, slots=True)
class CompareArguments(Settings):
    """Of x2vlm compare."""

    seed: Annotated[int, SEED_OF_RESAMPLING] = 0
    out: Annotated[
        str, Setting("folder for compare.md and flips.csv; empty: none", form="path")
    ] = ""
    benchmark: Annotated[tuple[str, ...], TRUSTED] = ()


def compare(arguments: Sequence[str]) -> int:
    """Compare runs, or folders of runs, sample by sample: x2vlm compare A B."""
    from benchmarks.mini.home import data_root
    from leaderboards import compare as statistics
    from leaderboards.aggregate import find_records
    from leaderboards.runs import compare_runs, open_runs, unaltered
    from x2vlm.writing import write_atomically

    plain, given = parse(CompareArguments, arguments)
    trust(given.benchmark)
    if len(plain) < 2:
        raise ConfigError("usage: x2vlm compare RUN RUN […]; each a run folder or a folder of runs")
    paths = [find_records([path]) for path in folders_of(plain)]  # all there, before any is opened
    runs = iter(unaltered(open_runs([path for group in paths for path in group], data_root)))
    groups = [[next(runs) for _ in group] for group in paths]
    names = [Path(word).as_posix() for word in plain]
    for line in _left_out(groups):
        print(line, file=sys.stderr)
    found = compare_runs(groups, names, seed=given.seed)
    text = statistics.to_markdown(found)
    print(text)
    if given.out:
        out = Path(given.out)
        for name, content in (("compare.md", text), ("flips.csv", statistics.flips_csv(found))):
            write_atomically(out / name, content)
            print(out / name)
    return 0


def _left_out(groups: Sequence[Sequence[Run]]) -> list[str]:
    """What a reader of a comparison must know: splits that not all sides have, limited records, a
    side of several models."""
    sides: dict[str, int] = {}
    told: dict[str, None] = {}
    for group in groups:
        for run in group:
            where = f"{run.record.suite} {run.record.benchmark} {run.record.split}"
            sides[where] = sides.get(where, 0) + 1
            reasons = [why for flag, why in flags_of(run.record).items() if flag != "dirty"]
            told.update(dict.fromkeys(f"{where}: {run.name}: {why}" for why in reasons))
    for where, count in sides.items():
        if count < len(groups):
            told[f"{where}: on {count} of {len(groups)} sides only"] = None
    for group in groups:
        models = sorted(set(names_of([run.record for run in group])))
        if len(models) > 1:
            runs = ", ".join(run.name for run in group)
            told[f"one side holds several models, {' and '.join(models)}: {runs}"] = None
    return list(told)


def difference(folders: Sequence[Path]) -> int:
    """Print the numbers of runs beside those of the paper."""
    from leaderboards.difference import differences_of, to_markdown

    records = _checked(folders)
    found = differences_of(boards_of(records, FLAGS))
    if found:
        print(to_markdown(found))
    elif not all(record.model.get("pretraining") for record in records):
        print(
            "which of the paper's models is it? The same command with model.pretraining=4M or 1B\n"
            "prints the paper's number beside this one; nothing is computed again"
        )
    else:
        print("no number for this row whose source was seen (leaderboards/published/numbers.csv)")
    return 0
