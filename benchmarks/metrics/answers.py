"""Answers to questions: VQA's soft accuracy in its three circulating variants, and exact match.

The rules are those of the official evaluator of VQA v2.0 (vqaEval.py), its oddities included; each
is named where it is kept. Normalisation is cached, since answers repeat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

from benchmarks.metrics.stats import Scores, tagged_means
from x2vlm.errors import ConfigError, unknown
from x2vlm.types import Prediction, Record

Variant = Literal["official", "x2vlm", "always"]

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
ARTICLES = frozenset({"a", "an", "the"})
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(DIGITS)} | {"none": "0"}

_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _misspelt(word: str) -> list[str]:
    """`word` with each of its apostrophes left out in turn."""
    return [word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'"]


CONTRACTIONS = {key: word for word in _CONTRACTED.split() for key in _misspelt(word)}
CONTRACTIONS["somebody'd"] = "somebodyd"  # the official table has this one the wrong way round

_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32  # the official call passes re.UNICODE, which is 32, where the count belongs


@lru_cache(maxsize=1 << 18)
def strip_punctuation(text: str) -> str:
    """Remove a mark that touches a space anywhere in `text`, else put a space in its place.

    A comma inside a number ("1,000") makes every mark of the text go without a space. Full stops
    go unless a digit follows.
    """
    squeeze = _COMMA_IN_NUMBER.search(text) is not None
    found = text
    for mark in PUNCTUATION:
        if mark in text:
            touches = squeeze or mark + " " in text or " " + mark in text
            found = found.replace(mark, "" if touches else " ")
    return _PERIOD.sub("", found, count=_PERIODS)


@lru_cache(maxsize=1 << 18)
def normalise_words(text: str) -> str:
    """Lower case, number words to digits, articles dropped, apostrophes put back."""
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def normalise(text: str) -> str:
    """Both steps of the official normalisation, in the official order."""
    return normalise_words(strip_punctuation(text))


@lru_cache(maxsize=1 << 18)
def _tidy(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def soft_accuracy(answer: str, annotators: Sequence[str], variant: Variant = "official") -> float:
    """min(1, matches among the other annotators / 3), averaged over annotators; 0..1.

    variant: which strings are compared.
        official  both sides normalised, unless all annotators gave the very same answer
        x2vlm     the evaluator shipped with X²-VLM and ALBEF: the prediction is always normalised,
                  annotators lose punctuation only, and only when they disagree
        always    both sides normalised, always
    """
    predicted, truth = _tidy(answer), list(annotators)
    if variant != "x2vlm":
        truth = [_tidy(text) for text in truth]
    agreed = len(set(truth)) == 1
    if variant == "x2vlm":
        predicted = normalise(predicted)
        truth = truth if agreed else [strip_punctuation(text) for text in truth]
    elif variant == "always" or not agreed:
        predicted, truth = normalise(predicted), [normalise(text) for text in truth]
    matches, n = truth.count(predicted), len(truth)
    # an annotator who gave the predicted answer is compared with one match less: his own
    for_others, for_same = min(1.0, matches / 3), min(1.0, max(matches - 1, 0) / 3)
    return (matches * for_same + (n - matches) * for_others) / n


def score_vqa(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    variant: Variant = "official",
    tags: Sequence[str] = ("answer_type",),
    **_: Any,
) -> Scores:
    """`accuracy` (soft, percent) and `accuracy/yes/no`, `accuracy/number`, `accuracy/other`.

    Errors are clustered by image. A record without annotators has no score and is left out of n.
    """
    if variant not in get_args(Variant):
        raise ConfigError(unknown("VQA scorer variant", variant, get_args(Variant)))
    values = [
        soft_accuracy(row["answer"], truth, variant) if (truth := _annotators(record)) else None
        for record, row in zip(records, predictions, strict=True)
    ]
    return tagged_means("accuracy", values, records, tags)


def score_exact(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    tags: Sequence[str] = (),
    **_: Any,
) -> Scores:
    """`accuracy` in percent: the predicted string is the annotated one, to the letter (GQA)."""
    values = [
        float(row["answer"] in truth) if (truth := _annotators(record)) else None
        for record, row in zip(records, predictions, strict=True)
    ]
    return tagged_means("accuracy", values, records, tags)


def _annotators(record: Record) -> Sequence[str]:
    found: Sequence[str] = record.target.get("annotators") or record.target.get("answers") or ()
    return found
