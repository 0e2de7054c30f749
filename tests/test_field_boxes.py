"""Boxes as users bring them: all eight EXIF orientations, formats of their numbers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from benchmarks.box_formats import FORMATS, UNITS, BoxFormat, box_format
from benchmarks.inspect_data import verify
from benchmarks.metrics.boxes import iou
from benchmarks.wanted import Wanted
from tests.field_rows import STORED, lines, pictures, put, read, turned_picture
from tests.small_tasks import make
from x2vlm.api import Pretrained
from x2vlm.cli.compose import compose, plan
from x2vlm.data.image import BoxTransform
from x2vlm.data.orientation import stored_box, turned, upright_box, upright_size
from x2vlm.data.workers import Reader
from x2vlm.errors import ConfigError, DataError
from x2vlm.tasks.grounding import Grounding

ORIENTATIONS = range(1, 9)
SIZES = ((100, 40), (80, 80), (30, 100))


def red(image: Image.Image) -> list[int]:
    """[x, y, w, h] of the red pixels."""
    pixels_HWC = np.asarray(image.convert("RGB")).astype(int)
    y, x = np.nonzero((pixels_HWC[..., 0] > 200) & (pixels_HWC[..., 1] < 50))
    return [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]


def boxes(folder: Path, size: tuple[int, int], **row: Any) -> Path:
    """A test file of eight pictures that differ in the EXIF orientation alone."""
    for n in ORIENTATIONS:
        turned_picture(folder / f"{n}.png", n, size)
    rows = [
        {"id": str(n), "image": f"{n}.png", "text": "red", "box": list(STORED), **row}
        for n in ORIENTATIONS
    ]
    put(folder, "test.jsonl", lines(rows))
    return folder


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_turn_with_the_picture_and_back(
    orientation: int, size: tuple[int, int], tmp_path: Path
) -> None:
    path = turned_picture(tmp_path / "a.png", orientation, size)
    upright = ImageOps.exif_transpose(Image.open(path))
    assert upright_size(size, orientation) == upright.size
    assert upright_box(STORED, size, orientation) == red(upright)
    assert stored_box(red(upright), upright.size, orientation) == list(STORED)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixels", ["stored", "upright"])
@pytest.mark.parametrize("train", [False, True])
def test_every_orientation_is_read_in_one_convention(
    size: tuple[int, int], pixels: Any, train: bool, tmp_path: Path
) -> None:
    boxes(tmp_path, size)
    if pixels == "upright":
        rows = [
            {"id": str(n), "image": f"{n}.png", "text": "red", "box": upright_box(STORED, size, n)}
            for n in ORIENTATIONS
        ]
        put(tmp_path, "test.jsonl", lines(rows))
    found, _ = read("own_boxes:x", tmp_path, box_pixels=pixels)
    assert len(found) == 8
    reader = Reader(BoxTransform(64, train), 1)
    for record in found:
        sample = reader.sample(record, [3], train)
        assert sample.box is not None
        cx, cy, w, h = (64 * side for side in sample.box)
        image_CHW = sample.images[0]
        inside_HW = (image_CHW[0] - image_CHW[1]) > 1.5
        y, x = torch.nonzero(inside_HW, as_tuple=True)
        low = [int(x.min()), int(y.min())]
        seen = [*low, int(x.max()) + 1 - low[0], int(y.max()) + 1 - low[1]]
        assert iou([cx - w / 2, cy - h / 2, w, h], seen) > 0.7  # resizing blurs, colours vary


@pytest.fixture(scope="module")
def grounding() -> Grounding:
    task = make("grounding")
    assert isinstance(task, Grounding)
    return task


@pytest.mark.parametrize("size", SIZES)
def test_answers_speak_the_convention_of_the_rows(
    size: tuple[int, int], grounding: Grounding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that finds the red pixels is right in every orientation, for runs and `locate`."""
    boxes(tmp_path, size)
    found, _ = read("own_boxes:x", tmp_path)
    reader = Reader(grounding.transform(train=False), 1)
    samples = [reader.sample(record, [0], False) for record in found]
    truth_B4 = torch.tensor([sample.box for sample in samples])
    monkeypatch.setattr(grounding, "forward", lambda _: truth_B4)
    batch = grounding.collate(samples, train=False)
    for row in grounding.predict([batch]):
        assert row["box"] == pytest.approx(STORED, abs=1e-3)
    asked = Pretrained(grounding.model, grounding.tokenizer)
    for n in ORIENTATIONS:
        path = tmp_path / f"{n}.png"
        seen_4 = torch.tensor(samples[n - 1].box)
        monkeypatch.setattr(Grounding, "forward", lambda *_, box=seen_4: box[None])
        for picture in (path, Image.open(path)):
            assert asked.locate(picture, "red") == pytest.approx(STORED, abs=1e-3)
            upright = red(ImageOps.exif_transpose(Image.open(path)))
            assert asked.locate(picture, "red", pixels="upright") == pytest.approx(
                upright, abs=1e-3
            )
    wrong: Any = "turned"
    with pytest.raises(ConfigError, match="pixels"):
        asked.locate(path, "red", pixels=wrong)


def test_an_annotation_of_the_upright_size_alone_is_of_the_upright_picture() -> None:
    target = {"box": [1, 2, 3, 4], "size": [40, 100]}
    assert turned(target, (100, 40), 6) is target
    assert turned({**target, "size": [100, 40]}, (100, 40), 6)["turned"] == 6


# -- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", FORMATS, ids=str)
def test_every_format_means_the_same_box(stated: BoxFormat, tmp_path: Path) -> None:
    width, height = 100, 40
    x, y, w, h = STORED
    shapes = {
        "xywh": (x, y, w, h),
        "xyxy": (x, y, x + w, y + h),
        "cxcywh": (x + w / 2, y + h / 2, w, h),
    }
    whole = UNITS[stated.unit]
    sides = (width, height, width, height)
    numbers = [
        v * whole / side if whole else v
        for v, side in zip(shapes[stated.shape], sides, strict=True)
    ]
    boxes(tmp_path, (width, height), box=numbers)
    found, _ = read("own_boxes:x", tmp_path, box_format=str(stated))
    assert [record.target["box"] for record in found] == [pytest.approx(STORED)] * 8
    assert box_format(str(stated)) == stated


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("corners", "xyxy"),
        ("fractions", "xywh-fractions"),
        ("thousandths", "xywh-thousandths"),
        ("xyxy_fractions", "xyxy-fractions"),
        ("thousandths-corners", "xyxy-thousandths"),
    ],
)
def test_names_of_formats(text: str, stated: str) -> None:
    assert str(box_format(text)) == stated


@pytest.mark.parametrize("text", ["xyhw", "", "xyxy-xywh", "pixels-fractions", "xywh,pixels"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="box_format"):
        box_format(text)


UNLIKE = [
    (a, b)
    for a, b in itertools.permutations(
        (*map(str, FORMATS[:2]), "xywh-fractions", "xyxy-fractions", "xyxy-thousandths"), 2
    )
    if (a, b) != ("xyxy-thousandths", "xyxy")  # corners below 1000 pixels may be thousandths
]


@pytest.mark.parametrize(("stated", "meant"), UNLIKE)
def test_a_file_that_cannot_be_as_stated_names_the_likely_format(
    stated: str, meant: str, tmp_path: Path
) -> None:
    rng, size = np.random.default_rng(0), (640, 480)
    pictures(tmp_path, 1, size)
    form, rows = box_format(meant), []
    for n in range(30):
        low, high = np.sort(rng.uniform(0.05, 0.95, (2, 2)), axis=0)
        high = np.maximum(high, low + 0.03)
        whole = UNITS[form.unit] or np.array(size)
        numbers = [low * whole, (high if form.shape == "xyxy" else high - low) * whole]
        box = [float(v) for v in np.concatenate(numbers)]
        rows.append({"id": n, "image": "0.png", "text": "it", "box": box})
    put(tmp_path, "test.jsonl", lines(rows))
    assert len(read("own_boxes:x", tmp_path, box_format=meant)[0]) == 30
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=f"cannot be {stated}(\n.*)*box_format={meant}"):
            read("own_boxes:x", tmp_path, box_format=stated, on_error=on_error)


def test_boxes_of_the_upright_picture_are_noticed_when_they_leave_the_stored_one(
    tmp_path: Path,
) -> None:
    rows = [{"image": "6.png", "text": "red", "box": [5, y, 30, 20]} for y in (50, 60, 70)]
    put(boxes(tmp_path, (100, 40)), "test.jsonl", lines(rows))
    with pytest.raises(DataError, match="box_pixels=upright"):
        read("own_boxes:x", tmp_path)
    assert len(read("own_boxes:x", tmp_path, box_pixels="upright")[0]) == 3
    report = verify(
        tmp_path, names=["own_boxes:x"], wanted=Wanted(split="test", box_pixels="upright")
    )
    assert report.problems == []


def test_a_single_wrong_row_is_a_bad_row(tmp_path: Path) -> None:
    rows = [
        {"id": n, "image": "0.png", "text": "it", "box": [1, 1, 9, 9 if n else 90]}
        for n in range(20)
    ]
    put(pictures(tmp_path, 1), "test.jsonl", lines(rows))
    with pytest.raises(DataError, match=r"test\.jsonl:1: field 'box'.*"):
        read("own_boxes:x", tmp_path)
    assert len(read("own_boxes:x", tmp_path, on_error="skip")[0]) == 19


def test_settings_reach_the_reader_and_are_checked() -> None:
    words = ["benchmark=own_boxes:x", "data=DIR", "box_format=xyxy", "box_pixels=upright"]
    files = plan(compose(words)).files(Path("DIR"))
    assert (files.box_format, files.box_pixels) == ("xyxy", "upright")
    for wrong in ("box_format=xyzw", "box_pixels=sideways"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            plan(compose([*words[:2], wrong]))
    with pytest.raises(ConfigError, match="has no boxes"):
        plan(compose(["benchmark=vqav2", "box_format=xyxy"]))
