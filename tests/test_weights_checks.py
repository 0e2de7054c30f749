"""What is checked of weights wherever they are loaded: finite tensors, the right tokenizer, and
that a file is weights at all."""

import json
import math
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import small
import torch
from safetensors.torch import save_file

import x2vlm
from benchmarks.pretrain import first_model
from benchmarks.pretrain_plan import PretrainPlan, StreamConfig
from x2vlm.config import TrainConfig
from x2vlm.data.text import Kind, Tokenizer, train_tokenizer
from x2vlm.errors import CheckpointError
from x2vlm.model import checkpoint
from x2vlm.model.config import PRESETS, TextConfig
from x2vlm.model.x2vlm import X2VLM
from x2vlm.weights import ASSETS, check_tokenizer, convert, load_weights, new_model

TINY = ASSETS / "tiny.safetensors"
MANY = ASSETS / "multilingual-tiny.safetensors"
WORDS = {
    "tiny": ASSETS / "tiny-tokenizer.json",
    "many": ASSETS / "multilingual-tiny-tokenizer.json",
}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model as an official file with one NaN and one infinity in it."""
    model = checkpoint.load(TINY).model
    state = checkpoint.to_official(model)
    bias = state["vision_proj.bias"].clone()
    bias[0], bias[1] = math.nan, math.inf
    path = tmp_path_factory.mktemp("nan") / "nan.th"
    torch.save({"model": {**state, "vision_proj.bias": bias}}, path)
    return path


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in our format."""
    loaded = checkpoint.load(TINY)
    with torch.no_grad():
        loaded.model.vision_proj.bias[:2] = math.nan
    path = tmp_path_factory.mktemp("nan") / "nan.safetensors"
    checkpoint.save(loaded.model, path, tokenizer=loaded.tokenizer)
    return path


STREAM = StreamConfig("image", "*.jsonl", batch_size=2)
LOADERS: dict[str, Callable[[Path, Path], object]] = {
    "run": lambda path, _: load_weights(path, {"heads": ("box",)}, tokenizer=str(WORDS["tiny"])),
    "API": lambda path, _: x2vlm.load(path, tokenizer=str(WORDS["tiny"])),
    "convert": lambda path, out: convert(path, out, to="grounding"),
    "convert back": lambda path, out: convert(path, out, to="official"),
    "pre-training": lambda path, _: first_model(
        PretrainPlan("tiny", TrainConfig(steps=1), {"images": STREAM}, init=str(path)),
        PRESETS["tiny"],
    ),
    "towers": lambda path, _: checkpoint.read_state(path),
}


@pytest.mark.parametrize("kind", ["official", "ours"])
@pytest.mark.parametrize("loader", LOADERS)
def test_a_tensor_that_is_not_finite_is_named_by_every_loader(
    loader: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(kind)
    with pytest.raises(CheckpointError, match=r"vision_proj\.bias: 2 of 64 values") as error:
        LOADERS[loader](path, tmp_path / "out")
    assert str(path) in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_kind_of_number_is_looked_at(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {f"layer.{n}.weight": torch.ones(3, dtype=dtype) for n in range(9)}
    for tensor in state.values():
        tensor[1] = math.inf
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"in 9 tensors(?s:.)*4 more tensors"):
        checkpoint.read_state(tmp_path / "a.safetensors")


def tokenizer(kind: Kind, size: int) -> Tokenizer:
    return train_tokenizer([f"w{n} x{n}" for n in range(size)], kind, size)


@pytest.mark.parametrize(
    ("path", "words", "message"),
    [
        (MANY, WORDS["tiny"], "kind bert, these weights have a xlm-roberta"),
        (TINY, WORDS["many"], "kind xlm-roberta, these weights have a bert"),
    ],
)
def test_a_tokenizer_of_the_other_kind_is_refused(
    path: Path, words: Path, message: str, tmp_path: Path
) -> None:
    for load in (
        lambda: x2vlm.load(path, tokenizer=str(words)),
        lambda: load_weights(path, tokenizer=str(words)),
        lambda: convert(path, tmp_path / "o.safetensors", to="retrieval", tokenizer=str(words)),
        lambda: new_model(path.stem, {}, tokenizer=str(words)),
    ):
        with pytest.raises(CheckpointError, match=message):
            load()
    inside = tmp_path / "inside.safetensors"
    checkpoint.save(checkpoint.load(path).model, inside, tokenizer=words.read_text())
    for load in (
        lambda: x2vlm.load(inside),
        lambda: convert(inside, tmp_path / "o.safetensors", to="retrieval"),
    ):
        with pytest.raises(CheckpointError, match=f"the tokenizer in it is of {message}"):
            load()


@pytest.mark.parametrize(
    ("kind", "size", "vocabulary", "own", "message"),
    [
        ("bert", 60, 60, False, ""),
        ("xlm-roberta", 60, 60, False, ""),
        ("bert", 60, 64, False, ""),
        ("bert", 60, 500, True, ""),
        ("bert", 60, 500, False, "has 60 tokens, these weights know 500"),
        ("xlm-roberta", 60, 59, False, "has 60 tokens, these weights know 59"),
        ("bert", 60, 59, True, "has 60 tokens, these weights know 59"),
        ("bert", 60, 30522, True, "special tokens at unk 1, cls 2, sep 3, mask 4, .* unk 100"),
        ("xlm-roberta", 60, 250002, True, "special tokens at mask 59, .* expect mask 250001"),
    ],
)
def test_size_and_special_tokens(
    kind: Kind, size: int, vocabulary: int, own: bool, message: str
) -> None:
    config = TextConfig(kind, vocabulary)
    if not message:
        check_tokenizer(tokenizer(kind, size), config, "FILE", own=own)
        return
    with pytest.raises(CheckpointError, match=message) as error:
        check_tokenizer(tokenizer(kind, size), config, "FILE", own=own)
    assert "model.tokenizer=" in str(error.value)


def test_the_place_of_padding_is_the_kinds() -> None:
    text = tokenizer("bert", 60)
    text.pad = 5
    with pytest.raises(
        CheckpointError, match="special tokens at pad 5, these weights expect pad 0"
    ):
        check_tokenizer(text, TextConfig("bert", 60), "FILE")


def test_a_converted_file_holds_its_tokenizer_whole(tmp_path: Path) -> None:
    out = tmp_path / "o.safetensors"
    convert(TINY, out, to="retrieval", tokenizer=str(WORDS["tiny"]))
    assert json.loads(checkpoint.load(out).tokenizer)["model"]["vocab"]["[CLS]"] == 2


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights/model.th", "x")


def tar(path: Path) -> None:
    (path.parent / "inner.th").write_text("x")
    with tarfile.open(path, "w") as file:
        file.add(path.parent / "inner.th", "inner.th")


def cut(path: Path) -> None:
    torch.save({"model": {"w": torch.zeros(999)}}, path)
    path.write_bytes(path.read_bytes()[:700])


INDEX = {"metadata": {}, "weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safe"}}
OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "LFS": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:a\n"),
            "pointer of Git LFS.*(?s:.)*git lfs pull"),
    "page": (lambda p: p.write_text("\n<!DOCTYPE html><html><head><title>Virus scan</title>"),
             "a web page .'Virus scan'"),
    "page without doctype": (lambda p: p.write_text("<html>\n<body>404"), "a web page"),
    "page after a comment": (lambda p: p.write_text("<!-- x -->\n<HTML>"), "a web page"),
    "server": (lambda p: p.write_text('<?xml version="1.0"?><Error><Code>AccessDenied</Code>'),
               "an XML text"),
    "text": (lambda p: p.write_text("404: Not Found"), "a text that begins '404: Not Found'"),
    "JSON": (lambda p: p.write_text('{"error": "gated repository"}'), "a JSON text"),
    "index": (lambda p: p.write_text(json.dumps(INDEX)), "index of weights in 2 parts"),
    "empty": (lambda p: p.touch(), r"empty \(0 bytes\)"),
    "cut": (cut, r"end is missing \(700 bytes"),
    "zip": (archive, r"a zip archive \(weights/model.th\)"),
    "tar": (tar, r"a tar archive \(inner.th"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "a gzip archive"),
    "xz": (lambda p: p.write_bytes(b"\xfd7zXZ\x00" + bytes(99)), "an xz archive"),
    "Keras": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "an HDF5 file"),
    "numpy": (lambda p: p.write_bytes(b"\x93NUMPY\x01\x00" + bytes(99)), "one NumPy array"),
    "folder": (lambda p: p.mkdir(), "a folder"),
    "noise": (lambda p: p.write_bytes(bytes(range(128, 256)) * 9), "cannot be read as"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["th", "safetensors"])
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_weights_is_named_for_what_it_is(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model.{suffix}"
    make, message = OTHERS[kind]
    make(path)
    readers = [checkpoint.load_any, checkpoint.load_official]
    for read in readers if suffix == "th" else [*readers, checkpoint.load]:
        with pytest.raises(CheckpointError, match=message) as error:
            read(path)
        assert str(path) in str(error.value)


def test_torchscript_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as file:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/x.py"):
            file.writestr(name, "x")
    with pytest.raises(CheckpointError, match="a TorchScript program"):
        checkpoint.read_state(tmp_path / "m.pt")


def test_a_folder_of_shards_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(INDEX))
    with pytest.raises(CheckpointError, match=r"a folder(?s:.)*join the parts"):
        x2vlm.load(tmp_path)


def test_new_heads_may_still_start_from_random_values() -> None:
    heads = {"heads": ("classifier",), "labels": 3}
    model, text = load_weights(TINY, heads, new_heads=True)
    assert (model.config.labels, text.kind) == (3, "bert")


def test_a_model_of_random_weights_takes_a_smaller_tokenizer() -> None:
    config = replace(small.CONFIG, heads=("matching",))
    assert X2VLM(config).config.text.vocabulary == 97
    check_tokenizer(tokenizer("bert", 40), config.text, "FILE", own=True)
