"""RefCOCO in the layouts of neighbouring projects, and references that pandas has pickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.readers import read_pickle
from tests.field_rows import lines, put, read
from x2vlm.errors import DataError

NAME = "COCO_train2014_000000581857.jpg"
SIZE = {"width": 427, "height": 640}


def mdetr(count: int = 2, **image: Any) -> dict[str, Any]:
    """MDETR's file of `count` phrases."""
    return {
        "images": [
            {
                "file_name": NAME,
                **SIZE,
                "id": 7 + n,
                "caption": f"lady {n}",
                "original_id": 581857,
                "dataset_name": "refcoco",
                **image,
            }
            for n in range(count)
        ],
        "annotations": [
            {
                "image_id": 7 + n,
                "id": 70 + n,
                "bbox": [100, 100, 50, 60],
                "tokens_positive": [[0, 4]],
            }
            for n in range(count)
        ],
        "categories": [],
    }


@pytest.mark.parametrize("indent", [None, 1])
def test_mdetr(indent: int | None, tmp_path: Path) -> None:
    put(tmp_path, "refcoco/finetune_refcoco_val.json", json.dumps(mdetr(), indent=indent))
    found, files = read("refcoco", tmp_path, "val")
    assert [(r.id, r.texts, r.target["box"]) for r in found] == [
        ("7", ("lady 0",), [100, 100, 50, 60]),
        ("8", ("lady 1",), [100, 100, 50, 60]),
    ]
    assert found[0].images[0].path.endswith(f"train2014/{NAME}")
    assert any("MDETR" in note for note in files.notes)
    put(tmp_path, "refcoco/finetune_refcoco_val.json", json.dumps(mdetr(dataset_name="refcoco+")))
    with pytest.raises(DataError, match=r"dataset_name.*refcoco\+"):
        read("refcoco", tmp_path, "val")


def test_coco_boxes_without_phrases_are_named(tmp_path: Path) -> None:
    value = mdetr()
    for image in value["images"]:
        del image["caption"]
    put(tmp_path, "refcoco/refcoco_val.json", json.dumps(value))
    with pytest.raises(DataError, match=r"COCO's layout .* without phrases"):
        read("refcoco", tmp_path, "val")


REC = [
    {"image": f"train2014/{NAME}", "sent": "lady", **SIZE, "bbox": [100, 100, 150, 160]},
    {"img_path": NAME, "expression": "lady", **SIZE, "bbox": [100, 100, 150, 160]},
    {"image": f"/data/coco/train2014/{NAME}", "text": "lady", **SIZE, "bbox": [100, 100, 150, 160]},
]


@pytest.mark.parametrize("row", REC)
@pytest.mark.parametrize("array", [False, True])
def test_rec_rows(row: dict[str, Any], array: bool, tmp_path: Path) -> None:
    other = {**row, "bbox": [300, 500, 400, 600]}
    content = json.dumps([row, other]) if array else lines([row, other])
    put(tmp_path, "rec.jsonl", content)
    found, files = read("refcoco", tmp_path, "val", given={"val": "rec.jsonl"})
    assert [record.target["box"] for record in found] == [[100, 100, 50, 60], [300, 500, 100, 100]]
    assert found[0].images[0].path.endswith(f"train2014/{NAME}")
    assert any("read as xyxy" in note for note in files.notes)
    put(tmp_path, "rec.jsonl", lines([{**row, "bbox": [100, 300, 50, 60]}]))
    found, files = read("refcoco", tmp_path, "val", given={"val": "rec.jsonl"})
    assert found[0].target["box"] == [100, 300, 50, 60]
    assert any("read as xywh" in note for note in files.notes)


# -- pickles ------------------------------------------------------------------------------------


def refs(split: str = "val") -> list[dict[str, Any]]:
    """References as pandas leaves them: numpy's numbers, arrays and texts."""
    sentence = {"sent_id": np.int64(1), "sent": np.str_("a lady"), "raw": "a lady"}
    return [
        {
            "ref_id": np.int32(3),
            "ann_id": np.uint8(5),
            "image_id": np.int64(7),
            "split": split,
            "sentences": [sentence],
            "sent_ids": np.array([1, 2]),
        }
    ]


@pytest.mark.parametrize("protocol", range(1, 6))
def test_numbers_of_numpy_are_plain_numbers(protocol: int, tmp_path: Path) -> None:
    values = {
        "scalars": [np.int64(-3), np.uint16(7), np.float32(0.5), np.bool_(True), np.str_("ä")],
        "arrays": [
            np.arange(6).reshape(2, 3),
            np.array(["a", "bc"]),
            np.array([1.5], ">f8"),
            np.asfortranarray(np.arange(4).reshape(2, 2)),
            np.array([{"a": 1}, None], dtype=object),
            np.array(4),
        ],
        "bytes": b"\x00\xff",
    }
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps(values, protocol=protocol))
    found = read_pickle(path)
    assert found["scalars"] == [-3, 7, 0.5, True, "ä"]
    assert {type(value) for value in found["scalars"]} == {int, float, bool, str}
    assert found["arrays"] == [
        [[0, 1, 2], [3, 4, 5]],
        ["a", "bc"],
        [1.5],
        [[0, 1], [2, 3]],
        [{"a": 1}, None],
        4,
    ]
    assert found["bytes"] == b"\x00\xff"


@pytest.mark.parametrize(
    "value",
    [np.datetime64("2020-01-01"), np.ma.array([1]), np.dtype("i8"), np.random.default_rng(0)],
)
def test_other_values_of_numpy_are_refused(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps({"a": value}))
    with pytest.raises(DataError):
        read_pickle(path)


def test_references_with_numbers_of_numpy(tmp_path: Path) -> None:
    folder = tmp_path / "refcocog"
    instances = {
        "images": [{"id": 7, "file_name": NAME, **SIZE}],
        "annotations": [{"id": 5, "image_id": 7, "bbox": [1, 2, 3, 4]}],
    }
    put(folder, "instances.json", json.dumps(instances))
    put(folder, "refs(google).p", pickle.dumps(refs(), protocol=2))
    with pytest.raises(DataError, match=r"refs\(google\)\.p is another split.*umd"):
        read("refcocog", tmp_path, "val")
    with pytest.raises(DataError, match="holds the split 'google' of refcocog, not 'umd'"):
        read("refcocog", tmp_path, "val", given={"val": "refcocog/refs(google).p"})
    put(folder, "refs(umd).p", pickle.dumps(refs(), protocol=2))
    (record,), _ = read("refcocog", tmp_path, "val")
    assert (record.id, record.texts, record.target["box"]) == ("1", ("a lady",), [1, 2, 3, 4])
    (record,), _ = read("refcocog", tmp_path, "val", given={"refs": "refcocog/refs(umd).p"})
    assert record.id == "1"
