"""Short clips: scenes in which something moves, and questions about them; written as videos."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, replace
from typing import Literal, cast

import av
import numpy as np

from benchmarks.mini.language import Message
from benchmarks.mini.planner import full
from benchmarks.mini.render import backdrop, render
from benchmarks.mini.world import Scene, Split, scenes

FRAMES = 12
RATE = 8
"""frames per clip, and per second"""
WIDTH, HEIGHT = 96, 80
_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True, slots=True)
class Clip:
    """A scene at its start, and what happens: object `mover` goes `move`, or hits `struck`."""

    scene: Scene
    mover: int
    move: str
    struck: int | None

    def message(self, rng: random.Random, extra: float = 0.4) -> Message:
        """The event in words."""
        a = full(self.scene.items[self.mover], rng, extra)
        if self.struck is None:
            return Message("moves", (a,), move=self.move)
        return Message("hits", (a, full(self.scene.items[self.struck], rng, extra)))

    def holds(self, message: Message) -> bool:
        """Whether an event is what this clip shows."""
        struck = self.struck is not None and message.kind == "hits"
        if message.kind == "moves" and (message.move != self.move or self.struck is not None):
            return False
        if not message.things[0].fits(self.scene.items[self.mover]):
            return False
        if message.kind == "hits":
            return struck and message.things[1].fits(self.scene.items[self.struck or 0])
        return True


def clips(name: str, split: Split, number: int) -> list[Clip]:
    """Clips of two or three objects; one moves along a lane of its own, or into another object."""
    found = []
    for scene in scenes(name, split, number, sizes=(2, 2, 3)):
        rng = random.Random(scene.seed + "/clip")
        found.append(_event(replace(scene, width=WIDTH, height=HEIGHT), rng))
    return found


def _event(scene: Scene, rng: random.Random) -> Clip:
    order = rng.sample(range(len(scene.items)), len(scene.items))
    mover, others = order[0], order[1:]
    lane, rest = rng.sample((0.27, 0.75), 2)
    ends = rng.sample((0.24, 0.76), 2)
    move = rng.choice(list(_STEPS))
    dx, dy = _STEPS[move]
    struck = others.pop() if dx and rng.random() < 0.6 else None
    places = {mover: (0.5 - 0.32 * dx, lane) if dx else (lane, 0.5 - 0.3 * dy)}
    if struck is not None:
        places[struck] = (0.5 + 0.21 * dx, lane)
    for index, end in zip(others, ends, strict=False):
        places[index] = (end, rest) if dx else (rest, end)
    items = list(scene.items)
    for index, (x, y) in places.items():
        radius = 0.16 if items[index].size == "small" else 0.225
        items[index] = replace(items[index], x=round(x, 4), y=round(y, 4), radius=radius)
    return Clip(replace(scene, items=tuple(items)), mover, move, struck)


def at(clip: Clip, moment: float) -> Scene:
    """The scene at a moment between 0 (start) and 1 (end)."""
    dx, dy = _STEPS[clip.move]
    items = list(clip.scene.items)
    mover = items[clip.mover]
    if clip.struck is None:
        items[clip.mover] = replace(
            mover, x=mover.x + 0.64 * moment * dx, y=mover.y + 0.6 * moment * dy
        )
        return replace(clip.scene, items=tuple(items))
    struck = items[clip.struck]
    gap = abs(struck.x - mover.x) - 0.98 * (mover.radius + struck.radius) * HEIGHT / WIDTH
    went = min(moment / 0.6, 1.0) * gap
    items[clip.mover] = replace(mover, x=mover.x + went * dx)
    pushed = max(0.0, moment - 0.6) / 0.4 * 0.1
    items[clip.struck] = replace(struck, x=struck.x + pushed * dx)
    return replace(clip.scene, items=tuple(items))


def frames(
    clip: Clip, number: int = FRAMES
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """RGB frames, (HEIGHT, WIDTH, 3) each."""
    ground = backdrop(clip.scene)
    moments = [k / (number - 1) for k in range(number)]
    return [np.asarray(render(at(clip, moment), ground)) for moment in moments]


def encode(clip: Clip, kind: Literal["mp4", "avi"] = "mp4") -> bytes:
    """The clip as a video file: mp4 (H.264, or MPEG-4 where it is missing), avi (MPEG-4)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        codec = "libx264" if kind == "mp4" and "libx264" in av.codecs_available else "mpeg4"
        stream = cast(av.VideoStream, container.add_stream(codec, rate=RATE))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        if codec == "libx264":
            # mbtree reads memory that nobody wrote: one clip, other bytes from run to run.
            stream.options = {"crf": "20", "preset": "veryfast", "x264-params": "mbtree=0"}
        else:
            stream.bit_rate = 600_000
        for picture in frames(clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def questions(clip: Clip, rng: random.Random, number: int) -> list[tuple[str, str]]:
    """Up to `number` different questions with one-word answers, as video QA sets have them."""
    found: dict[str, str] = {}
    for _ in range(6 * number):
        made = _question(clip, rng)
        if made is not None and len(found) < number:
            found.setdefault(*made)
    return list(found.items())


def _question(clip: Clip, rng: random.Random) -> tuple[str, str] | None:
    mover = clip.scene.items[clip.mover]
    kind = rng.choice(("mover", "colour", "direction", "struck", "pattern", "count"))
    if kind == "mover":
        return rng.choice(("what is moving?", "what moves?")), mover.shape
    if kind == "colour":
        return f"what color is the moving {mover.shape}?", mover.colour
    if kind == "direction":
        return f"where does the {mover.shape} move?", clip.move
    if kind == "struck" and clip.struck is not None:
        return f"what does the {mover.shape} hit?", clip.scene.items[clip.struck].shape
    if kind == "pattern" and mover.pattern != "plain":
        return "what pattern does the moving object have?", mover.pattern
    if kind == "count":
        words = ("one", "two", "three", "four")
        return "how many objects are there?", words[len(clip.scene.items) - 1]
    return None
