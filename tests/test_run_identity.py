"""The identity of real runs: what their records hold, and seeds of weights made with the seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.identity import facts, identity
from benchmarks.mini.suite import write_world
from benchmarks.record import ResultRecord
from leaderboards.aggregate import long_table, over_seeds
from x2vlm.cli import main

TINY = ["benchmark=nlvr2", "device=cpu", "train.epochs=null", "train.steps=1",
        "train.batch_size=4", "limit=4"]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "mini"
    write_world(root, scale=0.02, parts=("nlvr2",))
    return root


def run(world: Path, out: Path, name: str, *words: str) -> ResultRecord:
    assert main(["run", *TINY, f"data={world}", f"out={out}", f"name={name}", *words]) == 0
    return ResultRecord.read(out / name / "record.json")


def test_runs_that_differ_in_nothing_but_seed_and_workers_are_seeds(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = [
        run(world, tmp_path, f"s{seed}", f"seed={seed}", *more)
        for seed, more in ((1, []), (2, ["predict.workers=1", "train.log_every=1"]))
    ]
    from x2vlm.weights import find_weights, source_sha256

    for record in tuned:
        assert record.model["source_sha256"] == source_sha256(find_weights("tiny"))
        assert record.model["weights_sha256"] != record.model["source_sha256"]
        assert record.data["train_split"] == "train"
        assert len(record.data["train_fingerprint"]) == 64
        assert record.identity == identity(record)
        assert None not in [facts(record)[name] for name in ("source", "data", "train_data")]
    assert tuned[0].identity == tuned[1].identity

    random = run(world, tmp_path, "random", "seed=3", "model.random=true")
    assert random.model["source_sha256"] == "random"
    other = run(world, tmp_path, "lr", "seed=3", "train.lr=3e-5", "model.label=slow")
    cells = over_seeds(long_table([*tuned, random, other], ("limited", "dirty")).rows)
    cells = cells[cells["metric"] == "accuracy"]
    assert dict(zip(cells["model"], cells["seeds"], strict=True)) == {
        "tiny": (1, 2), "tiny (random weights)": (3,), "tiny (slow)": (3,)
    }  # fmt: skip

    evaluated = [
        run(world, tmp_path, f"dev-s{seed}", f"seed={seed}", "split=dev", "protocol=evaluate",
            f"checkpoint={tmp_path / f's{seed}'}", *seeded)
        for seed, seeded in ((1, ["model.seeded=true"]), (2, ["model.seeded=true"]))
    ]  # fmt: skip
    assert evaluated[0].model["source_sha256"] != evaluated[1].model["source_sha256"]
    assert evaluated[0].identity == evaluated[1].identity
    capsys.readouterr()
    words = [*TINY, f"data={world}", f"out={tmp_path}", "name=x", "protocol=evaluate",
             "model.seeded=true"]  # fmt: skip
    assert main(["run", *words, "seed=9", f"checkpoint={tmp_path / 's1'}"]) == 1
    assert "is of seed 1, and this run of 9" in capsys.readouterr().err
    (tmp_path / "s1" / "train.done.json").write_text("[]", encoding="utf-8")
    assert main(["run", *words, "seed=1", f"checkpoint={tmp_path / 's1'}"]) == 1
    assert "not the note of a training" in capsys.readouterr().err
    assert main(["run", *words, "seed=1", "model.random=true"]) == 1
    assert "starts from random weights" in capsys.readouterr().err
