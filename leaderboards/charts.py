"""Pictures as inline SVG, drawn with classes only: colours come from the style sheet.

Every picture has a title for screen readers; series differ in dash and marker, not in colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Bar:
    """One horizontal bar: a value with its standard error, and whether it is ours."""

    label: str
    value: float
    error: float | None = None
    ours: bool = True
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A difference with its interval and tolerance, all in the same unit."""

    label: str
    value: float
    low: float | None
    high: float | None
    tolerance: float
    verdict: str


Series = tuple[str, Sequence[tuple[float, float]]]
"""(name, points)."""


def svg(width: float, height: float, title: str, body: Sequence[str], kind: str) -> Markup:
    """An svg element whose parts are already escaped."""
    return Markup(
        f'<svg class="chart {kind}" viewBox="0 0 {width:g} {height:g}" role="img">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def _short(text: str, limit: int) -> str:
    """The ends of a long name: runs of one model differ in the last letters."""
    end = limit // 3
    return text if len(text) <= limit else f"{text[: limit - 1 - end]}…{text[-end:]}"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that cover low..high, about `count` of them."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(step * i, 10) for i in range(first, last + 1)]


def bars(title: str, rows: Sequence[Bar], chance: float | None = None) -> Markup:
    """Horizontal bars with standard errors, and a dashed line at chance."""
    tops = [row.value + (row.error or 0.0) for row in rows] + [chance or 0.0]
    scale_ticks = ticks(min(0.0, *(row.value for row in rows)), max(*tops, 1e-9))
    low, high = scale_ticks[0], scale_ticks[-1]
    left, right, step = 150.0, 56.0, 26.0
    width, height = 480.0, 30 + step * len(rows)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - right)

    body = [_line(x(t), 6, x(t), height - 22, "grid") for t in scale_ticks]
    body += [_text(x(t), height - 8, f"{t:g}", "tick", "middle") for t in scale_ticks]
    for place, row in enumerate(rows):
        y = 8 + step * place
        start, end = sorted((x(max(low, 0.0)), x(row.value)))
        kind = "bar ours" if row.ours else "bar paper"
        body.append(_text(left - 8, y + 14, _short(row.label, 22), "label", "end"))
        body.append(
            f'<rect x="{start:.1f}" y="{y:.1f}" width="{max(end - start, 1):.1f}" height="18" '
            f'rx="3" class="{kind}"><title>{escape(row.label)}: {row.value:.2f}</title></rect>'
        )
        tip = x(row.value)
        if row.error:
            ends = x(row.value - row.error), x(row.value + row.error)
            body.append(_line(ends[0], y + 9, ends[1], y + 9, "whisker"))
            body += [_line(end, y + 5, end, y + 13, "whisker") for end in ends]
            tip = ends[1]
        body.append(
            _text(max(tip, x(max(low, 0.0))) + 5, y + 13, f"{row.value:.1f}{row.mark}", "value")
        )
    if chance is not None and low <= chance <= high:
        body.append(_line(x(chance), 2, x(chance), height - 22, "chance"))
    return svg(width, height, title, body, "bars")


def radar(title: str, axes: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """One polygon per row; values are shares 0..1 of each axis."""
    size, centre, radius = 480.0, 240.0, 105.0

    def point(axis: int, share: float) -> tuple[float, float]:
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        return centre + radius * share * math.cos(angle), 185 + radius * share * math.sin(angle)

    def polygon(values: Sequence[float], css: str) -> str:
        points = " ".join(
            f"{x:.1f},{y:.1f}" for x, y in (point(i, value) for i, value in enumerate(values))
        )
        return f'<polygon points="{points}" class="{css}"/>'

    body = [polygon([ring] * len(axes), "grid") for ring in (0.25, 0.5, 0.75, 1.0)]
    for place, name in enumerate(axes):
        x, y = point(place, 1.0)
        body.append(_line(centre, 185, x, y, "grid"))
        x, y = point(place, 1.1)
        anchor = "middle" if abs(x - centre) < 20 else "start" if x > centre else "end"
        body.append(_text(x, y + 4, _short(name, 19), "label", anchor))
    for number, (name, values) in enumerate(rows):
        body.append(polygon(values, f"series s{number % 6}"))
        y = 352 + 18 * number
        body.append(_line(20, y - 4, 50, y - 4, f"series s{number % 6}"))
        body.append(_text(58, y, _short(name, 60), "label"))
    return svg(size, 352 + 18 * len(rows), title, body, "radar")


def intervals(title: str, rows: Sequence[Span]) -> Markup:
    """Differences to published numbers: dot, 95 % interval, tolerance band, zero line."""
    reach = max(
        (abs(v) for r in rows for v in (r.value, r.low, r.high, r.tolerance) if v is not None),
        default=1.0,
    )
    scale_ticks = ticks(-reach, reach)
    low, high = scale_ticks[0], scale_ticks[-1]
    left, right, step, width = 230.0, 120.0, 28.0, 640.0
    height = 30 + step * len(rows)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - right)

    body = [_line(x(t), 6, x(t), height - 22, "grid") for t in scale_ticks]
    body += [_text(x(t), height - 8, f"{t:+g}", "tick", "middle") for t in scale_ticks]
    for place, row in enumerate(rows):
        y = 20 + step * place
        span = x(row.tolerance) - x(-row.tolerance)
        body.append(
            f'<rect x="{x(-row.tolerance):.1f}" y="{y - 9:.1f}" width="{span:.1f}" height="18" '
            'class="band"/>'
        )
        body.append(_text(left - 8, y + 4, _short(row.label, 36), "label", "end"))
        if row.low is not None and row.high is not None:
            body.append(_line(x(row.low), y, x(row.high), y, "whisker"))
            body += [_line(x(e), y - 4, x(e), y + 4, "whisker") for e in (row.low, row.high)]
        css = "dot " + row.verdict.replace(" ", "-")
        body.append(f'<circle cx="{x(row.value):.1f}" cy="{y:.1f}" r="5" class="{css}"/>')
        body.append(_text(width - right + 10, y + 4, f"{row.value:+.2f} {row.verdict}", "value"))
    body.append(_line(x(0), 2, x(0), height - 22, "zero"))
    return svg(width, height, title, body, "intervals")


def curves(title: str, series: Sequence[Series], axis: str = "step") -> Markup:
    """Lines over a shared axis, thinned to a few hundred points each."""
    points = [point for _, line in series for point in line]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    marks = ticks(min(ys), max(ys))
    low, high = marks[0], marks[-1]
    first, last = min(xs), max(max(xs), min(xs) + 1)
    width, height, left, bottom = 420.0, 220.0, 54.0, 34.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - first) / (last - first) * (width - left - 14)
        return across, height - bottom - (y - low) / ((high - low) or 1) * (height - bottom - 14)

    body = []
    for mark in marks:
        _, y = place(first, mark)
        body.append(_line(left, y, width - 14, y, "grid"))
        body.append(_text(left - 6, y + 4, f"{mark:g}", "tick", "end"))
    for number, (_, line) in enumerate(series):
        thin = line[:: max(1, len(line) // 300)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in (place(*p) for p in thin))
        body.append(f'<polyline points="{path}" class="series s{number % 6}"/>')
        if len(thin) == 1:
            px, py = place(*thin[0])
            body.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" class="series s{number % 6}"/>')
    body.append(_text(left, height - 10, f"{first:g}", "tick"))
    body.append(_text(width - 14, height - 10, f"{axis} {last:g}", "tick", "end"))
    return svg(width, height, title, body, "curves")
