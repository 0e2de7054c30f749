"""A small explanation on disk, for the tests of gallery and site."""

from pathlib import Path

import small

from leaderboards.gallery import write_study
from x2vlm.data.decode import open_image
from x2vlm.explain import explain

NASTY = "<i>x"
ABOUT = {"title": NASTY, "image": "a.png", "model": "small"}


def study(folder: Path, *heads: str) -> Path:
    """Two texts, one of them markup, on a red square; heads: of the model, by default all three."""
    image = open_image(small.picture(3, "red"))
    model = small.model(*(heads or ("contrastive", "matching", "box")))
    found = explain(model, small.tokenizer(), image, ["red square", NASTY])
    return write_study(found, image, folder, about=ABOUT, truths=[(4.0, 8.0, 24.0, 32.0), None])
