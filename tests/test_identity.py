"""What decides a result: every setting is classified, and boards follow the classification."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from benchmarks.deciding import RECORD, SECTIONS, SETTINGS
from benchmarks.identity import facts, identity, source_of
from benchmarks.plan import Plan
from benchmarks.record import ResultRecord
from leaderboards.aggregate import long_table, over_seeds
from leaderboards.board import boards_of
from tests.identity_records import (
    PLAN,
    all_settings,
    cells_of,
    config_with,
    other_value,
    record_of,
)  # fmt: skip
from tests.synthetic_runs import make_record


@pytest.mark.parametrize("section", SETTINGS, ids=lambda section: section.__name__)
def test_every_setting_is_classified(section: type[Any]) -> None:
    assert set(SETTINGS[section]) == {field.name for field in dataclasses.fields(section)}


def test_every_field_of_a_record_and_every_section_is_classified() -> None:
    assert set(RECORD) == {field.name for field in dataclasses.fields(ResultRecord)}
    sections = {name for name, part in SETTINGS[Plan].items() if part == "section"}
    assert sections == set(SECTIONS)
    assert {type(getattr(PLAN, name)) for name in sections} == set(SETTINGS) - {Plan}


def test_what_is_known_to_decide_and_what_not_is_so_classified() -> None:
    """Written down once more, so that a slip in the table is seen."""
    found = dict(all_settings())
    free = """train.workers train.save_every train.keep_last train.log_every train.trackers
        train.shard predict.workers predict.batch_size predict.cache device out name floor"""
    deciding = """train.epochs train.steps train.batch_size train.lr train.lr_vision
        train.weight_decay train.betas train.eps train.clip train.warmup train.precision train.ema
        train.drop_path train.eval_every train_split train_languages options scoring
        predict.precision model.frames model.temporal_positions model.tokenizer model.max_tokens
        model.label"""
    assert {found[name] for name in free.split()} == {"nothing"}
    assert {found[name] for name in deciding.split()} == {"decides", "trains"}
    assert (found["seed"], found["train.seed"]) == ("seed", "seed")


@pytest.mark.parametrize(("name", "part"), all_settings())
def test_a_setting_makes_a_row_exactly_when_it_decides(name: str, part: str) -> None:
    first = record_of(seed=1)
    second = record_of(config_with(name, other_value(name)), seed=2)
    decides = part in ("decides", "trains") and name != "model.name"  # the record has its own
    rows = 2 if decides or name == "model.random" else 1  # random weights are never others
    assert len(cells_of(first, second)) == rows
    assert (identity(first) == identity(second)) == (rows == 1)


@pytest.mark.parametrize(
    "change",
    [
        {"benchmark_version": 2}, {"split": "dev"}, {"protocol": "few-shot:48"}, {"limit": 8},
        {"suite": "own"}, {"skipped": ({"source": "a:1", "reason": "bad"},)},
        {"data": {"fingerprint": "c" * 64}}, {"data": {"train_fingerprint": "c" * 64}},
        {"data": {"train_split": "trainval"}}, {"data": {"partial": {"dev": "dev.avail.json"}}},
        {"data": {"missing_languages": ["sw"]}}, {"data": {"train_skipped": [{"id": "9"}]}},
        {"model": {"source_sha256": "b" * 64}}, {"model": {"source_sha256": "random"}},
        {"model": {"resolution": 384}}, {"model": {"name": "base"}}, {"model": {"label": "mine"}},
        {"model": {"pretraining": "4M"}}, {"model": {"source_recipe": "1234"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_fact_of_the_record_that_decides_makes_a_row(change: dict[str, Any]) -> None:
    for seeds in ((1, 2), (2, 1)):
        first, second = record_of(seed=seeds[0]), record_of(seed=seeds[1], **change)
        assert len(cells_of(first, second)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"created": "2026-05-01"}, {"packages": {"torch": "2.9"}}, {"hardware": {"device": "cuda"}},
        {"revision": {"commit": "b" * 40, "dirty": False}}, {"seconds": {"train": 9.0}},
        {"model": {"weights_sha256": "0" * 64}}, {"model": {"checkpoint": "copy/of.th"}},
        {"floor": {"value": 60, "met": True}}, {"video": {"decoder": "decord"}}, {"value": 3.0},
        {"data": {"notes": ["a note"]}}, {"path": "elsewhere/record.json"}, {"identity": "1"},
        {"predictions": {"file": "p.jsonl", "sha256": "1" * 64, "count": 3}},
    ],
    ids=str,
)  # fmt: skip
def test_a_fact_that_decides_nothing_makes_none(change: dict[str, Any]) -> None:
    first, second = record_of(seed=1), record_of(seed=2, **change)
    assert cells_of(first, second) == [("tiny", (1, 2))]


def test_random_weights_never_take_the_place_of_trained_ones() -> None:
    """Winoground of the shipped tiny model, then the same with model.random=true."""
    records = []
    for random, value, weights in ((False, 76.75, "3" * 64), (True, 0.0, "random:tiny:42")):
        choice = {"name": "tiny", "checkpoint": "", "random": random}
        config = {"benchmark": "winoground", "protocol": "zero-shot", "model": choice}
        model = {"weights_sha256": weights, "checkpoint": "shipped"}
        records.append(make_record(
            "winoground", protocol="zero-shot", headline="group", value=value, config=config,
            model=model, created=f"2026-0{1 + random}-01",
        ))  # fmt: skip
    long = long_table(records)
    assert long.refused == ()
    assert dict(zip(long.rows["model"], long.rows["value"], strict=True)) == {
        "tiny": 76.75, "tiny (random weights)": 0.0
    }  # fmt: skip


def test_seeds_of_the_shipped_model_are_not_averaged_with_a_random_one() -> None:
    records = [
        record_of(config_with("model.random", s == 3), seed=s, value=v,
                  model={"source_sha256": "random" if s == 3 else "a" * 64})
        for s, v in ((1, 30.0), (2, 31.0), (3, 8.0))
    ]  # fmt: skip
    cells = over_seeds(long_table(records).rows).set_index("model")
    assert cells.loc["tiny (a.th)", "value"] == 30.5
    assert cells.loc["tiny (random weights)", "value"] == 8.0


def test_two_checkpoints_of_one_size_are_neither_seeds_nor_successors() -> None:
    for seed in (42, 43):
        better = make_record(value=80.0, model={"checkpoint": "runs/one/a.th"})
        later = make_record(value=70.0, model={"checkpoint": "b.th"}, seed=seed, created="2026-03")
        cells = over_seeds(long_table([better, later]).rows)
        assert dict(zip(cells["model"], cells["value"], strict=True)) == {
            "tiny (a.th)": 80.0, "tiny (b.th)": 70.0
        }  # fmt: skip


def test_a_row_of_several_benchmarks_is_of_one_checkpoint() -> None:
    records = [
        record_of(config_with("benchmark", name), model={"source_sha256": sha * 64,
                  "checkpoint": f"{sha}.th"})
        for name, sha in (("nlvr2", "a"), ("vqav2", "b"))
    ]  # fmt: skip
    records = [dataclasses.replace(r, benchmark=r.config["benchmark"]) for r in records]
    names = ["weights/a.th", "other/a.th"]
    for record, name in zip(records, names, strict=True):
        record.config["model"]["checkpoint"] = name
    (table,) = [t for t in boards_of(records) if t.board.name == "overview"]
    assert {row.model: len(row.cells) for row in table.rows} == {
        "tiny (weights/a.th)": 1, "tiny (other/a.th)": 1
    }  # fmt: skip


def test_weights_that_were_fine_tuned_elsewhere_share_the_row_of_their_model() -> None:
    records = []
    for name in ("nlvr2", "vqav2"):
        config = {**config_with("model.checkpoint", f"{name}.th"), "protocol": "evaluate"}
        model = {"source_sha256": name, "checkpoint": f"{name}.th", "pretraining": "4M"}
        records.append(dataclasses.replace(record_of(config, model=model), benchmark=name))
    (table,) = [t for t in boards_of(records) if t.board.name == "overview"]
    assert [(row.model, len(row.cells)) for row in table.rows] == [("tiny", 2)]


def test_an_old_record_is_identified_by_what_it_holds() -> None:
    old = {"source_sha256": None, "label": None}
    config = {**config_with(), "protocol": "zero-shot"}
    del config["model"]["label"], config["model"]["seeded"]
    evaluated = record_of(config, protocol="zero-shot", model=old)
    assert source_of(evaluated) == "f" * 64
    now = record_of({**config_with(), "protocol": "zero-shot"}, protocol="zero-shot",
                    model={"source_sha256": "f" * 64}, seed=7)  # fmt: skip
    assert cells_of(evaluated, now) == [("tiny", (7, 42))]
    tuned = record_of(model=old)
    assert source_of(tuned) == "unrecorded weights/a.th"
    again = record_of(model={**old, "weights_sha256": "9" * 64}, seed=7)
    assert cells_of(tuned, again) == [("tiny", (7, 42))]
    assert len(cells_of(tuned, record_of(seed=7))) == 2  # it may have started from other weights


def test_defaults_written_out_make_no_row() -> None:
    config = config_with("benchmark", "nlvr2")
    config["options"] = {"images": 2}  # NLVR2's own
    config["train"] = {**config["train"], "lr_text": 1e-4, "steps": 100.0}
    data = {"train_split": None}
    given = {**config, "train_split": "train", "train_languages": ["en"]}
    assert cells_of(
        record_of(config_with("benchmark", "nlvr2"), data=data, seed=1),
        record_of(given, data=data, seed=2),
    ) == [("tiny", (1, 2))]


def test_settings_of_another_version_decide() -> None:
    config = config_with()
    config["train"] = {**config["train"], "momentum": 0.5}
    assert cells_of(record_of(seed=1), record_of({**config, "curriculum": "easy"}, seed=2)) == [
        ("tiny (train.momentum=0.5)", (2,)), ("tiny (train.momentum=null)", (1,))
    ]  # fmt: skip


def test_the_facts_are_plain_values_whatever_a_record_holds() -> None:
    config = config_with()
    config["train"] = {**config["train"], "lr": float("inf")}
    assert facts(record_of(config))["train.lr"] == "inf"
    assert len(identity(record_of({"benchmark": "no such", "model": 3}))) == 16
