"""What the single tasks compute: a batch learned by heart, predictions that mean what they say."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small
import torch
import torch.multiprocessing as mp
import twins
from test_task_contract import (
    COLOURS,
    TOKENIZER,
    TRAINED,
    make,
    predictions,
    records,
    training_batch,
)
from torch.profiler import ProfilerActivity, profile

from x2vlm import distributed
from x2vlm.data.loader import evaluation_loader
from x2vlm.errors import ConfigError, DataError
from x2vlm.tasks import build_on, gallery
from x2vlm.tasks.evaluation import predicting
from x2vlm.tasks.features import largest_batch, shared_images
from x2vlm.tasks.gallery import balanced
from x2vlm.types import Prediction


@pytest.mark.parametrize("name", TRAINED)
def test_one_batch_is_learned_by_heart(name: str) -> None:
    task = make(name, **({"smoothing": 1e-6} if name == "captioning" else {}))
    task.model.train()
    batch = training_batch(task, name)
    if name == "answering":  # an answer that is only half right can never have loss 0
        target = batch.target
        first = torch.tensor([0, 2, 4, 6, 8, 10])
        for key in ("answer_XA", "seen_XA", "weight_X", "question_X"):
            target[key] = target[key][first]
        target["weight_X"].fill_(1)
    optimiser = torch.optim.AdamW(task.model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    torch.manual_seed(0)
    first_loss = last_loss = 0.0
    for step in range(150):
        losses = task.loss(batch)
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimiser.step()
        if "contrastive" in losses:
            task.model.clamp_temperature_()
            total = total - _least_contrastive()
        first_loss, last_loss = (total.item() if step == 0 else first_loss), total.item()
    assert first_loss > 0.5
    assert last_loss < 0.1


def _least_contrastive() -> float:
    """Two captions of an image share its probability: log 2 remains, both ways."""
    return float(torch.tensor(2.0).log())


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


def test_retrieval_of_videos() -> None:
    task, rows = make("retrieval"), records("retrieval", 4)
    loader = list(evaluation_loader(task, rows, batch_size=2))
    for batch in loader:
        assert batch.image is not None
        batch.image = torch.stack([batch.image, batch.image.flip(0)], 1)
    assert len(list(task.predict(loader))) == 4 + 8


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


def share(rank: int, world: int, port: int, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    task, rows = make("retrieval", k=3), records("retrieval", 8)
    loader = evaluation_loader(task, rows, batch_size=2, rank=rank, world=world)
    found = distributed.all_gather_objects(list(task.predict(loader)))
    if rank == 0:
        torch.save([row for part in found for row in part], out)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_change_nothing(world: int, tmp_path: Path) -> None:
    out = tmp_path / "found.pt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(share, (world, port, str(out)), world, start_method="fork")
    rows = torch.load(out)
    plain = predictions(make("retrieval", k=3), records("retrieval", 8))
    assert len(rows) == len(plain)
    for row in rows:
        (kind,) = row["ranking"]
        expected = plain[row["id"]]["ranking"][kind]
        assert [name for name, _ in row["ranking"][kind]] == [name for name, _ in expected]
        assert [s for _, s in row["ranking"][kind]] == pytest.approx(
            [s for _, s in expected], abs=1e-4
        )


def test_work_is_shared_by_cost() -> None:
    costs = [100, 1, 1, 1, 1, 50, 50, 2]
    owner = balanced(costs, [0, 0, 0, 0, 1, 0, 0, 1], 2)
    loads = [sum(c for c, o in zip(costs, owner, strict=True) if o == rank) for rank in (0, 1)]
    assert max(loads) <= 105
    assert balanced([1] * 6, [0, 1, 2] * 2, 3) == [0, 1, 2] * 2  # nothing moves in vain
    assert balanced([], [], 3) == []


def test_a_box_is_in_pixels_of_the_original_image() -> None:
    task = make("grounding")
    row = records("grounding", 1)[0]
    with torch.inference_mode():
        batch = next(iter(evaluation_loader(task, [row], batch_size=1)))
        cx, cy, w, h = task.forward(batch)[0].tolist()  # type: ignore[attr-defined]
    box = predictions(task, [row])[row.id]["box"]
    expected = [(cx - w / 2) * 64, (cy - h / 2) * 48, w * 64, h * 48]
    assert box == pytest.approx(expected, abs=1e-3)


def test_grounding_needs_the_size_of_the_image() -> None:
    row = small.record("x", "the red one", box=[1, 1, 5, 5])
    row.target.pop("size", None)  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="size of the original image"):
        predictions(make("grounding"), [row])


def test_labels_outside_the_list_train_nothing() -> None:
    task = make("classification")
    batch = training_batch(task, "classification")
    label_B = batch.target["label_B"]
    whole = task.loss(batch)["classification"]
    batch.target["label_B"] = torch.where(torch.arange(6) < 2, label_B, -100)
    some = task.loss(batch)["classification"]
    assert task.counts(batch) == {"classification": 2}
    assert some != whole
    batch.target["label_B"] = torch.full_like(label_B, -100)
    none = task.loss(batch)["classification"]
    none.backward()
    assert none == 0


def test_two_images_are_told_apart() -> None:
    task = make("classification", images=2, labels=("no", "yes"))
    rows = records("matching", 3)
    swapped = [small.record(r.id, *r.texts, images=r.images[::-1]) for r in rows]
    found, other = predictions(task, rows), predictions(task, swapped)
    assert all(row["scores"].keys() == {"no", "yes"} for row in found.values())
    assert any(abs(found[id_]["scores"]["yes"] - other[id_]["scores"]["yes"]) > 1e-3
               for id_ in found)  # fmt: skip
    assert all(sum(row["scores"].values()) == pytest.approx(1) for row in found.values())


def test_questions_about_one_image_encode_it_once() -> None:
    task = make("answering")
    image = small.picture(1, "red")
    rows = [small.record(f"q{n}", f"what colour {n}", images=(image,)) for n in range(5)]
    batch = next(iter(evaluation_loader(task, rows, batch_size=5)))
    assert batch.image is not None
    assert len(batch.image) == 1
    assert batch.target["rows"].tolist() == [0] * 5


def test_shared_images_keep_the_order_of_first_use() -> None:
    class Fake:
        def __init__(self, *images: torch.Tensor) -> None:
            self.images = images

    a, b, c = (torch.full((3, 2, 2), float(n)) for n in range(3))
    stacked, rows = shared_images([Fake(a, b), Fake(a, c), Fake(b, a)], range(2))  # type: ignore[list-item]
    assert stacked[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert rows.tolist() == [0, 0, 1, 1, 2, 0]


def test_answering_needs_candidates() -> None:
    task = make("answering", candidates=())
    with pytest.raises(ConfigError, match="answer list"):
        predictions(task, records("answering", 1))


def test_captions_leave_the_prompt_out_and_end_in_time() -> None:
    task = make("captioning", max_length=4, prompt="a picture of")
    for row in predictions(task, records("captioning", 3)).values():
        assert not row["caption"].startswith("a picture of")
        assert len(row["caption"].split()) <= 4


def test_masks_of_a_caption_depend_on_its_seed_alone() -> None:
    task = make("captioning")
    one, two = (training_batch(task, "captioning") for _ in range(2))
    assert torch.equal(one.text_BL, two.text_BL)
    assert int(one.target["weights_BM"].sum()) >= 6


def test_matching_probabilities_and_cosines() -> None:
    task, rows = make("matching"), records("matching", 3)
    found = predictions(task, rows)
    model = task.model
    batch = next(iter(evaluation_loader(task, rows, batch_size=3)))
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


def test_the_largest_batch_is_at_least_one() -> None:
    model = small.model("matching")
    assert 1 <= largest_batch(model) <= 32
    assert 1 <= largest_batch(model, frames=4) <= 32


@pytest.mark.parametrize(("room", "found"), [(5000, 512), (100, 32), (3, 1), (0, 1)])
def test_a_gpu_takes_half_of_what_fits(
    room: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Card:
        device = SimpleNamespace(type="cuda")
        config = small.CONFIG

        def encode_visual(self, images: int) -> None:
            if images > room:
                raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch, "zeros", lambda images, *_, **__: images)
    card: Any = Card()
    assert largest_batch(card) == found


@pytest.mark.parametrize("name", ["retrieval", "answering", "captioning"])
def test_no_batch_size_changes_a_prediction(name: str) -> None:
    """So the automatic one changes no metric."""
    task, rows = make(name), records(name, 5)
    first, *others = (
        {row["id"]: _parts(row) for row in task.predict(
            evaluation_loader(task, rows, batch_size=size))}
        for size in (1, 2, 5, 32)
    )  # fmt: skip
    for other in others:
        assert other == first


def _parts(row: Prediction) -> Any:
    """A prediction, its scores to 4 places of what they are."""
    if "ranking" not in row:
        return {key: value for key, value in row.items() if key != "id"}
    return {
        kind: [(name, pytest.approx(score, abs=1e-4)) for name, score in pairs]
        for kind, pairs in row["ranking"].items()
    }


def test_autocast_converts_each_weight_once_while_predicting() -> None:
    layer, x = torch.nn.Linear(8, 8), torch.randn(4, 8)
    with (
        torch.inference_mode(),  # as the caller may have it
        torch.autocast("cpu", torch.bfloat16),
        predicting("cpu"),
        profile(activities=[ProfilerActivity.CPU]) as seen,
    ):
        for _ in range(5):
            assert not layer(x).requires_grad
    (casts,) = [event.count for event in seen.key_averages() if event.key == "aten::_to_copy"]
    assert casts == 5 + 2  # the input each time; weight and bias once


def test_build_on_keeps_the_weights() -> None:
    model = small.model("contrastive", "matching")
    assert build_on("matching", model, TOKENIZER).model is model
