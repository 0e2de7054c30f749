"""Rows out of files: JSON, JSON lines, CSV, text, pickle, parquet, folders of `datasets`.

The carrier is told by content, gzip included. Whatever is wrong is a DataError that says where.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.files import Files
from benchmarks.rows import Row
from x2vlm.data.unpacking import check_parquet, open_unpacked
from x2vlm.errors import DataError

AGAIN = "fetch the file again, or name another one"


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
    return data


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
    """The rows of a file, whatever carries them.

    JSON array of objects; JSON object of objects by key; JSON object with the list `table` in it;
    JSON lines; CSV with a head; parquet shards; a folder saved by `datasets` (its `state.json`).
    A line that is no JSON is a bad row (see `Files.skip`); a broken array or object is an error.
    """
    if path.suffix in (".parquet", ".arrow") or path.name == "state.json":
        return _hub_rows(path)
    if path.suffix == ".csv":
        return _csv_rows(path)
    data = read_bytes(path)
    if _is_lines(data, path):
        return _line_rows(files, path, data)
    value = read_json(path)
    if isinstance(value, Mapping) and table not in value and not _is_table(value):
        return [Row(value, f"{path}:1")]  # JSON lines of a single line
    return table_rows(value, path, table)


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
    """A pickle of plain containers (dict, list, tuple, set, text, bytes, numbers, None) only.

    Pickles can run code when read; here every class and function is refused by name.
    """
    data = read_bytes(path)
    try:
        return _PlainUnpickler(io.BytesIO(data), source=str(path)).load()
    except DataError:
        raise
    except Exception as error:  # a broken pickle raises almost anything
        raise DataError(
            f"is no complete pickle ({type(error).__name__}: {error})", source=str(path), fix=AGAIN
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, source: str) -> None:
        super().__init__(file, encoding="utf-8")  # pickles of Python 2 hold byte strings
        self.source = source

    def find_class(self, module: str, name: str) -> NoReturn:
        raise DataError(
            f"the pickle asks for {module}.{name}",
            source=self.source,
            expected="plain containers only (dict, list, tuple, set, text, numbers)",
            fix="do not trust this file; fetch the official one again",
        )


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
            cut = " at its end: the file is cut short" if short else ""
            place = f"line {line or error.lineno} column {error.colno}"
            what = f"is no JSON{cut} ({error.msg}, {place})"
        raise DataError(
            what,
            source=str(path) if line is None else f"{path}:{line}",
            expected="JSON in UTF-8",
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
    """Whether this is JSON lines: the first line is a whole object and more follow."""
    body = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not body.startswith(b"{"):
        return path.suffix == ".jsonl"
    first, _, rest = body.partition(b"\n")
    if path.name.split(".json", 1)[-1] in ("l", "l.gz"):
        return True
    if not rest.strip():
        return False
    try:
        json.loads(first)
    except ValueError:
        return False
    return True


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


def _csv_rows(path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(read_text(path)))
    try:
        lines = list(reader)
    except csv.Error as error:
        raise DataError(
            f"is no CSV ({error})", source=f"{path}:{reader.line_num}", expected="CSV with a head",
            fix=AGAIN,
        ) from error  # fmt: skip
    rows = []
    for number, values in enumerate(lines, 1):
        if None in values or None in values.values():
            raise DataError(
                f"the row has not the {len(reader.fieldnames or ())} fields of the head",
                source=f"{path}:{number}",
                expected=f"fields {', '.join(reader.fieldnames or ())}",
                fix=AGAIN,
            )
        rows.append(Row(values, f"{path}:{number}"))
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
