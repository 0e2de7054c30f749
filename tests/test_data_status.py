"""What is on the disk: complete, partial, missing, broken; and is it sound?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from benchmarks import facts
from benchmarks.facts import Fact
from benchmarks.inspect_data import Status, status, status_table, verify
from tests.small_data import CASES, INSTANCES, jpeg, png, write
from x2vlm.types import Record


def row(root: Path, name: str, split: str) -> Status:
    return next(row for row in status(root, names=[name]) if row.split == split)


@pytest.fixture
def nlvr2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete NLVR2 dev split of two records."""
    write(tmp_path, CASES["nlvr2"])
    known = {"nlvr2": {"dev": {"en": Fact(2, 2)}}}
    monkeypatch.setattr(facts, "load", lambda name: known.get(name, {}))
    return tmp_path


def test_complete(nlvr2: Path) -> None:
    found = row(nlvr2, "nlvr2", "dev")
    assert (found.state, found.records, found.media, found.note) == ("complete", 2, 4, "")


def test_images_missing(nlvr2: Path) -> None:
    (nlvr2 / CASES["nlvr2"].pictures[0]).unlink()
    found = row(nlvr2, "nlvr2", "dev")
    assert (found.state, found.records, found.media, found.media_expected) == ("partial", 2, 2, 4)


def test_cut_file_beside_a_whole_one(nlvr2: Path) -> None:
    path = nlvr2 / "nlvr2/dev.json"
    (nlvr2 / "nlvr2/dev.avail1.json").write_text(path.read_text().split("\n")[0] + "\n")
    found = row(nlvr2, "nlvr2", "dev")
    assert (found.state, found.records, found.records_expected) == ("partial", 1, 2)
    assert "part of the split: nlvr2/dev.avail1.json" in found.note
    assert "nlvr2/dev.json beside it: 2 records, 2 with their media" in found.note


def test_records_of_several_languages_are_counted_each(tmp_path: Path) -> None:
    """Ids are the same in every language: two records in two languages are four."""
    german = write(tmp_path, CASES["xflickrco"])
    (tmp_path / CASES["xflickrco"].pictures[0]).unlink()
    spanish = tmp_path / "xflickrco/es/test.jsonl"
    spanish.parent.mkdir()
    spanish.write_text(german.read_text())
    for path in (german, spanish):
        path.with_name("test.avail.jsonl").write_text(path.read_text().splitlines()[1] + "\n")
    found = row(tmp_path, "xflickrco", "test")
    assert (found.records, found.media, found.languages) == (2, 2, ("de", "es"))
    assert "4 records, 2 with their media" in found.note
    assert "xflickrco/es/test.jsonl" in found.note


def test_look_alikes_are_no_part_of_the_benchmark(tmp_path: Path) -> None:
    files = CASES["winoground"].files
    path = tmp_path / "winoground/curated_synthetic/examples.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in next(iter(files.values()))))
    found = row(tmp_path, "winoground", "test")
    assert (found.state, found.records, found.records_expected) == ("missing", 0, 400)
    assert "look-alike" in found.note
    assert "gated" in found.note


def test_missing_says_what_to_get_and_how(tmp_path: Path) -> None:
    found = row(tmp_path, "winoground", "test")
    assert found.state == "missing"
    for text in ("examples.jsonl", "gated", "huggingface.co/datasets/facebook/winoground"):
        assert text in found.note


def test_broken(nlvr2: Path) -> None:
    path = nlvr2 / "nlvr2/dev.json"
    path.write_text(path.read_text() + path.read_text())
    found = row(nlvr2, "nlvr2", "dev")
    assert found.state == "broken"
    assert "occurs twice" in found.note


def test_languages_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, CASES["xgqa"])
    found = row(tmp_path, "xgqa", "test")
    assert (found.state, found.languages) == ("broken", ())  # two questions are not 9 666
    write(tmp_path, CASES["wit"])
    found = row(tmp_path, "wit", "test")
    assert (found.state, found.languages, found.records) == ("partial", ("en",), 2)


def test_table_lists_every_split_and_the_notes(nlvr2: Path) -> None:
    text = status_table(status(nlvr2, names=["nlvr2", "winoground"]))
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["benchmark", "split", "state"]
    assert any(line.split() == ["nlvr2", "dev", "complete", "2", "4"] for line in lines)
    assert any(line.startswith("winoground  test") and "missing" in line for line in lines)
    assert any(line.startswith("winoground test: no file") for line in lines)


def test_status_of_the_pack(shared: Path) -> None:
    rows = {(row.benchmark, row.split): row for row in status(shared / "data")}
    states = {state: sum(row.state == state for row in rows.values()) for state in
              ("complete", "partial", "missing", "broken")}  # fmt: skip
    assert states["broken"] == states["complete"] == 0  # no split has all its images
    assert states["partial"] == 33
    xflickr = rows["xflickrco", "test"]
    assert (xflickr.records, xflickr.records_expected, xflickr.media) == (1984, 16000, 1984)
    assert "16000 records, 1984 with their media" in xflickr.note  # 8 times the 248 of each
    assert "5820 records, 1500 with their media" in rows["xvnli", "test"].note
    assert "4000 records, 972 with their media" in rows["multi30k", "test"].note
    assert rows["coco_multilingual", "test"].records_expected == 11000
    assert rows["winoground", "test"].state == "missing"  # 16 look-alikes are none of the 400
    coco = rows["coco_retrieval", "test"]
    assert (coco.records, coco.records_expected, coco.media) == (38, 5000, 38)
    assert "coco_retrieval/coco_test.json beside it: 5000 records, 39 with their media" in coco.note
    marvl = rows["marvl", "test"]
    assert (marvl.records, marvl.records_expected) == (5670, 5670)
    assert (marvl.media, marvl.media_expected) == (0, 11340)
    assert rows["ovad", "test"].state == "missing"


# -- verify ---------------------------------------------------------------------------------------


def test_sound_data_has_no_problems(nlvr2: Path) -> None:
    report = verify(nlvr2, names=["nlvr2"])
    assert (report.records, report.problems) == (2, [])
    assert report.checked == 2  # two images, each shown by two records
    assert report.known == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "cannot identify"), (png()[:60], ""), (b"no image", "cannot identify")],
)
def test_an_image_that_does_not_decode(nlvr2: Path, data: bytes, reason: str) -> None:
    path = nlvr2 / CASES["nlvr2"].pictures[1]
    path.write_bytes(data)
    report = verify(nlvr2, names=["nlvr2"])
    assert len(report.problems) == 2
    assert path.name in report.problems[0]["reason"]
    assert reason in report.problems[0]["reason"]
    assert "nlvr2/dev.json:1" in report.problems[0]["source"]


def test_a_missing_image_and_a_wrong_count(tmp_path: Path) -> None:
    write(tmp_path, CASES["nlvr2"])
    (tmp_path / CASES["nlvr2"].pictures[1]).unlink()
    reasons = [problem["reason"] for problem in verify(tmp_path, names=["nlvr2"]).problems]
    assert any("officially 6982" in reason for reason in reasons)


def test_boxes_are_held_against_the_real_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES["refcoco"]
    write(tmp_path, case)
    monkeypatch.setattr(facts, "load", lambda _: {})
    assert verify(tmp_path, names=["refcoco"]).problems == []
    (tmp_path / case.pictures[0]).write_bytes(png(30, 20))
    report = verify(tmp_path, names=["refcoco"])
    reasons = [problem["reason"] for problem in report.problems]
    assert "the annotations say [40, 30] pixels, the image has [30, 20]" in reasons
    assert any("is not inside the image of 30 x 20" in reason for reason in reasons)
    tables = json.loads((tmp_path / case.main).read_text())
    tables["annotations"][0]["bbox"] = [0, 0, 0, 5]
    (tmp_path / case.main).write_text(json.dumps(tables))
    reasons = [problem["reason"] for problem in verify(tmp_path, names=["refcoco"]).problems]
    assert any("field 'bbox' is [0, 0, 0, 5]" in reason for reason in reasons)
    assert INSTANCES["annotations"][0]["bbox"] == [1.0, 2.0, 20.0, 10.5]


def test_frames_are_decoded_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["msrvtt_qa"]
    write(tmp_path, case)
    monkeypatch.setattr(facts, "load", lambda _: {})
    assert verify(tmp_path, names=["msrvtt_qa"]).problems == []
    (tmp_path / case.pictures[2]).write_bytes(jpeg()[:200])
    assert len(verify(tmp_path, names=["msrvtt_qa"]).problems) == 2
    (tmp_path / case.pictures[2]).unlink()
    problems = verify(tmp_path, names=["msrvtt_qa"]).problems
    assert "a folder without frames" in problems[0]["reason"]
    shutil.rmtree((tmp_path / case.pictures[2]).parent)
    (tmp_path / "images/msrvtt_frames/video7020.json").write_text('["no base64!"]')
    problems = verify(tmp_path, names=["msrvtt_qa"]).problems
    assert "no JSON list of base64 images" in problems[0]["reason"]


def test_verify_goes_on_where_it_stopped(nlvr2: Path) -> None:
    resume = nlvr2 / "check/verified.jsonl"

    def stop(records: Iterable[Record], _: str) -> Iterator[Record]:
        for record in records:
            yield record
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(nlvr2, names=["nlvr2"], progress=stop, resume=resume)
    with resume.open("a") as file:
        file.write('["cut off')  # as a killed process leaves it
    report = verify(nlvr2, names=["nlvr2"], resume=resume)
    assert (report.checked, report.known, report.problems) == (0, 4, [])
    path = nlvr2 / CASES["nlvr2"].pictures[0]
    path.write_bytes(b"changed since")
    report = verify(nlvr2, names=["nlvr2"], resume=resume)
    assert len(report.problems) == 2
