"""Scenes, what is true of them, and how they are drawn and filmed."""

import io
import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Literal

import decord
import numpy as np
import pytest
from PIL import Image

from benchmarks.mini.render import OUTLINES, box, jpeg, png, render
from benchmarks.mini.video import FRAMES, HEIGHT, WIDTH, Clip, at, clips, encode, questions
from benchmarks.mini.world import (
    COLOURS,
    GROUNDS,
    MATERIALS,
    PATTERNS,
    RELATIONS,
    SHAPES,
    SIZES,
    UNSEEN_COLOURS,
    UNSEEN_PATTERNS,
    Item,
    Scene,
    Thing,
    count,
    identify,
    matches,
    related,
    relation_of,
    scenes,
)

BALL = Item("ball", "red", "plain", "big", "matte", x=0.25, y=0.5, radius=0.2)
CUBE = Item("cube", "blue", "dotted", "small", "shiny", x=0.75, y=0.45, radius=0.15)
SCENE = Scene((BALL, CUBE), "sand", 96, 96, "test")


def test_scenes_are_the_same_for_the_same_name() -> None:
    assert scenes("a", "train", 20) == scenes("a", "train", 20)
    assert scenes("a", "train", 20) != scenes("b", "train", 20)


def test_splits_never_share_a_scene() -> None:
    keys = {
        split: {scene.key() for name in "abc" for scene in scenes(name, split, 150)}
        for split in ("train", "val", "test")
    }
    for one, other in itertools.combinations(keys.values(), 2):
        assert not one & other
    assert scenes("a", "train", 300)[0].split() == "train"


def test_unseen_combinations_are_in_the_test_split_alone() -> None:
    for split in ("train", "val"):
        drawn = scenes("a", split, 400)
        pairs = {(i.shape, i.colour) for s in drawn for i in s.items}
        looks = {(i.shape, i.pattern) for s in drawn for i in s.items}
        assert not pairs & UNSEEN_COLOURS
        assert not looks & UNSEEN_PATTERNS
        assert pairs | UNSEEN_COLOURS == set(itertools.product(SHAPES, COLOURS))
    share = [scene.unseen() for scene in scenes("a", "test", 200)]
    assert 90 <= sum(share) <= 110


def test_training_shows_every_shape_and_colour_of_the_unseen_pairs() -> None:
    assert {shape for shape, _ in UNSEEN_COLOURS} == set(SHAPES)
    assert len({colour for _, colour in UNSEEN_COLOURS}) == 8
    assert set(itertools.product(SHAPES, COLOURS)) >= UNSEEN_COLOURS
    assert set(itertools.product(SHAPES, PATTERNS)) >= UNSEEN_PATTERNS


def test_a_scene_holds_two_to_four_objects_that_can_be_told_apart() -> None:
    drawn = scenes("a", "train", 300)
    assert {len(scene.items) for scene in drawn} == {2, 3, 4}
    assert len({scene.key() for scene in drawn}) == 300
    for scene in drawn:
        assert len({(item.shape, item.colour) for item in scene.items}) == len(scene.items)
    values = {value for scene in drawn for item in scene.items for value in item.looks()}
    assert values == {*SHAPES, *COLOURS, *PATTERNS, *SIZES, *MATERIALS}
    assert {scene.ground for scene in drawn} == set(GROUNDS)


def test_relations() -> None:
    assert related("left", BALL, CUBE, SCENE)
    assert related("right", CUBE, BALL, SCENE)
    assert relation_of(BALL, CUBE, SCENE) == "left"
    assert relation_of(BALL, replace(CUBE, x=0.3, y=0.55), SCENE) is None  # too near
    assert relation_of(replace(CUBE, x=0.46, y=0.7), BALL, SCENE) is None  # diagonal
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    for scene in scenes("a", "train", 100):
        for a, b in itertools.permutations(scene.items, 2):
            found = [name for name in RELATIONS if related(name, a, b, scene)]
            assert len(found) <= 1
            if found:
                assert relation_of(b, a, scene) == opposite[found[0]]


def test_descriptions() -> None:
    assert Thing().fits(BALL)
    assert Thing("ball", "red").fits(BALL)
    assert not Thing("ball", "blue").fits(BALL)
    assert count(Thing(), SCENE) == 2
    assert list(matches([Thing("ball"), Thing()], SCENE.items)) == [(BALL, CUBE)]
    assert list(matches([Thing("ball"), Thing("ball")], SCENE.items)) == []
    rng = random.Random(0)
    for scene in scenes("a", "test", 100):
        for item in scene.items:
            thing = identify(item, scene, rng)
            assert thing.fits(item)
            assert count(thing, scene) == 1
            assert thing.pattern != "plain"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_box_is_where_the_pixels_are(shape: str) -> None:
    item = replace(BALL, shape=shape, colour="red", angle=15.0, x=0.45, y=0.55, radius=0.25)
    scene = Scene((item,), "road", 112, 84, "box")
    pixels = np.asarray(render(scene)).astype(int)
    red = pixels[..., 0] - pixels[..., 1:].max(axis=-1) > 60
    ys, xs = np.nonzero(red)
    x, y, w, h = box(item, scene)
    drawn = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert np.abs(np.array(drawn) - (x, y, x + w, y + h)).max() <= 3


def test_boxes_lie_inside_the_image_and_are_large_enough_for_the_tiny_model() -> None:
    for scene in scenes("a", "train", 200):
        for item in scene.items:
            x, y, w, h = box(item, scene)
            assert 0 <= x < x + w <= scene.width
            assert 0 <= y < y + h <= scene.height
            assert min(w / scene.width, h / scene.height) > 0.12  # a patch is 1/8 of a side


def test_outlines_fit_the_unit_square() -> None:
    assert set(OUTLINES) == set(SHAPES)
    for points in OUTLINES.values():
        assert max(max(abs(x), abs(y)) for x, y in points) <= 1.05


def test_pictures_are_deterministic_and_not_labels() -> None:
    scene = scenes("a", "train", 1)[0]
    assert jpeg(scene) == jpeg(scene)
    image = Image.open(io.BytesIO(jpeg(scene)))
    assert image.size == (scene.width, scene.height)
    assert Image.open(io.BytesIO(png(scene))).mode == "RGB"
    other = replace(scene, seed="another")  # same content, other noise, clutter and light
    difference = np.abs(np.asarray(render(scene), dtype=int) - np.asarray(render(other), dtype=int))
    assert difference.mean() > 4


@pytest.mark.parametrize("kind", ["mp4", "avi"])
def test_the_decoder_reads_the_clips(kind: Literal["mp4", "avi"]) -> None:
    clip = clips("a", "train", 1)[0]
    reader = decord.VideoReader(io.BytesIO(encode(clip, kind)))
    assert len(reader) == FRAMES
    first, last = reader[0].asnumpy().astype(int), reader[FRAMES - 1].asnumpy().astype(int)
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert (np.abs(first - last).max(axis=-1) > 60).sum() > 100  # something moved


def test_clips_are_the_same_bytes_whatever_lay_in_memory() -> None:
    made = clips("a", "train", 40)
    first = [encode(clip) for clip in made]
    for seed in range(2):
        rng = random.Random(seed)
        rubbish = [rng.randbytes(rng.randint(1, 20_000)) for _ in range(500)]
        del rubbish
        assert [encode(clip) for clip in made] == first


def test_clips_show_what_they_say() -> None:
    made = clips("a", "train", 80)
    assert {clip.move for clip in made} == {"left", "right", "up", "down"}
    assert 0.15 < sum(clip.struck is not None for clip in made) / 80 < 0.5
    for clip in made:
        start, end = (at(clip, moment).items[clip.mover] for moment in (0.0, 1.0))
        across, down = end.x - start.x, end.y - start.y
        shown = {"left": across < 0, "right": across > 0, "up": down < 0, "down": down > 0}
        assert shown[clip.move]
        message = clip.message(random.Random(0))
        assert clip.holds(message)
        assert message.kind == ("moves" if clip.struck is None else "hits")


def _distance(clip: Clip, moment: float) -> float:
    items = at(clip, moment).items
    return abs(items[clip.mover].x - items[clip.struck or 0].x) * WIDTH


def test_a_hit_touches_and_pushes() -> None:
    for clip in (clip for clip in clips("a", "train", 40) if clip.struck is not None):
        mover, struck = clip.scene.items[clip.mover], clip.scene.items[clip.struck or 0]
        reach = (mover.radius + struck.radius) * HEIGHT
        assert _distance(clip, 0.0) > reach + 3
        assert _distance(clip, 0.6) == pytest.approx(0.98 * reach, abs=0.5)
        assert at(clip, 1.0).items[clip.struck or 0] != struck


def test_questions_about_clips_have_answers_of_one_word() -> None:
    for clip in clips("a", "test", 20):
        asked = questions(clip, random.Random(1), 5)
        assert len({question for question, _ in asked}) == len(asked) >= 3
        assert all(" " not in answer and question[-1] == "?" for question, answer in asked)


def test_the_page_lists_the_unseen_combinations() -> None:
    page = (Path(__file__).parents[1] / "docs/mini-world.md").read_text(encoding="utf-8")
    table = page.partition("| shape | never with colour |")[2].partition("## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()[2:]]
    written = [row for row in rows if row and row[0] in SHAPES]
    assert {(shape, colour) for shape, colour, _ in written} == UNSEEN_COLOURS
    assert {(shape, pattern) for shape, _, pattern in written if pattern} == UNSEEN_PATTERNS
