import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.shards import KINDS, build_shards
from x2vlm.data.shards import decode_row, read_rows
from x2vlm.errors import ConfigError, DataError

XML = """<annotation><filename>77.jpg</filename>
<object><name>5</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>12</ymax></bndbox></object>
<object><name>5</name><bndbox><xmin>21</xmin><ymin>4</ymin><xmax>29</xmax><ymax>9</ymax></bndbox></object>
<object><name>6</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "VG_100K_2").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg", "3.jpg", "77.jpg", "VG_100K_2/8.jpg"):
        Image.new("RGB", (40, 30)).save(folder / name)
    return folder


def coco(folder: Path) -> list[Path]:
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30} for i in (1, 2, 3)]
    instances = {
        "images": images,
        "categories": [{"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3.5, 4], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 9, "bbox": [0, 0, 40, 30], "iscrowd": 1},
            {"id": 3, "image_id": 2, "category_id": 9, "bbox": [5, 5, 0, 4], "iscrowd": 0},
        ],
    }
    captions = {
        "images": images,
        "annotations": [
            {"id": 4, "image_id": 1, "caption": "A dog. "},
            {"id": 5, "image_id": 2, "caption": "No dog."},
            {"id": 6, "image_id": 1, "caption": "One dog."},
        ],
    }
    paths = [folder / "instances.json", folder / "captions.json"]
    for path, value in zip(paths, (instances, captions), strict=True):
        path.write_text(json.dumps(value))
    return paths


def rows(shards: list[Path]) -> list[dict[str, Any]]:
    return [dict(decode_row(row, "x")) for path in shards for _, row in read_rows(path)]


def test_coco_captions(tmp_path: Path, images: Path) -> None:
    built = build_shards(
        "coco-captions", coco(tmp_path)[1:], images, tmp_path / "out", exclude={"2.jpg"}
    )
    [row] = rows(built.shards)
    assert row["caption"] == ["A dog.", "One dog."]
    assert Image.open(io.BytesIO(base64.b64decode(row["binary"]))).size == (40, 30)
    assert (built.rows, built.boxes, built.excluded, built.empty) == (1, 0, 1, 1)


def test_coco_objects_leave_crowds_out_and_name_bad_boxes(tmp_path: Path, images: Path) -> None:
    paths = coco(tmp_path)
    with pytest.raises(DataError, match=r"instances\.json:3: field 'bbox' is \[5, 5, 0, 4\]"):
        build_shards("coco-objects", paths, images, tmp_path / "out")
    built = build_shards("coco-objects", paths, images, tmp_path / "out", on_error="skip",
                         inline=False)  # fmt: skip
    assert rows(built.shards) == [
        {
            "caption": ["A dog.", "One dog."],
            "elems": [{"bb": [1, 2, 3.5, 4], "caption": "dog"}],
            "image": "1.jpg",
        }
    ]
    assert (built.rows, built.boxes, built.empty) == (1, 1, 2)
    assert [item["source"] for item in built.skipped] == [f"{paths[0]}:3"]


def test_genome_regions_objects_and_attributes(tmp_path: Path, images: Path) -> None:
    region = {"image_id": 8, "x": 1, "y": 2, "width": 9, "height": 8, "phrase": " a red hat "}
    regions = [{"id": 8, "regions": [region]}]
    attributes = [{"image_id": 8, "attributes": [
        {"names": ["hat"], "attributes": ["red"], "x": 1, "y": 2, "w": 9, "h": 8},
        {"names": ["man"], "attributes": None, "x": 0, "y": 0, "w": 30, "h": 20}]}]  # fmt: skip
    found = {}
    for kind, value in (("vg-regions", regions), ("vg-objects", attributes)):
        path = tmp_path / f"{kind}.json"
        path.write_text(json.dumps(value))
        built = build_shards(kind, [path], images, tmp_path / kind, inline=False)
        [found[kind]] = rows(built.shards)
    assert found["vg-regions"] == {
        "elems": [{"bb": [1, 2, 9, 8], "caption": "a red hat"}],
        "image": "VG_100K_2/8.jpg",
    }
    assert found["vg-objects"]["elems"] == [
        {"bb": [1, 2, 9, 8], "caption": ["hat"], "attributes": ["red"]},
        {"bb": [0, 0, 30, 20], "caption": ["man"]},
    ]


def test_flickr_entities_join_the_boxes_of_a_phrase(tmp_path: Path, images: Path) -> None:
    for name, text in (
        ("Sentences/77.txt", "[/EN#5/people Two dogs] on [/EN#6/scene the grass] .\n"
                             "[/EN#5/animals They] run .\n"),
        ("Annotations/77.xml", XML),
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
    built = build_shards("flickr30k-entities", [tmp_path], images, tmp_path / "out", inline=False)
    assert rows(built.shards) == [
        {
            "caption": ["Two dogs on the grass .", "They run ."],
            "elems": [
                {"bb": [1, 2, 28, 10], "caption": "Two dogs"},
                {"bb": [1, 2, 28, 10], "caption": "They"},
            ],
            "image": "77.jpg",
        }
    ]
    (tmp_path / "Annotations/77.xml").write_text("<annotation>")
    with pytest.raises(DataError, match=r"77\.xml: cannot be read"):
        build_shards("flickr30k-entities", [tmp_path], images, tmp_path / "out")


def test_a_missing_image_is_named_or_counted(tmp_path: Path, images: Path) -> None:
    (images / "1.jpg").unlink()
    paths = coco(tmp_path)[1:]
    with pytest.raises(DataError, match=r"captions\.json:1: image 1\.jpg is not below"):
        build_shards("coco-captions", paths, images, tmp_path / "out")
    built = build_shards("coco-captions", paths, images, tmp_path / "out", on_error="skip")
    assert built.rows == 1
    assert len(built.skipped) == 1


def test_wrong_files_and_kinds_are_named(tmp_path: Path, images: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'coco-captions'"):
        build_shards("coco-caption", [], images, tmp_path)
    other = tmp_path / "other.json"
    other.write_text("[]")
    with pytest.raises(DataError, match="expected: a COCO annotation file"):
        build_shards("coco-objects", [other], images, tmp_path)
    lost = tmp_path / "lost.json"
    lost.write_text(json.dumps({"images": [], "annotations": [{"image_id": 5, "caption": "a"}]}))
    with pytest.raises(DataError, match="image_id"):
        build_shards("coco-captions", [lost], images, tmp_path)
    with pytest.raises(DataError, match="no sentence file"):
        build_shards("flickr30k-entities", [tmp_path], images, tmp_path)


def test_progress_sees_every_image(tmp_path: Path, images: Path) -> None:
    seen: list[Any] = []

    def watch(items: Any, what: str, total: int | None, unit: str, /) -> Any:
        seen.append((what, total, unit))
        for item in items:
            seen.append(item.name)
            yield item

    build_shards("coco-captions", coco(tmp_path)[1:], images, tmp_path / "o", progress=watch)
    assert seen == [("shards of coco-captions", 3, "images"), "1.jpg", "2.jpg", "3.jpg"]


def test_real_annotations_become_shards(tmp_path: Path, shared: Path) -> None:
    data = shared / "data"
    built = build_shards(
        "coco-objects",
        [
            data / "ovad/coco_instances_val2017.avail.json",
            data / "coco_caption/captions_val2017.avail210.json",
        ],
        data / "images/coco/val2017",
        tmp_path,
        rows_per_shard=40,
    )
    assert [path.name for path in built.shards] == ["000000.jsonl.gz", "000001.jsonl.gz"]
    assert (built.rows, built.boxes, built.empty, built.skipped) == (58, 411, 152, [])
    assert set(KINDS) >= {"coco-captions", "coco-objects", "vg-regions", "flickr30k-entities"}
