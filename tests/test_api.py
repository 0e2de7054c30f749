"""The Python API: README's example as it stands, and what it refuses."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import x2vlm
from benchmarks.mini.render import render
from benchmarks.mini.suite import write_world
from benchmarks.mini.world import scenes
from x2vlm.cli import main
from x2vlm.errors import CheckpointError, ConfigError, MediaError

README = Path(__file__).resolve().parents[1] / "README.md"
SHORT = ["device=cpu", "train.epochs=null", "train.steps=1", "train.batch_size=4",
         "predict.batch_size=8", "limit=4"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as README's example finds it: a picture, and runs of two benchmarks."""
    top = tmp_path_factory.mktemp("api")
    write_world(top / "world", scale=0.02, parts=("coco", "vqav2"))
    render(scenes("api", "test", 1)[0]).save(top / "scene.png")
    for name in ("vqav2", "coco_captioning"):
        words = [f"experiment=mini_{name}", f"data={top / 'world'}", f"out={top / 'runs'}",
                 f"name=mini-{name}-s42"]  # fmt: skip
        assert main(["run", *words, *SHORT]) == 0
    return top


def test_the_example_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(folder)
    found: dict[str, object] = {}
    shown = []
    for line in code[1].splitlines():  # expressions are kept, to look at them
        try:
            shown.append(eval(compile(line, "README.md", "eval"), found))
        except SyntaxError:
            exec(compile(line, "README.md", "exec"), found)
    features, texts = found["features"], found["texts"]
    assert isinstance(features, torch.Tensor)
    assert isinstance(texts, torch.Tensor)
    assert features.shape == texts.shape == (1, 64)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1))
    matched, located, answered, told = (value for value in shown if value is not None)
    assert 0 <= matched <= 1
    assert len(located) == 4
    assert answered in ("red", "blue", "green")
    assert isinstance(told, str)
    assert told


def test_paths_and_pictures_are_one(folder: Path) -> None:
    model = x2vlm.load("tiny")
    with Image.open(folder / "scene.png") as picture:
        assert torch.equal(
            model.encode_images([picture]), model.encode_images([folder / "scene.png"])
        )


def test_what_weights_cannot_do_is_said(folder: Path, tmp_path: Path) -> None:
    model = x2vlm.load("tiny")
    with pytest.raises(ConfigError, match="no 'decoder' head"):
        model.answer(folder / "scene.png", "what is it?", ["cat"])
    with pytest.raises(CheckpointError, match="no weights at"):
        x2vlm.load(tmp_path / "nothing")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"broken\.png"):
        model.match(tmp_path / "broken.png", "a ball")
