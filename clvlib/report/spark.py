"""Small charts that stand in a line of a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from markupsafe import Markup

from clvlib.report.form import show
from clvlib.words import tr, trn

__all__ = ["sparkline"]

_WIDE, _HIGH, _EDGE = 120.0, 28.0, 3.0


def sparkline(points: Sequence[float | None], unit: str, currency: str) -> Markup:
    """Draw the last weeks of a figure, this one as a dot; weeks that are not known leave a gap.

    Parameters
    ----------
    points : sequence of float or None
        A value per week, this one last.
    unit, currency : str
        For the words that stand for the picture.

    Returns
    -------
    markupsafe.Markup
        Inline SVG; empty where fewer than two weeks are known.

    Examples
    --------
    >>> str(sparkline([1, None, 2], "count", "")).split('"')[11]
    'last 3 weeks: from 1 to 2, lowest 1, highest 2, 1 week not known'
    """
    known = [point for point in points if point is not None]
    if len(known) < 2:
        return Markup("")
    low, high = min(known), max(known)
    step, height = (_WIDE - 2 * _EDGE) / (len(points) - 1), _HIGH - 2 * _EDGE

    def place(i: int, value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{_EDGE + i * step:.1f},{_HIGH - _EDGE - share * height:.1f}"

    placed = [None if value is None else place(i, value) for i, value in enumerate(points)]
    runs = [[p for p in run if p] for there, run in groupby(placed, bool) if there]
    lines = "".join(f'<polyline points="{" ".join(run if len(run) > 1 else run * 2)}"/>' for run in runs)
    x, y = next(p for p in reversed(placed) if p).split(",")
    dot = f'<circle cx="{x}" cy="{y}" r="2.5"/>' if placed[-1] else ""
    return Markup(  # noqa: S704 - numbers, and words that are escaped
        f'<svg class="spark" viewBox="0 0 {_WIDE:g} {_HIGH:g}" width="{_WIDE:g}" height="{_HIGH:g}" role="img" '
        f'aria-label="{escape(_words(points, known, unit, currency))}">{lines}{dot}</svg>'
    )


def _words(points: Sequence[float | None], known: Sequence[float], unit: str, currency: str) -> str:
    first, last, low, high = (
        show(value, unit, currency, short=True) for value in (known[0], known[-1], min(known), max(known))
    )
    absent = len(points) - len(known)
    gap = trn(", {n} week not known", ", {n} weeks not known", absent) if absent else ""
    return tr(
        "last {n} weeks: from {first} to {last}, lowest {low}, highest {high}{gap}",
        n=len(points),
        first=first,
        last=last,
        low=low,
        high=high,
        gap=gap,
    )
