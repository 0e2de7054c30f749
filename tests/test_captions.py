"""Caption metrics: the published numbers of nlg-eval, hostile captions, what cannot be computed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.metrics import captions
from benchmarks.metrics.captions import METRICS, bleu, clean
from benchmarks.metrics.stats import Scores
from x2vlm.errors import DataError
from x2vlm.types import Prediction, Record

GOLDEN = json.loads((Path(__file__).parent / "golden" / "scores" / "captions.json").read_text())
NAMES = {"Bleu_1": "bleu1", "Bleu_2": "bleu2", "Bleu_3": "bleu3", "Bleu_4": "bleu4",
         "METEOR": "meteor", "ROUGE_L": "rouge_l", "CIDEr": "cider"}  # fmt: skip


def case(rows: list[list[str]]) -> tuple[list[Record], list[Prediction]]:
    records = [Record(str(i), (), tuple(row[1:])) for i, row in enumerate(rows)]
    return records, [{"id": str(i), "caption": row[0]} for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def corpus() -> Scores:
    return captions.score(*case(GOLDEN["corpus"]["rows"]))


def test_numbers_of_nlg_eval(corpus: Scores) -> None:
    for theirs, ours in NAMES.items():
        expected = GOLDEN["corpus"]["expected"][theirs]
        assert corpus[ours].value == pytest.approx(expected, abs=5e-6), ours
        assert corpus[ours].n == 2
    assert set(corpus) == set(METRICS)
    assert corpus["cider"].standard_error is not None


def test_spice_says_why_it_is_not_computed(corpus: Scores) -> None:
    spice = corpus["spice"]
    assert (spice.value is None) == spice.note.startswith("not computed: ")
    assert spice.value is not None or "stanford-corenlp" in spice.note


def test_hostile_captions_do_not_shift_the_lines() -> None:
    rows = [
        ["a dog\nruns ||| fast", "a dog runs fast", "a ||| dog is running"],
        ["", "an empty caption"],
        ["Ein Hund\u2028läuft 犬 \x85 \r\n", "a cat", "zwei\tKatzen"],
        ["a man rides a horse", "a man rides a horse", "a rider on his horse"],
    ]
    found = captions.score(*case(rows), limited=True)
    assert found["meteor"].value is not None
    assert found["rouge_l"].value == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert "not comparable" in found["cider"].note
    assert found["bleu1"].n == 4


def test_clean_leaves_one_line() -> None:
    assert clean("a ||| b\r\nc\u2028d\x0b e") == "a b c d e"


def test_bleu_of_summed_counts_equals_the_official_one(corpus: Scores) -> None:
    payload = captions._texts(*case(GOLDEN["corpus"]["rows"]))
    lower: dict[str, Any] = {k: [[t.lower() for t in ts] for ts in v] for k, v in payload.items()}
    result = captions._child("overlap", lower, 60)
    assert isinstance(result, dict)
    total = np.sum(result["bleu_counts"], axis=0, keepdims=True)
    assert bleu(total)[0] == pytest.approx(result["bleu"], abs=1e-12)
    assert corpus["bleu4"].value == pytest.approx(result["bleu"][3], abs=1e-12)


def test_without_java_nothing_is_computed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_environment", lambda: {"PATH": "", "PYTHONPATH": "."})
    found = captions.score(*case([["a dog", "a dog"]]))
    assert all(m.value is None and m.note.startswith("not computed: ") for m in found.values())
    assert "java" in found["cider"].note


def test_time_is_bounded() -> None:
    found = captions.score(*case([["a dog", "a dog"]]), timeout=0.01)
    assert "took longer than 0.01 s" in found["cider"].note


def test_no_references_is_an_error_and_no_images_undefined() -> None:
    with pytest.raises(DataError, match="FILE:1"):
        captions.score([Record("1", (), (), source="FILE:1")], [{"id": "1", "caption": "a"}])
    assert captions.score([], [])["cider"].value is None
