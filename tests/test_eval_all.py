"""The main job in one process on a small world: runs, table, boards, gallery, site; then reuse."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from benchmarks.mini import home
from benchmarks.mini.suite import write_world
from benchmarks.record import ResultRecord
from tests.inline_jobs import run_here
from x2vlm.cli import suite


@pytest.fixture
def small_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to write to; jobs run in this process, on a world of a fiftieth."""
    monkeypatch.setenv("X2VLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(home, "write_world", partial(write_world, scale=0.02))

    monkeypatch.setattr(suite, "run_jobs", run_here)
    return tmp_path / "out"


@pytest.mark.slow
def test_the_suite_ends_with_table_boards_gallery_and_site(
    small_suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("winoground", "ovad")
    assert suite.run_suite(out=small_suite, only=names, device="cpu") == 0
    said = capsys.readouterr().out
    for name in names:
        record = ResultRecord.read(small_suite / f"mini-{name}-s42" / "record.json")
        measured = record.metrics[record.headline].value
        assert measured is not None
        assert f"| {measured:.2f} " in said
        assert (small_suite / "boards" / f"mini-{name}.csv").is_file()
    assert 'href="gallery.html"' in (small_suite / "site" / "index.html").read_text()
    explained = {path.parent.name for path in (small_suite / "explain").glob("*/sheet.png")}
    shown = {path.parent.name for path in (small_suite / "site" / "gallery").glob("*/sheet.png")}
    assert explained
    assert explained == {name.partition("-")[2] for name in shown}  # numbered in the site
    before = {path: path.stat().st_mtime_ns for path in small_suite.rglob("predictions.jsonl")}
    assert suite.run_suite(out=small_suite, only=names, device="cpu") == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(before) == len(names)
