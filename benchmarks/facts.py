"""What the official files hold: counts per split and language, and a hash of the ids.

`facts/NAME.json`: {"source", "splits": {SPLIT: {LANGUAGE: {"records", "texts", "ids_sha256"}}}};
"ids_sha256" only where the whole official file was at hand ("unhashed" says why not). A language
"*" stands for all.
`python -m benchmarks.facts DATA` writes the hashes anew from the whole files below DATA.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.registry import NAMES, get
from benchmarks.usable import read_usable
from x2vlm.errors import DataError, NoFileError
from x2vlm.types import Record
from x2vlm.writing import write_atomically

FOLDER = Path(__file__).with_name("facts")


@dataclass(frozen=True, slots=True)
class Fact:
    """records and texts (None: unknown) of one split in one language; ids_sha256: see `hash_ids`,
    "" unknown."""

    records: int
    texts: int | None
    ids_sha256: str = ""


@cache
def load(name: str) -> Mapping[str, Mapping[str, Fact]]:
    """Split -> language -> fact of one benchmark; empty when nothing is known of it."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return {}
    splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
    return {
        split: {language: Fact(**fact) for language, fact in languages.items()}
        for split, languages in splits.items()
    }


def expected(benchmark: str, split: str, language: str) -> Fact | None:
    """The fact of one split in one language, if there is one."""
    languages = load(benchmark).get(split, {})
    return languages.get(language) or languages.get("*")


def hash_ids(ids: Iterable[str]) -> str:
    """SHA-256 over the sorted ids, one per line: independent of their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def measure(records: Sequence[Record]) -> Fact:
    """The fact that these records of one language make; ids without their language."""
    ids = [record.id.removeprefix(f"{record.language}:") for record in records]
    return Fact(len(records), sum(len(record.texts) for record in records), hash_ids(ids))


def check_facts(
    benchmark: Benchmark, split: str, records: Sequence[Record], files: Files
) -> list[str]:
    """Compare what was read with the facts, language by language; returns what is only partial.

    A smaller count is told, not refused, when rows were skipped on purpose or the file's own name
    says that it is a part (`Files.partial`): "test/en: partial, 38 of 5000 records". Otherwise a
    difference is a DataError that names both numbers. Call it before a limit is applied.
    """
    notes = []
    for language in dict.fromkeys(record.language for record in records):
        fact = expected(benchmark.name, split, language)
        if fact is None:
            continue
        found = measure([record for record in records if record.language == language])
        where = f"{benchmark.name} {split}/{language}"
        texts = found.texts if fact.texts is None else fact.texts
        smaller = found.records < fact.records or (found.texts or 0) < (texts or 0)
        if smaller and (files.partial() or files.skipped):
            notes.append(f"{where}: partial, {found.records} of {fact.records} records")
        elif (found.records, found.texts) != (fact.records, texts):
            raise DataError(
                f"{where}: {found.records} records with {found.texts} texts, "
                f"officially {fact.records} with {texts}",
                source=", ".join(map(str, files.used.values())) or str(files.root),
                expected="the whole official file",
                fix="fetch it again, name the right file (file.ROLE=PATH), take a part on purpose "
                "with limit=N, or name a part as one (X.subset.json)",
            )
        elif fact.ids_sha256 and found.ids_sha256 != fact.ids_sha256:
            raise DataError(
                f"{where}: the right number of records ({fact.records}), but other ids",
                source=", ".join(map(str, files.used.values())),
                expected=f"ids of SHA-256 {fact.ids_sha256[:16]}…, these: {found.ids_sha256[:16]}…",
                fix="this is another split or release; fetch the official file",
            )
    return notes


def rehash(root: Path, names: Sequence[str] = NAMES) -> dict[str, int]:
    """Write the id hashes of every split whose whole file is below `root`; benchmark -> hashes.

    Counts are not touched: a file that contradicts them raises DataError (mend the fact by hand,
    and say so in docs/log.md).
    """
    written = {}
    for name in names:
        path = FOLDER / f"{name}.json"
        if not path.is_file():
            continue
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        count = 0
        if "unhashed" in value:  # says why the files at hand cannot stand for the official ids
            written[name] = 0
            continue
        for split, languages in value["splits"].items():
            for language, fact in languages.items():
                found = _whole(get(name), root, split, language)
                if found is not None:
                    fact["ids_sha256"] = found
                    count += 1
        write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
        written[name] = count
    load.cache_clear()
    return written


def _whole(benchmark: Benchmark, root: Path, split: str, language: str) -> str | None:
    if language == "*" or split not in benchmark.splits:
        return None
    files = Files(root, prefer="whole")
    try:
        records = list(read_usable(benchmark, files, split, language))
    except NoFileError:
        return None
    if files.partial() or not records:
        return None
    check_facts(benchmark, split, records, files)
    return measure(records).ids_sha256


def main() -> None:
    """Rehash from the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    for name, count in rehash(parser.parse_args().data).items():
        print(f"{name}: {count} id hashes")


if __name__ == "__main__":
    main()
