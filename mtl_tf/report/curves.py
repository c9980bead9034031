"""Line charts and histograms as inline SVG: no script, no library, sharp at any size."""

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 400, 236  # units of the view box, about pixels on a page
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 28
MOST_POINTS = 240  # a longer curve is averaged down: more points than pixels only make the page heavy
LOG_FROM = 30.0  # positive values that span more than this factor get a log axis


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        label: its name in the legend.
        points: (x, y) pairs; a y of None is left out.
        colour: 0..3; the same for the same thing in all charts of a page.
    """

    label: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0

    def drawn(self) -> list[tuple[float, float]]:
        """The points in order of x, one for each x (the last wins: a resumed run repeats steps), averaged down."""
        unique = sorted({x: y for x, y in self.points if y is not None}.items())
        size = math.ceil(len(unique) / MOST_POINTS)
        if size <= 1:
            return unique
        chunks = [unique[i : i + size] for i in range(0, len(unique), size)]
        return [tuple(sum(part) / len(chunk) for part in zip(*chunk, strict=True)) for chunk in chunks]


def chart(title: str, curves: Sequence[Curve], x_name: str, note: str = "", scale: str = "tight") -> Markup | None:
    """A figure with axes, a legend and one line for each curve.

    Args:
        title: what is drawn, with its unit.
        curves: at most four; one without points is left out.
        x_name: name of the horizontal axis.
        note: a remark beside the title.
        scale: of the vertical axis: "tight" around the values; "zero": from 0; "log": tight, and logarithmic where
            positive values span more than a factor of 30.

    Returns:
        A `figure` element, or None if there is nothing to draw.
    """
    lines = [(curve.label, curve.colour, points) for curve in curves if (points := curve.drawn())]
    if not lines:
        return None
    xs = [x for *_, points in lines for x, _ in points]
    ys = [y for *_, points in lines for _, y in points]
    across = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, whole=True)
    low, high = min(ys), max(ys)
    low = min(low, 0) if scale == "zero" else low
    log = scale == "log" and low > 0 and high / low > LOG_FROM
    up = _Axis(low, high, HEIGHT - BOTTOM, TOP, log=log, padded=True)
    parts = []
    for value, label in up.ticks(5):
        y = up.place(value)
        parts.append(Markup('<path class="rule" d="M{} {:.1f}H{}"/>').format(LEFT, y, WIDTH - RIGHT))
        parts.append(Markup('<text class="y" x="{}" y="{:.1f}">{}</text>').format(LEFT - 6, y + 4, label))
    for value, label in across.ticks(5):
        parts.append(
            Markup('<text class="x" x="{:.1f}" y="{}">{}</text>').format(across.place(value), HEIGHT - 9, label)
        )
    parts.append(Markup('<text class="y" x="{}" y="{}">{}</text>').format(LEFT - 11, HEIGHT - 9, x_name))
    for _, colour, points in lines:
        path = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in points)
        parts.append(Markup('<polyline class="line c{}" points="{}"/>').format(colour, path))
        parts.append(_dots(points, across, up, colour, x_name))
    legend = Markup("").join(
        Markup('<li class="c{}">{} <b>{}</b></li>').format(colour, label, short(points[-1][1]))
        for label, colour, points in lines
    )
    remark = ", ".join(filter(None, (note, "log scale" if log else "")))
    return Markup(
        '<figure class="chart"><figcaption><h3>{}</h3><span>{}</span></figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        '<ul class="legend">{}</ul></figure>'
    ).format(title, remark, WIDTH, HEIGHT, f"{title} by {x_name}", Markup("").join(parts), legend)


def histogram(values: Sequence[float], bins: int = 24) -> Markup:
    """A small histogram of at least one value, from the smallest to the largest."""
    low, high = min(values), max(values)
    counts = [0] * bins
    for value in values:
        place = (value - low) / (high - low) if high > low else 0.5
        counts[min(bins - 1, int(place * bins))] += 1
    bars = Markup("").join(
        Markup('<rect x="{}" y="{:.1f}" width="4" height="{:.1f}"/>').format(
            5 * i, 26 - 26 * n / max(counts), 26 * n / max(counts)
        )
        for i, n in enumerate(counts)
        if n
    )
    label = f"{len(values)} images from {short(low)} to {short(high)}"
    return Markup(
        '<svg class="histogram" viewBox="0 0 {} 27" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(5 * bins, label, bars)


def short(value: float) -> str:
    """A number in few characters: four significant digits, powers of ten where it is tiny or huge."""
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{round(value):d}" if abs(value) >= 1000 else f"{value:.4g}"


def _dots(points, across, up, colour, x_name):
    """The points themselves where they are few; each tells its values when pointed at."""
    if len(points) > 40:
        return Markup("")
    return Markup("").join(
        Markup('<circle class="c{}" cx="{:.1f}" cy="{:.1f}" r="2.5"><title>{}</title></circle>').format(
            colour, across.place(x), up.place(y), f"{x_name} {x:g}: {short(y)}"
        )
        for x, y in points
    )


class _Axis:
    """Maps values to places between two ends and chooses round ticks."""

    def __init__(self, low, high, start, end, *, log=False, whole=False, padded=False):
        self.log, self.whole, self.start, self.end = log, whole, start, end
        low, high = self._scale(low), self._scale(high)
        if low == high:
            room = abs(low) * 0.1 or 1.0
            low, high = low - room, high + room
        elif padded:
            room = (high - low) * 0.06
            low, high = low - room, high + room
        self.low, self.high = low, high

    def _scale(self, value):
        return math.log10(value) if self.log else value

    def place(self, value):
        return self.start + (self._scale(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about):
        """Round (value, label) pairs inside the axis."""
        if self.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            mantissas = (1, 2, 5) if self.high - self.low < 1.7 else (1,)
            values = [m * 10.0**p for p in powers for m in mantissas]
            values = [v for v in values if self.low <= math.log10(v) <= self.high]
            values = values[:: math.ceil(len(values) / 6) or 1]
        else:
            step = _round_step((self.high - self.low) / about)
            step = max(1, step) if self.whole else step
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            values = [round(i * step, 12) for i in range(first, last + 1)]
        return [(value, short(value)) for value in values]


def _round_step(rough):
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
