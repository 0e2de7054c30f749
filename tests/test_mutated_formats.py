"""Our own formats with anything changed in them: they read, or end in the one named error.

Records through the commands, notes of stages, metadata of weights. No mutation may be a traceback.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import small
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from synthetic_runs import make_record, write_run

from benchmarks.plan import ModelChoice, Plan
from benchmarks.record import ResultRecord
from benchmarks.stages import Stage
from x2vlm import plain
from x2vlm.cli import main
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.errors import CheckpointError, Error, RecordError
from x2vlm.model.checkpoint import load
from x2vlm.model.metadata import FORMAT
from x2vlm.weights import load_weights

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2, 10**7, 10**9, 2**63, 10**400, 0.5, -0.5, 1e300, float("nan"),
    float("inf"), "", "x", "\ud800", "\0", "../../x", "FILE.py:NAME", "é" * 5000, [], [[]], {},
    {"a": {}}, [1, "b", None], [{"id": []}],
)  # fmt: skip
DEEP = "@deep@"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside `value`."""
    if isinstance(value, (dict, list)):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, name)
            yield from places(part, (*path, name))


def fault_of(call: Callable[[], Any], *kinds: type[Error]) -> str:
    """What the one error says; "" when there is none."""
    try:
        call()
    except kinds as error:
        return str(error)
    return ""


@st.composite
def mutated(draw: st.DrawFn, document: dict[str, Any]) -> str:
    """The text of `document` after one or two changes: a part gone, odd, nested, doubled, cut."""
    value = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        *above, name = draw(st.sampled_from(list(places(value))))
        inside = value
        for step in above:
            inside = inside[step]
        change = draw(st.sampled_from(("gone", "odd", "odd", "odd", "deep", "more")))
        if change == "gone":
            del inside[name]
        elif change == "more" and isinstance(inside, dict):
            inside["another"] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            inside[name] = DEEP if change == "deep" else copy.deepcopy(draw(st.sampled_from(ODD)))
        if not list(places(value)):
            break
    text = json.dumps(value)
    text = text.replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000)
    cut = draw(st.sampled_from((0, 0, 0, 0, 1, len(text) // 2)))
    return text[: len(text) - cut]


LOOSE = settings(
    max_examples=120, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def _config(root: Path) -> dict[str, Any]:
    plan = Plan(
        "own_labels", ModelChoice(), DataConfig(root=str(root)), TrainConfig(steps=1),
        PredictConfig(),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(json.dumps(plan.to_dict()))
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on four rows of a user's own data; one of them is to be spoiled."""
    folder = tmp_path_factory.mktemp("runs")
    Image.new("RGB", (8, 8), "red").save(folder / "a.png")
    rows = [{"image": "a.png", "text": str(i), "label": "no" if i % 2 else "yes"} for i in range(4)]
    for split in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    skipped = ({"id": "9", "source": "x:9", "reason": "gone"},)
    more = {
        "config": _config(folder), "n": 4, "skipped": skipped,
        "floor": {"value": 50.0, "met": True},
        "data": {"notes": ["a note"], "partial": {"test": "a.json"}, "missing_languages": []},
        "seconds": {"train": 1.5}, "video": {"decoder": "av", "frames": 3},
        "lower_is_better": ("rank",),
    }  # fmt: skip
    answers = [{"id": str(i), "label": "yes", "scores": [0.5, 0.5]} for i in range(1, 5)]
    for name in ("good", "bad"):
        write_run(folder / name, make_record("own_labels", **more), answers)
    return folder


def record_text(runs: Path) -> dict[str, Any]:
    found: dict[str, Any] = ResultRecord.read(runs / "good" / "record.json").to_json()
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "board": lambda runs: ["board", str(runs / "bad"), "allow=limited,partial,dirty,superseded"],
    "board csv": lambda runs: ["board", str(runs), "format=csv"],
    "compare": lambda runs: ["compare", str(runs / "good"), str(runs / "bad")],
    "submit": lambda runs: ["submit", str(runs / "bad"), "kind=nlvr2", f"out={runs / 'out'}"],
    "export": lambda runs: ["export", str(runs / "bad"), f"out={runs / 'out'}"],
    "site": lambda runs: ["site", str(runs / "bad"), f"out={runs / 'site'}",
                          "allow=limited,partial,dirty"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_changed_record_is_shown_or_one_error(
    command: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = record_text(runs)
    first = COMMANDS[command](runs)[0]

    @settings(LOOSE, max_examples=25 if command == "site" else 60)
    @given(text=mutated(document))
    def each(text: str) -> None:
        (runs / "bad" / "record.json").write_text(text, encoding="utf-8")
        status = main(COMMANDS[command](runs))
        said = capsys.readouterr().err
        assert status in (0, 1)
        assert said.count(f"x2vlm {first}: ") == status

    each()


NOTE = {
    "key": {"seed": 1, "model": {"name": "tiny"}}, "seconds": 1.0, "sha256": "0", "count": 2,
    "skipped": [{"id": "1", "source": "a:1", "reason": "gone"}],
    "model": {"name": "tiny", "parameters": 5, "new_heads": ["box"]}, "video": None, "waited": 0.0,
}  # fmt: skip


@LOOSE
@given(text=mutated(NOTE))
def test_a_changed_note_of_a_stage_reads_or_is_one_error(text: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path, "predict", NOTE["key"])  # type: ignore[arg-type]
    stage.mark.write_text(text, encoding="utf-8")
    fault = fault_of(stage.note, RecordError)
    if fault:
        assert "predict.done.json" in fault
        assert "runs again" in fault
        return
    noted = stage.note()
    assert all(isinstance(row.get("id", ""), str) for row in noted["skipped"])
    assert noted["model"]["name"]


HEADS = ("contrastive", "matching", "box", "mlm")


@pytest.fixture(scope="module")
def tensors() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    model = small.model(*HEADS)
    state = {name: p.detach().clone() for name, p in model.named_parameters()}
    config: dict[str, Any] = json.loads(json.dumps(model.config.to_dict()))
    return state, config


def put(path: Path, state: dict[str, torch.Tensor], **metadata: str) -> Path:
    save_file(state, path, {"format": FORMAT, "extra": "{}", **metadata})
    return path


def test_a_changed_config_of_weights_loads_or_is_one_error(
    tensors: tuple[dict[str, torch.Tensor], dict[str, Any]], tmp_path: Path
) -> None:
    state, config = tensors

    @LOOSE
    @given(text=mutated(config))
    def each(text: str) -> None:
        path = put(tmp_path / "w.safetensors", state, config=text)
        changes = {"heads": ("classifier",), "labels": 3}
        fault = fault_of(lambda: load(path, changes, allow_new=("classifier",)), CheckpointError)
        assert not fault or "w.safetensors" in fault

    each()


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("vision", "depth", 10**7), ("text", "layers", 10**7), ("", "fusion_layers", 10**7),
        ("", "decoder_layers", 10**7), ("vision", "image_size", 10**6),
        ("vision", "image_size", 1024),
        ("vision", "depth", 120), ("text", "vocabulary", 10**6), ("vision", "patch_size", 0),
        ("vision", "heads", 0), ("vision", "width", True), ("", "heads", "box"), ("", "vision", 5),
        ("text", "dropout", 7.0), ("", "frames", 4000), ("", "embed", -1),
    ],
)  # fmt: skip
def test_a_giant_config_is_refused_before_anything_is_built(
    part: str, name: str, value: Any, tensors: tuple[dict[str, torch.Tensor], dict[str, Any]],
    tmp_path: Path,
) -> None:  # fmt: skip
    state, config = tensors
    config = copy.deepcopy(config)
    (config[part] if part else config)[name] = value
    path = put(tmp_path / "w.safetensors", state, config=json.dumps(config))
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match="config in its metadata"):
        load(path)
    assert time.perf_counter() - started < 2


def test_a_changed_tokenizer_of_weights_loads_or_is_one_error(
    tensors: tuple[dict[str, torch.Tensor], dict[str, Any]], tmp_path: Path
) -> None:
    state, config = tensors
    document = json.loads(small.tokenizer().to_json())

    @settings(LOOSE, max_examples=80)
    @given(text=mutated(document))
    def each(text: str) -> None:
        path = put(tmp_path / "w.safetensors", state, config=json.dumps(config), tokenizer=text)
        fault = fault_of(lambda: load_weights(path), CheckpointError)
        assert not fault or "w.safetensors" in fault

    each()


# -- the reader itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": NaN}', "not a number"), ('{"a": 1e999}', "not finite"),
        ('{"a": 1, "a": 2}', "there twice"), ('{"a": ' + "9" * 30 + "}", "64 bits"),
        ('{"a": ' + "9" * 9000 + "}", "64 bits"), ("[" * 10**6, "deeper than 32"),
        ("[" * 40 + "]" * 40, "deeper than 32"), ('{"a": "\\ud800"}', "not Unicode"),
        ('{"a": "\\u0000"}', "NUL"), ('{"a"', "Expecting"), ("\xff", "Expecting"),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        plain.loads(text)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with path.open("wb") as file:
        file.truncate(plain.LONGEST + 1)
    with pytest.raises(RecordError, match=r"record\.json: larger than"):
        ResultRecord.read(path)
    with pytest.raises(RecordError, match="not readable"):
        plain.read(tmp_path, RecordError)


def test_kinds_say_where_and_what() -> None:
    kind = plain.shaped({"n": plain.whole(0), "rows": plain.listed(plain.mapped(plain.TEXT))})
    plain.conform({"n": 0, "rows": [{"a": "b"}], "other": 1}, kind, "f", Error)
    for value, said in (
        ({"rows": []}, "f: n is missing\n  expected: a whole number from 0"),
        ({"n": True, "rows": []}, "f: n is true"),
        ({"n": 1.0, "rows": []}, r"f: n is 1\.0"),
        ({"n": 1, "rows": [{"a": 2}]}, r"f: rows\[0\]\.a is 2\n  expected: a text"),
        ({"n": 1, "rows": {}}, "f: rows is an object of 0 values\n  expected: a list"),
    ):
        with pytest.raises(Error, match=said):
            plain.conform(value, kind, "f", Error)
