"""Official cleaning of texts, and what a usable text is. No torch: readers clean as tasks do."""

from __future__ import annotations

import re
from typing import Literal

from x2vlm.errors import DataError

Bare = Literal["refuse", "keep"]
"""what to do with a text in which cleaning leaves no word"""
TRAIN_WORDS = 30
"""words at which questions are cut in training (official); in test later: `clean_question`"""
_PUNCTUATION = str.maketrans(dict.fromkeys(",.'!?\"()*#:;~-/", " "))


def clean_caption(text: str, max_words: int = 30, bare: Bare = "refuse") -> str:
    """Lower case, punctuation to spaces, white space collapsed, cut at `max_words` (official).

    When no word is left: DataError, or with bare="keep" the text as it is (official for WIT).
    """
    spaced = text.lower().translate(_PUNCTUATION).replace("<person>", "person")
    words = re.sub(r"\s{2,}", " ", spaced).rstrip("\n").strip(" ").split(" ")
    cleaned = " ".join(words[:max_words])
    if not has_word(cleaned):
        if bare == "keep":
            return text
        raise DataError(f"caption {text!r} is empty after cleaning", expected="at least one word")
    return cleaned


def clean_question(text: str, max_words: int = 50) -> str:
    """Lower case, punctuation to spaces, nothing collapsed, cut at `max_words` (official: 30 in
    training, 50 in test; runs of spaces count as empty words). A question may end up empty."""
    words = text.lower().translate(_PUNCTUATION).rstrip(" ").split(" ")
    return " ".join(words[:max_words])


def has_word(cleaned: str) -> bool:
    """Whether a tokenizer finds anything in it: more than blanks and invisible characters."""
    return any(letter.isprintable() and not letter.isspace() for letter in cleaned)
