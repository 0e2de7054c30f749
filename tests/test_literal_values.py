"""Arguments of the command line are values: no character of a text or path is syntax."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import pytest

from benchmarks.mini.suite import write_world
from tests.test_settings import CLASSES, NEEDED
from x2vlm.cli import main
from x2vlm.cli.arguments import parse
from x2vlm.cli.check import checked
from x2vlm.cli.compose import compose, plan
from x2vlm.cli.keys import setting_of, table
from x2vlm.cli.values import read_value
from x2vlm.ranges import Setting, SettingField
from x2vlm.settings import Settings, described
from x2vlm.weights import ASSETS

UGLY = (
    *re.split(
        r"\n +| {3}",
        """epoch=3-step=100.ckpt   refs(unc).p   my data (v2)   run#1   a,b   [1]   [a,b]   {x}
    {a: 1}   a;b   a&b   it's   q"q   'quoted'   ~x   $HOME   ${seed}   ${oc.env:HOME}   100%   ü
    日本   null   true   007   1e3   ???   +a   a: b   *   -x   a|b   !x   @x   `x`   <x>""",
    ),
    " blank",
    "a\nb",
    "a\\b",
)
ALL = "ü 日本 (v2)[1]{x},#;&'\"~$HOME${seed}%=a.b"
PATHS = sorted(key for key, field in table().items() if field.setting.form == "path")


def arguments_of(kind: type[Settings]) -> list[SettingField]:
    """Fields of a command's arguments that hold paths."""
    return [field for field in described(kind) if field.setting.form == "path"]


COMMAND_PATHS = [
    (kind, field)
    for kind in CLASSES
    if kind.__name__.endswith("Arguments")
    for field in arguments_of(kind)
]


@pytest.mark.parametrize("key", PATHS)
def test_paths_are_taken_literally(key: str) -> None:
    field, key = table()[key], f"{key}.refs" if key == "file" else key
    found = setting_of(key)
    assert found is not None
    for ugly in UGLY:
        for path in (f"/tmp/{ugly}", ugly):
            assert read_value(found, path) == path, field


@pytest.mark.parametrize("ugly", [*UGLY, ALL])
def test_paths_reach_the_plan_as_they_are_written(ugly: str) -> None:
    given = ("data", "layout", "out", "checkpoint", "file.refs", "model.tokenizer", "predict.cache")
    made = plan(compose(["benchmark=refcoco", *(f"{key}={ugly}" for key in given)]))
    found = [
        made.data.root,
        made.data.layout,
        made.out,
        made.model.checkpoint,
        made.data.files["refs"],
        made.model.tokenizer,
        made.predict.cache,
    ]
    assert found == [ugly] * len(given)
    if "\n" not in ugly and "\\" not in ugly and not ugly.startswith((" ", "~")):
        assert plan(compose([f"name={ugly}", f"model.pretraining={ugly}"])).name == ugly


@pytest.mark.parametrize(
    ("kind", "field"), COMMAND_PATHS, ids=[f"{k.__name__}.{f.name}" for k, f in COMMAND_PATHS]
)
def test_paths_of_every_command_are_taken_literally(
    kind: type[Settings], field: SettingField, tmp_path: Path
) -> None:
    needed = [f"{key}={value}" for key, value in NEEDED.get(kind, {}).items() if key != field.key]
    for ugly in [*UGLY, ALL]:
        path = tmp_path / ugly
        path.mkdir(exist_ok=True)
        key = f"{field.key}.role" if get_origin(field.kind) is Mapping else field.key
        words, made = parse(kind, [*needed, f"{key}={path}"])
        value = getattr(made, field.name)
        value = value["role"] if isinstance(value, Mapping) else value
        assert value == ((str(path),) if get_origin(field.kind) is tuple else str(path))
        assert words == []
        assert parse(kind, [*needed, f"{key}={path}", str(path)])[0] == [str(path)]


@pytest.mark.parametrize("key", PATHS)
def test_home_is_written_out(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    field = setting_of(f"{key}.refs" if key == "file" else key)
    assert field is not None
    assert read_value(field, "~/coco") == "/home/me/coco"
    assert read_value(field, "~") == "/home/me"
    assert read_value(field, "a/~/b") == "a/~/b"


FIELD = Setting("x")
TEXTS: list[tuple[Any, bool, str, Any]] = [
    (int, False, "5", 5),
    (int, False, "-5", -5),
    (int, False, "1.5", "1.5"),
    (int, False, "x", "x"),
    (int, True, "null", None),
    (int, False, "null", "null"),
    (float, False, "1e-4", 1e-4),
    (float, False, "3", 3),
    (float, True, "null", None),
    (bool, False, "true", True),
    (bool, False, "False", False),
    (bool, False, "1", "1"),
    (str, False, "5", "5"),
    (str, False, "null", "null"),
    (str, True, "null", None),
    (str, False, "[a]", "[a]"),
    (tuple[str, ...], False, "de,fr", ("de", "fr")),
    (tuple[str, ...], False, "[de, fr]", ("de", "fr")),
    (tuple[str, ...], False, "", ()),
    (tuple[str, ...], False, "[]", ()),
    (tuple[str, ...], False, '["a,b",c]', ("a,b", "c")),
    (tuple[int, ...], False, "1,x", (1, "x")),
    (tuple[float, float], False, "[0.9,0.98]", (0.9, 0.98)),
    (Mapping[str, float], False, "{a: 1, b: 2.5}", {"a": 1, "b": 2.5}),
    (Mapping[str, float], False, "a", "a"),
    (Any, True, "3", 3),
    (Any, True, "x y", "x y"),
    (Any, True, "[1,true,x]", [1, True, "x"]),
    (Any, True, "{a: [1,2]}", {"a": [1, 2]}),
    (Any, True, '"3"', "3"),
    (Any, True, "null", None),
    (Any, True, "a [", "a ["),
]


@pytest.mark.parametrize(("kind", "optional", "text", "value"), TEXTS)
def test_the_type_of_a_setting_decides_how_its_text_is_read(
    kind: Any, optional: bool, text: str, value: Any
) -> None:
    found = read_value(SettingField("x", "x", kind, optional, FIELD, None), text)
    assert found == value
    assert type(found) is type(value)


def test_one_ugly_folder_goes_through_a_run_and_the_commands_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ugly = tmp_path / ALL
    ugly.mkdir()
    write_world(ugly / "data", scale=0.02, parts=["refcoco"])
    weights = ugly / "epoch=3-step=100.safetensors"
    shutil.copy(ASSETS / "tiny.safetensors", weights)
    out = ugly / "out"
    words = [
        "benchmark=refcoco_plus",
        f"data={ugly / 'data'}",
        f"checkpoint={weights}",
        "limit=2",
        f"out={out}",
        f"name={ALL}",
        "protocol=zero-shot",
        "device=cpu",
    ]
    checked(words)
    assert main(["run", *words]) == 0, capsys.readouterr().err
    run = out / ALL
    assert (run / "record.json").is_file()
    capsys.readouterr()
    rows = run / "predictions.jsonl"
    given = ["benchmark=refcoco_plus", f"data={ugly / 'data'}", f"predictions={rows}", "limit=2"]
    for command in (
        ["score", *given],
        ["board", str(run), "allow=dirty,limited", f"out={ugly / 'boards'}"],
        ["compare", str(run), str(run)],
        ["site", str(out), f"out={ugly / 'site'}", "allow=dirty,limited"],
        [
            "explain",
            "benchmark=refcoco_plus",
            f"data={ugly / 'data'}",
            "limit=1",
            f"checkpoint={weights}",
            f"out={ugly / 'explain'}",
        ],
        ["data", "status", f"data={ugly / 'data'}", "benchmark=refcoco_plus"],
    ):
        assert main(command) == 0, (command, capsys.readouterr().err)
    assert list((ugly / "boards").iterdir())
