"""Every shipped setting composes into the dataclasses, and says where it comes from."""

import math
import re
from pathlib import Path

import pytest

from benchmarks.registry import NAMES
from x2vlm.cli.compose import CONF, compose, plan, pretrain_plan, sweep
from x2vlm.errors import ConfigError
from x2vlm.model.config import PRESETS


def stems(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_every_file_of_the_tree_belongs_to_a_known_group() -> None:
    groups = {path.parent.name for path in CONF.rglob("*.yaml")}
    assert groups == {"conf", "benchmark", "model", "train", "predict", "experiment", "debug"}


def test_one_file_per_benchmark_and_model() -> None:
    assert stems("benchmark") == sorted([*NAMES, "outside"])
    assert stems("model") == sorted(PRESETS)


@pytest.mark.parametrize("name", NAMES)
def test_benchmarks_compose(name: str) -> None:
    chosen = plan(compose([f"benchmark={name}"]))
    assert chosen.value().name == name
    assert chosen.test_split() in chosen.value().splits


def command(name: str) -> list[str]:
    """The words of the command with which an experiment opens."""
    text = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    opening = re.search(r"^# command: +(.*)$", text, re.M)
    assert opening is not None
    return opening[1].split()


@pytest.mark.parametrize("name", stems("experiment"))
def test_experiments_compose(name: str) -> None:
    tree = compose([word for word in command(name) if "=" in word])
    chosen = plan(tree)
    assert chosen.model.name in PRESETS
    for split in filter(None, (chosen.train_split, chosen.split)):
        assert split in chosen.value().splits


@pytest.mark.parametrize("name", stems("experiment"))
def test_experiments_open_with_command_hardware_published_and_ours(name: str) -> None:
    text = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    for word in ("# command:", "# hardware:", "# published:", "# ours:"):
        assert word in text
    assert f"experiment={name}" in text


def test_there_are_as_many_experiments_as_the_paper_has_rows() -> None:
    own = ("mini_", "pretrain_", "ablation")
    paper = [name for name in stems("experiment") if not name.startswith(own)]
    assert len(paper) == 52


PRETRAININGS = [name for name in stems("experiment") if name.startswith("pretrain_")]


def test_there_is_every_pretraining_of_the_paper() -> None:
    paper = {
        f"pretrain_{size}_{data}" for size in ("base", "large") for data in ("4m", "1b", "video")
    }
    mini = {
        f"pretrain_mini_{model}{stage}"
        for model in ("tiny", "multilingual_tiny")
        for stage in ("", "_second", "_third", "_fourth")
    }
    cclm = {"pretrain_cclm_base", "pretrain_cclm_large"}
    assert set(PRETRAININGS) == {*paper, *cclm, *mini, "pretrain_mini_ablation"}


@pytest.mark.parametrize("name", PRETRAININGS)
def test_batches_of_pretraining_divide_among_the_processes_of_its_command(name: str) -> None:
    words = command(name)
    chosen = pretrain_plan(compose([word for word in words if "=" in word]))
    counts = [int(words[words.index(flag) + 1]) for flag in ("--nnodes", "--nproc-per-node")
              if flag in words]  # fmt: skip
    for stream in chosen.streams.values():
        assert stream.batch_size % math.prod(counts) == 0
    if "mini" not in name:
        assert chosen.train.batch_size == sum(row.batch_size for row in chosen.streams.values())


def test_pretraining_of_the_paper_needs_its_first_weights() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.init_vision"):
        compose(["experiment=pretrain_base_4m"])


@pytest.mark.parametrize(
    ("name", "rate"),
    [("refcoco_large", 0.1), ("refcoco_plus_large", 0.1), ("refcocog_large", 0.1),
     ("refcoco_plus_base", 0.0), ("vqav2_large", 0.0)],
)  # fmt: skip
def test_drop_path_of_text_is_for_large_on_boxes(name: str, rate: float) -> None:
    assert plan(compose([f"experiment={name}"])).train.text_drop_path == rate


def test_trackers_are_named_on_the_command_line() -> None:
    assert plan(compose([])).train.trackers == ()
    assert plan(compose(["train.trackers=[wandb,mlflow]"])).train.trackers == ("wandb", "mlflow")


@pytest.mark.parametrize("name", stems("debug"))
def test_debug_settings_compose(name: str) -> None:
    assert plan(compose([f"debug={name}"])).data.limit == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmark=coco"], "unknown benchmark 'coco'; did you mean 'coco_captioning'"),
        (["benchmark=refcoco+"], "did you mean 'refcoco'"),
        (["experiment=vqav2_bas"], "unknown experiment 'vqav2_bas'; did you mean 'vqav2_base'"),
        (["debug=smok"], "unknown debug 'smok'; did you mean 'smoke'"),
        (["modle=tiny"], "unknown setting 'modle'; did you mean 'model'"),
        (["train.lrr=1"], r"unknown setting 'train\.lrr'; did you mean 'train\.lr'"),
        (["train.epochs=1", "train.steps=2"], "exactly one"),
        (["train.batch_size=0"], "train.batch_size must be a whole number from 1 .*got 0"),
        (["train.batch_size=many"], "train.batch_size must be a whole number .*got 'many'"),
        (["train.lr=fast"], "train.lr must be a number .*got 'fast'"),
        (["train.compile=1"], "train.compile must be true or false, got '1'"),
        (["train.precision=fp16"], "train.precision must be .*float16, got 'fp16'"),
        (["predict.precision=bfloat"], "predict.precision .*'bfloat'; did you mean 'bfloat16'"),
        (
            ["train.micro_batch=half"],
            "train.micro_batch must be a whole number .*or null, got 'half'",
        ),
        (["predict.batch_size=0"], "predict.batch_size must be a whole number from 1 .*or auto"),
        (["limit=abc"], "limit must be a whole number from 1 .*got 'abc'"),
        (["limit=0"], "limit must be a whole number from 1 .*got 0"),
        (["on_error=skp"], "did you mean 'skip'"),
        (["device=gpu"], "unknown device 'gpu'"),
    ],
)
def test_bad_words_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(compose(words))


def test_bad_words_of_pretraining_are_named() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'pretrain\.localise'"):
        compose(["experiment=pretrain_mini_tiny", "pretrain.localize=true"])


def test_a_benchmark_outside_the_tree(tmp_path: Path) -> None:
    tree = compose([f"benchmark={tmp_path}/mine.py:MINE"])
    assert tree["benchmark"]["name"] == f"{tmp_path}/mine.py:MINE"


def test_steps_or_epochs_alone_take_the_place_of_the_other() -> None:
    for words, epochs, steps in (
        (["train.steps=7"], None, 7),
        (["experiment=mini_vqav2", "train.epochs=2"], 2, None),
        (["debug=smoke", "train.epochs=null"], None, 3),
    ):
        train = compose(["benchmark=vqav2", *words])["train"]
        assert (train["epochs"], train["steps"]) == (epochs, steps), words
    with pytest.raises(ConfigError, match="exactly one"):
        plan(compose(["benchmark=vqav2", "train.steps=7", "train.epochs=2"]))


def test_sweeps_expand_in_order() -> None:
    assert sweep(["seed=1,2", "model=tiny"]) == [["seed=1", "model=tiny"], ["seed=2", "model=tiny"]]


@pytest.mark.parametrize("group", ["file", "scoring", "cluster"])
def test_open_settings_take_any_name(group: str) -> None:
    assert compose([f"{group}.annotations=a.json"])[group] == {"annotations": "a.json"}
    tree = compose(["experiment=mini_coco_retrieval", "options.k=16"])
    assert tree["options"] == {"k": 16}
