"""X²-VLM's grounding results: boxes by reference, as fractions of the image."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks import formats
from benchmarks.base import Benchmark, Split
from benchmarks.files import Files
from benchmarks.metrics import boxes
from benchmarks.score import ScoredFile, score_file
from x2vlm.errors import PredictionError
from x2vlm.types import Record

SIZES = {"7": [640, 480], "8": [100, 300]}
BOXES = {"7": [64, 48, 320, 240], "8": [10, 30, 50, 150]}
REFERENCES = ("7", "8", "7")


def record(number: int, reference: str) -> Record:
    target = {"box": BOXES[reference], "size": SIZES[reference]}
    return Record(f"{number}00", (), ("it",), target, tags={"ref_id": reference})


RECORDS = [record(number, reference) for number, reference in enumerate(REFERENCES)]


def official(reference: str, shift: float = 0.0) -> dict[str, Any]:
    (x, y, w, h), (width, height) = BOXES[reference], SIZES[reference]
    pred = [(x + w / 2) / width + shift, (y + h / 2) / height, w / width, h / height]
    return {"ref_id": int(reference), "pred": pred}


def scored(folder: Path, rows: list[dict[str, Any]]) -> tuple[ScoredFile, list[str]]:
    path, files = folder / "result.json", Files(folder)
    path.write_text(json.dumps(rows))
    benchmark = Benchmark(
        "given",
        "grounding",
        "",
        lambda *_: RECORDS,
        boxes.score,
        "accuracy",
        {"test": Split("test")},
    )
    return score_file(benchmark, "test", path, files), files.notes


def test_fractions_become_pixels_of_each_sentence(tmp_path: Path) -> None:
    rows = [official(reference) for reference in REFERENCES]
    found, _ = scored(tmp_path, [*rows, official("7") | {"ref_id": 99}])
    assert (found.format, found.n, found.ignored) == ("x2vlm_boxes", 3, 1)
    assert found.scores["mean_iou"].value == pytest.approx(100.0)
    rows[0] = official("7", shift=0.25)
    assert scored(tmp_path, rows)[0].scores["accuracy"].value == pytest.approx(200 / 3)


def test_padding_is_dropped_and_another_sentence_is_not(tmp_path: Path) -> None:
    rows = [official("7"), official("8"), official("7", 0.25)]
    found, notes = scored(tmp_path, [*rows, rows[0], rows[1]])
    assert found.scores["accuracy"].value == pytest.approx(200 / 3)
    assert any("2 predictions repeat an earlier one of their reference" in note for note in notes)
    with pytest.raises(PredictionError, match=r"result\.json:4: reference 8 has 1 sentences"):
        scored(tmp_path, [*rows, official("8", 0.1)])


def test_faults_are_named(tmp_path: Path) -> None:
    rows = [official(reference) for reference in REFERENCES]
    with pytest.raises(PredictionError, match="1 missing"):
        scored(tmp_path, rows[:2])
    rows[2]["pred"][3] = 240
    with pytest.raises(PredictionError, match=r"result\.json:3: .*\n.*fractions"):
        scored(tmp_path, rows)


def test_pixels_by_reference_are_pixels(tmp_path: Path) -> None:
    rows = [{"ref_id": int(r), "bbox": BOXES[r]} for r in REFERENCES]
    assert scored(tmp_path, rows)[0].scores["accuracy"].value == 100.0


def test_results_of_the_official_evaluation_rows(shared: Path, tmp_path: Path) -> None:
    """Rows in any order, as several processes leave them."""
    rows = json.loads((shared / "data/refcoco/refcoco+_val.json").read_text())[:200]
    records = [
        Record(
            str(i),
            (),
            (),
            {"box": BOXES["7"], "size": SIZES["7"]},
            tags={"ref_id": str(row["ref_id"])},
        )
        for i, row in enumerate(rows)
    ]
    results = [official("7") | {"ref_id": row["ref_id"]} for row in rows]
    random.Random(0).shuffle(results)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(results + results[:8]))
    found = formats.load(path, "grounding", records)
    assert {row["id"] for row in found.predictions} == {record.id for record in records}
