"""What of the data is there (`status`), and is it sound (`verify`)? Pillow only, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from benchmarks.base import Benchmark
from benchmarks.facts import check_facts, expected
from benchmarks.files import Files, OnError
from benchmarks.layout import Layout
from benchmarks.media import missing_media
from benchmarks.registry import NAMES, get
from benchmarks.soundness import Sound, check
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


def _files(root: Path, layout: Layout | None, name: str, on_error: OnError = "raise") -> Files:
    return Files(root, (layout or {}).get(name, {}), on_error)


def status(
    root: Path,
    layout: Layout | None = None,
    names: Sequence[str] = NAMES,
    progress: Progress[tuple[str, str]] = quiet,
) -> list[Status]:
    """A row per benchmark and split: complete, partial (counts), missing (what to get), broken."""
    splits = [(name, split) for name in names for split in get(name).splits]
    return [
        replace(_split_status(get(name), split, _files(root, layout, name)), benchmark=name)
        for name, split in progress(splits, "reading")
    ]


def _split_status(benchmark: Benchmark, split: str, files: Files) -> Status:
    records: list[Record] = []
    languages, problems, wanted = [], [], 0
    known = True
    absent = ""
    for language in benchmark.split(split).languages or benchmark.languages:
        fact = expected(benchmark.name, split, language)
        known, wanted = known and fact is not None, wanted + (fact.records if fact else 0)
        try:
            found = list(benchmark.read(files, split, language))
            if found:
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
    counts = (0 if files.stands_in else len(records), wanted if known else None)
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
    sound before (resume file); problems: {"source", "reason"} each."""

    records: int = 0
    checked: int = 0
    known: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)

    def add(self, source: str, reason: str) -> None:
        """Note a problem."""
        self.problems.append({"source": source, "reason": reason})


def verify(
    root: Path,
    layout: Layout | None = None,
    names: Sequence[str] = NAMES,
    progress: Progress[Record] = quiet,
    resume: Path | None = None,
) -> Report:
    """Check every split that is there: counts, ids, rows, that each image decodes, that boxes lie
    inside their images.

    resume: JSON lines of files found sound, with size and time of change; a file that has neither
    changed is not decoded again, so that an interrupted check goes on where it stopped.
    """
    report = Report()
    sound = Sound(resume)
    try:
        for name in names:
            benchmark = get(name)
            for split in benchmark.splits:
                records = _readable(benchmark, split, _files(root, layout, name, "skip"), report)
                for record in progress(records, f"{name} {split}"):
                    report.records += 1
                    _check_record(record, sound, report)
    finally:
        sound.close()
        report.checked, report.known = sound.checked, sound.known
    return report


def _readable(benchmark: Benchmark, split: str, files: Files, report: Report) -> list[Record]:
    """The records of all languages that are there; what is wrong with them goes to the report."""
    found: list[Record] = []
    for language in benchmark.split(split).languages or benchmark.languages:
        try:
            records = list(benchmark.read(files, split, language))
            check_facts(benchmark, split, records, files)
            found += records
        except NoFileError:
            continue
        except DataError as error:
            report.add(error.source, error.what)
    report.problems += files.skipped
    return found


def _check_record(record: Record, sound: Sound, report: Report) -> None:
    for media in record.images:
        try:
            size = check(media, sound)
        except FileNotFoundError:
            report.add(record.source, f"{media.path}: missing")
            continue
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            report.add(record.source, f"{media.path}: {error}")
            continue
        _check_box(record.target, size, record.source, report)


def _check_box(
    target: Mapping[str, object], size: Sequence[int] | None, source: str, report: Report
) -> None:
    box, said = target.get("box"), target.get("size")
    if size is None or not isinstance(box, list):
        return
    if isinstance(said, list) and said != list(size):
        report.add(source, f"the annotations say {said} pixels, the image has {list(size)}")
    x, y, w, h = box
    if x < -1 or y < -1 or x + w > size[0] + 1 or y + h > size[1] + 1:
        report.add(source, f"box {box} is not inside the image of {size[0]} x {size[1]} pixels")
