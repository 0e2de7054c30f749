"""WIT (Srinivasan et al. 2021) as in IGLUE: Wikipedia images and their captions, many languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from benchmarks.base import Benchmark, Split
from benchmarks.captions import IGLUE_WORDS, retrieval_record
from benchmarks.files import Files, under
from benchmarks.media import Images
from benchmarks.metrics import retrieval
from benchmarks.metrics.languages import by_language
from benchmarks.readers import read_rows
from benchmarks.rows import Row, each
from x2vlm.errors import DataError
from x2vlm.types import Record

FOLDERS = ("iglue/wit", "wit", "WIT", "wit/annotations", "")
IMAGES = ("images/wit", "wit/images", "wit")
CAPTION = "caption_reference_description"
LANGUAGES = ("en", "ar", "bg", "da", "el", "et", "id", "ja", "ko", "tr", "vi")


def read(files: Files, split: str, language: str) -> Iterator[Record]:
    """Images with their captions; rows without a caption are left out, as in the official code,
    which keeps captions without a word ("." or a no-break space).

    The image is in the row ("image_content", base64, as X²-VLM prepares it; "image" of the hub), or
    a file called like the last part of its URL below images/wit.
    """
    names = under(FOLDERS, f"{split}_{{language}}.jsonl", f"{split}_{{language}}.jsonl.gz")
    path = files.find(split, names, language=language)
    images = Images(files, IMAGES)

    def make(row: Row) -> Record:
        texts = row.texts("captions", empty=True)
        if row.has("image_content"):
            media = row.base64("image_content")
        elif (inside := row.picture("image")) is not None:
            media = inside
        else:
            media = images(unquote(PurePosixPath(urlsplit(row.text("image_url")).path).name))
        return retrieval_record(_image_id(row), media, texts, row.source, language)

    return each(files, _by_image(files, read_rows(files, path)), make)


def _image_id(row: Row) -> str:
    return row.id("wit_ix", "image_idx", "image_url")


def _by_image(files: Files, rows: list[Row]) -> list[Row]:
    """One row per image, with all its captions, in the order of first appearance."""
    found: dict[str, tuple[Row, list[str]]] = {}
    empty = 0
    for row in rows:
        try:
            if row.values.get(CAPTION, 0) in (None, ""):
                empty += 1
                continue
            text = row.values.get(CAPTION)
            if not isinstance(text, str):
                raise row.wrong(CAPTION, "a text, or null for none")
            found.setdefault(_image_id(row), (row, []))[1].append(text)
        except DataError as error:
            files.skip(error)
    if empty:
        files.note(f"{rows[0].source.rpartition(':')[0]}: {empty} rows without a caption, left out")
    return [Row({**row.values, "captions": texts}, row.source) for row, texts in found.values()]


BENCHMARK = Benchmark(
    name="wit",
    task="retrieval",
    title="WIT image-text retrieval, many languages",
    read=read,
    score=by_language(retrieval.score),
    headline="image_r1",
    splits={
        "train": Split("train", languages=("en",)),
        "val": Split("validation", languages=("en",)),
        "test": Split("test"),
    },
    chance={"image_r1": 0.1, "text_r1": 0.1},
    options={"k": 256, "max_words": IGLUE_WORDS, "bare": "keep"},
    languages=LANGUAGES,
    paper="Srinivasan et al., SIGIR 2021; subset of Bugliarello et al., ICML 2022",
    url="https://github.com/e-bug/iglue",
    licence="texts CC BY-SA 3.0; images under their Wikimedia terms",
    access="texts open; images by URL from Wikimedia Commons",
)
