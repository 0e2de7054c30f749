"""Any scorer, language by language, and the mean that leaves English out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from benchmarks.metrics.stats import Measure, Scores, average, clusters
from x2vlm.types import Prediction, Record

TOTALS = frozenset({"ties"})
"""Metrics that count something: summed over languages, never averaged."""


def by_language(score: Callable[..., Scores]) -> Callable[..., Scores]:
    """A scorer that scores each language alone ("accuracy/de") and then the mean without English.

    The mean ("accuracy") weighs languages equally and is undefined when no language but English was
    scored or one of them is undefined. Languages that share images or questions are dependent: the
    mean's standard error is then the upper bound that holds for any correlation.
    """

    @functools.wraps(score)
    def scored(
        records: Sequence[Record], predictions: Sequence[Prediction], **options: Any
    ) -> Scores:
        parts = _split(records, predictions)
        results = {
            language: score(rows, answers, **options) for language, (rows, answers) in parts.items()
        }
        foreign = [language for language in results if language != "en"]
        shared = _share_groups([parts[language][0] for language in foreign])
        names = dict.fromkeys(name for result in results.values() for name in result)
        means = {
            name: _mean(
                name, [results[language].get(name) for language in foreign], foreign, shared
            )
            for name in names
        }
        return means | {
            f"{name}/{language}": measure
            for language, result in results.items()
            for name, measure in result.items()
        }

    return scored


def _mean(
    name: str, measures: Sequence[Measure | None], languages: Sequence[str], shared: bool
) -> Measure:
    known = [measure for measure in measures if measure is not None]
    if not known:
        return Measure(None, 0, None, "no language besides English was scored")
    total = sum(measure.n for measure in known)
    if len(known) < len(measures):
        return Measure(None, total, None, "not defined in every language")
    if name in TOTALS:
        return Measure(sum(m.value or 0.0 for m in known), total, None, "total without English")
    found = average(known, dependent=shared)
    note = f"mean of {', '.join(languages)} (English is left out)"
    notes = [note, *dict.fromkeys(m.note for m in known if m.note)]
    return Measure(found.value, found.n, found.standard_error, "; ".join(notes))


def _split(
    records: Sequence[Record], predictions: Sequence[Prediction]
) -> dict[str, tuple[list[Record], list[Prediction]]]:
    """Records and predictions per language, both in their order; texts go with their image."""
    languages: dict[str, str] = {}
    parts: dict[str, tuple[list[Record], list[Prediction]]] = {}
    for record in records:
        parts.setdefault(record.language, ([], []))[0].append(record)
        for name in (record.id, *record.target.get("text_ids", ())):
            languages[str(name)] = record.language
    for prediction in predictions:
        parts[languages[str(prediction["id"])]][1].append(prediction)
    return parts


def _share_groups(parts: Sequence[Sequence[Record]]) -> bool:
    """Whether any two languages hold samples of one group."""
    seen: set[Hashable] = set()
    for records in parts:
        groups = set(clusters(records))
        if seen & groups:
            return True
        seen |= groups
    return False
