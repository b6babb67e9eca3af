"""Charts as SVG text and a heat map as a PNG: static, small, readable at the width of a phone."""

import html
import math

import numpy as np
from PIL import Image

from keras_tricks.report.images import data_url

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 38  # margins
COLORS = ("#b3202c", "#1f5fa8", "#2c7a3f", "#8a5a00")
POINTS = 400  # largest number of points of a line


def line_chart(title, x_label, x, series, low=None):
    """An SVG with its title and legend.

    Args:
        title, x_label: texts.
        x: numbers, one per point.
        series: {label: numbers or NaN}. Those without a number are left out.
        low: lower limit of the vertical axis. Defaults to `None`: that of the values.

    Returns:
        HTML text; empty without values.
    """
    series = {label: values for label, values in series.items() if any(map(math.isfinite, values))}
    if not series:
        return ""
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    ticks = _ticks(min(finite) if low is None else min(low, *finite), max(finite))
    place = _Scale(x[0], x[-1], ticks[0], ticks[-1])
    parts = [_axes(place, ticks, _ticks(x[0], x[-1], whole=True), x_label)]
    for color, values in zip(COLORS, series.values(), strict=False):
        parts.append(_line(place, x, values, color))
    legend = "".join(f'<span><i style="background:{color}"></i>{html.escape(label)}</span>'
                     for color, label in zip(COLORS, series, strict=False))
    return _figure(title, parts, legend)


def reliability_chart(title, curves):
    """A reliability diagram: accuracy against confidence, with the diagonal.

    Args:
        title: text.
        curves: {label: `Reliability`}.
    """
    place = _Scale(0.0, 100.0, 0.0, 100.0)
    parts = [_axes(place, [0, 25, 50, 75, 100], [0, 25, 50, 75, 100], "confidence, %"),
             _line(place, (0.0, 100.0), (0.0, 100.0), "#999", dashed=True)]
    for color, found in zip(COLORS, curves.values(), strict=False):
        used = found.images > 0
        parts.append(_line(place, 100 * found.confidence[used], 100 * found.accuracy[used], color, dots=True))
    legend = "".join(f'<span><i style="background:{color}"></i>{html.escape(label)}</span>'
                     for color, label in zip(COLORS, curves, strict=False))
    return _figure(title, parts, legend)


def histogram(title, found):
    """The share of the images in each bin of confidence of a `Reliability`."""
    shares = 100 * found.images / max(found.images.sum(), 1)
    ticks = _ticks(0.0, float(shares.max()))
    place = _Scale(0.0, 100.0, 0.0, ticks[-1])
    parts = [_axes(place, ticks, [0, 25, 50, 75, 100], "confidence, %")]
    for low, high, share in zip(found.edges, found.edges[1:], shares, strict=False):
        left, right, top = place.x(100 * low), place.x(100 * high), place.y(share)
        parts.append(f'<rect x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" '
                     f'height="{place.y(0.0) - top:.1f}" fill="{COLORS[1]}"/>')
    return _figure(title, parts, "")


def heat_map(matrix):
    """A `data:` URL of a PNG with one pixel per cell: white for 0, darker with the logarithm of the count."""
    shades = np.log1p(matrix) / max(np.log1p(matrix.max()), 1e-9)
    low, high = np.array([255, 255, 255.0]), np.array([94, 8, 20.0])
    pixels = np.rint(low + shades[..., None] * (high - low)).astype("uint8")
    pixels[(matrix > 0) & (shades < 0.15)] = (244, 200, 190)  # a single image stays visible
    return data_url(Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE, colors=64), "PNG")


class _Scale:
    """Numbers to pixels."""

    def __init__(self, x_low, x_high, y_low, y_high):
        self.x_low, self.x_span = x_low, (x_high - x_low) or 1.0
        self.y_low, self.y_span = y_low, (y_high - y_low) or 1.0

    def x(self, value):
        return LEFT + (value - self.x_low) / self.x_span * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - (value - self.y_low) / self.y_span * (HEIGHT - TOP - BOTTOM)


def _ticks(low, high, whole=False):
    """Round numbers from at most `low` to at least `high`; integers within both if `whole`."""
    if low == high and not whole:  # a constant: from 0 to it
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    if whole:
        step = max(round(step), 1)
        return [v for v in range(math.ceil(low / step) * step, math.floor(high) + 1, step)] or [low]
    first = math.floor(low / step + 1e-9)
    return [round(i * step, 12) for i in range(first, math.ceil(high / step - 1e-9) + 1)] or [low, low + step]


def _axes(place, y_ticks, x_ticks, x_label):
    parts = []
    for value in y_ticks:
        y = place.y(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
                     f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    parts += [f'<text x="{place.x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{_number(value)}</text>'
              for value in x_ticks]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{html.escape(x_label)}</text>')
    return "".join(parts)


def _line(place, x, y, color, dashed=False, dots=False):
    """A line through the values that are not missing; a single point is a dot."""
    numbers = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).astype(int)) if len(x) else []
    points = [(place.x(float(x[i])), place.y(float(y[i]))) for i in numbers if math.isfinite(y[i])]
    found = ""
    if len(points) > 1:
        text = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        style = ' stroke-dasharray="4 3"' if dashed else ""
        found = f'<polyline points="{text}" fill="none" stroke="{color}" stroke-width="1.8"{style}/>'
    if dots or len(points) == 1:
        found += "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in points)
    return found


def _number(value):
    return f"{value:.6g}" if abs(value) < 1e5 else f"{value:.0e}"


def _figure(title, parts, legend):
    return (f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{html.escape(title)}">{"".join(parts)}</svg><div class="legend">{legend}</div></figure>')
