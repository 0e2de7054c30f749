"""VQA's soft accuracy against a plain loop over annotators, hand-made cases and the goldens."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.metrics import answers
from benchmarks.metrics.answers import normalise, soft_accuracy, strip_punctuation
from x2vlm.errors import ConfigError
from x2vlm.types import Record

GOLDEN = Path(__file__).parent / "golden" / "scores"
TEXT = st.text(alphabet="ab1,.-'/ ?", max_size=6) | st.sampled_from(
    ["the dog", "dont", "two", "2", "yes", "Yes.", "1,000", "a", "don't", "none"]
)


def looped(answer: str, annotators: list[str], variant: str) -> float:
    """The official evaluation, annotator by annotator."""

    def tidy(text: str) -> str:
        return text.replace("\n", " ").replace("\t", " ").strip()

    answer = tidy(answer)
    truth = annotators if variant == "x2vlm" else [tidy(text) for text in annotators]
    differ = len(set(truth)) > 1
    if variant == "x2vlm":
        answer = normalise(answer)
        truth = [strip_punctuation(text) if differ else text for text in truth]
    elif variant == "always" or differ:
        answer, truth = normalise(answer), [normalise(text) for text in truth]
    scores = []
    for i in range(len(truth)):
        others = [text for j, text in enumerate(truth) if j != i]
        scores.append(min(1, sum(text == answer for text in others) / 3))
    return sum(scores) / len(scores)


@settings(deadline=None, max_examples=200)
@given(
    TEXT, st.lists(TEXT, min_size=1, max_size=10), st.sampled_from(["official", "x2vlm", "always"])
)
def test_soft_accuracy_equals_the_loop(answer: str, truth: list[str], variant: str) -> None:
    found = soft_accuracy(answer, truth, variant)  # type: ignore[arg-type]
    assert found == pytest.approx(looped(answer, truth, variant), abs=1e-12)
    assert 0.0 <= found <= 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Dog", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("yall'dve", "yall'dve"),
        ("y'all'dve", "y'all'd've"),
        ("twas", "'twas"),
        ("somebody'd", "somebodyd"),
        ("red/blue", "red blue"),
        ("red/ blue/green", "red bluegreen"),
        ("1,000", "1000"),
        ("1,000 a-b", "1000 ab"),
        ("3.5", "3.5"),
        ("yes.", "yes"),
        ("u.s.a.", "usa"),
        ("one, two", "1 2"),
        ("it's", "it's"),
    ],
)
def test_normalisation_keeps_the_official_rules(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_only_thirty_two_full_stops_are_removed() -> None:
    assert strip_punctuation("." * 40) == "." * 8


def test_official_table_of_contractions_has_its_size() -> None:
    assert len(answers.CONTRACTIONS) == 114


def test_variants_differ_where_they_are_known_to() -> None:
    black = ["black"] * 10
    assert [soft_accuracy("Black.", black, v) for v in ("official", "x2vlm", "always")] == [0, 1, 1]
    two = ["two"] * 9 + ["2"]
    assert [soft_accuracy("two", two, v) for v in ("official", "x2vlm", "always")] == [
        1.0, pytest.approx(0.3 * 0 + 0.9 / 3), 1.0
    ]  # fmt: skip


def test_matches_count_among_the_other_nine() -> None:
    truth = ["red"] * 3 + [f"other {i}" for i in range(7)]
    assert soft_accuracy("red", truth) == pytest.approx(0.9)
    assert soft_accuracy("red", ["red", *truth[3:], "x", "y"]) == pytest.approx(0.3)


def test_golden_rows_equal_the_loop_and_split_by_type() -> None:
    rows = json.loads((GOLDEN / "vqa.json").read_text())["rows"]
    records, predictions, expected = [], [], {}
    for kind, items in rows.items():
        assert items
        expected[kind] = [looped(answer, truth, "official") for answer, truth in items]
        for answer, truth in items:
            name = str(len(records))
            records.append(Record(name, (), (), {"annotators": truth}, tags={"answer_type": kind}))
            predictions.append({"id": name, "answer": answer})
    found = answers.score_vqa(records, predictions)
    for kind, scores in expected.items():
        measure = found[f"accuracy/{kind}"]
        assert measure.value == pytest.approx(100 * sum(scores) / len(scores))
        assert measure.n == len(scores)
    everything = [score for scores in expected.values() for score in scores]
    assert found["accuracy"].value == pytest.approx(100 * sum(everything) / len(everything))


def test_exact_match_is_to_the_letter() -> None:
    records = [Record(str(i), (), (), {"annotators": ["woman"]}) for i in range(4)]
    rows = [{"id": str(i), "answer": a} for i, a in enumerate(["woman", "Woman", "women", "woman"])]
    assert answers.score_exact(records, rows)["accuracy"].value == 50.0


def test_a_record_without_answers_has_no_score() -> None:
    found = answers.score_vqa([Record("1", (), ())], [{"id": "1", "answer": "yes"}])
    assert (found["accuracy"].value, found["accuracy"].n) == (None, 0)


def test_unknown_variant_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'official'"):
        answers.score_vqa([], [], variant="oficial")  # type: ignore[arg-type]
