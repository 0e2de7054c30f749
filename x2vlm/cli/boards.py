"""Commands about results: boards, comparisons, sites, files for others, ours beside the paper's."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.submission import KINDS
from leaderboards.aggregate import FLAGS, flags_of, long_table, read_records
from leaderboards.board import BoardTable, boards_of, get_board
from leaderboards.export import FORMATS
from leaderboards.published import STATES, published_rows
from x2vlm.cli.arguments import parse
from x2vlm.cli.values import home
from x2vlm.config import LARGEST_SEED
from x2vlm.errors import ConfigError, RecordError, unknown
from x2vlm.ranges import Setting
from x2vlm.settings import Settings

if TYPE_CHECKING:
    from leaderboards.runs import Run


ALLOW = Setting("flags of records that are shown, marked", choices=tuple(FLAGS))
STATES_SHOWN = Setting("states of published numbers that are shown", choices=tuple(STATES))
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
    records = read_records(_folders(plain))
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


def _together(texts: Sequence[str], kind: str) -> str:
    """Several boards as one text that its readers still read: CSV under one header, a JSON list."""
    if kind == "csv":
        rows = "".join(text.partition("\n")[2] for text in texts)
        return texts[0].partition("\n")[0] + "\n" + rows.rstrip("\n")
    if kind == "json" and len(texts) > 1:
        return f"[{','.join(texts)}]"
    return "\n".join(texts)


def _folders(words: Sequence[str]) -> list[Path]:
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


def compare(arguments: Sequence[str]) -> int:
    """Compare runs, or folders of runs, sample by sample: x2vlm compare A B."""
    from benchmarks.mini.home import data_root
    from leaderboards import compare as statistics
    from leaderboards.aggregate import find_records
    from leaderboards.runs import compare_runs, open_run
    from x2vlm.writing import write_atomically

    plain, given = parse(CompareArguments, arguments)
    if len(plain) < 2:
        raise ConfigError("usage: x2vlm compare RUN RUN […]; each a run folder or a folder of runs")
    paths = [find_records([path]) for path in _folders(plain)]  # all there, before any is opened
    groups = [[open_run(path, data_root) for path in group] for group in paths]
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
    """What a reader of a comparison must know: splits that not all sides have, limited records."""
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
    return list(told)


@dataclass(frozen=True, slots=True)
class SubmitArguments(Settings):
    """Of x2vlm submit."""

    name: Annotated[
        str, Setting("of the method, in the file's name", form="name", required=True)
    ] = "x2vlm"
    out: Annotated[str, Setting("folder to write to; empty: the run's own", form="path")] = ""
    kind: Annotated[str, Setting("of server; empty: the benchmark's", choices=("", *KINDS))] = ""
    subset: Annotated[
        str, Setting("in the name of a captioning file; empty: that of the split", form="name")
    ] = ""


def submit(arguments: Sequence[str]) -> int:
    """Write the official submission file of one run: x2vlm submit RUN [name=…] [out=DIR]."""
    from benchmarks.mini.home import data_root
    from benchmarks.submission import write_submission
    from leaderboards.runs import open_run

    plain, given = parse(SubmitArguments, arguments)
    if len(plain) != 1:
        raise ConfigError("usage: x2vlm submit RUN [name=…] [out=DIR] [kind=nocaps] [subset=…]")
    folder = Path(home(plain[0]))
    run = open_run(folder, data_root)
    flags = {flag: why for flag, why in flags_of(run.record).items() if flag != "dirty"}
    if flags:
        raise RecordError(
            f"{folder}: {'; '.join(flags.values())}; a server wants the whole split\n"
            "  to do: run it again without limit=, on_error=skip and cut files"
        )
    split = run.record.split
    kind = given.kind or ("nocaps" if split.startswith("nocaps") else run.benchmark.name)
    if kind not in KINDS:
        raise ConfigError(unknown("submission kind", kind, KINDS))
    out = Path(given.out or folder)
    subset = given.subset or ("test2014" if split == "test2014" else "val2014")
    print(write_submission(kind, run.samples, run.rows, out, given.name, subset=subset))
    return 0


def difference(folders: Sequence[Path]) -> int:
    """Print the numbers of runs beside those of the paper."""
    from leaderboards.difference import differences_of, to_markdown

    records = read_records(folders)
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


@dataclass(frozen=True, slots=True)
class SiteArguments(Settings):
    """Of x2vlm site."""

    out: Annotated[str, Setting("folder to write to", form="path", required=True)] = "site"
    allow: Annotated[tuple[str, ...], ALLOW] = ()
    states: Annotated[tuple[str, ...], STATES_SHOWN] = STATES[:1]
    gallery: Annotated[tuple[str, ...], Setting("folders of x2vlm explain", form="path")] = ()


def site(arguments: Sequence[str]) -> int:
    """Write a static site of runs: x2vlm site [RUNS…] [out=DIR] [gallery=DIR,…] [allow=…]."""
    plain, given = parse(SiteArguments, arguments)
    gallery = [Path(folder) for folder in given.gallery]
    states = given.states or STATES[:1]
    print(write_site(_folders(plain), Path(given.out), given.allow, gallery, states))
    return 0


def write_site(
    folders: Sequence[Path],
    out: Path,
    allow: Collection[str] = (),
    gallery: Sequence[Path] = (),
    states: Collection[str] = STATES[:1],
) -> Path:
    """The site of all runs below `folders`, and of explanations; returns its first page."""
    from benchmarks.mini.home import data_root
    from leaderboards.aggregate import find_records
    from leaderboards.runs import open_run
    from leaderboards.site import build_site
    from x2vlm.watch import plain_watch

    runs = [open_run(path, data_root) for path in find_records(folders)]
    built = build_site(runs, out, allow=allow, states=states, gallery=gallery, progress=plain_watch)
    for media, why in list(built.unreadable.items())[:5]:
        print(f"no picture: {media}: {why}", file=sys.stderr)
    if len(built.unreadable) > 5:
        print(f"no picture: {len(built.unreadable)} files in all", file=sys.stderr)
    return built.index


@dataclass(frozen=True, slots=True)
class ExportArguments(Settings):
    """Of x2vlm export."""

    out: Annotated[str, Setting("folder to write to", form="path", required=True)] = "export"
    name: Annotated[str, Setting("of the model, in its card", required=True)] = "x2vlm"
    allow: Annotated[tuple[str, ...], ALLOW] = ()


def export(arguments: Sequence[str]) -> int:
    """Write runs as others read them: lm-eval's results and samples, a model card's block."""
    from benchmarks.mini.home import data_root
    from leaderboards.aggregate import find_records
    from leaderboards.exchange import model_index, write_harness
    from leaderboards.runs import open_run
    from x2vlm.writing import write_atomically

    plain, given = parse(ExportArguments, arguments)
    out = Path(given.out)
    runs = [open_run(path, data_root) for path in find_records(_folders(plain))]
    write_harness(runs, out)
    text, refused = model_index([run.record for run in runs], given.name, given.allow)
    write_atomically(out / "model-index.yaml", text)
    for refusal in refused:
        print(f"refused: {refusal}", file=sys.stderr)
    print(out)
    return 0
