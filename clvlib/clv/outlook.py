"""What the coming weeks bring (V12): orders, buyers, revenue and base value, with the record of such forecasts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.outlook_forecast import FIGURES, forecast
from clvlib.clv.outlook_record import histories, past_forecasts, record, widened
from clvlib.clv.outlook_series import SEASONS
from clvlib.clv.outlook_weeks import Past, past_weeks
from clvlib.clv.valuation import CustomerValue
from clvlib.clv.value import LifetimeValue
from clvlib.data.calendar import as_date
from clvlib.errors import ParameterError
from clvlib.result import Result
from clvlib.words import mark, money, paragraph, tr

__all__ = ["FIGURES", "Outlook", "outlook"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outlook(Result):
    """What the coming weeks are expected to bring; ``table`` has a row per ``weeks`` ahead and ``figure``.

    ``table`` columns: ``mean``, ``lower``, ``upper`` (of a prediction interval); ``quantiles``, the predictive
    distribution by probability; ``naive``, the same weeks of last year or, in a shop of less than two, the last weeks;
    ``actual``, what the figure came to in as many weeks that end today (value: today's). Figures: ``orders`` (several
    of a customer's day count once), ``buyers``, ``revenue`` (net of refunds so far) and ``base_value`` (then, with
    those who are still to come).

    Attributes
    ----------
    as_of : str
        The last day that is known.
    level : float
        Of the intervals.
    seasonal : bool
        Whether two years of weeks were there to learn a yearly season from.
    weekly : pandas.DataFrame
        Orders of the past weeks by their Monday (of weeks that end on a Sunday), and of the coming ones: ``actual``;
        ``mean``, ``lower``, ``upper``, ``low`` and ``high`` (half of all outcomes lie between them).
    record : pandas.DataFrame
        By weeks ahead and figure, how such forecasts from past days turned out: ``origins``, ``error`` and
        ``naive_error`` (mean absolute, as a share of what came), ``difference`` with its interval and ``verdict``,
        ``bias`` (mean, above 0 where the forecast was too high) and ``high`` (how often it was), ``inside`` and
        ``coverage`` of the intervals.
    past : pandas.DataFrame
        The forecasts behind the record.
    """

    as_of: str
    level: float
    seasonal: bool
    weekly: pd.DataFrame = field(repr=False)
    record: pd.DataFrame = field(repr=False)
    past: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """What is expected."""
        said = [
            tr(
                "In the next {n} weeks {orders:,.0f} orders ({lower:,.0f} to {upper:,.0f}) of {buyers:,.0f} customers "
                "are expected, worth {revenue} ({least} to {most}).",
                n=weeks,
                orders=rows.loc["orders", "mean"],
                lower=rows.loc["orders", "lower"],
                upper=rows.loc["orders", "upper"],
                buyers=rows.loc["buyers", "mean"],
                revenue=money(rows.loc["revenue", "mean"]),
                least=money(rows.loc["revenue", "lower"]),
                most=money(rows.loc["revenue", "upper"]),
            )
            for weeks, rows in ((weeks, self.table.loc[weeks]) for weeks in self.table.index.unique(0))
        ]
        return paragraph(*said)

    @property
    def verdict(self) -> str:
        """Whether such forecasts beat the naive one and leant to one side, and whether their intervals held."""
        return paragraph(self._against(), self._lean(), self._held(), self._season())

    def _against(self) -> str:
        rows = self.record.xs("orders", level="figure") if len(self.record) else self.record
        if rows.empty:
            return tr("The shop is too young to hold such forecasts against what came.")
        parts = [
            tr(
                "{n} weeks ahead they missed by {error:.1%}, the naive forecast by {naive:.1%}: {verdict}",
                n=weeks,
                error=row["error"],
                naive=row["naive_error"],
                verdict=tr(row["verdict"]),
            )
            for weeks, row in rows.iterrows()
        ]
        text = mark("Forecasts of orders made on {n} earlier days, held against what came: {parts}.")
        return tr(text, n=int(rows["origins"].max()), parts=tr("; ").join(parts))

    def _lean(self) -> str:
        """Say to which side the value of the base was missed, as far ahead as can be told."""
        rows = self.record.xs("base_value", level="figure") if len(self.record) else self.record
        rows = rows[rows["origins"] > 1]
        if rows.empty:
            return ""
        weeks, row = int(rows.index[-1]), rows.iloc[-1]
        text = mark(
            "{n} weeks ahead the value of the base was forecast {bias:.1%} too high on average, and too high on {high} "
            "of {all} days."
        )
        if row["bias"] < 0:
            text = mark(
                "{n} weeks ahead the value of the base was forecast {bias:.1%} too low on average, and too high on "
                "{high} of {all} days."
            )
        return tr(text, n=weeks, bias=abs(row["bias"]), high=int(row["high"]), all=int(row["origins"]))

    def _held(self) -> str:
        if self.record.empty:
            return tr("Their intervals are unchecked, so read them as the least that is uncertain.")
        inside, all_ = int(self.record["inside"].sum()), int(self.record["origins"].sum())
        return tr(
            "Of {all} outcomes {inside} fell inside the {level:.0%} interval; many of them share their weeks, and "
            "where past intervals were too narrow, today's are wider.",
            all=all_,
            inside=inside,
            level=self.level,
        )

    def _season(self) -> str:
        if self.seasonal:
            return tr("A yearly season is learnt from the past years.")
        return tr("With less than two years no yearly season can be learnt: a festival that lies ahead is not in it.")


def outlook(
    shop: Any,
    as_of: str | dt.date,
    study: CustomerValue | None = None,
    weeks: Sequence[int] = (4, 12),
    *,
    origins: int = 6,
    step: int | None = None,
    draws: int = 4_000,
    seed: int = 0,
) -> Outlook:
    """Forecast orders, buyers, revenue and base value of the coming weeks, and grade such forecasts of the past.

    Parameters
    ----------
    shop : Shop
        With orders.
    as_of : str or date
        The last day that is known; weeks are counted from it.
    study : CustomerValue, optional
        Settings of the valuation; default: those of notebook 03.
    weeks : sequence of int
        How far ahead, the shortest first.
    origins : int
        Past days from which forecasts are graded, at most; 0: none.
    step : int, optional
        Weeks between them; default: the shortest of ``weeks``.
    draws, seed : int
        Of the predictive distributions.

    Returns
    -------
    Outlook

    Raises
    ------
    EmptyDataError
        Nobody bought yet, or nobody bought twice, or not a week is over.
    ParameterError
        Weeks that are no whole numbers, or not in order.

    Notes
    -----
    Repeat orders come from the purchase model, those of customers who are still to come among them; how many of these
    there will be, and what weeks share beyond chance, from their own past (:func:`clvlib.clv.outlook_draws.ahead`); a
    festival's week passes by a clock that ran faster in it (:func:`clvlib.clv.outlook_weeks.by_clock`).
    Intervals hold the chance of single purchases, what the models do not know exactly, the week effect, new customers
    and baskets. Forecasts of the past are made by the same rule from what was known then, with two exceptions: which
    purchase model, today's backtest has chosen, and refunds are netted whenever they came. The naive forecast is what
    the same weeks of last year brought, in a shop of less than two years what the last weeks did.
    """
    ahead_of = _checked(weeks, origins, draws)
    study = CustomerValue() if study is None else study
    day, base = as_date(as_of), study.of(shop, as_of)
    past = past_weeks(shop.table("orders"), day)
    life = LifetimeValue(base.purchases, base.spend, study.margin, study.annual_rate, unit="W")
    earlier = histories(shop, day - dt.timedelta(weeks=ahead_of[0]))
    made = forecast(study, past, life, base.table, ahead_of, draws, seed, earlier)
    table = made.table.assign(naive=past.naive(ahead_of, base.value), actual=past.came(ahead_of, base.value))
    step = step or ahead_of[0]
    earlier_ones = past_forecasts(shop, study, past, type(base.purchases), made, ahead_of, origins, step, seed)
    return Outlook(
        as_of=str(day),
        level=study.interval,
        seasonal=len(past.weeks) >= SEASONS,
        weekly=_weekly(past, made.orders, study.interval),
        record=record(earlier_ones, step),
        past=earlier_ones,
        table=widened(table, earlier_ones, step, study.interval),
    )


def _weekly(past: Past, orders: Array, level: float) -> pd.DataFrame:
    """Return orders of past and coming weeks by the day on which each begins."""
    n, coming = len(past.weeks), orders.shape[1]
    first = pd.Timestamp(past.last) - pd.Timedelta(weeks=n) + pd.Timedelta(days=1)
    tail = (1 - level) / 2
    lower, low, high, upper = np.quantile(orders, [tail, 0.25, 0.75, 1 - tail], axis=0)
    ahead_ = {"mean": orders.mean(axis=0), "lower": lower, "low": low, "high": high, "upper": upper}
    frame = pd.DataFrame({"actual": past.weeks["orders"].astype(float)}).reindex(range(n + coming))
    for name, values in ahead_.items():
        frame[name] = np.concatenate([np.full(n, np.nan), values])
    return frame.set_index(pd.date_range(first, periods=n + coming, freq="7D", name="week"))


def _checked(weeks: Sequence[int], origins: int, draws: int) -> list[int]:
    found = [int(week) for week in weeks]
    if not found or found != sorted(set(found)) or found[0] < 1 or any(week != int(week) for week in weeks):
        raise ParameterError(f"weeks ahead are whole numbers, the shortest first; found {list(weeks)}")
    if draws < 100 or origins < 0:
        raise ParameterError(f"draws is at least 100, origins not negative; found {draws} and {origins}")
    return found
