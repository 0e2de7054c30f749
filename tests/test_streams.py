"""Streams: the order in which rows come, loading them with workers, exact resuming."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stream_rows import N, loader, pixels, same, take, write_folders
from x2vlm.data.streams import Position, Stream
from x2vlm.errors import ConfigError, DataError
from x2vlm.types import Batch


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_folders(tmp_path_factory.mktemp("shards"))


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


def test_missing_shards_are_an_error_that_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for pattern in (tmp_path, str(tmp_path / "*.jsonl"), [tmp_path / "no.tar"]):
        with pytest.raises(DataError, match="no shard found"):
            Stream(pattern, seed=0)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="holds no row"):
        next(Stream(tmp_path, seed=0).deal())


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
            for name, image in zip(batch.ids, pixels(batch), strict=True):
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
    take(first, stop)
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
