"""Carriers of rows: what each reads, and what each says of a file that is not right."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.files import Files, extent, under
from benchmarks.media import Images, Videos, image_size, missing_media
from benchmarks.readers import read_lines, read_pickle, read_rows
from benchmarks.rows import Row
from tests.small_data import png
from x2vlm.errors import DataError
from x2vlm.types import Media, Record

ROWS = [{"a": 1, "b": "é"}, {"a": 2, "b": "x"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.json", json.dumps(ROWS).encode()),
        ("rows.json", json.dumps(ROWS, indent=2).encode()),
        ("rows.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("rows.json", LINES),
        ("rows.json", LINES.replace(b"\n", b"\r\n\r\n")),
        ("rows.jsonl", LINES),
        ("rows.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("rows.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("rows.json", json.dumps({"info": {}, "table": ROWS}).encode()),
        ("rows.json", json.dumps({"first": ROWS[0], "second": ROWS[1]}).encode()),
    ],
)
def test_json_carriers_hold_the_same_rows(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    rows = read_rows(Files(tmp_path), path, table="table")
    assert [dict(row.values) for row in rows] == ROWS
    assert all(row.source.startswith(f"{path}:") for row in rows)


def test_one_json_line_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"a": 1}\n')
    assert [row.values for row in read_rows(Files(tmp_path), path)] == [{"a": 1}]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n1,"x, y"\n2,z\n')
    assert [r.values for r in read_rows(Files(tmp_path), path)] == [
        {"a": "1", "b": "x, y"},
        {"a": "2", "b": "z"},
    ]
    path.write_text("a,b\n1,x\n2\n")
    with pytest.raises(DataError, match="has 1 fields, the head 2") as caught:
        read_rows(Files(tmp_path), path)
    assert caught.value.source == f"{path}:2"


@pytest.fixture
def table() -> Any:
    import datasets

    rows = {"id": [1, 2], "image": [{"bytes": png(), "path": "a.png"}] * 2, "text": ["x", "y"]}
    return datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())


@pytest.mark.parametrize("kind", ["saved", "parquet", "shards"])
def test_datasets_layouts_keep_images_encoded(kind: str, table: Any, tmp_path: Path) -> None:
    if kind == "saved":
        table.save_to_disk(str(tmp_path / "test"))
        path = tmp_path / "test/state.json"
    elif kind == "parquet":
        path = tmp_path / "test.parquet"
        table.to_parquet(str(path))
    else:
        for i in (0, 1):
            table.select([i]).to_parquet(str(tmp_path / f"test-0000{i}-of-00002.parquet"))
        path = tmp_path / "test-00000-of-00002.parquet"
    rows = read_rows(Files(tmp_path), path)
    assert [row.text("text") for row in rows] == ["x", "y"]
    media = rows[1].picture("image")
    assert media is not None
    assert media.inline == (png(),)
    assert image_size(media) == [40, 30]


def test_a_missing_shard_is_an_error(table: Any, tmp_path: Path) -> None:
    path = tmp_path / "test-00000-of-00003.parquet"
    table.to_parquet(str(path))
    with pytest.raises(DataError, match="1 of 3 parquet shards"):
        read_rows(Files(tmp_path), path)


def test_a_broken_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read by `datasets`"):
        read_rows(Files(tmp_path), path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"[1, 2]", "the row is a int"),
        (b"3", "holds a int"),
        (b'[{"a": 1}, {"a"', "cut short"),
        (gzip.compress(LINES, mtime=0)[:-12], "cannot be read"),
        (b'{"a": 1}\n{"a": \xff}\n', "not UTF-8"),
    ],
)
def test_broken_files_are_named(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_rows(Files(tmp_path), path)
    assert str(path) in caught.value.source


def test_lines_are_ended_by_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("one\u2028still one\r\ntwo\x0bstill two\n".encode())
    assert read_lines(path) == ["one\u2028still one", "two\x0bstill two"]


PLAIN = {"refs": [{"id": 1, "tags": ("a", b"b", None, True, 1.5)}], "set": {1, 2}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_plain_containers(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    value = PLAIN if protocol >= 4 else {"refs": [{"id": 1, "tags": ("a", None, 1.5)}]}
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_pickle(path) == value


def test_pickles_of_python_2_hold_text(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'a man'\np3\nsa.")
    assert read_pickle(path) == [{"sent": "a man"}]


class Evil:
    """Runs a command when it is read by the ordinary unpickler."""

    def __reduce__(self) -> Any:
        return os.system, ("touch evil",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("value", [Evil(), OrderedDict(a=1), Path("x"), len, ValueError("x")])
def test_anything_else_in_a_pickle_is_refused(
    value: Any, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([value], protocol=protocol))
    with pytest.raises(DataError, match="the pickle asks for") as caught:
        read_pickle(path)
    assert "plain containers" in caught.value.expected
    assert not (tmp_path / "evil").exists()


# -- finding files ------------------------------------------------------------------------------


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("coco_test.json", "whole"),
        ("coco_test.avail38.json", "available"),
        ("avail54_questions.json", "available"),
        ("dev.first400.json", "cut"),
        ("questions.subset.json", "cut"),
        ("refcoco/avail/refcoco+/refs(unc).p", "available"),
        ("availability.json", "whole"),
        ("first.json", "whole"),
    ],
)
def test_extent_by_name(name: str, kind: str) -> None:
    assert extent(Path(name)) == kind


def test_a_cut_file_is_preferred_told_and_partial(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.json", "a/x.avail3.json", "a/x.first9.json")
    names = under(("a", ""), "x.json")
    files = Files(tmp_path)
    assert files.find("test", names).name == "x.avail3.json"
    assert set(files.partial()) == {"test"}
    assert Files(tmp_path, prefer="cut").find("test", names).name == "x.first9.json"
    whole = Files(tmp_path, prefer="whole")
    assert whole.find("test", names).name == "x.json"
    assert whole.partial() == {}


def test_the_order_of_names_is_stronger_than_that_of_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a/user.json", "b/official.json")
    names = under(("a", "b"), "official.json", "user.json")
    assert Files(tmp_path).find("test", names) == tmp_path / "b/official.json"


def test_given_paths_are_stronger_and_must_exist(tmp_path: Path) -> None:
    touch(tmp_path, "x.json", "mine/de.json", "mine/all.json")
    given = {"test": "mine/{language}.json", "test_fr": "mine/all.json"}
    files = Files(tmp_path, given)
    assert files.find("test", ["x.json"], language="de") == tmp_path / "mine/de.json"
    assert files.find("test", ["x.json"], language="fr") == tmp_path / "mine/all.json"
    with pytest.raises(DataError, match="does not exist"):
        files.find("test", ["x.json"], language="cs")


def test_images_below_the_first_base_that_has_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "images/val2014/a.jpg", "mine/b.jpg")
    found = Images(Files(tmp_path), ("coco", "images"))("val2014/a.jpg")
    assert found == Media(str(tmp_path / "images/val2014/a.jpg"))
    given = Images(Files(tmp_path, {"images": "mine"}), ("images",))("val2014/b.jpg")
    assert Path(given.path).is_file()
    nowhere = Images(Files(tmp_path), ("coco",))("val2014/a.jpg")
    record = Record("1", (found, nowhere), ("x",))
    assert [media for _, media in missing_media([record])] == [nowhere]


def test_videos_are_files_folders_of_frames_or_lists_of_frames(tmp_path: Path) -> None:
    touch(tmp_path, "v/video1.mp4", "v/video2.WEBM", "f/video1/0.jpg", "f/video3/0.jpg",
          "f/video_4.json")  # fmt: skip
    videos = Videos(Files(tmp_path), ("v", "f", "none"))
    kinds = {name: videos(name).kind for name in ("video1", "video2", "video3", "video4")}
    assert kinds == {"video1": "video", "video2": "video", "video3": "frames", "video4": "frames"}
    assert videos("video1.mp4").path == str(tmp_path / "v/video1.mp4")
    assert videos("video9") == Media(str(tmp_path / "v/video9.mp4"), kind="video")


def test_a_row_says_what_it_has() -> None:
    row = Row({"text": 3}, "file.json:7")
    with pytest.raises(DataError, match=r"file\.json:7: field 'text' is 3"):
        row.text("text")
    with pytest.raises(DataError, match=r"no field 'box' \(fields: text\)"):
        row.box("box")
    with pytest.raises(DataError, match="in base64"):
        Row({"image": "no base64!"}, "f:1").base64("image")
