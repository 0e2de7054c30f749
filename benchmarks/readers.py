"""Rows out of files: JSON, JSON lines, CSV, text, pickle, parquet, folders of `datasets`.

The carrier is told by content, gzip included. Whatever is wrong is a DataError that says where.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.delimited import named_cells, read_cells
from benchmarks.files import Files
from benchmarks.plain_pickle import load_plain
from benchmarks.rows import Row
from x2vlm.data.unpacking import check_parquet, open_unpacked
from x2vlm.errors import DataError

AGAIN = "fetch the file again, or name another one"
_BLANK = b"\xef\xbb\xbf \t\r\n"
_BEGUN = {"[": "one JSON array, as it begins", "{": "a JSON object, as it begins"}
_STAND_INS = {
    b"version https://git-lfs": "the pointer of Git LFS (git lfs pull fetches what it stands for)",
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
}
"""how files begin that stand where data should be"""


def read_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked when gzip; DataError when unreadable, empty, cut short, or larger
    than a file of its size may become (`x2vlm.data.unpacking`)."""
    try:
        with open_unpacked(path) as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read ({error})", source=str(path), fix=AGAIN) from error
    if not data.strip():
        raise DataError("the file is empty", source=str(path), fix=AGAIN)
    for start, what in _STAND_INS.items():
        if data[:200].lstrip(_BLANK).lower().startswith(start):
            raise DataError(f"holds {what} instead of data", source=str(path), fix=AGAIN)
    return _from_utf16(data, path)


def _from_utf16(data: bytes, path: Path) -> bytes:
    """UTF-16 with its mark at the beginning, as spreadsheets save it, as UTF-8."""
    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data
    try:
        return data.decode("utf-16").encode()
    except UnicodeDecodeError as error:
        raise _not_utf8(str(path), error) from error


def read_text(path: Path) -> str:
    """The file as UTF-8 text; DataError names the line of the first byte that is not."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _not_utf8(f"{path}:{line}", error) from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without line ends; only \\n and \\r\\n end a line."""
    text = read_text(path).replace("\r\n", "\n")
    return text.removesuffix("\n").split("\n")


def read_json(path: Path) -> Any:
    """One JSON value."""
    return _parse(read_text(path), path)


def read_rows(files: Files, path: Path, table: str = "") -> list[Row]:
    """The rows of a file, whatever carries them and whatever its name ends in.

    JSON array of objects; JSON object of objects by key; JSON object with the list `table` in it;
    JSON lines; CSV with a head, whatever separates it; parquet shards; a folder saved by `datasets`
    (its `state.json`). A line that is no JSON is a bad row (see `Files.skip`); a broken array or
    object is an error.
    """
    if path.suffix in (".parquet", ".arrow") or path.name == "state.json":
        return _hub_rows(path)
    data = read_bytes(path)
    begin = data.lstrip(_BLANK)[:1]
    if begin not in (b"{", b"[") and _ending(path) not in (".json", ".jsonl"):
        return _csv_rows(files, path, read_text(path))
    if _is_lines(data, path):
        return _line_rows(files, path, data)
    value = read_json(path)
    if isinstance(value, Mapping) and table not in value and not _is_table(value):
        return [Row(value, f"{path}:1")]  # JSON lines of a single line
    return table_rows(value, path, table)


def _ending(path: Path) -> str:
    """The suffix of a name, that of compression left out."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _is_table(value: Mapping[str, Any]) -> bool:
    return all(isinstance(item, Mapping) for item in value.values())


def table_rows(value: Any, path: Path, table: str = "") -> list[Row]:
    """Rows of a parsed JSON value: an array, an object's list `table`, or an object of objects."""
    if isinstance(value, Mapping) and table and table in value:
        value = value[table]
    if isinstance(value, Mapping):
        return [_row(v, f"{path}:{key}", str(key)) for key, v in value.items()]
    if not isinstance(value, list):
        raise DataError(
            f"holds a {type(value).__name__}", source=str(path), expected="rows", fix=AGAIN
        )
    return [_row(v, f"{path}:{number}") for number, v in enumerate(value, 1)]


def read_pickle(path: Path) -> Any:
    """A pickle of plain values and numpy's numbers; nothing in it is run (`plain_pickle`)."""
    return load_plain(read_bytes(path), path)


def _row(value: Any, source: str, key: str = "") -> Row:
    if not isinstance(value, Mapping):
        raise DataError(
            f"the row is a {type(value).__name__}", source=source, expected="an object", fix=AGAIN
        )
    return Row(value, source, key)


def _parse(text: str, path: Path, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number or a nesting beyond all measure
        what = f"is no JSON that can be read ({error})"
        if isinstance(error, json.JSONDecodeError):
            short = error.pos >= len(text.rstrip()) - 1
            short |= line is None and error.msg.startswith("Unterminated string")
            cut = " at its end: the file is cut short" if short else ""
            place = f"line {line or error.lineno} column {error.colno}"
            what = f"is no JSON{cut} ({error.msg}, {place})"
        raise DataError(
            what,
            source=str(path) if line is None else f"{path}:{line}",
            expected=f"{_BEGUN.get(text.lstrip()[:1], 'JSON')} in UTF-8",
            fix=AGAIN,
        ) from error


def _not_utf8(source: str, error: UnicodeDecodeError) -> DataError:
    return DataError(
        f"is not UTF-8 (byte 0x{error.object[error.start]:02x})",
        source=source,
        expected="text in UTF-8",
        fix="convert it (iconv -f … -t UTF-8), or fetch the file again",
    )


def _is_lines(data: bytes, path: Path) -> bool:
    """Whether this is JSON lines: most lines that are not blank are whole objects, and there are
    several of them or the name says so."""
    if data.lstrip(_BLANK).startswith(b"["):
        return False
    lines = [line for line in data.lstrip(_BLANK).split(b"\n") if line.strip()]
    named = _ending(path) == ".jsonl"
    if len(lines) == 1 or _whole(lines[0]):
        return named or len(lines) > 1
    return 2 * sum(map(_whole, lines)) >= len(lines)


def _whole(line: bytes) -> bool:
    """Whether a line is one JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _line_rows(files: Files, path: Path, data: bytes) -> list[Row]:
    rows = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        source = f"{path}:{number}"
        try:
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise _not_utf8(source, error) from error
            rows.append(_row(_parse(text, path, number), source))
        except DataError as error:
            files.skip(error)
    return rows


def _csv_rows(files: Files, path: Path, text: str) -> list[Row]:
    head, lines, dialect = read_cells(text, path)
    rows = []
    for number, cells in enumerate(lines, 1):
        source = f"{path}:{number}"
        try:
            rows.append(Row(named_cells(head, cells, dialect, source), source))
        except DataError as error:
            files.skip(error)
    return rows


def _hub_rows(path: Path) -> list[Row]:
    """Rows of parquet shards or of a saved dataset; images stay encoded ({"bytes", "path"})."""
    import datasets

    try:
        if path.name == "state.json":
            saved = datasets.load_from_disk(str(path.parent))
            columns: Any = _encoded(saved, datasets)
        else:
            shards = [str(shard) for shard in _shards(path)]
            for shard in shards if path.suffix == ".parquet" else ():
                check_parquet(Path(shard))
            stream = datasets.load_dataset(
                "parquet", data_files=shards, split="train", streaming=True
            )
            columns = _encoded(stream, datasets)
        return [Row(row, f"{path}:{number}") for number, row in enumerate(columns, 1)]
    except DataError:
        raise
    except Exception as error:  # pyarrow and datasets raise many kinds
        raise DataError(
            f"cannot be read by `datasets` ({type(error).__name__}: {error})",
            source=str(path),
            expected="a folder of save_to_disk, or parquet files",
            fix=AGAIN,
        ) from error


def _encoded(dataset: Any, datasets: Any) -> Any:
    for name, feature in (dataset.features or {}).items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(name, datasets.Image(decode=False))
    return dataset


def _shards(path: Path) -> Sequence[Path]:
    """All shards of the split that `path` is one of; DataError when some are missing."""
    match = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})(.*)\.parquet", path.name)
    if not match:
        return [path]
    found = sorted(path.parent.glob(f"{match[1]}-?????-of-{match[2]}*.parquet"))
    if len(found) != int(match[2]):
        raise DataError(
            f"{len(found)} of {int(match[2])} parquet shards are here",
            source=str(path.parent),
            fix="fetch the missing shards",
        )
    return found
