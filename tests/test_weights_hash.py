"""Hashes of weights are of their content, and equal weights give equal files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import small
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.stages import Stage
from x2vlm.data.text import Tokenizer
from x2vlm.model import checkpoint
from x2vlm.model.fit import State
from x2vlm.model.x2vlm import X2VLM
from x2vlm.provenance import sha256
from x2vlm.storage.safetensors_file import write_safetensors
from x2vlm.weights import ASSETS, convert, source_sha256

TINY, WORDS = ASSETS / "tiny.safetensors", ASSETS / "tiny-tokenizer.json"
SAVE = """
import sys, torch
sys.path.insert(0, "tests")
import small
from x2vlm.model import checkpoint
model = small.model("matching", "box")
checkpoint.save(model, sys.argv[1], tokenizer='{"b": 1, "a": 2}', extra={"step": 7, "by": "x"},
                dtype=getattr(torch, sys.argv[2]))
"""


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_equal_weights_give_equal_files_in_every_process(dtype: str, tmp_path: Path) -> None:
    for n in range(3):
        command = [sys.executable, "-c", SAVE, str(tmp_path / f"{n}.safetensors"), dtype]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": str(n), "PYTHONPATH": "."})
    assert len({sha256(path) for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
     torch.int16, torch.int8, torch.uint8, torch.bool],
)  # fmt: skip
def test_the_library_reads_what_is_written(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {
        "b": torch.arange(6).reshape(2, 3).to(dtype),
        "scalar": torch.tensor(1).to(dtype),
        "turned": torch.arange(6).reshape(2, 3).T.to(dtype),
        "empty": torch.zeros(0, 4).to(dtype),
        "ü": torch.ones(1),
    }
    write_safetensors(state, tmp_path / "a", {"z": "ü\n\"'", "a": ""})
    found = load_file(tmp_path / "a")
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    with safe_open(tmp_path / "a", framework="pt") as file:
        assert file.metadata() == {"z": "ü\n\"'", "a": ""}
    assert int.from_bytes((tmp_path / "a").read_bytes()[:8], "little") % 8 == 0


def make(folder: Path, model: X2VLM, words: str = '{"a": 1}', name: str = "m") -> Path:
    path = folder / f"{name}.safetensors"
    checkpoint.save(model, path, tokenizer=words)
    return path


CHANGES: dict[str, tuple[Callable[[Path, Path], Path], bool]] = {}


def change(equal: bool) -> Callable[[Callable[[Path, Path], Path]], Callable[[Path, Path], Path]]:
    def note(make_it: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        CHANGES[make_it.__name__] = (make_it, equal)
        return make_it

    return note


def rewritten(path: Path, out: Path, state: State, **metadata: str) -> Path:
    with safe_open(path, framework="pt") as file:
        old = file.metadata()
    save_file(state, out, {**old, **metadata})
    return out


@change(equal=True)
def written_by_the_library(path: Path, folder: Path) -> Path:
    return rewritten(path, folder / "o.safetensors", load_file(path))


@change(equal=True)
def another_note_beside_them(path: Path, folder: Path) -> Path:
    return rewritten(path, folder / "o.safetensors", load_file(path), extra='{"step": 1}')


@change(equal=True)
def a_tokenizer_in_another_order(path: Path, folder: Path) -> Path:
    words = '{"b": {"y": 2, "x": 1}, "a": 1}'
    return rewritten(path, folder / "o.safetensors", load_file(path), tokenizer=words)


@change(equal=True)
def a_config_in_another_order(path: Path, folder: Path) -> Path:
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    turned = json.dumps(dict(reversed(config.items())), indent=1)
    return rewritten(path, folder / "o.safetensors", load_file(path), config=turned)


@change(equal=False)
def one_number(path: Path, folder: Path) -> Path:
    state = load_file(path)
    state["matching_head.3.bias"][0] += 1e-6
    return rewritten(path, folder / "o.safetensors", state)


@change(equal=False)
def two_tensors_swapped(path: Path, folder: Path) -> Path:
    state = load_file(path)
    one, other = "text.layers.0.fc1.bias", "text.layers.1.fc1.bias"
    state[one], state[other] = state[other] + 1, state[one]
    return rewritten(path, folder / "o.safetensors", state)


@change(equal=False)
def another_tokenizer(path: Path, folder: Path) -> Path:
    return rewritten(path, folder / "o.safetensors", load_file(path), tokenizer='{"a": 2}')


@change(equal=False)
def another_config(path: Path, folder: Path) -> Path:
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    config["text"]["heads"] = 2
    changed = json.dumps(config)
    return rewritten(path, folder / "o.safetensors", load_file(path), config=changed)


@pytest.mark.parametrize("kind", CHANGES)
def test_the_hash_is_of_the_content(kind: str, tmp_path: Path) -> None:
    words = '{"a": 1, "b": {"x": 1, "y": 2}}'
    path = make(tmp_path, small.model("matching", "box"), words)
    make_it, equal = CHANGES[kind]
    other = make_it(path, tmp_path)
    found = checkpoint.weights_sha256(path), checkpoint.weights_sha256(other)
    assert (found[0] == found[1]) == equal


def test_half_precision_counts_as_what_it_is_loaded_as(tmp_path: Path) -> None:
    model = small.model("matching").half().float()
    whole = make(tmp_path, model)
    checkpoint.save(model, tmp_path / "h.safetensors", tokenizer='{"a": 1}', dtype=torch.float16)
    assert checkpoint.weights_sha256(whole) == checkpoint.weights_sha256(tmp_path / "h.safetensors")


def test_an_official_file_and_its_conversion_have_one_hash(tmp_path: Path) -> None:
    state = checkpoint.to_official(checkpoint.load(TINY).model)
    torch.save({"model": state, "epoch": 3}, tmp_path / "o.th")
    shuffled = {f"module.{name}": state[name] for name in reversed(state)}
    torch.save(shuffled, tmp_path / "again.th")
    convert(tmp_path / "o.th", tmp_path / "o.safetensors", to="pretraining", tokenizer=str(WORDS))
    hashes = {
        source_sha256(tmp_path / "o.th", str(WORDS)),
        source_sha256(tmp_path / "again.th", str(WORDS)),
        source_sha256(tmp_path / "o.safetensors"),
        source_sha256(tmp_path / "o.safetensors", str(WORDS)),
    }
    assert len(hashes) == 1
    assert source_sha256(tmp_path / "o.th") not in hashes


def test_the_hash_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    path = make(tmp_path, small.model("matching"))
    first = source_sha256(path)
    assert source_sha256(path) == first
    make(tmp_path, small.model("matching", seed=1))
    assert source_sha256(path) != first


def test_tokenizers_have_one_text() -> None:
    text = Tokenizer.from_json(WORDS.read_text()).to_json()
    assert Tokenizer.from_json(text).to_json() == text


def test_folders_of_earlier_versions_count_as_finished(tmp_path: Path) -> None:
    Stage(tmp_path, "train", {"weights": "hash of the file", "split": "train"}).finish(steps=3)
    now = {"weights": "hash of the content", "split": "train"}
    noted = Stage(tmp_path, "train", now, lambda: "hash of the file").finished()
    assert noted is not None
    assert noted["steps"] == 3
    for key, former in ((now, "of other weights"), ({**now, "split": "val"}, "hash of the file")):
        with pytest.raises(Exception, match="holds a finished train stage"):
            Stage(tmp_path, "train", key, lambda former=former: former).finished()
