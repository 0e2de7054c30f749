"""Pictures of explanations: the right place bright, boxes where they are, equal bytes."""

import io
import logging
import warnings

import numpy as np
import pytest
from PIL import Image

from x2vlm.draw import PREDICTED, SIDE, TRUE, boxed, overlay, scaled, sheet, text_pictures
from x2vlm.explain import Explanation, Region, TextView

PICTURE = Image.new("RGB", (64, 32), (128, 128, 128))


def view(text: str = "red square", **changes: object) -> TextView:
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0, 1, 2], maps[1, 3, 0] = 3.0, 1.0
    fields: dict[str, object] = {
        "text": text, "words": tuple(text.split()), "map_WGG": maps,
        "similarity_GG": np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4),
        "match": 0.25, "box": (16.0, 8.0, 16.0, 8.0), **changes,
    }  # fmt: skip
    return TextView(**fields)  # type: ignore[arg-type]


def explanation(**changes: object) -> Explanation:
    fields: dict[str, object] = {
        "size": (64, 32), "layer": 1, "weighted": True, "texts": (view(), view("blue circle")),
        "regions": (Region("whole image", (0.0, 0.0, 64.0, 32.0)),),
        "similarity_RT": np.array([[0.5, -0.5]], np.float32), "match_RT": None, **changes,
    }  # fmt: skip
    return Explanation(**fields)  # type: ignore[arg-type]


def test_pictures_keep_their_shape_and_small_ones_are_enlarged() -> None:
    assert scaled(PICTURE).size == (SIDE, SIDE // 2)
    assert scaled(Image.new("RGB", (2, 4000))).size == (1, SIDE)


def test_the_brightest_place_of_a_map_is_the_brightest_of_its_picture() -> None:
    shown = np.asarray(overlay(PICTURE, view().map_WGG[0])).astype(int).sum(-1)
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert int(row) * 4 // shown.shape[0] == 1
    assert int(column) * 4 // shown.shape[1] == 2
    assert shown[-1, 0] < shown.max() / 2


def test_a_flat_map_shows_no_pattern() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-9, (4, 4))
    for flat in (np.zeros((4, 4)), np.full((4, 4), 0.3) + noise):
        assert len(np.unique(np.asarray(overlay(PICTURE, flat.astype(np.float32))))) <= 3


def test_boxes_are_drawn_where_they_are_even_without_area_or_outside() -> None:
    shown = np.asarray(boxed(PICTURE, [((16.0, 8.0, 16.0, 8.0), PREDICTED)]))
    ink = np.argwhere((shown == (255, 138, 61)).all(-1))
    factor = SIDE / 64
    assert ink.min(0) == pytest.approx((8 * factor, 16 * factor), abs=1)
    assert ink.max(0) == pytest.approx((16 * factor, 32 * factor), abs=1)
    for box in ((10.0, 10.0, 0.0, 0.0), (-20.0, -20.0, 200.0, 200.0)):
        assert boxed(PICTURE, [(box, TRUE)]).size == (SIDE, SIDE // 2)


def test_every_word_has_a_picture_with_its_share() -> None:
    pictures = text_pictures(view(), PICTURE, truth=(0.0, 0.0, 8.0, 8.0))
    titles = {name: title for name, (_, title) in pictures.items()}
    assert titles == {
        "image": "red square\nmatch 0.25",
        "words": "all words",
        "patches": "patch–text similarity\n-1.00 to 1.00",
        "word0": "red\n75%",
        "word1": "square\n25%",
    }
    shown = np.asarray(pictures["image"][0])
    assert (shown == (53, 199, 154)).all(-1).any()


def test_what_a_model_lacks_is_left_out() -> None:
    bare = view(match=None, box=None, similarity_GG=None, map_WGG=np.zeros((2, 4, 4), np.float32))
    pictures = text_pictures(bare, PICTURE)
    assert list(pictures) == ["image", "words", "word0", "word1"]
    assert [title for _, title in pictures.values()] == ["red square", "all words", "red", "square"]
    found = sheet(explanation(texts=(bare,), similarity_RT=None), [pictures])
    assert Image.open(io.BytesIO(found)).format == "PNG"


def test_equal_explanations_give_equal_sheets() -> None:
    made = [
        sheet(explanation(), [text_pictures(v, PICTURE) for v in explanation().texts])
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert Image.open(io.BytesIO(made[0])).width > 1000


def test_letters_without_a_font_are_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    strange = view("\U00012000 \U00012001")  # cuneiform
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        sheet(explanation(texts=(strange,), similarity_RT=None), [text_pictures(strange, PICTURE)])
    assert [r.message for r in caplog.records if "no font here" in r.message]
