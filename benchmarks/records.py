"""Reading one split: all its languages, unique ids, an honest limit."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.usable import read_usable
from x2vlm.errors import DataError, NoFileError
from x2vlm.types import Record


def load_records(
    benchmark: Benchmark,
    files: Files,
    split: str,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[Record]:
    """All records of `split`, language by language, the first `limit` of each.

    languages: None takes all whose files are there and notes which are not; one that is named must
    be there. In a multilingual benchmark ids get the language in front ("de:17"), so that one
    predictions file holds them all. Raises NoFileError when no language is there, DataError for an
    empty split or an id that occurs twice.
    """
    found: list[Record] = []
    absent: dict[str, NoFileError] = {}
    multilingual = len(benchmark.languages) > 1
    wanted = languages or benchmark.split(split).languages or benchmark.languages
    for language in wanted:
        try:
            records = list(islice(read_usable(benchmark, files, split, language), limit))
        except NoFileError as error:
            if languages:
                raise
            absent[language] = error
            continue
        found += [_in_language(row, language) for row in records] if multilingual else records
    if len(absent) == len(wanted):
        raise next(iter(absent.values()))
    if absent:
        there = ", ".join(language for language in wanted if language not in absent)
        files.note(
            f"{benchmark.name} {split}: no files for {', '.join(absent)}; evaluated: {there}. "
            "An average of these languages alone is not the benchmark's"
        )
    if not found and files.skipped:
        first = files.skipped[0]
        raise DataError(
            f"none of its {len(files.skipped)} rows can be used, first: {first['reason']}",
            source=first["source"],
            expected=f"rows of {benchmark.name} {split}",
            fix="correct them, or name the right file: file.ROLE=PATH",
        )
    if not found:
        raise DataError(
            f"{benchmark.name}: split {split!r} is empty", source=str(files.root),
            fix="see what is there: x2vlm data status data=DIR. Without a training split: "
            "protocol=evaluate (weights that are fine-tuned), or protocol=zero-shot",
        )  # fmt: skip
    _check_unique(benchmark, found)
    return found


def without(records: Sequence[Record], skipped: Iterable[Mapping[str, str]]) -> list[Record]:
    """The records of which no row of `skipped` has the id."""
    left_out = {row["id"] for row in skipped if "id" in row}
    return [record for record in records if record.id not in left_out]


def missing_languages(
    benchmark: Benchmark, split: str, records: Sequence[Record]
) -> tuple[str, ...]:
    """Languages of the split of which no record is here, whether left out or not there. English is
    no part of any average, so it may be missing."""
    here = {record.language for record in records}
    whole = benchmark.split(split).languages or benchmark.languages
    return tuple(language for language in whole if language not in here and language != "en")


def _in_language(record: Record, language: str) -> Record:
    target = dict(record.target)
    if "text_ids" in target:
        target["text_ids"] = [f"{language}:{text}" for text in target["text_ids"]]
    return dataclasses.replace(
        record, id=f"{language}:{record.id}", language=language, target=target
    )


def _check_unique(benchmark: Benchmark, records: Sequence[Record]) -> None:
    seen: dict[str, Record] = {}
    for record in records:
        if record.id in seen:
            raise DataError(
                f"{benchmark.name}: id {record.id!r} occurs twice (first at "
                f"{seen[record.id].source})",
                source=record.source,
                expected="every id once",
                fix="remove the doubled row, or fetch the file again",
            )
        seen[record.id] = record


def fingerprint(records: Sequence[Record]) -> str:
    """Hash of what is asked: ids, texts and image names in order; equal data, equal hash."""
    digest = hashlib.sha256()
    for record in records:
        names = [media.path.rsplit("/", 1)[-1] for media in record.images]
        digest.update("\x1f".join([record.id, *record.texts, *names, repr(record.target)]).encode())
    return digest.hexdigest()
