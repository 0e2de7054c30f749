"""Files that grow without bound when unpacked are refused, and the limit can be raised."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pytest
import torch
from pyarrow import parquet

from benchmarks.download import Item, download
from benchmarks.readers import read_bytes
from benchmarks.soundness import Sound, check
from x2vlm.data import unpacking
from x2vlm.data.shards import read_rows
from x2vlm.errors import CheckpointError, ConfigError, DataError
from x2vlm.model.checkpoint import read_state
from x2vlm.types import Media

BOMB = b"0" * 4_000_000


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of any file and of a row, small enough for a test."""
    monkeypatch.setattr(unpacking, "LEAST", 2_000_000)
    monkeypatch.setattr("x2vlm.data.shards.LONGEST_ROW", 1_000_000)


def tar_of(path: Path, content: bytes, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("a.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def shard(folder: Path, name: str) -> Path:
    """A shard of 4 MB of zeros, packed into some kilobytes (tar: not packed)."""
    path = folder / name
    if name.endswith("parquet"):
        table = pyarrow.table({"caption": [f"{i}{BOMB.decode()}" for i in range(4)]})
        parquet.write_table(table, path, compression="gzip", use_dictionary=False)
    elif name.endswith("jsonl.gz"):
        path.write_bytes(gzip.compress(b'{"caption": "' + BOMB + b'"}\n'))
    elif name.endswith("jsonl"):
        path.write_bytes(b'{"caption": "' + BOMB + b'"}\n')
    else:
        tar_of(path, BOMB, "w:gz" if name.endswith("gz") else "w")
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.tar", "a.tar.gz", "a.parquet"])
def test_a_shard_that_fills_the_memory_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unpacks to more than|the row has more than"):
        list(read_rows(shard(tmp_path, name)))


def test_many_short_rows_are_counted_together(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"caption": "a"}\n' * 300_000))
    with pytest.raises(DataError, match="unpacks to more than 2 MB"):
        list(read_rows(path))


def test_annotations_are_bounded_and_the_limit_can_be_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(BOMB))
    with pytest.raises(DataError, match=r"(?s)a\.json\.gz: unpacks.*X2VLM_UNPACKED_MB=N"):
        read_bytes(path)
    monkeypatch.setenv("X2VLM_UNPACKED_MB", "5")
    assert read_bytes(path) == BOMB
    monkeypatch.setenv("X2VLM_UNPACKED_MB", "many")
    with pytest.raises(ConfigError, match="whole number of megabytes"):
        read_bytes(path)


def test_what_is_packed_as_files_usually_are_reads(tmp_path: Path) -> None:
    rows = [{"caption": f"text {i * i * i}"} for i in range(100_000)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    assert len(list(read_rows(tmp_path / "a.jsonl.gz"))) == len(rows)
    assert read_bytes(tmp_path / "a.jsonl.gz") == text


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_downloaded_archive_that_fills_the_disk_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.txt", BOMB)
    else:
        tar_of(path, BOMB, "w:gz")
    item = Item("http://nowhere.invalid/a", path.name, unpack="out")
    with pytest.raises(DataError, match="unpacks to more than"):
        download(["a"], tmp_path, items={"a": [item]})
    assert not (tmp_path / "out").exists()


def test_a_torch_file_that_grows_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2_000_000)}, tmp_path / "stored.th")
    with (
        zipfile.ZipFile(tmp_path / "stored.th") as stored,
        zipfile.ZipFile(tmp_path / "packed.th", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    assert read_state(tmp_path / "stored.th")["w"].shape == (2_000_000,)
    with pytest.raises(CheckpointError, match="but unpacked 8"):
        read_state(tmp_path / "packed.th")


def test_a_tensor_larger_than_its_data_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(10**9, 10**3)}, tmp_path / "a.th")
    with pytest.raises(CheckpointError, match="larger than its data in the file"):
        read_state(tmp_path / "a.th")


def test_a_picture_of_too_many_pixels_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    header = b"P1 30000 30000\n"  # a PBM without its pixels
    (tmp_path / "a.pbm").write_bytes(header)
    with pytest.raises(ValueError, match="exceeds limit"):
        check(Media(str(tmp_path / "a.pbm")), Sound(None))
