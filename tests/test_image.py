"""Images as they are opened and evaluated: colours, rotations, bad files, boxes and patches."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.image_samples import HALVES, picture, record
from x2vlm.data import decode
from x2vlm.data.image import MEAN, STD, EvalTransform, open_image, patch_mask, relative_box
from x2vlm.errors import DataError, MediaError
from x2vlm.types import Media

GOLDEN = json.loads((Path(__file__).parent / "golden" / "data.json").read_text("utf-8"))


def stored(image: Image.Image, form: str = "PNG", **options: object) -> Media:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Media("given.png", inline=(buffer.getvalue(),))


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


def test_exif_rotation_is_applied_and_told() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    media = stored(picture(), "JPEG", exif=exif)
    assert open_image(media).size == (40, 60)
    opened, orientation = decode.open_oriented(media)
    assert (opened.size, orientation) == ((40, 60), 6)
    assert decode.open_oriented(stored(picture()))[1] == 1


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


def check_masks(rows: list[dict[str, Any]]) -> None:
    assert rows
    for row in rows:
        mask = patch_mask(row["box_xywh"], row["grid"] * row["patch_size"], row["patch_size"])
        assert mask.astype(int).tolist() == row["attention"]


def test_patch_masks_are_the_official_ones() -> None:
    check_masks(GOLDEN["patch_attention"])


def test_all_patch_masks_are_the_official_ones(shared: Path) -> None:
    check_masks(json.loads((shared / "goldens/a/functions.json").read_text())["patch_attention"])


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 7), st.integers(1, 7))
def test_fractions_of_whole_patches_cover_those_patches(x: int, y: int, w: int, h: int) -> None:
    w, h = min(w, 7 - x), min(h, 7 - y)
    cx, cy = (x + w / 2) / 7, (y + h / 2) / 7
    pixels = [(cx - w / 14) * 224, (cy - h / 14) * 224, w / 7 * 224, h / 7 * 224]
    assert patch_mask(pixels, 224, 32).sum() == 1 + w * h
