"""Errors of libraries and full disks end a command with one line; the traceback is in the log."""

from __future__ import annotations

import builtins
import errno
import json
import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.prediction_writer import Writer, merge
from tests import small, toy
from x2vlm import cli
from x2vlm.cli.failures import DEBUG
from x2vlm.cli.report import start_log
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.data.workers import Groups, Loaded, Loader
from x2vlm.errors import ConfigError, WritingError
from x2vlm.model import checkpoint
from x2vlm.train.trainer import train
from x2vlm.types import Batch, Record

TOP = Path(__file__).parents[1]
PLAN = Plan("vqav2", ModelChoice(), DataConfig(), TrainConfig(steps=1), PredictConfig())


def killed_worker() -> Exception:
    """The error of a loader whose worker process was killed."""

    def die(_: int) -> Loaded:
        os.kill(os.getpid(), 9)
        return Loaded(Batch(()), [])

    with pytest.raises(RuntimeError) as caught:
        next(iter(Loader(1).run(Groups(1, die))))
    return caught.value


def nested() -> Exception:
    with pytest.raises(RecursionError) as caught:
        json.loads("[" * 10**6)
    return caught.value


CASES: dict[str, tuple[Callable[[], Exception], str]] = {
    "safetensors": (lambda: SafetensorError("header too large"), "SafetensorError: header too"),
    "worker": (killed_worker, "a worker process that reads data was killed"),
    "peer": (
        lambda: RuntimeError("[/pytorch/third_party/gloo] Connection closed by peer [127.0.0.1]"),
        "another process of this run ended",
    ),
    "peer of torch": (lambda: torch.distributed.DistBackendError("NCCL error"), "another process"),
    "memory": (lambda: MemoryError(), "out of memory (MemoryError)"),
    "memory of the GPU": (lambda: torch.OutOfMemoryError("CUDA out of memory."), "out of memory"),
    "import": (lambda: ImportError("numpy.core failed"), "a package cannot be imported"),
    "recursion": (nested, "something is nested too deeply"),
    "disk": (lambda: OSError(errno.ENOSPC, "No space left on device"), "No space left on device\n"),
    "file": (lambda: PermissionError(13, "Permission denied", "a.json"), "a.json: Permission"),
}


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """The exit status of a command that raises the error, with a log or without."""

    def run(error: Exception, logged: bool = True) -> int:
        def command(_: list[str]) -> int:
            if not logged:
                raise error
            with start_log(tmp_path, PLAN):
                raise error

        module = ModuleType("x2vlm.cli.failing")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "x2vlm.cli.failing", module)
        monkeypatch.setitem(cli.COMMANDS, "run", cli.Command("", "", "failing:command"))
        return cli.main(["run"])

    return run


@pytest.mark.parametrize("name", CASES)
def test_an_error_of_a_library_is_one_line(
    name: str, fail: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, expected = CASES[name]
    error = made()
    assert fail(error) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("x2vlm run: ")
    assert expected in err
    assert f"its traceback is in {tmp_path / 'log.txt'}" in err
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in log
    assert type(error).__name__ in log


def test_a_fault_of_the_program_is_named_and_not_hidden(
    fail: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fail(KeyError("colour")) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "unexpected KeyError: 'colour'" in err
    assert "its traceback is in" in err
    assert fail(KeyError("colour"), logged=False) == 1  # where no log has it
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.rstrip().splitlines()[-2] == "x2vlm run: unexpected KeyError: 'colour'"
    assert fail(MemoryError(), logged=False) == 1
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv(DEBUG, "1")
    assert fail(MemoryError()) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_our_own_errors_need_no_traceback(
    fail: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(ConfigError("a=b is wrong")) == 1
    assert capsys.readouterr().err == "x2vlm run: a=b is wrong\n"
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "stopped: a=b is wrong" in log
    assert "Traceback" not in log


def test_a_matplotlib_that_cannot_be_imported_costs_the_plot_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError("numpy.core.multiarray failed to import")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", broken)
    lines: list[str] = []
    config = TrainConfig(steps=2, batch_size=6, drop_path=0.0)
    done = train(toy.task(), toy.Batches(), config, tmp_path, total_steps=2, log=lines.append)
    assert done.finished
    assert any("loss.png could not be drawn (ImportError: numpy" in line for line in lines)


# -- full disks ------------------------------------------------------------------------------


@pytest.fixture
def full_after() -> Iterator[Callable[[int], None]]:
    """No file may become larger than so many bytes: what libraries see of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_final_weights_on_a_full_disk(tmp_path: Path, full_after: Callable[[int], None]) -> None:
    out = tmp_path / "model.safetensors"
    full_after(20_000)
    with pytest.raises(WritingError, match=r"model\.safetensors could not be written") as caught:
        checkpoint.save(small.model("box"), out)
    assert "free some space" in str(caught.value)
    assert left(tmp_path) == []


def test_predictions_on_a_full_disk(tmp_path: Path, full_after: Callable[[int], None]) -> None:
    rows = [{"id": str(n), "caption": "a" * 100} for n in range(20)]
    path = tmp_path / "captions.jsonl"
    full_after(1000)

    def write() -> None:
        with Writer(path, "captioning") as writer:
            for row in rows:
                writer.write(row)

    with pytest.raises(WritingError, match=r"captions\.jsonl\.part could not be written"):
        write()
    assert left(tmp_path) == ["captions.jsonl.part"]
    full_after(1_000_000)
    with Writer(path, "captioning") as writer:
        assert 0 < len(writer.done) < 20
        for row in rows:
            if (row["id"], "") not in writer.done:
                writer.write(row)
    full_after(1000)
    records = [Record(row["id"], (), ("",)) for row in rows]
    with pytest.raises(WritingError, match=r"merged\.jsonl could not be written"):
        merge(tmp_path / "merged.jsonl", "captioning", records, [path])
    assert left(tmp_path) == ["captions.jsonl"]


def test_a_log_on_a_full_disk_is_cut_short_without_tracebacks(
    tmp_path: Path, full_after: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with start_log(tmp_path, PLAN):
        full_after((tmp_path / "log.txt").stat().st_size + 100)
        for _ in range(5):
            logging.getLogger("x2vlm").info("x" * 60)
    err = capsys.readouterr().err
    assert err.count("x" * 60) == 5
    assert "Logging error" not in err


PEER = """
import os, sys
import torch.distributed as dist
from x2vlm import cli, distributed
def command(words):
    with distributed.processes():
        distributed.barrier()
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), 9)
        distributed.all_gather_objects(1)
cli.COMMANDS["run"] = cli.Command("", "", "peer:command")
sys.modules["x2vlm.cli.peer"] = sys.modules["__main__"]
sys.exit(cli.main(["run"]))
"""


@pytest.mark.slow
def test_a_process_whose_peer_was_killed_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", PEER], cwd=TOP, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]  # fmt: skip
    _, err = ranks[0].communicate(timeout=120)
    ranks[1].communicate(timeout=120)
    assert ranks[1].returncode == -9
    assert ranks[0].returncode == 1
    assert "another process of this run ended or cannot be reached" in err
    assert "Traceback" not in err
