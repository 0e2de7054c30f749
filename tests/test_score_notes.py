"""Scores that cannot mean what they seem to carry a note."""

from __future__ import annotations

import pytest
from prediction_files import COUNT, NOTES, Row, lines, rows_of, scored

from benchmarks import score_notes
from benchmarks.base import Benchmark
from benchmarks.metrics import answers, labels, winoground
from benchmarks.metrics.stats import Measure, Scores
from benchmarks.score import score_split
from x2vlm.types import Record


@pytest.mark.parametrize(
    ("task", "value", "note"),
    [
        ("answering", {"answer": "red"}, "all 8 predictions are the same answer: 'red'"),
        ("answering", {"answer": "RED "}, "2 answers would be right but for case"),
        ("answering", {"answer": "zzz"}, "8 of 8 answers are the right one of no question"),
        ("answering", {"answer": " "}, "8 answers are empty"),
        ("classification", {"label": "red"}, "all 8 predictions are the same label"),
        ("captioning", {"caption": "a dog"}, "all 8 predictions are the same caption"),
        ("captioning", {"caption": ""}, "8 captions are empty"),
        ("grounding", {"box": [-9, 5, 60, 60]}, "8 of 8 boxes reach beyond their image"),
        ("matching", dict.fromkeys(winoground.PAIRS, 0.5), "the four scores of each"),
        ("attributes", {"scores": [0.5] * 3}, "all 8 predictions are the same scores"),
    ],
)
def test_what_a_score_cannot_mean_is_noted(task: str, value: Row, note: str) -> None:
    scored(task, lines([row | value for row in rows_of(task)]))
    if note.startswith("2 answers"):
        note = f"{sum(i % 3 == 0 for i in range(COUNT))} answers{note[9:]}"
    assert any(note in found for found in NOTES), NOTES


def test_hits_among_few_candidates_and_ties_are_noted() -> None:
    rows = rows_of("retrieval")
    found = scored("retrieval", lines(rows))
    assert (
        found.scores["image_r10"].note == "only 8 candidates: any ranking of all of them is right"
    )
    assert found.scores["text_r10"].note == ""  # 16 texts
    for row in rows:
        for pairs in row["ranking"].values():
            pairs[:] = [[name, 0.5] for name, _ in pairs]
    scored("retrieval", lines(rows))
    assert any("each of the 24 queries ties" in note for note in NOTES)


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("一只狗在草地上跑", True),
        ("犬が草の上を走る", True),
        ("สุนัขวิ่งบนหญ้า", True),
        ("강아지가 풀밭에서 뛴다", False),
        ("ein Hund läuft", False),
        ("a 狗 runs over the grass", False),
    ],
)
def test_scripts_without_blanks_are_noted_on_every_caption_metric(text: str, noted: bool) -> None:
    records = [Record("1", (), (text,))]
    benchmark = Benchmark("given", "captioning", "", no_records, score_captions, "cider", {})
    scores = {"cider": Measure(1.0, 1), "bleu4": Measure(1.0, 1)}
    found = score_notes.noted(benchmark, records, [{"id": "1", "caption": text}], scores, {})
    assert [("PTB" in measure.note) for measure in found.values()] == [noted, noted]


def no_records(*_: object) -> list[Record]:
    return []


def score_captions(*_: object, **__: object) -> Scores:
    return {}


def test_answers_outside_of_the_labels_bound_the_score() -> None:
    records = [Record(str(i), (), (), {"label": None if i < 2 else 0}) for i in range(8)]
    benchmark = Benchmark("given", "classification", "", no_records, labels.score, "accuracy", {})
    rows = [{"id": str(i), "label": i % 2} for i in range(8)]
    found = score_split(benchmark, records, rows, labels=("a", "b"))
    assert "2 of 8 right answers are outside of the list" in found["accuracy"].note
    assert "at most 75.00 can be reached" in found["accuracy"].note


def test_official_normalisation_is_no_near_miss() -> None:
    """VQA's rule lowers the case itself where the annotators differ: nothing to note there."""
    truth = ["yes"] * 6 + ["no"] * 4
    benchmark = Benchmark("given", "answering", "", no_records, answers.score_vqa, "accuracy", {})
    for annotators, noted in ((truth, False), (["yes"] * 10, True)):
        records = [Record("1", (), (), {"annotators": annotators})]
        found = score_split(benchmark, records, [{"id": "1", "answer": "Yes"}])
        assert ("would be right but for" in found["accuracy"].note) == noted


def test_a_gallery_no_larger_than_k_is_noted() -> None:
    records = [Record(str(i), (), ("", ""), {"text_ids": [f"{i}a", f"{i}b"]}) for i in range(4)]
    assert score_notes.reranking_note(records, 3) == ""
    assert "k=4 is not below the number of candidates (4) of 1 of 2" in (
        score_notes.reranking_note(records, 4)
    )
    assert score_notes.reranking_note([Record("1", (), ())], 256) == ""
