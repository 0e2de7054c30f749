"""Commands that hand results on: the site, files for other harnesses, submissions to servers."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from benchmarks.submission import KINDS
from leaderboards.aggregate import flags_of
from leaderboards.published import STATES
from x2vlm.cli.arguments import parse
from x2vlm.cli.boards import ALLOW, STATES_SHOWN, TRUSTED, folders_of, trust
from x2vlm.cli.values import home
from x2vlm.errors import ConfigError, RecordError, unknown
from x2vlm.ranges import Setting
from x2vlm.settings import Settings


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
    benchmark: Annotated[tuple[str, ...], TRUSTED] = ()


def submit(arguments: Sequence[str]) -> int:
    """Write the official submission file of one run: x2vlm submit RUN [name=…] [out=DIR]."""
    from benchmarks.mini.home import data_root
    from benchmarks.submission import write_submission
    from leaderboards.runs import open_run, unaltered

    plain, given = parse(SubmitArguments, arguments)
    trust(given.benchmark)
    if len(plain) != 1:
        raise ConfigError("usage: x2vlm submit RUN [name=…] [out=DIR] [kind=nocaps] [subset=…]")
    folder = Path(home(plain[0]))
    (run,) = unaltered([open_run(folder, data_root)])
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


@dataclass(frozen=True, slots=True)
class SiteArguments(Settings):
    """Of x2vlm site."""

    out: Annotated[str, Setting("folder to write to", form="path", required=True)] = "site"
    allow: Annotated[tuple[str, ...], ALLOW] = ()
    states: Annotated[tuple[str, ...], STATES_SHOWN] = STATES[:1]
    gallery: Annotated[tuple[str, ...], Setting("folders of x2vlm explain", form="path")] = ()
    pictures: Annotated[
        tuple[str, ...],
        Setting("folders beside the runs' data from which pictures may be copied", form="path"),
    ] = ()
    benchmark: Annotated[tuple[str, ...], TRUSTED] = ()


def site(arguments: Sequence[str]) -> int:
    """Write a static site of runs: x2vlm site [RUNS…] [out=DIR] [gallery=DIR,…] [allow=…]."""
    plain, given = parse(SiteArguments, arguments)
    trust(given.benchmark)
    gallery, pictures = ([Path(one) for one in some] for some in (given.gallery, given.pictures))
    states = given.states or STATES[:1]
    print(write_site(folders_of(plain), Path(given.out), given.allow, gallery, states, pictures))
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


@dataclass(frozen=True, slots=True)
class ExportArguments(Settings):
    """Of x2vlm export."""

    out: Annotated[str, Setting("folder to write to", form="path", required=True)] = "export"
    name: Annotated[str, Setting("of the model, in its card", required=True)] = "x2vlm"
    allow: Annotated[tuple[str, ...], ALLOW] = ()
    benchmark: Annotated[tuple[str, ...], TRUSTED] = ()


def export(arguments: Sequence[str]) -> int:
    """Write runs as others read them: lm-eval's results and samples, a model card's block."""
    from benchmarks.mini.home import data_root
    from leaderboards.aggregate import find_records
    from leaderboards.exchange import model_index, write_harness
    from leaderboards.runs import open_runs, unaltered
    from x2vlm.writing import write_atomically

    plain, given = parse(ExportArguments, arguments)
    trust(given.benchmark)
    out = Path(given.out)
    runs = unaltered(open_runs(find_records(folders_of(plain)), data_root))
    write_harness(runs, out)
    text, refused = model_index([run.record for run in runs], given.name, given.allow)
    write_atomically(out / "model-index.yaml", text)
    for refusal in refused:
        print(f"refused: {refusal}", file=sys.stderr)
    print(out)
    return 0
