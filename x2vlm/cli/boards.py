"""Commands about results: boards, comparisons, sites, files for others, ours beside the paper's."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.registry import get
from leaderboards.aggregate import FLAGS, flags_of, long_table, read_records
from leaderboards.board import BoardTable, boards_of, get_board
from leaderboards.export import FORMATS
from leaderboards.published import STATES, published_rows
from leaderboards.row_names import names_of
from x2vlm.cli.words import listed, split_words, take, whole
from x2vlm.errors import ConfigError, RecordError, unknown

if TYPE_CHECKING:
    from benchmarks.record import ResultRecord
    from leaderboards.runs import Run


def board(words: Sequence[str]) -> int:
    """Print the boards of some runs, or write them: x2vlm board RUNS… out=DIR."""
    plain, settings = split_words(words)
    take(settings, "board", "format", "allow", "states", "out")
    kind = settings.get("format", "md")
    if kind not in FORMATS:
        raise ConfigError(unknown("format", kind, FORMATS))
    allow = _allowed(settings)
    records = _checked(_folders(plain))
    tables = boards_of(records, allow, published_rows(_states(settings)))
    if "board" in settings:
        wanted = get_board(settings["board"])
        tables = [table for table in tables if table.board == wanted]
    if not tables:
        print("nothing to show: every record was refused, or fits no board", file=sys.stderr)
    if "out" in settings:
        for table in tables:
            print(write(table, kind, Path(settings["out"])))
    elif tables:
        print(_together([FORMATS[kind][1](table) for table in tables], kind))
    if not tables or "out" in settings or kind in ("csv", "tex"):  # else the boards tell it
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


def _folders(words: Sequence[str]) -> list[Path]:
    return [Path(word) for word in words or ["runs"]]


def _allowed(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Flags of records that are shown marked."""
    return listed(settings, "allow", "flag", FLAGS)


def _trust(settings: Mapping[str, str]) -> None:
    """benchmark=FILE.py:NAME,…: code that the user allows, for records that name it."""
    for name in listed(settings, "benchmark"):
        get(name)


def _states(settings: Mapping[str, str]) -> tuple[str, ...]:
    """States of published numbers that are shown."""
    return listed(settings, "states", "state of published numbers", STATES) or STATES[:1]


def write(table: BoardTable, kind: str, folder: Path) -> Path:
    """One board as a file: FOLDER/SUITE-BOARD.FORMAT."""
    from x2vlm.writing import write_atomically

    suffix, to_text = FORMATS[kind]
    path = folder / f"{table.suite}-{table.board.name}{suffix}"
    write_atomically(path, to_text(table))
    return path


def compare(words: Sequence[str]) -> int:
    """Compare runs, or folders of runs, sample by sample: x2vlm compare A B."""
    from benchmarks.mini.home import data_root
    from leaderboards import compare as statistics
    from leaderboards.aggregate import find_records
    from leaderboards.runs import compare_runs, open_runs, unaltered
    from x2vlm.writing import write_atomically

    plain, settings = split_words(words)
    take(settings, "seed", "out", "benchmark")
    _trust(settings)
    if len(plain) < 2:
        raise ConfigError("usage: x2vlm compare RUN RUN […]; each a run folder or a folder of runs")
    paths = [find_records([Path(word)]) for word in plain]  # all there, before any is opened
    runs = iter(unaltered(open_runs([path for group in paths for path in group], data_root)))
    groups = [[next(runs) for _ in group] for group in paths]
    names = [Path(word).as_posix() for word in plain]
    for line in _left_out(groups):
        print(line, file=sys.stderr)
    found = compare_runs(groups, names, seed=whole(settings, "seed"))
    text = statistics.to_markdown(found)
    print(text)
    if "out" in settings:
        out = Path(settings["out"])
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


def submit(words: Sequence[str]) -> int:
    """Write the official submission file of one run: x2vlm submit RUN [name=…] [out=DIR]."""
    from benchmarks.mini.home import data_root
    from benchmarks.submission import KINDS, write_submission
    from leaderboards.runs import open_run, unaltered

    plain, settings = split_words(words)
    take(settings, "name", "out", "kind", "subset", "benchmark")
    _trust(settings)
    if len(plain) != 1:
        raise ConfigError("usage: x2vlm submit RUN [name=…] [out=DIR] [kind=nocaps] [subset=…]")
    folder = Path(plain[0])
    (run,) = unaltered([open_run(folder, data_root)])
    flags = {flag: why for flag, why in flags_of(run.record).items() if flag != "dirty"}
    if flags:
        raise RecordError(
            f"{folder}: {'; '.join(flags.values())}; a server wants the whole split\n"
            "  to do: run it again without limit=, on_error=skip and cut files"
        )
    split = run.record.split
    kind = settings.get("kind", "nocaps" if split.startswith("nocaps") else run.benchmark.name)
    if kind not in KINDS:
        raise ConfigError(unknown("submission kind", kind, KINDS))
    out, name = Path(settings.get("out", folder)), settings.get("name", "x2vlm")
    subset = settings.get("subset", "test2014" if split == "test2014" else "val2014")
    print(write_submission(kind, run.samples, run.rows, out, name, subset=subset))
    return 0


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


def site(words: Sequence[str]) -> int:
    """Write a static site of runs: x2vlm site [RUNS…] [out=DIR] [gallery=DIR,…] [allow=…]."""
    plain, settings = split_words(words)
    take(settings, "out", "allow", "states", "gallery", "pictures", "benchmark")
    _trust(settings)
    gallery, pictures = (
        [Path(folder) for folder in listed(settings, name)] for name in ("gallery", "pictures")
    )
    out = Path(settings.get("out", "site"))
    print(
        write_site(_folders(plain), out, _allowed(settings), gallery, _states(settings), pictures)
    )
    return 0


def write_site(
    folders: Sequence[Path],
    out: Path,
    allow: Collection[str] = (),
    gallery: Sequence[Path] = (),
    states: Collection[str] = STATES[:1],
    pictures: Sequence[Path] = (),
) -> Path:
    """The site of all runs below `folders`, and of explanations; returns its first page."""
    from benchmarks.mini.home import data_root
    from leaderboards.aggregate import find_records
    from leaderboards.runs import open_runs
    from leaderboards.site import build_site
    from x2vlm.watch import plain_watch

    runs = open_runs(find_records(folders), data_root)
    built = build_site(
        runs, out, allow=allow, states=states, gallery=gallery, pictures=pictures,
        progress=plain_watch,
    )  # fmt: skip
    for media, why in list(built.unreadable.items())[:5]:
        print(f"no picture: {media}: {why}", file=sys.stderr)
    if len(built.unreadable) > 5:
        print(f"no picture: {len(built.unreadable)} files in all", file=sys.stderr)
    return built.index


def export(words: Sequence[str]) -> int:
    """Write runs as others read them: lm-eval's results and samples, a model card's block."""
    from benchmarks.mini.home import data_root
    from leaderboards.aggregate import find_records
    from leaderboards.exchange import model_index, write_harness
    from leaderboards.runs import open_runs, unaltered
    from x2vlm.writing import write_atomically

    plain, settings = split_words(words)
    take(settings, "out", "name", "allow", "benchmark")
    _trust(settings)
    out = Path(settings.get("out", "export"))
    runs = unaltered(open_runs(find_records(_folders(plain)), data_root))
    write_harness(runs, out)
    records, name = [run.record for run in runs], settings.get("name", "x2vlm")
    text, refused = model_index(records, name, _allowed(settings))
    write_atomically(out / "model-index.yaml", text)
    for refusal in refused:
        print(f"refused: {refusal}", file=sys.stderr)
    print(out)
    return 0
