"""What comes back and what is paid back (F11): by product, category, host, session and channel, like for like.

A category is held against all others; a host, session, channel, platform or product against the same categories
elsewhere, so that whoever sells dresses is not blamed for what dresses do. Segments of one dimension are judged
together: one among many hosts is not blamed by chance.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, identifier, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.context import with_context
from clvlib.funnel.parcels import USABLE, durations, one_by_one, outcome, parcels, text
from clvlib.result import Result
from clvlib.stats.expected import compare_observed
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.survival import cumulative_incidence, share_by
from clvlib.words import mark, paragraph, tr

__all__ = ["DIMENSIONS", "DIMENSION_NAMES", "ReturnRates", "refunds", "returns"]

DIMENSIONS = ("category", "product_id", "host_id", "session_id", "channel", "platform")
_NEARLY = 0.01  # the rate is read where no more than this share of the orders is still open
DIMENSION_NAMES = {
    "category": mark("category"),
    "product_id": mark("product"),
    "host_id": mark("host"),
    "session_id": mark("live session"),
    "channel": mark("channel"),
    "platform": mark("platform"),
}


@dataclass(frozen=True)
class ReturnRates(Result):
    """How many orders come back, or are paid back, and where more of them than elsewhere.

    ``table`` has a row per ``dimension`` and ``segment``, those that stand out most first: ``orders``,
    ``returned`` (or refunded) so far, ``expected`` (how many it would be, had these orders, of the same categories and
    the same age, gone as in the whole shop), ``rate`` with ``lower`` and ``upper`` (the rate like for like, once all is
    decided), ``others`` (the rate of the others), ``p_value`` (Holm, within the dimension). Limits hold for all
    segments of the dimension together: they leave ``others`` out exactly where ``p_value`` is small.

    Attributes
    ----------
    measure : str
        ``returned``: parcels that come back within the return period; ``refunded``: orders with money paid back.
    first, last : str
        First and last day on which the orders were placed.
    rate, lower, upper : float
        Of the whole shop; NaN where no order is old enough.
    orders, returned : int
        Orders that are looked at, and those that came (or were paid) back so far.
    undecided : int
        Orders among them, or too young to be among them, of which nobody knows yet.
    money : float
        Share of the money that was paid back, for refunds; NaN for returns.
    days : float
        So many days after payment nearly everything is decided.
    level : float
        Of intervals and verdicts.
    """

    measure: str
    first: str
    last: str
    rate: float
    lower: float
    upper: float
    orders: int
    returned: int
    undecided: int
    money: float
    days: float
    level: float

    @property
    def worse(self) -> pd.DataFrame:
        """The segments with a higher rate than the others, beyond what chance explains."""
        return self.table[(self.table["p_value"] <= 1 - self.level) & (self.table["rate"] > self.table["others"])]

    @property
    def sentence(self) -> str:
        """The rate, and who stands out, in words."""
        told = {"rate": self.rate, "lower": self.lower, "upper": self.upper, "undecided": self.undecided}
        if np.isnan(self.rate):
            head = tr("No order is old enough to say how many {what}.", what=self._what)
        else:
            head = tr(
                "{rate:.1%} of the orders {what} ({lower:.1%} to {upper:.1%}); of {undecided:,} nobody knows yet.",
                what=self._what,
                **told,
            )
        return paragraph(head, self.standing_out)

    @property
    def shown(self) -> pd.DataFrame:
        """The table as a notebook shows it."""
        named = self.table.assign(dimension=self.table["dimension"].map(DIMENSION_NAMES)).drop(columns="expected")
        names = {"returned": self.measure, "rate": "return_rate" if self.measure == "returned" else "refund_rate"}
        return named.rename(columns=names)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        rate = "return_rate" if self.measure == "returned" else "refund_rate"
        return dict.fromkeys((rate, "lower", "upper", "others"), "share") | {"p_value": "p_value"}

    def alerts(self, most: int = 3) -> list[dict[str, Any]]:
        """What to look into: keyword arguments of an alert for each of the segments that stand out most."""
        rule = tr("more comes back than elsewhere") if self.measure == "returned" else tr("more refunds than elsewhere")
        return [
            {
                "rule": rule,
                "text": tr(
                    "{rate:.1%} of {orders:,} orders ({lower:.1%} to {upper:.1%}) against {others:.1%} of the others, "
                    "like for like",
                    **{str(name): value for name, value in row.items()},
                ),
                "segment": f"{tr(DIMENSION_NAMES[row['dimension']])} {tr(row['segment'])}",
                "severity": "medium",
                "metric": "return_rate" if self.measure == "returned" else "refund_rate",
            }
            for row in self.worse.head(most).to_dict("records")
        ]

    @property
    def _what(self) -> str:
        return tr("come back") if self.measure == "returned" else tr("are refunded, in part or in full")

    @property
    def standing_out(self) -> str:
        """Who stands out, in words."""
        if self.table.empty or self.worse.empty:
            return tr("No segment stands out beyond what chance explains.")
        rows = [
            tr(
                "{dimension} {segment} ({rate:.1%} against {others:.1%})",
                dimension=tr(DIMENSION_NAMES[row["dimension"]]),
                segment=tr(row["segment"]),
                rate=row["rate"],
                others=row["others"],
            )
            for row in self.worse.head(4).to_dict("records")
        ]
        return tr("More than chance explains: {rows}.", rows=tr("; ").join(rows))


def returns(
    orders: Table | pd.DataFrame,
    period: tuple[Any, Any],
    sessions: Table | pd.DataFrame | None = None,
    *,
    by: Sequence[str] = DIMENSIONS,
    return_days: float = 15,
    level: float = 0.95,
) -> ReturnRates:
    """Estimate what share of the orders comes back, and where more than elsewhere.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``ordered_at``, ``returned_at``; what there is of ``paid_at``, ``shipped_at``, ``received_at``
        and of the dimensions.
    period : tuple
        First day, and the day after the last, up to which things are known.
    sessions : Table or pandas.DataFrame, optional
        Who was the host of each ``session_id``.
    by : sequence of str
        Dimensions, of :data:`DIMENSIONS`; those without a column are left out.
    return_days : float
        So long after receipt a parcel may come back.
    level : float
        Of intervals and verdicts.

    Returns
    -------
    ReturnRates

    Raises
    ------
    MissingColumnError
        Returns are not recorded.
    EmptyDataError
        There is no paid order in the period.
    ParameterError
        A parameter cannot be.

    Notes
    -----
    The rate of the shop is Aalen and Johansen's incidence, kept orders competing and open ones censored. What a segment
    is expected to bring is the sum of the shop's hazards of return, by category, over the days on which its orders were
    watched. Given how many came back in all, its own number is then binomial (Breslow & Day 1987, section 3.5), with
    Clopper and Pearson's limits: the ratio of segment to others needs no order to be old.
    """
    first, end = as_period(period)
    _check(by, level, return_days=return_days)
    found = _with_dimensions(orders, sessions, (first, end), "returned_at")
    decided, cause, _ = outcome(found, return_days, end)
    columns = _present(found, by)
    stratum = text("category") if "category" in found.columns else "''"
    counted = durations(found, "started", decided, end, USABLE, cause, [f"{stratum} AS stratum"], columns)
    whole = counted[counted["dimension"] == ""]
    if whole.empty:
        raise EmptyDataError(tr("no paid order from {first} to {last}", first=first, last=end - dt.timedelta(days=1)))
    back = whole["cause"] == "returned"
    total, horizon = _overall(whole, level)
    counted["observed"] = counted["n"].where(counted["cause"] == "returned", 0)
    counted["expected"] = _hazards(whole, counted) * counted["n"]
    parts = []
    for name in columns:
        rows = counted[(counted["dimension"] == name) & counted["segment"].notna()]
        if name == "category":  # each is held against all
            every, these = (each.assign(stratum="") for each in (whole, rows))
            rows = rows.assign(expected=_hazards(every, these) * rows["n"])
        sums = rows.groupby("segment")[["n", "observed", "expected"]].sum().rename(columns={"n": "orders"})
        parts.append(compare_observed(sums, total["estimate"], level).assign(dimension=name))
    return ReturnRates(
        measure="returned",
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        rate=total["estimate"],
        lower=total["lower"],
        upper=total["upper"],
        orders=int(whole["n"].sum()),
        returned=int(whole.loc[back, "n"].sum()),
        undecided=int(whole.loc[whole["cause"] == "", "n"].sum()),
        money=np.nan,
        days=horizon / 24,
        level=level,
        table=_ranked(parts),
    )


def refunds(
    orders: Table | pd.DataFrame,
    period: tuple[Any, Any],
    sessions: Table | pd.DataFrame | None = None,
    *,
    by: Sequence[str] = DIMENSIONS,
    settle_days: float = 30,
    level: float = 0.95,
) -> ReturnRates:
    """Estimate what share of the paid orders has money paid back, and where more than elsewhere.

    The day of a refund is not in the contract, so that no curve can be drawn: only orders paid so long ago that nearly
    all is settled are looked at, whatever became of them.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``ordered_at``, ``amount``, and ``net_amount`` or ``refunded_amount``.
    period, sessions, by, level
        As for :func:`returns`.
    settle_days : float
        So many days after payment an order is settled; ``days`` of what :func:`returns` finds says how many.

    Returns
    -------
    ReturnRates

    Raises
    ------
    MissingColumnError, ParameterError
        As :func:`returns`.
    EmptyDataError
        No order of the period is old enough, or the shop records no refunds.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": range(8), "ordered_at": pd.Timestamp("2026-09-01"), "amount": 10.0,
    ...                      "refunded_amount": [10.0, 4, 0, 0, 0, 0, 0, 0]})
    >>> found = refunds(sold, ("2026-09-01", "2026-11-01"))
    >>> found.rate, round(found.money, 3)
    (0.25, 0.175)
    """
    first, end = as_period(period)
    _check(by, level, settle_days=settle_days)
    found = _with_dimensions(orders, sessions, (first, end), "amount")
    if "net_amount" not in found.columns:
        found.require("refunded_amount")
    columns = _present(found, by)
    settled = f"started + INTERVAL '{round(settle_days * 86_400)}' SECOND <= CAST({literal(end)} AS TIMESTAMP)"
    usable = "state NOT IN ('unpaid', 'impossible')"
    hit = "SUM(CASE WHEN back > 0 THEN 1 ELSE 0 END) AS observed, COUNT(*) AS orders"
    stratum = text("category") if "category" in found.columns else "''"
    sums = "SUM(back * amount) AS paid_back, SUM(amount) AS paid"
    dimensions, sets = one_by_one(columns, ["stratum"])
    named = "".join(f", {text(name)} AS {identifier(name)}" for name in columns)
    counted = found.query(
        f"SELECT {dimensions} stratum, {hit}, {sums} FROM (SELECT back, amount, {stratum} AS stratum{named} "
        f"FROM {{t}} AS t WHERE {usable} AND {settled}) AS p GROUP BY {sets} ORDER BY 1, 2, 3"
    )
    whole = counted[counted["dimension"] == ""]
    if whole.empty:
        message = mark("no order from {first} to {last} was paid {days:g} days before the end")
        raise EmptyDataError(tr(message, first=first, last=end - dt.timedelta(days=1), days=settle_days))
    young = found.query(f"SELECT COUNT(*) AS n FROM {{t}} AS t WHERE {usable} AND NOT ({settled})")["n"].iloc[0]
    returned, number = int(whole["observed"].sum()), int(whole["orders"].sum())
    if not returned and "refunded_amount" not in found.columns:
        raise EmptyDataError(tr("no refund is recorded"))
    total = proportion_interval(returned, number, level).iloc[0]
    by_stratum = whole.set_index("stratum")["observed"] / whole.set_index("stratum")["orders"]
    parts = []
    for name in columns:
        rows = counted[(counted["dimension"] == name) & counted["segment"].notna()]
        alike = total["estimate"] if name == "category" else rows["stratum"].map(by_stratum)
        parts.append(_held_against(rows.assign(expected=rows["orders"] * alike), total["estimate"], level, name))
    paid = float(whole["paid"].sum())
    return ReturnRates(
        measure="refunded",
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        rate=float(total["estimate"]),
        lower=float(total["lower"]),
        upper=float(total["upper"]),
        orders=number,
        returned=returned,
        undecided=int(young),
        money=float(whole["paid_back"].sum()) / paid if paid > 0 else np.nan,
        days=settle_days,
        level=level,
        table=_ranked(parts),
    )


def _held_against(rows: pd.DataFrame, rate: float, level: float, dimension: str) -> pd.DataFrame:
    """The segments of a dimension, what was observed in each against what was expected of it."""
    sums = rows.groupby("segment")[["orders", "observed", "expected"]].sum()
    return compare_observed(sums, rate, level).assign(dimension=dimension)


def _overall(whole: pd.DataFrame, level: float) -> tuple[dict[str, float], float]:
    """Share that comes back once nearly all is decided, and after how many hours that is; NaN where it never is."""
    unknown = {"estimate": np.nan, "lower": np.nan, "upper": np.nan}
    ended = whole["cause"] != ""
    if not ended.any():
        return unknown, np.nan
    curve = cumulative_incidence(whole["hours"], whole["cause"], whole["n"], level)
    horizon = float(curve.loc[curve["open"].le(_NEARLY), "time"].min())
    if np.isnan(horizon):
        return unknown, horizon
    own = curve[curve["cause"] == "returned"]
    if own.empty:
        none = proportion_interval(0, float(whole.loc[ended, "n"].sum()), level).iloc[0]
        return {str(name): float(value) for name, value in none.items()}, horizon
    return share_by(own, horizon, level), horizon


def _hazards(whole: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the shop's cumulative hazard of return, by stratum, at the time of each row (Nelson 1972; Aalen 1978)."""
    out = np.zeros(len(rows))
    for stratum, part in whole.groupby("stratum", dropna=False):
        times, at = np.unique(part["hours"], return_inverse=True)
        leaving = np.bincount(at, weights=part["n"])
        events = np.bincount(at, weights=part["n"] * (part["cause"] == "returned"))
        hazard = np.concatenate([[0.0], np.cumsum(events / np.cumsum(leaving[::-1])[::-1])])
        here = (rows["stratum"] == stratum).to_numpy()
        out[here] = hazard[np.searchsorted(times, rows.loc[here, "hours"], side="right")]
    return out


def _with_dimensions(
    orders: Table | pd.DataFrame, sessions: Table | pd.DataFrame | None, period: tuple[dt.date, dt.date], needed: str
) -> Table:
    tables = together(orders=orders, sessions=sessions)
    table = tables["orders"].require("customer_id", "ordered_at", needed)
    return parcels(with_context(table, None, tables.get("sessions")), period)


def _present(found: Table, by: Sequence[str]) -> list[str]:
    return [name for name in by if name in found.columns]


def _ranked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """All segments, those that stand out most first."""
    columns = ["dimension", "segment", "orders", "returned", "expected", "rate", "lower", "upper", "others", "p_value"]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True).rename(columns={"observed": "returned"})[columns]
    table[["rate", "lower", "upper"]] = table[["rate", "lower", "upper"]].clip(
        upper=1.0
    )  # of one order, four cannot come back
    beyond = table["returned"] - table["expected"]
    order = pd.DataFrame({"p": table["p_value"].fillna(2), "b": -beyond}).sort_values(["p", "b"], kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _check(by: Sequence[str], level: float, **days: float) -> None:
    for name, value in days.items():
        if not (value > 0 and np.isfinite(value)):
            raise ParameterError(f"{name}: {value} is no number of days above zero")
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    unknown = [name for name in by if name not in DIMENSIONS]
    if unknown:
        raise ParameterError(f"by: {', '.join(unknown)} is none of {', '.join(DIMENSIONS)}")
