"""Whether a published ordering holds here, and whether rows differ from a reference: sentences computed of figures and
their spread, never typed."""

import itertools
import math

from mtl_tf.study.columns import Columns
from mtl_tf.study.results import ResultRow
from mtl_tf.tuning.trial import DONE

HOLDS, OPEN, REVERSED = "holds", "is within the spread", "is reversed"
SPREAD = (
    "The spread that a difference is compared with is the root mean square of the sample standard deviations over the "
    "seeds of the two rows; a row with one seed counts with that of all rows that have several."
)


def verdict(column: str, rows: list[ResultRow], columns: Columns, noise: float | None = None) -> str | None:
    """A sentence on one column of a table; None where fewer than two rows have a published figure.

    Args:
        column: name of a column of which one way is better.
        rows: of the table; a row that the report calls failed stands last in the published order.
        columns: of the study.
        noise: standard deviation of one run, from rows with several seeds; used for rows with one seed. Where there
            is neither, the sign of a difference decides and the sentence says so.
    """
    published = [row for row in rows if isinstance(row.published.get(column), (int, float))]
    lost = (
        [row for row in rows if "status" in row.published and row not in published]
        if column == columns.standing
        else []
    )
    if len(published) + len(lost) < 2 or not published:
        return None
    said, sign = columns.all[column].said, 1 if columns.all[column].higher else -1
    order = sorted(published, key=lambda row: -sign * row.published[column]) + lost
    theirs = " > ".join(row.row.name for row in order) if sign > 0 else " < ".join(row.row.name for row in order)
    missing = [row for row in order if column not in row.figures and not row.failed]
    if missing:
        why = {DONE: f"has no {said}"}
        named = ", ".join(f"{row.row.name} ({why.get(row.status, row.status)})" for row in missing)
        order = [row for row in order if row not in missing]
        if len(order) < 2:
            return f"Published {said}: {theirs}. Not comparable: {named}."
    pairs = list(itertools.combinations(order, 2))
    found = [_compare(column, better, worse, sign, noise) for better, worse in pairs]
    kinds = [kind for kind, _ in found]
    blind = any(unknown for _, unknown in found)
    text = f"Published {said}: {theirs}. "
    if kinds.count(HOLDS) == len(kinds):
        text += "The ordering holds here"
    elif REVERSED not in kinds:
        text += "The ordering is not contradicted here, but not every step of it is beyond the spread"
    else:
        text += "The ordering does not hold here"
    counted = ((HOLDS, "hold"), (OPEN, "within the spread"), (REVERSED, "reversed"))
    text += " (pairs: " + ", ".join(f"{kinds.count(kind)} {words}" for kind, words in counted)
    turned = [f"{a.row.name} and {b.row.name}" for (a, b), kind in zip(pairs, kinds, strict=True) if kind == REVERSED]
    text += f": {'; '.join(turned)})." if turned else ")."
    if blind:
        text += " Single runs: the spread is not known, the sign alone was compared."
    if missing:
        text += f" Left out: {named}."
    return text


def difference(column: str, row: ResultRow, reference: ResultRow, columns: Columns, noise: float | None) -> str:
    """A sentence on how far a row is from another, and whether that is more than their spread (`SPREAD`).

    Args:
        column: name of the column that is compared.
        row: what the sentence is about.
        reference: what it is compared with.
        columns: of the study.
        noise: standard deviation of one run, from rows with several seeds; that of a row with one seed.
    """
    said, other = columns.all[column].said, reference.row.name
    for each in (row, reference):
        if each.failed or column not in each.figures:
            why = f"no {said}" if each.status == DONE else each.status
            return f"Not compared: {each.row.name} ({why})."
    ours, theirs = row.figures[column], reference.figures[column]
    show = columns.all[column].show
    gap = ours.mean - theirs.mean
    text = f"{row.row.name}: {said} {show(abs(gap))} {'below' if gap < 0 else 'above'} {other}"
    spreads = [noise if figure.spread is None else figure.spread for figure in (ours, theirs)]
    if None in spreads:
        return f"{text}; single runs, the spread is not known."
    spread = math.hypot(*spreads) / math.sqrt(2)
    return f"{text}, {'beyond' if abs(gap) > spread else 'within'} the spread ({show(spread)})."


def noise_of(column: str, rows: list[ResultRow]) -> float | None:
    """Root mean square of the spreads of all rows with several seeds; None where there are none."""
    spreads = [row.figures[column].spread for row in rows if column in row.figures]
    known = [spread for spread in spreads if spread is not None]
    return math.sqrt(sum(spread**2 for spread in known) / len(known)) if known else None


def _compare(column, better: ResultRow, worse: ResultRow, sign, noise) -> tuple[str, bool]:
    """What becomes of a published "better than" here, and whether the spread was unknown."""
    if better.failed or worse.failed:
        # A failed run is worse than any that ended; two failed ones do not differ.
        return (OPEN if better.failed and worse.failed else REVERSED if better.failed else HOLDS), False
    ours, theirs = better.figures[column], worse.figures[column]
    gain = sign * (ours.mean - theirs.mean)
    errors = [_standard_error(figure, noise) for figure in (ours, theirs)]
    if None in errors:
        return (HOLDS if gain > 0 else REVERSED), True
    # Twice the standard error of the difference of two means.
    if abs(gain) <= 2 * math.hypot(*errors):
        return OPEN, False
    return (HOLDS if gain > 0 else REVERSED), False


def _standard_error(figure, noise):
    spread = noise if figure.spread is None else figure.spread
    return None if spread is None else spread / math.sqrt(len(figure.values))
