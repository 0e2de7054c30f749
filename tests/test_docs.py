"""README and docs are true: the table of files, the commands, the example of a benchmark."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from x2vlm.cli import COMMANDS

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")


def test_readme_lists_every_file() -> None:
    sys.path.insert(0, str(TOP / "tests"))
    import readme

    assert readme.rewritten(README) == README, "run: python -m tests.readme"


def test_commands_of_the_documents_exist() -> None:
    for path in (TOP / "README.md", *(TOP / "docs").glob("*.md")):
        for name in re.findall(r"^x2vlm ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name in COMMANDS, f"{path.name} names x2vlm {name}"


def test_sessions_of_the_readme_exist() -> None:
    sessions = (TOP / "noxfile.py").read_text(encoding="utf-8")
    for name in re.findall(r"nox -s ([a-z-]+)", README):
        assert f"def {name.replace('-', '_')}(" in sessions


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """The example of docs/adding-a-benchmark.md with data: plain images of three colours."""
    text = (TOP / "docs" / "adding-a-benchmark.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    (tmp_path / "colours.py").write_text(code.group(1), encoding="utf-8")
    shades = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}
    for split in ("train", "test"):
        lines = []
        for number in range(12):
            name, shade = list(shades.items())[number % 3]
            pixels = np.full((32, 32, 3), shade, np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{split}{number}.png")
            lines.append(
                f'{{"id": "{number}", "image": "{split}{number}.png", "colour": "{name}"}}\n'
            )
        (tmp_path / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def test_the_example_of_a_benchmark_runs(colours: Path) -> None:
    words = [
        f"benchmark={colours}/colours.py:BENCHMARK", f"data={colours}", "model=tiny",
        "model.random=true", "train.epochs=null", "train.steps=30", "train.lr=1e-3",
        "train.batch_size=12", f"out={colours}/runs", "name=mine", "device=cpu",
    ]  # fmt: skip
    command = [sys.executable, "-m", "x2vlm", "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TOP, check=False)
    assert done.returncode == 0, done.stderr
    assert "colours test, fine-tuned, tiny" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True, cwd=TOP, check=True)
    assert "trained already" in again.stderr
    assert "predicted already" in again.stderr
