"""Submission files: validated before they are written, read back by the official layouts."""

import json
from pathlib import Path

import pytest

from benchmarks import formats
from benchmarks.submission import write_submission
from x2vlm.errors import ConfigError, PredictionError
from x2vlm.types import Prediction, Record

RECORDS = [Record("11", (), ()), Record("7", (), ())]


def test_vqa_file_has_every_question_once(tmp_path: Path) -> None:
    rows: list[Prediction] = [{"id": "7", "answer": "née"}, {"id": "11", "answer": "no"}]
    path = write_submission("vqav2", RECORDS, rows, tmp_path / "out", "base")
    assert path.name == "vqav2_base_results.json"
    assert json.loads(path.read_text(encoding="utf-8")) == [
        {"question_id": 11, "answer": "no"},
        {"question_id": 7, "answer": "née"},
    ]
    assert formats.load(path, "answering", RECORDS).format == "vqa"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("coco_captioning", "captions_test2014_x_results.json"), ("nocaps", "nocaps_x_results.json")],
)
def test_caption_files(kind: str, name: str, tmp_path: Path) -> None:
    rows: list[Prediction] = [{"id": i, "caption": "a dog"} for i in ("11", "7")]
    path = write_submission(kind, RECORDS, rows, tmp_path, "x", subset="test2014")
    assert path.name == name
    assert json.loads(path.read_text())[0] == {"image_id": 11, "caption": "a dog"}


def test_nlvr2_csv(tmp_path: Path) -> None:
    records = [Record("test1-0-1-0", (), ()), Record("test1-0-1-1", (), ())]
    rows: list[Prediction] = [
        {"id": "test1-0-1-0", "label": "true"}, {"id": "test1-0-1-1", "label": "False"}
    ]  # fmt: skip
    path = write_submission("nlvr2", records, rows, tmp_path, "x")
    assert path.read_text() == "test1-0-1-0,True\ntest1-0-1-1,False\n"


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        ("vqav2", [{"id": "11", "answer": "no"}], "1 missing"),
        ("vqav2", [{"id": i, "answer": "no"} for i in ("11", "7", "7")], "1 double"),
        ("vqav2", [{"id": i, "answer": "no"} for i in ("11", "7", "5")], "1 not in this split"),
        ("vqav2", [{"id": "11", "answer": 5}, {"id": "7", "answer": "no"}], "must be a string"),
        ("nlvr2", [{"id": "11", "label": "maybe"}, {"id": "7", "label": "True"}], "True or False"),
    ],
)
def test_nothing_is_written_when_it_is_not_valid(
    kind: str, rows: list[Prediction], message: str, tmp_path: Path
) -> None:
    with pytest.raises(PredictionError, match=message):
        write_submission(kind, RECORDS, rows, tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


def test_ids_must_be_whole_numbers(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="whole numbers"):
        write_submission("vqav2", [Record("a", (), ())], [{"id": "a", "answer": ""}], tmp_path, "x")


def test_unknown_kinds_subsets_and_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'vqav2'"):
        write_submission("vqa2", [], [], tmp_path, "x")
    with pytest.raises(ConfigError, match="val2014"):
        write_submission("coco_captioning", [], [], tmp_path, "x", subset="val2017")
    with pytest.raises(ConfigError, match="name="):
        write_submission("vqav2", [], [], tmp_path, "../x")
