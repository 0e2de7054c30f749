"""Whole runs on a small embedded world: every task from official files to a record, restartable."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.mini.suite import write_world
from benchmarks.record import ResultRecord
from leaderboards.aggregate import flags_of
from x2vlm.cli import main
from x2vlm.model.checkpoint import weights_sha256

PARTS = ("coco", "vqav2", "nlvr2", "refcoco", "winoground", "ovad", "msrvtt", "multi30k")
RUNS = {
    "coco_retrieval": "text_r1",
    "coco_captioning": "bleu4",
    "vqav2": "accuracy",
    "nlvr2": "accuracy",
    "refcoco_plus": "accuracy",
    "winoground": "group",
    "ovad": "map",
    "msrvtt_retrieval": "image_r1",
    "multi30k": "image_r1/de",
}
TINY = ["model.random=true", "device=cpu", "train.epochs=null", "train.steps=2",
        "train.batch_size=4", "train.log_every=1", "predict.batch_size=8", "limit=6"]  # fmt: skip


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small embedded world, one for all tests of a process."""
    root = tmp_path_factory.mktemp("world") / "mini"
    write_world(root, scale=0.02, parts=PARTS)
    return root


def words(benchmark: str, world: Path, out: Path) -> list[str]:
    model = "multilingual-tiny" if benchmark == "multi30k" else "tiny"
    return [f"benchmark={benchmark}", f"model={model}", f"data={world}", f"out={out}", "name=run",
            *TINY]  # fmt: skip


@pytest.mark.parametrize("benchmark", RUNS)
def test_from_official_files_to_a_record(benchmark: str, world: Path, tmp_path: Path) -> None:
    assert main(["run", *words(benchmark, world, tmp_path)]) == 0
    folder = tmp_path / "run"
    record = ResultRecord.read(folder / "record.json")
    assert record.benchmark == benchmark
    assert RUNS[benchmark] in record.metrics
    assert record.headline in record.metrics
    assert record.limit == 6
    assert (
        record.predictions["count"]
        == len((folder / "predictions.jsonl").read_text().split("\n")) - 1
    )
    zero_shot = benchmark in ("winoground", "ovad")
    assert record.protocol.startswith("zero-shot" if zero_shot else "fine-tuned")
    assert 0 < record.seconds["waiting for data"] < record.seconds["predict"]
    assert (folder / "model.safetensors").is_file() != zero_shot
    assert (folder / "config.yaml").is_file()


def test_a_run_killed_at_any_stage_is_finished_by_the_same_command(
    world: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["run", *words("refcoco_plus", world, whole)]) == 0
    command = [sys.executable, "-m", "x2vlm", "run", *words("refcoco_plus", world, broken)]
    for mark in ("train.done.json", "predict.done.json"):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (broken / "run" / mark).exists():
            time.sleep(0.01)
        process.kill()
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    names = ("predictions.jsonl",)
    assert all((whole / "run" / n).read_text() == (broken / "run" / n).read_text() for n in names)
    records = [ResultRecord.read(folder / "run" / "record.json") for folder in (whole, broken)]
    assert records[0].metrics == records[1].metrics


def test_weights_are_selected_by_the_headline_on_the_validation_split(
    world: Path, tmp_path: Path
) -> None:
    arguments = [*words("coco_retrieval", world, tmp_path), "train.eval_every=1"]
    assert main(["run", *arguments]) == 0
    folder = tmp_path / "run"
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert re.search(r"step 1: validation [\d.]+, the best so far", log)
    assert not list(folder.glob("validation*"))  # its predictions were scored and thrown away


def test_validation_without_a_split_is_told(world: Path, tmp_path: Path) -> None:
    assert main(["train", *words("vqav2", world, tmp_path), "train.eval_every=1"]) == 0
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert "vqav2 has no validation split" in log


def test_other_settings_in_the_same_folder_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("winoground", world, tmp_path)
    assert main(["run", *arguments]) == 0
    assert main(["run", *arguments, "seed=7"]) == 1
    assert "give this run another name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["split=tset"], "did you mean 'testB'"),
        (["languages=[xx]"], "unknown language of refcoco_plus 'xx'"),
    ],
)
def test_what_cannot_be_evaluated_is_told_before_training(
    more: list[str], message: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words("refcoco_plus", world, tmp_path), *more]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "train.jsonl").exists()


def test_predict_does_not_train(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("refcoco_plus", world, tmp_path)
    assert main(["predict", *arguments]) == 1
    assert "protocol=evaluate" in capsys.readouterr().err
    assert main(["train", *arguments]) == 0
    assert main(["predict", *arguments]) == 0
    assert (tmp_path / "run" / "predictions.jsonl").is_file()


def test_training_that_was_killed_goes_on_with_its_own_data_alone(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("refcoco_plus", world, tmp_path)
    assert main(["train", *arguments]) == 0
    (tmp_path / "run" / "train.done.json").unlink()  # as if killed behind the last checkpoint
    assert main(["train", *arguments, "limit=3"]) == 1
    assert "was made with other settings (data: " in capsys.readouterr().err
    assert main(["train", *arguments]) == 0
    assert "resumed from" in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")


def test_score_gives_the_records_numbers(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words("nlvr2", world, tmp_path)]) == 0
    capsys.readouterr()
    file = tmp_path / "run" / "predictions.jsonl"
    arguments = ["benchmark=nlvr2", "split=test", f"predictions={file}", f"data={world}", "limit=6"]
    assert main(["score", *arguments]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    record = ResultRecord.read(tmp_path / "run" / "record.json")
    assert found["metrics"]["accuracy"] == record.metrics["accuracy"].to_json()


def test_a_checkpoint_fine_tuned_elsewhere_is_recorded_as_fine_tuned(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("nlvr2", world, tmp_path)
    assert main(["run", *arguments]) == 0
    given = [word for word in arguments if word not in ("name=run", "model.random=true")]
    file = tmp_path / "x2vlm_tiny_4m.safetensors"
    (tmp_path / "run" / "model.safetensors").rename(file)
    given += [f"checkpoint={file}", "protocol=evaluate", "name=elsewhere"]
    assert main(["run", *given]) == 0
    record = ResultRecord.read(tmp_path / "elsewhere" / "record.json")
    assert (record.protocol, record.model["pretraining"]) == ("fine-tuned", "4M")
    assert record.model["new_heads"] == []
    assert not (tmp_path / "elsewhere" / "train.done.json").exists()
    first = ResultRecord.read(tmp_path / "run" / "record.json")
    assert record.metrics == first.metrics
    capsys.readouterr()
    other = [word.replace("benchmark=nlvr2", "benchmark=vqav2") for word in given]
    assert main(["run", *other, "name=headless"]) == 1, "a head it lacks is not made up"
    assert "decoder" in capsys.readouterr().err


def test_reproduce_prints_the_difference_of_the_run_it_made(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [word for word in words("nlvr2", world, tmp_path) if not word.startswith("name=")]
    assert main(["reproduce", "nlvr2", *named[1:]]) == 0
    assert "model.pretraining=4M" in capsys.readouterr().out.splitlines()[-2]
    assert main(["reproduce", "nlvr2", *named[1:], "model.pretraining=1B"]) == 0
    assert "no number for this row" in capsys.readouterr().out.splitlines()[-1]


def test_reproduce_fine_tunes_once_and_evaluates_every_split_of_the_papers(
    world: Path, tmp_path: Path
) -> None:
    arguments = words("refcoco_plus", world, tmp_path)[1:]
    assert main(["reproduce", "refcoco_plus", *arguments]) == 0
    records = {
        split: ResultRecord.read(tmp_path / name / "record.json")
        for split, name in (("testA", "run"), ("val", "run-val"), ("testB", "run-testB"))
    }
    assert [record.split for record in records.values()] == ["testA", "val", "testB"]
    assert {record.protocol for record in records.values()} == {"fine-tuned"}
    assert not (tmp_path / "run-val" / "train.done.json").exists()
    weights = weights_sha256(tmp_path / "run" / "model.safetensors")
    assert records["val"].model["weights_sha256"] == weights
    assert main(["reproduce", "refcoco_plus", *arguments, "split=val", "name=one"]) == 0
    assert not list(tmp_path.glob("one-*"))


def test_languages_that_are_not_there_are_left_out_and_told(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(world / "multi30k", data / "multi30k")
    (data / "images").symlink_to(world / "images")
    for path in (data / "multi30k").rglob("*.fr"):
        path.unlink()
    assert main(["run", *words("multi30k", data, tmp_path), "protocol=zero-shot"]) == 0
    assert "no files for fr" in capsys.readouterr().err
    record = ResultRecord.read(tmp_path / "run" / "record.json")
    assert record.data["missing_languages"] == ["fr"]
    assert "averages without fr" in flags_of(record)["partial"]
    assert "mean_recall/de" in record.metrics
    assert "mean_recall/fr" not in record.metrics


def test_bad_rows_are_left_out_counted_named_and_marked(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad row and one bad image each, to train on and to evaluate."""
    data = tmp_path / "data"
    shutil.copytree(world / "nlvr2", data / "nlvr2")
    shutil.copytree(world / "images" / "nlvr2", data / "images" / "nlvr2")
    for name, folder in (("train", "train"), ("test1", "test1")):
        file = data / "nlvr2" / f"{name}.json"
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        rows[0]["label"] = "perhaps"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        picture = rows[-1]["identifier"].rpartition("-")[0] + "-img0.png"
        found = next((data / "images" / "nlvr2" / folder).rglob(picture))
        found.write_bytes(b"")
    arguments = [word for word in words("nlvr2", data, tmp_path) if not word.startswith("limit")]
    arguments += ["train.steps=8", "train.batch_size=8"]  # more than one pass over the records
    assert main(["run", *arguments]) == 1
    message = capsys.readouterr().err
    assert "train.json:1" in message
    assert "'perhaps'" in message
    assert "on_error=skip" in message
    assert main(["run", *arguments, "on_error=skip"]) == 0
    record = ResultRecord.read(tmp_path / "run" / "record.json")
    for skipped in (record.skipped, record.data["train_skipped"]):
        told = [f"{row['source']}: {row['reason']}" for row in skipped]
        assert "1: field 'label' is 'perhaps'" in told[0]
        assert all("img0.png: file is empty" in line for line in told[1:])
        assert len(told) > 1
    assert "rows were skipped" in flags_of(record)["partial"]
    assert "training rows were skipped" in capsys.readouterr().out
