import base64
import io
import itertools
import json
import sys
import tracemalloc
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from x2vlm.data.concepts import Concepts, ImageText
from x2vlm.data.image import TrainTransform
from x2vlm.data.shards import decode_row, find_shards, read_rows, write_shards
from x2vlm.data.streams import Position, Stream, StreamLoader
from x2vlm.errors import ConfigError, DataError
from x2vlm.types import Batch

FORMS = ("jsonl", "jsonl.gz", "tar", "parquet")
N = 23


def encoded(number: int) -> str:
    pixels = np.random.default_rng(number).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


ROWS = [{"binary": encoded(i), "caption": f"picture number {i}"} for i in range(N)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The rows in shards of five, in every format."""
    root = tmp_path_factory.mktemp("shards")
    for form in FORMS:
        write_shards(ROWS, root / form, 5, form)
    return {form: root / form for form in FORMS}


def collate(rows: Sequence[Concepts]) -> Batch:
    images = torch.stack([row.image for row in rows if row.image is not None])
    return Batch(tuple(row.texts[0] for row in rows), images)


def loader(
    folder: Path, *, size: int = 4, workers: int = 0, buffer: int = 8, max_bad: float = 0.01
) -> StreamLoader:
    stream = Stream(folder, seed=1, buffer=buffer)
    parse = ImageText(TrainTransform(12))
    return StreamLoader(stream, parse, collate, size, workers=workers, max_bad=max_bad)


def take(source: StreamLoader, count: int) -> list[Batch]:
    batches = iter(source)
    taken = [next(batches) for _ in range(count)]
    batches.close()
    return taken


def same(ours: Sequence[Batch], theirs: Sequence[Batch]) -> bool:
    return all(
        a.ids == b.ids and torch.equal(a.image, b.image) for a, b in zip(ours, theirs, strict=True)
    )


# Shards


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
    assert not list(shards[0].parent.glob("*.partial"))


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


def test_missing_shards_are_an_error_that_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for pattern in (tmp_path, str(tmp_path / "*.jsonl"), [tmp_path / "no.tar"]):
        with pytest.raises(DataError, match="no shard found"):
            Stream(pattern, seed=0)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="holds no row"):
        next(Stream(tmp_path, seed=0).deal())


# Order


def sources(stream: Stream, position: Position | None = None) -> list[str]:
    return [turn.entry.source for turn in stream.epoch(position or Position())]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=7),
    st.integers(1, 9),
    st.integers(1, 12),
    st.sampled_from(["auto", "rows"]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_no_row_is_lost_or_doubled_and_every_position_resumes(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    world: int,
    buffer: int,
    split: Any,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("split")
    for number, size in enumerate(sizes):
        (folder / f"{number}.jsonl").write_text('{"a": 1}\n' * size)
    seen: Counter[str] = Counter()
    for rank in range(world):
        stream = Stream(folder, seed=3, rank=rank, world=world, buffer=buffer, split=split)
        turns = list(stream.epoch(Position()))
        seen.update(turn.entry.source for turn in turns)
        if turns:
            stop = data.draw(st.integers(0, len(turns) - 1))
            rest = sources(stream, turns[stop].after)
            assert rest == [turn.entry.source for turn in turns[stop + 1 :]]
    expected = {f"{folder / f'{n}.jsonl'}:{r + 1}" for n, s in enumerate(sizes) for r in range(s)}
    assert set(seen) == expected
    assert set(seen.values()) <= {1}


def test_dealing_rows_makes_the_same_global_order_for_any_world(
    folders: Mapping[str, Path],
) -> None:
    alone = sources(Stream(folders["jsonl"], seed=5, buffer=6, split="rows"))
    for world in (2, 3, 7):
        ranks = [
            sources(Stream(folders["jsonl"], seed=5, buffer=6, rank=r, world=world, split="rows"))
            for r in range(world)
        ]
        dealt = [row for turn in itertools.zip_longest(*ranks) for row in turn if row]
        assert dealt == alone


def test_epochs_and_seeds_shuffle_anew_beyond_one_shard(folders: Mapping[str, Path]) -> None:
    stream = Stream(folders["jsonl"], seed=0, buffer=10)
    first, second = sources(stream), sources(stream, Position(epoch=1))
    assert first != second
    assert sorted(first) == sorted(second)
    assert first != sources(Stream(folders["jsonl"], seed=1, buffer=10))
    shards_of_first_ten = {source.rpartition(":")[0] for source in first[:10]}
    assert len(shards_of_first_ten) > 1


def test_too_few_shards_to_split_by_shards_are_refused(folders: Mapping[str, Path]) -> None:
    with pytest.raises(ConfigError, match="5 shards do not reach for 6 processes"):
        Stream(folders["jsonl"], seed=0, world=6, split="shards")


# Loading


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(folders: Mapping[str, Path], workers: int) -> None:
    alone = take(loader(folders["tar"]), 9)
    assert same(alone, take(loader(folders["tar"], workers=workers), 9))
    assert [len(batch.ids) for batch in alone] == [4] * 9


def test_a_row_is_drawn_alike_in_any_batch_and_anew_each_epoch(
    folders: Mapping[str, Path],
) -> None:
    def by_text(batches: Sequence[Batch]) -> dict[str, list[torch.Tensor]]:
        found: dict[str, list[torch.Tensor]] = {}
        for batch in batches:
            for name, image in zip(batch.ids, batch.image, strict=True):
                found.setdefault(name, []).append(image)
        return found

    fours = by_text(take(loader(folders["jsonl"], size=2), N))
    ones = by_text(take(loader(folders["jsonl"], size=1, buffer=3), 2 * N))
    assert all(len(images) == 2 for images in fours.values())
    for name, (first, second) in fours.items():
        assert torch.equal(first, ones[name][0])
        assert not torch.equal(first, second)


@pytest.mark.parametrize("stop", [0, 1, 2, 5, 6, 9])
@pytest.mark.parametrize("form", ["jsonl.gz", "parquet"])
def test_resuming_is_going_on(folders: Mapping[str, Path], form: str, stop: int) -> None:
    whole = take(loader(folders[form]), 12)
    first = loader(folders[form], workers=2)
    take(first, stop) if stop else None
    state = json.loads(json.dumps(first.state_dict()))
    rest = loader(folders[form])
    rest.load_state_dict(state)
    assert same(take(rest, 12 - stop), whole[stop:])
    assert rest.report.seen == 48


def test_another_stream_is_not_resumed(folders: Mapping[str, Path]) -> None:
    state = loader(folders["jsonl"]).state_dict()
    for other in (loader(folders["tar"]), loader(folders["jsonl"], buffer=9)):
        with pytest.raises(ConfigError, match="cannot resume"):
            other.load_state_dict(state)


def bad_shards(folder: Path, bad: Sequence[int], count: int = 200) -> Path:
    lines = [json.dumps(ROWS[i % N]) for i in range(count)]
    broken = itertools.cycle(["{", "[]", '{"caption": "x"}', '{"binary": "%", "caption": "x"}',
                              json.dumps({**ROWS[0], "caption": "?"})])  # fmt: skip
    for row in bad:
        lines[row] = next(broken)
    folder.mkdir()
    (folder / "0.jsonl").write_text("\n".join(lines) + "\n\n")
    return folder


def test_bad_rows_are_counted_named_and_replaced(tmp_path: Path) -> None:
    folder = bad_shards(tmp_path / "bad", [3, 50, 51, 120, 199])
    for workers in (0, 1):
        source = loader(folder, workers=workers, max_bad=0.05)
        batches = take(source, 50)
        assert {len(batch.ids) for batch in batches} == {4}
        assert all(len(set(map(bytes, batch.image.numpy()))) == 4 for batch in batches)
        assert (source.report.seen, source.report.bad) == (200, 5)
        named = {item["source"]: item["reason"] for item in source.report.named}
        assert set(named) == {f"{folder / '0.jsonl'}:{row}" for row in (4, 51, 52, 121, 200)}
        assert any("is not JSON" in reason for reason in named.values())
        assert any("empty after cleaning" in reason for reason in named.values())


def test_too_many_bad_rows_are_fatal_and_named(tmp_path: Path) -> None:
    folder = bad_shards(tmp_path / "bad", range(0, 200, 20))
    with pytest.raises(DataError, match=r"of 1\d\d rows are bad, e\.g\. .*0\.jsonl:\d+") as caught:
        take(loader(folder, max_bad=0.04), 50)
    assert "at most 4.0% bad rows" in str(caught.value)


def test_a_million_rows_cost_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl").write_bytes(b'{"source_text": "a"}\n' * 1_000_000)
    turns = Stream(tmp_path, seed=0, buffer=500).epoch(Position())
    blocks = {}
    for count, _ in enumerate(turns, start=1):
        if count in (1000, 250_000, 1_000_000):
            blocks[count] = sys.getallocatedblocks()
    assert count == 1_000_000
    # A number kept per row would be 999 000 more blocks.
    assert max(blocks.values()) - blocks[1000] < 5000


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


# Rows that stand together

PAIRS = {3: (3, 103), 8: (8, 108), 15: (15, 115, 215)}
"""entry -> the samples it holds; the others hold themselves"""


def sample(number: int) -> dict[str, Any]:
    return {**ROWS[number % N], "caption": f"picture number {number}"}


def held(entry: int) -> tuple[str, ...]:
    return tuple(f"picture number {i}" for i in PAIRS.get(entry, (entry,)))


@pytest.fixture(scope="module", params=FORMS)
def paired(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty rows in two shards, three of which hold several samples."""
    folder = tmp_path_factory.mktemp("together")
    rows = [
        {"together": [sample(i) for i in PAIRS[entry]]} if entry in PAIRS else sample(entry)
        for entry in range(20)
    ]
    write_shards(rows, folder, 10, request.param)
    return folder


def test_rows_together_stay_together_and_count_once(paired: Path) -> None:
    source = loader(paired)
    batches = take(source, 5)  # an epoch of 20 rows
    entries = {held(entry) for entry in range(20)}
    seen: list[tuple[str, ...]] = []
    for batch in batches:
        names, before = list(batch.ids), len(seen)
        while names:  # cut into entries, whole and side by side
            [entry] = [one for one in entries if one == tuple(names[: len(one)])]
            seen.append(entry)
            del names[: len(entry)]
        assert len(seen) - before == 4
        assert batch.image is not None
        assert len(batch.image) == len(batch.ids)
    assert len(seen) == len(entries)
    assert set(seen) == entries
    assert (source.samples, source.report.seen, source.report.bad) == (20, 20, 0)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_rows_together_resume_exactly_whatever_the_workers(paired: Path, workers: int) -> None:
    whole = take(loader(paired), 8)
    first = loader(paired, workers=workers)
    assert same(take(first, 3), whole[:3])
    rest = loader(paired, workers=workers)
    rest.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert same(take(rest, 5), whole[3:])
    assert rest.report.seen == 32


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([sample(3), {"caption": "no pixels"}], "has neither binary nor image"),
        ([sample(3), {**sample(4), "caption": "?"}], "empty after cleaning"),
        ([], "has nothing together"),
        ([sample(3), "text"], "has nothing together"),
        ({"a": 1}, "has nothing together"),
        ([{"together": [sample(3)]}], "text is None"),
    ],
)
def test_a_bad_one_among_them_takes_all_out(tmp_path: Path, value: Any, reason: str) -> None:
    rows = [sample(entry) for entry in range(20)]
    rows[3] = {"together": value}
    write_shards(rows, tmp_path, form="jsonl")
    source = loader(tmp_path, buffer=20, max_bad=0.1)
    batches = take(source, 5)
    assert [len(batch.ids) for batch in batches] == [4] * 5
    assert not any("picture number 3" in batch.ids for batch in batches)
    assert (source.report.seen, source.report.bad) == (20, 1)
    [bad] = source.report.named
    assert bad["source"] == f"{tmp_path / '000000.jsonl'}:4"
    assert reason in bad["reason"]


def test_bad_rows_are_said_when_they_are_met(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bad_shards(tmp_path / "bad", [3])
    with caplog.at_level("WARNING", logger="x2vlm"):
        take(loader(folder), 50)
    [record] = caplog.records
    assert record.getMessage().startswith(f"{folder / '0.jsonl'}:4: is not JSON")
