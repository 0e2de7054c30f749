"""The cases of official goldens, each by the project's public functions; part of
`golden_parity.py`.

A case is a function of a model and its inputs that yields (output, value); what is not asked for
is left aside. Sizes come from the weights and the inputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import small
import torch
from torch import Tensor

from x2vlm import losses
from x2vlm.model.positions import resize_positions
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.answering import Answering
from x2vlm.tasks.beam import Search, generate
from x2vlm.tasks.classification import Classification
from x2vlm.tasks.features import encode_tokens
from x2vlm.tasks.grounding import Grounding
from x2vlm.tasks.pretraining import Pretraining, Regions, Texts
from x2vlm.tasks.ranking import prepare, rank_answers
from x2vlm.tasks.rerank import rerank
from x2vlm.types import Batch

END, MASK = 3, 4
"""[SEP] and [MASK] of the goldens' vocabulary"""
UNRANKED = -100.0

Tensors = Mapping[str, Tensor]
Outputs = Iterator[tuple[str, Any]]
TOKENIZER = small.tokenizer()
"""Tasks ask for one; the goldens come as token ids, so it is never used."""


class Given(dict[str, Tensor]):
    """The inputs of a case by their names, and its official configuration."""

    def __init__(self, tensors: Tensors, wanted: Tensors, about: Mapping[str, Any]) -> None:
        super().__init__(tensors)
        self.wanted, self.about = wanted, about

        self.mask = self["text_atts"].bool() if "text_atts" in self else torch.empty(0)
        self.pixels = self["frames"] if "frames" in self else self.get("image", torch.empty(0))

    @property
    def negatives(self) -> tuple[Tensor, Tensor]:
        return self["neg_image"], self["neg_text"]

    def noted(self, pattern: str, default: int) -> int:
        """A number that the note of the case tells."""
        found = re.search(pattern, self.about.get("note", ""))
        return int(found[1]) if found else default


def alignment(model: X2VLM, given: Given) -> Outputs:
    """Retrieval of every kind: embeddings, features, matching, losses, re-ranking."""
    image_BVD = model.encode_visual(given.pixels)
    text_BLD = model.encode_text(given["text_ids"], given.mask)
    memory = model.memory(image_BVD)
    fused_BLD = model.fuse(text_BLD, given.mask, memory)
    image_BE, text_BE = model.image_feature(image_BVD), model.text_feature(text_BLD)
    for kind in ("image", "video"):
        yield from ((f"{kind}_embeds", image_BVD), (f"{kind}_feat", image_BE))
    yield from (("text_embeds", text_BLD), ("text_feat", text_BE), ("cross_embeds", fused_BLD))
    yield "itm_logits", model.match(fused_BLD)
    yield "loss_itc", losses.contrastive(image_BE, text_BE, model.temperature)
    if "idx" in given:
        yield "loss_itc_idx", losses.contrastive(image_BE, text_BE, model.temperature, given["idx"])
    if "neg_image" in given:
        loss = losses.matching(model, text_BLD, given.mask, memory, *given.negatives)
        yield "loss_itm", loss
    if "gallery_image" in given:
        yield from reranking(model, given)


def reranking(model: X2VLM, given: Given) -> Outputs:
    """Both re-ranked score matrices; the number re-ranked per query is the goldens'."""
    image_NVD = model.encode_image(given["gallery_image"])
    texts = encode_tokens(model, given["gallery_text_ids"], given["gallery_text_atts"].bool())
    assert texts.feature_NE is not None
    similarity_NM = model.image_feature(image_NVD) @ texts.feature_NE.t()
    for name, sims, flip in (("scores_i2t", similarity_NM, False),
                             ("scores_t2i", similarity_NM.t(), True)):  # fmt: skip
        if f"out.{name}" not in given.wanted:
            continue
        k = int((given.wanted[f"out.{name}"] != UNRANKED).sum(1).max())
        chosen = sims.topk(k, dim=1).indices
        query = torch.arange(len(chosen))[:, None].expand_as(chosen)
        pairs = torch.stack([query.flatten(), chosen.flatten()], 1)
        images_first = pairs.flip(1) if flip else pairs
        order = images_first[:, 0].argsort(stable=True)
        scores = torch.full(sims.shape, UNRANKED)
        found = rerank(model, image_NVD, texts, images_first[order])
        scores[pairs[order, 0], pairs[order, 1]] = found
        yield name, scores


def pretraining(model: X2VLM, given: Given) -> Outputs:
    """All losses of an image batch, of a region batch, and of parallel texts, as far as given."""
    task = Pretraining(model, TOKENIZER)
    texts = Texts(given["text_ids"], given.mask, given["text_ids_masked"], given["masked_pos"],
                  given["masked_ids"])  # fmt: skip
    names = {"contrastive": "loss_itc", "matching": "loss_itm", "mlm": "loss_mlm"}
    for name, loss in task.image_losses(given["image"], texts, given.negatives).items():
        yield f"image.{names[name]}", loss
    if "text_ids_2" in given:
        names = {"contrastive": "loss_ttc", "matching": "loss_ttm", "mlm": "loss_mlm"}
        other = given["text_ids_2"], given["text_atts_2"].bool()
        for name, loss in task.parallel_losses(texts, *other, given.negatives).items():
            yield f"parallel.{names[name]}", loss
    if "region_images" in given:
        regions = Regions(given["idx_to_group_img"], given["image_atts"].bool(),
                          given["target_bbox"], given["is_image"] == 0)  # fmt: skip
        names |= {"box": "loss_bbox", "giou": "loss_giou"}
        found = task.region_losses(given["region_images"], regions, texts, given.negatives)
        for name, loss in found.items():
            yield f"region.{names[name]}", loss
        image_GVD = model.encode_image(given["region_images"])
        yield "region_embeds", model.regions(image_GVD, regions.patches_BV, regions.rows_B)
        yield "full_embeds", image_GVD[regions.rows_B]
        text_BLD = model.encode_text(texts.text_BL, texts.mask_BL)
        memory = model.memory(image_GVD)
        yield "coords", model.box(model.fuse(text_BLD, texts.mask_BL, memory, regions.rows_B))


def grounding(model: X2VLM, given: Given) -> Outputs:
    """Boxes and their losses."""
    task = Grounding(model, TOKENIZER)
    target = {"rows": torch.arange(len(given["image"])), "box_B4": given["target_bbox"]}
    batch = Batch(("",), given["image"], given["text_ids"], given.mask, target)
    yield "coords", task.forward(batch)
    found = task.loss(batch)
    yield "loss_bbox", found["box"]
    yield "loss_giou", found["giou"]


def classification(model: X2VLM, given: Given) -> Outputs:
    """Logits and loss of one image, two images, or a video with a text."""
    pixels, targets = given.pixels, given["targets"]
    labels = tuple(map(str, range(model.config.labels)))
    images = 2 if "pair_classifier" in model.config.heads else 1
    task = Classification(model, TOKENIZER, labels=labels, images=images)
    target = {"rows": torch.arange(len(pixels)), "label_B": targets}
    batch = Batch(("",), pixels, given["text_ids"], given.mask, target)
    yield "logits", task.forward(batch)
    yield "loss", task.loss(batch)["classification"]
    yield from ((f"{kind}_embeds", model.encode_visual(pixels)) for kind in ("image", "video"))


def answering(model: X2VLM, given: Given) -> Outputs:
    """The loss of weighted answers, and ranked candidates with their probabilities."""
    task = Answering(model, TOKENIZER)
    count_B = given["answers_per_question"]
    questions = torch.arange(len(count_B))
    target = {
        "rows": questions,
        "answer_XA": given["answer_ids"],
        "seen_XA": given["answer_atts"].bool(),
        "weight_X": given["answer_weights"],
        "question_X": questions.repeat_interleave(count_B),
    }
    mask_BL = given["question_atts"].bool()
    ids = tuple(map(str, questions.tolist()))
    batch = Batch(ids, given["image"], given["question_ids"], mask_BL, target)
    yield "loss", task.loss(batch)["answering"]
    assert model.decoder is not None
    candidates = prepare(model.decoder, given["candidate_ids"], given["candidate_atts"].bool())
    k = given.wanted["out.topk_ids"].shape[1]
    states_BLD = task.question_states(batch)
    index_BK, probability_BK = rank_answers(model.decoder, states_BLD, mask_BL, candidates, k)
    yield "topk_ids", index_BK
    yield "topk_probs", probability_BK


def captioning(model: X2VLM, given: Given) -> Outputs:
    """The smoothed loss, and the tokens of beam search for as many beams as each output names."""
    prompt = given["prompt_ids"].tolist()
    mask_BLL = given["attention_mask"].bool()
    image_BVD = model.encode_visual(given["image"])
    text_BLD = model.encode_text(given["input_ids_masked"], mask_BLL, given["position_ids"])
    fused_BLD = model.fuse(text_BLD, mask_BLL, model.memory(image_BVD))
    rows_B1 = torch.arange(len(fused_BLD))[:, None]
    logits_BMW = model.mlm(fused_BLD[rows_B1, given["masked_pos"]])
    smoothing = given.about.get("config", {}).get("label_smoothing", 0.1)
    yield (
        "loss",
        losses.smoothed(
            logits_BMW, given["masked_ids"], given["masked_weight"], smoothing, start=prompt[0]
        ),
    )
    for name, wanted in given.wanted.items():
        if beams := re.fullmatch(r"out\.beam(\d+)_ids", name):
            total = given.noted(r"prompt included, is (\d+)", wanted.shape[1])
            ngram = 0 if "no n-gram blocking" in given.about.get("note", "") else 3
            shortest = given.noted(r"min_length (\d+)", 5)
            search = Search(tuple(prompt), MASK, END, int(beams[1]), shortest,
                            total - len(prompt), ngram)  # fmt: skip
            captions = generate(model, image_BVD, search)
            found = wanted.new_zeros(len(captions), max(wanted.shape[1], *map(len, captions)))
            for row, caption in enumerate(captions):
                found[row, : len(caption)] = torch.tensor(caption)
            yield name.removeprefix("out."), found


CASES: dict[str, Callable[[X2VLM, Given], Outputs]] = {
    "retrieval": alignment,
    "video_retrieval": alignment,
    "multilingual_retrieval": alignment,
    "pretrain": pretraining,
    "cross_view_pretrain": pretraining,
    "grounding": grounding,
    "vqa": answering,
    "xgqa": answering,
    "nlvr2": classification,
    "marvl": classification,
    "xvnli": classification,
    "video_qa": classification,
    "captioning": captioning,
}


def positions(tensors: Tensors, patch: int) -> Outputs:
    """Position tables at other resolutions."""
    for name in tensors:
        if found := re.fullmatch(r"out\.(res(\d+)\.(.+))", name):
            table_TN = tensors[f"in.{found[3]}"]
            yield found[1], resize_positions(table_TN, int(found[2]) // patch)
