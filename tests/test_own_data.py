"""Data of one's own in plain rows: every format of docs/your-own-data.md, read, run and scored."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.base import Benchmark
from benchmarks.files import Files
from benchmarks.plan import Plan
from benchmarks.registry import OWN, OWN_NAMES, get
from benchmarks.suites.own import candidates, classes
from x2vlm.cli import main
from x2vlm.cli.compose import compose, plan
from x2vlm.errors import ConfigError, DataError

DOC = (Path(__file__).resolve().parents[1] / "docs" / "your-own-data.md").read_text("utf-8")
ROWS = {
    name: json.loads(row)
    for name, row in re.findall(r"^\| `(own_\w+)` .*\| `(\{.*\})` \|$", DOC, re.MULTILINE)
}
"""format -> the row that the document shows for it"""
SHORT = ["model=tiny", "device=cpu", "train.steps=1", "train.batch_size=2"]


def write(folder: Path, split: str, rows: Sequence[dict[str, Any]]) -> Path:
    """DIR/SPLIT.jsonl, and every image that the rows name below DIR/images."""
    (folder / "images").mkdir(exist_ok=True)
    for row in rows:
        for name in (row.get("image"), *row.get("images", ())):
            if name:
                Image.new("RGB", (40, 30), "red").save(folder / "images" / name)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def records(name: str, folder: Path, split: str = "train") -> list[Any]:
    """What the format reads."""
    return list(get(name).read(Files(folder), split, "en"))


def test_the_document_shows_a_row_of_every_format() -> None:
    assert tuple(ROWS) == OWN_NAMES


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.name)
def test_the_table_of_formats_is_that_of_the_values(entry: Any) -> None:
    found = get(entry.name)
    assert (found.name, found.task, found.title) == (entry.name, entry.task, entry.title)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_a_row_of_the_document_is_trained_on_and_scored(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**ROWS[name], **({"images": ["c.jpg", "d.jpg"]} if "images" in ROWS[name]
                              else {"image": "c.jpg"})}  # fmt: skip
    if "label" in other:
        other["label"] = "another"  # one label alone teaches nothing
    for split in ("train", "test"):
        write(tmp_path, split, [ROWS[name], other])
    out = tmp_path / "runs"
    assert main(["run", f"benchmark={name}:mine", f"data={tmp_path}", f"out={out}", *SHORT]) == 0
    record = json.loads((out / "mine-tiny-fine-tuned-own-s42" / "record.json").read_text("utf-8"))
    assert (record["benchmark"], record["suite"], record["n"]) == ("mine", "own", 2)
    assert record["metrics"][get(name).headline]["value"] is not None
    capsys.readouterr()
    predicted = out / "mine-tiny-fine-tuned-own-s42" / "predictions.jsonl"
    words = [f"benchmark={name}:mine", f"predictions={predicted}", f"data={tmp_path}"]
    assert main(["score", *words]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["metrics"] == record["metrics"]


def test_rows_of_one_image_are_one_record(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "caption": text} for text in ("one", "two")]
    (record,) = records("own_retrieval", write(tmp_path, "train", rows))
    assert (record.id, record.texts) == ("a.jpg", ("one", "two"))
    assert record.target == {"text_ids": ["a.jpg#0", "a.jpg#1"]}
    assert record.images[0].path == str(tmp_path / "images" / "a.jpg")


def test_images_may_be_absolute_or_in_a_folder_of_their_own(tmp_path: Path) -> None:
    row = {"image": str(tmp_path / "x" / "a.png"), "question": "what?", "answer": "b"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert records("own_answering", tmp_path)[0].images[0].path == row["image"]
    (tmp_path / "x").mkdir()
    (tmp_path / "train.jsonl").write_text(json.dumps({**row, "image": "a.png"}), encoding="utf-8")
    files = Files(tmp_path, {"images": "x"})
    (record,) = get("own_answering").read(files, "train", "en")
    assert record.images[0].path == row["image"]


def test_one_file_holds_all_splits(tmp_path: Path) -> None:
    rows = "split,image,text,label\n" + "".join(
        f"{split},a.jpg,it,{split}\n" for split in ("train", "dev", "test")
    )
    (tmp_path / "all.csv").write_text(rows, encoding="utf-8")
    files = Files(tmp_path, {"train": "all.csv", "val": "all.csv", "labels": "l.json"})
    (tmp_path / "l.json").write_text('["dev", "train"]', encoding="utf-8")
    benchmark = get("own_labels")
    assert [r.target["label"] for r in benchmark.read(files, "train", "en")] == [1]
    assert [r.target["label"] for r in benchmark.read(files, "val", "en")] == [0]


def test_a_row_of_no_known_split_is_a_bad_row(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "label": "x", "split": split} for split in ("train", "tain", "dev")]
    write(tmp_path, "train", rows)
    with pytest.raises(DataError, match="field 'split' is 'tain'"):
        records("own_labels", tmp_path)
    files = Files(tmp_path, on_error="skip")
    assert len(list(get("own_labels").read(files, "train", "en"))) == 1
    assert {row["source"] for row in files.skipped} == {f"{tmp_path}/train.jsonl:2"}


def test_candidates_and_labels_are_those_of_the_file_or_of_training(tmp_path: Path) -> None:
    given = (["b", "b", "a"], ["a", "a"], ["b"])
    rows = [{"image": "i.jpg", "question": "?", "answers": answers} for answers in given]
    files = Files(write(tmp_path, "train", rows))
    assert candidates(files) == ["b", "a"]
    assert records("own_vqa", tmp_path)[0].target["weights"] == pytest.approx([2 / 3, 1 / 3])
    (tmp_path / "answers.json").write_text('["z"]', encoding="utf-8")
    assert candidates(Files(tmp_path)) == ["z"]
    write(tmp_path, "train", [{"image": "i.jpg", "label": 2}, {"image": "i.jpg", "label": 1}])
    assert classes(Files(tmp_path)) == ["1", "2"]
    (tmp_path / "labels.json").write_text('["2", 2]', encoding="utf-8")
    with pytest.raises(DataError, match="list of different names"):
        classes(Files(tmp_path))


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("own_answering", {"question": "?"}, r"train\.jsonl:1: no field 'answer'"),
        ("own_retrieval", {"text": "?"}, r"train\.jsonl:1: no field 'caption'"),
        ("own_boxes", {"text": "it", "box": [30, 20, 20, 20]}, r"a box inside the image of 40 x 3"),
        ("own_labels", {"text": "it"}, r"no field 'label'"),
    ],
)
def test_a_wrong_row_is_named(name: str, row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        records(name, write(tmp_path, "train", [{"image": "a.png", **row}]))


def test_an_image_without_size_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train", [{"image": "a.png", "text": "it", "box": [1, 1, 2, 2]}])
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"the image .*a\.png cannot be read"):
        records("own_boxes", tmp_path)


def test_names_of_data() -> None:
    assert get("own_vqa:birds").name == "birds"
    for name in ("own_vqa:vqav2", "own_vqa:own_vqa", "own_vqa:a/b"):
        with pytest.raises(ConfigError, match="cannot be the name of your data"):
            get(name)
    with pytest.raises(ConfigError, match="which"):
        plan(compose(["benchmark=own_vqa"]))


def test_settings_of_the_paper_with_data_of_ones_own() -> None:
    for experiment in re.findall(r"`(\w+_(?:base|large))`", DOC):
        words = [f"experiment={experiment}", "benchmark=own_retrieval:birds", "name=birds"]
        chosen: Plan = plan(compose([*words, "data=DIR", "model=base", "train.steps=7"]))
        assert (chosen.benchmark, chosen.folder().name) == ("own_retrieval:birds", "birds")
        assert (chosen.train.steps, chosen.train.epochs, chosen.model.name) == (7, None, "base")


def test_status_and_verify_know_data_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "test", [ROWS["own_retrieval"]])
    words = [f"data={tmp_path}", "benchmark=own_retrieval:birds"]
    assert main(["data", "status", *words]) == 0
    assert "own_retrieval:birds  test   complete  1" in capsys.readouterr().out
    assert main(["data", "verify", *words]) == 0
    assert main(["data", "status", f"data={tmp_path}", "benchmark=own_retrival"]) == 1


def test_the_example_in_python_is_one_of_videos(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", DOC, re.DOTALL)
    assert code is not None
    (tmp_path / "mine.py").write_text(code[1], encoding="utf-8")
    found: Benchmark = get(f"{tmp_path}/mine.py:BENCHMARK")
    (tmp_path / "train.jsonl").write_text('{"image": "a.mp4", "caption": "it"}', encoding="utf-8")
    (record,) = found.read(Files(tmp_path), "train", "en")
    assert (found.name, found.media, record.images[0].kind) == ("clips", "video", "video")


def test_an_error_in_a_users_file_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\ny = x / 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"(?s)ZeroDivisionError.*mine\.py, line 2"):
        get(f"{tmp_path}/mine.py:BENCHMARK")
