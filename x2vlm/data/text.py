"""Token ids of texts: one Tokenizer over BERT WordPiece and XLM-R unigram models.

Axes: B batch, L tokens.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from tokenizers import decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from x2vlm.errors import DataError

Kind = Literal["bert", "xlm-roberta"]

_SPECIAL: dict[str, tuple[str, str, str, str, str]] = {
    "bert": ("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"),
    "xlm-roberta": ("<s>", "</s>", "<pad>", "<mask>", "<unk>"),
}
# Scripts written without spaces: there every piece counts as a word of its own.
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff]")


class Tokenizer:
    """Token ids of texts, with the special tokens of either kind of model.

    kind: "bert" or "xlm-roberta". vocabulary: number of tokens. cls, sep, pad, mask, unk: ids.
    """

    def __init__(self, backend: tokenizers.Tokenizer, kind: Kind) -> None:
        ids: dict[str, int | None] = {t: backend.token_to_id(t) for t in _SPECIAL[kind]}
        if missing := [token for token, index in ids.items() if index is None]:
            raise DataError(f"tokenizer of kind {kind} has no token {', '.join(missing)}")
        backend.no_truncation()
        backend.no_padding()
        self.kind = kind
        self._backend = backend
        self.cls, self.sep, self.pad, self.mask, self.unk = (
            i for i in ids.values() if i is not None
        )
        self.vocabulary: int = backend.get_vocab_size(with_added_tokens=True)
        self._starts = self._word_starts()

    def encode(
        self, texts: Sequence[str], max_length: int, pad_to: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Texts -> (text_BL int64, mask_BL bool), each [cls] … [sep] with at most `max_length` ids.

        Padded to the longest of the batch, or to `pad_to`.
        """
        rows = [self.ids(text, max_length) for text in texts]
        length = pad_to or max(map(len, rows), default=0)
        text_BL = torch.full((len(rows), length), self.pad, dtype=torch.int64)
        mask_BL = torch.zeros((len(rows), length), dtype=torch.bool)
        for b, row in enumerate(rows):
            text_BL[b, : len(row)] = torch.tensor(row)
            mask_BL[b, : len(row)] = True
        return text_BL, mask_BL

    def ids(self, text: str, max_length: int) -> list[int]:
        """[cls] … [sep] of one text, truncated before [sep] to `max_length` in all."""
        # One by one: a parallel batch call leaves threads that worker processes cannot inherit.
        pieces: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return [self.cls, *pieces[: max_length - 2], self.sep]

    def decode(self, ids: Iterable[int] | Tensor) -> str:
        """The text of token ids, special tokens left out."""
        plain = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        special = {self.cls, self.sep, self.pad, self.mask}
        text: str = self._backend.decode([i for i in plain if i not in special])
        return text.strip()

    def starts_word(self, ids: Sequence[int] | NDArray[np.int64] | Tensor) -> NDArray[np.bool_]:
        """Whether each token begins a word; same shape as `ids`."""
        starts: NDArray[np.bool_] = self._starts[np.asarray(ids)]
        return starts

    def to_json(self) -> str:
        """The whole tokenizer as one string, for `from_json`."""
        text: str = self._backend.to_str()
        return text

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer of `to_json`, or of the text of a tokenizer.json file."""
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exceptions
            raise DataError(
                f"the tokenizer's JSON cannot be read ({str(error).splitlines()[0][:200]})",
                expected="the text of a tokenizer.json",
            ) from error
        return cls(backend, _kind(backend))

    def _word_starts(self) -> NDArray[np.bool_]:
        starts = np.ones(self.vocabulary, dtype=bool)
        for token, index in self._backend.get_vocab(with_added_tokens=True).items():
            if index >= self.vocabulary:
                raise DataError(
                    f"the token {token[:40]!r} has the id {index}, but there are "
                    f"{self.vocabulary} tokens",
                    expected="ids from 0 without a gap",
                )
            if self.kind == "bert":
                starts[index] = not token.startswith("##")
            else:
                starts[index] = token.startswith("▁") or bool(_NO_SPACES.match(token))
        starts[[self.cls, self.sep, self.pad, self.mask, self.unk]] = True
        return starts


def load_tokenizer(name_or_path: str | Path) -> Tokenizer:
    """A tokenizer from a vocab.txt, a tokenizer.json or its text, a folder with either (or with
    XLM-R's sentencepiece.bpe.model), or a name on the Hugging Face hub. A name must be the user's
    or the package's own, for it may lead to any path and to the network.

    Raises DataError that says what was looked for.
    """
    if str(name_or_path).lstrip().startswith("{"):
        return Tokenizer.from_json(str(name_or_path))
    path = Path(name_or_path)
    if path.is_dir():
        found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
        if not found:
            return _from_transformers(str(path))
        path = found[0]
    if not path.is_file():
        return _from_transformers(str(name_or_path))
    if path.suffix == ".json":
        return Tokenizer.from_json(path.read_text(encoding="utf-8"))
    return _from_vocabulary(path)


def _from_vocabulary(path: Path) -> Tokenizer:
    tokens = path.read_text(encoding="utf-8").splitlines()
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if "[CLS]" not in vocabulary:
        raise DataError(
            "has no token [CLS]", source=str(path), expected="a BERT vocabulary, one token a line"
        )
    return Tokenizer(_wordpiece(models.WordPiece(vocabulary, unk_token="[UNK]")), "bert")


def _from_transformers(name: str) -> Tokenizer:
    from transformers import AutoTokenizer  # slow to import; only hub names and .model need it

    try:
        loaded = AutoTokenizer.from_pretrained(name)
        backend = loaded.backend_tokenizer
    except Exception as error:  # transformers raises many kinds here
        raise DataError(
            f"no tokenizer there ({type(error).__name__}: {str(error).splitlines()[0]})",
            source=name,
            expected="a vocab.txt or tokenizer.json, a folder with one, or a name on the hub",
            fix="check the path; a hub name needs the network once. Without a network: "
            "model.tokenizer=FOLDER or vocab.txt",
        ) from error
    return Tokenizer(backend, _kind(backend))


def _kind(backend: tokenizers.Tokenizer) -> Kind:
    for kind, tokens in _SPECIAL.items():
        if backend.token_to_id(tokens[0]) is not None:
            return "bert" if kind == "bert" else "xlm-roberta"
    raise DataError("tokenizer has neither [CLS] nor <s>", expected="a BERT or XLM-R tokenizer")


def _wordpiece(model: Any) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(list(_SPECIAL["bert"]))
    return backend


def train_tokenizer(texts: Iterable[str], kind: Kind, size: int) -> Tokenizer:
    """A tokenizer of at most `size` tokens for `texts`; the same texts give the same tokenizer.

    "bert": WordPiece, ids [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4.
    "xlm-roberta": unigram, ids <s> 0, <pad> 1, </s> 2, <unk> 3, and <mask> last.
    Every character has a token, then come the words (and, in scripts without spaces, runs of up to
    4 characters) that save most pieces. The library's own trainers break ties by chance.
    """
    if kind == "bert":
        backend = _wordpiece(models.WordPiece(unk_token="[UNK]"))
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        letters, words = _frequent(texts, backend)
        inner = [f"##{letter}" for letter in letters]
        tokens = [*special, *letters, *inner, *words][:size]
        vocabulary = {token: index for index, token in enumerate(tokens)}
        return Tokenizer(_wordpiece(models.WordPiece(vocabulary, unk_token="[UNK]")), kind)
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    letters, words = _frequent(texts, backend)
    counts = Counter(letters) + Counter(words)
    total = counts.total()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokens = [*letters, *words][: size - len(special) - 1]
    scores = [(token, math.log(counts[token] / total)) for token in tokens]
    backend.model = models.Unigram([*((name, 0.0) for name in special), *scores], unk_id=3)
    backend.add_special_tokens([*special, "<mask>"])
    return Tokenizer(backend, kind)


def _frequent(
    texts: Iterable[str], backend: tokenizers.Tokenizer
) -> tuple[dict[str, int], dict[str, int]]:
    """(characters, longer pieces) of the texts with their counts, most useful first."""
    words: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    letters: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
        if not _NO_SPACES.search(word):
            pieces[word] += count
            continue
        for start in range(len(word)):
            for stop in range(start + 2, min(start + 4, len(word)) + 1):
                pieces[word[start:stop]] += count
    useful = sorted(
        ((piece, count) for piece, count in pieces.items() if len(piece) > 1),
        key=lambda item: (-item[1] * (len(item[0]) - 1), item[0]),
    )
    return dict(sorted(letters.items())), dict(useful)
