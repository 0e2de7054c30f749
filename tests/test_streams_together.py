"""Rows that stand together: samples of one row stay side by side, count once, fall out at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stream_rows import FORMS, ROWS, N, loader, pixels, same, take
from x2vlm.data.shards import write_shards

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
        assert len(pixels(batch)) == len(batch.ids)
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
