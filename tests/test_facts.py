"""Counts and ids of the official files, and what happens when a user's file has others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import facts
from benchmarks.facts import Fact, check_facts, expected, hash_ids, measure
from benchmarks.files import Files
from benchmarks.records import load_records
from benchmarks.registry import NAMES, get
from tests.small_data import CASES, write
from x2vlm.errors import DataError
from x2vlm.types import Record

SPEC = {
    ("coco_retrieval", "test", "en"): (5000, 25010),
    ("flickr30k_retrieval", "test", "en"): (1000, 5000),
    ("vqav2", "val", "en"): (214354, 214354),
    ("vqav2", "test-dev", "en"): (107394, 107394),
    ("vqav2", "test", "en"): (447793, 447793),
    ("nlvr2", "dev", "en"): (6982, 6982),
    ("nlvr2", "test", "en"): (6967, 6967),
    ("refcoco_plus", "val", "en"): (10758, 10758),
    ("refcoco_plus", "testA", "en"): (5726, 5726),
    ("refcoco_plus", "testB", "en"): (4889, 4889),
    ("winoground", "test", "en"): (400, 800),
    ("ovad", "test", "en"): (14300, 14300),
    ("msrvtt_retrieval", "test", "en"): (1000, 1000),
    ("msrvtt_qa", "test", "en"): (72821, 72821),
    ("msvd_qa", "test", "en"): (13157, 13157),
    ("gqa", "testdev", "en"): (12578, 12578),
    ("xgqa", "testdev", "ko"): (12578, 12578),
    ("xgqa", "test", "bn"): (9666, 9666),
    ("multi30k", "test", "de"): (1000, 5000),
    ("multi30k", "test", "cs"): (1000, 1000),
    ("xvnli", "test", "ru"): (1164, 1164),
    ("marvl", "test", "ta"): (1242, 1242),
    ("xflickrco", "test", "tr"): (2000, 2000),
}


@pytest.mark.parametrize("key", SPEC)
def test_the_counts_of_the_specification(key: tuple[str, str, str]) -> None:
    fact = expected(*key)
    assert fact is not None
    assert (fact.records, fact.texts) == SPEC[key]


@pytest.mark.parametrize("path", sorted(facts.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_facts_name_benchmarks_splits_and_languages_that_exist(path: Path) -> None:
    benchmark = get(path.stem)
    assert json.loads(path.read_text())["source"]
    for split, languages in facts.load(path.stem).items():
        allowed = benchmark.split(split).languages or benchmark.languages
        assert set(languages) <= {"*", *allowed}


def read(root: Path, name: str, language: str = "en") -> tuple[list[Record], Files]:
    write(root, CASES[name])
    files = Files(root)
    return load_records(get(name), files, CASES[name].split, [language]), files


def set_fact(monkeypatch: pytest.MonkeyPatch, name: str, fact: Fact) -> None:
    known = {CASES[name].split: {"*": fact}}
    monkeypatch.setattr(facts, "load", lambda asked: known if asked == name else {})


def test_another_count_is_an_error_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, files = read(tmp_path, "nlvr2")
    assert_fails = pytest.raises(DataError, match="2 records with 2 texts, officially 6982")
    with assert_fails as caught:
        check_facts(get("nlvr2"), "dev", records, files)
    assert "nlvr2/dev.json" in caught.value.source
    set_fact(monkeypatch, "nlvr2", Fact(2, 3))
    with pytest.raises(DataError, match="officially 2 with 3"):
        check_facts(get("nlvr2"), "dev", records, files)
    set_fact(monkeypatch, "nlvr2", Fact(1, 1))
    with pytest.raises(DataError, match="officially 1 with 1"):
        check_facts(get("nlvr2"), "dev", records, files)


def test_equal_counts_with_other_ids_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, files = read(tmp_path, "nlvr2")
    set_fact(monkeypatch, "nlvr2", measure(records))
    assert check_facts(get("nlvr2"), "dev", records, files) == []
    other = [dataclasses.replace(records[0], id="dev-1-1-1"), records[1]]
    with pytest.raises(DataError, match="other ids"):
        check_facts(get("nlvr2"), "dev", other, files)


def test_a_part_is_told_not_refused(tmp_path: Path) -> None:
    write(tmp_path, CASES["nlvr2"])
    (tmp_path / "nlvr2/dev.json").rename(tmp_path / "nlvr2/dev.avail.json")
    files = Files(tmp_path)
    records = load_records(get("nlvr2"), files, "dev")
    notes = check_facts(get("nlvr2"), "dev", records, files)
    assert notes == ["nlvr2 dev/en: partial, 2 of 6982 records"]


def test_skipped_rows_make_a_part(tmp_path: Path) -> None:
    records, files = read(tmp_path, "nlvr2")
    files.skipped.append({"source": "x", "reason": "y"})
    assert check_facts(get("nlvr2"), "dev", records, files) == [
        "nlvr2 dev/en: partial, 2 of 6982 records"
    ]


def test_ids_are_hashed_without_order_and_language(tmp_path: Path) -> None:
    records, _ = read(tmp_path, "xflickrco", "de")
    assert records[0].id.startswith("de:")
    assert measure(records).ids_sha256 == hash_ids(["COCO_val2014_000000000042", "1007129816"])


def test_whole_files_of_the_pack_have_the_ids_that_are_noted(shared: Path) -> None:
    checked = 0
    for name in NAMES:
        for split, languages in facts.load(name).items():
            for language, fact in languages.items():
                if not fact.ids_sha256:
                    continue
                files = Files(shared / "data", prefer="whole")
                records = list(get(name).read(files, split, language))
                assert check_facts(get(name), split, records, files) == []
                assert measure(records) == fact
                checked += 1
    assert checked == 38
