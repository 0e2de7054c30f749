"""Commands about results: boards, and our number beside the published one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from leaderboards.aggregate import FLAGS, flags_of, long_table, read_records
from leaderboards.board import BoardTable, boards_of, get_board
from leaderboards.export import FORMATS
from leaderboards.published import published_rows
from x2vlm.errors import ConfigError, RecordError, unknown


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
        for refusal in long_table(records, allow).refused:
            print(refusal, file=sys.stderr)
    for table in tables:
        if "out" in settings:
            print(write(table, kind, Path(settings["out"])))
        else:
            _, to_text = FORMATS[kind]
            print(to_text(table))
    return 0


def write(table: BoardTable, kind: str, folder: Path) -> Path:
    """One board as a file: FOLDER/SUITE-BOARD.FORMAT."""
    from benchmarks.record import write_atomically

    suffix, to_text = FORMATS[kind]
    path = folder / f"{table.suite}-{table.board.name}{suffix}"
    write_atomically(path, to_text(table))
    return path


def compare(words: Sequence[str], settings: Mapping[str, str]) -> int:
    """Compare runs, or folders of runs, sample by sample: x2vlm compare A B."""
    from benchmarks.mini.home import data_root
    from leaderboards import compare as statistics
    from leaderboards.aggregate import find_records
    from leaderboards.runs import compare_runs, open_run

    if len(words) < 2 or settings:
        raise ConfigError("usage: x2vlm compare RUN RUN […]; each a run folder or a folder of runs")
    groups = [[open_run(path, data_root) for path in find_records([Path(word)])] for word in words]
    print(statistics.to_markdown(compare_runs(groups)))
    return 0


def submit(words: Sequence[str], settings: Mapping[str, str]) -> int:
    """Write the official submission file of one run: x2vlm submit RUN [name=…] [out=DIR]."""
    from benchmarks.mini.home import data_root
    from benchmarks.submission import KINDS, write_submission
    from leaderboards.runs import open_run

    known = ("name", "out", "kind", "subset")
    for name in settings:
        if name not in known:
            raise ConfigError(unknown("setting", name, known))
    if len(words) != 1:
        raise ConfigError("usage: x2vlm submit RUN [name=…] [out=DIR] [kind=nocaps] [subset=…]")
    folder = Path(words[0])
    run = open_run(folder, data_root)
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


def difference(folder: Path) -> int:
    """Print one run's numbers beside those of the paper."""
    from leaderboards.difference import differences_of, to_markdown

    records = read_records([folder])
    found = differences_of(boards_of(records, FLAGS))
    if found:
        print(to_markdown(found))
    elif not all(record.model.get("pretraining") for record in records):
        print("which of the paper's models is it? model.pretraining=4M or 1B says so")
    else:
        print("the paper prints no number for this row")
    return 0


def site(words: Sequence[str], settings: Mapping[str, str]) -> int:
    """Write a static site of runs: x2vlm site [RUNS…] [out=DIR] [gallery=DIR,…] [allow=…]."""
    known = ("out", "allow", "gallery")
    for name in settings:
        if name not in known:
            raise ConfigError(unknown("setting", name, known))
    allow = tuple(filter(None, settings.get("allow", "").split(",")))
    folders = [Path(word) for word in words or ["runs"]]
    gallery = [Path(word) for word in settings.get("gallery", "").split(",") if word]
    print(write_site(folders, Path(settings.get("out", "site")), allow, gallery))
    return 0


def write_site(
    folders: Sequence[Path], out: Path, allow: Sequence[str] = (), gallery: Sequence[Path] = ()
) -> Path:
    """The site of all runs below `folders`, and of explanations; returns its first page."""
    from benchmarks.mini.home import data_root
    from leaderboards.aggregate import find_records
    from leaderboards.runs import open_run
    from leaderboards.site import build_site
    from x2vlm.watch import plain_watch

    runs = [open_run(path, data_root) for path in find_records(folders)]
    return build_site(runs, out, allow=allow, gallery=gallery, progress=plain_watch).index


def export(words: Sequence[str], settings: Mapping[str, str]) -> int:
    """Write runs as others read them: lm-eval's results and samples, a model card's block."""
    from benchmarks.mini.home import data_root
    from benchmarks.record import write_atomically
    from leaderboards.aggregate import find_records
    from leaderboards.exchange import model_index, write_harness
    from leaderboards.runs import open_run

    known = ("out", "name", "allow")
    for name in settings:
        if name not in known:
            raise ConfigError(unknown("setting", name, known))
    out = Path(settings.get("out", "export"))
    paths = find_records([Path(word) for word in words or ["runs"]])
    runs = [open_run(path, data_root) for path in paths]
    write_harness(runs, out)
    allow = tuple(filter(None, settings.get("allow", "").split(",")))
    text, refused = model_index([r.record for r in runs], settings.get("name", "x2vlm"), allow)
    write_atomically(out / "model-index.yaml", text)
    for refusal in refused:
        print(f"refused: {refusal}", file=sys.stderr)
    print(out)
    return 0
