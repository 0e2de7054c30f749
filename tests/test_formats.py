"""Official result files, recognised by content."""

import json
from pathlib import Path

import pytest

from benchmarks import formats
from x2vlm.errors import PredictionError
from x2vlm.types import Record

RECORDS = [Record(name, (), ("",), {"text_ids": [f"t{name}"]}) for name in ("7", "8")]


def put(folder: Path, text: str, name: str = "results") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "task", "name", "expected"),
    [
        ('[{"question_id": 7, "answer": "yes"}]', "answering", "vqa",
         [{"id": "7", "answer": "yes"}]),
        ('{"question_id": 7, "answer": "yes"}\n{"question_id": 8, "answer": "no"}\n', "answering",
         "vqa", [{"id": "7", "answer": "yes"}, {"id": "8", "answer": "no"}]),
        ('[{"question_id": 7, "answer": "man"}]', "classification", "vqa",
         [{"id": "7", "label": "man"}]),
        ('[{"questionId": "7", "prediction": "no"}]', "answering", "gqa",
         [{"id": "7", "answer": "no"}]),
        ('[{"image_id": 7, "caption": "a dog"}]', "captioning", "coco_captions",
         [{"id": "7", "caption": "a dog"}]),
        ("dev-1-0-0,true\r\ndev-1-1-0,False\n\n", "classification", "nlvr2",
         [{"id": "dev-1-0-0", "label": "True"}, {"id": "dev-1-1-0", "label": "False"}]),
        ("Identifier,Prediction\ndev-1-0-0,TRUE\n", "classification", "nlvr2",
         [{"id": "dev-1-0-0", "label": "True"}]),
        ("\n".join(json.dumps({"label": f"a_b_c{c}_i{i}", "score": c - i}) for c in (0, 1)
                   for i in (0, 1)), "matching", "winoground",
         [{"id": "a_b", "c0_i0": 0, "c0_i1": -1, "c1_i0": 1, "c1_i1": 0}]),
        ("[[1, 0], [1]]", "retrieval", "iglue_lists",
         [{"id": "t7", "ranking": {"image": [["8", 0.0], ["7", -1.0]]}},
          {"id": "t8", "ranking": {"image": [["8", 0.0]]}}]),
        ('{"id": 7, "answer": "yes"}\n', "answering", "predictions",
         [{"id": "7", "answer": "yes"}]),
        ('[{"id": 7, "answer": "yes"}]', "answering", "predictions",
         [{"id": "7", "answer": "yes"}]),
        ('\ufeff[{"question_id": 7, "answer": "yes"}]', "answering", "vqa",
         [{"id": "7", "answer": "yes"}]),
    ],
)  # fmt: skip
def test_formats_are_known_by_content(
    text: str, task: str, name: str, expected: list[object], tmp_path: Path
) -> None:
    found = formats.load(put(tmp_path, text), task, RECORDS)
    assert (found.format, list(found.predictions)) == (name, expected)
    assert name in formats.FORMATS


def test_ids_get_the_language_of_the_records(tmp_path: Path) -> None:
    records = [Record("de:7", (), (), language="de")]
    path = put(tmp_path, '[{"questionId": "7", "prediction": "no"}]')
    assert next(iter(formats.load(path, "answering", records).predictions))["id"] == "de:7"


@pytest.mark.parametrize(
    ("text", "task", "message"),
    [
        ("", "answering", "empty"),
        ('[{"question_id": 7, "answer": "y', "answering", "not complete JSON"),
        ('[{"question_id": 7, "answer": "yes"}, {"question_id": 8}]', "answering", "results:2"),
        ('[{"question_id": 7, "answer": 5}]', "answering", "results:1"),
        ('[{"foo": 7}]', "answering", "not a predictions file that is known"),
        ("[]", "answering", "not a predictions file that is known"),
        ('{"foo": 7}\n{"foo"\n', "answering", "results:2"),
        ("a,b,c\n", "classification", "results:1"),
        ("dev-1-0-0,maybe\n", "classification", "results:1"),
        ('{"label": "0_c0_i2", "score": 1}\n', "matching", "results:1"),
        ('{"label": "0_c0_i0", "score": 1}\n{"label": "0_c0_i0", "score": 2}\n', "matching",
         "results:2"),
        ('{"label": "0_c0_i0", "score": 1}\n', "matching", "no matching prediction"),
        ("[[0], [2]]", "retrieval", "image numbers from 0 to 1"),
        ("[[0]]", "retrieval", "1 lists for 2 texts"),
        ("[[0], 1]", "retrieval", "results:2: expected different image numbers"),
        ("[[0], []]", "retrieval", "results:2: expected different image numbers"),
        ("[[0], [1, 1]]", "retrieval", "results:2: expected different image numbers"),
        ("[[0], [true]]", "retrieval", "results:2: expected different image numbers"),
        ('[{"image_id": 7, "caption": "a dog"}]', "grounding",
         "no field of its first row is the box"),
    ],
)  # fmt: skip
def test_faults_name_file_and_row(text: str, task: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match=message) as error:
        formats.load(put(tmp_path, text), task, RECORDS)
    assert "results" in str(error.value)


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="nowhere"):
        formats.load(tmp_path / "nowhere", "answering", [])
    path = tmp_path / "binary"
    path.write_bytes(b"\x80\x81\x82")
    with pytest.raises(PredictionError, match="binary"):
        formats.load(path, "answering", [])
