"""The readers of all benchmarks: the real pack at its counts, the mini world, and, layout by
layout, that what people have on disk gives the records that the official files give."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.files import Extent, Files
from benchmarks.media import missing_media
from benchmarks.mini.suite import write_world
from benchmarks.readers import read_rows
from benchmarks.records import load_records
from benchmarks.registry import NAMES, get
from benchmarks.suites import coco_captioning
from tests.small_data import (
    CASES,
    COCO,
    COCO_PICTURES,
    FLICKR,
    GQA,
    MSRVTT_DATA,
    NLVR2_ROWS,
    QA_ROWS,
    REFS,
    VQA_ANNOTATIONS,
    VQA_QUESTIONS,
    WINOGROUND_ROWS,
    WORDS,
    karpathy,
    png,
    write,
)
from x2vlm.errors import ConfigError, DataError
from x2vlm.types import Record

# (benchmark, split, language, records, texts, files missing) of every file of the pack
PACK = [
    ("coco_retrieval", "test", "en", 38, 190, 0),
    ("flickr30k_retrieval", "test", "en", 243, 1215, 0),
    ("coco_captioning", "test", "en", 38, 190, 0),
    ("coco_captioning", "val2017", "en", 210, 1051, 0),
    ("vqav2", "val", "en", 329, 329, 0),
    ("nlvr2", "dev", "en", 8, 8, 0),
    ("nlvr2", "test", "en", 8, 8, 0),
    ("refcoco", "val", "en", 17, 17, 0),
    ("refcoco", "testA", "en", 12, 12, 0),
    ("refcoco", "testB", "en", 20, 20, 0),
    ("refcoco_plus", "val", "en", 18, 18, 0),
    ("refcoco_plus", "testA", "en", 11, 11, 0),
    ("refcoco_plus", "testB", "en", 18, 18, 0),
    ("refcocog", "val", "en", 17, 17, 0),
    ("winoground", "test", "en", 16, 32, 0),
    ("msrvtt_retrieval", "test", "en", 100, 100, 0),
    ("msrvtt_retrieval", "val", "en", 30, 600, 0),
    ("msrvtt_qa", "val", "en", 772, 772, 0),
    ("msvd_qa", "test", "en", 23, 23, 0),
    ("gqa", "testdev", "en", 81, 81, 0),
    ("xgqa", "test", "en", 58, 58, 0),
    *[("xgqa", "few_shot_48", code, 23, 23, 0) for code in get("xgqa").languages],
    *[("multi30k", "test", code, 243, 1215, 0) for code in ("en", "de")],
    *[("multi30k", "test", code, 243, 243, 0) for code in ("fr", "cs")],
    *[("multi30k", "test_task1", code, 243, 243, 0) for code in ("en", "de", "fr", "cs")],
    *[("xvnli", "test", code, 300, 300, 0) for code in get("xvnli").languages],
    *[("xvnli", "test_labelled", code, 297, 297, 0) for code in get("xvnli").languages],
    *[("xflickrco", "test", code, 248, 248, 0) for code in get("xflickrco").languages],
    *[
        ("marvl", "test", code, count, count, 2 * count)
        for code, count in (("id", 1128), ("sw", 1108), ("ta", 1242), ("tr", 1180), ("zh", 1012))
    ],
    *[
        ("wit", "test", code, count, 200, count)
        for code, count in zip(
            get("wit").languages, (146, 182, 188, 182, 183, 176, 189, 157, 192, 184, 183),
            strict=True,
        )
    ],
]  # fmt: skip
WHOLE = [
    ("coco_retrieval", "test", "en", 5000, 25010),
    ("flickr30k_retrieval", "test", "en", 1000, 5000),
    ("vqav2", "val", "en", 589, 589),
    ("nlvr2", "dev", "en", 400, 400),
    ("refcoco_plus", "val", "en", 10758, 10758),
    ("refcoco_plus", "testA", "en", 5726, 5726),
    ("refcoco_plus", "testB", "en", 4889, 4889),
    ("msrvtt_retrieval", "test", "en", 1000, 1000),
    ("msvd_qa", "test", "en", 500, 500),
    ("gqa", "testdev", "en", 12578, 12578),
    ("xgqa", "test", "en", 9666, 9666),
    ("multi30k", "test", "en", 1000, 5000),
    ("multi30k", "test", "cs", 1000, 1000),
    ("xflickrco", "test", "de", 2000, 2000),
    ("xvnli", "test", "ru", 1164, 1164),
]


def load(
    root: Path, name: str, split: str, language: str, prefer: Extent = "available", **given: str
) -> tuple[list[Record], Files]:
    files = Files(root, given, prefer=prefer)
    return load_records(get(name), files, split, [language]), files


@pytest.mark.parametrize(("name", "split", "language", "records", "texts", "missing"), PACK)
def test_pack(
    shared: Path, name: str, split: str, language: str, records: int, texts: int, missing: int
) -> None:
    found, files = load(shared / "data", name, split, language)
    assert len(found) == records
    assert sum(len(record.texts) for record in found) == texts
    assert len(missing_media(found)) == missing
    assert files.skipped == []
    assert bool(files.partial()) == (name != "marvl")


@pytest.mark.parametrize(("name", "split", "language", "records", "texts"), WHOLE)
def test_whole_files_of_the_pack(
    shared: Path, name: str, split: str, language: str, records: int, texts: int
) -> None:
    found, _ = load(shared / "data", name, split, language, prefer="whole")
    assert len(found) == records
    assert sum(len(record.texts) for record in found) == texts


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "world"
    write_world(root, scale=0.02)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_mini_world(world: Path, name: str) -> None:
    benchmark = get(name)
    extra = {"val2017", "trainval_vg", *coco_captioning.SERVER}  # not part of the world
    for split in benchmark.splits.keys() - extra:
        files = Files(world)
        records = load_records(benchmark, files, split)
        assert missing_media(records) == [], split
        assert files.partial() == {}
        assert files.notes == []
    if benchmark.labels:
        labels = benchmark.labels(Files(world))
        assert len(set(labels)) == len(labels) >= 2


# -- the values -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_values(name: str) -> None:
    benchmark = get(name)
    assert benchmark.name == name
    assert benchmark.headline in benchmark.chance
    assert benchmark.first("test")
    for text in (benchmark.paper, benchmark.url, benchmark.licence, benchmark.access):
        assert text
    assert benchmark.languages[0] == "en"
    for split in benchmark.splits.values():
        assert set(split.languages) <= set(benchmark.languages)
    with pytest.raises(ConfigError, match="unknown split"):
        benchmark.split("tset")


# -- layouts ------------------------------------------------------------------------------------


def put(root: Path, path: str, content: Any) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        target.write_text(content, encoding="utf-8")
    elif path.endswith("jsonl"):
        target.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        target.write_text(json.dumps(content))


def essence(records: Sequence[Record], target: bool = True) -> list[Any]:
    """What must not depend on the layout: all but where it was read, and official extra tags."""
    return [
        (r.id, [Path(m.path).name for m in r.images], r.texts, dict(r.target) if target else {})
        for r in records
    ]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for path in COCO_PICTURES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(png())
    return tmp_path


def test_albef_and_coco_captions_equal_karpathy(images: Path) -> None:
    put(images, "a/dataset_coco.json", karpathy(COCO, "val2014"))
    rows = [
        {"image": f"/elsewhere/coco/val2014/{name}", "caption": list(WORDS[i])}
        for i, name in enumerate(COCO)
    ]
    put(images, "a/coco_test.json", rows)
    flat = [row | {"caption": text} for row in rows for text in row["caption"]]
    put(images, "a/train_style.json", flat)
    official = {
        "images": [{"id": int(n[-16:-4]), "file_name": f"val2014/{n}"} for n in COCO],
        "annotations": [
            {"image_id": int(name[-16:-4]), "caption": text}
            for i, name in enumerate(COCO)
            for text in WORDS[i]
        ],
    }
    put(images, "a/captions.json", official)
    want, _ = load(images, "coco_retrieval", "test", "en", test="a/dataset_coco.json")
    assert [record.id for record in want] == ["42", "73"]
    assert want[0].target == {"text_ids": ["42#0", "42#1"]}
    for layout in ("a/coco_test.json", "a/train_style.json", "a/captions.json"):
        found, _ = load(images, "coco_retrieval", "test", "en", test=layout)
        assert essence(found) == essence(want), layout
        assert missing_media(found) == []
    captions, _ = load(images, "coco_captioning", "test", "en", test="a/coco_test.json")
    assert [(r.id, r.texts, r.target) for r in captions] == [(r.id, r.texts, {}) for r in want]


def test_hub_layouts_equal_the_official_files(tmp_path: Path) -> None:
    import datasets

    rows = {
        "image": [{"bytes": png(), "path": name} for name in FLICKR],
        "caption": [list(texts) for texts in WORDS],
        "filename": list(FLICKR),
        "split": ["test", "test"],
    }
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    table.save_to_disk(str(tmp_path / "flickr30k/test"))
    found, _ = load(tmp_path, "flickr30k_retrieval", "test", "en")
    put(tmp_path, "official/flickr30k.json", karpathy(FLICKR))
    want, _ = load(tmp_path, "flickr30k_retrieval", "test", "en", test="official/flickr30k.json")
    assert [(r.id, r.texts, r.target) for r in found] == [(r.id, r.texts, r.target) for r in want]
    assert found[0].images[0].inline == (png(),)


def hub_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a case as hub data sets have them: the pictures in the rows."""
    picture = {"bytes": png(), "path": None}
    if name == "nlvr2":
        return [row | {"left_image": picture, "right_image": picture} for row in NLVR2_ROWS]
    if name == "gqa":
        return [
            {"id": key, "image": picture} | {k: v for k, v in row.items() if k != "types"}
            for key, row in GQA.items()
        ]
    return [
        {"image": picture, "filename": picture_name, "cocoid": int(picture_name[-16:-4]),
         "sentences": list(WORDS[i])} for i, picture_name in enumerate(COCO)
    ]  # fmt: skip


@pytest.mark.parametrize("carrier", ["parquet", "saved"])
@pytest.mark.parametrize("name", ["coco_retrieval", "nlvr2", "gqa"])
def test_hub_rows_carry_their_pictures(name: str, carrier: str, tmp_path: Path) -> None:
    import datasets

    case = CASES[name]
    write(tmp_path / "official", case)
    table = datasets.Dataset.from_list(hub_rows(name))
    for column in ("image", "left_image", "right_image"):
        if column in table.column_names:
            table = table.cast_column(column, datasets.Image())
    folder = tmp_path / "hub" / case.main.partition("/")[0]
    if carrier == "saved":
        table.save_to_disk(str(folder / case.split))
    else:
        (folder / "data").mkdir(parents=True)
        table.to_parquet(str(folder / "data" / f"{case.split}-00000-of-00001.parquet"))
    found, want = (load(tmp_path / root, name, case.split, "en")[0] for root in ("hub", "official"))
    assert [(r.id, r.texts, r.target) for r in found] == [(r.id, r.texts, r.target) for r in want]
    assert all(media.inline == (png(),) for record in found for media in record.images)


PICTURED = {
    "xgqa": ("image",), "xvnli": ("image",), "wit": ("image",), "xflickrco": ("image",),
    "marvl": ("left_img", "right_img"),
}  # fmt: skip
"""columns that hold pictures; the videos of the QA sets stay files"""


@pytest.mark.parametrize("name", [*PICTURED, "msrvtt_qa", "msvd_qa"])
def test_official_rows_in_parquet(name: str, tmp_path: Path) -> None:
    """The hub's copies of these have the official fields, with the pictures in the rows."""
    import datasets

    case = CASES[name]
    write(tmp_path, case)
    pictures = {column: {"bytes": png(), "path": None} for column in PICTURED.get(name, ())}
    (tmp_path / "excluded.json").write_text("[]")
    rows = [
        {k: v for k, v in row.values.items() if k != "types"} | pictures
        | ({"question_id": row.key} if row.key else {})
        for row in read_rows(Files(tmp_path), tmp_path / case.main)
    ]  # fmt: skip
    table = datasets.Dataset.from_list(rows)
    for column in PICTURED.get(name, ()):
        table = table.cast_column(column, datasets.Image())
    table.to_parquet(str(tmp_path / "hub.parquet"))
    found, want = (
        load(tmp_path, name, case.split, case.language, **given)[0]
        for given in ({case.split: "hub.parquet", "excluded": "excluded.json"}, {})
    )
    assert [(r.id, r.texts, r.target) for r in found] == [(r.id, r.texts, r.target) for r in want]
    if name in PICTURED:
        assert {media.inline for record in found for media in record.images} == {(png(),)}


@pytest.mark.parametrize("named", [True, False])
def test_hub_multi30k_has_a_row_per_image(tmp_path: Path, named: bool) -> None:
    write(tmp_path, CASES["multi30k"])
    want, _ = load(tmp_path, "multi30k", "test", "fr")
    (tmp_path / "multi30k/test_2016_flickr.fr").unlink()
    rows = [{"en": "a man", "fr": "un homme"}, {"en": "a dog", "fr": "un chien"}]
    put(tmp_path, "multi30k/test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    given = {"test": "multi30k/test.jsonl"} if named else {}
    found, _ = load(tmp_path, "multi30k", "test", "fr", **given)
    assert [(r.id, r.texts, r.target) for r in found] == [(r.id, r.texts, r.target) for r in want]
    put(tmp_path, "multi30k/test.jsonl", json.dumps(rows[0]) + "\n")
    with pytest.raises(DataError, match="1 lines, but"):
        load(tmp_path, "multi30k", "test", "fr", **given)


def test_hub_gqa_keeps_questions_and_pictures_apart(tmp_path: Path) -> None:
    import datasets

    write(tmp_path / "official", CASES["gqa"])
    hub = tmp_path / "hub" / "gqa"
    picture = {"bytes": png(), "path": "n100.jpg"}
    rows = [{"id": key, **row} for key, row in GQA.items()]
    for folder, table in (
        ("testdev_balanced_instructions", datasets.Dataset.from_list(rows)),
        ("testdev_balanced_images", datasets.Dataset.from_list([{"id": "n100", "image": picture}])
         .cast_column("image", datasets.Image())),
    ):  # fmt: skip
        (hub / folder).mkdir(parents=True)
        table.to_parquet(str(hub / folder / "testdev-00000-of-00001.parquet"))
    found, want = (load(tmp_path / root, "gqa", "testdev", "en")[0] for root in ("hub", "official"))
    assert [dataclasses.replace(r, images=(), source="") for r in found] == [
        dataclasses.replace(r, images=(), source="") for r in want
    ]
    assert [record.images[0].inline for record in found] == [(png(),)] * 2
    datasets.Dataset.from_list([{"id": "n7", "image": picture}]).cast_column(
        "image", datasets.Image()
    ).to_parquet(str(hub / "testdev_balanced_images" / "testdev-00000-of-00001.parquet"))
    with pytest.raises(DataError, match="image n100 is not among the pictures"):
        load(tmp_path / "hub", "gqa", "testdev", "en")


def test_hub_winoground(tmp_path: Path) -> None:
    import datasets

    official, hub = tmp_path / "official", tmp_path / "hub"
    write(official, CASES["winoground"])
    picture = {"bytes": png(), "path": None}
    rows = [row | {"image_0": picture, "image_1": picture} for row in WINOGROUND_ROWS]
    table = datasets.Dataset.from_list(rows)
    table = table.cast_column("image_0", datasets.Image())
    table = table.cast_column("image_1", datasets.Image())
    (hub / "winoground/data").mkdir(parents=True)
    table.to_parquet(str(hub / "winoground/data/test-00000-of-00001.parquet"))
    found, want = (load(root, "winoground", "test", "en")[0] for root in (hub, official))
    assert [(r.id, r.texts, r.tags) for r in found] == [(r.id, r.texts, r.tags) for r in want]
    assert [media.inline for media in found[0].images] == [(png(),), (png(),)]


def test_hub_refcoco_has_several_phrases_per_row(tmp_path: Path) -> None:
    import datasets

    rows = [
        {"question_id": "9", "image": {"bytes": png(), "path": None}, "question": "?",
         "answer": ["left zebra", "the front one"], "bbox": [1.0, 2.0, 20.0, 10.5],
         "iscrowd": 0, "file_name": "COCO_train2014_000000000154_7.jpg"}
    ]  # fmt: skip
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    table.save_to_disk(str(tmp_path / "refcoco+/val"))
    found, _ = load(tmp_path, "refcoco_plus", "val", "en")
    assert [(r.id, r.texts) for r in found] == [
        ("9_0", ("left zebra",)),
        ("9_1", ("the front one",)),
    ]
    assert found[0].target == {"box": [1.0, 2.0, 20.0, 10.5], "size": [40, 30]}


def test_vqa_of_x2vlm_and_of_the_hub_equal_the_official_pair(images: Path) -> None:
    import datasets

    write(images, CASES["vqav2"])
    answers = [[a["answer"] for a in row["answers"]] for row in VQA_ANNOTATIONS["annotations"]]
    rows = [
        {"question_id": q["question_id"], "question": q["question"], "answer": given,
         "image": f"val2014/{name}", "dataset": "vqa"}
        for q, given, name in zip(VQA_QUESTIONS["questions"], answers, COCO, strict=True)
    ]  # fmt: skip
    put(images, "x2vlm/vqa_val.json", rows)
    hub = [
        question | annotation | {"image": {"bytes": png(), "path": None}}
        for question, annotation in zip(
            VQA_QUESTIONS["questions"], VQA_ANNOTATIONS["annotations"], strict=True
        )
    ]
    table = datasets.Dataset.from_list(hub).cast_column("image", datasets.Image())
    table.save_to_disk(str(images / "hub/validation"))
    want, _ = load(images, "vqav2", "val", "en")
    assert want[0].target["answers"] == ["red", "maybe"]
    assert want[0].target["weights"] == pytest.approx([0.7, 0.3])
    assert len(want[0].target["annotators"]) == 10
    for layout in ("x2vlm/vqa_val.json", "hub/validation/state.json"):
        found, _ = load(images, "vqav2", "val", "en", val=layout)
        assert [(r.id, r.texts, r.target) for r in found] == [
            (r.id, r.texts, r.target) for r in want
        ]
        assert [r.tags["answer_type"] for r in found] == ["other", "yes/no"]


def test_vqa_test_questions_have_no_answers(images: Path) -> None:
    put(images, "vqav2/v2_OpenEnded_mscoco_test-dev2015_questions.json", VQA_QUESTIONS)
    found, _ = load(images, "vqav2", "test-dev", "en")
    assert [record.target for record in found] == [{}, {}]
    assert found[0].images[0].path.endswith("test2015/COCO_test2015_000000000042.jpg")


def test_visual_genome_adds_to_training_at_half_weight(images: Path) -> None:
    for part in ("train", "val"):
        put(images, f"vqav2/v2_OpenEnded_mscoco_{part}2014_questions.json",
            {"questions": [q | {"question_id": q["question_id"] + (part == "val")}
                           for q in VQA_QUESTIONS["questions"]]})  # fmt: skip
        put(images, f"vqav2/v2_mscoco_{part}2014_annotations.json",
            {"annotations": [a | {"question_id": a["question_id"] + (part == "val")}
                             for a in VQA_ANNOTATIONS["annotations"]]})  # fmt: skip
    qas = [{"qa_id": 5, "image_id": 10, "question": "Where?", "answer": "here"}]
    put(images, "vg/question_answers.json", [{"id": 10, "qas": qas}])
    found, _ = load(images, "vqav2", "trainval_vg", "en")
    assert [record.id for record in found] == ["42000", "73000", "42001", "73001", "vg:5"]
    assert found[-1].target["weights"] == [0.5]
    albef = [{"image": "VG_100K/10.jpg", "question": "Where?", "answer": "here",
              "question_id": 5, "dataset": "vg"}]  # fmt: skip
    put(images, "vg/vg_qa.json", albef)
    again, _ = load(images, "vqav2", "trainval_vg", "en", vg="vg/vg_qa.json")
    assert essence(again) == essence(found)


def test_vqa_candidates(images: Path) -> None:
    labels = get("vqav2").labels
    assert labels is not None
    files = Files(images)
    common = labels(files)
    assert {"yes", "no", "2", "red"} <= set(common)
    assert "few common answers" in files.notes[0]
    put(images, "vqav2/v2_OpenEnded_mscoco_train2014_questions.json", VQA_QUESTIONS)
    put(images, "vqav2/v2_mscoco_train2014_annotations.json", VQA_ANNOTATIONS)
    assert labels(Files(images)) == ["no", "red"]
    put(images, "vqav2/answer_list.json", ["no", "yes", "red"])
    assert labels(Files(images)) == ["no", "yes", "red"]
    put(images, "vqav2/answer_list.json", ["no", "no"])
    with pytest.raises(DataError, match="no answer list"):
        labels(Files(images))


def test_nlvr2_of_albef_and_training_folders(tmp_path: Path) -> None:
    write(tmp_path, CASES["nlvr2"])
    want, _ = load(tmp_path, "nlvr2", "dev", "en")
    assert [r.target for r in want] == [{"label": 0}, {"label": 1}]
    assert [r.tags["sentence"] for r in want] == ["dev-850-0", "dev-850-1"]
    names = [f"/home/me/nlvr2/dev/dev-850-0-img{i}.png" for i in (0, 1)]
    rows = [{"sentence": r["sentence"], "label": r["label"], "images": names} for r in NLVR2_ROWS]
    put(tmp_path, "albef/nlvr_dev.json", rows)
    found, _ = load(tmp_path, "nlvr2", "dev", "en", dev="albef/nlvr_dev.json")
    assert [(r.texts, r.target, r.images, r.group) for r in found] == [
        (r.texts, r.target, r.images, r.group) for r in want
    ]
    put(tmp_path, "nlvr2/train.json", "".join(
        json.dumps(row | {"identifier": row["identifier"].replace("dev", "train"),
                          "directory": 39}) + "\n" for row in NLVR2_ROWS))  # fmt: skip
    train, _ = load(tmp_path, "nlvr2", "train", "en")
    assert train[0].images[1].path.endswith("train/39/train-850-0-img1.png")


def test_refcoco_of_x2vlm_equals_the_official_pair(tmp_path: Path) -> None:
    write(tmp_path, CASES["refcoco_plus"])
    want, _ = load(tmp_path, "refcoco_plus", "val", "en")
    assert [record.id for record in want] == ["700", "701"]
    rows = [
        {"text": s["sent"], "ref_id": ref["ref_id"], "image": "train2014/x.jpg"}
        for ref in REFS
        for s in ref["sentences"]
        if ref["split"] == "val"
    ]
    put(tmp_path, "finetune/refcoco+_val.json", rows)
    found, _ = load(tmp_path, "refcoco_plus", "val", "en", val="finetune/refcoco+_val.json")
    assert essence(found) == essence(want)
    boxed = [row | {"bbox": [1.0, 2.0, 20.0, 10.5], "width": 40, "height": 30} for row in rows]
    put(tmp_path, "finetune/boxed.json", boxed)
    found, _ = load(tmp_path, "refcoco_plus", "val", "en", val="finetune/boxed.json")
    assert [(r.texts, r.target) for r in found] == [(r.texts, r.target) for r in want]


def test_refcoco_of_x2vlm_in_the_pack(shared: Path) -> None:
    root = shared / "data"
    want, _ = load(root, "refcoco_plus", "val", "en", prefer="whole")
    found, _ = load(root, "refcoco_plus", "val", "en", val="refcoco/refcoco+_val.json")
    assert sorted(essence(found)) == sorted(essence(want))


def test_gqa_of_lxmert_equals_the_official_file(tmp_path: Path) -> None:
    write(tmp_path, CASES["gqa"])
    want, _ = load(tmp_path, "gqa", "testdev", "en")
    assert [record.id for record in want] == ["201", "202"]
    assert want[0].tags == {"type": "verify"}
    rows = [
        {"img_id": q["imageId"], "label": {q["answer"]: 1.0}, "question_id": key,
         "sent": q["question"]}
        for key, q in GQA.items()
    ]  # fmt: skip
    put(tmp_path, "lxmert/testdev.json", rows)
    found, _ = load(tmp_path, "gqa", "testdev", "en", testdev="lxmert/testdev.json")
    assert essence(found) == essence(want)


def test_gqa_layouts_agree_in_the_pack(shared: Path) -> None:
    root = shared / "data"
    subset, _ = load(root, "gqa", "testdev", "en", prefer="cut")
    whole, _ = load(root, "gqa", "testdev", "en", prefer="whole")
    by_id = {record.id: record for record in whole}
    assert len(subset) == 310
    assert essence(subset) == essence([by_id[record.id] for record in subset])


def test_xgqa_test_leaves_the_few_shot_questions_out(tmp_path: Path) -> None:
    put(tmp_path, "xgqa/testdev_balanced_questions_de.json", GQA)
    put(tmp_path, "xgqa/few_shot/en/dev.json", {"201": GQA["201"]})
    put(tmp_path, "xgqa/few_shot/en/train_48.json", {"999": GQA["202"]})
    found, _ = load(tmp_path, "xgqa", "test", "de")
    assert [record.id for record in found] == ["de:202"]
    everything, _ = load(tmp_path, "xgqa", "testdev", "de")
    assert [record.id for record in everything] == ["de:201", "de:202"]


def test_msrvtt_splits_and_layouts(tmp_path: Path) -> None:
    write(tmp_path, CASES["msrvtt_retrieval"])
    put(tmp_path, "msrvtt/MSRVTT_train.9k.csv", "video_id\nvideo1\nvideo2\n")
    put(tmp_path, "msrvtt/MSRVTT_JSFUSION_test.csv",
        "key,vid_key,video_id,sentence\nret0,msr7020,video7020,clip 7020 said 0\n")  # fmt: skip
    ids = {split: [r.id for r in load(tmp_path, "msrvtt_retrieval", split, "en")[0]]
           for split in get("msrvtt_retrieval").splits}  # fmt: skip
    assert ids == {"train": ["video1", "video2"], "train_full": ["video1"], "val": ["video2"],
                   "test": ["video7020"], "test_full": ["video7020"]}  # fmt: skip
    want, _ = load(tmp_path, "msrvtt_retrieval", "test", "en")
    assert want[0].images[0].kind == "frames"
    put(tmp_path, "clipbert/test.jsonl", [{"clip_name": "video7020", "caption": want[0].texts[0]}])
    found, _ = load(tmp_path, "msrvtt_retrieval", "test", "en", test="clipbert/test.jsonl")
    assert essence(found) == essence(want)
    assert len(MSRVTT_DATA["sentences"]) == 6


def test_msrvtt_qa_layouts(tmp_path: Path) -> None:
    write(tmp_path, CASES["msrvtt_qa"])
    want, _ = load(tmp_path, "msrvtt_qa", "test", "en")
    assert [r.target["label"] for r in want] == [1, None]
    assert [r.tags["answer_type"] for r in want] == ["what", "where"]
    assert [r.id for r in want] == ["1", "2"]
    rows = [
        {"id": 5 + i, "video_id": 7020, "question": row["question"], "answer": row["answer"]}
        for i, row in enumerate(QA_ROWS)
    ]
    put(tmp_path, "official/test_qa.json", rows)
    found, _ = load(tmp_path, "msrvtt_qa", "test", "en", test="official/test_qa.json")
    assert [r.id for r in found] == ["5", "6"]
    assert [(r.texts, r.target, r.images, r.tags) for r in found] == [
        (r.texts, r.target, r.images, r.tags) for r in want
    ]


def test_msvd_qa_layouts(tmp_path: Path) -> None:
    write(tmp_path, CASES["msvd_qa"])
    want, _ = load(tmp_path, "msvd_qa", "test", "en")
    put(tmp_path, "msvd_qa/youtube_mapping.txt", "clip_1_2 vid77\n")
    rows = [
        {"id": i, "video_id": 77, "question": row["question"], "answer": row["answer"]}
        for i, row in enumerate(QA_ROWS)
    ]
    put(tmp_path, "official.json", rows)
    lavis = {
        f"000{i}": {"video": "clip_1_2", "question": row["question"], "answer": row["answer"],
                    "question_id": f"000{i}", "answer_type": row["answer_type"]}
        for i, row in enumerate(QA_ROWS)
    }  # fmt: skip
    put(tmp_path, "lavis.json", lavis)
    for layout, ids in (("official.json", ["0", "1"]), ("lavis.json", ["0000", "0001"])):
        found, _ = load(tmp_path, "msvd_qa", "test", "en", test=layout)
        assert [r.id for r in found] == ids
        assert [(r.texts, r.target, r.images) for r in found] == [
            (r.texts, r.target, r.images) for r in want
        ]
    put(tmp_path, "msvd_qa/youtube_mapping.txt", "clip_1_2 vid78\n")
    with pytest.raises(DataError, match="video 77 is not in"):
        load(tmp_path, "msvd_qa", "test", "en", test="official.json")


def test_multi30k_takes_five_captions_or_says_so(tmp_path: Path) -> None:
    names = "\n".join(FLICKR) + "\n"
    put(tmp_path, "multi30k/test_2016_flickr.de", "ein Mann\nein Hund\n")
    put(tmp_path, "multi30k/image_splits/test_2016_flickr.txt", names)
    one, files = load(tmp_path, "multi30k", "test", "de")
    assert [len(r.texts) for r in one] == [1, 1]
    assert "one caption per image" in files.notes[0]
    for k in range(1, 6):
        put(tmp_path, f"multi30k/task2/test_2016.{k}.de", f"a {k}\nb {k}\n")
    put(tmp_path, "multi30k/image_splits/task2_test_2016_images.txt", names)
    five, files = load(tmp_path, "multi30k", "test", "de")
    assert five[1].texts == ("b 1", "b 2", "b 3", "b 4", "b 5")
    assert files.notes == []
    (tmp_path / "multi30k/task2/test_2016.4.de").unlink()
    with pytest.raises(DataError, match="no file for 'test_4'"):
        load(tmp_path, "multi30k", "test", "de")


def test_coco_in_chinese_and_japanese(tmp_path: Path) -> None:
    write(tmp_path, CASES["coco_multilingual"])
    put(tmp_path, "coco_cn/coco-cn_test.txt", f"{COCO[1][:-4]}\n")
    put(tmp_path, "coco_cn/imageid.human-written-caption.txt",
        f"{COCO[1][:-4]}#0\t一辆摩托车\n{COCO[1][:-4]}#1\t旧车\n")  # fmt: skip
    chinese, _ = load(tmp_path, "coco_multilingual", "test", "zh")
    assert [(r.id, r.texts) for r in chinese] == [("zh:73", ("一辆摩托车", "旧车"))]
    assert missing_media(chinese) == []
    japanese, _ = load(tmp_path, "coco_multilingual", "test_1k", "ja")
    assert [(r.id, r.texts) for r in japanese] == [
        ("ja:42", ("赤い靴",)),
        ("ja:73", ("古いバイク",)),
    ]


def test_wit_groups_captions_by_image(tmp_path: Path) -> None:
    write(tmp_path, CASES["wit"])
    found, _ = load(tmp_path, "wit", "test", "en")
    assert [(r.id, r.texts) for r in found] == [
        ("en:wit-test_0", ("caption 0", "caption 1")),
        ("en:wit-test_1", ("caption 2",)),
    ]
    assert found[0].images[0].inline == (png(),)


def test_ovad_prompts_and_labels(tmp_path: Path) -> None:
    write(tmp_path, CASES["ovad"])
    benchmark = get("ovad")
    assert benchmark.labels is not None
    assert benchmark.file_options is not None
    assert benchmark.labels(Files(tmp_path)) == ["color:red/crimson", "clothes pattern:striped"]
    templates = benchmark.file_options(Files(tmp_path))["templates"]
    assert "a {words} {noun}" in templates["is"]
    assert "a {noun} with {words}" in templates["has"]
    assert all("{noun}" in text for texts in templates.values() for text in texts)
    records, _ = load(tmp_path, "ovad", "test", "en")
    assert records[0].texts == ("person",)
    assert records[0].target["labels"] == [1, -1]
    assert records[0].target["frequency"] == ["head", "tail"]


def test_a_limit_and_the_order_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, CASES["xvnli"])
    files = Files(tmp_path)
    records = load_records(get("xvnli"), files, "test", ["fr"], limit=2)
    assert [record.target["label"] for record in records] == [1, 2]
    whole = load_records(get("xvnli"), files, "test", ["fr"])
    assert [dataclasses.replace(r, source="") for r in whole[:2]] == [
        dataclasses.replace(r, source="") for r in records
    ]
    assert whole[2].target["label"] is None
    labelled = load_records(get("xvnli"), files, "test_labelled", ["fr"])
    assert [record.id for record in labelled] == [record.id for record in records]
    shutil.rmtree(tmp_path / "xvnli")
    with pytest.raises(DataError, match="no file"):
        load_records(get("xvnli"), files, "test", ["fr"])
