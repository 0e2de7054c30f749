"""Arguments that nothing uses are refused with the likely spelling; one check for all commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from x2vlm.cli import COMMANDS, main
from x2vlm.cli.compose import compose, sweep
from x2vlm.cli.keys import GROUPS, setting_of, table
from x2vlm.cli.values import alternatives
from x2vlm.settings import SettingsError


def test_every_value_of_the_tree_has_a_declared_setting() -> None:
    def names(tree: Mapping[str, Any], above: str = "") -> list[str]:
        found = []
        for name, value in tree.items():
            inner = isinstance(value, Mapping) and f"{above}{name}" not in table()
            found += names(value, f"{above}{name}.") if inner else [f"{above}{name}"]
        return found

    for experiment in ("mini_vqav2", "pretrain_mini_tiny"):
        for key in names(compose([f"experiment={experiment}"])):
            assert key in ("pretrain", "ablation") or setting_of(key) is not None, key


@pytest.mark.parametrize("key", sorted(k for k in table() if k.partition(".")[0] != "pretrain"))
def test_show_and_run_refuse_what_a_setting_cannot_hold(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    field = table()[key]
    texts = {int: "abc", float: "nan", bool: "maybe"}
    bad = texts.get(field.kind)
    if bad is None and (field.setting.choices or get_origin(field.kind) is not None):
        bad = "[nosuch" if field.kind is not tuple[str, ...] else None
    if field.setting.form == "name":
        bad = "../../x"
    if bad is None:
        return
    for command in ("show", "validate", "run", "train"):
        assert main([command, "benchmark=vqav2", f"{key}={bad}"]) == 1
        assert f"{field.key} must be" in capsys.readouterr().err


def test_validate_says_by_its_status_whether_settings_are_sound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["validate", "experiment=mini_vqav2", "train.lr=1e-4"]) == 0
    assert main(["validate", "experiment=pretrain_mini_tiny"]) == 0
    assert main(["validate", "experiment=ablation"]) == 0
    assert main(["validate", "-m", "benchmark=vqav2", "seed=1,2"]) == 0
    assert "valid: 2 runs" in capsys.readouterr().out
    words = ["train.lr=-1", "train.steps=0", "split=tset", "benchmrk=vqav2", "--limit", "3"]
    assert main(["validate", "benchmark=vqav2", *words]) == 1
    shown = capsys.readouterr().err
    for message in (
        "train.lr must be",
        "train.steps must be",
        "did you mean 'benchmark'",
        "limit=3",
    ):
        assert message in shown
    assert main(["validate", "-m", "benchmark=vqav2", "seed=1,x"]) == 1
    for word, message in (
        ("split=tset", "split must be a split of the benchmark: unknown split 'tset'"),
        ("languages=xx", "unknown language 'xx'"),
        ("options.beams=3", "unknown option of task 'answering' 'beams'"),
        ("scoring.varient=x2vlm", "did you mean 'variant'"),
    ):
        assert main(["validate", "benchmark=vqav2", word]) == 1
        assert message in capsys.readouterr().err


WORDS = {
    "explain": ["a.png", "a ball"],
    "convert": ["a", "b", "to=official"],
    "board": ["."],
    "compare": [".", "."],
    "submit": ["."],
    "data": ["status", "data=."],
    "reproduce": ["vqav2"],
    "score": ["benchmark=vqav2", "predictions=a", "data=."],
    "run": ["benchmark=vqav2"],
    "train": ["benchmark=vqav2"],
    "show": ["benchmark=vqav2"],
    "predict": ["benchmark=vqav2"],
    "validate": ["benchmark=vqav2"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "unused", [["--nothing"], ["--out=x"], ["--out", "x"], ["-z"], ["nothing_such=5"]]
)
@pytest.mark.parametrize("first", [True, False])
def test_unused_arguments_are_refused_wherever_they_stand(
    command: str, unused: list[str], first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    words = WORDS.get(command, [])
    assert main([command, *unused, *words] if first else [command, *words, *unused]) == 1
    shown = capsys.readouterr().err
    assert unused[0] in shown or unused[0].partition("=")[0] in shown


@pytest.mark.parametrize(
    ("words", "likely"),
    [
        (["--benchmark", "vqav2"], "benchmark=vqav2"),
        (["--limit=3", "benchmark=vqav2"], "limit=3"),
        (["--batch-size", "8", "benchmark=vqav2"], "train.batch_size=8"),
        (["benchmrk=vqav2"], "benchmark=vqav2"),
        (["benchmark=vqav2", "trian.lr=1e-4"], "train.lr=1e-4"),
        (["benchmark=vqav2", "lr=1e-4"], "train.lr=1e-4"),
        (["vqav2"], "benchmark=vqav2"),
        (["vqav2_base"], "experiment=vqav2_base"),
        (["experiment=/tmp/mine.yaml"], "unknown experiment '/tmp/mine.yaml'"),
        (["benchmark=vqav2", "debug=/tmp/x"], "unknown debug '/tmp/x'"),
        (["benchmark=vqav2", "pretrain.localise=false"], "experiment=pretrain_…"),
    ],
)
def test_the_likely_spelling_is_named(
    words: list[str], likely: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("run", "train", "show", "validate"):
        assert main([command, *words]) == 1
        assert likely in capsys.readouterr().err


def test_sweeps_part_at_commas_but_not_in_lists_or_paths_that_exist(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    words = [
        "benchmark=vqav2,gqa",
        f"data={tmp_path}/a,b",
        "languages=[de,fr]",
        r"name=x\,y",
        "out=o,p",
    ]
    rest = [f"data={tmp_path}/a,b", "languages=[de,fr]", "name=x,y", "out=o,p"]
    assert sweep(words) == [["benchmark=vqav2", *rest], ["benchmark=gqa", *rest]]
    assert sweep(["checkpoint=a.th,b.th"]) == [["checkpoint=a.th"], ["checkpoint=b.th"]]
    assert sweep(["train.betas=[0.9,0.98],[0.9,0.999]"])[1] == ["train.betas=[0.9,0.999]"]
    with pytest.raises(SettingsError, match="did you mean 'seed'"):
        sweep(["sed=1,2"])


def test_alternatives_of_groups_and_numbers() -> None:
    for key in ("seed", "train.lr", "split"):
        assert list(alternatives(table()[key], "1,2")) == ["1", "2"]
    assert set(GROUPS) >= {"benchmark", "experiment"}
    assert get_args(table()["languages"].kind)
