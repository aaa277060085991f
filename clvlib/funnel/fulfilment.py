"""From the order to the parcel that is kept or comes back (F11): how many are where, and how long each step takes.

Orders of the last days are still on their way. They are censored, never counted as kept: each step's curve uses an
order for as long as it has been watched, and returned and kept are competing outcomes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, as_table
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.parcels import AFTER, USABLE, durations, outcome, parcels
from clvlib.result import Result
from clvlib.stats.survival import cumulative_incidence, kaplan_meier, share_by, survival_at, survival_quantile
from clvlib.words import mark, paragraph, tr

__all__ = ["PROMISES", "STAGES", "Fulfilment", "fulfilment"]

Array = NDArray[np.float64]
PROMISES: Mapping[str, float] = {"paid": 24.0, "shipped": 48.0, "received": 168.0}
"""Hours within which a step should be done: from the order for payment, from payment for the others."""

STAGES = {
    "waiting": mark("waiting to be sent"),
    "under_way": mark("under way"),
    "arrived": mark("arrived, may come back"),
    "returned": mark("came back"),
    "kept": mark("kept"),
}
_STEPS = {"paid": mark("paid"), "shipped": mark("shipped"), "received": mark("received")}
_LABELS = {
    "paid": mark("Paid within {hours:g} hours"),
    "shipped": mark("Shipped within {hours:g} hours"),
    "received": mark("Received within {hours:g} hours"),
}


@dataclass(frozen=True)
class Fulfilment(Result):
    """What became of the orders of a period.

    ``table`` has a row per ``step`` that the shop records (``paid``, counted from the order; ``shipped`` and
    ``received``, from payment): ``orders`` that could make it, ``done``, ``still_open``, the ``median`` time in hours
    with ``median_lower`` and ``median_upper`` (infinite where the data do not say), the ``promise`` in hours, and the
    share done ``within`` it with ``lower`` and ``upper``. All come from Kaplan-Meier curves in which open orders are
    censored; an order younger than the promise is neither kept nor broken.

    Attributes
    ----------
    first, last : str
        First and last day on which the orders were placed; what happened after the last is not known.
    orders : int
        Rows of the period.
    counts : dict of str to int
        Rows by state: unpaid, waiting, shipped, received, returned; and those in no curve: cancelled before they were
        sent (nobody knows when), and impossible (something happened before what it follows).
    stages : pandas.DataFrame
        By ``day`` since payment, the share of paid orders in each of :data:`STAGES`; empty where the shop records no
        return or no receipt.
    late_returns : int
        Parcels that came back after the return period was over. The curve has them as kept.
    return_days : float
        Days after receipt in which a parcel may come back.
    level : float
        Of the intervals.
    """

    first: str
    last: str
    orders: int
    counts: dict[str, int] = field(repr=False)
    stages: pd.DataFrame = field(repr=False)
    late_returns: int
    return_days: float
    level: float

    @property
    def sentence(self) -> str:
        """How fast, in words: the steps after payment where they are recorded."""
        told = self.judged[self.judged["within"].notna()]
        if told.empty:
            return tr(
                "No order placed from {first} to {last} is old enough to judge a promise.",
                first=self.first,
                last=self.last,
            )
        parts = [
            tr(
                "{share:.1%} are {step} within {hours:,.0f} hours ({lower:.1%} to {upper:.1%})",
                share=row["within"],
                step=tr(_STEPS[str(row["step"])]),
                hours=row["promise"],
                lower=row["lower"],
                upper=row["upper"],
            )
            for row in told.reset_index().to_dict("records")
        ]
        said = tr("Of {orders:,} orders, {parts}.", orders=self.orders, parts=tr("; ").join(parts))
        return paragraph(said, self.left_out)

    @property
    def judged(self) -> pd.DataFrame:
        """The steps that are told: those after payment where they are recorded, and what they are called."""
        rows = self.table.drop(index="paid", errors="ignore") if len(self.table) > 1 else self.table
        names = [tr(_LABELS[str(step)], hours=hours) for step, hours in rows["promise"].items()]
        return rows.assign(label=names)

    @property
    def shown(self) -> pd.DataFrame:
        """The table as a notebook shows it."""
        return self.table.drop(columns=["orders", "done"]).rename(columns={"still_open": "open_orders"})

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        hours, shares = ("median", "median_lower", "median_upper", "promise"), ("within", "lower", "upper")
        return dict.fromkeys(hours, ".1f") | dict.fromkeys(shares, "share") | {"open_orders": "count"}

    @property
    def left_out(self) -> str:
        """What is open and what is in no curve, in words; empty where there is neither."""
        waiting, under_way = self.counts.get("waiting", 0), self.counts.get("shipped", 0)
        cancelled, impossible = self.counts.get("cancelled", 0), self.counts.get("impossible", 0)
        recorded = "shipped" in self.table.index or "received" in self.table.index
        said = []
        if recorded and waiting + under_way:
            said.append(
                tr(
                    "At the end of {last}, {waiting:,} paid orders wait to be sent and {under_way:,} are under way: "
                    "they are open, not kept.",
                    last=self.last,
                    waiting=waiting,
                    under_way=under_way,
                )
            )
        if cancelled + impossible:
            said.append(
                tr(
                    "Left out: {cancelled:,} orders paid back before they were sent, {impossible:,} with times in an "
                    "order that cannot be.",
                    cancelled=cancelled,
                    impossible=impossible,
                )
            )
        if self.late_returns:
            said.append(
                tr(
                    "{late:,} parcels came back more than {days:g} days after they were received and count as kept.",
                    late=self.late_returns,
                    days=self.return_days,
                )
            )
        return paragraph(*said)

    @property
    def stages_sentence(self) -> str:
        """Where a paid order is in the end, in words; empty where there are no stages."""
        if self.stages.empty:
            return ""
        last = self.stages.iloc[-1]
        there = self.stages[["arrived", "returned", "kept"]].sum(axis=1).to_numpy()
        return tr(
            "Half of the paid orders have arrived by day {day}; in the end {returned:.1%} come back",
            day=int(np.argmax(there >= 0.5)) if there.max() >= 0.5 else len(there) - 1,
            returned=last["returned"] / max(last["returned"] + last["kept"], 1e-12),
        )


def fulfilment(
    orders: Table | pd.DataFrame,
    period: tuple[Any, Any],
    *,
    return_days: float = 15,
    promises: Mapping[str, float] = PROMISES,
    level: float = 0.95,
) -> Fulfilment:
    """Follow the orders of a period through payment, dispatch, receipt and the return period.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``ordered_at`` and one or more of ``paid_at``, ``shipped_at``, ``received_at``; with
        ``returned_at`` also what comes back. Where ``paid_at`` is there, orders without it are unpaid.
    period : tuple
        First day, and the day after the last, up to which things are known.
    return_days : float
        So long after receipt a parcel may come back; then it is kept. Where receipt is not recorded, after dispatch, or
        else after payment.
    promises : mapping
        Hours within which an order should be ``paid`` (after the order), ``shipped`` and ``received`` (after payment).
    level : float
        Of the intervals.

    Returns
    -------
    Fulfilment

    Raises
    ------
    MissingColumnError
        The orders have none of those times.
    EmptyDataError
        There is no order in the period.
    ParameterError
        The period, a number of days or hours, a promise or the level cannot be.

    Notes
    -----
    Shares of stages are differences of the curves of the steps (Pepe 1991); those of the two ends are Aalen and
    Johansen's (:func:`~clvlib.stats.survival.cumulative_incidence`).

    Examples
    --------
    >>> day = pd.Timestamp("2026-11-01")
    >>> log = pd.DataFrame({"customer_id": list("abcd"), "ordered_at": day, "amount": 10.0,
    ...                     "paid_at": day, "shipped_at": [day + pd.Timedelta(hours=h) for h in (10, 20, 30, 400)]})
    >>> fulfilment(log, ("2026-11-01", "2026-11-08")).table.loc["shipped", ["done", "still_open", "within"]].tolist()
    [3.0, 1.0, 0.75]
    """
    first, end = as_period(period)
    _check(return_days, promises, level)
    table = as_table(orders, "orders", "customer_id", "ordered_at")
    recorded = [name for name in ("paid_at", *AFTER[:2]) if name in table.columns]
    if not recorded:
        raise MissingColumnError(
            tr(
                "orders: none of paid_at, shipped_at and received_at is there; the table has {columns}",
                columns=", ".join(table.columns),
            )
        )
    found = parcels(table, (first, end))
    states = found.query("SELECT state, COUNT(*) AS n FROM {t} AS t GROUP BY 1 ORDER BY 1").set_index("state")["n"]
    last = end - dt.timedelta(days=1)
    if states.empty:
        raise EmptyDataError(tr("there is no order from {first} to {last}", first=first, last=last))
    rows = {name.removesuffix("_at"): _step(found, name.removesuffix("_at"), end, promises, level) for name in recorded}
    stages, late = pd.DataFrame(), 0
    if "received_at" in recorded and "returned_at" in table.columns:
        stages, late = _stages(found, end, return_days)
    return Fulfilment(
        first=str(first),
        last=str(last),
        orders=int(states.sum()),
        counts={str(k): int(v) for k, v in states.items()},
        stages=stages,
        late_returns=late,
        return_days=return_days,
        level=level,
        table=pd.DataFrame.from_dict(rows, orient="index").rename_axis("step"),
    )


def _check(return_days: float, promises: Mapping[str, float], level: float) -> None:
    if not (return_days > 0 and np.isfinite(return_days)):
        raise ParameterError(f"return_days: {return_days} is no number of days above zero")
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    for step, hours in promises.items():
        if step not in PROMISES or not hours > 0:
            raise ParameterError(
                f"promises: {step!r} within {hours} hours; steps are {', '.join(PROMISES)}, hours positive"
            )


def _step(found: Table, step: str, end: dt.date, promises: Mapping[str, float], level: float) -> dict[str, float]:
    """Time until one step, open orders censored."""
    since, until, condition = ("started", step, USABLE)
    if step == "paid":
        since, until, condition = "ordered_at", "started", "state <> 'impossible'"
    elif step == "received":  # a parcel that is refused comes back without having been received: it no longer waits
        condition += " AND NOT (received IS NULL AND returned IS NOT NULL)"
    counts = durations(found, since, until, end, condition)
    promise = promises.get(step, np.nan)
    row = {"orders": float(counts["n"].sum()), "done": float(counts.loc[counts["cause"] != "", "n"].sum())}
    row["still_open"] = row["orders"] - row["done"]
    row |= dict.fromkeys(("median", "median_lower", "median_upper"), np.inf)
    row |= {"promise": promise} | dict.fromkeys(("within", "lower", "upper"), np.nan)
    if counts.empty:
        return row
    curve = kaplan_meier(counts["hours"], counts["cause"] != "", counts["n"], level)
    row |= dict(zip(("median", "median_lower", "median_upper"), survival_quantile(curve), strict=True))
    if np.isfinite(promise):
        read = share_by(curve, promise, level)
        row |= {"within": read["estimate"], "lower": read["lower"], "upper": read["upper"]}
    return row


def _stages(found: Table, end: dt.date, return_days: float) -> tuple[pd.DataFrame, int]:
    """Shares of the stages by day since payment, and how many came back late."""
    decided, cause, late = outcome(found, return_days, end)
    out = durations(found, "started", decided, end, USABLE, cause)
    if not (out["cause"] != "").any():
        return pd.DataFrame(), 0
    ends = cumulative_incidence(out["hours"], out["cause"], out["n"])
    settled = ends.loc[ends["open"].le(0.005) | ends["at_risk"].lt(5), "time"]
    grid = np.arange(int(np.ceil((settled.min() if len(settled) else ends["time"].max()) / 24)) + 1)

    def reached(until: str) -> Array:
        part = durations(found, "started", until, end, USABLE)
        curve = kaplan_meier(part["hours"], part["cause"] != "", part["n"])
        return 1 - survival_at(curve, 24.0 * grid)["survival"].to_numpy(float)

    def ended(name: str) -> Array:
        part = ends[ends["cause"] == name]
        place = np.searchsorted(part["time"].to_numpy(float), 24.0 * grid, side="right")
        return np.concatenate([[0.0], part["incidence"].to_numpy(float)])[np.minimum(place, len(part))]

    sent, there = reached("COALESCE(shipped, received, returned)"), reached("COALESCE(received, returned)")
    back, kept = ended("returned"), ended("kept")
    shares = (1 - sent, sent - there, there - back - kept, back, kept)
    stages = pd.DataFrame(dict(zip(STAGES, shares, strict=True)), index=pd.Index(grid, name="day")).clip(lower=0)
    number = found.query(f"SELECT COUNT(*) AS n FROM {{t}} AS t WHERE {USABLE} AND {late}")["n"].iloc[0]
    return stages, int(number)
