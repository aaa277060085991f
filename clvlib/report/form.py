"""How figures are written for readers: one way per unit, in cells of tables, in KPIs and on the page."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from decimal import Decimal
from html import escape
from math import ceil, floor, isfinite, log10
from typing import Any, Final

import pandas as pd

from clvlib.errors import ParameterError
from clvlib.report.heads import HEADS, VALUES
from clvlib.report.tables import column_names
from clvlib.words import MODELS, begun, cents, currency_symbol, in_words, language, mark, tr

__all__ = [
    "ABSENT",
    "UNITS",
    "frame_cells",
    "heading",
    "html_table",
    "is_absent",
    "list_label",
    "outcomes",
    "show",
    "show_change",
    "text_table",
    "worth",
]

ABSENT: Final = "—"  # what stands where there is no number: never NaN

# unit -> what it means; a unit of time is written behind its number
UNITS: Final = {
    "count": "a number of things",
    "money": "an amount in the shop's currency",
    "share": "a proportion, written as per cent",
    "points": "a difference of proportions, written as percentage points",
    "ratio": "a quotient",
    "score": "a grade on a scale",
    "p_value": "a probability under a hypothesis",
    "number": "anything else",
    "minutes": "a time",
    "hours": "a time",
    "days": "a time",
    "weeks": "a time",
}
_TIMES: Final = {
    "minutes": mark("{n} minutes"),
    "hours": mark("{n} hours"),
    "days": mark("{n} days"),
    "weeks": mark("{n} weeks"),
}
_NAMES: Final = {
    *VALUES,
    *HEADS,
    "age_band",
    "city_tier",
    "income_band",
    "host_id",
    "last_period",
    "average_rate",
    *MODELS,
}
_VERBATIM: Final = {"table", "file", "example"}  # columns of names that are the same in every language
# language -> where a number has room for few digits: powers of ten, and what stands for them
_BIG: Final = {"en": ((9, "B"), (6, "M")), "zh": ((8, "亿"), (4, "万"))}
_LONG: Final = 30  # letters of a cell that on a phone needs room of its own
_FEW: Final = 20  # things, whose change is written with a decimal where it is no whole number


def is_absent(value: Any) -> bool:
    """Whether there is no number (or no value) here: None, NaN, NaT, NA or an infinity.

    >>> is_absent(float("nan")), is_absent(None), is_absent(0), is_absent("")
    (True, True, False, False)
    """
    if isinstance(value, float):
        return not isfinite(value)
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _plain(value: float, decimals: int | None = None) -> str:
    size = abs(value)
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    return f"{value:,.0f}" if size >= 99.95 else f"{value:.3g}" if size >= 0.001 or size == 0 else f"{value:.2g}"


def _short(value: float, decimals: int, *, short: bool) -> str:
    """Thousands separators; where there is little room, a letter from a million, or from 万, on."""
    for power, letter in _BIG[language()]:
        part = value / 10**power
        if short and abs(part) >= 1:
            few = 0 if part == round(part) or abs(part) >= 1000 else 1 if abs(part) >= 100 else 2
            return f"{part:,.{few}f}{letter}"
    return f"{value:,.{decimals}f}"


def show(
    value: Any, unit: str = "number", currency: str = "", *, short: bool = False, decimals: int | None = None
) -> str:
    """Write one figure, rounded, as readers expect it in its unit.

    Parameters
    ----------
    value : float or None
        The figure. What is absent becomes an em dash.
    unit : str
        One of :data:`UNITS`, or a format specification of Python such as ``".2f"``.
    currency : str
        ISO 4217 code, for money.
    short : bool
        From a million on, write ``1.23M``; in Chinese from ten thousand on, ``123.5万``.
    decimals : int, optional
        Of amounts, quotients, scores and times, in place of what their size asks for.

    Raises
    ------
    ParameterError
        The unit is unknown.

    Examples
    --------
    >>> show(1234567.8, "money", "CNY"), show(1234567.8, "money", "CNY", short=True), show(9.5, "money", "USD")
    ('¥1,234,568', '¥1.23M', '$9.50')
    >>> show(0.1234, "share"), show(-0.032, "points"), show(26, "weeks")
    ('12.3%', '−3.2 pp', '26 weeks')
    >>> show(0.00012, "share"), show(5e-7, "share")
    ('0.01%', '0.00005%')
    >>> show(12345, "count"), show(19.9, "count"), show(0.42, "count")
    ('12,345', '20', '0.4')
    >>> show(float("nan"), "money"), show(3.14159, ".2f"), show(3.14159)
    ('—', '3.14', '3.14')
    """
    if is_absent(value):
        return ABSENT
    number = float(value)
    match unit:
        case "money":
            few = cents(number, currency) if decimals is None else decimals
            text = _short(abs(number), few, short=short)
            return f"{'−' if number < 0 else ''}{currency_symbol(currency)}{text}"
        case "count":
            # of what is to be expected: less than one is not none
            text = f"{number:.1g}" if 0 < abs(number) < 1 else _short(number, 0, short=short)
        case "share":
            text = (
                f"{100 * number:.1f}%"
                if abs(number) >= 0.0005 or number == 0
                else f"{Decimal(f'{100 * number:.1g}'):f}%"
            )
        case "points":
            text = tr("{points:+.1f} pp", points=100 * number)
        case "p_value":
            text = f"{number:.2g}" if number >= 0.0001 else "<0.0001"
        case "ratio" | "score" | "number":
            text = _plain(number, decimals)
        case _ if unit in _TIMES:
            text = tr(_TIMES[unit], n=_plain(number, decimals))
        case _:
            try:
                text = format(number, unit)
            except ValueError:
                raise ParameterError(f"unit {unit!r} is none of {', '.join(UNITS)}, nor a format like '.2f'") from None
    return text.replace("-", "−")


def worth(figure: Mapping[str, Any], currency: str = "") -> str:
    """Write an amount of money with its interval, where it has one.

    >>> worth({"value": 120.0, "lower": 80.0, "upper": 160.0}, "CNY"), worth({"value": 5, "lower": None, "upper": None})
    ('¥120 (¥80.00 to ¥160)', '5.00')
    """
    value, lower, upper = (show(figure[end], "money", currency, short=True) for end in ("value", "lower", "upper"))
    if figure["lower"] is None or figure["upper"] is None:
        return value
    return tr("{value} ({lower} to {upper})", value=value, lower=lower, upper=upper)


def outcomes(lower: float | None, upper: float | None, unit: str) -> tuple[float | None, float | None]:
    """Return the ends of an interval for what will be seen, as it is written: things that are counted are whole.

    What comes then lies within what is written if and only if it lies within the interval.

    >>> outcomes(19.9, 146.6, "count"), outcomes(19.9, 146.6, "money"), outcomes(0.2, 0.7, "count")
    ((20, 146), (19.9, 146.6), (0.2, 0.7))
    """
    if unit != "count" or lower is None or upper is None or is_absent(lower) or is_absent(upper):
        return lower, upper
    first, last = ceil(lower), floor(upper)
    return (first, last) if first <= last else (lower, upper)


def show_change(
    value: Any, unit: str = "number", currency: str = "", *, short: bool = False, beside: float | None = None
) -> str:
    """Write by how much a figure moved, with its sign; shares move by points.

    Parameters
    ----------
    value, unit, currency, short
        As in :func:`show`.
    beside : float, optional
        The figure: what it moved by is written with as many decimals, where that leaves a digit of it.

    Examples
    --------
    >>> show_change(1500, "money", "CNY"), show_change(-2, "count"), show_change(0.031, "share")
    ('+¥1,500', '−2', '+3.1 pp')
    >>> show_change(21.43, "money", "CNY", beside=221.9), show_change(0.833, "score", beside=4.09)
    ('+¥21', '+0.83')
    """
    decimals = (
        None if is_absent(beside) or is_absent(value) else _decimals(max(abs(beside or 0), abs(value)), unit, currency)
    )
    if decimals is not None and not round(value, decimals):
        decimals = None
    text = show(value, "points" if unit == "share" else unit, currency, short=short, decimals=decimals)
    if unit == "count" and not is_absent(value) and 1 <= abs(value) < _FEW and value != round(value):
        text = f"{value:.1f}".replace("-", "−")  # what is usual ends between two numbers of things
    return f"+{text}" if not is_absent(value) and value > 0 and not text.startswith("+") else text


def _decimals(size: float, unit: str, currency: str) -> int | None:
    """Return with how many decimals a figure of a size is written; None where its unit says that by itself."""
    if unit == "money":
        return cents(size, currency)
    if unit in {"ratio", "score", "number", *_TIMES}:
        return 0 if size >= 99.95 else 2 - floor(log10(size)) if size >= 0.001 else None
    return None


def _moment(value: dt.datetime) -> str:
    return value.date().isoformat() if value.time() == dt.time(0) else value.strftime("%Y-%m-%d %H:%M")


def _word(value: str) -> str:
    """Return a value of a column in the language spoken now: the library's own names are words, the data's stay."""
    return in_words(value) if value in _NAMES else tr(value)


def _cell(value: Any, unit: str, currency: str, *, verbatim: bool = False) -> str:
    text = _word(value) if isinstance(value, str) and not verbatim else str(value)
    if is_absent(value):
        text = ABSENT
    elif isinstance(value, pd.Interval):
        text = tr(
            "{lower} to {upper}", lower=_cell(value.left, unit, currency), upper=_cell(value.right, unit, currency)
        )
    elif unit and not isinstance(value, str):
        text = show(value, unit, currency)
    elif isinstance(value, bool):
        text = tr("yes") if value else tr("no")
    elif isinstance(value, int):
        text = f"{value:,}".replace("-", "−")
    elif isinstance(value, (float, Decimal)):
        text = show(value)
    elif isinstance(value, dt.datetime):  # pandas.Timestamp too
        text = _moment(value)
    return text


def frame_cells(
    frame: pd.DataFrame, formats: dict[str, str], currency: str
) -> tuple[list[str], list[list[str]], list[bool]]:
    """Turn a frame into headings, rounded cells and, per column, whether it holds numbers.

    The index comes first where it says something: when it has a name, or is anything but a running number.
    """
    if any(frame.index.names) or not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(
            names=[str(n) if n is not None else "" for n in frame.index.names], allow_duplicates=True
        )
    heads = column_names(frame)
    columns = [column for _, column in frame.items()]
    numeric = [
        bool(pd.api.types.is_numeric_dtype(c.dtype) and not pd.api.types.is_bool_dtype(c.dtype)) for c in columns
    ]
    cells = [
        [_cell(v, formats.get(head, ""), currency, verbatim=head in _VERBATIM) for v in column.tolist()]
        for head, column in zip(heads, columns, strict=True)
    ]
    return heads, [list(row) for row in zip(*cells, strict=True)], numeric


def heading(name: str) -> str:
    """Return what stands above a column.

    >>> heading("frequency"), heading("top_lift")
    ('frequency', 'top lift')
    """
    return tr(HEADS.get(name, name.replace("_", " ")))


def list_label(name: str) -> str:
    """Return the name of a list, as it stands at the beginning of a line.

    >>> list_label("coupon_48h")
    'Coupon 48h'
    """
    return begun(tr(name).replace("_", " "))


def _intervals(heads: list[str], numeric: list[bool]) -> dict[int, tuple[int, ...]]:
    """Return the places of estimates, each with that of its interval, or those of its ends.

    One that is a column of its own follows its estimate. The ends of ``x`` are ``x_lower`` and ``x_upper``; where no
    column has that name, they are of the one before them, or before its standard error.
    """
    found: dict[int, tuple[int, ...]] = {}
    for lower, head in enumerate(heads):
        if head.endswith("_interval") and lower and numeric[lower - 1]:
            found[lower - 1] = (lower,)
        name = head.removesuffix("lower")
        if name == head or f"{name}upper" not in heads:
            continue
        upper, own = heads.index(f"{name}upper"), name.removesuffix("_")
        before = lower - 1 - (heads[lower - 1] == "standard_error")
        place = heads.index(own) if own in heads and own else before if upper == lower + 1 else -1
        known = place >= 0 and not heads[place].endswith(("lower", "upper"))
        if known and numeric[place] and numeric[lower] and numeric[upper]:
            found[place] = (lower, upper)
    return found


def html_table(heads: list[str], rows: list[list[str]], numeric: list[bool], caption: str = "", note: str = "") -> str:
    """Write a table: everything escaped, numbers to the right, in a box of its own that scrolls on small screens.

    An interval stands below its estimate, so that what belongs together is together and a table of many fits the page.
    """
    intervals = _intervals(heads, numeric)
    below = set(itertools.chain.from_iterable(intervals.values()))

    def cell(cells: list[str], place: int, tag: str) -> str:
        text = escape(cells[place])
        if place in intervals and tag == "th":
            text += f"<br><small>{escape(tr('interval'))}</small>"
        elif place in intervals and {*(ends := [cells[end] for end in intervals[place]])} != {ABSENT}:
            span = tr("{lower} to {upper}", lower=ends[0], upper=ends[1]) if len(ends) > 1 else ends[0]
            text += f"<br><small>{escape(span)}</small>"
        scope = ' scope="col"' if tag == "th" else ""
        side = ' class="num" style="text-align:right"' if numeric[place] else ' style="text-align:left"'
        if tag == "td" and not numeric[place] and len(cells[place]) > _LONG:
            side = ' class="long" style="text-align:left"'
        return f"<{tag}{scope}{side}>{text}</{tag}>"

    def row(cells: list[str], tag: str) -> str:
        return "".join(cell(cells, place, tag) for place in range(len(cells)) if place not in below)

    heads = [heading(head) for head in heads]
    label = escape(caption or tr("table"))
    body = "".join(f"<tr>{row(cells, 'td')}</tr>\n" for cells in rows)
    title = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    foot = f'<p class="clv-note">{escape(note)}</p>' if note else ""
    return (
        f'<div class="clv-table" role="group" tabindex="0" aria-label="{label}"><table>\n{title}'
        f"<thead><tr>{row(heads, 'th')}</tr></thead>\n<tbody>\n{body}</tbody></table></div>{foot}"
    )


def text_table(heads: list[str], rows: list[list[str]], numeric: list[bool], caption: str = "", note: str = "") -> str:
    """Write the same table as aligned plain text."""
    heads = [heading(head) for head in heads]
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: list[str]) -> str:
        padded = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True))
        return "  ".join(padded).rstrip()

    return "\n".join(filter(None, [caption, line(heads), *map(line, rows), note]))
