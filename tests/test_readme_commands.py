"""Every x2vlm command of README, as it stands there, on a small world with a small checkpoint."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from benchmarks.mini.suite import write_world
from x2vlm.cli import main
from x2vlm.model.checkpoint import to_official
from x2vlm.model.config import PRESETS
from x2vlm.model.x2vlm import X2VLM
from x2vlm.weights import ASSETS

README = Path(__file__).resolve().parents[1] / "README.md"
STARTS = r"^(?:x2vlm +|torchrun .*?-m x2vlm +|nox -s (?=reproduce))(.*)$"
"""A command that is ours: alone, in several processes (here one), or in a session of nox."""
SMALL = ["device=cpu", "limit=4", "model.image_size=64", "train.epochs=null", "train.steps=1",
         "train.batch_size=4", "train.workers=0", "train.precision=float32",
         "predict.batch_size=4", "predict.workers=0", "predict.precision=float32",
         f"model.tokenizer={ASSETS / 'tiny-tokenizer.json'}"]  # fmt: skip


def commands() -> list[list[str]]:
    """The words of each command in README's shell blocks, without the comment."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in re.findall(STARTS, block, re.M)]
    found = [shlex.split(line, comments=True) for line in lines]
    return [[word for word in words if word != "--"] for words in found if words]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands name: data, weights, and the predictions of a first run."""
    top = tmp_path_factory.mktemp("readme")
    write_world(top / "DIR", scale=0.02, parts=("coco", "vqav2", "refcoco"))
    torch.manual_seed(0)
    for heads, names in (
        (("contrastive", "matching", "box", "mlm"),
         ("FILE.th", "x2vlm_base_1b.th", "x2vlm_large_1b.th")),
        (("box",), ("finetuned.th",)),
    ):  # fmt: skip
        state = to_official(X2VLM(PRESETS["tiny"].with_heads(heads=heads)))
        for name in names:
            torch.save({"model": state}, top / name)
    first = ["benchmark=vqav2", "model.random=true", "data=DIR", "split=val", "out=first", "name=a"]
    rows = [{"image": str(path), "question": "what?", "answers": ["a", "b"]}
            for path in sorted((top / "DIR").rglob("*.jpg"))[:4]]  # fmt: skip
    for split in ("train", "test"):  # data of one's own in the same folder
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (top / "DIR" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        assert main(["run", *first, *SMALL]) == 0
    (top / "first/a/predictions.jsonl").rename(top / "FILE")
    return top


def test_readme_names_the_commands_that_are_run_here() -> None:
    assert {words[0] for words in commands()} >= {"list", "run", "score", "data", "reproduce"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_of_the_readme_runs(
    words: list[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    kind, more, last = words[0], [], ""
    if kind in ("run", "reproduce"):
        more = [f"out={tmp_path}", *SMALL]
        if not any(word.startswith("data=") for word in words):
            more += ["data=DIR", "model.random=true"]  # the embedded world, in small
        last = "record.json" if kind == "run" else "90.3"  # the paper's, beside ours
    if kind == "score":
        more, last = ["limit=4"], '"headline": "accuracy"'
    if kind == "data":
        last = "files decoded now"
    status = main([*words, *more])
    shown = capsys.readouterr()
    assert last in shown.out.rstrip().rpartition("\n")[2], shown.err
    # the counts of so small a world are not the official ones, and verifying says so
    assert status == (1 if kind == "data" else 0), shown.err
