"""Answering questions about an image by ranking a list of candidate answers.

Axes: B questions, C H W pixels, L tokens of a question, A tokens of an answer, X answers of a
batch, D width, K kept candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from x2vlm.data.cleaning import TRAIN_WORDS, clean_question
from x2vlm.data.image import EvalTransform, TrainTransform, Transform
from x2vlm.errors import ConfigError, DataError
from x2vlm.tasks.base import Task
from x2vlm.tasks.evaluation import evaluation
from x2vlm.tasks.features import fused, inputs, shared_images
from x2vlm.tasks.ranking import Candidates, Rule, prepare, rank_answers
from x2vlm.types import Batch, Prediction, Record

if TYPE_CHECKING:
    from x2vlm.config import TrainConfig
    from x2vlm.data.image import Sample
    from x2vlm.data.text import Tokenizer
    from x2vlm.model.x2vlm import X2VLM

ANSWER_TOKENS = 40


def _plain(answer: str) -> str:
    """Without case and runs of blanks, which scorers and most tokenizers ignore."""
    return " ".join(str(answer).lower().split())


class Answering(Task):
    """candidates: the answers that may be given. k: how many are scored in full; None: all.
    rule: "official" counts the first token twice, "chain" does not (see `ranking`)."""

    name: ClassVar[str] = "answering"

    def __init__(
        self,
        model: X2VLM,
        tokenizer: Tokenizer,
        *,
        candidates: Sequence[str] = (),
        k: int | None = 128,
        rule: Rule = "official",
        max_tokens: int = 40,
    ) -> None:
        super().__init__(model, tokenizer)
        if rule not in ("official", "chain"):
            raise ConfigError(f'rule of answering is "official" or "chain", not {rule!r}')
        self.candidates, self.k, self.rule = tuple(candidates), k, rule
        self.max_tokens = max_tokens

    @classmethod
    def heads(cls, **_: object) -> dict[str, object]:
        """The answer decoder."""
        return {"heads": ("decoder",)}

    def transform(self, train: bool) -> Transform:
        """Random crops and colours in training; no flip when question or answers name a side."""
        size = self.model.config.vision.image_size
        return TrainTransform(size, flip="careful") if train else EvalTransform(size)

    def check_training(
        self, units: Sequence[Record], settings: TrainConfig, micro_batch: int
    ) -> list[str]:
        """Answers outside the candidate list are learned, and can never be given."""
        del settings, micro_batch
        answers = [{_plain(a) for a in unit.target.get("answers", ())} for unit in units]
        known = {_plain(candidate) for candidate in self.candidates}
        outside = sum(not known.intersection(given) for given in answers)
        found = []
        if known and outside:
            example = next(
                unit
                for unit, given in zip(units, answers, strict=True)
                if not known.intersection(given)
            )
            found.append(
                f"the answers of {'all' if outside == len(units) else outside} of {len(units)} "
                f"training questions are not among the {len(self.candidates)} candidate answers, "
                f"which alone can be given (first: {example.source or example.id})"
            )
        if len(units) > 1 and len(set().union(*answers)) == 1:
            found.append(
                f"all {len(units)} training questions have the same answer: "
                "always to give it is all there is to learn"
            )
        return found

    def collate(self, samples: Sequence[Sample], train: bool) -> Batch:
        """image: without repeats. target: rows, the image of each question; in training the
        answers of all questions: answer_XA, seen_XA, weight_X, question_X."""
        words = {"max_words": TRAIN_WORDS} if train else {}
        texts = [clean_question(sample.record.texts[0], **words) for sample in samples]
        text_BL, mask_BL = self.tokenizer.encode(texts, self.max_tokens)
        image, rows = shared_images(samples)
        target = {"rows": rows, **(self._answers(samples) if train else {})}
        ids = tuple(sample.record.id for sample in samples)
        return Batch(ids, image, text_BL, mask_BL, target)

    def _answers(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        answers: list[str] = []
        weights: list[float] = []
        questions: list[int] = []
        for place, sample in enumerate(samples):
            given = sample.record.target
            if not given.get("answers"):
                raise DataError("a question to train on has no answer", source=sample.record.source)
            answers += given["answers"]
            weights += given["weights"]
            questions += [place] * len(given["answers"])
        answer_XA, seen_XA = self.tokenizer.encode(answers, ANSWER_TOKENS)
        return {
            "answer_XA": answer_XA,
            "seen_XA": seen_XA,
            "weight_X": torch.tensor(weights),
            "question_X": torch.tensor(questions),
        }

    def question_states(self, batch: Batch) -> Tensor:
        """Fused states of the questions, (B, L, D)."""
        return fused(self.model, batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted -log p(answer), summed over answers, divided by the number of questions."""
        decoder, target = self._decoder(), batch.target
        answer_XA, seen_XA = target["answer_XA"], target["seen_XA"]
        memory = decoder.memory(self.question_states(batch), inputs(batch)[2])
        states_XAD = decoder.states(answer_XA, seen_XA, memory, target["question_X"])
        log_XAW = decoder.logits(states_XAD[:, :-1]).float().log_softmax(-1)
        gain_XA = log_XAW.gather(2, answer_XA[:, 1:, None])[..., 0] * seen_XA[:, 1:]
        return {"answering": -(gain_XA.sum(1) * target["weight_X"]).sum() / len(batch.ids)}

    @evaluation
    def predict(self, loader: Iterable[Batch]) -> Iterator[Prediction]:
        """{"id", "answer": the best candidate}."""
        candidates = self._candidates()
        for batch in self.batches(loader, "answering"):
            moved = batch.to(self.device)
            index_BK, _ = rank_answers(
                self._decoder(),
                self.question_states(moved),
                inputs(moved)[2],
                candidates,
                self.k,
                self.rule,
            )
            for id_, best in zip(batch.ids, index_BK[:, 0].tolist(), strict=True):
                yield {"id": id_, "answer": self.candidates[best]}

    def _candidates(self) -> Candidates:
        if not self.candidates:
            raise ConfigError(
                "answering ranks a list of candidate answers, and none were given\n  to do: name "
                "the benchmark's answer list (its file role is in `x2vlm data status`)"
            )
        return prepare(self._decoder(), *self.tokenizer.encode(self.candidates, ANSWER_TOKENS))

    def _decoder(self) -> Any:
        assert self.model.decoder is not None, "build() sees to the decoder"
        return self.model.decoder
