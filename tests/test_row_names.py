"""What rows and runs are called: short, and nothing different under one name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from leaderboards.board import OLDER, boards_of
from leaderboards.difference import differences
from leaderboards.exchange import harness_results, model_index
from leaderboards.export import FORMATS
from leaderboards.row_names import names_of
from leaderboards.runs import compare_runs, told_apart
from leaderboards.sample_data import run_label
from leaderboards.site import build_site
from tests.identity_records import config_with, record_of
from tests.synthetic_runs import make_record, make_run
from x2vlm.errors import RecordError

RANDOM: dict[str, Any] = {"weights_sha256": "random:tiny:1", "source_sha256": "random"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([{}, {}], ["tiny", "tiny"]),
        ([{}, {"train.lr": 3e-5}], ["tiny (train.lr=0.0001)", "tiny (train.lr=3e-5)"]),
        ([{}, {"train.workers": 8, "predict.batch_size": "auto"}], ["tiny", "tiny"]),
        ([{}, {"model.label": "mine"}], ["tiny", "tiny (mine)"]),
        ([{"model.label": "x"}, {"model.label": "x", "train.ema": 0.9}],
         ["tiny (x, train.ema=0)", "tiny (x, train.ema=0.9)"]),
        ([{}, {"train.lr": 3e-5}, {"train.lr": 3e-5, "train.eps": 1e-6}],
         ["tiny (train.lr=0.0001, train.eps=1e-8)", "tiny (train.lr=3e-5, train.eps=1e-8)",
          "tiny (train.lr=3e-5, train.eps=1e-6)"]),
        ([{}, {"options": {"k": 64}}], ["tiny (options.k=null)", "tiny (options.k=64)"]),
        ([{}, {"model.temporal_positions": False}],
         ["tiny (model.temporal_positions=true)", "tiny (model.temporal_positions=false)"]),
    ],
)  # fmt: skip
def test_settings_are_named_as_a_user_writes_them(
    changes: list[dict[str, Any]], names: list[str]
) -> None:
    records = []
    for number, change in enumerate(changes):
        config = config_with()
        for name, value in change.items():
            section, _, key = name.rpartition(".")
            (config[section] if section else config)[key] = value
        records.append(record_of(config, seed=number))
    assert names_of(records) == names


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        ([("a", "runs/one/model.safetensors"), ("b", "runs/two")], ["tiny (one)", "tiny (two)"]),
        ([("a", "x/one/w.th"), ("b", "y/one/w.th")], ["tiny (x/one/w.th)", "tiny (y/one/w.th)"]),
        ([("a", "w.th"), ("a", "copy.th")], ["tiny", "tiny"]),
        ([("a", "w.th"), ("b", "w.th")], ["tiny (w.th aaaaaaaa)", "tiny (w.th bbbbbbbb)"]),
        ([("a", ""), ("b", "w.th")], ["tiny", "tiny (w.th)"]),
        ([("a", ""), ("b", "")], ["tiny (weights aaaaaaaa)", "tiny (weights bbbbbbbb)"]),
    ],
)
def test_checkpoints_are_named_by_the_end_of_their_path(
    sources: list[tuple[str, str]], names: list[str]
) -> None:
    records = [
        record_of(config_with("model.checkpoint", path), seed=number,
                  model={"source_sha256": sha * 64, "checkpoint": path or "shipped"})
        for number, (sha, path) in enumerate(sources)
    ]  # fmt: skip
    assert names_of(records) == names


def test_every_format_of_a_board_has_the_rows() -> None:
    records = [make_record(value=70.0), make_record(value=5.0, model=RANDOM)]
    table = next(t for t in boards_of(records) if t.board.name == "understanding")
    assert [row.model for row in table.rows] == ["tiny", "tiny (random weights)"]
    for kind, (_, write) in FORMATS.items():
        assert "tiny (random weights)" in write(table), kind


def test_an_older_version_of_a_benchmark_is_marked_and_takes_no_rank() -> None:
    old = make_record(value=90.0, seed=1)
    new = [make_record(value=v, seed=2, benchmark_version=2, model={"name": n})
           for n, v in (("tiny", 70.0), ("base", 60.0))]  # fmt: skip
    table = next(t for t in boards_of([old, *new]) if t.board.name == "overview")
    (column,) = table.columns
    found = {row.model: (row.cells[column].rank, row.cells[column].state) for row in table.rows}
    assert found == {"tiny (version 1)": (None, OLDER), "tiny": (1, ""), "base": (2, "")}
    assert "older version of the benchmark" in FORMATS["md"][1](table)


def test_a_number_of_an_older_version_is_not_compared_with_the_papers() -> None:
    model = {"name": "base", "pretraining": "4M"}
    records = [make_record("nlvr2", suite="official", value=86.0, model=model, seed=version,
                           benchmark_version=version) for version in (1, 2)]  # fmt: skip
    table = next(t for t in boards_of(records) if t.board.name == "understanding")
    found = {one.model: one.verdict for one in differences(table)}
    assert found == {"base (version 1)": "not comparable", "base": "reproduced"}


def test_one_results_file_holds_no_trained_and_random_model() -> None:
    runs = [make_run("answering", n=4), make_run("grounding", n=4, model=RANDOM)]
    with pytest.raises(RecordError, match=r"models \['tiny', 'tiny \(random weights\)'\]"):
        harness_results(runs)


def test_a_card_says_which_row_a_result_is_of() -> None:
    records = [make_record(), make_record(model=RANDOM)]
    (card,) = yaml.safe_load(model_index(records, "me")[0])["model-index"]
    models = [metric["args"]["model"] for result in card["results"] for metric in result["metrics"]]
    assert sorted(models) == ["tiny", "tiny (random weights)"]


def test_runs_of_one_folder_name_are_told_apart() -> None:
    runs = [make_run("answering", n=3, name="run") for _ in range(4)]
    paths = ["a/run/record.json", "b/run/record.json", "", "c/Run/record.json"]
    runs = [
        dataclasses.replace(run, record=dataclasses.replace(run.record, path=path))
        for run, path in zip(runs, paths, strict=True)
    ]
    assert [run.name for run in told_apart(runs)] == ["a/run", "b/run", "run", "c/Run"]
    assert [run.name for run in told_apart(runs[:1])] == ["run"]
    assert [run.name for run in told_apart([runs[2], runs[2]])] == ["run", "run-2"]


def test_a_comparison_of_two_runs_of_one_name_names_both(tmp_path: Path) -> None:
    runs = [make_run("answering", tmp_path / side, name="run", seed=s)
            for s, side in enumerate(("a", "b"))]  # fmt: skip
    found = compare_runs([[run] for run in runs])
    assert {(one.name_a, one.name_b) for one in found} == {("a/run", "b/run")}


def test_the_site_tells_a_random_model_from_the_trained_one(tmp_path: Path) -> None:
    runs = [make_run("answering", tmp_path / "runs", n=4, name="trained"),
            make_run("answering", tmp_path / "runs", n=4, name="random", model=RANDOM)]  # fmt: skip
    build_site(runs, tmp_path / "site")
    for page in ("index", "run-random", "benchmark-vqav2", "board-mini-overview"):
        text = (tmp_path / "site" / f"{page}.html").read_text(encoding="utf-8")
        assert "tiny (random weights)" in text, page
    (index,) = (tmp_path / "site" / "data").glob("*/index.js")
    menu = json.loads(index.read_text().partition(",")[2].rstrip()[:-2])["runs"]
    assert len({run["label"].partition(" · ")[0] for run in menu}) == 2
    assert run_label(told_apart(runs)[1]).startswith("tiny (random weights) · ")
