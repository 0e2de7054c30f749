"""What a model was trained on: the overlap with the evaluated split, in record, log and boards."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic_runs import make_record
from test_run import TINY

from benchmarks.files import Files
from benchmarks.mini.suite import write_world
from benchmarks.record import ResultRecord
from benchmarks.records import load_records
from benchmarks.registry import NAMES, get
from benchmarks.training_overlap import image_key, of_checkpoint, overlap, same
from leaderboards.board import boards_of
from leaderboards.export import footnotes, to_markdown
from x2vlm.cli import main
from x2vlm.model import checkpoint
from x2vlm.types import Media, Record


def rows(*pairs: tuple[str, str], text: str = "t") -> list[Record]:
    return [Record(id_, (Media(path),), (text,)) for id_, path in pairs]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("a/COCO_val2014_000000000042.jpg", "b/COCO_train2014_000000000042.jpg", True),
        ("COCO_val2014_000000000042.jpg", "val2017/000000000042.jpg", True),
        ("coco_VAL2014_000000000042.png", "42/COCO_val2014_000000000042.JPG", True),
        ("000000000042.jpg", "COCO_val2014_000000000420.jpg", False),
        ("42.jpg", "COCO_val2014_000000000042.jpg", False),
        ("x/2345.jpg", "y/2345.JPEG", True),
        ("img.1.jpg", "img.2.jpg", False),
        ("video7", "video7.mp4", True),
    ],
)
def test_names_of_one_image(one: str, other: str, equal: bool) -> None:
    assert (image_key(Media(one)) == image_key(Media(other))) == equal


def test_files_of_one_name_are_compared_by_content(tmp_path: Path) -> None:
    for folder, content in (("train", b"a"), ("copy", b"a"), ("test", b"b"), ("long", b"bb")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(content)
    train = Media(str(tmp_path / "train" / "1.jpg"))
    found = {
        folder: same(train, Media(str(tmp_path / folder / "1.jpg")))
        for folder in ("train", "copy", "test", "long", "absent")
    }
    assert found == {"train": True, "copy": True, "test": False, "long": False, "absent": False}
    assert same(Media("a/1.jpg"), Media("b/1.jpg")), "by name, where no file is there"
    assert not same(Media("1.jpg", inline=(b"a",)), Media("1.jpg", inline=(b"b",)))
    assert same(Media("1.jpg", inline=(b"a",)), Media("2.jpg", inline=(b"a",)))


@pytest.mark.parametrize(
    ("trained", "evaluated", "ids", "images"),
    [
        (rows(("1", "a.jpg")), rows(("2", "b.jpg")), 0, 0),
        (rows(("1", "a.jpg")), rows(("1", "a.jpg")), 1, 1),
        (rows(("1", "a.jpg")), rows(("1", "b.jpg")), 0, 0),  # ids that count from 1 in each split
        (rows(("1", "a.jpg")), rows(("2", "a.jpg"), ("3", "a.jpg")), 0, 1),
        ([Record("1", (), ("x",))], [Record("1", (), ("x",)), Record("2", (), ("x",))], 1, 0),
        ([Record("1", (), ("x",))], [Record("1", (), ("y",))], 0, 0),
        ([Record("en:1", (Media("a.jpg"),), ("x",), language="en")],
         [Record("de:1", (Media("a.jpg"),), ("y",), language="de")], 1, 1),
    ],
)  # fmt: skip
def test_overlap(
    trained: Sequence[Record], evaluated: Sequence[Record], ids: int, images: int
) -> None:
    found = overlap(trained, evaluated)
    assert (found.ids, found.images, found.of_ids) == (ids, images, len(evaluated))


def test_shares_are_of_the_evaluated_split() -> None:
    evaluated = rows(("1", "a.jpg"), ("2", "a.jpg"), ("3", "b.jpg"), ("4", "c.jpg"))
    found = overlap(rows(("1", "a.jpg"), ("9", "z.jpg")), evaluated).to_json()
    assert (found["share_ids"], found["share_images"]) == (0.25, 1 / 3)
    assert overlap([], []).to_json()["share_ids"] is None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("suites") / "mini"
    write_world(root, scale=0.02)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_no_benchmark_trains_on_what_it_evaluates(name: str, world: Path) -> None:
    benchmark = get(name)
    split = benchmark.first("train")
    if split is None:
        assert benchmark.task in ("matching", "attributes")
        return

    def read(which: str, languages: tuple[str, ...] = ()) -> list[Record]:
        return load_records(benchmark, Files(world, {}, "raise"), which, languages or None)

    trained = read(split, benchmark.languages[:1])
    found = overlap(trained, read(benchmark.default_split()))
    assert (found.ids, found.images) == (0, 0)
    assert overlap(trained, trained).ids == len(trained)


VQA = get("vqav2")


@pytest.mark.parametrize(
    ("told", "expected", "found_by"),
    [
        ("vqav2:trainval", "all", "names"),
        ("trainval_vg", "all", "names"),
        ("train+val", "all", "names"),
        ("vqav2:train", "none", "records"),
        ("train", "none", "records"),
        ("vqav2:test", "none", "records"),
        ("web pictures, not val", None, ""),
        ("gqa:nothing", None, ""),
        ("os:path", None, ""),
        ("", None, ""),
    ],
)
def test_what_a_checkpoint_was_trained_on(
    told: str, expected: str | None, found_by: str, world: Path
) -> None:
    files = Files(world, {}, "raise")
    evaluated = load_records(VQA, files, "val")
    found = of_checkpoint(told, "user", VQA, files, "val", evaluated)
    assert found["trained_on"] == (told or "unknown")
    if expected is None:
        assert found["overlap"] is None
    else:
        assert found["overlap"]["found_by"] == found_by
        assert found["overlap"]["ids"] == (len(evaluated) if expected == "all" else 0)


def run(world: Path, out: Path, *words: str) -> ResultRecord:
    given = ["benchmark=vqav2", "model=tiny", f"data={world}", f"out={out}", "name=run", *TINY]
    assert main(["run", *given, *words]) == 0
    return ResultRecord.read(out / "run" / "record.json")


def test_training_on_the_evaluated_split_is_a_protocol_of_its_own(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = run(world, tmp_path / "seen", "train_split=trainval")
    assert seen.protocol == "fine-tuned+seen"
    assert seen.training is not None
    assert (seen.training["split"], seen.training["languages"]) == ("trainval", ["en"])
    assert seen.training["overlap"]["share_ids"] == 1.0
    assert re.search(r"6 of 6 evaluated records (.|\n)*\+seen", capsys.readouterr().err)
    plain = run(world, tmp_path / "plain")
    assert plain.protocol == "fine-tuned"
    assert plain.training is not None
    assert plain.training["overlap"]["ids"] == plain.training["overlap"]["images"] == 0
    records = [replace(r, revision={"commit": "a", "dirty": False}) for r in (seen, plain)]
    table = boards_of(records, ("limited",))[0]
    assert {column.protocol for column in table.columns} == {"fine-tuned", "fine-tuned+seen"}
    assert "+seen evaluated records or images were trained on" in to_markdown(table)

    weights = tmp_path / "seen" / "run" / "model.safetensors"
    evaluate = ["protocol=evaluate", f"checkpoint={weights}", "model.random=false"]
    again = run(world, tmp_path / "again", *evaluate)
    assert again.protocol == "fine-tuned+seen", "the weights say what they were trained on"
    assert again.training is not None
    assert (again.training["trained_on"], again.training["source"]) == ("vqav2:trainval", "weights")
    said = run(world, tmp_path / "said", *evaluate, "model.trained_on=vqav2:train")
    assert said.protocol == "fine-tuned"
    assert said.training is not None
    assert said.training["source"] == "user"


def test_public_vqa_weights_are_known_to_have_seen_val(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(world, tmp_path / "made")
    made = checkpoint.load(tmp_path / "made" / "run" / "model.safetensors")
    torch.save({"model": checkpoint.to_official(made.model)}, tmp_path / "vqa.th")
    (tmp_path / "words.json").write_text(made.tokenizer)
    checkpoint.save(made.model, tmp_path / "mine.safetensors", tokenizer=made.tokenizer)
    evaluate = ["protocol=evaluate", "model.random=false",
                f"model.tokenizer={tmp_path / 'words.json'}"]  # fmt: skip
    found = run(world, tmp_path / "o", *evaluate, f"checkpoint={tmp_path / 'vqa.th'}")
    assert found.protocol == "fine-tuned+seen"
    assert found.training is not None
    assert (found.training["trained_on"], found.training["source"]) == (
        "vqav2:trainval_vg", "official",
    )  # fmt: skip
    assert "training data: vqav2:trainval_vg" in capsys.readouterr().err
    other = run(world, tmp_path / "u", *evaluate, f"checkpoint={tmp_path / 'mine.safetensors'}")
    assert other.training == {"trained_on": "unknown", "source": "", "overlap": None}
    assert "model.trained_on=" in capsys.readouterr().err


def evaluated(training: dict[str, Any] | None) -> ResultRecord:
    return make_record(config={"benchmark": "nlvr2", "protocol": "evaluate"}, training=training)


@pytest.mark.parametrize(
    ("training", "marked"),
    [
        (None, True),  # a record of an earlier version
        ({"trained_on": "unknown", "source": "", "overlap": None}, True),
        ({"trained_on": "train", "source": "user", "overlap": None}, False),
    ],
)
def test_boards_mark_weights_of_unknown_training(
    training: dict[str, Any] | None, marked: bool
) -> None:
    (table, *_) = boards_of([evaluated(training)])
    assert ("◇" in [mark for mark, _, _ in footnotes(table)]) == marked
    assert ("◇" in to_markdown(table)) == marked


def test_trained_runs_and_zero_shot_runs_are_not_marked() -> None:
    for record in (make_record(), make_record(protocol="zero-shot")):
        assert not record.training_unknown


@pytest.mark.parametrize(
    "words",
    [
        ["train.steps=0"], ["train.steps=-1"], ["train.steps=null", "train.epochs=0"],
        ["train.steps=null", "train.epochs=-1"],
    ],
)  # fmt: skip
def test_fine_tuning_takes_a_step(
    words: list[str],
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["benchmark=vqav2", "model=tiny", f"data={world}", f"out={tmp_path}", "name=run"]
    assert main(["run", *given, *TINY, *words]) != 0
    error = capsys.readouterr().err
    assert words[-1].partition("=")[0] in error
    assert not (tmp_path / "run" / "record.json").exists()


def test_an_old_folder_whose_training_took_no_step_gives_no_record(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(world, tmp_path)
    note = tmp_path / "run" / "train.done.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "steps": 0}))
    given = ["benchmark=vqav2", "model=tiny", f"data={world}", f"out={tmp_path}", "name=run"]
    assert main(["run", *given, *TINY]) != 0
    assert "without a step" in capsys.readouterr().err


def test_a_folder_of_an_earlier_version_gets_its_training(world: Path, tmp_path: Path) -> None:
    first = run(world, tmp_path)
    note = tmp_path / "run" / "train.done.json"
    kept = json.loads(note.read_text())
    del kept["training"]
    note.write_text(json.dumps(kept))
    assert run(world, tmp_path).training == first.training


def test_old_records_are_read(tmp_path: Path) -> None:
    row = make_record().to_json()
    del row["training"]
    (tmp_path / "record.json").write_text(json.dumps(row))
    assert ResultRecord.read(tmp_path / "record.json").training is None
