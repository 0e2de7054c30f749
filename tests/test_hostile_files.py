"""Files from others never run code, load from the network, or lead out of their folder.

Every command of the table is driven over a hostile folder: a new command needs a case here.
"""

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from synthetic_runs import make_record, write_run

from benchmarks.metrics.stats import Measure
from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.record import ResultRecord
from benchmarks.registry import get, look_up
from leaderboards.runs import open_run
from leaderboards.thumbnails import Thumbnails
from tests.explanations import study
from x2vlm.cli import COMMANDS, main
from x2vlm.config import DataConfig, PredictConfig, TrainConfig
from x2vlm.data import text
from x2vlm.errors import CheckpointError, ConfigError, RecordError
from x2vlm.model.checkpoint import load
from x2vlm.types import Media
from x2vlm.weights import ASSETS, load_weights

CODE = """
import pathlib
pathlib.Path({marker!r}).touch()
from benchmarks.registry import get
from dataclasses import replace
MINE = replace(get("own_labels"), name="mine")
"""
TOKENIZERS = ("evil-hub/tokenizer", "/", ".", "../evil", "tiny.json", "FILE.py:NAME")


def weights_with(path: Path, **metadata: str) -> Path:
    """The shipped tiny weights with other metadata."""
    shipped = ASSETS / "tiny.safetensors"
    plain = {
        "format": "x2vlm-1",
        "extra": "{}",
        "config": json.dumps(load(shipped).model.config.to_dict()),
    }
    save_file(load_file(shipped), path, {**plain, **metadata})
    return path


def plan_for(benchmark: str, root: Path, **fields: object) -> Plan:
    data = DataConfig(root=str(root), **fields)  # type: ignore[arg-type]
    return Plan(benchmark, ModelChoice(), data, TrainConfig(steps=1), PredictConfig())


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hostile folder; whatever it gets to run or load is noted in its files `ran` or `loaded`."""
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "mine.py").write_text(CODE.format(marker=str(folder / "ran")), encoding="utf-8")
    Image.new("RGB", (8, 8), "red").save(folder / "a.png")
    row = {"image": "a.png", "caption": "a red square", "text": "red?", "label": "yes"}
    for split in ("train", "test"):
        lines = [json.dumps(row), json.dumps({**row, "label": "no", "text": "blue?"})]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("run", "other"):
        plan = plan_for(f"{folder}/mine.py:MINE", folder)
        config = json.loads(json.dumps(plan.to_dict()))
        rows = [{"id": str(i), "label": 0} for i in (1, 2)]
        write_run(
            folder / name,
            make_record("mine", config=config, n=2, metrics={"accuracy": Measure(50.0, 2)}),
            rows,
        )
        (folder / name / "train.done.json").write_text("[" * 100_000, encoding="utf-8")
    weights_with(folder / "model.safetensors", tokenizer="evil-hub/tokenizer")
    (folder / "deep.jsonl").write_text('{"id": ' + "[" * 100_000 + "\n", encoding="utf-8")
    item = {"url": f"file://{folder}/mine.py", "path": "../../escaped"}
    (folder / "table.json").write_text(json.dumps({"vqav2": [item]}), encoding="utf-8")

    def noted(name: str) -> None:
        (folder / "loaded").write_text(str(name), encoding="utf-8")
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr(text, "_from_transformers", noted)
    monkeypatch.chdir(tmp_path)
    return folder


OWN = "benchmark=own_retrieval data={evil}"
STEP = "protocol=fine-tuned train.steps=1 train.epochs=null"
HOSTILE = "{evil}/model.safetensors"
CASES: dict[str, list[tuple[str, int]]] = {
    "run": [(f"{OWN} checkpoint={HOSTILE} protocol=zero-shot out=out", 1)],
    "train": [
        (
            f"{OWN} checkpoint={HOSTILE} {STEP} out=out",
            1,
        ),
        (
            f"{OWN} {STEP} out={{evil}} name=run",
            1,
        ),
    ],
    "predict": [(f"{OWN} checkpoint={HOSTILE} protocol=zero-shot out=out", 1)],
    "score": [("benchmark=own_labels data={evil} predictions={evil}/deep.jsonl", 1)],
    "eval-all": [("only=../evil", 1)],
    "reproduce": [
        (f"own_retrieval data={{evil}} checkpoint={HOSTILE} protocol=zero-shot out=out", 1)
    ],
    "list": [("", 0)],
    "show": [(f"{OWN} checkpoint={HOSTILE}", 0)],
    "validate": [(f"{OWN} checkpoint={HOSTILE}", 0)],
    "data": [
        ("status data={evil}", 0),
        ("download data=out table={evil}/table.json benchmark=vqav2 dry_run=false", 1),
    ],
    "convert": [(f"{HOSTILE} out.safetensors --to retrieval", 1)],
    "board": [("{evil}", 0)],
    "compare": [("{evil}/run {evil}/other", 1)],
    "explain": [(f"{{evil}}/a.png red checkpoint={HOSTILE} out=out", 1)],
    "site": [("{evil} out=out", 1)],
    "export": [("{evil}/run out=out", 1)],
    "submit": [("{evil}/run out=out", 1)],
}
"""Command -> words and the exit status of each; {evil} is the hostile folder."""


def test_every_command_has_a_case() -> None:
    assert set(CASES) == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "words", "status"),
    [(name, words, status) for name, cases in CASES.items() for words, status in cases],
)
def test_no_command_runs_or_loads_what_a_file_names(
    command: str, words: str, status: int, evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *words.format(evil=evil).split()]) == status
    said = capsys.readouterr()
    assert not (evil / "ran").exists()
    assert not (evil / "loaded").exists()
    assert not list(evil.parent.parent.glob("escaped*"))
    lines = [line for line in said.err.splitlines() if line.startswith(f"x2vlm {command}: ")]
    assert len(lines) == status, said.err
    assert "Traceback" not in said.err + said.out


@pytest.mark.parametrize("command", ["compare {evil}/run {evil}/other", "site {evil} out=out"])
def test_the_user_can_allow_code_by_naming_it(command: str, evil: Path) -> None:
    words = command.format(evil=evil).split()
    assert main([*words, f"benchmark={evil}/mine.py:MINE"]) == 0
    assert (evil / "ran").exists()


def test_the_message_says_how_to_allow_code(evil: Path) -> None:
    with pytest.raises(RecordError, match=r"never run\n  to do: .*benchmark=.*evil/mine\.py:MINE"):
        open_run(evil / "run", lambda _: evil)


@pytest.mark.parametrize(
    "name", ["os:system", "evil.module:NAME", "x.py:MINE", "own_x:y", "a/b.py:C"]
)
def test_looking_up_imports_nothing(name: str) -> None:
    with pytest.raises(ConfigError):
        look_up(name)


def test_code_that_has_moved_is_found_by_its_file_name(evil: Path) -> None:
    mine = get(f"{evil}/mine.py:MINE")
    assert look_up(f"{evil}/mine.py:MINE") is mine


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_that_weights_name_is_looked_up(name: str, evil: Path) -> None:
    path = weights_with(evil / "w.safetensors", tokenizer=name)
    with pytest.raises(
        CheckpointError, match=r"(?s)metadata names the tokenizer.*model\.tokenizer="
    ):
        load_weights(path)
    assert not (evil / "loaded").exists()
    _, tokenizer = load_weights(path, tokenizer=str(ASSETS / "tiny-tokenizer.json"))
    assert tokenizer.vocabulary <= 1024


def test_a_tokenizer_of_the_package_is_found_by_name(evil: Path) -> None:
    _, tokenizer = load_weights(weights_with(evil / "w.safetensors", tokenizer="tiny"))
    assert tokenizer.kind == "bert"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.jsonl", "..", ""])
def test_predictions_lie_in_the_run_folder(name: str, evil: Path) -> None:
    file = evil / "run" / "record.json"
    row = json.loads(file.read_text(encoding="utf-8"))
    row["predictions"]["file"] = name
    file.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.json: predictions\.file is"):
        ResultRecord.read(file)


@pytest.mark.parametrize("suite", ["../../escaped", "/tmp/x", "mini/../x", 7])
def test_a_record_cannot_choose_where_boards_are_written(suite: object, evil: Path) -> None:
    file = evil / "run" / "record.json"
    row = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**row, "suite": suite}), encoding="utf-8")
    assert main(["board", str(evil / "run"), f"out={evil / 'out'}"]) == 1
    assert not (evil / "out").exists()


def test_a_site_copies_pictures_of_the_data_folder_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, private = tmp_path / "data", tmp_path / "private.png"
    data.mkdir()
    for path in (private, data / "a.png"):
        Image.new("RGB", (8, 8), "red").save(path)
    names = ("a.png", str(private), "../private.png")
    rows = [{"image": name, "text": "red?", "label": "yes"} for name in names]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (data / "test.jsonl").write_text(lines, encoding="utf-8")
    (data / "labels.json").write_text('["yes", "no"]', encoding="utf-8")
    config = json.loads(json.dumps(plan_for("own_labels", data).to_dict()))
    answers = [{"id": str(i), "label": "yes"} for i in (1, 2, 3)]
    write_run(tmp_path / "run", make_record("own_labels", config=config, n=3), answers)
    out = tmp_path / "site"
    assert main(["site", str(tmp_path / "run"), f"out={out}"]) == 0
    assert capsys.readouterr().err.count("lies outside of the data folder") == 2
    assert len(list(out.rglob("*.jpg"))) == 1
    assert main(["site", str(tmp_path / "run"), f"out={out}", f"pictures={tmp_path}"]) == 0
    assert "no picture" not in capsys.readouterr().err


def test_a_data_folder_that_holds_the_home_does_not_count(tmp_path: Path) -> None:
    from leaderboards.site import _picture_folders

    run = type("R", (), {"roots": (Path("/"), Path.home(), tmp_path)})()
    assert _picture_folders([run], []) == [tmp_path]
    picture = Thumbnails(tmp_path / "out", [tmp_path / "data"])(Media(str(tmp_path / "x.png")))
    assert "outside" in picture["error"]


def test_a_gallery_copies_no_links_and_names_its_own_pictures(tmp_path: Path) -> None:
    folder = study(tmp_path / "explained")
    (folder / "link.png").symlink_to("/etc/passwd")
    assert main(["site", str(tmp_path), f"gallery={tmp_path}", f"out={tmp_path / 'site'}"]) == 1
    (folder / "link.png").unlink()
    path = folder / "explanation.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["texts"][0]["image"] = "../../secret.png"
    path.write_text(json.dumps(value), encoding="utf-8")
    from leaderboards.gallery import read_study

    with pytest.raises(RecordError, match=r"texts\[0\]\.image is"):
        read_study(folder)
