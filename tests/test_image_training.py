"""Images as they are trained on: crops, flips and RandAugment, and boxes that move along."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.image_samples import HALVES, picture, record
from x2vlm.data.augment import COLOUR, GEOMETRY, RandAugment, apply
from x2vlm.data.image import (
    BoxTransform,
    Flip,
    TrainTransform,
    crop_around,
    move_box,
    says_side,
    to_tensor,
)
from x2vlm.errors import DataError
from x2vlm.types import Record


def test_training_depends_on_its_generator_alone() -> None:
    transform = TrainTransform(32)
    first, same, other = (
        transform(record(), [picture()], np.random.default_rng(seed)).images[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_frames_of_a_video_are_cropped_flipped_and_augmented_alike() -> None:
    transform = TrainTransform(24)
    for seed in range(10):
        frames = transform(record(), [[picture(), picture()]], np.random.default_rng(seed)).images[
            0
        ]
        assert torch.equal(frames[0], frames[1])


def test_flips_are_spared_when_question_or_answers_name_a_side() -> None:
    plain = record(text="what is this")
    sided = record(text="what is this", answers=["to the left"])
    cases: tuple[tuple[Flip, Record, bool], ...] = (
        ("free", sided, True), ("careful", plain, True), ("careful", sided, False),
        ("never", plain, False),
    )  # fmt: skip
    for flip, sample, expected in cases:
        transform = TrainTransform(8, flip=flip, augment=None)
        flipped = [
            transform(sample, [picture()], np.random.default_rng(seed)).flipped
            for seed in range(30)
        ]
        assert any(flipped) == expected
        assert not all(flipped)


def test_images_of_a_pair_are_mirrored_one_by_one() -> None:
    transform = TrainTransform(8, (1.0, 1.0), flip="free", augment=None)
    halves, seen = Image.fromarray(HALVES[:30, 10:50]), set()
    for seed in range(40):
        sample = transform(record(), [halves, halves], np.random.default_rng(seed))
        mirrored = tuple(bool(image[0, :, 0].mean() < 0) for image in sample.images)
        assert sample.flipped == any(mirrored)
        seen.add(mirrored)
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


def test_a_label_that_names_a_side_spares_the_flip() -> None:
    transform = TrainTransform(8, flip="careful", augment=None, labels=("up", "left"))
    for label, expected in ((0, True), (1, False), (None, True)):
        flipped = [
            transform(record(label=label), [picture()], np.random.default_rng(seed)).flipped
            for seed in range(30)
        ]
        assert any(flipped) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("the leftmost cup", True), ("RIGHT of it", True), ("links neben dem Ball", True),
        ("vlevo od míče", True), ("左边的球", True), ("un chat à gauche", True),
        ("слева от дома", True), ("a red ball", False), ("ein roter Ball", False), ("红球", False),
        ("un chat noir", False), ("a cleft", True),
    ],
)  # fmt: skip
def test_sides_are_found_in_the_languages_of_the_benchmarks(text: str, named: bool) -> None:
    assert says_side([text]) == named


def test_a_crop_keeps_the_share_of_the_area_it_was_given() -> None:
    transform = TrainTransform(10, scale=(1.0, 1.0), flip="never", augment=None)
    square = picture(size=(50, 50))
    whole = to_tensor(square.resize((10, 10), Image.Resampling.BICUBIC))
    near = [
        transform(record(), [square], np.random.default_rng(seed)).images[0] for seed in range(40)
    ]
    assert any(torch.equal(image, whole) for image in near), "ratio outside the image: the centre"


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_random_crop_keeps_its_box_whole_and_a_flip_mirrors_it(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    box = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    left, top, right, bottom = crop = crop_around(box, (width, height), rng)
    assert 0 <= left <= x < x + w <= right <= width
    assert 0 <= top <= y < y + h <= bottom <= height
    moved = move_box(box, (width, height), crop, flipped=False)
    mirrored = move_box(box, (width, height), crop, flipped=True)
    assert moved == pytest.approx((
        (x + w / 2 - left) / (right - left), (y + h / 2 - top) / (bottom - top),
        w / (right - left), h / (bottom - top),
    ))  # fmt: skip
    assert mirrored == pytest.approx((1 - moved[0], *moved[1:]))
    assert all(c - s / 2 >= -1e-9 and c + s / 2 <= 1 + 1e-9
               for c, s in (mirrored[::2], mirrored[1::2]))  # fmt: skip


def test_the_box_of_a_training_sample_still_frames_its_object() -> None:
    canvas = np.zeros((80, 100, 3), dtype=np.uint8)
    canvas[20:50, 60:80] = 255
    image, transform = Image.fromarray(canvas), BoxTransform(64, train=True)
    transform.augment = RandAugment(count=0)
    flips = set()
    for seed in range(40):
        sample = transform(record([60, 20, 20, 30]), [image], np.random.default_rng(seed))
        assert sample.box is not None
        cx, cy, w, h = (value * 64 for value in sample.box)
        white = (sample.images[0][0] > 0.5).nonzero()
        top, left = white.min(0).values.tolist()
        bottom, right = (white.max(0).values + 1).tolist()
        found = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        assert found == pytest.approx((cx, cy, w, h), abs=1.6)
        flips.add(sample.flipped)
    assert flips == {True, False}


def test_box_training_never_flips_a_text_with_a_side_and_needs_a_box() -> None:
    transform = BoxTransform(8, train=True)
    sided = record([5, 5, 9, 9], text="dog on the right")
    assert not any(
        transform(sided, [picture()], np.random.default_rng(seed)).flipped for seed in range(30)
    )
    with pytest.raises(DataError, match=r"file\.json:7: has no box"):
        transform(record(), [picture()], np.random.default_rng(0))
    whole = BoxTransform(8, train=False)(
        record([0, 0, 60, 40]), [picture()], np.random.default_rng(0)
    )
    assert whole.box == (0.5, 0.5, 1.0, 1.0)


# RandAugment


def test_two_operations_each_applied_half_the_time() -> None:
    rng = np.random.default_rng(0)
    drawn = [RandAugment().draw(rng) for _ in range(4000)]
    assert np.mean([len(operations) for operations in drawn]) == pytest.approx(1, abs=0.05)
    values: dict[str, set[float]] = {}
    for name, value in (operation for operations in drawn for operation in operations):
        values.setdefault(name, set()).add(round(value, 6))
    assert values == {
        "Identity": {0.0}, "AutoContrast": {0.0}, "Equalize": {0.0},
        "Brightness": {1.36}, "Sharpness": {1.36},
        "ShearX": {0.21, -0.21}, "ShearY": {0.21, -0.21},
        "TranslateX": {7.0, -7.0}, "TranslateY": {7.0, -7.0}, "Rotate": {21.0, -21.0},
    }  # fmt: skip


def test_boxes_only_meet_operations_on_colour() -> None:
    rng = np.random.default_rng(0)
    colours = BoxTransform(8, train=True).augment
    names = {name for _ in range(500) for name, _ in colours.draw(rng)}
    assert names == set(COLOUR)
    assert not names & set(GEOMETRY)


def test_operations_do_what_their_names_say() -> None:
    image = Image.fromarray(HALVES)
    right = np.asarray(apply(image, [("TranslateX", 10)]))
    assert (right[:, :10] == 128).all()
    assert (right[:, 11:39] == (255, 0, 0)).all()
    down = np.asarray(apply(image, [("TranslateY", 10)]))
    assert (down[:10] == 128).all()
    assert np.asarray(apply(image, [("Brightness", 0.5)]))[0, 0].tolist() == [127, 0, 0]
    sheared = np.asarray(apply(image, [("ShearX", 0.5)]))
    assert sheared[2, 25].tolist() == [255, 0, 0]
    assert sheared[38, 5].tolist() == [128, 128, 128]
    turned = np.asarray(apply(image, [("Rotate", 90)]))
    assert turned[35, 30].tolist() == [255, 0, 0], "counter-clockwise: the left half goes down"
    assert turned[5, 30].tolist() == [0, 0, 0]
    for name in (*COLOUR, *GEOMETRY):
        assert apply(picture(), [(name, 0.2)]).size == (60, 40)
