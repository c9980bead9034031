"""A histogram as inline SVG: no script, sharp at any size."""

from collections.abc import Sequence

from markupsafe import Markup

from mtl_tf.report.scores import short


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
