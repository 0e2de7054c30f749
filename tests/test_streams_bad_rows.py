"""Bad rows of streams: counted, named and replaced; too many are fatal."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.stream_rows import ROWS, N, loader, pixels, take
from x2vlm.errors import DataError


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
        assert all(len(set(map(bytes, pixels(batch).numpy()))) == 4 for batch in batches)
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


def test_bad_rows_are_said_when_they_are_met(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bad_shards(tmp_path / "bad", [3])
    with caplog.at_level("WARNING", logger="x2vlm"):
        take(loader(folder), 50)
    [record] = caplog.records
    assert record.getMessage().startswith(f"{folder / '0.jsonl'}:4: is not JSON")
