"""Commands about results, from the command line to the files they write."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from PIL import Image
from synthetic_runs import make_record, write_run

from benchmarks.metrics.stats import Measure
from benchmarks.model_choice import ModelChoice
from benchmarks.plan import Plan
from benchmarks.registry import get
from x2vlm.cli import main
from x2vlm.config import DataConfig, PredictConfig, TrainConfig

N = 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No embedded world from which the made-up records could be recomputed."""
    monkeypatch.setenv("X2VLM_CACHE", str(tmp_path / "cache"))


SOURCE = """
from benchmarks.base import Benchmark, Split
from benchmarks.metrics import labels
from x2vlm.types import Media, Record

def read(files, split, language):
    image = files.find("image", ["a.png"])
    for i in range(40):
        yield Record(str(i), (Media(str(image)),), (f"row {i}",), {"label": i % 2})

MINE = Benchmark("mine", "classification", "My own", read, labels.score, "accuracy",
                 {"test": Split("test")}, labels=lambda files: ["no", "yes"])
"""


def put(tmp_path: Path, name: str, right: int, **changes: object) -> Path:
    """A run of a user's own benchmark whose first `right` answers are right."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    plan = Plan(
        benchmark=f"{tmp_path / 'mine.py'}:MINE", model=ModelChoice(),
        data=DataConfig(root=str(tmp_path)), train=TrainConfig(steps=1), predict=PredictConfig(),
    )  # fmt: skip
    get(plan.benchmark)  # the user names his own code
    config = json.loads(json.dumps(plan.to_dict()))
    metrics = {"accuracy": Measure(100 * right / N, N, 1.0)}
    record = make_record("mine", config=config, n=N, metrics=metrics, **changes)
    rows = [{"id": str(i), "label": i % 2 if i < right else 1 - i % 2} for i in range(N)]
    return write_run(tmp_path / "runs" / name, record, rows)


def test_boards_are_printed_or_written_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put(tmp_path, "a", 30)
    assert main(["board", str(run)]) == 0
    assert "75.00 ± 1.00" in capsys.readouterr().out
    for kind in ("md", "csv", "tex", "json", "html"):
        assert main(["board", str(run), f"format={kind}", f"out={tmp_path / 'out'}"]) == 0
        assert (tmp_path / "out" / f"mini-overview.{kind}").stat().st_size > 0
    assert main(["board", str(run), "board=video"]) == 0
    assert "nothing to show" in capsys.readouterr().err


def test_several_boards_on_the_console_are_one_table_or_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / name, make_record(name)) for name in ("nlvr2", "ovad")]
    words = ["board", *map(str, runs)]
    assert main([*words, "format=csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["board"] for row in rows] == ["overview", "overview", "understanding"]
    assert main([*words, "format=json"]) == 0
    assert [board["board"] for board in json.loads(capsys.readouterr().out)] == [
        "overview", "understanding"
    ]  # fmt: skip
    assert main([*words, "format=json", "board=overview"]) == 0
    assert json.loads(capsys.readouterr().out)["board"] == "overview"


@pytest.mark.parametrize("words", [["format=csv"], ["format=tex"], ["out=OUT"]])
def test_refusals_that_no_board_tells_are_told_on_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    write_run(tmp_path / "runs" / "a", make_record())
    write_run(tmp_path / "runs" / "b", make_record("vqav2", limit=3))
    words = [word.replace("OUT", str(tmp_path / "out")) for word in words]
    assert main(["board", str(tmp_path / "runs"), *words]) == 0
    assert "refused, limited to 3 records" in capsys.readouterr().err


def test_unverified_numbers_are_shown_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {"text_r1": Measure(70.0, 5000, 0.6)}
    record = make_record("coco_retrieval", headline="text_r1", metrics=metrics, suite="official")
    run = write_run(tmp_path / "run", record)
    shown = {}
    for states in ("", "states=verified,memory,digitised,weak,conflicting"):
        assert main(["board", str(run), "board=retrieval", *filter(None, [states])]) == 0
        shown[states] = capsys.readouterr().out
    plain, whole = shown.values()
    assert "(paper)" in plain
    assert whole.count("(paper)") > plain.count("(paper)")
    assert "no source seen" in whole
    assert "no source seen" not in plain
    assert main(["board", str(run), "states=sure"]) == 1
    assert "states must be a list of verified" in capsys.readouterr().err


def test_a_comparison_says_who_is_who_and_lists_every_flip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse, better = put(tmp_path, "a", 20), put(tmp_path, "b", 38)
    assert main(["compare", str(worse), str(better), f"out={tmp_path / 'out'}"]) == 0
    shown = capsys.readouterr().out
    assert f"A is {worse.as_posix()}, B is {better.as_posix()}." in shown
    assert f"{better.as_posix()} is better" in shown
    assert (tmp_path / "out" / "compare.md").read_text(encoding="utf-8") in shown
    with (tmp_path / "out" / "flips.csv").open(encoding="utf-8") as file:
        flips = list(csv.DictReader(file))
    assert [row["id"] for row in flips] == [str(i) for i in range(20, 38)]
    assert {row["change"] for row in flips} == {"gained"}


def test_a_comparison_tells_what_not_all_sides_have_and_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("a", "b"):
        put(tmp_path / side, "one", 30, limit=N)
    put(tmp_path / "b", "two", 30, suite="official")
    assert main(["compare", str(tmp_path / "a" / "runs"), str(tmp_path / "b" / "runs")]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"mini mine test: a/runs/one: limited to {N} records",
        f"mini mine test: b/runs/one: limited to {N} records",
        "official mine test: on 1 of 2 sides only",
    ]


def test_a_comparison_tells_of_a_side_that_holds_several_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("a", "b"):
        put(tmp_path / side, "one", 30)
    put(tmp_path / "b", "two", 9, split="test", suite="official", model={"source_sha256": "random"})
    assert main(["compare", str(tmp_path / "a" / "runs"), str(tmp_path / "b" / "runs")]) == 0
    said = capsys.readouterr().err
    assert "one side holds several models, tiny and tiny (random weights): b/runs/one, two" in said


def test_a_run_that_is_not_there_is_named_before_others_are_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write_run(tmp_path / "broken", make_record("mine", config={"benchmark": "none"}))
    assert main(["compare", str(broken), str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such run folder" in capsys.readouterr().err


def test_a_side_that_holds_a_split_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = put(tmp_path, "s1", 20, seed=1)
    put(tmp_path, "s2", 30, seed=2)
    assert main(["compare", str(one.parent), str(one)]) == 1
    assert "s1 and s2 are both of mini mine test" in capsys.readouterr().err


def test_a_site_is_written_from_run_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "a", 30)
    assert main(["site", str(tmp_path / "runs"), f"out={tmp_path / 'site'}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "site" / "index.html")
    assert (tmp_path / "site" / "run-a.html").is_file()


def test_pictures_that_a_site_lacks_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "a", 30)
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert main(["site", str(tmp_path / "runs"), f"out={tmp_path / 'site'}"]) == 0
    assert f"no picture: {tmp_path / 'a.png'}: " in capsys.readouterr().err


def test_an_export_holds_what_other_tools_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "a", 30)
    limited = put(tmp_path, "b", 30, limit=N, seed=7)
    out = tmp_path / "out"
    assert main(["export", str(tmp_path / "runs/a"), f"out={out}", "name=mine"]) == 0
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["results"]["mine_test"]["accuracy,none"] == 75.0
    assert len((out / "samples_mine_test.jsonl").read_text(encoding="utf-8").splitlines()) == N
    card = yaml.safe_load((out / "model-index.yaml").read_text(encoding="utf-8"))
    assert card["model-index"][0]["name"] == "mine"
    assert main(["export", str(limited), f"out={out}"]) == 1
    assert "no record may stand on a model card" in capsys.readouterr().err
