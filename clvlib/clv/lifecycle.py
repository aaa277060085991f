"""Lifecycle stages (V5): one stage per person by explicit rules, what it is worth, and how people move between them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr

__all__ = ["STAGES", "Lifecycle", "lifecycle"]

STAGES = (
    *(mark("contact"), mark("awareness"), mark("purchase")),
    *(mark("use"), mark("maintenance"), mark("exit")),
)
NEW = mark("not yet known")

_MONTH = 4  # weeks


@dataclass(frozen=True)
class Lifecycle(Result):
    """Everybody who was ever seen, by lifecycle stage; ``table`` has a row per stage.

    ``table`` columns: ``people``, ``share``, ``weeks_in_stage`` (mean so far, at most those looked back; missing where
    nobody is), ``stay`` (share who are there a week later; missing where nobody was), ``in_a_month`` (how many of
    today's people are expected there in four weeks; who is new by then is not counted), and with a value ``value`` and
    ``value_per_person``.

    Attributes
    ----------
    as_of : str
        The last day.
    exit_days : int
        Days without a sign of life after which a person has left.
    people : int
        Everybody.
    by_person : pandas.DataFrame
        By person: ``stage``, ``before`` (a week ago, "not yet known" for new ones), ``weeks_in_stage``.
    flow : pandas.DataFrame
        People by stage a week ago (rows) and now (columns).
    transitions : pandas.DataFrame
        Share of the people of a stage (rows) who are in each (columns) a week later, pooled over the weeks looked back.
    weeks : int
        How many weeks were looked back.
    """

    as_of: str
    exit_days: int
    people: int
    weeks: int
    by_person: pd.DataFrame = field(repr=False)
    flow: pd.DataFrame = field(repr=False)
    transitions: pd.DataFrame = field(repr=False)

    def moves(self, level: float = 0.95) -> pd.DataFrame:
        """Return who went from one stage to another within the last week, the most first.

        Columns: ``before``, ``now``, ``people``, ``share`` of those who were in the stage before with ``share_lower``
        and ``share_upper`` (Wilson; blank for who was not known), and ``usual_share``, that of the weeks looked back.
        """
        long = ("before", None, "now")
        found = self.flow.reset_index(names="before").melt(*long, value_name="people")
        usual = self.transitions.reset_index(names="before").melt(*long, value_name="usual_share")
        found = found[(found["before"] != found["now"]) & (found["people"] > 0)]
        known = (found["before"] != NEW).to_numpy()
        limits = proportion_interval(found["people"], self.flow.sum(axis=1)[found["before"]].to_numpy(), level)
        for name, limit in (("share", "estimate"), ("share_lower", "lower"), ("share_upper", "upper")):
            found[name] = np.where(known, limits[limit].to_numpy(dtype=float), np.nan)
        found = found.merge(usual, how="left", on=["before", "now"])
        return found.sort_values("people", ascending=False, kind="stable", ignore_index=True)


def lifecycle(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    events: Table | pd.DataFrame | None = None,
    contacts: Table | pd.DataFrame | None = None,
    customers: Table | pd.DataFrame | None = None,
    *,
    exit_days: int = 90,
    use_days: int = 7,
    shallow: Sequence[str] = ("exposure",),
    weeks: int = 8,
    value: pd.Series | None = None,
) -> Lifecycle:
    """Put every person in one stage, by the first of these rules that holds on the day.

    ========== ==========================================================================================
    exit       no sign of life (event, order, sign-up) for more than ``exit_days`` days
    maintenance bought on two days or more
    use        bought on one day, and received it; without a date of receipt: more than ``use_days`` ago
    purchase   bought on one day, and not received it yet
    awareness  signed up, or did more than watch: any event that is not ``shallow``
    contact    all others: seen in the stream, or written to
    ========== ==========================================================================================

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id`` and ``day``, and ``received_at`` where it is known; where there is a column ``is_purchase`` only
        its rows count.
    as_of : str or date
        The last day that counts.
    events : Table or pandas.DataFrame, optional
        ``person_id``, ``occurred_at`` and ``event``; under customers' ids (:func:`clvlib.data.identities.resolved`).
    contacts : Table or pandas.DataFrame, optional
        ``customer_id`` and ``sent_at``. To be written to is no sign of life.
    customers : Table or pandas.DataFrame, optional
        ``customer_id`` and ``signed_up_at``.
    exit_days, use_days : int
        As above.
    shallow : sequence of str
        Events that show no interest.
    weeks : int
        Weeks looked back for transitions and time in a stage.
    value : pandas.Series, optional
        What each customer is worth, by customer_id; others are worth 0.

    Returns
    -------
    Lifecycle

    Raises
    ------
    EmptyDataError
        Nobody was seen by then.
    ParameterError
        A number of days or weeks below 1, or tables that do not go together.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": ["a", "a", "b", "c"], "day": pd.to_datetime(
    ...     ["2026-10-01", "2026-11-01", "2026-11-14", "2026-06-01"])})
    >>> seen = pd.DataFrame({"person_id": ["b", "d", "e"], "event": ["click", "click", "exposure"],
    ...                      "occurred_at": pd.to_datetime("2026-11-10")})
    >>> lifecycle(sold, "2026-11-15", seen).by_person["stage"].to_dict()
    {'a': 'maintenance', 'b': 'purchase', 'c': 'exit', 'd': 'awareness', 'e': 'contact'}
    """
    if min(exit_days, use_days, weeks) < 1:
        raise ParameterError(f"days and weeks are at least 1; found {exit_days}, {use_days} and {weeks}")
    last = as_date(as_of)
    tables = together(orders=orders, events=events, contacts=contacts, customers=customers)
    days = [last - dt.timedelta(weeks=back) for back in range(weeks, -1, -1)]
    history = _stages(tables, days, exit_days, use_days, list(shallow))
    if history.empty:
        raise EmptyDataError(tr("nobody was seen by {day}", day=last))
    codes = history.to_numpy(dtype=np.intp)
    now, before = codes[:, -1], codes[:, -2]
    lasted = np.cumprod((codes == now[:, None])[:, ::-1], axis=1).sum(axis=1)
    names = np.array([*STAGES, NEW], dtype=object)
    person = pd.DataFrame(
        {"stage": names[now], "before": names[before], "weeks_in_stage": np.minimum(lasted, weeks)}, index=history.index
    )
    pairs = sum((_counted(codes[:, i], codes[:, i + 1]) for i in range(weeks)), np.zeros((len(STAGES) + 1,) * 2))
    chances = _chances(pairs[:-1, :-1])
    flow = pd.DataFrame(_counted(before, now)[:, :-1].astype(int), index=[*STAGES, NEW], columns=list(STAGES))
    return Lifecycle(
        as_of=str(last),
        exit_days=exit_days,
        people=len(person),
        weeks=weeks,
        by_person=person,
        flow=flow,
        transitions=pd.DataFrame(chances, index=list(STAGES), columns=list(STAGES)),
        table=_table(person, chances, pairs[:-1].sum(axis=1) > 0, value),
    )


def _stages(
    tables: dict[str, Table], days: list[dt.date], exit_days: int, use_days: int, shallow: list[str]
) -> pd.DataFrame:
    """Return the place of everybody's stage on each day, a week apart; the one after the last for who was not known.

    What a table says counts from the first of the days by which it is known, so each is read once.
    """
    parts = [_sql(name, table, days, use_days, shallow) for name, table in tables.items()]
    facts = (
        "SELECT id, since, SUM(times) AS times, MAX(received) AS received, MAX(keen) AS keen, MAX(sign) AS sign FROM ("
        + " UNION ALL ".join(parts)
        + ") AS parts WHERE id IS NOT NULL GROUP BY 1, 2"
    )
    by_day = ", ".join(
        f"{fold}(CASE WHEN since <= {number} THEN {fact} END) AS {fact}_{number}"
        for number in range(len(days))
        for fold, fact in (("SUM", "times"), ("MAX", "received"), ("MAX", "keen"), ("MAX", "sign"))
    )
    stages = ", ".join(_stage(number, day - dt.timedelta(days=exit_days)) for number, day in enumerate(days))
    relations = {name: table.relation for name, table in tables.items()}
    engine = tables["orders"].engine
    query = f"SELECT id, {stages} FROM (SELECT id, {by_day} FROM ({facts}) AS f GROUP BY id) AS d ORDER BY id"
    return engine.query(query.format(**relations)).set_index("id")


def _stage(number: int, gone: dt.date) -> str:
    """Return the rules of one day, in their order."""
    place = {name: str(at) for at, name in enumerate((*STAGES, NEW))}
    times = f"times_{number}"
    return (
        f"CASE WHEN sign_{number} IS NULL THEN {place[NEW]} WHEN sign_{number} < {literal(gone)} THEN {place['exit']} "
        f"WHEN {times} > 1 THEN {place['maintenance']} WHEN {times} = 1 AND received_{number} > 0 THEN {place['use']} "
        f"WHEN {times} = 1 THEN {place['purchase']} WHEN keen_{number} > 0 THEN {place['awareness']} "
        f"ELSE {place['contact']} END AS stage_{number}"
    )


def _sql(name: str, table: Table, days: list[dt.date], use_days: int, shallow: list[str]) -> str:
    """Return what one table says of people: purchase days, receipt, interest, last sign of life, and since when."""
    relation = "{" + name + "}"

    def since(day: str) -> str:
        weeks = f"CEIL(DATE_DIFF('day', {literal(days[0])}, {day}) / 7.0)"
        return f"CAST(GREATEST({weeks}, 0) AS INTEGER)"

    def seen(who: str, when: str, keen: str) -> str:
        day = f"CAST({when} AS DATE)"
        return (
            f"SELECT {who} AS id, {since(day)} AS since, 0 AS times, 0 AS received, MAX({keen}) AS keen, "
            f"MAX({day}) AS sign FROM {relation} AS e WHERE {day} <= {literal(days[-1])} GROUP BY 1, 2"
        )

    if name == "orders":
        table.require("customer_id", "day")
        bought = " AND is_purchase" if "is_purchase" in table.columns else ""
        day = "CAST(day AS DATE)"
        sold = f"FROM {relation} AS o WHERE {day} <= {literal(days[-1])}{bought}"
        there, known = f"{day} + INTERVAL {use_days + 1} DAY", ""
        if "received_at" in table.columns:
            there, known = f"GREATEST({day}, CAST(received_at AS DATE))", " AND received_at IS NOT NULL"
        return (
            f"SELECT customer_id AS id, {since(day)} AS since, COUNT(DISTINCT {day}) AS times, 0 AS received, "
            f"1 AS keen, MAX({day}) AS sign {sold} GROUP BY 1, 2 UNION ALL "
            f"SELECT customer_id, {since(there)}, 0, 1, 0, NULL {sold}{known} GROUP BY 1, 2"
        )
    if name == "events":
        table.require("person_id", "occurred_at", "event")
        watched = f"event IN {literal(shallow)}" if shallow else "FALSE"
        return seen("person_id", "occurred_at", f"CASE WHEN {watched} THEN 0 ELSE 1 END")
    if name == "contacts":
        table.require("customer_id", "sent_at")
        first = f"SELECT customer_id AS id, MIN(CAST(sent_at AS DATE)) AS sign FROM {relation} AS c GROUP BY 1"
        return (
            f"SELECT id, {since('sign')} AS since, 0 AS times, 0 AS received, 0 AS keen, sign FROM ({first}) AS m "
            f"WHERE sign <= {literal(days[-1])}"
        )
    table.require("customer_id", "signed_up_at")
    return seen("customer_id", "signed_up_at", "1")


def _counted(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    size = len(STAGES) + 1
    return np.bincount(before * size + after, minlength=size * size).reshape(size, size).astype(float)


def _chances(pairs: np.ndarray) -> np.ndarray:
    """Return the shares of each row; a stage where nobody was keeps who comes to it."""
    total = pairs.sum(axis=1, keepdims=True)
    return np.where(total > 0, pairs / np.maximum(total, 1), np.eye(len(pairs)))


def _table(person: pd.DataFrame, chances: np.ndarray, known: np.ndarray, value: pd.Series | None) -> pd.DataFrame:
    groups = person.groupby("stage")
    people = groups.size().reindex(STAGES, fill_value=0)
    table = pd.DataFrame({"people": people, "share": people / len(person)})
    table["weeks_in_stage"] = groups["weeks_in_stage"].mean().reindex(STAGES)
    table["stay"] = np.where(known, np.diag(chances), np.nan)
    table["in_a_month"] = people.to_numpy() @ np.linalg.matrix_power(chances, _MONTH)
    if value is not None:
        worth = value.reindex(person.index).fillna(0.0)
        table["value"] = worth.groupby(person["stage"]).sum().reindex(STAGES, fill_value=0.0)
        table["value_per_person"] = table["value"] / people.where(people > 0)
    table.index.name = "stage"
    return table
