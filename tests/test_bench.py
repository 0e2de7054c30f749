"""The bench runs, and what it prints agrees with itself."""

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> list[list[str]]:
    command = [sys.executable, "-m", "tests.bench", "--size", "tiny", "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, *arguments], cwd=TOP, capture_output=True, text=True, check=True
    )
    return [line.split(" | ") for line in done.stdout.splitlines()]


def test_every_path_runs_and_agrees_with_its_twin(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n", encoding="utf-8")
    head, *rows = run("--out", str(page))
    assert {row[0].split(",")[0] for row in rows} >= {
        "re-ranking", "answer ranking", "captioning", "texts", "images"
    }  # fmt: skip
    for row in rows:
        assert len(row) == len(head)
        assert float(row[2]) > 0
        if row[1] != "—" and "bfloat16" not in row[0] and "equal" not in row[-1]:
            assert float(row[-1]) < 1e-4, row
    (captions,) = [row for row in rows if row[0].startswith("captioning")]
    assert captions[-1] == "2 of 2 captions equal"
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n<!-- bench -->\nCommand: `python -m tests.bench")
    assert written.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in written
