"""docs/benchmarks.md, made from the benchmarks' own values, the facts, and the words below.

`python -m benchmarks.cards docs/benchmarks.md` writes it; a test keeps it current.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.base import Benchmark
from benchmarks.download import table
from benchmarks.facts import load
from benchmarks.registry import NAMES, get
from x2vlm.writing import write_atomically

WORDS = json.loads(Path(__file__).with_name("suites").joinpath("cards.json").read_text("utf-8"))
FILES: dict[str, str] = WORDS["files"]
"""benchmark -> what files it reads, in words"""
TESTS: dict[str, str] = WORDS["tests"]
"""benchmark -> what it tests, in a sentence"""


def card(benchmark: Benchmark) -> str:
    """The section of one benchmark."""
    lines = [
        f"## {benchmark.name}",
        "",
        f"{benchmark.title}. {benchmark.paper}. <{benchmark.url}>",
        "",
        TESTS[benchmark.name],
        "",
        f"- **Files**: {FILES[benchmark.name]}",
        f"- **Access**: {benchmark.access}"
        + ("; `x2vlm data download` fetches part of it" if benchmark.name in table() else ""),
        f"- **Licence**: {benchmark.licence}",
        f"- **Metric**: `{benchmark.headline}` first; a blind guess: "
        + ", ".join(f"{name} {value:.4g}" for name, value in benchmark.chance.items()),
        "",
        "| split | used for | records | texts | remarks |",
        "|---|---|---|---|---|",
    ]
    for name, split in benchmark.splits.items():
        records, texts = counts(benchmark, name)
        remarks = "; ".join(filter(None, (split.note, "" if split.scored else "not scored here")))
        lines.append(f"| {name} | {split.role} | {records} | {texts} | {remarks} |")
    return "\n".join(lines) + "\n"


def counts(benchmark: Benchmark, split: str) -> tuple[str, str]:
    """Records and texts, once when all languages agree."""
    facts = load(benchmark.name).get(split, {})
    if not facts:
        return "not known", ""
    many = len(benchmark.languages) > 1
    found = []
    for field in ("records", "texts"):
        values = {language: _spaced(getattr(fact, field)) for language, fact in facts.items()}
        if len(set(values.values())) == 1:
            each = " per language" if (many and len(values) > 1) or "*" in values else ""
            found.append(next(iter(values.values())) + each)
        else:
            found.append(", ".join(f"{language} {value}" for language, value in values.items()))
    return found[0], found[1]


def _spaced(count: int | None) -> str:
    return "not known" if count is None else f"{count:_}".replace("_", " ")


def page() -> str:
    """The whole page."""
    return "\n".join([*WORDS["head"], *(card(get(name)) for name in NAMES)])


if __name__ == "__main__":
    write_atomically(Path(sys.argv[1]), page())
