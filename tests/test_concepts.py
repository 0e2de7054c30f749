import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from x2vlm.data.augment import RandAugment
from x2vlm.data.concepts import (
    WHOLE,
    ImageText,
    ParallelText,
    QuestionText,
    RegionText,
    VideoText,
)
from x2vlm.data.image import TrainTransform
from x2vlm.errors import DataError, MediaError

STILL = RandAugment(count=0)
TRAIN = TrainTransform(16)


def encoded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def grey(value: int) -> str:
    return encoded(Image.new("RGB", (30, 20), (value,) * 3))


def scene(*boxes: tuple[int, int, int, int], **fields: Any) -> dict[str, Any]:
    """A black image of 100 x 80 with white boxes."""
    canvas = np.zeros((80, 100, 3), dtype=np.uint8)
    for x, y, w, h in boxes:
        canvas[y : y + h, x : x + w] = 255
    elems = [{"bb": list(box), "caption": f"thing {i}"} for i, box in enumerate(boxes)]
    return {"binary": encoded(Image.fromarray(canvas)), "elems": elems, **fields}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_caption_may_be_a_text_a_list_or_by_language() -> None:
    parse = ImageText(TRAIN)
    for caption, allowed in (
        ("A dog!", {"a dog"}),
        (["A dog.", "The dog."], {"a dog", "the dog"}),
        ({"en": "A dog.", "de": "Ein Hund."}, {"a dog", "ein hund"}),
        ([{"en": ["A dog."], "de": "Ein Hund."}], {"a dog", "ein hund"}),
    ):
        for key in ("caption", "desc"):
            seen = {parse({"binary": grey(9), key: caption}, rng(s), "s").texts for s in range(20)}
            assert seen == {(text,) for text in allowed}
    german = ImageText(TRAIN, language="de")
    row = {"binary": grey(9), "caption": {"en": "A dog.", "de": "Ein Hund."}}
    made = german(row, rng(), "f:1")
    assert made.texts == ("ein hund",)
    assert (made.boxes, made.is_box, made.source) == ((WHOLE,), (False,), "f:1")
    assert made.image is not None
    assert made.image.shape == (3, 16, 16)
    with pytest.raises(DataError, match="f:1: has no text in 'de'"):
        german({**row, "caption": {"en": "A dog."}}, rng(), "f:1")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"caption": "a"}, "neither binary nor image"),
        ({"binary": "*", "caption": "a"}, "not base64"),
        ({"binary": "", "caption": "a"}, "file is empty"),
        ({"binary": base64.b64encode(b"GIF89a").decode(), "caption": "a"}, "cannot|not an image"),
        ({"binary": grey(1)}, "text is None"),
        ({"binary": grey(1), "caption": []}, r"text is \[\]"),
        ({"binary": grey(1), "caption": " ,"}, "empty after cleaning"),
        ({"binary": grey(1), "caption": {"en": 5}}, "text is 5"),
        ({"image": "nowhere.png", "caption": "a"}, "does not exist"),
    ],
)
def test_a_bad_image_row_says_what_is_wrong(row: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=what):
        ImageText(TRAIN)(row, rng(), "f:1")


def test_region_boxes_frame_their_objects_after_crop_and_flip() -> None:
    parse = RegionText(64, augment=STILL)
    for seed in range(40):
        made = parse(scene((60, 20, 20, 30)), rng(seed), "s")
        assert made.image is not None
        assert made.is_box == (True,)
        white = (made.image[0] > 0.5).nonzero()
        top, left = white.min(0).values.tolist()
        bottom, right = (white.max(0).values + 1).tolist()
        found = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        assert found == pytest.approx([64 * value for value in made.boxes[0]], abs=1.7)


def test_regions_may_be_seen_in_their_whole_image() -> None:
    row = scene((60, 20, 20, 30))
    row["elems"][0]["caption"] = "the left one"  # so that it is never mirrored
    made = RegionText(64, augment=None, cropped=0.0)(row, rng(), "s")
    assert made.boxes[0] == pytest.approx((0.7, 35 / 80, 0.2, 30 / 80))


@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(0, 70), st.integers(1, 50), st.integers(1, 50)),
        min_size=1, max_size=8,
    ),
    st.integers(0, 2**32),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_regions_stay_inside_and_are_few_enough(
    boxes: list[tuple[int, int, int, int]], seed: int, captioned: bool
) -> None:
    row = scene(*boxes, **({"caption": "everything"} if captioned else {}))
    made = RegionText(16, max_regions=5)(row, rng(seed), "s")
    again = RegionText(16, max_regions=5)(row, rng(seed), "s")
    assert 1 <= len(made.texts) == len(made.boxes) == len(made.is_box) <= 5
    assert (made.texts, made.boxes, made.seed) == (again.texts, again.boxes, again.seed)
    assert torch.equal(made.image, again.image)
    assert made.is_box.count(False) == captioned
    if captioned:
        assert (made.texts[0], made.boxes[0]) == ("everything", WHOLE)
    assert len(set(made.texts)) == len(made.texts)
    for cx, cy, w, h in made.boxes:
        assert min(cx - w / 2, cy - h / 2) >= -1e-9
        assert max(cx + w / 2, cy + h / 2) <= 1 + 1e-9
        assert w > 0
        assert h > 0


def test_a_region_stays_when_more_than_half_of_it_does() -> None:
    row = scene((0, 0, 10, 80), (40, 0, 60, 80))
    kept: dict[str, list[float]] = {}
    for seed in range(300):
        made = RegionText(16, augment=STILL)(row, rng(seed), "s")
        for text, box in zip(made.texts, made.boxes, strict=True):
            kept.setdefault(text, []).append(box[2])
    assert 150 < len(kept["thing 1"]) < 300
    assert len(kept["thing 0"]) < 300
    strict = RegionText(16, min_share=0.99, augment=STILL)
    assert sum("thing 1" in strict(row, rng(s), "s").texts for s in range(300)) < len(
        kept["thing 1"]
    )


def test_attributes_come_first_and_sides_forbid_flips() -> None:
    row = scene((10, 10, 30, 30))
    row["elems"][0]["attributes"] = ["red", "big"]
    texts = {RegionText(8)(row, rng(seed), "s").texts[0] for seed in range(20)}
    assert texts == {"red thing 0", "big thing 0"}
    left = scene((0, 0, 40, 80), caption={"en": ["thing on the left"]})
    whole = RegionText(8, augment=STILL)
    for seed in range(30):
        image = whole(left, rng(seed), "s").image
        assert image is not None
        assert image[0, :, 0].mean() > image[0, :, -1].mean() - 1e-6, "white stays on the left"


@pytest.mark.parametrize(
    ("elems", "what"),
    [
        (None, "has no elems"), ([], "has no elems"), ([{"caption": "x"}], "without bb"),
        ([{"bb": [0, 0, 0, 9], "caption": "x"}], "no area"),
        ([{"bb": [200, 0, 9, 9], "caption": "x"}], "no area inside its image of 100 x 80"),
        ([{"bb": [0, 0, 9], "caption": "x"}], "without bb"),
        ([{"bb": [0, 0, 9, 9]}], "text is None"), (["x"], "without bb"),
    ],
)  # fmt: skip
def test_a_bad_region_row_says_what_is_wrong(elems: Any, what: str) -> None:
    with pytest.raises(DataError, match=f"f:1: .*{what}"):
        RegionText(8)({**scene(), "elems": elems}, rng(), "f:1")


def test_videos_choose_frames_or_a_clip_with_its_text() -> None:
    parse = VideoText(TRAIN, frames=3)
    made = parse({"video_frames": [grey(i) for i in (1, 2)], "text": "A film."}, rng(), "s")
    assert made.texts == ("a film",)
    assert made.image is not None
    assert made.image.shape == (3, 3, 16, 16)
    clips = {
        "video_frames": [[grey(0)], [grey(120)], [grey(250)]],
        "text": ["dark", "[Music]", "bright"],
    }
    still = VideoText(TrainTransform(16, augment=None), frames=1)
    seen = set()
    for seed in range(20):
        made = still(clips, rng(seed), "s")
        assert made.image is not None
        seen.add((made.texts[0], bool(made.image.mean() > 0)))
    assert seen == {("dark", False), ("bright", True)}
    for row, what in (
        ({"text": "a"}, "neither video_frames nor video"),
        ({**clips, "text": ["[Music]"] * 3}, "do not match"),
        ({**clips, "text": ["a"] * 4}, "do not match"),
        ({"video_frames": ["*"], "text": "a"}, "not base64"),
    ):
        with pytest.raises(DataError, match=what):
            parse(row, rng(), "s")
    with pytest.raises(MediaError, match="does not exist"):
        parse({"video": "no.mp4", "text": "a"}, rng(), "s")


def test_parallel_text_has_two_texts_and_no_pixels() -> None:
    made = ParallelText()({"source_text": "A dog.", "target_text": "Ein Hund."}, rng(), "s")
    assert made.image is None
    assert made.texts == ("a dog", "ein hund")
    with pytest.raises(DataError, match="text is None"):
        ParallelText()({"source_text": "A dog."}, rng(), "s")


def test_questions_are_drawn_with_their_answers() -> None:
    asked = {"en": [["What is it?", "A dog."], ["Is it big?", "No"]], "de": [["Was?", "dog"]]}
    row = {"binary": grey(9), "questions": asked}
    pairs = {("what is it", "a dog"), ("is it big", "no"), ("was", "dog")}
    seen = set()
    for seed in range(20):
        made = QuestionText(TRAIN, frames=1, most=2)(row, rng(seed), "f:1")
        assert len(made.texts) == len(made.boxes) == 4
        seen |= set(zip(made.texts[::2], made.texts[1::2], strict=True))
    assert seen == pairs
    german = QuestionText(TRAIN, frames=1, language="de")(row, rng(), "f:1")
    assert german.texts == ("was", "dog")
    clip = {"video_frames": [grey(1), grey(2), grey(3)], "questions": asked["en"]}
    shown = QuestionText(TRAIN, frames=2)(clip, rng(), "f:1")
    assert shown.image is not None
    assert shown.image.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("questions", "what"),
    [
        (None, "f:1: has no questions"),
        ([], "has no questions"),
        ({"de": [["Was?", "dog"]]}, "has no questions"),
        ([["What?"]], "no pairs"),
        (["What?"], "no pairs"),
        ([["What?", 3]], "text is 3"),
        ([["?", "dog"]], "empty after cleaning"),
    ],
)
def test_bad_questions_say_what_is_wrong(questions: Any, what: str) -> None:
    parse = QuestionText(TRAIN, frames=1, language="en")
    with pytest.raises(DataError, match=what):
        parse({"binary": grey(9), "questions": questions}, rng(), "f:1")


def test_elements_may_say_their_kind() -> None:
    row = scene((10, 10, 30, 30), (60, 40, 20, 20))
    row["elems"][0]["kind"] = "shape"
    made = RegionText(64, augment=STILL, cropped=0.0)(row, rng(), "s")
    assert dict(zip(made.texts, made.kinds, strict=True)) == {"thing 0": "shape", "thing 1": ""}
