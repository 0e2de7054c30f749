"""What a reader of a score must know of the predictions under it: causes, and what can be reached.

A score that cannot mean what it seems to stays as the official rule has it, and carries a note.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.metrics.retrieval import DIRECTIONS, Direction, query_targets
from benchmarks.metrics.stats import Measure, Scores
from benchmarks.metrics.winoground import PAIRS
from benchmarks.prediction_checks import overhanging
from benchmarks.sourced import replaced
from x2vlm.types import Prediction, Record

FEW = 5
"""predictions below which their being all alike says nothing"""
FOREIGN = 0.1
"""share of answers that no annotator of the split gave from which on a note says so"""
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese: no blanks between words"""
_RECALL = re.compile(r"(text|image)_r(\d+)(?:/(.+))?")
Found = Iterator[tuple[str, str]]
"""(metric, note)"""


@dataclass(frozen=True)
class Scored:
    """What was scored, how, and the result. rows: joined to the records, as the scorer had them."""

    benchmark: Benchmark
    records: Sequence[Record]
    rows: Sequence[Prediction]
    scores: Scores
    options: Mapping[str, Any]

    @property
    def headline(self) -> str:
        """The metric that general notes go to."""
        return self.benchmark.headline

    def by_language(self) -> dict[str, list[Record]]:
        """The records of each language."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.language, []).append(record)
        return found


def noted(
    benchmark: Benchmark,
    records: Sequence[Record],
    rows: Sequence[Prediction],
    scores: Scores,
    options: Mapping[str, Any],
) -> Scores:
    """The same scores, with notes; see `Scored`."""
    scored = Scored(benchmark, records, rows, scores, options)
    notes: dict[str, list[str]] = {}
    for find in _FINDERS[benchmark.task] if records else ():
        for metric, note in find(scored):
            notes.setdefault(metric, []).append(note)
    return {name: _with(measure, notes.get(name, ())) for name, measure in scores.items()}


def _with(measure: Measure, notes: Sequence[str]) -> Measure:
    known = [note for note in (measure.note, *notes) if note]
    return replace(measure, note="; ".join(dict.fromkeys(known))) if notes else measure


def _alike(field: str) -> Callable[[Scored], Found]:
    """Finds predictions that do not depend on what was asked. field: the one that is scored."""

    def find(scored: Scored) -> Found:
        rows = scored.rows
        if len(rows) >= FEW and all(row[field] == rows[0][field] for row in rows):
            value = repr(rows[0][field])
            shown = value if len(value) <= 60 else f"{value[:60]}…"
            yield scored.headline, f"all {len(rows)} predictions are the same {field}: {shown}"

    return find


def _ties(scored: Scored) -> Found:
    """Pairs of captions and images that the scores do not tell apart."""
    tied = sum(len({row[pair] for pair in PAIRS}) == 1 for row in scored.rows)
    if len(scored.rows) >= FEW and tied == len(scored.rows):
        yield scored.headline, f"the four scores of each of the {tied} examples are equal"


# -- answers ---------------------------------------------------------------------------------


def _fold(text: str) -> str:
    """Without case, punctuation and outer or doubled blanks."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[^\w\s]", " ", text).split())


def _near_misses(scored: Scored) -> Found:
    """Answers that would be right but for case, blanks or punctuation, and the score they cost."""
    benchmark, headline = scored.benchmark, scored.headline
    changed: list[Prediction] = []
    languages: Counter[str] = Counter()
    for record, row in zip(scored.records, scored.rows, strict=True):
        meant = _meant(row["answer"], _truth(record))
        languages[record.language] += meant is not None
        changed.append(row if meant is None else replaced(row, answer=meant))
    if not languages.total():
        return
    reachable = benchmark.score(scored.records, changed, **scored.options)
    counts = {f"{headline}/{name}": count for name, count in languages.items()}
    several = len(benchmark.languages) > 1
    counts[headline] = languages.total() - (languages["en"] if several else 0)
    for name in counts.keys() & scored.scores.keys():
        now, then = scored.scores[name].value, reachable[name].value
        if now is not None and then is not None and then > now + 1e-9:
            yield (
                name,
                f"{counts[name]} answers would be right but for case, blanks or punctuation: "
                f"{then:.2f} instead of {now:.2f}",
            )


def _truth(record: Record) -> Sequence[str]:
    found: Sequence[str] = record.target.get("annotators") or record.target.get("answers") or ()
    return found


def _meant(answer: str, truth: Sequence[str]) -> str | None:
    """The right answer that this one is but for its spelling; None when it is right, or is not."""
    folded = _fold(answer)
    if answer in truth or not folded:
        return None
    alike = Counter(text for text in truth if _fold(text) == folded)
    return alike.most_common(1)[0][0] if alike else None


def _unheard(scored: Scored) -> Found:
    """Empty answers, and those that cannot be right anywhere in this split."""
    known = {_fold(text) for record in scored.records for text in _truth(record)}
    if empty := sum(not row["answer"].strip() for row in scored.rows):
        yield scored.headline, f"{empty} answers are empty"
    foreign, count = sum(_fold(row["answer"]) not in known for row in scored.rows), len(scored.rows)
    if count >= FEW and foreign > FOREIGN * count:
        yield (
            scored.headline,
            f"{foreign} of {count} answers are the right one of no question of this split",
        )


# -- labels, boxes, captions, rankings -------------------------------------------------------


def _unreachable(scored: Scored) -> Found:
    count = len(scored.records)
    if lost := sum(record.target["label"] is None for record in scored.records):
        yield (
            scored.headline,
            f"{lost} of {count} right answers are outside of the list of labels: at most "
            f"{100 * (1 - lost / count):.2f} can be reached",
        )


def _overhang(scored: Scored) -> Found:
    if beyond := overhanging(scored.records, scored.rows):
        yield (
            scored.headline,
            f"{len(beyond)} of {len(scored.rows)} boxes reach beyond their image, first "
            f"{beyond[0]['id']!r}; they count as they are, as in the official code",
        )


def _captions(scored: Scored) -> Found:
    if empty := sum(not row["caption"].strip() for row in scored.rows):
        yield scored.headline, f"{empty} captions are empty"
    texts = [text for record in scored.records for text in record.texts]
    if 2 * sum(map(_is_unspaced, texts)) > len(texts):
        note = (
            "the references are in a script without blanks between words: the PTB tokenizer takes "
            "a whole run of it for one word, so that little but equal sentences counts"
        )
        yield from ((name, note) for name in scored.scores)


def _is_unspaced(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    return 2 * len(_UNSPACED.findall(text)) > len(letters) > 0


def _galleries(scored: Scored) -> Found:
    """hit@k of no more than k candidates says nothing; ties count against the model."""
    ties = scored.scores.get("ties")
    if ties is not None and ties.n >= FEW and ties.value == ties.n:
        yield scored.headline, f"the target of each of the {ties.n} queries ties with others"
    languages = scored.by_language()
    for name in scored.scores:
        match = _RECALL.fullmatch(name)
        if match and (not match[3] or match[3] in languages):
            parts = [languages[match[3]]] if match[3] else list(languages.values())
            other: Direction = "image" if match[1] == "text" else "text"
            count = min(len(query_targets(part, other)) for part in parts)
            if int(match[2]) >= count:
                yield name, f"only {count} candidates: any ranking of all of them is right"


def reranking_note(records: Sequence[Record], k: int) -> str:
    """What re-ranking the k best means when there are no more than k candidates; else empty.

    Other tasks have a k too: of records without texts to rank there is nothing to say.
    """
    records = [record for record in records if "text_ids" in record.target]
    languages: dict[str, list[Record]] = {}
    for record in records:
        languages.setdefault(record.language, []).append(record)
    counts = [len(query_targets(part, way)) for part in languages.values() for way in DIRECTIONS]
    small = sum(count <= k for count in counts)
    if not small:
        return ""
    return (
        f"k={k} is not below the number of candidates ({min(counts)}) of {small} of "
        f"{len(counts)} rankings: every pair is re-ranked, and the first stage decides nothing"
    )


_FINDERS: Mapping[str, Sequence[Callable[[Scored], Found]]] = {
    "answering": (_alike("answer"), _near_misses, _unheard),
    "classification": (_alike("label"), _unreachable),
    "grounding": (_alike("box"), _overhang),
    "captioning": (_alike("caption"), _captions),
    "matching": (_ties,),
    "attributes": (_alike("scores"),),
    "retrieval": (_galleries,),
}
