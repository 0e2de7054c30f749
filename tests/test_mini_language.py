"""What the world says, language by language: whole sentences, by grammar."""

import itertools
import json
import random
import re
from pathlib import Path

import pytest

from benchmarks.mini.language import GRAMMARS, KINDS, Message, language
from benchmarks.mini.world import COLOURS, GROUNDS, PATTERNS, RELATIONS, SHAPES, Thing

STAR = Thing("star", "orange", size="small")
HEART = Thing("heart", "blue", "dotted", material="matte")
CUBE = Thing("cube", "black")
MOVES = ("left", "right", "up", "down")
VALUES = (*COLOURS, *PATTERNS[1:], "small", "big", "matte", "shiny", "new", "old", "heavy")

SAMPLES: dict[str, list[tuple[str, str]]] = json.loads(
    (Path(__file__).parent / "golden/mini_sentences.json").read_text(encoding="utf-8")
)
"""language -> pairs of a template and the sentence that grammars of the language want"""


@pytest.mark.parametrize("code", GRAMMARS)
def test_samples(code: str) -> None:
    message = Message("relation", (STAR, HEART), relation="left", value="red")
    for template, expected in SAMPLES[code]:
        assert language(code).fill(template, message) == expected


def every_message(kind: str) -> list[Message]:
    rng = random.Random(kind)
    return [
        Message(kind, (Thing(shape, colour), Thing(other)), relation=rng.choice(RELATIONS),
                ground=rng.choice(GROUNDS), move=rng.choice(MOVES),
                value=rng.choice(VALUES), other=rng.choice(VALUES))
        for shape, colour, other in zip(
            (*SHAPES, None), (*COLOURS, None), (None, *SHAPES), strict=True
        )
    ]  # fmt: skip


@pytest.mark.parametrize("code", GRAMMARS)
def test_every_template_says_every_thing(code: str) -> None:
    spoken = language(code)
    assert set(spoken.templates) == set(KINDS)
    for kind in KINDS:
        for template, message in itertools.product(spoken.templates[kind], every_message(kind)):
            text = spoken.fill(template, message)
            assert not re.search(r"[{}\[\]|_*]|  | [,.]|이/가|은/는|과/와", text), text
            assert text[-1] in ".?。？।؟;"
            first = next(c for c in text if c.isalpha())
            assert first.upper() == first


@pytest.mark.parametrize("code", GRAMMARS)
def test_different_things_are_said_differently(code: str) -> None:
    spoken = language(code)
    said = {
        spoken.phrase(Thing(shape, colour, pattern, size, material), "0", "", False)
        for shape in (*SHAPES, None)
        for colour in COLOURS
        for pattern in PATTERNS[1:]
        for size in ("small", "big")
        for material in ("matte", "shiny")
    }
    assert len(said) == 9 * 8 * 3 * 2 * 2


@pytest.mark.parametrize("code", GRAMMARS)
def test_opposite_relations_and_values_are_said_differently(code: str) -> None:
    spoken = language(code)
    texts = [spoken.fill("{a} {rel}", Message("relation", (STAR, CUBE), r)) for r in RELATIONS]
    assert len(set(texts)) == 4
    values = [spoken.predicate(value, STAR) for value in VALUES]
    assert len(set(values)) == len(values)


def test_german_adjectives_follow_article_gender_and_case() -> None:
    german = language("de")
    assert german.phrase(Thing("cube", "red"), "i", "nom", False) == "ein roter Würfel"
    assert german.phrase(Thing("cube", "red"), "d", "nom", False) == "der rote Würfel"
    assert german.phrase(Thing("cube", "red"), "i", "acc", False) == "einen roten Würfel"
    assert german.phrase(Thing("ball", "red"), "i", "dat", False) == "einer roten Kugel"
    assert german.phrase(Thing("heart", "red"), "0", "nom", False) == "rotes Herz"
    assert german.phrase(Thing("heart", "red"), "i", "acc", True) == "rote Herzen"


def test_french_elides_and_contracts() -> None:
    french = language("fr")
    message = Message("relation", (Thing("ball"), Thing("star")), relation="above")
    assert french.fill("{a:d} {rel:d}", message) == "La balle au-dessus de l'étoile."
    assert french.fill("{a:d} {rel:i}", message) == "La balle au-dessus d'une étoile."
    assert french.fill("combien de {b:pl}?", message) == "Combien d'étoiles ?"


def test_turkish_question_words_follow_the_last_vowel() -> None:
    turkish = language("tr")
    answers = {
        value: turkish.fill("{value} mI?", Message("q_is", (STAR,), value=value)).split()[-1]
        for value in ("red", "green", "purple", "small")
    }
    assert answers == {"red": "mı?", "green": "mi?", "purple": "mu?", "small": "mü?"}
    assert turkish.fill("iki", Message("list")) == "İki."


def test_korean_particles_follow_the_last_letter() -> None:
    korean = language("ko")
    message = Message("list", (Thing("ring"), Thing("ball")))
    assert korean.fill("{all}이/가", message) == "고리와 공이."
    assert korean.fill("{b}은/는 {a}을/를", message) == "공은 고리를."


def test_definite_bulgarian_and_danish() -> None:
    bulgarian, danish = language("bg"), language("da")
    assert bulgarian.phrase(Thing("cube", "white"), "d", "", False) == "белият куб"
    assert bulgarian.phrase(Thing("cube", "white"), "d", "obl", False) == "белия куб"
    assert bulgarian.phrase(Thing("cube"), "d", "", False) == "кубът"
    assert danish.phrase(Thing("heart"), "d", "", False) == "hjertet"
    assert danish.phrase(Thing("heart", "green"), "i", "", False) == "et grønt hjerte"


def test_an_unknown_language() -> None:
    with pytest.raises(KeyError):
        language("xx")
