"""Ctrl-C and SIGTERM: saved and said, resumed bit-equal; a second Ctrl-C at once; exit statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests import small, toy
from tests.stoppable import CONFIG, TOTAL
from x2vlm import cli
from x2vlm.data.workers import Groups, Loaded, Loader
from x2vlm.errors import Stopped
from x2vlm.stopping import keeping
from x2vlm.train import state
from x2vlm.train.trainer import train
from x2vlm.types import Batch

TOP = Path(__file__).parents[1]
MODULE = ("-m", "tests.stoppable")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *MODULE)


def start(
    folder: Path, seconds: float, words: Sequence[str] = MODULE, until: int = 3
) -> subprocess.Popen[str]:
    """The toy in training, in a process group of its own; returns when that step begins."""
    process = subprocess.Popen(
        [sys.executable, *words, str(folder), str(seconds)],
        cwd=TOP,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"step {until}"):
            break
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_once_the_state_is_saved_and_resumed_bit_equal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with start(tmp_path / "run", 0.5) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in out + err
    found = state.Checkpoints(tmp_path / "run", 2, print).latest()
    assert found is not None
    assert 3 <= found.step < TOTAL
    assert f"x2vlm train: stopped, saved at step {found.step} of {TOTAL}, the same" in err
    resumed, whole = toy.task(seed=1), toy.task()
    for task, folder in ((resumed, "run"), (whole, "whole")):
        assert train(task, toy.Batches(), CONFIG, tmp_path / folder, total_steps=TOTAL).finished
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with start(tmp_path / "run", 30, until=1) as process:
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "again: at once" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 20
    assert process.returncode == 128 + signal.SIGINT
    assert "stopped, at once: nothing is saved, the same command resumes" in err


@pytest.mark.slow
def test_ctrl_c_under_torchrun_saves_once_for_all(tmp_path: Path) -> None:
    """The terminal sends it to every process, and torchrun sends it on to them once more."""
    with start(tmp_path / "run", 1.0, TORCHRUN) as process:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert "saved at step" in out + err
    found = state.Checkpoints(tmp_path / "run", 2, print).latest()
    assert found is not None
    assert len(found.state["processes"]) == 2
    assert not (tmp_path / "run" / ".lock.json").exists()


def raising(stop: BaseException) -> int:
    """The exit status of a command that ends so."""

    def command(_: list[str]) -> int:
        raise stop

    from types import ModuleType

    module = ModuleType("x2vlm.cli.raising")
    module.command = command  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "x2vlm.cli.raising", module)
        patched.setitem(cli.COMMANDS, "list", cli.Command("", "", "raising:command"))
        return cli.main(["list"])


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        (KeyboardInterrupt(), 130),
        (Stopped("saved", signal.SIGINT), 130),
        (Stopped("saved", signal.SIGTERM), 143),
    ],
)
def test_exit_statuses(
    stop: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(stop) == status
    assert "stopped" in capsys.readouterr().err


def signalled(code: str, number: int, *words: str) -> tuple[int, str]:
    """Exit status and stderr of Python code that gets the signal when it prints "ready"."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                process.send_signal(number)
        _, err = process.communicate(timeout=60)
    return process.returncode, err


PREDICTING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from benchmarks import run
from x2vlm import cli
def slow(*_):
    print("ready", flush=True)
    time.sleep(60)
run.Asking.write = slow
sys.exit(cli.main(["run", *sys.argv[1:]]))
"""


def own_data(folder: Path) -> Path:
    """Six pictures with a caption each, to train and to test on."""
    rows = []
    for number, colour in enumerate(small.COLOURS):
        (folder / f"{number}.png").write_bytes(small.picture(number, colour).inline[0])
        rows.append({"image": f"{number}.png", "caption": f"a {colour} square"})
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_ctrl_c_while_predicting_says_that_training_is_kept(tmp_path: Path) -> None:
    words = ["benchmark=own_retrieval:x", f"data={own_data(tmp_path)}", f"out={tmp_path}"]
    words += ["name=run", "model=tiny", "train.steps=1", "train.batch_size=6", "device=cpu"]
    status, err = signalled(PREDICTING, signal.SIGINT, *words)
    assert status == 130
    assert "x2vlm run: stopped, training and predictions so far are kept, the same command" in err
    assert "Traceback" not in err
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert "stopped: training and predictions" in (tmp_path / "run" / "log.txt").read_text()
    assert not list((tmp_path / "run").glob(".*.writing"))


def test_sigterm_outside_of_training_ends_the_command_as_ctrl_c_does() -> None:
    code = (
        "import sys, time; from x2vlm import cli; from x2vlm.cli import commands\n"
        "def slow(_):\n    print('ready', flush=True)\n    time.sleep(30)\n"
        "commands.list_all = slow\nsys.exit(cli.main(['list']))"
    )
    status, err = signalled(code, signal.SIGTERM)
    assert status == 143
    assert err == "x2vlm list: stopped, the same command resumes\n"


def test_what_is_kept_is_said_whatever_stopped_it() -> None:
    for stop, number in ((KeyboardInterrupt(), 2), (Stopped("", signal.SIGTERM), 15)):
        with (
            pytest.raises(Stopped, match="training is kept") as caught,
            keeping("training is kept"),
        ):
            raise stop
        assert caught.value.number == number


def disposition(_: int) -> Loaded:
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    return Loaded(Batch(("ignored" if ignored else "not",)), [])


def test_worker_processes_outlive_ctrl_c() -> None:
    """A terminal sends it to them, too, and the step that is saved needs them."""
    loaded = next(iter(Loader(1).run(Groups(1, disposition))))
    assert loaded.batch is not None
    assert loaded.batch.ids == ("ignored",)
    assert torch.utils.data.get_worker_info() is None
