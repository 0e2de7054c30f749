"""Downloads against a server on loopback that breaks in all the usual ways."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import BODY, Server, serve

from benchmarks.download import Item, download, table
from benchmarks.registry import NAMES
from x2vlm.errors import ConfigError, DataError

SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Any:
    """Fetch one item from the server; waits are noted, not slept."""
    waits: list[float] = []

    def run(**fields: Any) -> Any:
        options = {k: fields.pop(k) for k in ("dry_run", "retries", "progress") if k in fields}
        item = Item(server.url, "a/file.bin", **fields)
        return download(["x"], tmp_path, items={"x": [item]}, wait=waits.append, **options)

    run.waits = waits  # type: ignore[attr-defined]
    return run


def test_fetch_check_and_do_nothing_the_second_time(
    fetch: Any, server: Server, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None, str]] = []
    (outcome,) = fetch(sha256=SHA, size=len(BODY), progress=lambda *what: seen.append(what))
    assert (outcome.state, outcome.size) == ("fetched", len(BODY))
    assert (tmp_path / "a/file.bin").read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY), "a/file.bin")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file.bin"]
    assert fetch(sha256=SHA)[0].state == "there"
    assert len(server.ranges) == 1


def test_dry_run_fetches_nothing(fetch: Any, server: Server, tmp_path: Path) -> None:
    assert fetch(dry_run=True, size=5)[0].state == "planned"
    assert server.ranges == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_dropped_connection_is_resumed(
    known: bool, fetch: Any, server: Server, tmp_path: Path
) -> None:
    server.faults = ["drop", "drop", 503]
    fetch(sha256=SHA if known else "", size=len(BODY) if known else None)
    assert (tmp_path / "a/file.bin").read_bytes() == BODY
    half = len(BODY) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + half // 2}-",
                             f"bytes={half + half // 2}-"]  # fmt: skip
    assert fetch.waits == [1.0, 2.0, 4.0]


def test_a_part_of_an_earlier_call_is_resumed(fetch: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file.bin.part").write_bytes(BODY[:1000])
    assert fetch(sha256=SHA)[0].state == "resumed"
    assert server.ranges == ["bytes=1000-"]
    assert (tmp_path / "a/file.bin").read_bytes() == BODY


def test_a_whole_part_is_taken_as_it_is(fetch: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file.bin.part").write_bytes(BODY)
    fetch(sha256=SHA)
    assert server.ranges == [f"bytes={len(BODY)}-"]
    assert (tmp_path / "a/file.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_started_over(
    fetch: Any, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file.bin.part").write_bytes(BODY + b"more")
    fetch(sha256=SHA)
    assert server.ranges == [f"bytes={len(BODY) + 4}-", None]
    assert (tmp_path / "a/file.bin").read_bytes() == BODY


def test_a_server_without_ranges_starts_over(fetch: Any, server: Server, tmp_path: Path) -> None:
    server.faults = ["drop", "no range"]
    fetch(sha256=SHA)
    assert (tmp_path / "a/file.bin").read_bytes() == BODY


def test_wrong_bytes_are_thrown_away(fetch: Any, server: Server, tmp_path: Path) -> None:
    server.faults = ["wrong"]
    fetch(sha256=SHA)
    assert server.ranges == [None, None]
    assert (tmp_path / "a/file.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    ("faults", "fields", "message", "requests"),
    [
        ([500] * 9, {}, "HTTP Error 500", 3),
        ([404], {}, "HTTP Error 404", 1),
        ([403], {}, "HTTP Error 403", 1),
        (["wrong"] * 9, {"sha256": SHA}, "SHA-256", 3),
        ([], {"size": 7}, "bytes instead of 7", 3),
        (["drop"] * 9, {}, "the connection ended after", 3),
    ],
)
def test_giving_up(
    faults: list[Any], fields: dict[str, Any], message: str, requests: int,
    fetch: Any, server: Server, tmp_path: Path,
) -> None:  # fmt: skip
    server.faults = faults
    with pytest.raises(DataError, match=message) as caught:
        fetch(retries=2, **fields)
    assert server.url in caught.value.source
    assert len(server.ranges) == requests
    assert not (tmp_path / "a/file.bin").exists()


def test_no_server(tmp_path: Path) -> None:
    item = Item("http://127.0.0.1:9/x", "x")
    with pytest.raises(DataError, match="cannot be fetched"):
        download(["x"], tmp_path, items={"x": [item]}, retries=0)


def archive(kind: str, names: list[str]) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            for name in names:
                file.writestr(name, name)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(name)
                tar.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_are_unpacked_once(kind: str, fetch: Any, server: Server, tmp_path: Path) -> None:
    server.body = archive(kind, ["top/one.txt", "top/deep/two.txt"])
    fetch(unpack="out", strip=1)
    assert (tmp_path / "out/one.txt").read_text() == "top/one.txt"
    assert (tmp_path / "out/deep/two.txt").exists()
    (tmp_path / "out/one.txt").unlink()
    fetch(unpack="out", strip=1)
    assert not (tmp_path / "out/one.txt").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt"])
def test_archives_stay_in_their_folder(
    name: str, kind: str, fetch: Any, server: Server, tmp_path: Path
) -> None:
    server.body = archive(kind, [name])
    with pytest.raises(DataError, match="leads outside"):
        fetch(unpack="out")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_broken_archive_is_named(fetch: Any) -> None:
    with pytest.raises(DataError, match="no sound archive"):
        fetch(unpack="out")


def test_unknown_and_gated_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gated or on request"):
        download(["winoground"], tmp_path)


def test_the_table_of_urls() -> None:
    items = table()
    assert set(items) <= {*NAMES, "coco_images"}
    assert "winoground" not in items
    for item in functools.reduce(lambda a, b: a + b, items.values()):
        assert item.url.startswith(("https://", "http://images.cocodataset.org/"))
        assert not Path(item.path).is_absolute()
        assert len(item.sha256) in (0, 64)
