"""Commands about data: what is there, whether it is whole, fetching it, pre-training shards."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.download import Outcome, download, table
from benchmarks.files import Files
from benchmarks.inspect_data import status, status_table, verify
from benchmarks.layout import load_layout
from benchmarks.mini.suite import write_world
from benchmarks.records import load_records
from benchmarks.registry import NAMES, get
from benchmarks.shards import KINDS, build_shards
from benchmarks.wanted import Wanted
from x2vlm.cli import DATA_HELP
from x2vlm.cli.words import (
    Settings,
    below,
    listed,
    on_error,
    plain_value,
    split_words,
    take,
    whole,
    yes,
)
from x2vlm.data.orientation import Pixels
from x2vlm.data.shards import Format
from x2vlm.errors import ConfigError, unknown
from x2vlm.watch import EVERY, plain_watch, watch

OPEN = ("file.", "options.")
PIXELS: dict[str, Pixels] = {"stored": "stored", "upright": "upright"}
FORMATS: dict[str, Format] = {f: f for f in ("jsonl", "jsonl.gz", "tar", "parquet")}


def data(words: Sequence[str]) -> int:
    """x2vlm data status|verify|download|shards|mini."""
    names = [name for _, needed, more in ACTIONS.values() for name in (*needed, *more)]
    plain, settings = split_words(words, names)
    if len(plain) != 1:
        raise ConfigError(f"usage:\n{DATA_HELP}")
    if plain[0] not in ACTIONS:
        raise ConfigError(f"{unknown('data command', plain[0], ACTIONS)}\nusage:\n{DATA_HELP}")
    action, needed, more = ACTIONS[plain[0]]
    of_runs = [n for n in settings if n.startswith(OPEN)] if more[:1] == OF_RUNS[:1] else []
    take([name for name in settings if name not in of_runs], *needed, *more)
    for name in needed:
        if not settings.get(name):
            raise ConfigError(f"{name}=… is missing\nusage:\n{DATA_HELP}")
    with _progress_lines():
        return action(settings)


@contextmanager
def _progress_lines() -> Iterator[None]:
    """Where there is no terminal for a bar, progress comes as lines of the log."""
    log, console = logging.getLogger("x2vlm"), logging.StreamHandler(sys.stderr)
    log.setLevel(logging.INFO)
    log.addHandler(console)
    try:
        yield
    finally:
        log.removeHandler(console)


def _folder(settings: Settings) -> Path:
    root = Path(settings["data"])
    if not root.is_dir():
        raise ConfigError(f"data={root} is no folder")
    return root


def _chosen(settings: Settings) -> tuple[tuple[str, ...], Wanted]:
    """The benchmarks that are meant, those named or all, and what of their data a run takes."""
    layout = load_layout(settings["layout"]) if "layout" in settings else {}
    chosen = listed(settings, "benchmark")
    for name in chosen:
        get(name)  # an unknown one is an error with close names
    given, options = below(settings, "file."), below(settings, "options.")
    pixels = settings.get("box_pixels", "stored")
    if pixels not in PIXELS:
        raise ConfigError(unknown("box_pixels", pixels, PIXELS))
    limit = whole(settings, "limit", 1) if "limit" in settings else None
    if limit == 0:
        raise ConfigError("limit=0 leaves nothing to look at; limit is a number from 1")
    wanted = Wanted(
        layout,
        given,
        settings.get("split", ""),
        settings.get("train_split", ""),
        listed(settings, "languages"),
        listed(settings, "train_languages"),
        on_error(settings),
        limit,
        {name: plain_value(text) for name, text in options.items()},
        settings.get("box_format", ""),
        PIXELS[pixels],
    )
    names = chosen or NAMES
    if not chosen and (given or wanted.split or wanted.train_split or wanted.languages):
        raise ConfigError("benchmark=NAME is missing: files, splits and languages are of one")
    return names, wanted


def _status(settings: Settings) -> int:
    root = _folder(settings)
    names, wanted = _chosen(settings)
    print(status_table(status(root, names=names, wanted=wanted)))
    return 0


def _verify(settings: Settings) -> int:
    resume = Path(settings["resume"]) if "resume" in settings else None
    names, wanted = _chosen(settings)
    report = verify(_folder(settings), None, names, plain_watch, resume, wanted)
    for note in report.notes:
        print(f"note: {note}")
    for row in report.skipped:
        print(f"skipped: {row['source']}: {row['reason']}")
    for problem in report.problems:
        print(f"{problem['source']}: {problem['reason']}")
    left_out = f"{len(report.skipped)} skipped; " if report.skipped else ""
    print(
        f"{report.records} records; {report.checked} files decoded now, {report.known} known to be "
        f"sound; {left_out}{len(report.problems)} problems"
    )
    return 1 if report.problems else 0


# -- fetching ----------------------------------------------------------------------------------


def _download(settings: Settings) -> int:
    """Fetch, or (by default) say what would be fetched; the folder is made when it is not there."""
    known = table(Path(settings["table"])) if "table" in settings else table()
    dry_run, names = yes(settings, "dry_run", True), listed(settings, "benchmark")
    if not names and not dry_run:
        raise ConfigError(f"benchmark=NAME,… is missing; to choose from: {', '.join(known)}")
    root = Path(settings["data"])
    outcomes = download(
        names or tuple(known), root, items=known, dry_run=dry_run, progress=bytes_watch()
    )
    for outcome in outcomes:
        print(_line(outcome, root))
    if dry_run:
        print("nothing was fetched; to fetch: benchmark=NAME,… dry_run=false")
    return 0


def _line(outcome: Outcome, root: Path) -> str:
    size = megabytes(outcome.size) if outcome.size else "size unknown"
    line = f"{outcome.state:<8} {outcome.item.url}\n         {root / outcome.item.path}, {size}"
    return f"{line}, unpacked below {root / outcome.item.unpack}" if outcome.item.unpack else line


def megabytes(count: int) -> str:
    """A number of bytes in MB (10⁶ bytes)."""
    return f"{count / 1e6:.1f} MB"


def bytes_watch() -> Callable[[int, int | None, str], None]:
    """Progress of a download: a line that is written over on a terminal, else one now and then."""
    said = dict[str, float]()

    def tell(done: int, total: int | None, path: str) -> None:
        now, whole = time.monotonic(), done == total
        live = sys.stderr.isatty()
        if not whole and now - said.setdefault(path, now) < (0.1 if live else EVERY):
            return
        said[path] = now
        share = f" of {megabytes(total)} ({100 * done / total:.0f} %)" if total else ""
        ends = "\n" if whole or not live else ""
        print(f"\r{path}: {megabytes(done)}{share}", end=ends, file=sys.stderr, flush=True)

    return tell


# -- making --------------------------------------------------------------------------------------


def _shards(settings: Settings) -> int:
    """Pre-training shards out of official annotations."""
    form = settings.get("format", "jsonl.gz")
    if form not in FORMATS:
        raise ConfigError(unknown("format of shards", form, FORMATS))
    if settings["kind"] not in KINDS:
        raise ConfigError(unknown("kind of shards", settings["kind"], KINDS))
    rows = whole(settings, "rows", 10_000)
    if rows < 1:
        raise ConfigError(f"rows is at least 1, not {rows}")
    built = build_shards(
        settings["kind"], [Path(name) for name in listed(settings, "annotations")],
        Path(settings["images"]), Path(settings["out"]), exclude=_held_out(settings),
        inline=yes(settings, "inline", True), rows_per_shard=rows, form=FORMATS[form],
        on_error=on_error(settings), progress=watch,
    )  # fmt: skip
    for bad in built.skipped:
        print(f"skipped: {bad['source']}: {bad['reason']}")
    print(
        f"{built.rows} rows with {built.boxes} boxes in {len(built.shards)} shards below "
        f"{settings['out']}; {built.excluded} images held out, {built.empty} without a text or "
        f"box, {len(built.skipped)} skipped"
    )
    return 0


def _held_out(settings: Settings) -> frozenset[str]:
    """File names of the images of BENCHMARK:SPLIT,… below data=DIR: tested on, not trained on."""
    wanted = listed(settings, "exclude")
    if wanted and "data" not in settings:
        raise ConfigError("exclude=BENCHMARK:SPLIT,… needs data=DIR, to know the images")
    found: set[str] = set()
    for word in wanted:
        name, _, split = word.partition(":")
        benchmark = get(name)
        files = Files(_folder(settings), prefer="whole")
        records = load_records(benchmark, files, split or benchmark.default_split())
        found.update(media.path.rpartition("/")[2] for row in records for media in row.images)
    return frozenset(spelling for name in found for spelling in spellings(name))


def spellings(name: str) -> tuple[str, ...]:
    """What COCO calls one image: with the split of 2014 in front, or (2017) without."""
    number = name.removeprefix("COCO_train2014_").removeprefix("COCO_val2014_")
    if not re.fullmatch(r"\d{12}\.jpg", number):
        return (name,)
    return (number, f"COCO_train2014_{number}", f"COCO_val2014_{number}")


def _mini(settings: Settings) -> int:
    """Write the embedded world somewhere to look at, or to use as data=DIR."""
    scale, seed = float(settings.get("scale", "1.0")), whole(settings, "seed")
    write_world(Path(settings["out"]), seed, scale)
    print(settings["out"])
    return 0


OF_RUNS = (
    "layout",
    "benchmark",
    "split",
    "train_split",
    "languages",
    "train_languages",
    "on_error",
    "limit",
    "box_format",
    "box_pixels",
)
"""settings of `x2vlm run` that say which data is meant, besides file.ROLE and options.NAME"""
ACTIONS: dict[str, tuple[Callable[[Settings], int], tuple[str, ...], tuple[str, ...]]] = {
    "status": (_status, ("data",), OF_RUNS),
    "verify": (_verify, ("data",), (*OF_RUNS, "resume")),
    "download": (_download, ("data",), ("benchmark", "dry_run", "table")),
    "shards": (
        _shards,
        ("kind", "annotations", "images", "out"),
        ("exclude", "data", "inline", "rows", "format", "on_error"),
    ),
    "mini": (_mini, ("out",), ("scale", "seed")),
}
"""Name -> what it does, the settings it needs, and those it may have."""
