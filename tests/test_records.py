"""Records of one split: languages that are not there are told, and never silently averaged away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.files import Files
from benchmarks.records import load_records, missing_languages
from benchmarks.registry import get
from x2vlm.errors import DataError, NoFileError


def marvl(root: Path, *languages: str, rows: int = 2) -> Files:
    """MaRVL of some languages, without images."""
    (root / "marvl").mkdir(exist_ok=True)
    for language in languages:
        lines = [
            {"id": f"{language}-{n}", "left_img": "1.jpg", "right_img": "2.jpg", "label": True,
             "caption": "something", "concept": "1-Rock", "chapter": "x"}
            for n in range(rows)
        ]  # fmt: skip
        path = root / "marvl" / f"marvl-{language}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Files(root)


def test_the_languages_that_are_there_are_read_and_the_others_named(tmp_path: Path) -> None:
    files = marvl(tmp_path, "sw", "ta")
    found = load_records(get("marvl"), files, "test", limit=1)
    assert [record.id for record in found] == ["sw:sw-0", "ta:ta-0"]
    [note] = files.notes
    assert "no files for id, tr, zh; evaluated: sw, ta." in note
    assert missing_languages(get("marvl"), "test", found) == ("id", "tr", "zh")


def test_a_language_that_is_named_must_be_there(tmp_path: Path) -> None:
    files = marvl(tmp_path, "sw")
    with pytest.raises(NoFileError, match="in language 'zh'"):
        load_records(get("marvl"), files, "test", ["sw", "zh"])
    found = load_records(get("marvl"), files, "test", ["sw"])
    assert files.notes == []
    assert missing_languages(get("marvl"), "test", found) == ("id", "ta", "tr", "zh")


def test_no_language_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoFileError, match="in language 'id'"):
        load_records(get("marvl"), Files(tmp_path), "test")


def test_a_broken_language_is_not_a_missing_one(tmp_path: Path) -> None:
    files = marvl(tmp_path, "sw", "ta")
    (tmp_path / "marvl" / "marvl-ta.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"marvl-ta\.jsonl"):
        load_records(get("marvl"), files, "test")


def test_nothing_is_missing_when_all_are_there_and_english_may_be(tmp_path: Path) -> None:
    files = marvl(tmp_path, *get("marvl").splits["test"].languages)
    found = load_records(get("marvl"), files, "test")
    assert missing_languages(get("marvl"), "test", found) == ()
    assert "en" not in missing_languages(get("xvnli"), "test", found)
    assert files.notes == []


def test_every_multilingual_benchmark_of_the_pack_is_read_without_naming_languages(
    shared: Path,
) -> None:
    absent = {
        "xgqa": ("bn", "de", "id", "ko", "pt", "ru", "zh"), "coco_multilingual": ("zh", "ja"),
    }  # fmt: skip
    for name in ("xgqa", "multi30k", "coco_multilingual", "xvnli", "marvl", "xflickrco", "wit"):
        benchmark = get(name)
        found = load_records(benchmark, Files(shared / "data"), "test", limit=2)
        assert missing_languages(benchmark, "test", found) == absent.get(name, ())
