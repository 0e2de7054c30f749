"""Where the model looks: probabilities equal to the layer's own, maps equal to a slow twin."""

import numpy as np
import pytest
import small
import torch
from PIL import Image

from x2vlm.api import Pretrained
from x2vlm.data.decode import open_image
from x2vlm.data.image import resize, to_tensor
from x2vlm.data.text import Tokenizer, train_tokenizer
from x2vlm.errors import ConfigError, DataError
from x2vlm.explain import Explanation, cross_attention, default_layer, explain

HEADS = ("contrastive", "matching", "box")
TEXTS = ["the red square", "left"]
GRID = small.VISION.grid


def picture() -> Image.Image:
    return open_image(small.picture(3, "red"))


def explained(*heads: str, texts: list[str] = TEXTS, **settings: object) -> Explanation:
    model = small.model(*(heads or HEADS))
    return explain(model, small.tokenizer(), picture(), texts, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("images", [1, 4])
def test_recorded_attention_gives_the_output_of_the_fused_kernel(images: int, masked: bool) -> None:
    model = small.model(*HEADS)
    text_BL, mask_BL = small.token_ids(4, 6)
    torch.manual_seed(1)
    tokens = 1 + GRID * GRID
    image_IVD = torch.randn(images, tokens, small.VISION.width)
    seen_IV = torch.rand(images, tokens) < 0.5
    seen_IV[:, 0] = True
    with torch.no_grad():
        memory = model.memory(image_IVD, seen_IV if masked else None)
        text_BLD = model.encode_text(text_BL, mask_BL)
        plain_BLD = model.fuse(text_BLD, mask_BL, memory)
        with cross_attention(model.fusion, memory) as attention:
            recorded_BLD = model.fuse(text_BLD, mask_BL, memory)
        after_BLD = model.fuse(text_BLD, mask_BL, memory)
    torch.testing.assert_close(recorded_BLD, plain_BLD, rtol=1e-5, atol=1e-5)
    assert torch.equal(after_BLD, plain_BLD)
    assert sorted(attention) == list(range(small.CONFIG.fusion_layers))
    for probability_BNLS in attention.values():
        assert probability_BNLS.shape == (4, small.TEXT.heads, 6, tokens)
        torch.testing.assert_close(probability_BNLS.sum(-1), torch.ones(4, small.TEXT.heads, 6))
        if masked:
            hidden_IS = ~seen_IV
            assert float((probability_BNLS * hidden_IS[:, None, None]).abs().max()) == 0


def test_no_hook_is_left_even_after_an_error() -> None:
    model = small.model(*HEADS)
    memory = model.memory(torch.zeros(1, 1 + GRID * GRID, small.VISION.width))
    with pytest.raises(RuntimeError, match="planted"), cross_attention(model.fusion, memory):
        raise RuntimeError("planted")
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_maps_are_attention_times_the_gradient_of_the_matching_logit() -> None:
    """A twin by finite differences: one probability at a time is moved, nothing else."""
    model, tokenizer, layer = small.model(*HEADS), small.tokenizer(), 1
    text_BL, mask_BL = tokenizer.encode(["red square"], 40)
    found = explain(model, tokenizer, picture(), ["red square"], layer=layer)
    model = model.double()
    pixels = to_tensor(resize(picture(), small.SIZE))[None].double()
    with torch.no_grad():
        memory = model.memory(model.encode_image(pixels))
        text_BLD = model.encode_text(text_BL, mask_BL)
        with cross_attention(model.fusion, memory) as attention:
            model.fuse(text_BLD, mask_BL, memory)
        probability_NLS = attention[layer][0]

        def logit(moved_NLS: torch.Tensor) -> float:
            def replace(_m: object, _i: object) -> tuple[torch.Tensor]:
                context = moved_NLS[None] @ memory.layers[layer][1]
                return (context.transpose(1, 2).flatten(2),)

            cross = model.fusion.layers[layer].cross
            assert cross is not None
            handle = cross.out.register_forward_pre_hook(replace)
            value = float(model.match(model.fuse(text_BLD, mask_BL, memory))[0, 1])
            handle.remove()
            return value

        word, patch, step = 1, 5, 1e-5
        total = 0.0
        for head in range(small.TEXT.heads):
            up, down = probability_NLS.clone(), probability_NLS.clone()
            up[head, word, 1 + patch] += step
            down[head, word, 1 + patch] -= step
            slope = (logit(up) - logit(down)) / (2 * step)
            total += float(probability_NLS[head, word, 1 + patch]) * max(slope, 0.0)
    expected = total / small.TEXT.heads
    assert found.texts[0].words == ("red", "square")
    assert expected > 0
    assert found.texts[0].map_WGG[0].flat[patch] == pytest.approx(expected, rel=1e-3)


def test_shapes_signs_and_shares_are_as_documented() -> None:
    found = explained(regions=[(4.0, 8.0, 24.0, 32.0)])
    assert found.size == (64, 48)
    assert found.layer == 0
    assert found.weighted
    assert [view.text for view in found.texts] == TEXTS
    for view in found.texts:
        assert " ".join(view.words) == view.text
        assert view.map_WGG.shape == (len(view.words), GRID, GRID)
        assert view.map_WGG.min() >= 0
        assert view.mean_map() == pytest.approx(view.map_WGG.mean(0))
        weights = view.weights()
        assert weights is not None
        assert sum(weights) == pytest.approx(1)
        assert view.similarity_GG is not None
        assert view.similarity_GG.shape == (GRID, GRID)
        assert np.abs(view.similarity_GG).max() <= 1 + 1e-6
    names = [region.name for region in found.regions]
    assert names == ["whole image", "box of “the red square”", "box of “left”", "region 1"]
    assert [region.given for region in found.regions] == [False, False, False, True]
    assert found.similarity_RT is not None
    assert found.match_RT is not None
    assert found.similarity_RT.shape == found.match_RT.shape == (4, 2)


def test_the_layer_shown_is_the_last_of_the_lower_half() -> None:
    assert [default_layer(layers) for layers in (1, 2, 3, 6, 12)] == [0, 0, 0, 2, 5]


def test_match_box_and_features_are_those_of_the_model() -> None:
    model = Pretrained(small.model(*HEADS), small.tokenizer())
    found = model.explain(picture(), TEXTS)
    cosine_T = (model.encode_images([picture()]) @ model.encode_texts(TEXTS).T)[0]
    assert found.similarity_RT is not None
    assert found.match_RT is not None
    for place, view in enumerate(found.texts):
        assert view.match == pytest.approx(model.match(picture(), view.text), abs=1e-5)
        assert found.match_RT[0, place] == pytest.approx(view.match, abs=1e-5)
        assert view.box == pytest.approx(model.locate(picture(), view.text), abs=1e-3)
        assert found.similarity_RT[0, place] == pytest.approx(float(cosine_T[place]), abs=1e-5)


def test_a_region_of_one_patch_is_as_near_as_the_patch() -> None:
    patch = (16.0, 12.0, 16.0, 12.0)  # row 1, column 1 of a 4 x 4 grid on 64 x 48 pixels
    found = explained(regions=[patch])
    assert found.similarity_RT is not None
    for place, view in enumerate(found.texts):
        assert view.similarity_GG is not None
        assert found.similarity_RT[-1, place] == pytest.approx(view.similarity_GG[1, 1], abs=1e-5)


def test_texts_beside_each_other_do_not_change_each_other() -> None:
    together = explained().texts[1]
    alone = explained(texts=[TEXTS[1]]).texts[0]
    assert together.map_WGG == pytest.approx(alone.map_WGG, abs=1e-5)
    assert together.match == pytest.approx(alone.match, abs=1e-5)


def test_heads_that_lack_leave_none_and_maps_are_the_attention() -> None:
    found = explained("box")
    assert not found.weighted
    assert found.similarity_RT is None
    assert found.match_RT is None
    (view, _) = found.texts
    assert view.match is None
    assert view.similarity_GG is None
    assert view.box is not None
    share_W = view.map_WGG.sum((1, 2))  # what is missing to 1 goes to the first token
    assert ((share_W > 0) & (share_W < 1)).all()
    assert explained("matching").texts[0].box is None


def test_in_the_last_layer_words_have_no_gradient_and_no_share() -> None:
    view = explained(layer=2).texts[0]
    assert view.map_WGG.max() == 0
    assert view.weights() is None


def test_pieces_of_a_word_share_its_map_and_unknown_words_are_marked() -> None:
    words = explained(texts=["squared 猫 red"]).texts[0].words
    assert words == ("squared", "�", "red")


def test_every_word_of_a_language_without_spaces_is_shown() -> None:
    tokenizer: Tokenizer = train_tokenizer(["赤い 四角 です"], "xlm-roberta", 97)
    found = explain(small.model(*HEADS), tokenizer, picture(), ["赤い 四角"])
    assert "".join(found.texts[0].words) == "赤い四角"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 3}, "fusion layers 0 to 2"),
        ({"regions": [(60.0, 0.0, 10.0, 10.0)]}, "inside 64 x 48"),
        ({"regions": [(1.0, 1.0, 0.0, 10.0)]}, "no area"),
        ({"texts": []}, "no text"),
    ],
)
def test_wrong_settings_say_what_is_right(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        explained(**settings)  # type: ignore[arg-type]


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(DataError, match="empty after cleaning"):
        explained(texts=["..."])


def test_the_same_question_gives_the_same_answer_and_leaves_no_gradient() -> None:
    model = small.model(*HEADS)
    first, second = (explain(model, small.tokenizer(), picture(), TEXTS) for _ in range(2))
    for a, b in zip(first.texts, second.texts, strict=True):
        assert np.array_equal(a.map_WGG, b.map_WGG)
    assert all(parameter.grad is None for parameter in model.parameters())
