"""Result files after public bug reports of neighbours (`../shared/field`): as their READMEs say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import formats
from benchmarks.files import Files
from benchmarks.records import load_records
from benchmarks.registry import get
from benchmarks.score import ScoredFile, score_file
from x2vlm.errors import PredictionError


def put(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("change", [str.capitalize, "{} ".format, "{}.".format])
def test_gqa_answers_wrong_by_case_alone(shared: Path, tmp_path: Path, change: Any) -> None:
    data = shared / "data"
    questions = json.loads((data / "gqa/testdev.lxmert.json").read_text())
    rows = [
        {"questionId": row["question_id"], "prediction": change(max(row["label"]))}
        for row in questions
    ]
    files = Files(data, {"testdev": "gqa/testdev.lxmert.json"})
    found = score_file(get("gqa"), "testdev", put(tmp_path, rows), files).scores["accuracy"]
    assert (found.value, found.n) == (0.0, 12578)
    assert "12578 answers would be right but for case, blanks or punctuation" in found.note
    assert "100.00 instead of 0.00" in found.note


def vqa(shared: Path, path: Path) -> tuple[ScoredFile, list[str]]:
    given = {
        "val": "vqav2/smallval_questions.json",
        "val_annotations": "vqav2/smallval_annotations.json",
    }
    files = Files(shared / "data", given)
    return score_file(get("vqav2"), "val", path, files), files.notes


def test_padding_of_several_processes(shared: Path, tmp_path: Path) -> None:
    rows = json.loads((shared / "data/vqav2/results_majority.json").read_text())
    expected, notes = vqa(shared, put(tmp_path, rows))
    assert notes == []
    found, notes = vqa(shared, put(tmp_path, rows + rows[:7]))
    assert found.scores == expected.scores
    assert notes == [
        f"7 predictions repeat an earlier one and were dropped, first {tmp_path}/results.json:590"
    ]
    conflicting = put(tmp_path, [*rows, dict(rows[0], answer="zzz")])
    with pytest.raises(PredictionError, match=r"json:590: contradicts .*json:1:"):
        vqa(shared, conflicting)


@pytest.mark.parametrize("name", ["padded", "name", "file", "lavis"])
def test_ids_of_caption_results(shared: Path, name: str) -> None:
    folder = shared / "field/caption-result-ids"
    records = load_records(get("coco_captioning"), Files(folder), "test")
    found = formats.load(folder / f"{name}.json", "captioning", records)
    assert [row["id"] for row in found.predictions] == [record.id for record in records]
    assert "8 ids are spelt otherwise" in found.notes[0]
