"""Explanations as pictures: maps over the image, boxes, and one sheet of everything. No torch.

Axes: G patches along a side of the image, R regions, T texts.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

    from x2vlm.explain import Box, Explanation, TextView

log = logging.getLogger(__name__)
Pictures = dict[str, tuple[Image.Image, str]]
"""name -> (picture, title)"""
SIDE = 240
"""Longest side of a picture in pixels; images are scaled to it, down or up."""
PREDICTED, TRUE, GIVEN = "#ff8a3d", "#35c79a", "#56b4e9"
"""Colours of boxes, told apart by the colour-blind too."""
COLUMNS = 6
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans Bengali",
         "Noto Sans Tamil")  # fmt: skip
"""Those of them that are installed write the sheet."""


def scaled(image: Image.Image) -> Image.Image:
    """The image with its longest side at SIDE pixels."""
    factor = SIDE / max(image.size)
    width, height = (max(round(length * factor), 1) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def overlay(image: Image.Image, map_GG: NDArray[np.float32]) -> Image.Image:
    """The map over the image, scaled between its own least (dark) and greatest value (bright)."""
    from matplotlib import colormaps

    base = scaled(image)
    low, high = float(map_GG.min()), float(map_GG.max())
    # A flat map differs by rounding alone, which must not be blown up into a pattern.
    flat = high - low <= 1e-6 * max(abs(low), abs(high))
    level_GG = np.zeros_like(map_GG) if flat else (map_GG - low) / (high - low)
    heat = Image.fromarray(level_GG.astype(np.float32)).resize(base.size, Image.Resampling.BICUBIC)
    level = np.clip(np.asarray(heat), 0, 1)
    colour = 255 * colormaps["inferno"](level)[..., :3]
    share = (0.45 + 0.25 * level)[..., None]
    mixed = (1 - share) * np.asarray(base.convert("RGB"), dtype=np.float32) + share * colour
    return Image.fromarray(mixed.round().astype(np.uint8))


def boxed(image: Image.Image, boxes: Sequence[tuple[Box, str]]) -> Image.Image:
    """The image with boxes (x, y, width, height) in its own pixels, each with its colour."""
    picture = scaled(image)
    across, down = picture.width / image.width, picture.height / image.height
    draw = ImageDraw.Draw(picture)
    for (x, y, w, h), colour in boxes:
        # At least a pixel, for Pillow refuses corners that touch; a dark rim under the colour.
        right, bottom = max((x + w) * across, x * across + 1), max((y + h) * down, y * down + 1)
        draw.rectangle((x * across - 1, y * down - 1, right + 1, bottom + 1), None, "black", 7)
        draw.rectangle((x * across, y * down, right, bottom), None, colour, 5)
    return picture


def text_pictures(
    view: TextView, image: Image.Image, truth: Box | None = None, given: Sequence[Box] = ()
) -> Pictures:
    """All pictures of one text: "image" with boxes, "words" (the mean map), "patches" (similarity,
    if any), then "word0", "word1", …"""
    boxes = [(box, GIVEN) for box in given]
    boxes += [(box, ink) for box, ink in ((truth, TRUE), (view.box, PREDICTED)) if box is not None]
    match = "" if view.match is None else f"\nmatch {view.match:.2f}"
    found: Pictures = {
        "image": (boxed(image, boxes), f"{view.text}{match}"),
        "words": (overlay(image, view.mean_map()), "all words"),
    }
    if view.similarity_GG is not None:
        low, high = float(view.similarity_GG.min()), float(view.similarity_GG.max())
        found["patches"] = (
            overlay(image, view.similarity_GG),
            f"patch–text similarity\n{low:.2f} to {high:.2f}",
        )
    weights = view.weights()
    for place, (word, map_GG) in enumerate(zip(view.words, view.map_WGG, strict=True)):
        title = word if weights is None else f"{word}\n{weights[place]:.0%}"
        found[f"word{place}"] = (overlay(image, map_GG), title)
    return found


def sheet(explanation: Explanation, texts: Sequence[Pictures]) -> bytes:
    """One PNG: the pictures of each text, then regions against texts. Equal input, equal bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    rows = [list(cells.values()) for cells in texts]
    lines = [row[i : i + COLUMNS] for row in rows for i in range(0, len(row), COLUMNS)]
    width, height = explanation.size
    maps = (0.6 + 2 * min(height / width, 2)) * len(lines)
    tables = 1.2 + 0.5 * len(explanation.regions)
    installed = fontManager.get_font_names()
    fonts = [name for name in FONTS if name in installed]
    buffer = io.BytesIO()
    with rc_context({"font.family": fonts, "font.size": 8}), _missing_glyphs_logged():
        figure = Figure(figsize=(2 * COLUMNS, maps + tables), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 1, height_ratios=(maps, tables))
        above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
        for line, cells in enumerate(lines):
            for column, (picture, title) in enumerate(cells):
                axes = above.add_subplot(len(lines), COLUMNS, line * COLUMNS + column + 1)
                axes.imshow(np.asarray(picture))
                axes.set_title("\n".join(fill(part, 22) for part in title.splitlines()))
                axes.axis("off")
        _draw_tables(below, explanation)
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _draw_tables(figure: SubFigure, explanation: Explanation) -> None:
    """Regions against texts, side by side; a head that the model lacks leaves its table out."""
    texts = [fill(view.text, 26) for view in explanation.texts]
    regions = [fill(region.name, 26) for region in explanation.regions]
    cosine, matching = explanation.similarity_RT, explanation.match_RT
    for place, (name, values_RT) in enumerate(
        (("similarity (cosine)", cosine), ("matching probability", matching))
    ):
        if values_RT is None:
            continue
        low, high = (float(values_RT.min()), float(values_RT.max())) if place == 0 else (0.0, 1.0)
        axes = figure.add_subplot(1, 2, place + 1)
        axes.imshow(values_RT, aspect="auto", vmin=low, vmax=high, cmap="cividis")
        for r, row in enumerate(values_RT):
            for t, value in enumerate(row):
                ink = "black" if value > (low + high) / 2 else "white"
                axes.text(t, r, f"{value:.2f}", ha="center", va="center", color=ink)
        axes.set_xticks(range(len(texts)), texts)
        axes.set_yticks(range(len(regions)), regions)
        axes.set_title(f"regions and texts: {name}")


@contextmanager
def _missing_glyphs_logged() -> Iterator[None]:
    """One line instead of a warning per letter of a script that no font here has."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    glyphs = [w for w in caught if "missing from" in str(w.message)]
    if glyphs:
        log.warning("no font here has some letters of the texts; the page shows them, the sheet "
                    "shows boxes")  # fmt: skip
    for other in caught:
        if other not in glyphs:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
