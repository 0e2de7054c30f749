"""The functions of `functions.json` beside the official ones; part of `golden_parity.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.metrics.boxes import iou_official
from x2vlm.data.cleaning import clean_caption, clean_question
from x2vlm.data.image import patch_mask
from x2vlm.data.text import load_tokenizer
from x2vlm.data.video import frame_indices
from x2vlm.train.optim import linear_schedule

WORDS = 30
"""where questions are cut: as in training"""


def find_vocabulary(folder: Path) -> Path:
    """BERT's vocabulary: beside the goldens, or in the shared data beside the checkout."""
    places = [folder.parent.parent / "data", Path(__file__).parents[2] / "shared" / "data"]
    found = [place / "bert-base-uncased" for place in places]
    return next((path for path in found if path.is_dir()), found[0])


def compare(folder: Path) -> Iterator[tuple[str, float]]:
    """(function, difference) for what `functions.json` lists."""
    given = json.loads((folder / "functions.json").read_text(encoding="utf-8"))
    known = {"text", "frame_sampling", "iou_official", "patch_attention", "schedule"}
    for name in given.keys() - known:
        yield name, float("inf")

    def exact(equal: Iterator[bool]) -> float:
        return 0.0 if all(equal) else float("inf")

    texts = given.get("text", [])
    if texts:
        yield "clean_caption", exact(clean_caption(t["raw"]) == t["caption"] for t in texts)
        yield (
            "clean_question",
            exact(clean_question(t["raw"], WORDS) == t["question"] for t in texts),
        )
    if any("caption_token_ids" in text for text in texts):
        tokenizer = load_tokenizer(find_vocabulary(folder))
        yield (
            "token ids",
            exact(tokenizer.ids(t["caption"], 40) == t["caption_token_ids"] for t in texts),
        )
    if cases := given.get("frame_sampling"):
        yield (
            "frame_indices",
            exact(
                frame_indices(case["num_frames"], case["frames"]) == case["indices"]
                for case in cases
            ),
        )
    if cases := given.get("iou_official"):
        yield (
            "iou_official",
            max(abs(float(np.squeeze(iou_official([c["a"]], [c["b"]]))) - c["iou"]) for c in cases),
        )
    if cases := given.get("patch_attention"):
        yield (
            "patch_mask",
            exact(
                patch_mask(c["box_xywh"], c["grid"] * c["patch_size"], c["patch_size"]).tolist()
                == list(map(bool, c["attention"]))
                for c in cases
            ),
        )
    if case := given.get("schedule"):
        yield (
            "linear_schedule",
            max(
                abs(linear_schedule(step, case["steps"], case["warmup"]) - wanted)
                for step, wanted in enumerate(case["multipliers"])
            ),
        )
