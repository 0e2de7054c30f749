import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from synthetic_runs import make_record, write_run

from benchmarks.metrics.stats import Measure
from leaderboards.aggregate import COLUMNS, find_records, long_table, over_seeds, read_records
from x2vlm.errors import RecordError


def test_long_table_has_one_row_per_record_and_metric():
    metrics = {"accuracy": Measure(70.0, 10, 1.0), "consistency": Measure(None, 0)}
    long = long_table([make_record(metrics=metrics)])
    assert list(long.rows.columns) == COLUMNS
    assert list(long.rows["metric"]) == ["accuracy", "consistency"]
    assert list(long.rows["headline"]) == [True, False]
    assert long.rows["value"].iloc[0] == 70.0
    assert pd.isna(long.rows["value"].iloc[1])
    assert long.refused == ()


def test_order_of_input_changes_nothing():
    records = [make_record(b, seed=s) for b in ("vqav2", "nlvr2") for s in (2, 1)]
    pd.testing.assert_frame_equal(long_table(records).rows, long_table(records[::-1]).rows)


@pytest.mark.parametrize(
    ("changes", "flag", "reason"),
    [
        ({"limit": 8}, "limited", "limited to 8 records"),
        ({"skipped": ({"source": "a:1", "reason": "bad"},)}, "partial", "1 rows were skipped"),
        ({"data": {"partial": {"dev": "dev.avail.json"}}}, "partial", "part of the split: dev.av"),
        ({"data": {"missing_languages": ["sw"]}}, "partial", "averages without sw"),
        ({"revision": {"commit": "a", "dirty": True}}, "dirty", "uncommitted changes"),
        ({"revision": {"commit": None, "dirty": None}}, "dirty", "revision unknown"),
    ],
)
def test_doubtful_records_are_refused_with_the_reason_or_shown_marked(changes, flag, reason):
    record = make_record(path="runs/a/record.json", **changes)
    long = long_table([record])
    assert long.rows.empty
    assert long.refused[0].flags == (flag,)
    assert reason in str(long.refused[0])
    assert f"allow={flag}" in str(long.refused[0])
    assert "runs/a/record.json" in str(long.refused[0])
    shown = long_table([record], allow=(flag,))
    assert shown.refused == ()
    assert list(shown.rows["flags"]) == [(flag,)]


def test_every_flag_of_a_record_must_be_allowed():
    record = make_record(limit=8, revision={"commit": "a", "dirty": True})
    assert long_table([record], allow=("limited",)).refused[0].flags == ("dirty",)
    assert len(long_table([record], allow=("limited", "dirty")).rows) == 1


def test_unknown_flag_names_the_close_one():
    with pytest.raises(RecordError, match="did you mean 'dirty'"):
        long_table([], allow=("dirt",))


@pytest.mark.parametrize("turn", [1, -1])
def test_newer_record_of_the_same_cell_and_seed_supersedes(turn):
    old = make_record(value=60.0, created="2026-01-01", path="old")
    new = make_record(value=61.0, created="2026-01-02", path="new")
    newest = make_record(value=62.0, created="2026-01-03", path="newest")
    long = long_table([old, new, newest][::turn])
    assert list(long.rows["value"]) == [62.0]
    assert {refusal.record for refusal in long.refused} == {"old", "new"}
    assert all("superseded" in str(refusal) for refusal in long.refused)


def test_older_benchmark_version_is_superseded_whatever_its_date():
    old = make_record(created="2026-02-01", path="old")
    new = make_record(created="2026-01-01", benchmark_version=2, path="new")
    long = long_table([old, new])
    assert list(long.rows["version"]) == [2]
    assert "version 1 of the benchmark, now 2" in str(long.refused[0])


def test_limited_record_never_supersedes_or_joins_a_complete_one():
    whole = make_record(value=60.0, created="2026-01-01", path="whole")
    part = make_record(value=99.0, created="2026-01-02", limit=8, path="part")
    long = long_table([whole, part], allow=("limited",))
    assert list(long.rows["value"]) == [60.0]
    assert "complete record whole" in str(long.refused[0])
    other = replace(part, seed=7, path="other")
    cells = over_seeds(long_table([whole, other], allow=("limited",)).rows)
    assert dict(zip(cells["model"], cells["value"], strict=True)) == {
        "tiny": 60.0, "tiny (limit 8)": 99.0
    }  # fmt: skip


def test_a_refused_record_supersedes_nothing():
    clean = make_record(value=60.0, created="2026-01-01", path="clean")
    dirty = {"revision": {"commit": "a", "dirty": True}, "path": "dirty"}
    late = make_record(value=61.0, created="2026-01-02", **dirty)
    long = long_table([clean, late])
    assert list(long.rows["value"]) == [60.0]
    assert [refusal.record for refusal in long.refused] == ["dirty"]
    assert list(long_table([clean, late], allow=("dirty",)).rows["value"]) == [61.0]


def test_a_superseded_record_is_no_seed_of_its_successor():
    old = make_record(value=60.0, created="2026-01-01T10:00:00+00:00", path="old")
    new = make_record(value=61.0, created="2026-01-02T10:00:00+00:00", path="new")
    cells = over_seeds(long_table([old, new], allow=("superseded",)).rows)
    assert dict(zip(cells["model"], cells["value"], strict=True)) == {
        "tiny": 61.0, "tiny (superseded, 2026-01-01 10:00:00)": 60.0
    }  # fmt: skip


def test_one_record_given_twice_counts_once():
    assert len(long_table([make_record(path="a"), make_record(path="a")]).rows) == 1


@pytest.mark.parametrize("seed", [42, 43])
def test_two_resolutions_are_neither_seeds_nor_successors(seed):
    small = make_record(value=60.0, created="2026-01-02")
    large = make_record(value=70.0, created="2026-01-01", seed=seed, model={"resolution": 384})
    other = make_record("vqav2")
    long = long_table([small, large, other])
    assert long.refused == ()
    cells = over_seeds(long.rows)
    assert dict(zip(cells["model"], cells["value"], strict=True)) == {
        "tiny (64 px)": 60.0, "tiny (384 px)": 70.0, "tiny": 70.0
    }  # fmt: skip


def test_seeds_become_mean_and_deviation():
    records = [make_record(seed=s, value=v, error=2.0) for s, v in ((1, 70), (2, 72), (3, 77))]
    cell = over_seeds(long_table(records).rows).iloc[0]
    assert cell["value"] == 73.0
    assert cell["sd"] == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert cell["seeds"] == (1, 2, 3)
    assert cell["standard_error"] == pytest.approx(math.sqrt(4 + 13 / 3))


def test_one_undefined_seed_leaves_the_cell_undefined():
    good = make_record(seed=1)
    bad = make_record(seed=2, metrics={"accuracy": Measure(None, 0)})
    cell = over_seeds(long_table([good, bad]).rows).iloc[0]
    assert pd.isna(cell["value"])
    assert pd.isna(cell["sd"])
    assert pd.isna(cell["standard_error"])


def test_two_protocols_two_splits_two_suites_stay_apart():
    records = [
        make_record(),
        make_record(protocol="zero-shot"),
        make_record(split="dev"),
        make_record(suite="official"),
        make_record(model={"name": "base"}),
    ]
    assert len(over_seeds(long_table(records).rows)) == 5


def test_one_missed_floor_of_several_seeds_is_a_miss():
    floors = ({"value": 75.0, "met": True}, {"value": 75.0, "met": False})
    records = [make_record(seed=s, floor=f) for s, f in enumerate(floors)]
    met = over_seeds(long_table(records).rows)["floor_met"].iloc[0]
    assert not met
    assert met is not None


def test_records_are_found_below_folders_once(tmp_path):
    write_run(tmp_path / "a", make_record())
    write_run(tmp_path / "b", make_record("vqav2"))
    paths = find_records([tmp_path, tmp_path / "a", tmp_path / "b" / "record.json"])
    assert [path.parent.name for path in paths] == ["a", "b"]
    assert [record.benchmark for record in read_records([tmp_path])] == ["nlvr2", "vqav2"]


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(RecordError, match="no such run folder"):
        find_records([tmp_path / "nowhere"])
    with pytest.raises(RecordError, match=r"no record\.json below"):
        find_records([tmp_path])


@pytest.mark.parametrize("value", ["NaN", "-Infinity"])
def test_a_record_whose_value_is_no_number_is_named(tmp_path, value):
    write_run(tmp_path / "a", make_record())
    file = tmp_path / "a" / "record.json"
    file.write_text(re.sub(r'"value": [\d.]+', f'"value": {value}', file.read_text(), count=1))
    with pytest.raises(RecordError, match=rf"a/record\.json: .*{value} is not a number"):
        read_records([tmp_path])


def test_lower_is_better_travels_with_the_record():
    metrics = {"accuracy": Measure(1.0, 5), "median_rank": Measure(3.0, 5)}
    record = make_record(metrics=metrics, lower_is_better=("median_rank",))
    again = type(record).from_json(record.to_json())
    assert again.lower_is_better == ("median_rank",)
    assert list(long_table([again]).rows["higher_is_better"]) == [True, False]
