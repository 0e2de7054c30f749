"""The ablation: every variant and seed as a job, one table that says what the records say."""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.mini.suite import write_world
from benchmarks.record import ResultRecord
from tests.inline_jobs import run_here
from x2vlm.cli import ablation, main
from x2vlm.cli.ablation import AblationPlan, ablate, ablation_plan
from x2vlm.cli.compose import compose
from x2vlm.cli.jobs import Job
from x2vlm.errors import ConfigError
from x2vlm.model import checkpoint


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "mini"
    write_world(root, scale=0.02, parts=("pretrain", "nlvr2", "msrvtt"))
    return root


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs in the order in which they were run: in this process, for speed."""
    ran: list[Job] = []

    def recorded(jobs: Sequence[Job], count: int) -> list[Job]:
        ran.extend(jobs)
        return run_here(jobs, count)

    monkeypatch.setattr(ablation, "run_jobs", recorded)
    return ran


def chosen(*words: str) -> AblationPlan:
    return ablation_plan(compose(["experiment=ablation", *words]))


def cells_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """(pre-training, cells) of each row of a Markdown board."""
    for line in text.splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if line.startswith("| tiny"):
            yield parts[1], parts[3:]


@pytest.mark.slow
def test_the_table_says_what_the_records_say(world: Path, tmp_path: Path, done: list[Job]) -> None:
    words = [f"data={world}", f"out={tmp_path}", "device=cpu", "ablation.steps=1", "limit=8",
             "ablation.places_first=0",
             "ablation.fine_tune_steps=1", "ablation.seeds=[1,2]",
             "ablation.benchmarks=[nlvr2,msrvtt_retrieval]"]  # fmt: skip
    plan = chosen(*words)
    names = ("full", "without temporal positions")
    plan = replace(plan, variants={name: plan.variants[name] for name in names})
    assert ablate(plan, ["experiment=ablation"]) == 0
    assert len(done) == 4 + 2 * (2 + 1)

    values: dict[tuple[str, str], list[float]] = {}
    for path in sorted(plan.folder.rglob("record.json")):
        record = ResultRecord.read(path)
        value = record.metrics[record.headline].value
        assert value is not None
        variant = record.model["pretraining"].removeprefix("ablation: ")
        values.setdefault((variant, record.benchmark), []).append(value)
    text = (plan.folder / "ablation.md").read_text()
    rows = list(cells_of(text))
    assert [variant for variant, _ in rows] == [f"ablation: {name}" for name in names]
    columns = sorted({benchmark for _, benchmark in values})
    for variant, cells in rows:
        for benchmark, cell in zip(columns, cells, strict=True):
            found = values.get((variant.removeprefix("ablation: "), benchmark))
            if found is None:
                assert cell == ""
                continue
            wanted = f"{statistics.mean(found):.2f} ± {statistics.stdev(found):.2f} (2)"
            assert re.sub(r"</?u>|[*†‡▽]", "", cell) == wanted
    assert rows[1][1].count("") == 1  # plain frames are a matter of videos alone
    with (plan.folder / "ablation.csv").open(encoding="utf-8") as file:
        assert len(list(csv.reader(file))) > len(names)
    plain = checkpoint.load(plan.folder / "without-temporal-positions-s1.safetensors").model
    tuned = plan.run("without temporal positions", 1, "msrvtt_retrieval").log
    assert plain.config.frames == 0
    assert checkpoint.load(tuned.with_name("model.safetensors")).model.config.frames == 0
    assert checkpoint.load(plan.folder / "full-s2.safetensors").model.config.frames == 3

    before = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*.safetensors")}
    assert ablate(plan, ["experiment=ablation"]) == 0
    assert {p: p.stat().st_mtime_ns for p in plan.folder.rglob("*.safetensors")} == before


def test_every_variant_seed_and_benchmark_is_a_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[Job]] = []

    def note(jobs: Sequence[Job], count: int) -> list[Job]:
        assert count == 3
        asked.append(list(jobs))
        return [job for job in jobs if job.name == "pre-training without both, seed 2"]

    monkeypatch.setattr(ablation, "run_jobs", note)
    failing = tmp_path / "ablation" / "without-both-s2" / "console.txt"
    failing.parent.mkdir(parents=True)
    failing.write_text("it rained")
    assert main(["run", "experiment=ablation", f"out={tmp_path}", "data=d", "ablation.jobs=3"]) == 1
    said = capsys.readouterr()
    assert "it rained" in said.err
    assert "no record yet" in said.out
    pretrainings, runs = asked
    assert len(pretrainings) == 5 * 3
    assert len(runs) == 3 * (4 * 4 + 1) - 4  # what the failed one would have served
    assert len({job.log for job in (*pretrainings, *runs)}) == len(pretrainings) + len(runs)
    words = next(j for j in runs if j.name == "msrvtt_retrieval without both, seed 3").words
    assert "model.pretraining=ablation: without both" in words
    assert f"checkpoint={tmp_path / 'ablation' / 'without-both-s3.safetensors'}" in words


@pytest.mark.parametrize("variant", ["full", "without both", "without temporal positions"])
def test_the_words_of_the_jobs_compose(variant: str) -> None:
    from x2vlm.cli.compose import plan, pretrain_plan

    made = chosen("ablation.steps=407", "ablation.fine_tune_steps=9")
    trained = pretrain_plan(compose(made.pretraining(variant, 2).words[1:]))
    assert (trained.train.steps, trained.train.seed) == (7 if variant == "without both" else 407, 2)
    assert min(stream.start for stream in trained.used_streams().values()) == 0
    captions = trained.used_streams()["images"].start
    assert trained.train.steps - captions == 7, "every variant sees as many captions"
    assert trained.localise == trained.align_regions == (variant != "without both")
    assert trained.temporal_positions == (variant != "without temporal positions")
    tuned = plan(compose(made.run(variant, 2, "msrvtt_retrieval").words[1:]))
    assert (tuned.train.steps, tuned.seed) == (9, 2)
    assert tuned.model.pretraining == f"ablation: {variant}"
    assert tuned.model.temporal_positions == trained.temporal_positions
    assert Path(tuned.model.checkpoint).stem == trained.name


def test_a_variant_that_nothing_evaluates_is_not_trained() -> None:
    cells = chosen("ablation.benchmarks=[nlvr2]", "ablation.seeds=[4]").cells()
    assert len(cells) == 4
    assert ("without temporal positions", 4) not in cells


def test_wrong_settings_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'nlvr2'"):
        chosen("ablation.benchmarks=[nlvr]")
    with pytest.raises(ConfigError, match=r"ablation.seeds must be a list .*not empty"):
        chosen("ablation.seeds=[]")
    with pytest.raises(ConfigError, match="about places alone"):
        chosen("ablation.steps=400")
    assert main(["train", "experiment=ablation"]) == 1
    assert "x2vlm run experiment=ablation" in capsys.readouterr().err
