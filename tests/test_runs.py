import dataclasses
import json

import pytest
from synthetic_runs import make_record, write_run

from benchmarks.plan import ModelChoice, Plan
from benchmarks.record import ResultRecord
from benchmarks.registry import get
from leaderboards.runs import open_run, plan_of
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.errors import PredictionError, RecordError

SOURCE = """
import json
from benchmarks.base import Benchmark, Split
from benchmarks.metrics import labels
from x2vlm.types import Media, Record

def read(files, split, language):
    path = files.find("rows", ["rows.json"])
    for row in json.loads(path.read_text()):
        yield Record(row["id"], (Media("a.jpg"),), (row["text"],), {"label": row["label"]})

MINE = Benchmark("mine", "classification", "My own", read, labels.score, "accuracy",
                 {"test": Split("test")}, labels=lambda files: ["no", "yes"])
"""


@pytest.fixture
def folder(tmp_path):
    """A user's own benchmark, its data, and a run on it whose answers name labels."""
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    rows = [{"id": str(i), "text": f"row {i}", "label": i % 2} for i in range(6)]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    plan = Plan(
        benchmark=f"{tmp_path / 'mine.py'}:MINE", model=ModelChoice(), data=DataConfig(root="x"),
        train=TrainConfig(steps=1), predict=PredictConfig(),
    )  # fmt: skip
    record = make_record("mine", config=json.loads(json.dumps(plan.to_dict())), n=6)
    get(plan.benchmark)  # the user names his own code
    answers = [{"id": str(i), "label": "yes" if i < 3 else "no"} for i in range(5, -1, -1)]
    return write_run(tmp_path / "run", record, answers)


def test_a_run_is_opened_with_its_data_and_answers_joined(folder):
    run = open_run(folder, lambda _: folder.parent)
    assert run.name == "run"
    assert [sample.id for sample in run.samples] == [row["id"] for row in run.rows]
    assert [row["label"] for row in run.rows] == [1, 1, 1, 0, 0, 0]
    assert run.labels == ["no", "yes"]
    (scores,) = run.scores()
    assert list(scores.values.values()) == [0, 1, 0, 0, 1, 0]


def test_the_plan_of_a_record_is_the_one_it_was_made_by(folder):
    run = open_run(folder, lambda _: folder.parent)
    again = json.loads(json.dumps(plan_of(run.record).to_dict()))
    assert again == run.record.config


def test_settings_of_another_version_are_an_error_that_names_the_record(folder):
    record = ResultRecord.read(folder / "record.json")
    for change in ({"shuffled": True}, {"train": {"steps": 1, "warmth": 2}}):
        other = dataclasses.replace(record, config={**record.config, **change})
        with pytest.raises(RecordError, match=r"run.record\.json: its settings are not those of"):
            plan_of(other)


def test_limit_and_skipped_samples_are_left_out_again(folder):
    run = open_run(folder, lambda _: folder.parent)
    skipped = ({"id": "5", "source": "rows.json:6", "reason": "no picture"},)
    dataclasses.replace(run.record, skipped=skipped).write(folder / "record.json")
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "predictions.jsonl").write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    assert len(open_run(folder, lambda _: folder.parent).rows) == 5


def test_answers_that_do_not_fit_the_data_are_an_error(folder):
    with (folder / "predictions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "99", "label": 0}\n')
    with pytest.raises(PredictionError, match="not in this split"):
        open_run(folder, lambda _: folder.parent)
