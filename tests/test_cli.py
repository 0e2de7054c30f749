"""The door: help, lists, bad words, scoring without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from x2vlm.cli import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert COMMANDS[name].does in capsys.readouterr().out


def test_list_shows_benchmarks_models_tasks_experiments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for word in ("vqav2", "multilingual-large", "grounding", "vqav2_base"):
        assert word in shown


def test_list_loads_neither_torch_nor_hydra() -> None:
    code = (
        "import sys; from x2vlm.cli import main; main(['list']);"
        "print([m for m in ('torch', 'hydra', 'transformers', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["rnu"], 2, "did you mean 'run'"),
        (["score", "benchmark=vqav2"], 1, "predictions=… is missing"),
        (["score", "benchmrk=vqav2"], 1, "did you mean 'benchmark'"),
        (["show", "benchmark=vqa"], 1, "did you mean 'vqav2'"),
        (["run"], 1, "say what to run"),
        (["run", "benchmark=vqav2", "--help-me"], 1, "unexpected '--help-me'"),
        (["train", "experiment=pretrain_base_4m"], 1, "pretrain.init_vision=… is missing"),
        (["train", "model=base"], 1, "say what to run"),
        (["predict", "debug=smoke"], 1, "say what to run"),
        (["data", "status", "data=nowhere"], 1, "is no folder"),
        (["convert", "a.th"], 1, "usage: x2vlm convert"),
        (["convert", "a.th", "b.safetensors", "--to", "anwering"], 1, "did you mean 'answering'"),
        (["convert", "a.th", "b.safetensors", "--to=answering"], 1, "no weights file at a.th"),
        (["board", "nowhere"], 1, "no such run folder"),
        (["board", "format=pdf"], 1, "format must be csv, md"),
        (["compare", "a"], 1, "usage: x2vlm compare"),
        (["eval-all", "only=vqa"], 1, "did you mean 'vqav2'"),
    ],
)
def test_bad_words_say_what_to_do(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    assert message in capsys.readouterr().err


def test_score_prints_one_json_object_last(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared / "data"
    expected = json.loads((data / "vqav2" / "COMPUTED_vqa_scores.json").read_text())
    words = [
        "score", "benchmark=vqav2", "split=val", f"predictions={data}/vqav2/results_majority.json",
        f"data={data}",
    ]  # fmt: skip
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["headline"] == "accuracy"
    value = found["metrics"]["accuracy"]["value"]
    assert round(value, 2) == expected["majority"]["official"]["overall"]
    assert found["scoring"] == {}
    assert main([*words, "scoring.variant=x2vlm"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["scoring"] == {"variant": "x2vlm"}
    value = found["metrics"]["accuracy"]["value"]
    assert round(value, 2) == expected["majority"]["x2vlm"]["overall"]
    for word, message in (
        ("scoring.varient=x2vlm", "did you mean 'variant'"),
        ("scoring.limit=2", "scoring.limit is not an option of a metric"),
        ("extra=drop", "extra must be empty, raise or ignore, got 'drop'"),
    ):
        assert main([*words, word]) == 1
        assert message in capsys.readouterr().err
    foreign = tmp_path / "foreign.json"
    rows = json.loads((data / "vqav2" / "results_majority.json").read_text())
    foreign.write_text(json.dumps([*rows, {"question_id": 1, "answer": "no"}]))
    words[3] = f"predictions={foreign}"
    assert main(words) == 1
    assert "extra=ignore" in capsys.readouterr().err
    assert main([*words, "extra=ignore"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["ignored"], found["n"]) == (1, len(rows))
