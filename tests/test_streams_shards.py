"""Shards: every format gives its rows back from any row on, and a broken one stops with its row."""

from __future__ import annotations

import base64
import io
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.stream_rows import FORMS, ROWS, loader, take, write_folders
from x2vlm.data.shards import decode_row, find_shards, read_rows, write_shards
from x2vlm.errors import DataError


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_folders(tmp_path_factory.mktemp("shards"))


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_rows_back_from_any_row_on(
    folders: Mapping[str, Path], form: str
) -> None:
    shards = find_shards(folders[form])
    assert len(shards) == 5
    rows = [decode_row(row, "x") for path in shards for _, row in read_rows(path)]
    assert [row["caption"] for row in rows] == [row["caption"] for row in ROWS]
    pixels = rows[3]["binary"]
    stored = pixels if isinstance(pixels, bytes) else base64.b64decode(pixels)
    assert stored == base64.b64decode(ROWS[3]["binary"])
    assert [number for number, _ in read_rows(shards[0], 3)] == [3, 4]
    assert [decode_row(row, "x")["caption"] for _, row in read_rows(shards[1], 2)] == [
        f"picture number {i}" for i in (7, 8, 9)
    ]
    assert not list(shards[0].parent.glob("*.writing"))


def test_the_same_rows_make_the_same_bytes(folders: Mapping[str, Path], tmp_path: Path) -> None:
    for form in FORMS[:2]:
        again = write_shards(ROWS, tmp_path / form, 5, form)
        for path in again:
            assert path.read_bytes() == (folders[form] / path.name).read_bytes()


def test_a_shorter_build_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "000003.tar").touch()  # of another form: not this build's
    write_shards(ROWS, tmp_path, 5, "jsonl")
    shards = write_shards(ROWS[:7], tmp_path, 5, "jsonl")
    assert sorted(tmp_path.glob("*.jsonl")) == shards
    assert len(shards) == 2
    assert (tmp_path / "000003.tar").exists()


def test_tar_members_are_grouped_as_webdataset_does(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in {
            "d/1.jpg": b"one", "d/1.txt": b"first", "d/2.json": b'{"a": 1}', "d/2.cls": b"7",
            "e/2.txt": b"third", "e/3.json": b"{",
        }.items():  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert list(read_rows(tmp_path / "a.tar")) == [
        (0, {"binary": b"one", "caption": "first"}),
        (1, {"a": 1, "cls": b"7"}),
        (2, {"caption": "third"}),
        (3, {"malformed": "json"}),
    ]


def test_hub_image_columns_are_read(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    image = {"bytes": base64.b64decode(ROWS[0]["binary"]), "path": "a.jpg"}
    table = pyarrow.Table.from_pylist([{"image": image, "caption": ["a dog", "the dog"]}])
    parquet.write_table(table, tmp_path / "train.parquet")
    [batch] = take(loader(tmp_path, size=1), 1)
    assert batch.ids[0] in ("a dog", "the dog")


def test_a_broken_shard_stops_with_its_row(folders: Mapping[str, Path], tmp_path: Path) -> None:
    for form in FORMS[1:]:
        path = tmp_path / f"half.{form}"
        whole = (folders[form] / f"000000.{form}").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=rf"half\.{form}:\d+: shard is broken"):
            list(read_rows(path))
        with pytest.raises(DataError, match="shard is broken"):
            take(loader(path), 3)


def test_a_tar_of_many_members_is_not_remembered(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        [path] = write_shards(({"caption": "a"} for _ in range(rows)), tmp_path / str(rows),
                              rows, "tar")  # fmt: skip
        tracemalloc.start()
        assert sum(1 for _ in read_rows(path)) == rows
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(4000) < 1.5 * peak(400)


def test_parquet_rows_have_only_their_own_fields(tmp_path: Path) -> None:
    """A column of mappings gives every row all names; what a row does not say stays unsaid."""
    elems = [{"bb": [0, 0, 9, 9], "caption": "dog", "attributes": ["big"]},
             {"bb": [1, 1, 9, 9], "caption": "cat"}]  # fmt: skip
    rows = [{"binary": ROWS[0]["binary"], "elems": elems},
            {"caption": "a dog", "elems": elems[1:]}]  # fmt: skip
    [path] = write_shards(rows, tmp_path, form="parquet")
    assert [row for _, row in read_rows(path)] == rows
