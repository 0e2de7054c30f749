"""Submission files: validated before they are written, read back by the official layouts."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_data import CASES, write
from synthetic_runs import make_record, write_run

from benchmarks import formats
from benchmarks.metrics.stats import Measure
from benchmarks.submission import write_submission
from x2vlm.cli import main
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
    for yes, no in (("true", "False"), (1, 0)):
        rows: list[Prediction] = [
            {"id": "test1-0-1-0", "label": yes}, {"id": "test1-0-1-1", "label": no}
        ]  # fmt: skip
        path = write_submission("nlvr2", records, rows, tmp_path, "x")
        assert path.read_text() == "test1-0-1-0,True\ntest1-0-1-1,False\n"


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        ("vqav2", [{"id": "11", "answer": "no"}], "1 missing"),
        (
            "vqav2",
            [{"id": i, "answer": a} for i, a in (("11", "no"), ("7", "no"), ("7", "yes"))],
            "contradicts",
        ),
        ("vqav2", [{"id": i, "answer": "no"} for i in ("11", "7", "5")], "1 not in this split"),
        ("vqav2", [{"id": "11", "answer": 5}, {"id": "7", "answer": "no"}], "must be a string"),
        ("nlvr2", [{"id": "11", "label": 2}, {"id": "7", "label": "True"}], "True or False"),
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


LISTED = {"images": [{"id": 4, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]}
CAPTIONS = [{"id": "4", "caption": "a dog"}, {"id": "9", "caption": "a cat"}]
SERVED: dict[tuple[str, str], tuple[str, list[Any], str]] = {
    ("vqav2", "val"): (
        "", [{"id": "42000", "answer": "red"}, {"id": "73000", "answer": "no"}],
        "vqav2_x2vlm_results.json",
    ),
    ("nlvr2", "dev"): ("", [], "nlvr2_x2vlm_predictions.csv"),
    ("coco_captioning", "val2014"): (
        "coco/captions_val2014.json", CAPTIONS, "captions_val2014_x2vlm_results.json",
    ),
    ("coco_captioning", "test2014"): (
        "coco/image_info_test2014.json", CAPTIONS, "captions_test2014_x2vlm_results.json",
    ),
    ("coco_captioning", "nocaps_val"): (
        "nocaps/nocaps_val_image_info.json", CAPTIONS, "nocaps_x2vlm_results.json",
    ),
    ("coco_captioning", "nocaps_test"): (
        "nocaps/nocaps_test_image_info.json", CAPTIONS, "nocaps_x2vlm_results.json",
    ),
}  # fmt: skip
"""(benchmark, split) -> list of images, predictions, name of the server's file"""


ACCURACY = {"vqav2": 100.0, "nlvr2": 50.0}
"""of those predictions, where the answers are public"""


def served(benchmark: str, split: str, folder: Path, **changes: Any) -> Path:
    """A run folder, and the data it was made on."""
    listed, rows, _ = SERVED[benchmark, split]
    if listed:
        (folder / listed).parent.mkdir(parents=True)
        (folder / listed).write_text(json.dumps(LISTED))
    else:
        write(folder, CASES[benchmark])
    if benchmark == "nlvr2":
        lines = (folder / "nlvr2/dev.json").read_text().splitlines()
        rows = [{"id": json.loads(line)["identifier"], "label": "True"} for line in lines]
    if benchmark in ACCURACY:  # what stands in a record is held against its predictions
        changes = {"metrics": {"accuracy": Measure(ACCURACY[benchmark], 2)}, "n": 2, **changes}
    config = {"benchmark": benchmark, "data": {"root": str(folder)}, "train": {"steps": 1}}
    record = make_record(benchmark, split=split, suite="official", config=config, **changes)
    return write_run(folder / "run", record, rows)


@pytest.mark.parametrize(("benchmark", "split"), SERVED)
def test_submit_writes_the_file_of_a_run(
    benchmark: str, split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = served(benchmark, split, tmp_path)
    assert main(["submit", str(run)]) == 0, capsys.readouterr().err
    written = Path(capsys.readouterr().out.strip())
    assert written == run / SERVED[benchmark, split][2]
    text = written.read_text()
    if benchmark == "nlvr2":
        assert [line.split(",")[1] for line in text.splitlines()] == ["True", "True"]
    else:
        number = "question_id" if benchmark == "vqav2" else "image_id"
        ids = [int(row["id"]) for row in SERVED[benchmark, split][1]]
        assert [row[number] for row in json.loads(text)] == ids


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"limit": 2}, "limited to 2 records"),
        ({"skipped": ({"source": "a:1", "reason": "bad"},)}, "1 rows were skipped"),
    ],
)
def test_a_part_of_a_split_is_not_submitted(
    changes: dict[str, Any], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = served("coco_captioning", "nocaps_val", tmp_path, **changes)
    assert main(["submit", str(run)]) == 1
    shown = capsys.readouterr().err
    assert why in shown
    assert "wants the whole split" in shown
