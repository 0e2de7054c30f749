"""What a score can reach at most, whatever the model: the causes in the data, as notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.base import Benchmark
from benchmarks.metrics import answers
from benchmarks.score_notes import reranking_note
from x2vlm.data.cleaning import clean_question
from x2vlm.types import Record

KS = (1, 5, 10)


def bounds(
    benchmark: Benchmark, split: str, records: Sequence[Record], options: Mapping[str, Any]
) -> list[str]:
    """Notes on an evaluated split: texts shared by images (retrieval), right answers or labels that
    are not in the list to choose from. options: of the task, "candidates" among them."""
    candidates: Sequence[str] = options.get("candidates", ())
    where = f"{benchmark.name} {split}"
    if benchmark.task == "retrieval":
        notes = shared_texts(records, options), reranking_note(records, options.get("k", 0))
        return [f"{where}: {note}" for note in notes if note]
    if benchmark.task == "answering" and benchmark.split(split).scored and candidates:
        note = _unanswerable(benchmark, records, candidates)
    elif benchmark.task == "classification" and benchmark.split(split).scored:
        out = sum(record.target.get("label") is None for record in records)
        labelled = len(records) - out
        note = _most(labelled, len(records), "labels are in the list of classes") if out else ""
    else:
        return []
    return [f"{where}: {note}"] if note else []


def shared_texts(records: Sequence[Record], options: Mapping[str, Any]) -> str:
    """What texts that several images share cost; "" when there are none.

    Equal texts get equal scores, which rank against the model (scores go by index): of m images
    with one text, the text of each is at best in place m, and its query finds k of the m.
    """
    owners: dict[tuple[str, str], Counter[str]] = {}
    seen = [[(r.language, text) for text in _as_seen(r, options)] for r in records]
    for record, texts in zip(records, seen, strict=True):
        for text in texts:
            owners.setdefault(text, Counter())[record.id] += 1
    shared = [text for text, of in owners.items() if len(of) > 1]
    if not shared:
        return ""
    best = [
        1 + min(owners[text].total() - owners[text][record.id] for text in texts)
        for record, texts in zip(records, seen, strict=True)
        if texts
    ]
    queries = sum(of.total() for of in owners.values())
    reach = {f"text_r{k}": sum(place <= k for place in best) / len(best) for k in KS}
    for k in KS:
        hits = sum(count for of in owners.values() for _, count in of.most_common(k))
        reach[f"image_r{k}"] = hits / queries
    told = ", ".join(f"{name} {100 * share:.1f}" for name, share in reach.items())
    count = sum(owners[text].total() for text in shared)
    return (
        f"{count} of {queries} texts are those of another image, too, to the letter (as the model "
        f"sees them); equal scores rank against the model, so no model gets above {told}"
    )


def _as_seen(record: Record, options: Mapping[str, Any]) -> list[str]:
    return [
        " ".join(clean_question(text).split()[: options.get("max_words", 30)])
        for text in record.texts
    ]


def _unanswerable(
    benchmark: Benchmark, records: Sequence[Record], candidates: Sequence[str]
) -> str:
    """How many questions have a right answer among the candidates; "" when all have."""
    folds = benchmark.score is answers.score_vqa
    known = set(map(answers.normalise, candidates)) if folds else set(candidates)
    asked = [row.target.get("annotators") or row.target.get("answers") or () for row in records]
    found = sum(
        any((answers.normalise(answer) if folds else answer) in known for answer in given)
        for given in asked
    )
    if found == len(asked):
        return ""
    return _most(found, len(asked), f"questions have an answer among the {len(known)} candidates")


def _most(found: int, total: int, what: str) -> str:
    return (
        f"{found} of {total} {what}; the others cannot be right, so no model gets an accuracy "
        f"above {100 * found / max(total, 1):.1f}"
    )


def coverage(benchmark: Benchmark, records: Sequence[Record], options: Mapping[str, Any]) -> str:
    """A line before training: how many records, and the share of their answers or labels that are
    in the list to choose from. options: of the task, "candidates" among them."""
    told = f"{len(records)} training records"
    candidates: Sequence[str] = options.get("candidates", ())
    if benchmark.task == "classification":
        found = sum(record.target.get("label") is not None for record in records)
        return f"{told}; labels: {_share(found, len(records))} are in the list of classes"
    if benchmark.task != "answering" or not candidates:
        return told
    known = set(candidates)
    given = [answer for record in records for answer in record.target.get("answers", ())]
    found = sum(answer in known for answer in given)
    return f"{told}; answers: {_share(found, len(given))} are among the {len(known)} candidates"


def _share(found: int, total: int) -> str:
    return f"{found} of {total} ({100 * found / max(total, 1):.1f} %)"
