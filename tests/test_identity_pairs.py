"""Random records on random boards: nothing merged that differs, nothing split that is equal."""

from __future__ import annotations

import dataclasses
import itertools
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.identity import identity
from benchmarks.record import ResultRecord
from leaderboards.aggregate import Long, long_table, over_seeds
from leaderboards.board import boards_of
from tests.identity_records import all_settings, config_with, other_value, record_of

DECIDING = [name for name, part in all_settings()
            if part in ("decides", "trains") and name != "model.name"]  # fmt: skip
FREE = [name for name, part in all_settings()
        if part in ("nothing", "seed") and name != "seed"]  # fmt: skip
FACTS: list[dict[str, Any]] = [
    {"model": {"source_sha256": "b" * 64}}, {"model": {"source_sha256": "random"}},
    {"model": {"resolution": 384}}, {"data": {"fingerprint": "c" * 64}},
    {"data": {"train_fingerprint": "c" * 64}}, {"benchmark_version": 2}, {"limit": 8},
]  # fmt: skip


@st.composite
def records(draw: st.DrawFn) -> tuple[ResultRecord, str]:
    """A record, and what it is apart from the seed, in words of this test alone."""
    chosen = draw(st.sets(st.sampled_from(DECIDING), max_size=2))
    config = config_with()
    for name in (*chosen, *draw(st.sets(st.sampled_from(FREE), max_size=3))):
        section, _, key = name.rpartition(".")
        (config[section] if section else config)[key] = other_value(name)
    fact = draw(st.sampled_from([{}, {}, *FACTS]))
    seed, day = draw(st.integers(1, 3)), draw(st.integers(1, 28))
    record = record_of(config, seed=seed, created=f"2026-01-{day:02}T00:00:00", **fact)
    return record, f"{sorted(chosen)} {fact}"


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), min_size=2, max_size=5), st.randoms())
def test_no_wrong_merge_and_no_needless_split(
    drawn: list[tuple[ResultRecord, str]], random: Random
) -> None:
    found = {f"r{n}": (dataclasses.replace(record, path=f"r{n}"), what)
             for n, (record, what) in enumerate(drawn)}  # fmt: skip
    long = long_table([record for record, _ in found.values()], ("limited",))
    cells = over_seeds(long.rows).to_dict("records")
    place = {path: number for number, cell in enumerate(cells) for path in cell["records"]}
    refused = {refusal.record for refusal in long.refused}
    assert set(place) | refused == set(found)
    for (a, (first, what_a)), (b, (second, what_b)) in itertools.combinations(found.items(), 2):
        assert (identity(first) == identity(second)) == (what_a == what_b)
        if a in place and b in place:
            assert (place[a] == place[b]) == (what_a == what_b)
            assert (long.names[_at(long, a)] == long.names[_at(long, b)]) == (what_a == what_b)
            assert first.seed != second.seed or what_a != what_b
    for path in refused:  # only by its like of equal seed, or by a newer or complete one
        record, what = found[path]
        rivals = [other for key, other in found.items() if key != path]
        assert any(r.seed == record.seed and (w == what or r.benchmark_version == 2
                   or record.limit) for r, w in rivals)  # fmt: skip
    shown = [row for table in boards_of([r for r, _ in found.values()], ("limited",))
             if table.board.name == "overview" for row in table.rows]  # fmt: skip
    assert sorted(row.model for row in shown) == sorted(cell["model"] for cell in cells)
    values = [record for record, _ in found.values()]
    random.shuffle(values)
    assert list(long_table(values, ("limited",)).rows["model"]) == list(long.rows["model"])


def _at(long: Long, path: str) -> int:
    return [record.path for record in long.records].index(path)
