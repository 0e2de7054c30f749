"""Which data is meant, in the settings of a run: what is verified is what would run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.base import Benchmark
from benchmarks.box_formats import box_format
from benchmarks.files import Files, OnError
from benchmarks.layout import Layout
from benchmarks.registry import get
from x2vlm.errors import ConfigError, unknown

if TYPE_CHECKING:
    from x2vlm.data.orientation import Pixels


@dataclass(frozen=True)
class Wanted:
    """given: role -> path, stronger than the layout. split, train_split: those to look at; both
    empty: all. languages: of evaluated splits, train_languages: of training; empty: all. limit:
    records of each language. options: of the task."""

    layout: Layout = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    train_split: str = ""
    languages: tuple[str, ...] = ()
    train_languages: tuple[str, ...] = ()
    on_error: OnError = "raise"
    limit: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    box_format: str = ""
    box_pixels: Pixels = "stored"

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark with the options; ConfigError for a split or language it does not have."""
        found = get(name)
        for split in filter(None, (self.split, self.train_split)):
            found.split(split)
        for language in (*self.languages, *self.train_languages):
            if language not in found.languages:
                raise ConfigError(unknown(f"language of {found.name}", language, found.languages))
        if self.box_format:
            box_format(self.box_format)
        return replace(found, options={**found.options, **self.options}) if self.options else found

    def splits(self, benchmark: Benchmark) -> tuple[str, ...]:
        """The splits to look at."""
        named = tuple(dict.fromkeys(filter(None, (self.train_split, self.split))))
        return named or tuple(benchmark.splits)

    def languages_of(self, benchmark: Benchmark, split: str) -> tuple[str, ...]:
        """The languages to look at in a split."""
        training = benchmark.split(split).role == "train"
        named = self.train_languages if training else self.languages
        there = benchmark.split(split).languages or benchmark.languages
        return tuple(language for language in there if language in named) if named else there

    def files(self, root: Path, name: str, on_error: OnError | None = None) -> Files:
        """A fresh view of the data folder for a benchmark, as a run makes it."""
        layout = {**self.layout.get(get(name).name, {}), **self.layout.get(name, {})}
        return Files(
            root,
            {**layout, **self.given},
            on_error or self.on_error,
            box_format=self.box_format,
            box_pixels=self.box_pixels,
        )
