"""One command at a time writes to a folder, and what a killed one left is removed by the next."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from x2vlm.errors import BusyError, WritingError
from x2vlm.locking import LOCK, held, owned
from x2vlm.writing import half_written, remove_unfinished, whole, write_atomically

TOP = Path(__file__).parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from x2vlm.locking import owned
from x2vlm.writing import whole
with owned(Path(sys.argv[1])):
    with whole(Path(sys.argv[1]) / "model.safetensors") as beside:
        beside.write_bytes(b"half of it")
        print("ready", flush=True)
        time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that owns the folder, in the middle of writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), "name=first"],
        cwd=TOP,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_second_command_says_who_the_first_is_and_a_killed_one_leaves_nothing(
    tmp_path: Path,
) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(BusyError) as caught, owned(tmp_path):
            pytest.fail("both own it")
        for what in (str(tmp_path), f"process {process.pid}", os.uname().nodename, "since 20",
                     "name=first", "to do: wait for it"):  # fmt: skip
            assert what in str(caught.value)
        half = half_written(tmp_path / "model.safetensors")
        assert half.read_bytes() == b"half of it"  # not removed under its owner's hands
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert half.exists()
        with owned(tmp_path):
            assert names(tmp_path) == {LOCK, f"{LOCK}.json"}
    assert names(tmp_path) == {LOCK}


def test_the_owner_may_enter_again(tmp_path: Path) -> None:
    with owned(tmp_path):
        with owned(tmp_path / "." / "x" / ".."):
            pass
        assert (tmp_path / f"{LOCK}.json").exists()
        note = json.loads((tmp_path / f"{LOCK}.json").read_text())
        assert note["pid"] == os.getpid()
    with owned(tmp_path):
        pass


def test_leftovers_of_older_versions_and_in_checkpoints_are_removed(tmp_path: Path) -> None:
    kept = ("log.txt", ".netrc", "checkpoints/step-00000002/state.pt", "predictions.part/a.jsonl")
    gone = (
        ".model.safetensors.writing",
        ".model.safetensors.4711",
        ".train.done.json.12",
        "checkpoints/.step-00000004.writing/a",
        "checkpoints/.writing-step-00000004/a",
    )
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    beside = tmp_path.parent / f"{tmp_path.name}.safetensors"
    half_written(beside).write_text("x")
    with owned(tmp_path, beside):
        assert all((tmp_path / name).exists() for name in kept)
        assert not any((tmp_path / name).exists() for name in gone)
        assert not half_written(beside).exists()


def test_waiting_for_the_lock(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path) as process:
        script = f"import os, time; time.sleep(2); os.kill({process.pid}, {int(signal.SIGKILL)})"
        with (
            subprocess.Popen([sys.executable, "-c", script]),
            held(tmp_path / LOCK, "the world", wait=True, say=said.append),
        ):
            assert process.wait() == -signal.SIGKILL
    assert len(said) == 1
    assert "the world: waiting for process" in said[0]


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", fails)
    with caplog.at_level(logging.WARNING, "x2vlm"), owned(tmp_path):
        write_atomically(tmp_path / "a", "b")
    assert "cannot lock files" in caplog.text
    assert "No locks available" in caplog.text
    assert "out=DIR" in caplog.text


def fail(path: Path, error: Exception) -> None:
    """An error while the file is being written."""
    with whole(path) as beside:
        beside.write_text("half")
        raise error


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "one")
    with pytest.raises(ZeroDivisionError):
        fail(path, ZeroDivisionError())
    assert path.read_text() == "one"
    assert names(path.parent) == {"a.txt"}


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("No space left on device")]
)
def test_a_full_disk_is_one_error_whoever_notices(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(WritingError, match=r"a\.txt could not be written \(No space left") as got:
        fail(tmp_path / "a.txt", error)
    assert "the same command then resumes" in str(got.value)
    assert names(tmp_path) == set()


def test_only_temporary_names_are_removed(tmp_path: Path) -> None:
    for name in ("a.writing", ".a.writing", ".hidden", "b.json.12", ".b.json.12", ".c.12"):
        (tmp_path / name).write_text("x")
    remove_unfinished(tmp_path)
    assert names(tmp_path) == {"a.writing", ".hidden", "b.json.12", ".c.12"}
