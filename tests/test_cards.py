"""docs/benchmarks.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cards import FILES, TESTS, page
from benchmarks.registry import NAMES

DOCS = Path(__file__).parents[1] / "docs/benchmarks.md"


def test_every_benchmark_has_a_card() -> None:
    assert set(FILES) == set(TESTS) == set(NAMES)


def test_the_page_is_current() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), (
        "write it anew: python -m benchmarks.cards docs/benchmarks.md"
    )
