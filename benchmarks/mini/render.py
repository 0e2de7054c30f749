"""Scenes drawn with Pillow: supersampled, lit from a side, on grounds with texture and clutter."""

from __future__ import annotations

import io
import math
import random
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from benchmarks.mini.world import Item, Scene

SCALE = 3
"""supersampling: pixels drawn per pixel kept, per axis"""

Point = tuple[float, float]

RGB = {
    "red": (205, 36, 40),
    "green": (40, 150, 62),
    "blue": (38, 76, 205),
    "yellow": (238, 208, 40),
    "orange": (238, 128, 24),
    "purple": (132, 48, 168),
    "white": (240, 240, 238),
    "black": (34, 34, 38),
}
GROUND_RGB = {
    "grass": ((150, 178, 120), (118, 152, 98)),
    "sand": ((222, 203, 166), (198, 176, 138)),
    "water": ((150, 188, 206), (116, 158, 186)),
    "road": ((158, 156, 158), (128, 127, 132)),
}


def _arc(cx: float, cy: float, r: float, start: float, end: float, steps: int) -> list[Point]:
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(cx + r * math.cos(a), cy + r * math.sin(a)) for a in angles]


def _star() -> list[Point]:
    radii = [1.0 if i % 2 == 0 else 0.45 for i in range(10)]
    angles = [math.radians(36 * i - 90) for i in range(10)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _heart() -> list[Point]:
    points = []
    for i in range(48):
        t = 2 * math.pi * i / 48
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16.5, -(y + 2.5) / 15.5))
    return points


def _moon() -> list[Point]:
    outer = _arc(0.15, 0, 1.0, 55, 305, 30)
    inner = _arc(0.62, 0, 0.83, 281, 79, 24)
    return outer + inner


def _cone() -> list[Point]:
    base = [(x, 0.55 + 0.5 * y) for x, y in _arc(0, 0, 0.86, 0, 180, 18)]
    return [(0.0, -1.0), *base]


_CUBE = [(0, -0.98), (0.86, -0.52), (0.86, 0.5), (0, 0.98), (-0.86, 0.5), (-0.86, -0.52)]
_C = 0.36
_CROSS = [(-_C, -0.98), (_C, -0.98), (_C, -_C), (0.98, -_C), (0.98, _C), (_C, _C)]
_CROSS += [(-x, -y) for x, y in _CROSS]

OUTLINES: dict[str, list[Point]] = {
    "ball": _arc(0, 0, 0.98, 0, 360, 48),
    "ring": _arc(0, 0, 0.98, 0, 360, 48),
    "cube": _CUBE,
    "cone": _cone(),
    "star": _star(),
    "heart": _heart(),
    "cross": _CROSS,
    "moon": _moon(),
}
_UPRIGHT = frozenset({"cube", "cone"})
_SHADOW = [value * 2 // 5 for value in range(256)]
_RIM = [value // 3 for value in range(256)]


def _outline(item: Item) -> list[Point]:
    """Outline around (0, 0) with radius 1, turned; upright shapes lean only a little."""
    turn = math.radians(item.angle * (0.3 if item.shape in _UPRIGHT else 1.0))
    cos, sin = math.cos(turn), math.sin(turn)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in OUTLINES[item.shape]]


def box(item: Item, scene: Scene) -> tuple[float, float, float, float]:
    """The tight box of an object, [x, y, w, h] in pixels, inside the image."""
    radius = item.radius * min(scene.width, scene.height)
    xs, ys = zip(*_outline(item), strict=True)
    left = max(0.0, item.x * scene.width + radius * min(xs))
    top = max(0.0, item.y * scene.height + radius * min(ys))
    right = min(float(scene.width), item.x * scene.width + radius * max(xs))
    bottom = min(float(scene.height), item.y * scene.height + radius * max(ys))
    return round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)


@lru_cache(maxsize=512)
def _pattern(name: str, size: int, turn: int) -> Image.Image:
    """Mask of the second colour, `size` pixels square, for an object that fills it."""
    ys, xs = np.mgrid[0:size, 0:size] / size
    angle = math.radians(turn)
    u = xs * math.cos(angle) + ys * math.sin(angle)
    v = ys * math.cos(angle) - xs * math.sin(angle)
    if name == "striped":
        mask = (u * 4.0 % 1.0) < 0.5
    elif name == "checked":
        mask = ((u * 2.2 % 1.0) < 0.5) ^ ((v * 2.2 % 1.0) < 0.5)
    else:
        row = np.floor(v * 4.4)
        du, dv = (u * 4.4 + 0.5 * row) % 1.0 - 0.5, v * 4.4 % 1.0 - 0.5
        mask = du * du + dv * dv < 0.105
    return Image.fromarray((mask * 255).astype(np.uint8))


@lru_cache(maxsize=64)
def _glow(size: int, x: float, y: float, radius: float) -> Image.Image:
    """A soft spot: 255 at (x, y), 0 at `radius` (fractions of the square)."""
    ys, xs = np.mgrid[0:size, 0:size] / size
    distance = np.hypot(xs - x, ys - y) / radius
    return Image.fromarray((np.clip(1 - distance, 0, 1) ** 1.5 * 255).astype(np.uint8))


@lru_cache(maxsize=32)
def _slope(size: int, light: int) -> Image.Image:
    """Shading of a rounded body lit from the left (-1) or right (+1), 255 = full colour."""
    ys, xs = np.mgrid[0:size, 0:size] / size
    shade = 1.08 - 0.34 * (xs if light < 0 else 1 - xs) - 0.22 * ys
    return Image.fromarray((np.clip(shade, 0, 1) * 255).astype(np.uint8))


def _mix(rgb: tuple[int, ...], other: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * share) for a, b in zip(rgb, other, strict=True))


def _second(colour: str) -> tuple[int, ...]:
    """The colour of stripes and dots: a tint, so that the object keeps its colour word."""
    if colour == "white":
        return 172, 172, 176
    if colour == "black":
        return 128, 128, 132
    if colour in ("yellow", "orange"):
        return _mix(RGB[colour], (96, 48, 0), 0.52)
    return _mix(RGB[colour], (255, 255, 255), 0.66)


def _body(item: Item, size: int, light: int) -> Image.Image:
    """The filled square of an object before it is cut out."""
    base = _mix(
        RGB[item.colour], (255, 255, 255) if item.tone > 0 else (0, 0, 0), 0.12 * abs(item.tone)
    )
    tile = Image.new("RGB", (size, size), base)
    if item.pattern != "plain":
        turn = 15 * round(item.angle / 3)
        tile.paste(_second(item.colour), (0, 0), _pattern(item.pattern, size, turn))
    if item.shape == "cube":
        shade = Image.new("L", (size, size), 205 if light < 0 else 150)
        half, top = size / 2, size * 0.24
        draw = ImageDraw.Draw(shade)
        draw.polygon(
            [(half, half), (half, size), (size, size), (size, top)], 150 if light < 0 else 205
        )
        draw.polygon([(half, 0), (size, top), (half, half), (0, top)], 255)
    else:
        shade = _slope(size, light)
    tile = ImageChops.multiply(tile, Image.merge("RGB", (shade, shade, shade)))
    if item.material == "shiny":
        spot = _glow(size, 0.34 if light < 0 else 0.66, 0.3, 0.3)
        tile.paste((255, 255, 255), (0, 0), spot)
        rim = _glow(size, 0.7 if light < 0 else 0.3, 0.78, 0.22).point(_RIM)
        tile.paste((255, 255, 255), (0, 0), rim)
    return tile


def _paste(canvas: Image.Image, item: Item, scene: Scene, light: int) -> None:
    radius = item.radius * min(scene.width, scene.height) * SCALE
    size = max(8, round(2 * radius / 6) * 6)
    points = [((x + 1) * size / 2, (y + 1) * size / 2) for x, y in _outline(item)]
    margin = size // 6
    mask = Image.new("L", (size + 2 * margin, size + 2 * margin), 0)
    shifted = [(x + margin, y + margin) for x, y in points]
    draw = ImageDraw.Draw(mask)
    draw.polygon(shifted, 255)
    if item.shape == "ring":
        hole, end = 0.29 * size + margin, 0.71 * size + margin
        draw.ellipse((hole, hole, end, end), 0)
    left = round(item.x * scene.width * SCALE - size / 2) - margin
    top = round(item.y * scene.height * SCALE - size / 2) - margin
    shadow = mask.reduce(3).filter(ImageFilter.BoxBlur(2)).resize(mask.size)
    shadow = shadow.point(_SHADOW)
    canvas.paste((30, 30, 36), (left - light * size // 14, top + size // 10), shadow)
    edge = mask.copy()
    ImageDraw.Draw(edge).line([*shifted, shifted[0]], 255, 3)
    canvas.paste(_mix(RGB[item.colour], (10, 10, 10), 0.6), (left, top), edge)
    body = Image.new("RGB", mask.size)
    body.paste(_body(item, size, light), (margin, margin))
    canvas.paste(body, (left, top), mask)


def _clutter(draw: ImageDraw.ImageDraw, scene: Scene, rng: random.Random) -> None:
    """Texture of the ground: blades, pebbles, waves or cracks, in tones near the ground's own."""
    light, dark = GROUND_RGB[scene.ground]
    width, height = scene.width * SCALE, scene.height * SCALE
    for _ in range({"grass": 110, "sand": 70, "water": 26, "road": 40}[scene.ground]):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        tone = _mix(dark if rng.random() < 0.6 else light, (0, 0, 0), rng.uniform(-0.16, 0.2))
        size = rng.uniform(2, 7)
        if scene.ground == "grass":
            draw.line((x, y, x + rng.uniform(-4, 4), y - 2 * size), tone, 2)
        elif scene.ground == "sand":
            draw.ellipse((x, y, x + size, y + 0.7 * size), tone)
        elif scene.ground == "water":
            draw.arc((x, y, x + 8 * size, y + 2 * size), 200, 340, tone, 3)
        else:
            draw.polygon([(x, y), (x + size, y + 2), (x + size / 2, y + size)], tone)


@lru_cache(maxsize=1)
def _noise() -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """One sheet of noise, cut differently for every image: drawing it anew would cost more."""
    sheet = np.random.default_rng(7).normal(0, 5.0, (256, 256, 3))
    return sheet.round().astype(np.int16)


def backdrop(scene: Scene) -> Image.Image:
    """The ground without objects, supersampled."""
    rng = random.Random(scene.seed)
    light, dark = GROUND_RGB[scene.ground]
    shift = rng.uniform(-0.12, 0.12)
    toward = (255, 255, 255) if shift > 0 else (0, 0, 0)
    corners = [_mix(c, toward, abs(shift)) for c in (light, dark, light, dark)]
    rng.shuffle(corners)
    small = Image.new("RGB", (2, 2))
    for i, corner in enumerate(corners):
        small.putpixel((i % 2, i // 2), corner)
    size = (scene.width * SCALE, scene.height * SCALE)
    canvas = small.resize(size, Image.Resampling.BILINEAR)
    _clutter(ImageDraw.Draw(canvas), scene, rng)
    return canvas


def render(scene: Scene, ground: Image.Image | None = None) -> Image.Image:
    """The image of a scene, RGB, `scene.width` x `scene.height`. ground: a `backdrop` to reuse."""
    rng = random.Random(scene.seed + "/light")
    light = rng.choice((-1, 1))
    canvas = ground.copy() if ground is not None else backdrop(scene)
    for item in sorted(scene.items, key=lambda item: item.y):
        _paste(canvas, item, scene, light)
    pixels = np.asarray(canvas.reduce(SCALE), dtype=np.int16)
    y, x = rng.randrange(256 - scene.height), rng.randrange(256 - scene.width)
    exposure = rng.uniform(0.9, 1.08)
    noisy = pixels * exposure + _noise()[y : y + scene.height, x : x + scene.width]
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def jpeg(scene: Scene, quality: int = 92) -> bytes:
    """The scene as a JPEG file."""
    buffer = io.BytesIO()
    render(scene).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def png(scene: Scene) -> bytes:
    """The scene as a PNG file, compressed for speed rather than size."""
    buffer = io.BytesIO()
    render(scene).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
