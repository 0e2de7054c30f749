"""Small copies of what users bring: pictures, rows in the carriers and layouts of neighbours."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.files import Files
from benchmarks.records import load_records
from benchmarks.registry import get
from x2vlm.types import Record

TEXTS = ("a boat, on a lake", "a hill; green", 'the "old" tower', "two dogs | one cat")
ROWS = [{"image": f"{n}.png", "caption": text} for n, text in enumerate(TEXTS)]
STORED = (10, 5, 20, 10)
"""the red rectangle of `turned_picture`, [x, y, w, h] in stored pixels"""


def pictures(folder: Path, count: int = len(TEXTS), size: tuple[int, int] = (40, 30)) -> Path:
    """FOLDER/images/N.png, each of another colour."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", size, (40 * number, 90, 10)).save(folder / f"images/{number}.png")
    return folder


def put(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file below a folder with pictures."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows: Sequence[Mapping[str, Any]], separator: str) -> str:
    """CSV with a head; `separator` may end in a blank, as in Flickr30K's results.csv."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator[0], lineterminator="\n")
    writer.writerows([list(rows[0]), *([*row.values()] for row in rows)])
    return out.getvalue().replace(separator[0], separator) if " " in separator else out.getvalue()


def turned_picture(path: Path, orientation: int, size: tuple[int, int] = (100, 40)) -> Path:
    """A grey picture with a red rectangle at STORED, and an EXIF orientation."""
    image = Image.new("RGB", size, (90, 90, 90))
    x, y, w, h = STORED
    image.paste((255, 0, 0), (x, y, x + w, y + h))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def read(
    name: str, folder: Path, split: str = "test", **settings: Any
) -> tuple[list[Record], Files]:
    """The usable records of a split, and the files they came from."""
    files = Files(folder, **settings)
    return load_records(get(name), files, split), files
