"""Which days of a week were unlike what the weeks before them led to expect (A2, X2), from the orders alone."""

from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from clvlib.audience.period import purchases
from clvlib.audience.slots import SHORT_DAYS
from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import language, mark, tr, trn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["UnusualDays", "plot_unusual_days", "unusual_days"]

Array = NDArray[np.float64]

_LEARN = 6  # weeks that a forecast needs before it
_GRADE = 4  # weeks whose forecasts must have been graded
_USUAL, _HIGH, _LOW = mark("usual"), mark("high"), mark("low")
_TOLD = {
    "high": mark("{day} was high (orders: {orders:,}, expected: {expected:,.0f})"),
    "low": mark("{day} was low (orders: {orders:,}, expected: {expected:,.0f})"),
}
_RULES = {"high": mark("unusually high day"), "low": mark("unusually low day")}


@dataclass(frozen=True)
class UnusualDays(Result):
    """A week's days against their forecasts.

    ``table`` has a row per day of the week: ``day``, ``weekday``, ``orders``, ``expected``, ``lower``, ``upper`` (the
    range that holds all seven days at once with probability ``level``), ``verdict`` (usual, high, low).

    Attributes
    ----------
    level : float
        Probability that an ordinary week lies within its limits on every day.
    graded : int
        Days of earlier weeks on which such forecasts were tried; the limits come from their errors.
    history : pandas.DataFrame
        ``day``, ``orders`` of the weeks before.
    """

    level: float
    graded: int
    history: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """Which days stand out, in words."""
        out = self.table[self.table["verdict"] != "usual"]
        if out.empty:
            return tr("No day was unusual: all seven lie within what the weeks before led to expect")
        told = [
            tr(
                _TOLD[row["verdict"]],
                day=_written(row["day"], tr("EEE dd MMM")),
                orders=row["orders"],
                expected=row["expected"],
            )
            for row in out.to_dict("records")
        ]
        return tr("; ").join(told)

    def alerts(self) -> list[dict[str, Any]]:
        """Return an alert per unusual day, as ``Chapter.alert`` takes it; a lack weighs more than a rush."""
        return [
            {
                "rule": tr(_RULES[row["verdict"]]),
                "text": trn(
                    "{n} order; {lower:,.0f} to {upper:,.0f} were to be expected",
                    "{n:,} orders; {lower:,.0f} to {upper:,.0f} were to be expected",
                    row["orders"],
                    lower=row["lower"],
                    upper=row["upper"],
                ),
                "segment": _written(row["day"], tr("EEEE dd MMMM")),
                "severity": "medium" if row["verdict"] == "low" else "low",
                "time": True,
                "metric": "orders",
                "good": row["verdict"] != "low",
            }
            for row in self.table[self.table["verdict"] != "usual"].to_dict("records")
        ]


def _written(day: dt.date, pattern: str) -> str:
    """Write a day by a pattern of Unicode's, with the names of days and months in the language spoken now."""
    from babel.dates import format_date

    return str(format_date(day, pattern, locale=language()))


def unusual_days(orders: Table | pd.DataFrame, week: Week, weeks: int = 26, level: float = 0.95) -> UnusualDays:
    """Hold each day of a week against a forecast from the weeks before it.

    The square root of a day's orders, which makes the spread of counts even, is split into trend and weekday by a
    robust seasonal decomposition (STL: Cleveland, Cleveland, McRae & Terpenning 1990, by statsmodels). The last level
    of the trend and the weekday's effect are the forecast. The same is done for each earlier week from what came before
    it, and the robust spread of those errors, which are honest because no forecast saw its day, sets the limits.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        Orders from at least ten weeks before ``week`` on; purchases count.
    week : Week
        The week to judge.
    weeks : int
        How many weeks before it are looked at, at most.
    level : float
        Probability that none of seven ordinary days is called unusual.

    Returns
    -------
    UnusualDays

    Raises
    ------
    EmptyDataError
        The orders begin less than ten weeks before the week.
    ParameterError
        ``weeks`` is below ten, or ``level`` outside (0, 1).
    """
    least = _LEARN + _GRADE
    if weeks < least or not 0 < level < 1:
        raise ParameterError(
            f"weeks is at least {least} and level between 0 and 1; found weeks={weeks}, level={level:g}"
        )
    counts = _counts(purchases(as_table(orders, "orders")), week, weeks)
    past, now = counts[:-7], counts[-7:]
    if len(past) < 7 * least:
        raise EmptyDataError(
            tr(
                "the orders reach {n} whole weeks before {week}; {least} are needed to say what is usual",
                n=len(past) // 7,
                week=week,
                least=least,
            )
        )
    scale = np.sqrt(past.to_numpy(float))
    origins = range(7 * _LEARN, len(past), 7)
    errors = np.concatenate([scale[i : i + 7] - _forecast(scale[:i]) for i in origins])
    # Poisson counts have a spread of 1/2 on this scale; less than that is luck in the sample of errors.
    spread = max(float(stats.median_abs_deviation(errors, scale="normal")), 0.5)
    reach = float(special.stdtrit(len(errors) - 1, (1 + level ** (1 / 7)) / 2)) * spread
    centre = _forecast(scale)
    expected, lower, upper = _count(centre), _count(centre - reach), _count(centre + reach)
    verdict = np.select([now > upper, now < lower], [_HIGH, _LOW], _USUAL)
    days = pd.DatetimeIndex(now.index)
    table = pd.DataFrame(
        {
            "day": days.date,
            "weekday": [SHORT_DAYS[day] for day in days.day_of_week],
            "orders": now.to_numpy(),
            "expected": expected,
            "lower": np.ceil(lower),
            "upper": np.floor(upper),
            "verdict": verdict,
        }
    )
    history = pd.DataFrame({"day": pd.DatetimeIndex(past.index).date, "orders": past.to_numpy()})
    return UnusualDays(table=table, level=level, graded=len(errors), history=history)


def _count(root: Array) -> Array:
    return np.maximum(root, 0.0) ** 2


def _counts(orders: Table, week: Week, weeks: int) -> pd.Series:
    """Return purchases per day, whole weeks only, the week to judge last; a day without any counts zero."""
    start = week.shift(-weeks).start
    day = "CAST(ordered_at AS DATE)"
    found = orders.query(
        f"SELECT CAST({day} AS VARCHAR) AS day, COUNT(*) AS n FROM {{t}} "
        f"WHERE {day} >= {literal(start)} AND {day} < {literal(week.end)} GROUP BY 1 ORDER BY 1"
    )
    first = orders.query(f"SELECT CAST(MIN({day}) AS VARCHAR) AS day FROM {{t}}")["day"].iloc[0]
    if not isinstance(first, str):
        raise EmptyDataError(tr("orders: there is no purchase"))
    begin = max(start, Week.containing(dt.date.fromisoformat(first) + dt.timedelta(days=6)).start)
    index = pd.date_range(min(begin, week.start), week.as_of, freq="D")
    return found.set_index(pd.to_datetime(found["day"]))["n"].reindex(index, fill_value=0).astype("int64")


def _forecast(scale: Array) -> Array:
    """Return the next seven values: the last level of the trend, and each weekday's last effect."""
    from statsmodels.tsa.seasonal import STL

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # robust weights of a series without any noise
        split = STL(scale, period=7, robust=True).fit()
    level = float(np.mean(split.trend[-7:]))
    ahead: Array = level + np.asarray(split.seasonal[-7:], dtype=float)
    return ahead if np.isfinite(ahead).all() else np.full(7, float(np.mean(scale[-7:])))


def plot_unusual_days(days: UnusualDays, ax: Axes | None = None) -> Axes:
    """Draw the week over the weeks before it, with its limits; the twin is the result's ``table`` and ``history``."""
    from clvlib.plotting import ACCENT, MUTED, WARN, count_axis, new_axes, styled, wrapped

    with styled():
        ax = new_axes(7.2, 3.2) if ax is None else ax
        past, now = days.history.tail(42), days.table
        ax.plot(pd.to_datetime(past["day"]), past["orders"], color=MUTED, linewidth=1.2, label=tr("weeks before"))
        when = pd.to_datetime(now["day"])
        ax.fill_between(
            when, now["lower"], now["upper"], color=ACCENT, alpha=0.15, linewidth=0, label=tr("to be expected")
        )
        ax.plot(when, now["orders"], color=ACCENT, marker="o", label=tr("this week"))
        out = now[now["verdict"] != "usual"]
        ax.plot(pd.to_datetime(out["day"]), out["orders"], linestyle="", marker="o", color=WARN, label=tr("unusual"))
        ax.set_ylim(bottom=0)
        ax.set_ylabel(tr("orders a day"))
        ax.tick_params(axis="x", rotation=30)
        ax.legend(loc="upper left", ncols=2)
        ax.set_title(wrapped(days.sentence, 62))
        return count_axis(ax)
