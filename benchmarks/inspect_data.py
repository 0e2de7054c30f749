"""What of the data is there (`status`), and is it sound (`verify`)? Pillow only, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from benchmarks.base import Benchmark
from benchmarks.bounds import bounds
from benchmarks.facts import check_facts, expected
from benchmarks.files import Files, OnError
from benchmarks.layout import Layout
from benchmarks.media import missing_media
from benchmarks.registry import NAMES, get
from benchmarks.soundness import Sound, box_faults, check
from benchmarks.usable import read_usable
from benchmarks.wanted import Wanted
from x2vlm.errors import DataError, NoFileError
from x2vlm.types import Record

State = Literal["complete", "partial", "missing", "broken"]
T = TypeVar("T")
Progress = Callable[[Iterable[T], str], Iterable[T]]


def quiet(items: Iterable[T], _: str) -> Iterable[T]:
    """The progress that reports nothing."""
    return items


@dataclass(frozen=True)
class Status:
    """One split of one benchmark on the user's disk.

    languages: those that were found. records, media: how many were found, and how many there
    should be (None: unknown; media: files that the found records name). note: what to do, or what
    is wrong.
    """

    benchmark: str
    split: str
    state: State
    languages: tuple[str, ...] = ()
    records: int = 0
    records_expected: int | None = None
    media: int = 0
    media_expected: int = 0
    note: str = ""


def status(
    root: Path,
    layout: Layout | None = None,
    names: Sequence[str] = NAMES,
    progress: Progress[tuple[str, str]] = quiet,
    wanted: Wanted | None = None,
) -> list[Status]:
    """A row per benchmark and split: complete, partial (counts), missing (what to get), broken.

    wanted: which splits, languages and files, as for a run; it is stronger than `layout`.
    """
    wanted = wanted or Wanted(layout or {})
    splits = [(name, split) for name in names for split in wanted.splits(wanted.benchmark(name))]
    return [
        replace(_split_status(wanted, root, name, split), benchmark=name)
        for name, split in progress(splits, "reading")
    ]


def _split_status(wanted: Wanted, root: Path, name: str, split: str) -> Status:
    benchmark, files = wanted.benchmark(name), wanted.files(root, name)
    records: list[Record] = []
    languages, problems, official = [], [], 0
    known = wanted.limit is None
    absent = ""
    for language in wanted.languages_of(benchmark, split):
        fact = expected(benchmark.name, split, language)
        known, official = known and fact is not None, official + (fact.records if fact else 0)
        try:
            found = list(islice(read_usable(benchmark, files, split, language), wanted.limit))
            if found and wanted.limit is None:
                check_facts(benchmark, split, found, files)
        except NoFileError as error:
            absent = absent or f"{error.what}: {error.expected}"
            continue
        except DataError as error:
            problems.append(str(error).replace("\n ", ";"))
            continue
        if found:
            languages.append(language)
            records += found
    counts = (0 if files.stands_in else len(records), official if known else None)
    if problems:
        return Status(benchmark.name, split, "broken", tuple(languages), *counts, note=problems[0])
    if not counts[0]:
        why = absent or "; ".join(files.notes) or "no records"
        where = f"{benchmark.access} ({benchmark.url})" if benchmark.url else benchmark.access
        note = "; ".join(part for part in (why, where, benchmark.licence) if part)
        return Status(benchmark.name, split, "missing", (), *counts, note=note)
    media = sum(not item.inline for record in records for item in record.images)
    there = media - len(missing_media(records))
    whole = not absent and not files.partial() and there == media and counts[1] in (None, counts[0])
    notes = [*files.notes, *([absent] if absent else [])]
    parts = _below(files, files.partial().values())
    notes += [f"part of the split: {', '.join(parts)}"] if parts else []
    notes += _more_annotations(benchmark, split, files, len(records)) if parts else []
    return Status(
        benchmark.name, split, "complete" if whole else "partial", tuple(languages),
        *counts, there, media, "; ".join(notes),
    )  # fmt: skip


def _more_annotations(benchmark: Benchmark, split: str, used: Files, found: int) -> list[str]:
    """What larger annotation files say, when a file cut to the images at hand was preferred."""
    files = Files(used.root, used.given, prefer="whole")
    records: list[Record] = []
    for language in benchmark.split(split).languages or benchmark.languages:
        try:
            records += benchmark.read(files, split, language)
        except DataError:  # this larger file is not what is used; `used` was read without fault
            continue
    if len(records) <= found:
        return []
    without = len({(record.language, record.id) for record, _ in missing_media(records)})
    names = ", ".join(_below(files, files.used.values()))
    return [f"{names} beside it: {len(records)} records, {len(records) - without} with their media"]


def _below(files: Files, paths: Iterable[Path]) -> list[str]:
    """These files as seen from the data folder; a name alone may be that of another file too."""
    inside = {path.relative_to(files.root) if path.is_relative_to(files.root) else path
              for path in paths}  # fmt: skip
    return sorted(map(str, inside))


def status_table(rows: Sequence[Status]) -> str:
    """The rows as text; long notes follow below the table, one line each."""
    head = ("benchmark", "split", "state", "records", "images or videos", "languages")
    body = [
        (
            row.benchmark,
            row.split,
            row.state,
            _of(row.records, row.records_expected) if row.records else "-",
            _of(row.media, row.media_expected) if row.records else "-",
            " ".join(row.languages) if len(get(row.benchmark).languages) > 1 else "",
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
        for line in (head, tuple("-" * n for n in widths), *body)
    ]
    notes = dict.fromkeys(f"{row.benchmark} {row.split}: {row.note}" for row in rows if row.note)
    return "\n".join([*lines, "", *notes])


def _of(found: int, wanted: int | None) -> str:
    return str(found) if wanted in (None, found) else f"{found} of {wanted}"


@dataclass
class Report:
    """What `verify` found. checked: images and videos looked at in this call; known: those found
    sound before (resume file); problems: {"source", "reason"} each; skipped: the same of what
    on_error=skip leaves out; notes: what a reader of the scores must know."""

    records: int = 0
    checked: int = 0
    known: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, source: str, reason: str) -> None:
        """Note a problem."""
        self.problems.append({"source": source, "reason": reason})


def verify(
    root: Path,
    layout: Layout | None = None,
    names: Sequence[str] = NAMES,
    progress: Progress[Record] = quiet,
    resume: Path | None = None,
    wanted: Wanted | None = None,
) -> Report:
    """Check every split that is there: counts, ids, rows, that each image decodes, that boxes lie
    inside their images. Finding nothing is a problem, too.

    resume: JSON lines of files found sound, with size and time of change; a file that has neither
    changed is not decoded again, so that an interrupted check resumes where it stopped.
    wanted: which splits, languages and files, as for a run; it is stronger than `layout`.
    """
    report = Report()
    wanted = wanted or Wanted(layout or {})
    sound = Sound(resume)
    absent: list[str] = []
    try:
        for name in names:
            before = report.records, len(report.problems)
            missing: list[NoFileError] = []
            for split in wanted.splits(wanted.benchmark(name)):
                records = _readable(wanted, root, name, split, report, missing)
                whole = 0
                for record in progress(records, f"{name} {split}"):
                    report.records += 1
                    whole += _check_record(record, sound, report, wanted.on_error)
                if records and not whole and wanted.on_error == "skip":
                    report.add(str(root), f"{name} {split}: no record has its images")
            if (report.records, len(report.problems)) == before:
                absent.append(f"{name}: {'; '.join(_looked_for(missing)) or 'no record'}")
    finally:
        sound.close()
        report.checked, report.known = sound.checked, sound.known
    if absent and (not report.records or set(names) != set(NAMES)):
        every = set(names) == set(NAMES)
        looked = "(x2vlm data status says it for every benchmark)" if every else "\n  ".join(absent)
        report.add(str(root), f"no split was found. Looked for:\n  {looked}")
    return report


def _looked_for(missing: Sequence[NoFileError]) -> list[str]:
    return list(dict.fromkeys(f"{error.what}, {error.expected}" for error in missing))


def _readable(
    wanted: Wanted, root: Path, name: str, split: str, report: Report, missing: list[NoFileError]
) -> list[Record]:
    """The records of all languages that are there; what is wrong with them goes to the report."""
    found: list[Record] = []
    benchmark, files = wanted.benchmark(name), wanted.files(root, name, "skip")
    for language in wanted.languages_of(benchmark, split):
        try:
            records = list(islice(read_usable(benchmark, files, split, language), wanted.limit))
            found += records
            if wanted.limit is None:
                check_facts(benchmark, split, records, files)
        except NoFileError as error:
            missing.append(error)
            if split in (wanted.split, wanted.train_split) or language in wanted.languages:
                report.add(error.source, f"{benchmark.name} {split}: {error.what}")
        except DataError as error:
            report.add(error.source, error.what)
    bad = report.skipped if wanted.on_error == "skip" else report.problems
    bad += [row for row in files.skipped if row not in bad]
    if bad is report.skipped and files.skipped and not found:
        report.add(str(root), f"{benchmark.name} {split}: none of its rows can be used")
    notes = [*files.notes, *_bounds(benchmark, split, found, files)] if found else []
    report.notes += [note for note in notes if note not in report.notes]
    return found


def _bounds(benchmark: Benchmark, split: str, found: list[Record], files: Files) -> list[str]:
    if benchmark.split(split).role == "train":
        return []
    try:
        listed = benchmark.labels if benchmark.task == "answering" else None
        candidates = listed(files) if listed else ()
    except DataError:  # no list to choose from and no training split: nothing to compare with
        candidates = ()
    return bounds(benchmark, split, found, {**benchmark.options, "candidates": candidates})


def _check_record(record: Record, sound: Sound, report: Report, on_error: OnError) -> bool:
    """Whether all images of the record can be read; what is wrong goes to the report."""
    bad = report.skipped if on_error == "skip" else report.problems
    readable = 0
    for media in record.images:
        try:
            size = check(media, sound)
        except FileNotFoundError:
            bad.append({"source": record.source, "reason": f"{media.path}: missing"})
            continue
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            bad.append({"source": record.source, "reason": f"{media.path}: {error}"})
            continue
        readable += 1
        for reason in box_faults(record.target, size):
            report.add(record.source, reason)
    return readable == len(record.images)
