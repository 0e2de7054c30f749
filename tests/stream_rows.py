"""Rows of small pictures in shards of every format, and loaders that read them."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from x2vlm.data.concepts import Concepts, ImageText
from x2vlm.data.image import TrainTransform
from x2vlm.data.shards import Format, write_shards
from x2vlm.data.streams import Stream, StreamLoader
from x2vlm.types import Batch

FORMS: tuple[Format, ...] = ("jsonl", "jsonl.gz", "tar", "parquet")
N = 23


def encoded(number: int) -> str:
    """A picture of its own for every number, as rows carry it."""
    pixels = np.random.default_rng(number).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


ROWS = [{"binary": encoded(i), "caption": f"picture number {i}"} for i in range(N)]


def write_folders(root: Path) -> Mapping[str, Path]:
    """The rows in shards of five, a folder for every format."""
    for form in FORMS:
        write_shards(ROWS, root / form, 5, form)
    return {form: root / form for form in FORMS}


def collate(rows: Sequence[Concepts]) -> Batch:
    """Texts as ids, and images."""
    images = torch.stack([row.image for row in rows if row.image is not None])
    return Batch(tuple(row.texts[0] for row in rows), images)


def loader(
    folder: Path, *, size: int = 4, workers: int = 0, buffer: int = 8, max_bad: float = 0.01
) -> StreamLoader:
    """A loader of the pictures and captions of a folder."""
    stream = Stream(folder, seed=1, buffer=buffer)
    parse = ImageText(TrainTransform(12))
    return StreamLoader(stream, parse, collate, size, workers=workers, max_bad=max_bad)


def take(source: StreamLoader, count: int) -> list[Batch]:
    """The next batches of a loader, which is left there."""
    return list(itertools.islice(source, count))


def same(ours: Sequence[Batch], theirs: Sequence[Batch]) -> bool:
    """The same rows, drawn alike."""
    return all(
        a.ids == b.ids and torch.equal(pixels(a), pixels(b))
        for a, b in zip(ours, theirs, strict=True)
    )


def pixels(batch: Batch) -> torch.Tensor:
    """The images, which every batch here has."""
    assert batch.image is not None
    return batch.image
