"""Zero-shot tasks: matching and attributes, every score beside the model's own functions."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_tasks import COLOURS, TOKENIZER, make, predictions, records

from tests import small
from x2vlm.data.loader import evaluation_loader
from x2vlm.errors import DataError


def test_matching_gives_probabilities_and_cosines() -> None:
    task, rows = make("matching"), records("matching", 3)
    found = predictions(task, rows)
    model = task.model
    batch = next(iter(evaluation_loader(task, rows, batch_size=3)))
    assert batch.mask_BL is not None
    with torch.inference_mode():
        image_XVD = model.encode_image(batch.image)
        text_XLD = model.encode_text(batch.text_BL, batch.mask_BL)
        for n, record in enumerate(rows):
            for c in (0, 1):
                for i in (0, 1):
                    text, mask = text_XLD[2 * n + c, None], batch.mask_BL[2 * n + c, None]
                    image_1VD = image_XVD[2 * n + i, None]
                    logits = model.match(model.fuse(text, mask, model.memory(image_1VD)))
                    cosine = (model.image_feature(image_1VD) * model.text_feature(text)).sum()
                    row = found[record.id]
                    assert row[f"c{c}_i{i}"] == pytest.approx(
                        logits.softmax(-1)[0, 1].item(), abs=1e-5
                    )
                    assert row[f"feature_c{c}_i{i}"] == pytest.approx(cosine.item(), abs=1e-5)


@pytest.mark.parametrize("score", ["features", "matching"])
@pytest.mark.parametrize("variant", ["regions", "crops"])
def test_attributes_average_their_prompts(score: str, variant: str) -> None:
    task = make("attributes", score=score, variant=variant)
    row = small.record(
        "b0", "square", "thing", images=(small.picture(3, "red"),), box=[4, 8, 24, 32]
    )
    scores = predictions(task, [row])[row.id]["scores"]
    model = task.model
    batch = next(iter(evaluation_loader(task, [row], batch_size=1)))
    with torch.inference_mode():
        image_1VD, patches = model.encode_image(batch.image), batch.target["patches_BV"]
        if variant == "crops":
            assert patches.all()
            region_1VD = image_1VD
        else:
            assert 1 < patches.sum() < patches.numel()
            region_1VD = model.regions(image_1VD, patches, [0])
        memory = model.memory(region_1VD, patches if variant == "regions" else None)
        for attribute, colour in enumerate(COLOURS):
            texts = [f"a {colour} square", f"a {colour} thing", colour]
            text_XL, mask_XL = TOKENIZER.encode(texts, 40)
            text_XLD = model.encode_text(text_XL, mask_XL)
            if score == "features":
                values = model.text_feature(text_XLD) @ model.image_feature(region_1VD)[0]
            else:
                values = model.match(model.fuse(text_XLD, mask_XL, memory, [0, 0, 0]))[:, 1]
            assert scores[attribute] == pytest.approx(values.mean().item(), abs=1e-4)


def test_a_box_without_nouns_is_an_object() -> None:
    task = make("attributes", templates={"is": ["a {words} {noun}"]})
    row = small.record("b0", images=(small.picture(3, "red"),), box=[4, 8, 24, 32])
    named = small.record("b0", "object", images=row.images, box=[4, 8, 24, 32])
    assert predictions(task, [row]) == predictions(task, [named])


def test_synonyms_and_kinds_of_attributes_make_the_prompts() -> None:
    templates = {"is": ["a {words} {noun}"], "has": ["a {noun} with {words}"]}
    task = make("attributes", labels=("colour:red/dark red", "part:left"), templates=templates)
    row = small.record("b0", "square", images=(small.picture(3),), box=[4, 8, 24, 32])
    facts = ({"is_has": "is"}, {"is_has": "has"})
    row = dataclasses.replace(row, tags={"attributes": facts})
    scores = predictions(task, [row])[row.id]["scores"]
    batch = next(iter(evaluation_loader(task, [row], batch_size=1)))
    model = task.model
    with torch.inference_mode():
        image_1VD = model.encode_image(batch.image)
        feature_E = model.image_feature(model.regions(image_1VD, batch.target["patches_BV"], [0]))[
            0
        ]
        texts = ["a red square", "a dark red square", "a square with left"]
        feature_XE = model.text_feature(model.encode_text(*TOKENIZER.encode(texts, 40)))
        red, dark, left = (feature_XE @ feature_E).tolist()
    assert scores == pytest.approx([(red + dark) / 2, left], abs=1e-5)
    short = dataclasses.replace(row, tags={"attributes": facts[:1]})
    with pytest.raises(DataError, match="1 attributes described, 2 to score"):
        predictions(task, [short])
