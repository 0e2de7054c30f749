"""The shipped tokenizers fit the mini world: no unknown pieces, sizes as the presets want."""

import random
from pathlib import Path

import pytest

import x2vlm
from benchmarks.mini.language import GRAMMARS, language
from benchmarks.mini.planner import captions
from benchmarks.mini.vocabulary import FILES, SIZES, tokenizer_json
from benchmarks.mini.world import scenes
from x2vlm.data.cleaning import clean_caption
from x2vlm.data.text import Kind, load_tokenizer

ASSETS = Path(x2vlm.__file__).parent / "assets"
LANGUAGES: dict[Kind, tuple[str, ...]] = {"bert": ("en",), "xlm-roberta": tuple(GRAMMARS)}


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_the_shipped_file_is_what_the_world_gives(kind: Kind) -> None:
    shipped = (ASSETS / FILES[kind]).read_text(encoding="utf-8")
    assert tokenizer_json(kind, LANGUAGES[kind]) + "\n" == shipped, (
        "run: python -m benchmarks.mini.vocabulary x2vlm/assets (then pre-train anew)"
    )


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_ids_and_coverage(kind: Kind) -> None:
    tokenizer = load_tokenizer(ASSETS / FILES[kind])
    assert tokenizer.vocabulary == SIZES[kind]
    special = (tokenizer.cls, tokenizer.pad, tokenizer.sep, tokenizer.unk, tokenizer.mask)
    assert special == ((2, 0, 3, 1, 4) if kind == "bert" else (0, 1, 2, 3, 2047))
    for code in LANGUAGES[kind]:
        rng = random.Random(code)
        lengths = []
        for scene in scenes("coverage", "test", 30):
            text = clean_caption(language(code).say(captions(scene, rng, 1)[0], rng))
            ids = tokenizer.ids(text, 99)
            assert tokenizer.unk not in ids, text
            lengths.append(len(ids))
        assert sum(lengths) / len(lengths) < 25, code
    assert tokenizer.unk not in tokenizer.ids("zebra 47 quickly", 99)
