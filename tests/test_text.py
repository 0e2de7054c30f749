import json
from pathlib import Path

import pytest
import torch

from x2vlm.data.cleaning import clean_caption, clean_question
from x2vlm.data.text import Tokenizer, load_tokenizer, train_tokenizer
from x2vlm.errors import DataError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "data.json").read_text("utf-8"))["text"]
TEXTS = [
    "a red ball left of a blue cube",
    "ein roter Ball links neben einem blauen Würfel",
    "青い立方体の左に赤い球がある",
    "蓝色立方体左边有一个红球",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The pieces of the golden texts alone: greedy longest match then finds the very same."""
    pieces = sorted({piece for row in GOLDEN for piece in row["pieces"]} - {"[CLS]", "[SEP]"})
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]), "utf-8")
    return load_tokenizer(path)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["raw"][:20])
def test_cleaning_and_pieces_are_the_official_ones(row: dict, bert: Tokenizer) -> None:
    assert clean_caption(row["raw"]) == row["caption"]
    assert clean_question(row["raw"], 30) == row["question"]
    pieces = json.loads(bert.to_json())["model"]["vocab"]
    ids = [pieces[piece] for piece in row["pieces"]]
    assert bert.encode([row["caption"]], 40)[0].tolist() == [ids]


def test_ids_are_those_of_bert_base_uncased(shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "data/bert-base-uncased")
    rows = json.loads((shared / "goldens/a/functions.json").read_text("utf-8"))["text"]
    assert tokenizer.vocabulary == 30522
    assert (tokenizer.cls, tokenizer.sep, tokenizer.pad, tokenizer.mask) == (101, 102, 0, 103)
    assert [tokenizer.ids(row["caption"], 40) for row in rows] == [
        row["caption_token_ids"] for row in rows
    ]


def test_a_question_is_cut_at_fifty_words_and_keeps_runs_of_spaces() -> None:
    assert clean_question("Is it, or-not?") == "is it  or not"
    assert len(clean_question("word " * 60).split(" ")) == 50


def test_an_empty_caption_is_an_error() -> None:
    with pytest.raises(DataError, match="empty after cleaning"):
        clean_caption(" ?! ")


def test_encode_pads_to_the_longest_and_truncates_before_sep(bert: Tokenizer) -> None:
    text_BL, mask_BL = bert.encode(["a man riding a horse", "a"], 5)
    assert text_BL.dtype == torch.int64
    assert text_BL.shape == (2, 5)
    assert text_BL[0, -1] == bert.sep
    assert mask_BL.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert text_BL[1, 3:].tolist() == [bert.pad] * 2
    assert bert.encode(["a"], 5, pad_to=9)[0].shape == (1, 9)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_a_trained_tokenizer_is_whole_deterministic_and_survives_json(kind: str) -> None:
    tokenizer = train_tokenizer(TEXTS * 3, kind, 160)
    again = train_tokenizer(TEXTS * 3, kind, 160)
    assert tokenizer.to_json() == again.to_json()
    special = [tokenizer.cls, tokenizer.pad, tokenizer.sep, tokenizer.unk, tokenizer.mask]
    last = tokenizer.vocabulary - 1
    assert special == ([2, 0, 3, 1, 4] if kind == "bert" else [0, 1, 2, 3, last])
    loaded = Tokenizer.from_json(tokenizer.to_json())
    for text in TEXTS:
        ids = tokenizer.ids(text, 60)
        assert loaded.ids(text, 60) == ids
        assert tokenizer.unk not in ids
        assert max(ids) < tokenizer.vocabulary
    assert tokenizer.decode(tokenizer.ids(TEXTS[0], 60)) == TEXTS[0]


def test_words_start_where_the_pieces_say(bert: Tokenizer) -> None:
    ids = bert.ids("ein mann fährt", 20)
    pieces = {index: piece for piece, index in json.loads(bert.to_json())["model"]["vocab"].items()}
    expected = [not pieces[i].startswith("##") for i in ids]
    assert bert.starts_word(ids).tolist() == expected
    assert not all(expected)
    unigram = train_tokenizer(TEXTS * 3, "xlm-roberta", 160)
    ids = unigram.ids("red ball", 20)
    starts = unigram.starts_word(ids)
    assert starts[0]
    assert starts[-1]
    assert 1 <= starts[1:-1].sum() <= 2
    han = unigram.ids("蓝色", 20)[1:-1]
    assert unigram.starts_word(han).sum() >= len(han) - 1, "each ideograph is a word of its own"


def test_a_saved_file_or_folder_is_loaded(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, "xlm-roberta", 120)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), "utf-8")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_tokenizer(path).ids(TEXTS[1], 40) == tokenizer.ids(TEXTS[1], 40)


def test_same_ids_as_transformers(tmp_path: Path, bert: Tokenizer) -> None:
    from transformers import BertTokenizerFast

    vocabulary = json.loads(bert.to_json())["model"]["vocab"]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), "utf-8")
    theirs = BertTokenizerFast(str(path), do_lower_case=True)
    for row in GOLDEN:
        assert theirs(row["raw"])["input_ids"] == bert.ids(row["raw"], 512)


def test_a_folder_saved_by_transformers_gives_its_xlm_roberta_ids(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, XLMRobertaTokenizer

    small = train_tokenizer(TEXTS * 3, "xlm-roberta", 160)
    pieces = json.loads(small.to_json())["model"]["vocab"]
    XLMRobertaTokenizer(vocab=[tuple(piece) for piece in pieces]).save_pretrained(tmp_path)
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    assert (ours.mask, ours.vocabulary) == (theirs.mask_token_id, len(theirs))
    for text in (*TEXTS, "A RED  cube!", "unseen ღ"):
        assert ours.ids(text, 99) == theirs(text)["input_ids"]


def test_errors_name_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("hello\nworld\n")
    with pytest.raises(DataError, match=r"words\.txt: has no token \[CLS\]"):
        load_tokenizer(tmp_path / "words.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no tokenizer there"):
        load_tokenizer(tmp_path / "empty")
    with pytest.raises(DataError, match="neither"):
        Tokenizer.from_json(
            '{"version": "1.0", "truncation": null, "padding": null, '
            '"added_tokens": [], "normalizer": null, "pre_tokenizer": null, '
            '"post_processor": null, "decoder": null, '
            '"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
        )
