"""Retrieval: the plain two stages, kept features, work shared by cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import TOKENIZER, expected_ids, make, predictions, records

from tests import small, twins
from x2vlm.data.loader import evaluation_loader
from x2vlm.errors import DataError
from x2vlm.tasks import gallery
from x2vlm.tasks.gallery import balanced


def test_retrieval_equals_the_plain_two_stages() -> None:
    task, rows = make("retrieval", k=3), records("retrieval", 6)
    found = predictions(task, rows)
    model = task.model
    with torch.inference_mode():
        batches = list(evaluation_loader(task, rows, batch_size=1))
        image_NVD = torch.cat([model.encode_visual(batch.image) for batch in batches])
        texts = [text for batch in batches for text in batch.target["texts"][0]]
        text_ids = [id_ for batch in batches for id_ in batch.target["text_ids"][0]]
        text_ML, mask_ML = TOKENIZER.encode(texts, 40)
        text_MLD = model.encode_text(text_ML, mask_ML)
        cosine_NM = model.image_feature(image_NVD) @ model.text_feature(text_MLD).T
        every = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(len(texts)))
        score_NM = twins.rerank_scores(
            model, image_NVD, *twins.padded_texts(model, text_ML, mask_ML), every
        ).view(6, 12)
    for n, record in enumerate(rows):
        best = cosine_NM[n].topk(3).indices
        expected = sorted(((text_ids[m], float(score_NM[n, m])) for m in best),
                          key=lambda pair: -pair[1])  # fmt: skip
        ranking = found[record.id]["ranking"]["text"]
        assert [name for name, _ in ranking] == [name for name, _ in expected]
        assert [s for _, s in ranking] == pytest.approx([s for _, s in expected], abs=1e-4)
    for m, text_id in enumerate(text_ids):
        best = cosine_NM[:, m].topk(3).indices
        ranking = found[text_id]["ranking"]["image"]
        assert {name for name, _ in ranking} == {rows[n].id for n in best}
        assert [s for _, s in ranking] == sorted((s for _, s in ranking), reverse=True)


def test_videos_are_ranked_as_images_are() -> None:
    task, rows = make("retrieval"), records("retrieval", 4)
    loader = list(evaluation_loader(task, rows, batch_size=2))
    for batch in loader:
        assert batch.image is not None
        batch.image = torch.stack([batch.image, batch.image.flip(0)], 1)
    found = list(task.predict(loader))
    assert sorted(row["id"] for row in found) == sorted(expected_ids("retrieval", rows))
    assert {len(pairs) for row in found for pairs in row["ranking"].values()} == {4}


def test_text_ids_must_fit_texts() -> None:
    task = make("retrieval")
    row = small.record("x", "one", "two", text_ids=["a"])
    with pytest.raises(DataError, match="2 texts but 1 text ids"):
        list(evaluation_loader(task, [row], batch_size=1))


def test_kept_features_give_the_same_ranking_without_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PER_FILE", 3)
    task, rows = make("retrieval"), records("retrieval", 4)
    plain = predictions(task, rows)
    task.cache = str(tmp_path / "features")
    assert predictions(task, rows) == plain
    (kept,) = (tmp_path / "features").iterdir()
    assert len(list(kept.iterdir())) == 2
    images = gallery.encode_images(task, evaluation_loader(task, rows, batch_size=2))
    gallery._keep(kept, list(images.values()))  # another run was faster: its files stay
    assert [kept] == list((tmp_path / "features").iterdir())

    class NoDecoding:
        def __init__(self, *, train: bool) -> None:
            assert not train

        def __call__(self, *_: object) -> Any:
            raise AssertionError("decoded although the features are kept")

    task.transform = NoDecoding  # type: ignore[assignment]
    assert predictions(task, rows) == plain
    with torch.no_grad():
        task.model.vision.cls_token.add_(1)
    with pytest.raises(AssertionError, match="decoded"):
        predictions(task, rows)
    assert [kept] == list((tmp_path / "features").iterdir())


def test_work_is_shared_by_cost() -> None:
    costs = [100, 1, 1, 1, 1, 50, 50, 2]
    owner = balanced(costs, [0, 0, 0, 0, 1, 0, 0, 1], 2)
    loads = [sum(c for c, o in zip(costs, owner, strict=True) if o == rank) for rank in (0, 1)]
    assert max(loads) <= 105
    assert balanced([1] * 6, [0, 1, 2] * 2, 3) == [0, 1, 2] * 2  # nothing moves in vain
    assert balanced([], [], 3) == []
