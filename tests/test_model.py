"""The model: sizes, text towers beside transformers, regions, shared memory, caches, drop path."""

import json

import pytest
import small
import torch
from torch.nn import functional as F

from x2vlm.errors import ConfigError
from x2vlm.model.config import PRESETS, TASK_HEADS, ModelConfig, VisionConfig
from x2vlm.model.layers import Cache, Memory, additive_mask
from x2vlm.model.vision import relative_position_index
from x2vlm.model.x2vlm import X2VLM, count_parameters
from x2vlm.tasks import TASKS, task_class

PARAMETERS = {
    "base": 254758401,
    "large": 592949057,
    "multilingual-base": 615540825,
    "multilingual-large": 1225073817,
}
SHIPPED_BYTES = 7_700_000
"""both tiny models in half precision; with names and tokenizers at most 8 MB may ship"""


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_presets_have_the_published_sizes(name: str, count: int) -> None:
    with torch.device("meta"):
        assert count_parameters(X2VLM(PRESETS[name])) == count


def test_tiny_weights_in_half_precision_fit_the_package() -> None:
    with torch.device("meta"):
        tiny = sum(count_parameters(X2VLM(PRESETS[n])) for n in ("tiny", "multilingual-tiny"))
    assert 2 * tiny <= SHIPPED_BYTES


@pytest.mark.parametrize("name", PRESETS)
def test_config_survives_json(name: str) -> None:
    config = PRESETS[name].with_heads(heads=["classifier"], labels=7)
    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.heads == ("classifier",)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"heads": ("matchin",)}, "matching"),
        ({"heads": ("box", "box")}, "once"),
        ({"heads": ("classifier", "pair_classifier")}, "not both"),
        ({"embeds": 3}, "embed"),
    ],
)
def test_wrong_configs_say_what_is_wrong(values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        ModelConfig().with_heads(**values)


def test_image_size_must_fit_the_patches() -> None:
    with pytest.raises(ConfigError, match="multiple"):
        VisionConfig(image_size=100)


@pytest.mark.parametrize("task", sorted(TASKS.keys() - {"classification"}))
def test_heads_of_tasks_are_known_to_convert(task: str) -> None:
    assert task_class(task).heads()["heads"] == TASK_HEADS[task]


def test_position_index_as_published() -> None:
    index = relative_position_index(2)
    assert index[1:, 1:].tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    assert index[0].tolist() == [11, 9, 9, 9, 9]
    assert index[1:, 0].tolist() == [10] * 4


def test_images_of_another_size_are_refused() -> None:
    model = small.model("box")
    with pytest.raises(ConfigError, match="made for"):
        model.encode_image(torch.zeros(1, 3, small.SIZE * 2, small.SIZE * 2))


def test_videos_average_frames_after_temporal_positions() -> None:
    model = small.model("box")
    frames = torch.randn(2, 2, 3, small.SIZE, small.SIZE)
    each = torch.stack([model.encode_image(frames[:, f]) for f in range(2)], 1)
    wanted = (each + model.frame_positions).mean(1)
    torch.testing.assert_close(model.encode_visual(frames), wanted)
    with pytest.raises(ConfigError, match="3 frames"):
        model.encode_video(frames[:, [0, 1, 1]])


def test_token_0_is_the_mean_of_the_patches() -> None:
    image_BVD = small.model("box").encode_image(torch.randn(2, 3, small.SIZE, small.SIZE))
    torch.testing.assert_close(image_BVD[:, 0], image_BVD[:, 1:].mean(1))


def test_regions_are_means_of_their_own_patches() -> None:
    model = small.model("contrastive")
    image_GVD = torch.randn(2, model.config.vision.tokens, model.config.vision.width)
    patches_BV = torch.zeros(3, model.config.vision.tokens)
    patches_BV[:, 0] = 1
    patches_BV[0, 3], patches_BV[1, 5:7], patches_BV[2, 1:] = 1, 1, 1
    region_BVD = model.regions(image_GVD, patches_BV, [1, 0, 1])
    torch.testing.assert_close(region_BVD[0, 0], image_GVD[1, 3])
    torch.testing.assert_close(region_BVD[1, 0], image_GVD[0, 5:7].mean(0))
    torch.testing.assert_close(region_BVD[2, 0], image_GVD[1, 1:].mean(0))
    torch.testing.assert_close(region_BVD[:, 1:], image_GVD[[1, 0, 1], 1:])
    rows = torch.tensor([1, 0, 1])
    short = model.region_memory(model.memory(image_GVD), region_BVD, patches_BV, rows)
    plain = model.memory(region_BVD, patches_BV.bool())
    for (key, value), (wanted_key, wanted_value) in zip(short.layers, plain.layers, strict=True):
        torch.testing.assert_close(key, wanted_key)
        torch.testing.assert_close(value, wanted_value)


def scene(texts: int, images: int) -> tuple[X2VLM, torch.Tensor, torch.Tensor, torch.Tensor]:
    model = small.model("matching", std=0.2)
    generator = torch.Generator().manual_seed(1)
    vision, width = model.config.vision, model.config.text.width
    image_IVD = torch.randn(images, vision.tokens, vision.width, generator=generator)
    text_BLD = torch.randn(texts, 5, width, generator=generator)
    mask_BL = torch.arange(5) < torch.randint(1, 6, (texts, 1), generator=generator)
    return model, image_IVD, text_BLD, mask_BL


@pytest.mark.parametrize(
    "rows",
    [None, [0, 0, 0, 1, 1, 1], [1, 0, 1, 1, 0, 1], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0],
     [2, 2, 2, 2, 2, 2], [0, 3, 3, 0, 1, 5]],
)  # fmt: skip
@pytest.mark.parametrize("seen", [False, True])
def test_sharing_images_equals_repeating_them(rows: list[int] | None, seen: bool) -> None:
    images = 2 if rows is None else max(rows) + 1
    model, image_IVD, text_BLD, mask_BL = scene(6, images)
    mask_IV = torch.rand(image_IVD.shape[:2]) < 0.5 if seen else None
    if mask_IV is not None:
        mask_IV[:, 0] = True
    every = rows or [0, 0, 0, 1, 1, 1]
    results = []
    for shared in (True, False):
        image = image_IVD.clone().requires_grad_()
        text = text_BLD.clone().requires_grad_()
        if shared:
            fused = model.fuse(text, mask_BL, model.memory(image, mask_IV), rows)
        else:
            mask = None if mask_IV is None else mask_IV[every]
            fused = model.fuse(text, mask_BL, model.memory(image[every], mask))
        fused.square().sum().backward()
        results.append((fused, image.grad, text.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_memory_selects_joins_and_weighs() -> None:
    model, image_IVD, *_ = scene(2, 3)
    memory = model.memory(image_IVD, torch.ones(image_IVD.shape[:2], dtype=torch.bool))
    again = Memory.cat([memory.select([0]), memory.select([1, 2])]).to("cpu")
    assert len(again) == 3
    assert torch.equal(again.layers[1][0], memory.layers[1][0])


def test_texts_that_cannot_be_shared_are_refused() -> None:
    model, image_IVD, text_BLD, mask_BL = scene(5, 2)
    with pytest.raises(ValueError, match="5 texts"):
        model.fuse(text_BLD, mask_BL, model.memory(image_IVD))
    with pytest.raises(ValueError, match="rows_B"):
        model.fuse(text_BLD, mask_BL, model.memory(image_IVD), [0, 1])


def test_reading_token_by_token_equals_reading_at_once() -> None:
    model, image_IVD, *_ = scene(2, 2)
    text_BL = torch.randint(5, 97, (2, 6))
    causal_BLL = torch.ones(2, 6, 6).tril().bool()
    memory = model.memory(image_IVD)
    wanted = model.fuse(model.encode_text(text_BL, causal_BLL), causal_BLL, memory)
    text, fused, got = Cache(), Cache(), []
    for step in range(6):
        seen = causal_BLL[:, step : step + 1, : step + 1]
        position_BL = torch.full((2, 1), step)
        state = model.text.encode(text_BL[:, step : step + 1], seen, position_BL, text)
        got.append(model.fusion(state, seen, memory, None, fused))
    torch.testing.assert_close(torch.cat(got, 1), wanted, atol=1e-5, rtol=1e-4)
    assert (len(text), len(fused.cut(4)), len(Cache())) == (6, 4, 0)
    assert torch.equal(text.select(torch.tensor([1])).layers[0][0], text.layers[0][0][1:])


def test_rows_that_see_nothing_stay_finite() -> None:
    model, image_IVD, text_BLD, mask_BL = scene(2, 2)
    nothing_BL = torch.zeros_like(mask_BL)
    memory = model.memory(image_IVD, torch.zeros(image_IVD.shape[:2]))
    assert model.fuse(text_BLD, nothing_BL, memory).isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.fuse(text_BLD, nothing_BL, memory).isfinite().all()
        mask = additive_mask(nothing_BL, text_BLD)
        assert mask is not None
        assert mask.dtype == torch.bfloat16
        assert mask.isfinite().all()


def test_padding_changes_nothing() -> None:
    model, image_IVD, *_ = scene(2, 2)
    text_BL = torch.randint(5, 97, (2, 6))
    text_BL[:, 4:] = 0
    mask_BL = (text_BL != 0).long()
    memory = model.memory(image_IVD)
    long = model.fuse(model.encode_text(text_BL, mask_BL), mask_BL, memory)[:, :4]
    short = model.fuse(model.encode_text(text_BL[:, :4], None), None, memory)
    torch.testing.assert_close(long, short, atol=1e-5, rtol=1e-4)


def test_two_images_are_classified_together() -> None:
    model = small.model("pair_classifier", labels=3)
    fused = torch.randn(4, 5, model.config.text.width)
    logits = model.classify(fused)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(logits[1], model.classifier(torch.cat([fused[1, 0], fused[3, 0]])))


def test_temperature_is_clamped() -> None:
    model = small.model("contrastive")
    model.temperature.data.fill_(3.0)
    model.clamp_temperature_()
    assert model.temperature.item() == 0.5


def test_features_are_normalised() -> None:
    model, image_IVD, text_BLD, _ = scene(2, 2)
    model = small.model("contrastive")
    for feature in (model.image_feature(image_IVD), model.text_feature(text_BLD)):
        torch.testing.assert_close(feature, F.normalize(feature, dim=-1))
        assert feature.shape == (2, model.config.embed)


def test_texts_longer_than_the_position_table_are_refused() -> None:
    with pytest.raises(ConfigError, match="65 tokens, the model 64"):
        small.model("mlm").encode_text(torch.full((1, 65), 7), None)
