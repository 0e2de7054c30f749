"""Rows as users bring them: carriers, separators, field names and texts, recognised by content."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.row_aliases import ALIASES
from tests.field_rows import ROWS, TEXTS, lines, pictures, put, read, table
from x2vlm.data.cleaning import clean_caption, has_word
from x2vlm.errors import DataError

ARRAY = json.dumps(ROWS, indent=1)
CARRIERS = {
    "array named jsonl": ("test.jsonl", ARRAY),
    "array on one line named jsonl": ("test.jsonl", json.dumps(ROWS)),
    "lines named json": ("test.json", lines(ROWS)),
    "lines named csv": ("test.csv", lines(ROWS)),
    "array named csv": ("test.csv", ARRAY),
    "object of objects named jsonl": (
        "test.jsonl",
        json.dumps({str(n): row for n, row in enumerate(ROWS)}, indent=1),
    ),
    "byte order mark": ("test.jsonl", "\ufeff" + lines(ROWS)),
    "UTF-16 lines": ("test.jsonl", lines(ROWS).encode("utf-16")),
    "UTF-16 table": ("test.csv", table(ROWS, "\t").encode("utf-16")),
    "windows line ends": ("test.jsonl", lines(ROWS).replace("\n", "\r\n")),
    "comma": ("test.csv", table(ROWS, ",")),
    "semicolon": ("test.csv", table(ROWS, ";")),
    "tab": ("test.csv", table(ROWS, "\t")),
    "bar": ("test.csv", table(ROWS, "|")),
    "windows table": ("test.csv", table(ROWS, ";").replace("\n", "\r\n")),
    "hub folder of the split": ("test/metadata.jsonl", lines(ROWS)),
    "hub folder of all": (
        "metadata.csv",
        table([{**row, "split": "test"} for row in ROWS], ","),
    ),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_rows_are_read_whatever_carries_them(carrier: str, tmp_path: Path) -> None:
    name, content = CARRIERS[carrier]
    put(pictures(tmp_path), name, content)
    found, files = read("own_retrieval:x", tmp_path)
    assert [record.texts for record in found] == [(text,) for text in TEXTS]
    assert all(Path(record.images[0].path).is_file() for record in found)
    assert files.skipped == []


def test_results_csv_of_flickr30k_as_it_circulates(tmp_path: Path) -> None:
    """Bars with blanks, quotes that are not closed, and one row without its separator."""
    rows = "image_name| comment_number| comment\n" + "".join(
        f'0.png| {k}| "a boat number {k}, here\n' for k in range(3)
    )
    put(pictures(tmp_path), "test.csv", rows + "1.png| 0   A dog runs .\n1.png| 1| a dog\n")
    with pytest.raises(DataError, match=r"test\.csv:4: the row has 2 fields, the head 3.*a bar"):
        read("own_retrieval:x", tmp_path)
    found, files = read("own_retrieval:x", tmp_path, on_error="skip")
    assert [len(record.texts) for record in found] == [3, 1]
    assert len(files.skipped) == 1
    assert any("'comment' is read as 'caption'" in note for note in files.notes)


def test_json_inside_cells(tmp_path: Path) -> None:
    with put(pictures(tmp_path), "test.csv", "").open("w", newline="") as file:
        writer = csv.writer(file)
        cells = ('["one boat", "two"]', "['a hill', 'it\\'s']", "[plain] text")
        writer.writerows([["image", "caption"], *([f"{n}.png", c] for n, c in enumerate(cells))])
    found, _ = read("own_retrieval:x", tmp_path)
    assert [r.texts for r in found] == [("one boat", "two"), ("a hill", "it's"), ("[plain] text",)]
    boxes = 'image,text,box\n0.png,it,"[1, 2, 3, 4]"\n'
    put(tmp_path, "test.csv", boxes)
    assert read("own_boxes:x", tmp_path)[0][0].target["box"] == [1, 2, 3, 4]


def test_a_caption_is_a_text_here_and_a_list_there(tmp_path: Path) -> None:
    rows = [
        *ROWS[:2],
        {"image": "2.png", "caption": ["one", "two"]},
        {"image": "0.png", "caption": ["more"]},
    ]
    put(pictures(tmp_path), "test.jsonl", lines(rows))
    found, _ = read("own_retrieval:x", tmp_path)
    assert [len(record.texts) for record in found] == [2, 1, 2]


@pytest.mark.parametrize("name", ALIASES["image"])
@pytest.mark.parametrize("text", ALIASES["caption"])
def test_other_names_of_fields_are_taken_and_noted(name: str, text: str, tmp_path: Path) -> None:
    put(pictures(tmp_path), "test.jsonl", lines([{name: "0.png", text: "a boat"}]))
    (record,), files = read("own_retrieval:x", tmp_path)
    assert (record.texts, Path(record.images[0].path).name) == (("a boat",), "0.png")
    if text not in ("sentence", "sentences"):
        assert any(f"{text!r} is read as 'caption'" in note for note in files.notes)


@pytest.mark.parametrize(
    ("form", "row", "target"),
    [
        ("own_answering", {"image": "0.png", "sent": "what?", "gt_answer": "boat"}, "boat"),
        ("own_labels", {"img": "0.png", "sentence": "it", "class": "boat"}, 0),
        ("own_boxes", {"file_name": "0.png", "expression": "it", "bbox": [1, 2, 3, 4]}, 1),
    ],
)
def test_other_names_in_every_format(
    form: str, row: dict[str, Any], target: Any, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        put(pictures(tmp_path), f"{split}.jsonl", lines([row]))
    (record,), files = read(f"{form}:x", tmp_path)
    values = record.target
    (found,) = [values[name] for name in ("answers", "label", "box") if name in values]
    assert (found[0] if isinstance(found, list) else found) == target
    assert len(files.notes) >= 2


def test_our_own_name_wins_and_nothing_is_noted(tmp_path: Path) -> None:
    row = {"image": "0.png", "caption": "ours", "text": "theirs", "file_name": "1.png"}
    put(pictures(tmp_path), "test.jsonl", lines([row]))
    (record,), files = read("own_retrieval:x", tmp_path)
    assert (record.texts, files.notes) == (("ours",), [])


def test_a_hub_folder_of_all_splits(tmp_path: Path) -> None:
    rows = [{"file_name": f"{split}/0.png", "text": split} for split in ("train", "test")]
    for split in ("train", "test"):
        pictures(tmp_path, 1)
        (tmp_path / split).mkdir()
        (tmp_path / "images/0.png").rename(tmp_path / split / "0.png")
    put(tmp_path, "metadata.jsonl", lines(rows))
    for split in ("train", "test"):
        (record,), _ = read("own_retrieval:x", tmp_path, split)
        assert record.texts == (split,)
        assert Path(record.images[0].path).is_file()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("<!DOCTYPE html><html>404</html>", "an HTML page instead of data"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "the pointer of Git LFS"),
        ('[{"image": "0.png",\n "caption": "a b', "cut short.*(\n.*)*one JSON array, as it begins"),
        ('{"images": [\n {"image": "0.png",\n "caption": "a b', "the file is cut short"),
    ],
)
def test_one_error_for_a_file_that_holds_no_rows(content: str, what: str, tmp_path: Path) -> None:
    put(pictures(tmp_path), "test.jsonl", content)
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=what):
            read("own_retrieval:x", tmp_path, on_error=on_error)


def test_pictures_inside_the_rows_of_the_hub(tmp_path: Path) -> None:
    """Rows of one picture are one record, whether the column keeps its path or not."""
    datasets = pytest.importorskip("datasets")
    encoded = [(pictures(tmp_path) / f"images/{n}.png").read_bytes() for n in (0, 0, 1)]
    for name in ("a.png", None):
        images = [
            {"bytes": data, "path": name and f"{n // 2}{name}"} for n, data in enumerate(encoded)
        ]
        rows = {"image": images, "text": ["one", "two", "three"]}
        features = datasets.Features(image=datasets.Image(), text=datasets.Value("string"))
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(tmp_path / "test.parquet")
        found, _ = read("own_retrieval:x", tmp_path)
        assert [record.texts for record in found] == [("one", "two"), ("three",)]
        assert found[0].images[0].inline[0] == encoded[0]


# -- usable texts -----------------------------------------------------------------------------

WORDLESS = ("!!!", ".", "\xa0", " \u200b", "- / -", "\u2003;")


@pytest.mark.parametrize("text", WORDLESS)
def test_a_text_without_a_word_is_a_bad_row_before_anything_is_trained(
    text: str, tmp_path: Path
) -> None:
    rows = [*ROWS, {"image": "0.png", "caption": text}]
    put(pictures(tmp_path), "test.jsonl", lines(rows))
    with pytest.raises(DataError, match=r"test\.jsonl:5: "):
        read("own_retrieval:x", tmp_path)
    found, files = read("own_retrieval:x", tmp_path, on_error="skip")
    assert [record.texts for record in found] == [(text,) for text in TEXTS]
    assert [row["source"].rpartition(":")[2] for row in files.skipped] == ["5"]
    for form, field in (("own_boxes", "box"), ("own_labels", "label")):
        row = {"image": "0.png", field: [1, 1, 2, 2] if field == "box" else "x"}
        for split in ("train", "test"):
            put(tmp_path, f"{split}.jsonl", lines([{**row, "text": text}, {**row, "text": "it"}]))
        found, files = read(f"{form}:x", tmp_path, on_error="skip")
        assert (len(found), len(files.skipped)) == (1, 1)


@pytest.mark.parametrize("text", WORDLESS)
def test_wit_keeps_captions_without_a_word_as_the_official_code_does(
    text: str, tmp_path: Path
) -> None:
    rows = [
        {"wit_id": n, "image_url": f"http://x/{n}.png", "caption_reference_description": t}
        for n, t in enumerate(("a lake", text, "", None))
    ]
    put(tmp_path, "wit/test_en.jsonl", lines(rows))
    found, files = read("wit", tmp_path)
    assert [record.texts for record in found] == [("a lake",), (text,)]
    assert any("1 texts without a word, kept" in note for note in files.notes)
    assert any("2 rows without a caption, left out" in note for note in files.notes)
    assert clean_caption(text, 80, "keep") == text


def test_a_question_without_a_word_is_kept_and_counted(tmp_path: Path) -> None:
    rows = [{"image": "0.png", "question": q, "answer": "x"} for q in ("what?", "???")]
    put(pictures(tmp_path), "test.jsonl", lines(rows))
    found, files = read("own_answering:x", tmp_path)
    assert len(found) == 2
    assert any("1 texts without a word" in note for note in files.notes)


def test_a_question_to_train_on_needs_an_answer(tmp_path: Path) -> None:
    rows = [{"image": "0.png", "question": "what?", "answers": a} for a in (["x"], ["", " "])]
    for split in ("train", "test"):
        put(pictures(tmp_path), f"{split}.jsonl", lines(rows))
    with pytest.raises(DataError, match=r"train\.jsonl:2: no answer to train on"):
        read("own_vqa:x", tmp_path, "train")
    assert len(read("own_vqa:x", tmp_path, "train", on_error="skip")[0]) == 1
    assert len(read("own_vqa:x", tmp_path, "test")[0]) == 2


def test_words_of_every_script_are_words() -> None:
    assert all(map(has_word, ("a", "青", "ä", "7", "😀", "$", "\xa0x")))
    assert not any(map(has_word, ("", " ", "\xa0", "\u200b\u2060", "\u3000")))
