"""Restartable stages and reading of splits."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.base import Benchmark, Split
from benchmarks.files import Files
from benchmarks.metrics.stats import Scores
from benchmarks.records import fingerprint, load_records
from benchmarks.stages import Stage, digest
from x2vlm.errors import ConfigError, DataError
from x2vlm.types import Media, Record


def test_a_stage_without_its_mark_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "train", {"seed": 1})
    assert stage.finished() is None
    assert stage.note() == {}
    stage.finish(seconds=2.5)
    noted = Stage(tmp_path, "train", {"seed": 1}).finished()
    assert noted is not None
    assert noted["seconds"] == 2.5


def test_a_stage_made_from_something_else_is_neither_reused_nor_overwritten(tmp_path: Path) -> None:
    Stage(tmp_path, "train", {"train": {"lr": 1e-4, "seed": 1}}).finish()
    with pytest.raises(ConfigError, match=r"train\.lr=0.0001, now train\.lr=0.001"):
        Stage(tmp_path, "train", {"train": {"lr": 1e-3, "seed": 1}}).finished()


def test_other_records_are_told_in_words_and_not_in_hashes(tmp_path: Path) -> None:
    Stage(tmp_path, "train", {"data": digest("a")}).finish()
    with pytest.raises(ConfigError, match=r"train stage made of other records \(limit=, data=,"):
        Stage(tmp_path, "train", {"data": digest("b")}).finished()


def test_digest_ignores_order_and_sees_values() -> None:
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def read(_: Files, split: str, language: str) -> Iterator[Record]:
    if split == "empty":
        return
    for number in range(3):
        id_ = "0" if split == "doubled" else str(number)
        yield Record(
            id_, (Media("a.jpg"),), (f"{language} {number}",),
            {"text_ids": [f"{number}#0"]}, source=f"x.json:{number + 1}",
        )  # fmt: skip


def score(*_: object, **__: object) -> Scores:
    return {}


MINE = Benchmark(
    "mine", "retrieval", "Mine", read, score, "text_r1",
    {"test": Split("test"), "empty": Split("test"), "doubled": Split("test")},
    languages=("en", "de"),
)  # fmt: skip


def test_languages_stand_in_front_of_ids(tmp_path: Path) -> None:
    records = load_records(MINE, Files(tmp_path), "test", limit=2)
    assert [record.id for record in records] == ["en:0", "en:1", "de:0", "de:1"]
    assert records[2].target["text_ids"] == ["de:0#0"]
    assert {record.language for record in records} == {"en", "de"}


def test_empty_and_doubled_splits_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        load_records(MINE, Files(tmp_path), "empty")
    with pytest.raises(DataError, match=r"x\.json:2: mine: id 'en:0' occurs twice"):
        load_records(MINE, Files(tmp_path), "doubled")


def test_the_fingerprint_sees_every_part_of_the_question(tmp_path: Path) -> None:
    records = load_records(MINE, Files(tmp_path), "test")
    changed = [*records[:-1], dataclasses.replace(records[-1], texts=("other",))]
    assert fingerprint(records) == fingerprint(list(records))
    assert fingerprint(records) != fingerprint(changed)
    assert fingerprint(records) != fingerprint(records[:-1])
