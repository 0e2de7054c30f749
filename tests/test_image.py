import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from x2vlm.data import decode
from x2vlm.data.augment import COLOUR, GEOMETRY, RandAugment, apply
from x2vlm.data.image import (
    MEAN,
    STD,
    BoxTransform,
    EvalTransform,
    TrainTransform,
    crop_around,
    move_box,
    open_image,
    patch_mask,
    relative_box,
    says_side,
    to_tensor,
)
from x2vlm.errors import DataError, MediaError
from x2vlm.types import Media, Record

GOLDEN = json.loads((Path(__file__).parent / "golden" / "data.json").read_text("utf-8"))
HALVES = np.zeros((40, 60, 3), dtype=np.uint8)
HALVES[:, :30] = (255, 0, 0)


def picture(seed: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    return Image.fromarray(pixels.astype(np.uint8))


def stored(image: Image.Image, form: str = "PNG", **options: object) -> Media:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Media("given.png", inline=(buffer.getvalue(),))


def record(box: list[float] | None = None, text: str = "a dog", **target: object) -> Record:
    if box is not None:
        target["box"] = box
    return Record("r", (), (text,), target, source="file.json:7")


# Opening


def test_palette_grey_16_bit_and_cmyk_become_the_colours_a_viewer_shows(tmp_path: Path) -> None:
    image = Image.fromarray(HALVES)
    for mode in ("P", "CMYK", "RGBA"):
        form = "TIFF" if mode == "CMYK" else "PNG"
        opened = np.asarray(open_image(stored(image.convert(mode), form)), dtype=int)
        assert np.abs(opened - HALVES).max() <= 3, mode
    ramp = np.linspace(0, 65535, 60, dtype=np.uint16)[None].repeat(40, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    opened = np.asarray(open_image(Media(str(tmp_path / "deep.png"))))
    assert opened.shape == (40, 60, 3)
    assert np.abs(opened[0, :, 0].astype(int) - ramp[0] / 257).max() <= 1


def test_a_dark_16_bit_image_is_not_stretched(tmp_path: Path) -> None:
    dark = np.full((4, 4), 300, dtype=np.uint16)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    assert np.asarray(open_image(Media(str(tmp_path / "dark.png")))).max() == 1


def test_transparency_falls_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_image(stored(clear)).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30] * 256)
    assert open_image(stored(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied_unless_the_annotation_was_made_without_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    media = stored(picture(), "JPEG", exif=exif)
    assert open_image(media).size == (40, 60)
    assert open_image(media, annotated=(40, 60)).size == (40, 60)
    assert open_image(media, annotated=(60, 40)).size == (60, 40)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "file is empty"),
        (b"<html>404</html>", "not an image in a known format"),
        (stored(picture(), "JPEG").inline[0][:400], "cannot be decoded"),
        (stored(picture()).inline[0][:2000], "cannot be decoded"),
    ],
    ids=["empty", "html", "half a JPEG", "half a PNG"],
)
def test_a_bad_file_is_named_with_what_to_do(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=what) as caught:
        open_image(Media(str(path)))
    assert caught.value.source == str(path)
    assert caught.value.fix


def test_a_missing_file_is_named() -> None:
    with pytest.raises(MediaError, match=r"nowhere\.jpg: image file does not exist"):
        open_image(Media("nowhere.jpg"))


def test_a_huge_image_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    with pytest.raises(MediaError, match="60 x 40 pixels"):
        open_image(stored(picture()))


def test_a_bomb_beyond_pillows_own_limit_is_a_media_error() -> None:
    bomb = io.BytesIO()
    Image.new("1", (20000, 20000)).save(bomb, "PNG")
    with pytest.raises(MediaError, match="pixels"):
        open_image(Media("bomb.png", inline=(bomb.getvalue(),)))


# Evaluation


def test_evaluation_is_resize_scale_normalise() -> None:
    image = picture()
    sample = EvalTransform(32)(record(), [image], np.random.default_rng(0))
    resized = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC), dtype=np.float64) / 255
    expected = torch.tensor((resized - MEAN) / STD).permute(2, 0, 1)
    assert sample.images[0].dtype == torch.float32
    assert torch.allclose(sample.images[0].double(), expected, atol=1e-6)
    assert sample.box is None


def test_evaluation_gives_one_image_the_same_tensor_and_videos_an_axis() -> None:
    transform, image = EvalTransform(16), picture()
    rng = np.random.default_rng(0)
    first, second = (transform(record(), [image], rng).images[0] for _ in range(2))
    assert first is second
    assert transform(record(), [[image, picture(1)]], rng).images[0].shape == (2, 3, 16, 16)
    pair = transform(record(), [image, picture(1)], rng).images
    assert len(pair) == 2


def test_boxes_are_fractions_of_the_annotated_size() -> None:
    sample = EvalTransform(16)(
        record([30, 0, 60, 40], size=[120, 80]), [picture()], np.random.default_rng(0)
    )
    assert sample.box == (0.5, 0.25, 0.5, 0.5)


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [50, 0, 20, 5], [-3, 0, 5, 5], [0, 39, 5, 9]])
def test_a_box_without_area_or_outside_is_an_error_with_its_row(box: list[float]) -> None:
    with pytest.raises(DataError, match=r"file\.json:7: box"):
        relative_box(record(box), picture())


# Patches


def test_patch_masks_are_the_official_ones() -> None:
    for row in GOLDEN["patch_attention"]:
        mask = patch_mask(row["box_xywh"], row["grid"] * row["patch_size"], row["patch_size"])
        assert mask.astype(int).tolist() == row["attention"]


def test_every_golden_patch_mask(shared: Path) -> None:
    functions = json.loads((shared / "goldens/a/functions.json").read_text())
    for row in functions["patch_attention"]:
        mask = patch_mask(row["box_xywh"], row["grid"] * row["patch_size"], row["patch_size"])
        assert mask.astype(int).tolist() == row["attention"]


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 7), st.integers(1, 7))
def test_fractions_of_whole_patches_cover_those_patches(x: int, y: int, w: int, h: int) -> None:
    w, h = min(w, 7 - x), min(h, 7 - y)
    cx, cy = (x + w / 2) / 7, (y + h / 2) / 7
    pixels = [(cx - w / 14) * 224, (cy - h / 14) * 224, w / 7 * 224, h / 7 * 224]
    assert patch_mask(pixels, 224, 32).sum() == 1 + w * h


# Training


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
    for flip, sample, expected in (
        ("free", sided, True), ("careful", plain, True), ("careful", sided, False),
        ("never", plain, False),
    ):  # fmt: skip
        transform = TrainTransform(8, flip=flip, augment=None)
        flipped = [
            transform(sample, [picture()], np.random.default_rng(seed)).flipped
            for seed in range(30)
        ]
        assert any(flipped) == expected
        assert not all(flipped)


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
