"""The tiny models' tokenizers, learned from what the mini world says.

`python -m benchmarks.mini.vocabulary FOLDER` writes both; the shipped ones are in `x2vlm/assets`.
"""

from __future__ import annotations

import json
import random
import string
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.mini.language import GRAMMARS, KINDS, Language, Message, language
from benchmarks.mini.planner import captions, questions
from benchmarks.mini.world import COLOURS, GROUNDS, PATTERNS, RELATIONS, SHAPES, Thing, scenes
from x2vlm.data.cleaning import clean_caption
from x2vlm.data.text import Kind, train_tokenizer

SIZES: dict[Kind, int] = {"bert": 1024, "xlm-roberta": 2048}
FILES: dict[Kind, str] = {
    "bert": "tiny-tokenizer.json",
    "xlm-roberta": "multilingual-tiny-tokenizer.json",
}
_PROPERTIES = ("new", "old", "heavy", "expensive")
_VALUES = (*COLOURS, *PATTERNS[1:], "small", "big", "matte", "shiny", *_PROPERTIES)


def all_text(languages: Sequence[str]) -> Iterator[str]:
    """Cleaned sentences that cover what the world says: word forms, templates, English answers.

    The same for equal languages. Single characters come too, so that no text is out of reach.
    """
    drawn = scenes("vocabulary", "train", 1200)
    for code in languages:
        spoken = language(code)
        rng = random.Random(f"vocabulary/{code}")
        for scene in drawn:
            for message in captions(scene, rng, 2):
                yield clean_caption(spoken.say(message, rng))
            for question in questions(scene, rng, 2):
                yield clean_caption(spoken.say(question.message, rng))
                yield question.answer
        yield from _every_form(spoken, rng)
    yield from string.printable.strip()
    yield from (f"a{character}" for character in string.ascii_lowercase + string.digits)


def _every_form(spoken: Language, rng: random.Random) -> Iterator[str]:
    """Each template with things of all shapes, colours and numbers."""
    for kind in KINDS:
        for template in spoken.templates[kind]:
            for _ in range(24):
                yield clean_caption(spoken.fill(template, _message(kind, rng)))


def _message(kind: str, rng: random.Random) -> Message:
    things = tuple(
        Thing(
            rng.choice((*SHAPES, None)),
            rng.choice(COLOURS),
            rng.choice(PATTERNS[1:]) if rng.random() < 0.5 else None,
            rng.choice(("small", "big", None)),
            rng.choice(("matte", "shiny", None)),
        )
        for _ in range(2)
    )
    return Message(
        kind,
        things,
        relation=rng.choice(RELATIONS),
        ground=rng.choice(GROUNDS),
        value=rng.choice(_VALUES),
        other=rng.choice(_VALUES),
        move=rng.choice(("left", "right", "up", "down")),
    )


def tokenizer_json(kind: Kind, languages: Sequence[str]) -> str:
    """The tokenizer file of one kind, filled up to its size with tokens that nothing produces.

    "bert": all 1 024 WordPieces; "xlm-roberta": all 2 048 unigram pieces, `<mask>` last.
    """
    trained = json.loads(train_tokenizer(all_text(languages), kind, SIZES[kind]).to_json())
    pieces = trained["model"]["vocab"]
    missing = SIZES[kind] - len(pieces)
    if kind == "bert":
        pieces.update({f"[unused{i}]": len(pieces) + i for i in range(missing)})
        return json.dumps(trained, ensure_ascii=False)
    lowest = min(score for _, score in pieces)
    pieces += [[f"<unused{i}>", lowest - 20.0] for i in range(missing - 1)]
    mask = next(token for token in trained["added_tokens"] if token["content"] == "<mask>")
    mask["id"] = len(pieces)
    return json.dumps(trained, ensure_ascii=False)


def write_tokenizers(folder: Path) -> None:
    """Both files, `SIZES` tokens each."""
    for kind, name in FILES.items():
        codes = ("en",) if kind == "bert" else tuple(GRAMMARS)
        (folder / name).write_text(tokenizer_json(kind, codes) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_tokenizers(Path(sys.argv[1]))
