"""One value of a good file spoiled at a time: an error that says where, never a traceback and never
a record that is quietly another or not there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.files import Files
from benchmarks.readers import read_json, read_rows
from benchmarks.records import load_records
from benchmarks.registry import NAMES, get
from tests.small_data import CASES, encode, write
from x2vlm.errors import DataError, Error

Way = tuple[str | int, ...]
VALUES = (None, 17, "zz", [], {"a": 1})


def put(root: Path, file: str, content: Any, way: Way, value: Any) -> None:
    """Write `content` with one value of it replaced."""
    changed = copy.deepcopy(content)
    place = changed
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    (root / file).write_bytes(encode(file, changed))


def ways(value: Any, here: Way = ()) -> Iterator[Way]:
    """The way to every value in the first two rows of each list."""
    if here:
        yield here
    steps = list(value) if isinstance(value, dict) else range(min(2, len(value)))
    for step in steps:
        if isinstance(value[step], (dict, list)):
            yield from ways(value[step], (*here, step))
        else:
            yield (*here, step)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_ends_in_a_traceback(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    write(tmp_path, case)
    tried, refused = 0, list[tuple[Way, Any, Error]]()
    for file, content in case.files.items():
        if isinstance(content, (str, bytes)):
            continue
        for way in ways(content):
            for value in VALUES:
                put(tmp_path, file, content, way, value)
                tried += 1
                try:
                    load_records(get(name), Files(tmp_path), case.split, [case.language])
                except Error as error:
                    refused.append((way, value, error))
        (tmp_path / file).write_bytes(encode(file, content))
    for way, value, error in refused:
        assert isinstance(error, DataError), (way, value)
        assert error.source, (way, value)
        assert error.expected or error.fix, (way, value)
    assert 0 < len(refused) < tried or name == "multi30k"


KARPATHY = "coco/dataset_coco.json"
ANNOTATIONS = "vqav2/v2_mscoco_val2014_annotations.json"
INSTANCES, REFS = "refcoco/instances.json", "refcoco/refs(unc).p"
OVAD = "ovad/ovad2000.json"
MSRVTT = "msrvtt/MSRVTT_data.json"
WRONG: list[tuple[str, str, Way, Any, str]] = [
    ("coco_retrieval", KARPATHY, ("images", 0, "cocoid"), [1], "a whole number or a text"),
    ("coco_retrieval", KARPATHY, ("images", 0, "split"), "tset", "one of train, restval"),
    ("coco_retrieval", KARPATHY, ("images", 0, "filepath"), 5, "a text"),
    ("vqav2", ANNOTATIONS, ("annotations", 1, "question_id"), 42000, "occurs twice"),
    ("vqav2", ANNOTATIONS, ("annotations", 0, "image_id"), 73, "42, as the question"),
    ("refcoco", INSTANCES, ("annotations", 1, "id"), 70, "occurs twice"),
    ("refcoco", INSTANCES, ("annotations", 0, "bbox", 0), True, "four numbers"),
    ("refcoco", REFS, (0, "split"), "vla", "one of train, val"),
    ("refcoco", REFS, (0, "sentences"), [], "at least one"),
    ("ovad", OVAD, ("attributes", 0, "freq_set"), "heda", "one of head, medium, tail"),
    ("ovad", OVAD, ("attributes", 0, "is_has_att"), "does", "one of is, has"),
    ("ovad", OVAD, ("annotations", 0, "att_vec"), [True, -1], "values out of 1, 0 and -1"),
    ("winoground", "winoground/examples.jsonl", (0, "tag"), {"a": 1}, "a whole number or a text"),
    ("msrvtt_retrieval", MSRVTT, ("videos", 1, "split"), "val", "one of train, validate, test"),
    ("msrvtt_retrieval", MSRVTT, ("sentences", 2, "video_id"), "video9", "one of them"),
    ("msrvtt_qa", "msrvtt_qa/test.jsonl", (0, "answer_type"), 17, "a text"),
    ("msrvtt_qa", "msrvtt_qa/train_ans2label.json", ("couch",), None, "answer -> index"),
    ("gqa", "gqa/testdev_balanced_questions.json", ("201", "types", "structural"), 5, "a text"),
]


@pytest.mark.parametrize(("name", "file", "way", "value", "expected"), WRONG)
def test_a_wrong_field_is_named(
    name: str, file: str, way: Way, value: Any, expected: str, tmp_path: Path
) -> None:
    case = CASES[name]
    write(tmp_path, case)
    put(tmp_path, file, case.files[file], way, value)
    with pytest.raises(DataError) as caught:
        load_records(get(name), Files(tmp_path), case.split, [case.language])
    assert expected in str(caught.value)
    assert str(tmp_path / file) in str(caught.value)


def test_rows_without_a_caption_are_counted(tmp_path: Path) -> None:
    """The official code of WIT leaves them out; a row without the field is no such row."""
    case = CASES["wit"]
    path = write(tmp_path, case)
    put(tmp_path, case.main, case.files[case.main], (0, "caption_reference_description"), None)
    files = Files(tmp_path)
    load_records(get("wit"), files, "test", ["en"])
    assert files.notes == [f"{path}: 1 rows without a caption, left out"]
    put(tmp_path, case.main, case.files[case.main], (0,), {"wit_ix": "a"})
    with pytest.raises(DataError, match="no field 'caption_reference_description'"):
        load_records(get("wit"), Files(tmp_path), "test", ["en"])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\xff" * 20, "cannot be read"),
        ("a.json", b"[" * 100_000, "is no JSON"),
        ("a.json", b"[1" + b"0" * 5000 + b"]", "is no JSON"),
        ("a.csv", b"a,b\n1," + b"x" * 200_000 + b"\n", "is no CSV"),
    ],
)
def test_hostile_files_are_named(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_rows(Files(tmp_path), path) if name == "a.csv" else read_json(path)
    assert str(path) in caught.value.source
    assert caught.value.fix


def test_good_json_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"a": 1}]))
    assert read_rows(Files(tmp_path), path)[0].values == {"a": 1}
