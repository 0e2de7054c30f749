"""Files of benchmarks loaded, and what of their records must not depend on the layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.files import Extent, Files
from benchmarks.records import load_records
from benchmarks.registry import get
from tests.small_rows import png
from x2vlm.types import Record

if TYPE_CHECKING:
    from datasets import Dataset

PICTURE = {"bytes": png(), "path": None}
"""an image as the rows of the hub carry it"""


def load(
    root: Path,
    name: str,
    split: str,
    language: str,
    *,
    prefer: Extent = "available",
    given: Mapping[str, str] | None = None,
) -> tuple[list[Record], Files]:
    """The records of one split; given: files by role, below `root`."""
    files = Files(root, given or {}, prefer=prefer)
    return load_records(get(name), files, split, [language]), files


def essence(records: Sequence[Record]) -> list[Any]:
    """What must not depend on the layout: all but where it was read, and official extra tags."""
    return [(r.id, [Path(m.path).name for m in r.images], r.texts, dict(r.target)) for r in records]


def told(records: Sequence[Record]) -> list[Any]:
    """What must not depend on where the pictures are: in files, or in the rows."""
    return [(r.id, r.texts, dict(r.target)) for r in records]


def hub_table(rows: Sequence[Mapping[str, Any]], *pictures: str) -> Dataset:
    """Rows as a data set of the hub; pictures: its columns of images."""
    import datasets

    table = datasets.Dataset.from_list([dict(row) for row in rows])
    for column in pictures:
        table = table.cast_column(column, datasets.Image())
    return table


def hub_shard(table: Dataset, folder: Path, split: str) -> None:
    """Write a data set as the hub's one file of a split."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
