"""Every reader on spoiled files: an error with file, row, what was expected and what to do — or,
with on_error="skip", a counted and named skip — and never a wrong number."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.files import Files, OnError
from benchmarks.media import check_media
from benchmarks.records import load_records
from benchmarks.registry import NAMES, get
from tests.small_data import CASES, encode, write
from x2vlm.errors import DataError
from x2vlm.types import Record

JSON_CASES = [name for name in NAMES if name != "multi30k"]
ROW_CASES = [name for name in NAMES if CASES[name].text not in ("", "line")]
GROUPED = ("msrvtt_retrieval", "coco_multilingual", "wit")
"""rows are captions, joined to images: a doubled row is one caption more, not a doubled id"""


def read(root: Path, name: str, on_error: OnError = "raise") -> tuple[list[Record], Files]:
    case = CASES[name]
    files = Files(root, on_error=on_error)
    return load_records(get(name), files, case.split, [case.language]), files


def rows_of(content: Any, name: str) -> Any:
    return content[CASES[name].table] if CASES[name].table else content


def spoil(root: Path, name: str, change: Callable[[Any], None]) -> Path:
    """Write the case with `change` applied to the rows of its main file."""
    case = CASES[name]
    path = write(root, case)
    content = copy.deepcopy(case.files[case.main])
    change(rows_of(content, name))
    path.write_bytes(encode(case.main, content))
    return path


def first(rows: Any) -> Any:
    return next(iter(rows.values())) if isinstance(rows, dict) else rows[0]


def assert_error(error: DataError, path: Path, row: bool = False) -> None:
    """The message names the file (and the row), and says what to do or what was expected."""
    assert str(path.name) in str(error), error
    assert error.expected or error.fix, error
    if row:
        assert re.search(r":[\w-]+$", error.source), error


@pytest.mark.parametrize("name", NAMES)
def test_good_data_reads(name: str, tmp_path: Path) -> None:
    write(tmp_path, CASES[name])
    records, files = read(tmp_path, name)
    assert len(records) == CASES[name].count
    assert files.skipped == []
    assert check_media(records, files) == records
    assert all(record.source and record.group for record in records)


@pytest.mark.parametrize("name", NAMES)
def test_missing_file(name: str, tmp_path: Path) -> None:
    write(tmp_path, CASES[name]).unlink()
    with pytest.raises(DataError) as caught:
        read(tmp_path, name)
    assert "no file" in caught.value.what
    assert str(tmp_path) in caught.value.source
    assert "file." in caught.value.fix


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("name", JSON_CASES)
def test_cut_file(name: str, on_error: OnError, tmp_path: Path) -> None:
    path = write(tmp_path, CASES[name])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - len(data) // 4])
    lines = b"\n" in data.strip()
    if lines and on_error == "skip":  # the lines before the broken one are still good
        records, files = read(tmp_path, name, on_error)
        assert len(records) < CASES[name].count or name == "wit"
        assert len(files.skipped) == 1
        assert "is no JSON" in files.skipped[0]["reason"]
        return
    with pytest.raises(DataError) as caught:
        read(tmp_path, name, on_error)
    assert "is no JSON" in caught.value.what
    assert_error(caught.value, path)


@pytest.mark.parametrize("name", ["refcoco", "refcoco_plus", "refcocog"])
def test_cut_pickle(name: str, tmp_path: Path) -> None:
    write(tmp_path, CASES[name])
    path = next(tmp_path.rglob("refs*.p"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="no complete pickle") as caught:
        read(tmp_path, name)
    assert_error(caught.value, path)


@pytest.mark.parametrize("name", ROW_CASES)
@pytest.mark.parametrize("value", [17, None, "", []])
def test_text_of_the_wrong_kind_or_empty(name: str, value: Any, tmp_path: Path) -> None:
    def change(rows: Any) -> None:
        first(rows)[CASES[name].text] = value

    if name == "xflickrco" and value == "":
        return  # see test_empty_caption
    left_out = name == "wit" and value in (None, "")  # the official code leaves these rows out
    path = spoil(tmp_path, name, change)
    if left_out:
        assert sum(len(record.texts) for record in read(tmp_path, name)[0]) == 2
        return
    with pytest.raises(DataError) as caught:
        read(tmp_path, name)
    assert_error(caught.value, path, row=True)


@pytest.mark.parametrize("name", [n for n in ROW_CASES if n not in GROUPED])
def test_bad_row_is_skipped_and_named(name: str, tmp_path: Path) -> None:
    def change(rows: Any) -> None:
        first(rows)[CASES[name].text] = 17

    path = spoil(tmp_path, name, change)
    records, files = read(tmp_path, name, "skip")
    assert len(records) == CASES[name].count - 1
    assert [path.name in skip["source"] for skip in files.skipped] == [True]
    assert "17" in files.skipped[0]["reason"]


@pytest.mark.parametrize("name", ["coco_retrieval", "coco_captioning", "xflickrco", "multi30k"])
def test_empty_caption(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    if name == "multi30k":
        path = write(tmp_path, case)
        path.write_text("un homme\n\n")
    else:
        path = spoil(tmp_path, name, lambda rows: rows[0].update(
            {case.text: [{"raw": " "}] if name.startswith("coco") else [""]}))  # fmt: skip
    if name == "xflickrco":  # one official German caption is empty, and counted in official scores
        records, files = read(tmp_path, name)
        assert len(records) == 2
        assert "empty caption" in files.notes[0]
        return
    with pytest.raises(DataError) as caught:
        read(tmp_path, name)
    assert_error(caught.value, path, row=True)


@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].id])
def test_doubled_id(name: str, tmp_path: Path) -> None:
    path = spoil(tmp_path, name, lambda rows: rows.append(rows[0]))
    with pytest.raises(DataError, match="occurs twice") as caught:
        read(tmp_path, name)
    assert_error(caught.value, path, row=True)
    records, files = read(tmp_path, name, "skip")
    assert len(records) == CASES[name].count
    assert len(files.skipped) == 1


@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].image])
def test_unknown_image(name: str, tmp_path: Path) -> None:
    path = spoil(tmp_path, name, lambda rows: rows[0].update({CASES[name].image: 999}))
    with pytest.raises(DataError, match="is not in") as caught:
        read(tmp_path, name)
    assert_error(caught.value, tmp_path / "refs" if name.startswith("refcoco") else path, row=True)


@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].pictures])
def test_missing_image_file(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    write(tmp_path, case)
    (tmp_path / case.pictures[-1]).unlink()
    if name.startswith("msrvtt"):
        (tmp_path / case.pictures[-1]).parent.rmdir()
        (tmp_path / case.pictures[1]).unlink()
        (tmp_path / case.pictures[1]).parent.rmdir()
    records, files = read(tmp_path, name)
    with pytest.raises(DataError, match="missing, first") as caught:
        check_media(records, files)
    assert_error(caught.value, Path(records[-1].source.rpartition(":")[0]), row=True)
    files.on_error = "skip"
    sound = [r for r in records if all(Path(media.path).exists() for media in r.images)]
    if sound:
        assert check_media(records, files) == sound
        assert len(files.skipped) == len(records) - len(sound)
        assert "missing" in files.skipped[0]["reason"]
    else:  # nothing would be left: that is never silently scored
        with pytest.raises(DataError, match="missing"):
            check_media(records, files)


BOXES = {
    "outside": ([30.0, 2.0, 20.0, 10.0], "inside the image"),
    "no area": ([3.0, 2.0, 0.0, 10.0], "positive width"),
    "negative": ([3.0, 2.0, 5.0, -1.0], "positive width"),
    "three numbers": ([3.0, 2.0, 5.0], "four numbers"),
    "words": (["a", 2, 3, 4], "four numbers"),
    "not a number": ([float("nan"), 2.0, 3.0, 4.0], "four numbers"),
}


@pytest.mark.parametrize("kind", BOXES)
@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].box])
def test_bad_box(name: str, kind: str, tmp_path: Path) -> None:
    box, expected = BOXES[kind]
    path = spoil(tmp_path, name, lambda rows: rows[0].update({"bbox": box}))
    with pytest.raises(DataError) as caught:
        read(tmp_path, name)
    assert expected in caught.value.expected
    assert_error(caught.value, path, row=True)
    if name == "ovad":
        assert len(read(tmp_path, name, "skip")[0]) == 1


@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].answers])
def test_question_without_answers(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    write(tmp_path, case)
    path = tmp_path / case.answers
    content = copy.deepcopy(case.files[case.answers])
    row = first(content["annotations"] if name == "vqav2" else content)
    row["answers" if name == "vqav2" else "answer"] = [] if name == "vqav2" else ""
    path.write_bytes(encode(case.answers, content))
    with pytest.raises(DataError, match="answer") as caught:
        read(tmp_path, name)
    assert_error(caught.value, tmp_path / case.main, row=True)
    assert len(read(tmp_path, name, "skip")[0]) == case.count - 1


def test_question_without_annotation(tmp_path: Path) -> None:
    case = CASES["vqav2"]
    write(tmp_path, case)
    (tmp_path / case.answers).write_text(json.dumps({"annotations": []}))
    with pytest.raises(DataError, match="question 42000 has no annotation"):
        read(tmp_path, "vqav2")


@pytest.mark.parametrize("lines", ["un homme\n", "un homme\nun chien\nun chat\n"])
def test_language_file_of_another_length(lines: str, tmp_path: Path) -> None:
    path = write(tmp_path, CASES["multi30k"])
    path.write_text(lines)
    with pytest.raises(DataError, match="lines, but") as caught:
        read(tmp_path, "multi30k")
    assert_error(caught.value, path)


@pytest.mark.parametrize("name", NAMES)
def test_not_utf8(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, CASES[name])
    data = path.read_bytes()
    cut = data.index(b"a", len(data) // 3) if name != "multi30k" else 3
    path.write_bytes(data[:cut] + b"\xe9" + data[cut + 1 :])
    with pytest.raises(DataError, match="not UTF-8") as caught:
        read(tmp_path, name)
    assert_error(caught.value, path)
    assert re.search(r":\d+$", caught.value.source)


@pytest.mark.parametrize("name", ["nlvr2", "marvl"])
def test_label_that_is_no_truth_value(name: str, tmp_path: Path) -> None:
    path = spoil(tmp_path, name, lambda rows: rows[0].update({"label": "perhaps"}))
    with pytest.raises(DataError, match="perhaps") as caught:
        read(tmp_path, name)
    assert_error(caught.value, path, row=True)


def test_ovad_vector_of_another_length(tmp_path: Path) -> None:
    path = spoil(tmp_path, "ovad", lambda rows: rows[0].update({"att_vec": [1]}))
    with pytest.raises(DataError) as caught:
        read(tmp_path, "ovad")
    assert "2 values" in caught.value.expected
    assert_error(caught.value, path, row=True)
