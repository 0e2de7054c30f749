"""Jobs by submitit: run, fail with their command, save before they are queued again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from x2vlm.errors import ConfigError
from x2vlm.train.launch import Command, submit


def test_a_job_runs_the_command(tmp_path: Path) -> None:
    job = submit(["list", "--help"], tmp_path, "local", timeout_min=2)
    assert job.result() == 0
    assert job.stdout() is not None
    assert (tmp_path / "jobs").is_dir()


def test_a_failed_command_fails_the_job(tmp_path: Path) -> None:
    job = submit(["no-such-command"], tmp_path, "local", timeout_min=2)
    assert "x2vlm no-such-command ended with status" in str(job.exception())


def test_unknown_executors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are slurm and local"):
        submit([], tmp_path, "torque")


def test_words_of_one_and_of_many_processes() -> None:
    assert Command(("run", "a=1")).words() == [sys.executable, "-m", "x2vlm", "run", "a=1"]
    words = Command(("run",), processes=8).words()
    assert words[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nnodes=1"]
    assert "--nproc-per-node=8" in words


TRAP = """
import signal, sys
from pathlib import Path
def save(*_):
    Path(sys.argv[1]).write_text("saved")
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
signal.pause()
"""


def test_a_preempted_job_saves_and_is_queued_again(tmp_path: Path) -> None:
    command = Command(("run", "a=1"), processes=2)
    with subprocess.Popen(
        [sys.executable, "-c", TRAP, str(tmp_path / "state")], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        command.child = child.pid
        again = command.checkpoint()
    assert (tmp_path / "state").read_text() == "saved"
    assert again.function == Command(("run", "a=1"), processes=2)
