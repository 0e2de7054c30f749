"""`x2vlm data …`: settings, downloads from loopback, shards, and what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import BODY, Server, serve
from small_data import CASES, png, write

from x2vlm.cli import main
from x2vlm.cli.data import bytes_watch, spellings
from x2vlm.data.shards import decode_row, read_rows


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def mirror(server: Server, tmp_path: Path) -> list[str]:
    """Words that fetch one file from the server."""
    item = {"url": server.url, "path": "a/file.bin", "size": len(BODY),
            "sha256": hashlib.sha256(BODY).hexdigest()}  # fmt: skip
    table = tmp_path / "downloads.json"
    table.write_text(json.dumps({"about": "a mirror", "mine": [item]}))
    return ["data", "download", f"data={tmp_path / 'data'}", f"table={table}"]


def test_by_default_nothing_is_fetched(
    mirror: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(mirror) == 0
    shown = capsys.readouterr().out
    assert f"planned  {server.url}" in shown
    assert "0.1 MB" in shown
    assert "dry_run=false" in shown
    assert server.ranges == []
    assert not (tmp_path / "data").exists()


def test_the_whole_official_table_can_be_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "download", f"data={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "v2_Questions_Val_mscoco.zip, size unknown, unpacked below" in shown
    assert list(tmp_path.iterdir()) == []


def test_fetched_in_spite_of_faults_then_left_alone(
    mirror: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*mirror, "benchmark=mine", "dry_run=false"]
    server.faults = ["drop"]
    assert main(words) == 0
    assert (tmp_path / "data/a/file.bin").read_bytes() == BODY
    told = capsys.readouterr()
    assert "fetched  " in told.out
    assert "a/file.bin: 0.1 MB of 0.1 MB (100 %)" in told.err
    assert main(words) == 0
    assert "there    " in capsys.readouterr().out
    assert server.ranges == [None, f"bytes={len(BODY) // 2}-"]


def test_what_cannot_be_fetched_says_why(
    mirror: list[str], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults = [404]
    assert main([*mirror, "benchmark=mine", "dry_run=false"]) == 1
    assert "HTTP Error 404" in capsys.readouterr().err


def test_progress_is_told_now_and_then_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    tell = bytes_watch()
    for done in range(0, 5_000_001, 1_000_000):
        tell(done, 5_000_000, "x.zip")
    tell(1_000_000, None, "y.zip")
    assert capsys.readouterr().err.split("\n") == ["\rx.zip: 5.0 MB of 5.0 MB (100 %)", ""]


@pytest.fixture
def coco(tmp_path: Path) -> list[str]:
    """Words that make shards of three captioned images, of which one is tested on."""
    names = [f"COCO_val2014_{n:012d}.jpg" for n in (1, 2, 3)]
    for name in names:
        (tmp_path / "images/coco/val2014").mkdir(parents=True, exist_ok=True)
        (tmp_path / "images/coco/val2014" / name).write_bytes(png())
    captions = tmp_path / "captions_val2014.json"
    captions.write_text(json.dumps({
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names, 1)],
        "annotations": [{"image_id": n, "caption": f"thing {n}"} for n in (1, 2, 3)],
    }))  # fmt: skip
    tested = [{"image": f"val2014/{names[1]}", "caption": ["thing 2"]}]
    (tmp_path / "coco_test.json").write_text(json.dumps(tested))
    return ["data", "shards", "kind=coco-captions", f"annotations={captions}",
            f"images={tmp_path / 'images/coco/val2014'}", f"out={tmp_path / 'shards'}"]  # fmt: skip


def captions(folder: Path) -> list[str]:
    paths = sorted(folder.glob("*.jsonl*"))
    return [decode_row(row, "x")["caption"][0] for path in paths for _, row in read_rows(path)]


def test_shards_leave_out_what_is_tested_on(
    coco: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*coco, "rows=1"]) == 0
    assert captions(tmp_path / "shards") == ["thing 1", "thing 2", "thing 3"]
    assert "3 rows with 0 boxes in 3 shards" in capsys.readouterr().out
    out = [f"out={tmp_path / 'held'}", "format=jsonl", "inline=false"]
    assert main([*coco[:-1], *out, f"data={tmp_path}", "exclude=coco_retrieval:test"]) == 0
    assert captions(tmp_path / "held") == ["thing 1", "thing 3"]
    assert "1 images held out" in capsys.readouterr().out


def test_bad_images_stop_or_are_named(
    coco: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images/coco/val2014/COCO_val2014_000000000003.jpg").unlink()
    assert main(coco) == 1
    assert "COCO_val2014_000000000003.jpg" in capsys.readouterr().err
    assert main([*coco[:-1], f"out={tmp_path / 'other'}", "on_error=skip"]) == 0
    assert "skipped: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["000000000042.jpg", "COCO_val2014_000000000042.jpg", "COCO_train2014_000000000042.jpg"]
)
def test_an_image_of_coco_is_known_by_all_its_names(name: str) -> None:
    assert set(spellings(name)) == {
        "000000000042.jpg", "COCO_val2014_000000000042.jpg", "COCO_train2014_000000000042.jpg",
    }  # fmt: skip
    assert spellings("36979.jpg") == ("36979.jpg",)


def test_verify_goes_on_from_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, CASES["winoground"])
    path = tmp_path / "winoground/examples.jsonl"
    path.rename(path.with_name("examples.first2.jsonl"))
    words = ["data", "verify", f"data={tmp_path}", "benchmark=winoground",
             f"resume={tmp_path / 'sound.jsonl'}"]  # fmt: skip
    for known in (0, 1):
        assert main(words) == 0
        assert (" 0 known" in capsys.readouterr().out) == (known == 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "x2vlm data download data=DIR"),
        (["statsu"], "did you mean 'status'"),
        (["status"], "data=… is missing"),
        (["status", "data=.", "benchmrk=x"], "did you mean 'benchmark'"),
        (["status", "data=.", "benchmark=vqa"], "did you mean 'vqav2'"),
        (["download", "data=x", "dry_run=false"], "benchmark=NAME,… is missing"),
        (["download", "data=x", "benchmark=winoground"], "gated or on request"),
        (["download", "data=x", "dry_run=perhaps"], "true or false"),
        (["shards", "kind=x", "annotations=a", "images=b", "out=c"], "unknown kind of shards"),
        (["shards", "kind=vg-objects", "annotations=a", "images=b", "out=c", "rows=0"], "rows is"),
        (["shards", "kind=vg-objects", "annotations=a", "images=b", "out=c", "format=zip"],
         "unknown format of shards"),
        (["shards", "kind=vg-objects", "annotations=a", "images=b", "out=c", "exclude=ovad"],
         "needs data=DIR"),
    ],
)  # fmt: skip
def test_bad_words_say_what_to_do(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *words]) == 1
    assert message in capsys.readouterr().err


def test_help_tells_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("data status", "data verify", "data download", "data shards", "data mini",
                 "dry_run=false", "exclude=BENCHMARK:SPLIT"):  # fmt: skip
        assert word in shown
