"""Shards of pre-training data: JSON lines (plain or gzip), tar (members grouped by name), Parquet.

No torch here. A row leaves as it is stored, one JSON line of bytes or a mapping, so that only the
worker that needs it pays for decoding. Reading holds one row (Parquet: a few) in memory.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from x2vlm.data.unpacking import LONGEST_ROW, check_parquet, open_unpacked
from x2vlm.errors import DataError
from x2vlm.writing import half_written, remove_unfinished

Row = bytes | Mapping[str, Any]
Format = Literal["jsonl", "jsonl.gz", "tar", "parquet"]

_IMAGES = {"jpg", "jpeg", "png", "webp"}
_PARQUET_ROWS = 64  # decoded at a time


def find_shards(patterns: str | Path | Sequence[str | Path]) -> list[Path]:
    """The shard files of folders, files and glob patterns, sorted by path; DataError when none."""
    found: set[Path] = set()
    for pattern in [patterns] if isinstance(patterns, str | Path) else patterns:
        path = Path(pattern)
        matches = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(pattern)))  # noqa: PTH207
        found.update(match for match in matches if match.is_file() and _reader(match))
    if not found:
        raise DataError(
            "no shard found",
            source=str(patterns),
            expected="files *.jsonl, *.jsonl.gz, *.tar, *.tar.gz or *.parquet",
            fix="make them with: x2vlm data shards",
        )
    return sorted(found)


def read_rows(path: Path, first: int = 0) -> Iterator[tuple[int, Row]]:
    """(row number from 0, row) of one shard, beginning with row `first`.

    Raises DataError when the shard itself is broken: then nobody knows how much of it is lost.
    """
    reader = _reader(path)
    if reader is None:
        raise DataError("is no shard", source=str(path), expected="jsonl, jsonl.gz, tar or parquet")
    row = first
    try:
        for row, value in reader(path, first):
            yield row, value
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(
            f"shard is broken ({type(error).__name__}: {error})",
            source=f"{path}:{row + 1}",
            fix="get or build this shard again",
        ) from error


def decode_row(row: Row, source: str) -> Mapping[str, Any]:
    """A row as a mapping; DataError names it when it is no JSON object."""
    if not isinstance(row, bytes):
        return row
    try:
        value = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON ({error})", source=source) from None
    if not isinstance(value, dict):
        raise DataError(f"is a {type(value).__name__}", source=source, expected="a JSON object")
    return value


def _reader(path: Path) -> Callable[[Path, int], Iterator[tuple[int, Row]]] | None:
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz", ".json.gz", ".ndjson")):
        return _lines
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        return _members
    return _table if name.endswith(".parquet") else None


def _lines(path: Path, first: int) -> Iterator[tuple[int, Row]]:
    with open_unpacked(path) as stream:
        number = -1
        while line := stream.readline(LONGEST_ROW + 1):
            number += 1
            _check_row(len(line), path, number)
            if number >= first and not line.isspace():
                yield number, line


def _check_row(size: int, path: Path, number: int) -> None:
    if size > LONGEST_ROW:
        raise DataError(
            f"the row has more than {LONGEST_ROW // 2**20} MiB",
            source=f"{path}:{number + 1}",
            fix="build the shard again with smaller pictures or fewer frames",
        )


def _members(path: Path, first: int) -> Iterator[tuple[int, Row]]:
    """Members a/b.jpg, a/b.json, a/b.txt are row "a/b": binary, the fields of the JSON, caption."""
    number, key, row = -1, None, dict[str, Any]()
    with open_unpacked(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        while (member := archive.next()) is not None:
            vars(archive)["members"] = []  # it would remember every member that it has passed
            if not member.isfile():
                continue
            folder, _, base = member.name.rpartition("/")
            stem, _, extension = base.partition(".")
            if key != (folder, stem):
                if number >= first:
                    yield number, row
                number, key, row = number + 1, (folder, stem), {}
            _check_row(member.size, path, number)
            content = archive.extractfile(member)
            if number >= first and content is not None:
                row |= _field(extension.lower(), content.read())
    if number >= first:
        yield number, row


def _field(extension: str, content: bytes) -> dict[str, Any]:
    if extension in _IMAGES:
        return {"binary": content}
    if extension == "txt":
        return {"caption": content.decode("utf-8", errors="replace")}
    if extension == "json":
        with contextlib.suppress(ValueError, RecursionError):
            fields = json.loads(content)
            if isinstance(fields, dict):
                return fields
        return {"malformed": extension}
    return {extension: content}


def _table(path: Path, first: int) -> Iterator[tuple[int, Row]]:
    from pyarrow import ArrowException, parquet  # slow to import, and only for this format

    check_parquet(path)
    try:
        with parquet.ParquetFile(path) as table:
            number, groups = 0, list(range(table.num_row_groups))
            while groups and number + table.metadata.row_group(groups[0]).num_rows <= first:
                number += table.metadata.row_group(groups.pop(0)).num_rows
            for batch in table.iter_batches(_PARQUET_ROWS, row_groups=groups):
                for row in batch.to_pylist():
                    if number >= first:
                        yield number, _given(row)
                    number += 1
    except ArrowException as error:
        raise OSError(str(error)) from error


def _given(value: Any) -> Any:
    """Without the fields that only others have: a column of mappings gives all rows all names."""
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one is not None}
    return [_given(one) for one in value] if isinstance(value, list) else value


def write_shards(
    rows: Iterable[Mapping[str, Any]],
    folder: Path,
    rows_per_shard: int = 10_000,
    form: Format = "jsonl.gz",
) -> list[Path]:
    """Write `rows` (JSON values; "binary" is base64) as shards 000000.FORM, 000001.FORM, …

    Each is written beside its place and renamed, so a shard that exists is whole. At least one
    shard is written. Returns their paths. What a longer build before left in the folder, in this
    form, is removed at the end: readers take every shard of a folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    written: list[Path] = []
    pending = iter(rows)
    row = next(pending, None)
    while row is not None or not written:
        path = folder / f"{len(written):06d}.{form}"
        beside = half_written(path)
        with _writer(beside, form) as write:
            count = 0
            while row is not None and count < rows_per_shard:
                write(row)
                row, count = next(pending, None), count + 1
        beside.replace(path)
        written.append(path)
    for path in folder.glob(f"{'[0-9]' * 6}.{form}"):
        if path not in written:
            path.unlink()
    return written


@contextlib.contextmanager
def _writer(path: Path, form: Format) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    if form == "tar":
        with tarfile.open(path, "w") as archive:
            yield _tar_writer(archive)
    elif form == "parquet":
        import pyarrow
        from pyarrow import parquet

        held: list[Mapping[str, Any]] = []
        yield held.append
        # Not Table.from_pylist: its columns are the fields of the first row alone.
        names = dict.fromkeys(name for row in held for name in row)
        table = pyarrow.table({name: [row.get(name) for row in held] for name in names})
        parquet.write_table(table, path, row_group_size=_PARQUET_ROWS)
    else:
        # mtime and name are left out of gzip's header: the same rows give the same bytes
        with contextlib.ExitStack() as stack:
            stream: Any = stack.enter_context(path.open("wb"))
            if form == "jsonl.gz":
                stream = stack.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0))
            yield lambda row: stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _tar_writer(archive: tarfile.TarFile) -> Callable[[Mapping[str, Any]], None]:
    count = 0

    def add(name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

    def write(row: Mapping[str, Any]) -> None:
        nonlocal count
        if "binary" in row:
            add(f"{count:09d}.jpg", base64.b64decode(row["binary"]))
        rest = {name: value for name, value in row.items() if name != "binary"}
        add(f"{count:09d}.json", json.dumps(rest, ensure_ascii=False).encode())
        count += 1

    return write
