"""The boards, grouped as the paper groups its tables. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """Columns that belong to a board. benchmark and metrics are patterns ("*" allowed), in the
    order of the columns; no metrics means the headline of ours; no splits means all that were
    scored."""

    benchmark: str
    metrics: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """A table of models against scores. average: whether a mean over the columns of ours makes
    sense (same unit, same scale); a row with a hole in them has none. ablation: rows are variants
    of one model, told apart by their pre-training."""

    name: str
    title: str
    wants: tuple[Want, ...]
    average: bool = False
    ablation: bool = False
    about: str = ""


RECALLS = ("text_r1", "text_r5", "text_r10", "image_r1", "image_r5", "image_r10")
CAPTIONS = ("bleu4", "meteor", "rouge_l", "cider", "spice")

HUNDREDS = frozenset({"bleu1", "bleu2", "bleu3", *CAPTIONS})
"""Metrics whose own unit is a hundredth of what papers print; tables show them as papers do."""


def scale_of(metric: str) -> float:
    """What values of a metric are multiplied by to be shown as papers print them."""
    return 100.0 if metric.partition("/")[0] in HUNDREDS else 1.0


BOARDS: tuple[Board, ...] = (
    Board(
        "overview",
        "Overview",
        (Want("*"),),
        about="The headline of every benchmark. Units differ, so there is no average.",
    ),
    Board(
        "retrieval",
        "Image–text retrieval",
        (Want("coco_retrieval", RECALLS), Want("flickr30k_retrieval", RECALLS)),
        average=True,
        about="Share of queries with a right answer among the k best (hit@k): "
        "texts for an image (TR, text_r) and images for a text (IR, image_r). "
        "The average is over the columns that ours fill.",
    ),
    Board(
        "understanding",
        "Question answering, reasoning and grounding",
        (
            Want("vqav2", ("accuracy",), ("val", "test-dev", "test")),
            Want("nlvr2", ("accuracy", "consistency"), ("dev", "test")),
            Want("refcoco_plus", ("accuracy",), ("val", "testA", "testB")),
            Want("refcoco", ("accuracy",), ("val", "testA", "testB")),
            Want("refcocog", ("accuracy",), ("val", "test")),
            Want("gqa", ("accuracy",)),
        ),
        about="VQA v2 soft accuracy, NLVR2 accuracy, share of boxes with IoU of at least one half.",
    ),
    Board(
        "captioning",
        "Captioning",
        (Want("coco_captioning", CAPTIONS),),
        about="CIDEr depends on the set it is computed on: limited records are not comparable.",
    ),
    Board(
        "winoground",
        "Winoground",
        (Want("winoground", ("text", "image", "group")),),
        about="Zero-shot; a tie counts as wrong.",
    ),
    Board(
        "ovad",
        "Attributes of given boxes (OVAD)",
        (Want("ovad", ("map", "map/head", "map/medium", "map/tail")),),
        about="Zero-shot mean average precision over 117 attributes.",
    ),
    Board(
        "video",
        "Video",
        (
            Want("msrvtt_retrieval", (*RECALLS, "text_median_rank", "image_median_rank")),
            Want("msrvtt_qa", ("accuracy",)),
            Want("msvd_qa", ("accuracy",)),
        ),
        about="Text–video retrieval (1kA) and question answering.",
    ),
    Board(
        "multilingual",
        "Multilingual",
        (
            Want("multi30k", ("mean_recall", "mean_recall/*")),
            Want("coco_multilingual", ("mean_recall", "mean_recall/*")),
            Want("xvnli", ("accuracy", "accuracy/*")),
            Want("xgqa", ("accuracy", "accuracy/*")),
            Want("marvl", ("accuracy", "accuracy/*")),
            Want("xflickrco", ("text_r1", "text_r1/*", "image_r1", "image_r1/*")),
            Want("wit", ("text_r1", "text_r1/*", "image_r1", "image_r1/*")),
        ),
        about="Per language; averages leave English out.",
    ),
    Board(
        "ablation",
        "Ablation",
        (Want("*"),),
        ablation=True,
        about="What each part of the pre-training adds, on the mini world.",
    ),
)
