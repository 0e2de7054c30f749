"""Data sets of the hub, as it stores them, give the records that the official files give."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from benchmarks.files import Files
from benchmarks.readers import read_rows
from tests.small_data import CASES, put, write
from tests.small_rows import COCO, FLICKR, GQA, NLVR2_ROWS, WINOGROUND_ROWS, WORDS, png
from tests.suite_files import PICTURE, hub_shard, hub_table, load, told
from x2vlm.errors import DataError


def test_hub_flickr30k_equals_the_official_file(tmp_path: Path) -> None:
    rows = [
        {
            "image": PICTURE | {"path": name},
            "caption": list(texts),
            "filename": name,
            "split": "test",
        }
        for name, texts in zip(FLICKR, WORDS, strict=True)
    ]
    hub_table(rows, "image").save_to_disk(str(tmp_path / "flickr30k/test"))
    found, _ = load(tmp_path, "flickr30k_retrieval", "test", "en")
    write(tmp_path / "official", CASES["flickr30k_retrieval"])
    want, _ = load(tmp_path / "official", "flickr30k_retrieval", "test", "en")
    assert told(found) == told(want)
    assert found[0].images[0].inline == (png(),)


def hub_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a case as hub data sets have them: the pictures in the rows."""
    if name == "nlvr2":
        return [row | {"left_image": PICTURE, "right_image": PICTURE} for row in NLVR2_ROWS]
    if name == "gqa":
        return [
            {"id": key, "image": PICTURE} | {k: v for k, v in row.items() if k != "types"}
            for key, row in GQA.items()
        ]
    return [
        {"image": PICTURE, "filename": picture_name, "cocoid": int(picture_name[-16:-4]),
         "sentences": list(WORDS[i])} for i, picture_name in enumerate(COCO)
    ]  # fmt: skip


@pytest.mark.parametrize("carrier", ["parquet", "saved"])
@pytest.mark.parametrize("name", ["coco_retrieval", "nlvr2", "gqa"])
def test_hub_rows_carry_their_pictures(name: str, carrier: str, tmp_path: Path) -> None:
    case = CASES[name]
    write(tmp_path / "official", case)
    rows = hub_rows(name)
    table = hub_table(rows, *(column for column in rows[0] if rows[0][column] is PICTURE))
    folder = tmp_path / "hub" / case.main.partition("/")[0]
    if carrier == "saved":
        table.save_to_disk(str(folder / case.split))
    else:
        hub_shard(table, folder / "data", case.split)
    found, want = (load(tmp_path / root, name, case.split, "en")[0] for root in ("hub", "official"))
    assert told(found) == told(want)
    assert {media.inline for record in found for media in record.images} == {(png(),)}


PICTURED = {
    "xgqa": ("image",), "xvnli": ("image",), "wit": ("image",), "xflickrco": ("image",),
    "marvl": ("left_img", "right_img"),
}  # fmt: skip
"""columns that hold pictures; the videos of the QA sets stay files"""


@pytest.mark.parametrize("name", [*PICTURED, "msrvtt_qa", "msvd_qa"])
def test_official_rows_in_parquet_equal_the_official_files(name: str, tmp_path: Path) -> None:
    """The hub's copies of these have the official fields, with the pictures in the rows."""
    case = CASES[name]
    write(tmp_path, case)
    pictures = dict.fromkeys(PICTURED.get(name, ()), PICTURE)
    put(tmp_path, "excluded.json", [])
    rows = [
        {k: v for k, v in row.values.items() if k != "types"} | pictures
        | ({"question_id": row.key} if row.key else {})
        for row in read_rows(Files(tmp_path), tmp_path / case.main)
    ]  # fmt: skip
    hub_table(rows, *pictures).to_parquet(str(tmp_path / "hub.parquet"))
    found, want = (
        load(tmp_path, name, case.split, case.language, given=given)[0]
        for given in ({case.split: "hub.parquet", "excluded": "excluded.json"}, {})
    )
    assert told(found) == told(want)
    if pictures:
        assert {media.inline for record in found for media in record.images} == {(png(),)}


@pytest.mark.parametrize("named", [True, False])
def test_hub_multi30k_has_a_row_per_image(tmp_path: Path, named: bool) -> None:
    write(tmp_path, CASES["multi30k"])
    want, _ = load(tmp_path, "multi30k", "test", "fr")
    (tmp_path / "multi30k/test_2016_flickr.fr").unlink()
    rows = [{"en": "a man", "fr": "un homme"}, {"en": "a dog", "fr": "un chien"}]
    put(tmp_path, "multi30k/test.jsonl", rows)
    given = {"test": "multi30k/test.jsonl"} if named else {}
    found, _ = load(tmp_path, "multi30k", "test", "fr", given=given)
    assert told(found) == told(want)
    put(tmp_path, "multi30k/test.jsonl", rows[:1])
    with pytest.raises(DataError, match="1 lines, but"):
        load(tmp_path, "multi30k", "test", "fr", given=given)


def test_hub_gqa_keeps_questions_and_pictures_apart(tmp_path: Path) -> None:
    write(tmp_path / "official", CASES["gqa"])
    hub = tmp_path / "hub" / "gqa"
    questions = [{"id": key, **row} for key, row in GQA.items()]
    picture = {"id": "n100", "image": PICTURE | {"path": "n100.jpg"}}
    hub_shard(hub_table(questions), hub / "testdev_balanced_instructions", "testdev")
    hub_shard(hub_table([picture], "image"), hub / "testdev_balanced_images", "testdev")
    found, want = (load(tmp_path / root, "gqa", "testdev", "en")[0] for root in ("hub", "official"))
    assert [dataclasses.replace(r, images=(), source="") for r in found] == [
        dataclasses.replace(r, images=(), source="") for r in want
    ]
    assert [record.images[0].inline for record in found] == [(png(),)] * 2
    other = hub_table([picture | {"id": "n7"}], "image")
    hub_shard(other, hub / "testdev_balanced_images", "testdev")
    with pytest.raises(DataError, match="image n100 is not among the pictures"):
        load(tmp_path / "hub", "gqa", "testdev", "en")


def test_hub_winoground_equals_the_official_files(tmp_path: Path) -> None:
    official, hub = tmp_path / "official", tmp_path / "hub"
    write(official, CASES["winoground"])
    rows = [row | {"image_0": PICTURE, "image_1": PICTURE} for row in WINOGROUND_ROWS]
    hub_shard(hub_table(rows, "image_0", "image_1"), hub / "winoground/data", "test")
    found, want = (load(root, "winoground", "test", "en")[0] for root in (hub, official))
    assert [(r.id, r.texts, r.tags) for r in found] == [(r.id, r.texts, r.tags) for r in want]
    assert [media.inline for media in found[0].images] == [(png(),), (png(),)]


def test_hub_refcoco_has_several_phrases_per_row(tmp_path: Path) -> None:
    rows = [
        {"question_id": "9", "image": PICTURE, "question": "?",
         "answer": ["left zebra", "the front one"], "bbox": [1.0, 2.0, 20.0, 10.5],
         "iscrowd": 0, "file_name": "COCO_train2014_000000000154_7.jpg"}
    ]  # fmt: skip
    hub_table(rows, "image").save_to_disk(str(tmp_path / "refcoco+/val"))
    found, _ = load(tmp_path, "refcoco_plus", "val", "en")
    assert [(r.id, r.texts) for r in found] == [
        ("9_0", ("left zebra",)),
        ("9_1", ("the front one",)),
    ]
    assert found[0].target == {"box": [1.0, 2.0, 20.0, 10.5], "size": [40, 30]}
