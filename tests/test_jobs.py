"""Commands as processes: each logged, failures told apart, none left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from x2vlm.cli.jobs import Job, run_jobs

WAITING = """
import os, signal, sys, threading, time
from pathlib import Path
from x2vlm.cli import jobs
class Slow(jobs.Job):
    def start(self, environment):
        code = "import time; print('started', flush=True); time.sleep(60)"
        with self.log.open("wb") as log:
            return jobs.subprocess.Popen([sys.executable, "-c", code], stdout=log, env=environment)
log = Path(sys.argv[1])
def ask():
    while not log.exists() or "started" not in log.read_text():
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=ask, daemon=True).start()
try:
    jobs.run_jobs([Slow("slow", (), log)], 1)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_jobs_are_run_logged_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [
        Job("help", ("--help",), tmp_path / "a" / "console.txt"),
        Job("wrong", ("no-such-command",), tmp_path / "b" / "console.txt"),
        Job("more help", ("run", "--help"), tmp_path / "c" / "console.txt"),
    ]
    failed = run_jobs(jobs, 2)
    assert failed == [jobs[1]]
    assert "x2vlm COMMAND" in jobs[0].log.read_text()
    assert "benchmark=" in jobs[2].log.read_text()
    assert "no-such-command" in failed[0].ending()
    told = capsys.readouterr().out
    assert told.count(": done, ") == 2
    assert "wrong: FAILED" in told
    assert "[3/3]" in told


def test_a_terminated_suite_leaves_no_process_behind(tmp_path: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", WAITING, str(tmp_path / "log")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "interrupted"
    assert time.monotonic() - started < 50  # the child was stopped, not waited for


def test_the_handler_of_before_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_jobs([], 1) == []
    assert signal.getsignal(signal.SIGTERM) == before
