"""launcher=submitit: settings are checked here, the job runs the same command elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.mini.suite import write_world
from benchmarks.record import ResultRecord
from x2vlm.cli import main
from x2vlm.train import launch

QUEUE = ["launcher=submitit", "cluster.executor=local", "cluster.timeout_min=3"]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is handed to `submit`, which runs nothing."""
    handed: list[tuple[Any, ...]] = []

    def submit(argv: list[str], folder: Path, **parameters: Any) -> Any:
        handed.append((argv, folder, parameters))
        return SimpleNamespace(job_id="7", paths=SimpleNamespace(stdout=folder / "7.out"))

    monkeypatch.setattr(launch, "submit", submit)
    return handed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it outlives us
def test_a_queued_run_ends_with_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_world(tmp_path / "world", scale=0.02, parts=("winoground",))
    words = ["benchmark=winoground", "model.random=true", "limit=4", "device=cpu", "name=run",
             f"data={tmp_path / 'world'}", f"out={tmp_path}", "predict.batch_size=4"]  # fmt: skip
    assert main(["run", *words, *QUEUE]) == 0
    said = capsys.readouterr().out
    assert "queued as job" in said
    deadline = time.monotonic() + 150
    while not list((tmp_path / "jobs").glob("*_result.pkl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ResultRecord.read(tmp_path / "run" / "record.json").limit == 4
    log = Path(said.rpartition("log: ")[2].strip())
    assert "written: " in log.read_text()


def test_the_job_is_told_everything_but_the_launcher(
    jobs: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    words = ["benchmark=nlvr2", "launcher=submitit", "cluster.processes=8", "seed=3",
             "cluster.slurm_partition=gpu", f"out={tmp_path}"]  # fmt: skip
    assert main(["train", *words]) == 0
    assert main(["train", "experiment=pretrain_mini_tiny", "launcher=submitit"]) == 0
    argv, folder, parameters = jobs[0]
    assert argv == ["train", "benchmark=nlvr2", "seed=3", f"out={tmp_path}", "launcher="]
    assert folder == tmp_path
    assert parameters == {"processes": 8, "slurm_partition": "gpu"}
    assert jobs[1][0] == ["train", "experiment=pretrain_mini_tiny", "launcher="]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launcher=submit"], "did you mean 'submitit'"),
        (["launcher=submitit", "train.batch_size=0"], "from 1 to"),
        ([*QUEUE, "cluster.slurm_partitions=gpu"], "Unknown argument 'partitions'"),
        ([*QUEUE, "cluster.nodes=2"], "only one node"),
        (["launcher=submitit", "cluster.executor=torque"], "there are slurm and local"),
    ],
)
def test_nothing_wrong_is_queued(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "benchmark=nlvr2", f"out={tmp_path}", *words]) == 1
    assert message in capsys.readouterr().err
