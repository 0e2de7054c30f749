"""Which records a task can use: its own cleaning runs when a row is read, not after training.

The one definition for `data verify`, on_error=skip and a run: all of them read by `read_usable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.files import Files
from x2vlm.data.cleaning import clean_caption, clean_question, has_word
from x2vlm.errors import DataError
from x2vlm.types import Record

FIX = "correct the row, fetch the file again, or run with on_error=skip"


def read_usable(benchmark: Benchmark, files: Files, split: str, language: str) -> Iterator[Record]:
    """The records of one split in one language that the benchmark's task can use.

    A record whose text has no word after cleaning, or that has no answer to train on, is a bad row
    (`Files.skip`). Texts that are officially kept all the same are counted in a note.
    """
    files.bare = benchmark.options.get("bare", "refuse")
    cleaned = _cleaning(benchmark.task, benchmark.options)
    trains = benchmark.task == "answering" and benchmark.split(split).role == "train"
    kept: dict[str, int] = {}
    try:
        for record in benchmark.read(files, split, language):
            try:
                bare = sum(not has_word(cleaned(text)) for text in record.texts)
                if trains and not record.target.get("answers"):
                    raise DataError("no answer to train on", expected="an answer that is not blank")
            except DataError as error:
                files.skip(
                    DataError(error.what, source=record.source, expected=error.expected, fix=FIX)
                )
                continue
            if bare:
                file = record.source.rpartition(":")[0]
                kept[file] = kept.get(file, 0) + bare
            yield record
    finally:
        for file, count in kept.items():
            files.note(f"{file}: {count} texts without a word, kept as the official code does")


def check_caption(text: str, source: str) -> str:
    """The caption, when cleaning leaves a word of it; else DataError with the row."""
    try:
        clean_caption(text)
    except DataError as error:
        raise DataError(error.what, source=source, expected=error.expected, fix=FIX) from None
    return text


def _cleaning(task: str, options: Mapping[str, Any]) -> Callable[[str], str]:
    """What the task does to a text before its tokenizer; it may raise DataError."""
    words = options.get("max_words", 30)
    if task == "captioning":  # references are scored as they are, and trained on uncleaned
        return lambda text: " ".join(text.split())
    if task == "answering" or options.get("text") == "question":
        return clean_question
    if options.get("bare") == "keep":
        return lambda text: clean_question(text, words).strip()  # as captions are, but may be empty
    return lambda text: clean_caption(text, words)
