"""The Python API: README's example as it stands, and what it refuses."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import x2vlm
from benchmarks.mini.render import render
from benchmarks.mini.suite import write_world
from benchmarks.mini.world import scenes
from x2vlm.api import open_picture
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


def test_a_tokenizer_with_more_tokens_than_the_weights_know_is_refused(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(1100))]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"1105 tokens, these weights know 1024"):
        x2vlm.load("tiny", tokenizer=str(tmp_path / "vocab.txt"))


def test_one_or_none_or_several_are_encoded(folder: Path) -> None:
    model = x2vlm.load("tiny")
    file = str(folder / "scene.png")
    one = model.encode_images(file)
    three = model.encode_images([file] * 3, batch_size=2)
    torch.testing.assert_close(three, one.expand(3, -1))
    assert model.encode_images([]).shape == model.encode_texts([]).shape == (0, 64)
    texts = ["a red circle", "two small blue squares", "a ring"]
    torch.testing.assert_close(model.encode_texts(texts, batch_size=2), model.encode_texts(texts))
    torch.testing.assert_close(model.encode_texts(texts[0]), model.encode_texts(texts)[:1])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "YCbCr", "F"])
def test_pictures_of_every_mode_are_taken(folder: Path, mode: str) -> None:
    with Image.open(folder / "scene.png") as picture:
        opened = open_picture(picture.convert("L" if mode == "F" else "RGB").convert(mode))
    assert (opened.mode, opened.size) == ("RGB", picture.size)


def test_what_is_no_picture_no_text_no_device_is_said() -> None:
    model = x2vlm.load("tiny")
    with pytest.raises(ConfigError, match=r"not ndarray\n.*Image\.fromarray"):
        model.encode_images([np.zeros((4, 4, 3), np.uint8)])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="not NoneType"):
        model.encode_texts([None])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used"):
        x2vlm.load("tiny", device="gpu")
    with pytest.raises(CheckpointError, match="did you mean 'tiny'"):
        x2vlm.load("tinny")


def test_what_weights_cannot_do_is_said(folder: Path, tmp_path: Path) -> None:
    model = x2vlm.load("tiny")
    with pytest.raises(ConfigError, match="no 'decoder' head"):
        model.answer(folder / "scene.png", "what is it?", ["cat"])
    with pytest.raises(CheckpointError, match="no weights at"):
        x2vlm.load(tmp_path / "nothing")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"broken\.png"):
        model.match(tmp_path / "broken.png", "a ball")
    asked = x2vlm.load(folder / "runs" / "mini-vqav2-s42")
    with pytest.raises(ConfigError, match="not one text: 'red'"):
        asked.answer(folder / "scene.png", "which colour?", "red")
