"""The site's colours: contrast by WCAG 2.2 in both themes."""

import re
from itertools import product
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[1] / "leaderboards/assets/site.css").read_text(encoding="utf-8")
TEXT = {
    ("ink", "soft", "accent"): ("ground", "paper"),
    ("ink", "soft", "accent", "right", "wrong"): ("accent-soft",),  # rows under the pointer, pills
    ("warn",): ("ground", "paper", "warn-soft"),
    ("right", "wrong"): ("ground", "paper"),
    ("ground",): ("accent",),  # buttons
}
"""colours of text, and what they stand on"""
MARKS = tuple(f"s{k}" for k in range(6))


def themes() -> dict[str, dict[str, str]]:
    """Colour by name, of the light theme, the dark one by choice, and by the system's setting."""
    found = {}
    for name, start in (("light", ":root {"), ("dark", ':root[data-theme="dark"] {'),
                        ("system", ':root:not([data-theme="light"]) {')):  # fmt: skip
        block = CSS[CSS.index(start) :].partition("}")[0]
        found[name] = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
    return found


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_21() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme: str) -> None:
    colours = themes()[theme]
    pairs = [pair for texts, grounds in TEXT.items() for pair in product(texts, grounds)]
    found = {pair: contrast(*(colours[name] for name in pair)) for pair in pairs}
    assert len(found) == 19
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_stand_out(theme: str) -> None:
    colours = themes()[theme]
    found = {mark: contrast(colours[mark], colours["paper"]) for mark in MARKS}
    assert {mark: ratio for mark, ratio in found.items() if ratio < 3} == {}


def test_both_ways_into_the_dark_agree() -> None:
    assert themes()["system"] == themes()["dark"]
