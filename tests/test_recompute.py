"""What stands on a board can be computed again from its predictions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from synthetic_runs import make_record, write_run

from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.recompute import TOLERANCE
from benchmarks.record import ResultRecord
from benchmarks.records import load_records
from benchmarks.score import score_split
from x2vlm.cli import main
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.provenance import sha256

N = 40
BOX = [4.0, 4.0, 12.0, 12.0]
AWAY = [22.0, 4.0, 12.0, 12.0]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is remembered from other tests."""
    monkeypatch.setenv("X2VLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(tmp_path: Path, name: str = "a", wrong: int = 2) -> Path:
    """A run of 40 boxes of which `wrong` are wrong, with the metrics that they have."""
    (tmp_path / "images").mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "images" / "a.png")
    rows = [{"id": str(i), "image": "a.png", "text": f"thing {i}", "box": BOX} for i in range(N)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = Plan(
        benchmark="own_boxes:mine", model=ModelChoice(), data=DataConfig(root=str(tmp_path)),
        train=TrainConfig(steps=1), predict=PredictConfig(),
    )  # fmt: skip
    benchmark = plan.value()
    samples = load_records(benchmark, plan.files(tmp_path), "test", None, None)
    predicted = [
        {"id": sample.id, "box": AWAY if i < wrong else BOX} for i, sample in enumerate(samples)
    ]
    metrics = score_split(benchmark, samples, predicted)
    record = make_record(
        "mine", benchmark_version=benchmark.version, config=plan.to_dict(), n=N, suite="own",
        headline=benchmark.headline, metrics=metrics, chance={},
    )  # fmt: skip
    return write_run(tmp_path / "runs" / name, record, predicted)


def move_boxes(run: Path, *, renew_hash: bool) -> None:
    """Change a quarter of the predictions. renew_hash: as somebody who hides it would."""
    path = run / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[-N // 4 :]:
        row["box"] = AWAY
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if renew_hash:
        change(run, lambda record: record["predictions"].update(sha256=sha256(path)))


def change(run: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((run / "record.json").read_text())
    edit(record)
    (run / "record.json").write_text(json.dumps(record))


def better(record: dict[str, Any]) -> None:
    record["metrics"]["accuracy"]["value"] = 99.0


COMMANDS = [
    ["compare", "{a}", "{b}"],
    ["submit", "{a}", "kind=nlvr2"],
    ["export", "{a}", "out={out}"],
]


@pytest.mark.parametrize("how", ["hash", "predictions", "metric"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_altered_runs_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], how: str
) -> None:
    run, other = put(tmp_path), put(tmp_path, "b")
    if how == "metric":
        change(run, better)
    else:
        move_boxes(run, renew_hash=how == "predictions")
    names = {"a": str(run), "b": str(other), "out": str(tmp_path / "out")}
    assert main([word.format(**names) for word in command]) == 1
    told = capsys.readouterr().err
    assert str(run / "record.json") in told
    assert "altered" in told
    numbers = {"hash": ("hash",), "predictions": ("70.00", "95.00"), "metric": ("95.00", "99.00")}
    assert all(number in told for number in numbers[how])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["hash", "predictions", "metric", "unreadable"])
def test_boards_refuse_altered_records_and_say_both_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    run = put(tmp_path)
    assert main(["board", str(run)]) == 0
    assert "95.00" in capsys.readouterr().out
    if how == "metric":
        change(run, better)
    elif how == "unreadable":
        (run / "predictions.jsonl").write_text('{"id": "0"}\n')
        path = run / "predictions.jsonl"
        change(run, lambda record: record["predictions"].update(sha256=sha256(path)))
    else:
        move_boxes(run, renew_hash=how == "predictions")
    assert main(["board", str(run)]) == 0
    told = capsys.readouterr()
    expected = {"hash": "the record says", "predictions": "70.00", "metric": "99.00",
                "unreadable": "predictions.jsonl:1"}  # fmt: skip
    assert "nothing to show" in told.err
    assert expected[how] in told.err
    assert "allow=altered" in told.err
    assert main(["board", str(run), "allow=altered"]) == 0
    assert "✗" in capsys.readouterr().out


def test_pages_of_an_altered_run_are_red(tmp_path: Path) -> None:
    run = put(tmp_path)
    move_boxes(run, renew_hash=True)
    put(tmp_path, "b")
    assert main(["site", str(tmp_path / "runs"), f"out={tmp_path / 'site'}"]) == 0
    page = (tmp_path / "site" / "run-a.html").read_text(encoding="utf-8")
    assert 'class="altered" role="alert"' in page
    assert "70.00" in page
    assert "95.00" in page
    assert 'class="altered"' not in (tmp_path / "site" / "run-b.html").read_text(encoding="utf-8")
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "70.00" in index  # among the refused
    assert 'class="pill bad"' in index


def test_what_agreed_is_not_computed_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put(tmp_path)
    assert main(["board", str(run)]) == 0
    before = capsys.readouterr()
    (tmp_path / "test.jsonl").unlink()  # the data are gone, and the answer is known
    assert main(["board", str(run)]) == 0
    assert capsys.readouterr() == before
    change(run, better)
    assert main(["board", str(run)]) == 0
    assert "not recomputed here" in capsys.readouterr().err


@pytest.mark.parametrize("gone", ["predictions.jsonl", "test.jsonl"])
def test_what_is_on_another_machine_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gone: str
) -> None:
    run = put(tmp_path)
    (run / gone if gone == "predictions.jsonl" else tmp_path / gone).unlink()
    assert main(["board", str(run)]) == 0
    told = capsys.readouterr()
    assert "95.00" in told.out
    assert "not recomputed here" in told.err


def test_a_board_does_not_write_the_embedded_world(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put(tmp_path)
    change(run, lambda record: record["config"]["data"].update(root=""))
    change(run, lambda record: record["config"].update(benchmark="nlvr2"))
    change(run, lambda record: record.update(benchmark="nlvr2"))
    assert main(["board", str(run)]) == 0
    assert "the embedded world is not here" in capsys.readouterr().err
    assert not (cache / "mini-world").exists()


def test_last_digits_are_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = put(tmp_path)
    change(run, lambda r: r["metrics"]["accuracy"].update(value=95.0 * (1 + TOLERANCE / 10)))
    assert main(["compare", str(run), str(put(tmp_path, "b"))]) == 0
    change(run, lambda r: r["metrics"]["accuracy"].update(value=95.0 * (1 + TOLERANCE * 10)))
    assert main(["compare", str(run), str(tmp_path / "runs" / "b")]) == 1
    assert "altered" in capsys.readouterr().err


def test_what_is_read_from_a_record_is_not_written(tmp_path: Path) -> None:
    record = ResultRecord.read(put(tmp_path) / "record.json")
    assert {"path", "altered"}.isdisjoint(record.to_json())
