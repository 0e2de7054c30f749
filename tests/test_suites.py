"""The readers of all benchmarks: the real pack at its counts, the mini world, what each says."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from benchmarks.files import Files
from benchmarks.media import missing_media
from benchmarks.mini.suite import write_world
from benchmarks.records import load_records
from benchmarks.registry import NAMES, get
from benchmarks.suites import coco_captioning
from tests.small_data import CASES, write
from tests.suite_files import essence, load
from x2vlm.errors import ConfigError, DataError

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


# The pack of real data


@pytest.mark.parametrize(("name", "split", "language", "records", "texts", "missing"), PACK)
def test_files_of_the_pack_give_their_counts(
    shared: Path, name: str, split: str, language: str, records: int, texts: int, missing: int
) -> None:
    found, files = load(shared / "data", name, split, language)
    assert len(found) == records
    assert sum(len(record.texts) for record in found) == texts
    assert len(missing_media(found)) == missing
    assert files.skipped == []
    assert bool(files.partial()) == (name != "marvl")


@pytest.mark.parametrize(("name", "split", "language", "records", "texts"), WHOLE)
def test_whole_files_of_the_pack_give_their_counts(
    shared: Path, name: str, split: str, language: str, records: int, texts: int
) -> None:
    found, _ = load(shared / "data", name, split, language, prefer="whole")
    assert len(found) == records
    assert sum(len(record.texts) for record in found) == texts


def test_refcoco_of_x2vlm_equals_the_official_pair_in_the_pack(shared: Path) -> None:
    root = shared / "data"
    want, _ = load(root, "refcoco_plus", "val", "en", prefer="whole")
    found, _ = load(root, "refcoco_plus", "val", "en", given={"val": "refcoco/refcoco+_val.json"})
    assert len(want) == 10758
    assert sorted(essence(found)) == sorted(essence(want))


def test_gqa_layouts_agree_in_the_pack(shared: Path) -> None:
    root = shared / "data"
    subset, _ = load(root, "gqa", "testdev", "en", prefer="cut")
    whole, _ = load(root, "gqa", "testdev", "en", prefer="whole")
    by_id = {record.id: record for record in whole}
    assert len(subset) == 310
    assert essence(subset) == essence([by_id[record.id] for record in subset])


# The mini world, and all benchmarks


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "world"
    write_world(root, scale=0.02)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_every_split_of_the_mini_world_is_whole(world: Path, name: str) -> None:
    benchmark = get(name)
    extra = {"val2017", "trainval_vg", *coco_captioning.SERVER}  # not part of the world
    for split in benchmark.splits.keys() - extra:
        files = Files(world)
        records = load_records(benchmark, files, split)
        assert records, split
        assert missing_media(records) == [], split
        assert files.partial() == {}
        assert files.notes == []
    if benchmark.labels:
        labels = benchmark.labels(Files(world))
        assert len(set(labels)) == len(labels) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_says_what_it_is(name: str) -> None:
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


def test_a_limit_keeps_the_order_of_the_file(tmp_path: Path) -> None:
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
