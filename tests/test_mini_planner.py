"""What is said about scenes is true, answers are right, and captions tell scenes apart."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.mini.language import Message
from benchmarks.mini.planner import (
    MAKERS,
    OPPOSITE,
    captions,
    holds,
    holds_of_pair,
    pair_set,
    questions,
)
from benchmarks.mini.twins import answer, exchange, twins
from benchmarks.mini.world import Item, Scene, Thing, count, related, scenes
from benchmarks.mini.write_iglue import LABELS, hypothesis

SCENE = Scene(
    (
        Item("ball", "red", "striped", "big", "matte", x=0.2, y=0.5, radius=0.2),
        Item("cube", "blue", "plain", "small", "shiny", x=0.8, y=0.5, radius=0.15),
    ),
    "sand",
    96,
    96,
    "test",
)
BALL, CUBE = Thing("ball", "red"), Thing("cube", "blue")


@pytest.mark.parametrize(
    ("message", "true"),
    [
        (Message("list", (BALL, CUBE)), True),
        (Message("list", (BALL, BALL)), False),
        (Message("list_ground", (BALL,), ground="sand"), True),
        (Message("list_ground", (BALL,), ground="road"), False),
        (Message("relation", (BALL, CUBE), relation="left"), True),
        (Message("relation", (CUBE, BALL), relation="left"), False),
        (Message("is", (Thing("ball"),), value="striped"), True),
        (Message("is", (Thing("ball"),), value="blue"), False),
        (Message("not", (Thing("star"),)), True),
        (Message("not", (BALL,)), False),
    ],
)
def test_truth(message: Message, true: bool) -> None:
    assert holds(message, SCENE) is true


def test_captions_are_true_and_different() -> None:
    for scene in scenes("a", "train", 60):
        said = captions(scene, random.Random(scene.seed), 5)
        assert len(said) == 5
        assert len(set(said)) >= 3
        assert all(holds(message, scene) for message in said)
        assert all(thing.pattern != "plain" for message in said for thing in message.things)


def test_captions_are_true_of_no_other_scene_of_the_gallery() -> None:
    gallery = scenes("a", "test", 120)
    for scene in gallery[:40]:
        for message in captions(scene, random.Random(scene.seed), 5, gallery):
            assert [other for other in gallery if holds(message, other)] == [scene]


def test_scenes_that_look_alike_cannot_be_told_apart() -> None:
    twin = replace(SCENE, seed="twin")
    with pytest.raises(RuntimeError, match="cannot be told"):
        captions(SCENE, random.Random(0), 1, [SCENE, twin])


def _answers(scene: Scene, message: Message) -> set[str]:
    """Answers by looking at the scene again, in another way than the makers do."""
    thing = message.things[0]
    fitting = [item for item in scene.items if thing.fits(item)]
    match message.kind:
        case "q_colour":
            return {item.colour for item in fitting}
        case "q_pattern":
            return {item.pattern for item in fitting}
        case "q_choose":
            return {v for item in fitting for v in item.looks()} & {message.value, message.other}
        case "q_count":
            return {str(len(fitting))}
        case "q_exists":
            return {"yes" if fitting else "no"}
        case "q_is":
            return {"yes" if message.value in item.looks() else "no" for item in fitting}
        case "q_relation":
            pairs = [(a, b) for a in fitting for b in scene.items if message.things[1].fits(b)]
            return {"yes" if related(message.relation, a, b, scene) else "no" for a, b in pairs}
        case _:
            (anchor,) = [item for item in scene.items if message.things[1].fits(item)]
            there = [i for i in scene.items if related(message.relation, i, anchor, scene)]
            return {item.shape for item in there}


def test_answers_are_right_and_unambiguous() -> None:
    kinds: Counter[str] = Counter()
    answers: dict[str, Counter[str]] = {}
    for scene in scenes("a", "test", 250):
        for question in questions(scene, random.Random(scene.seed), 4):
            assert _answers(scene, question.message) == {question.answer}, question
            kinds[question.message.kind] += 1
            answers.setdefault(question.message.kind, Counter())[question.answer] += 1
    assert len(kinds) == len(MAKERS)
    assert min(kinds.values()) > 20
    for kind in ("q_exists", "q_is", "q_relation"):
        assert 0.3 < answers[kind]["yes"] / kinds[kind] < 0.7
    assert len(answers["q_colour"]) == 8
    assert set(answers["q_count"]) >= {"0", "1", "2", "3"}


def test_types_of_answers() -> None:
    found = questions(SCENE, random.Random(3), 30)
    types = {question.answer: question.answer_type() for question in found}
    assert types["yes"] == types["no"] == "yes/no"
    assert types["1"] == "number"
    assert types["ball"] == "other"


def test_statements_about_pairs_are_true_of_two_pairs_and_false_of_two() -> None:
    pool = scenes("a", "train", 120)
    rng = random.Random(0)
    kinds = Counter[str]()
    for _ in range(60):
        made = pair_set(pool, rng)
        truth = [holds_of_pair(made.message, *pair) for pair in made.pairs]
        assert truth == [True, True, False, False]
        assert all(left is not right for left, right in made.pairs)
        kinds[made.message.kind] += 1
    assert len(kinds) == 5


def test_truth_of_pairs() -> None:
    other = replace(SCENE, items=(SCENE.items[1],))
    ball, cube = Thing("ball"), Thing("cube")
    expected = {"s_left": True, "s_right": False, "s_both": False, "s_one": True}
    for kind, true in expected.items():
        assert holds_of_pair(Message(kind, (ball,)), SCENE, other) is true
        assert holds_of_pair(Message(kind, (cube,)), SCENE, other) is (kind != "s_one")
    assert holds_of_pair(Message("s_sides", (ball, cube)), SCENE, other)
    assert not holds_of_pair(Message("s_sides", (ball, ball)), SCENE, other)


def test_hypotheses() -> None:
    rng = random.Random(0)
    kinds = {label: Counter[str]() for label in LABELS}
    for scene in scenes("a", "test", 100):
        for label in LABELS:
            message = hypothesis(scene, label, rng)
            kinds[label][message.kind] += 1
            if label == "neutral":
                assert message.value in ("new", "old", "heavy", "expensive")
                assert count(message.things[0], scene) == 1
            elif message.kind == "relation":
                assert holds(message, scene) is (label == "entailment")
                assert message.relation in OPPOSITE
    assert (
        set(kinds["entailment"]) == set(kinds["contradiction"]) == {"is", "not", "list", "relation"}
    )


def test_twins_are_told_apart_by_everything_said_and_asked() -> None:
    found = [
        made
        for scene in scenes("twin test", "train", 120)
        if (made := twins(scene, random.Random(scene.seed))) is not None
    ]
    assert len(found) > 30
    for pair in found:
        for mine, other in (pair, pair[::-1]):
            assert mine.scene.split() == "train"
            assert mine.said
            assert mine.asked
            assert all(holds(message, mine.scene) for message in mine.said)
            assert not any(holds(message, other.scene) for message in mine.said)
            told = {one.message: one.answer for one in other.asked}
            for one in mine.asked:
                assert one.answer == answer(one.message, mine.scene)
                assert told[one.message] == answer(one.message, other.scene) != one.answer
    assert {pair[0].scene.ground for pair in found} == {pair[1].scene.ground for pair in found}


def test_answers_follow_from_the_scene() -> None:
    for scene in scenes("answer test", "train", 60):
        for one in questions(scene, random.Random(scene.seed), 8):
            assert answer(one.message, scene) == one.answer


def test_small_and_big_do_not_change_places() -> None:
    assert exchange(SCENE, 0, 1, "places") is None
    changed = exchange(SCENE, 0, 1, "colour")
    assert changed is not None
    assert [item.colour for item in changed.items] == ["blue", "red"]
    assert [item.shape for item in changed.items] == ["ball", "cube"]
