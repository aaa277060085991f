"""Signs and possible causes of leaving (V2), as they were known at the end of a day: nothing later is looked at."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.churn_watching import Watching
from clvlib.clv.engine import fit
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.data.engine import Table, literal
from clvlib.data.summary import customer_summary
from clvlib.data.together import together
from clvlib.errors import ConvergenceWarning, EmptyDataError, ThinDataWarning
from clvlib.words import mark, tr

__all__ = ["CAUSES", "FEATURES", "REASONS", "Feature", "Known", "Records"]

Array = NDArray[np.float64]
Kind = Literal["sign", "cause", "context"]

_UNTRACKED = 60  # days after which a parcel without a receipt counts as not tracked, not as late
_SLOW_HOURS = 24
_PATIENCE = 2  # days after which a complaint without an answer is unanswered
_LOW_RATING = 2


class Feature(NamedTuple):
    """One thing known of a customer.

    Attributes
    ----------
    name : str
        Its column.
    group : str
        What it is part of; reasons and causes are groups.
    kind : {"sign", "cause", "context"}
        A sign is how leaving shows, a cause what may have brought it about; only causes are held to a direction.
    binary : bool
        Whether it is yes or no; the harmless level is then no, else the mean.
    """

    name: str
    group: str
    kind: Kind
    binary: bool = False


FEATURES = (
    Feature("model", "silence", "sign"),
    Feature("silence", "silence", "sign"),
    Feature("slowing", "slowing", "sign"),
    Feature("absent", "absent", "sign"),
    Feature("interest", "interest", "cause"),
    Feature("late", "delivery", "cause", binary=True),
    Feature("unanswered", "complaint", "cause", binary=True),
    Feature("slow_answer", "complaint", "cause", binary=True),
    Feature("refunded", "refund", "cause", binary=True),
    Feature("unhappy", "satisfaction", "cause", binary=True),
    Feature("full_price", "price", "cause", binary=True),
    Feature("discounts", "price", "cause"),
    Feature("purchases", "history", "context"),
    Feature("tenure", "history", "context"),
    Feature("spend", "history", "context"),
)
REASONS = {
    "silence": mark("silent for longer than usual"),
    "slowing": mark("buys at longer and longer intervals"),
    "absent": mark("has stopped watching"),
    "interest": mark("watched less and less before the last purchase"),
    "delivery": mark("the last parcel came late"),
    "complaint": mark("a complaint was not answered, or late"),
    "refund": mark("the last purchase was returned or refunded"),
    "satisfaction": mark("gave a low rating"),
    "price": mark("the last purchase was without a discount"),
    "history": mark("has always bought seldom"),
}
CAUSES = tuple(dict.fromkeys(feature.group for feature in FEATURES if feature.kind == "cause"))


@dataclass(frozen=True)
class Known:
    """What was known of the active customers at the end of a day.

    Attributes
    ----------
    day : datetime.date
    frame : pandas.DataFrame
        By customer_id: the columns of :data:`FEATURES` that the shop's tables allow.
    facts : pandas.DataFrame
        By customer_id: ``purchases`` (days with one), ``silence_weeks``, ``probability_alive``, ``no_purchase`` (the
        purchase model's probability of no purchase within the horizon).
    buyers : int
        All who had bought by then.
    lapsed : pandas.Series or None
        Whether each then bought nothing within the horizon; None where that is not known yet.
    """

    day: dt.date
    frame: pd.DataFrame
    facts: pd.DataFrame
    buyers: int
    lapsed: pd.Series | None = None
    model: PurchaseModel | None = None  # as fitted on the day


@dataclass(frozen=True)
class Records:
    """The tables that tell of leaving, and the rules by which they are read.

    Attributes
    ----------
    tables : mapping of str to Table
        ``orders``, and those of ``events``, ``complaints``, ``feedback``, ``refunds`` that there are.
    watching : Watching or None
        Weeks in which each customer was seen, up to the last day; None without events.
    last : datetime.date
        The last day that counts.
    horizon : int
        Weeks within which no purchase is a lapse.
    active_weeks : int
        A customer is active when he has bought on two days or more, the last of them within so many weeks.
    model : PurchaseModel
        Whose class and settings are fitted on each day.
    """

    tables: Mapping[str, Table]
    watching: Watching | None
    last: dt.date
    horizon: int
    active_weeks: int
    model: PurchaseModel

    @classmethod
    def read(
        cls,
        last: dt.date,
        horizon: int,
        active_weeks: int,
        model: PurchaseModel,
        **data: Table | pd.DataFrame | None,
    ) -> Records:
        """Check the tables, and count in which weeks each customer was seen.

        Raises
        ------
        EmptyDataError
            Nobody had bought by the last day.
        MissingColumnError, ParameterError
            A table lacks a column, or the tables do not go together.
        """
        tables = together(**data)
        needs = {
            "orders": ("customer_id", "day"),
            "events": ("person_id", "occurred_at"),
            "complaints": ("customer_id", "opened_at"),
            "feedback": ("customer_id", "created_at", "rating"),
            "refunds": ("customer_id", "refunded_at"),
        }
        for name, table in tables.items():
            table.require(*needs[name])
        records = cls(tables, None, last, horizon, active_weeks, model)
        records._warn_of_ratings()
        first = records._first_days()
        if first.empty:
            raise EmptyDataError(f"nobody had bought by {last}")
        if "events" not in tables:
            return records
        return replace(records, watching=Watching.read(tables["events"], first, last))

    def first_day(self) -> dt.date:
        """Return the day of the first purchase."""
        day: pd.Timestamp = self._first_days().min()
        return day.date()

    def at(self, day: dt.date, near: Known | None = None) -> Known:
        """Return what was known at the end of a day, and what came of it where that is known by the last day.

        The fit of the purchase model begins where that of a day ``near`` ended.

        Raises
        ------
        EmptyDataError
            Nobody was active.
        """
        raw = self.tables["orders"].query(self._facts_sql(day), **self._others()).set_index("customer_id")
        if raw.empty:
            raise EmptyDataError(
                f"by {day} nobody had bought on two days, the last of them within {self.active_weeks} weeks"
            )
        table = self._bought(day)
        histories = customer_summary(table, day, unit="W", collapse="D", compressed=True)
        model = self._fitted(histories, None if near is None else near.model)
        facts = self._facts(raw, model, day)
        return Known(
            day=day,
            frame=self._frame(raw, facts, day),
            facts=facts,
            model=model,
            buyers=int(histories["n"].sum()),
            lapsed=self.lapsed(raw.index, day) if day + dt.timedelta(weeks=self.horizon) <= self.last else None,
        )

    def lapsed(self, customers: pd.Index, day: dt.date) -> pd.Series:
        """Return whether each customer bought nothing from the day after ``day`` to the end of the horizon."""
        until = min(self.last, day + dt.timedelta(weeks=self.horizon))
        came = self.tables["orders"].query(
            f"SELECT DISTINCT customer_id FROM {{t}} AS t WHERE {self._condition()} AND CAST(day AS DATE) > "
            f"{literal(day)} AND CAST(day AS DATE) <= {literal(until)}"
        )["customer_id"]
        bought = pd.Index(came.to_numpy(dtype=object))  # objects are looked up ten times faster than Arrow's strings
        return pd.Series(bought.get_indexer(customers.to_numpy(dtype=object)) < 0, index=customers, name="lapsed")

    def _first_days(self) -> pd.Series:
        found = self.tables["orders"].query(
            "SELECT customer_id, MIN(CAST(day AS DATE)) AS first FROM {t} AS t "
            f"WHERE {self._condition()} AND CAST(day AS DATE) <= {literal(self.last)} GROUP BY 1 ORDER BY 1"
        )
        return pd.to_datetime(found.set_index("customer_id")["first"])

    def _warn_of_ratings(self) -> None:
        if "feedback" not in self.tables:
            return
        count = self.tables["feedback"].query("SELECT COUNT(*) AS n FROM {t} AS t WHERE rating < 1 OR rating > 5")
        outside = int(count["n"].iloc[0])
        if outside:
            text = tr("{n:,} ratings outside 1 to 5 are not looked at for early warnings", n=outside)
            warnings.warn(text, ThinDataWarning, stacklevel=4)

    def _has(self, table: str, *columns: str) -> bool:
        return table in self.tables and set(columns) <= set(self.tables[table].columns)

    def _others(self) -> dict[str, Table]:
        return {name: table for name, table in self.tables.items() if name != "orders"}

    def _condition(self, day: dt.date | None = None) -> str:
        """Return which orders are purchases; not whether they were refunded later, which nobody knew then."""
        parts = ["amount > 0"] if self._has("orders", "amount") else []
        if not parts and self._has("orders", "is_purchase"):
            parts = ["is_purchase"]
        if self._has("orders", "paid_at"):
            parts.append("paid_at IS NOT NULL" if day is None else f"CAST(paid_at AS DATE) <= {literal(day)}")
        return " AND ".join([*parts, "customer_id IS NOT NULL"])

    def _bought(self, day: dt.date) -> Table:
        """Return the purchases up to a day, as the customer summary reads them."""
        orders = self.tables["orders"]
        relation = (
            f"(SELECT customer_id, CAST(day AS DATE) AS day, 0 AS net_amount, TRUE AS is_purchase FROM "
            f"{orders.relation} AS t WHERE {self._condition(day)} AND CAST(day AS DATE) <= {literal(day)})"
        )
        return Table(orders.engine, "orders", relation, ("customer_id", "day", "net_amount", "is_purchase"))

    def _facts_sql(self, day: dt.date) -> str:
        until = literal(day)
        money = next((column for column in ("amount", "net_amount") if self._has("orders", column)), "0")
        returned = f"CASE WHEN CAST(returned_at AS DATE) <= {until} THEN 1 ELSE 0 END"
        discount = " OR ".join(
            text
            for column, text in (("discount", "discount > 0"), ("coupon_id", "coupon_id IS NOT NULL"))
            if self._has("orders", column)
        )
        columns = (
            f"{money} AS amount, {f'CASE WHEN {discount} THEN 1 ELSE 0 END' if discount else '0'} AS discounted, "
            f"{_waited_sql(until) if self._has('orders', 'received_at') else 'NULL'} AS waited, "
            f"{returned if self._has('orders', 'returned_at') else '0'} AS returned"
        )
        since = day - dt.timedelta(weeks=self.active_weeks)
        joins, found = self._joined(until)
        return (
            f"WITH o AS (SELECT customer_id, CAST(day AS DATE) AS day, {columns} FROM {{t}} AS t "
            f"WHERE {self._condition(day)} AND CAST(day AS DATE) <= {until}), "
            "d AS (SELECT customer_id, day, SUM(amount) AS amount, MAX(discounted) AS discounted, "
            "MAX(waited) AS waited, MAX(returned) AS returned FROM o GROUP BY customer_id, day), "
            "g AS (SELECT d.*, LAG(day) OVER (PARTITION BY customer_id ORDER BY day) AS before, "
            "ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY day DESC) AS place FROM d), "
            "b AS (SELECT customer_id, COUNT(*) AS purchases, MIN(day) AS first, MAX(day) AS last, "
            "CAST(SUM(amount) AS DOUBLE) AS spend, AVG(discounted) AS discounts, "
            "MAX(CASE WHEN place = 1 THEN 1 - discounted END) AS full_price, "
            "MAX(CASE WHEN place = 1 THEN waited END) AS waited, "
            "MAX(CASE WHEN place = 1 THEN returned END) AS returned, "
            "MAX(CASE WHEN place = 1 THEN DATE_DIFF('day', before, day) END) AS last_gap "
            f"FROM g GROUP BY customer_id HAVING COUNT(*) > 1 AND MAX(day) > {literal(since)}) "
            f"SELECT b.*, (SELECT MEDIAN(waited) FROM o) AS usual_wait{found} FROM b{joins} ORDER BY b.customer_id"
        )

    def _joined(self, until: str) -> tuple[str, str]:
        """Return joins with what happened since each customer's last purchase, and the columns that they add."""
        asked = [part for part in _since(until) if self._has(part[0], *part[1])]
        joins = "".join(
            f" LEFT JOIN (SELECT b.customer_id, {', '.join(f'MAX({sql}) AS {column}' for column, sql in found)} "
            f"FROM b JOIN {{{name}}} AS x ON b.customer_id = x.customer_id AND CAST(x.{when} AS DATE) >= b.last "
            f"AND CAST(x.{when} AS DATE) <= {until} GROUP BY 1) AS {name} ON b.customer_id = {name}.customer_id"
            for name, (_, when, *_), found in asked
        )
        columns = [f"COALESCE({name}.{column}, 0) AS {column}" for name, _, found in asked for column, _ in found]
        return joins, "".join(f", {column}" for column in columns)

    def _fitted(self, histories: pd.DataFrame, near: PurchaseModel | None) -> PurchaseModel:
        with warnings.catch_warnings():
            # an estimate at a border forecasts well enough, and how well is what the scores say
            warnings.simplefilter("ignore", ConvergenceWarning)
            return fit(type(self.model)(**self.model.get_params()), histories, near=near)

    def _facts(self, raw: pd.DataFrame, model: PurchaseModel, day: dt.date) -> pd.DataFrame:
        purchases, since, silence = _numbers(raw, "purchases"), _days(raw, "first", day), _days(raw, "last", day)
        history = pd.DataFrame(
            {"frequency": purchases - 1, "recency": (since - silence) / 7, "T": since / 7}, index=raw.index
        )
        history.attrs["clvlib"] = {"unit": "W", "collapse": "D", "as_of": day.isoformat()}
        return pd.DataFrame(
            {
                "purchases": purchases.astype("int64"),
                "silence_weeks": history["T"] - history["recency"],
                "probability_alive": model.probability_alive(history),
                "no_purchase": 1 - model.next_purchase_probability(history, self.horizon),
            }
        )

    def _frame(self, raw: pd.DataFrame, facts: pd.DataFrame, day: dt.date) -> pd.DataFrame:
        chance = facts["no_purchase"].to_numpy().clip(1e-6, 1 - 1e-6)
        purchases, gap = _numbers(raw, "purchases"), _numbers(raw, "last_gap")
        since, silence = _days(raw, "first", day), _days(raw, "last", day)
        days, week = since - silence, 7.0  # added to days, so that a rhythm of single days does not decide
        earlier = (days - gap) / (purchases - 2).clip(min=1)
        found = {
            "model": np.log(chance / (1 - chance)),
            "silence": np.log((7 * facts["silence_weeks"].to_numpy() + week) / (days / (purchases - 1) + week)),
            "slowing": np.where(purchases > 2, np.log((gap + week) / (earlier + week)), 0.0),
            "purchases": np.log(purchases),
            "tenure": np.log1p(since / 7),
            "spend": np.log1p((_numbers(raw, "spend") / purchases).clip(min=0)),
        }
        if self._has("orders", "received_at"):
            found["late"] = _numbers(raw, "waited") > 2 * _numbers(raw, "usual_wait").clip(min=1)
        if {"returned_at"} <= set(self.tables["orders"].columns) or "refunds" in self.tables:
            found["refunded"] = np.maximum(*(_numbers(raw, name, "returned") for name in ("returned", "refund"))) > 0
        if self._has("orders", "discount") or self._has("orders", "coupon_id"):
            found["full_price"], found["discounts"] = _numbers(raw, "full_price"), _numbers(raw, "discounts")
        for column in ("unanswered", "slow_answer", "unhappy"):
            if column in raw:
                found[column] = _numbers(raw, column)
        if self.watching is not None:
            found["absent"], found["interest"] = self.watching.faded(raw["first"], raw["last"], day)
        names = [feature.name for feature in FEATURES if feature.name in found]
        return pd.DataFrame(np.column_stack([found[name] for name in names]).astype(float), raw.index, names)


def _numbers(raw: pd.DataFrame, name: str, other: str = "") -> Array:
    """Return a column, or another where there is none."""
    return raw[name if name in raw else other].to_numpy(dtype=float, na_value=np.nan)


def _days(raw: pd.DataFrame, name: str, day: dt.date) -> Array:
    """Return how many days ago something was."""
    return (np.datetime64(day) - raw[name].to_numpy().astype("datetime64[D]")).astype(float)


def _waited_sql(until: str) -> str:
    """Return for how many days an order was waited for; NULL where its receipt is not known though it is old."""
    so_far = f"DATE_DIFF('day', CAST(day AS DATE), {until})"
    return (
        f"CASE WHEN CAST(received_at AS DATE) <= {until} THEN DATE_DIFF('day', CAST(day AS DATE), "
        f"CAST(received_at AS DATE)) WHEN {so_far} <= {_UNTRACKED} THEN {so_far} END"
    )


def _since(until: str) -> Sequence[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]]:
    """Return per table the columns needed (who, when, others) and what is asked of the rows since a purchase."""
    answered = f"CAST(x.first_response_at AS DATE) <= {until}"
    old = f"DATE_DIFF('day', CAST(x.opened_at AS DATE), {until}) >= {_PATIENCE}"
    hours = "DATE_DIFF('hour', x.opened_at, x.first_response_at)"
    return (
        (
            "complaints",
            ("customer_id", "opened_at", "first_response_at"),
            (
                ("unanswered", f"CASE WHEN {answered} THEN 0 WHEN {old} THEN 1 ELSE 0 END"),
                ("slow_answer", f"CASE WHEN {answered} AND {hours} > {_SLOW_HOURS} THEN 1 ELSE 0 END"),
            ),
        ),
        (
            "feedback",
            ("customer_id", "created_at", "rating"),
            (("unhappy", f"CASE WHEN x.rating >= 1 AND x.rating <= {_LOW_RATING} THEN 1 ELSE 0 END"),),
        ),
        ("refunds", ("customer_id", "refunded_at"), (("refund", "1"),)),
    )
