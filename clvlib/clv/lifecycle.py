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

    ``table`` columns: ``people``, ``share``, ``weeks_in_stage`` (mean so far, at most those looked back), ``stay``
    (share who are there a week later), ``in_a_month`` (how many of today's people are expected there in four weeks; who
    is new by then is not counted), and with a value ``value`` and ``value_per_person``.

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
    found = [_stages(tables, day, exit_days, use_days, list(shallow)) for day in days]
    if found[-1].empty:
        raise EmptyDataError(tr("nobody was seen by {day}", day=last))
    history = pd.DataFrame(dict(zip(days, found, strict=True))).reindex(found[-1].index)
    codes = np.stack([_codes(history[day]) for day in days], axis=1)
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
        table=_table(person, chances, value),
    )


def _stages(tables: dict[str, Table], day: dt.date, exit_days: int, use_days: int, shallow: list[str]) -> pd.Series:
    """Return the stage of everybody seen by a day."""
    parts = [_sql(name, table, day, use_days, shallow) for name, table in tables.items()]
    facts = (
        "SELECT id, SUM(times) AS times, MAX(received) AS received, MAX(keen) AS keen, MAX(sign) AS sign FROM ("
        + " UNION ALL ".join(parts)
        + ") AS parts WHERE id IS NOT NULL GROUP BY id"
    )
    gone = literal(day - dt.timedelta(days=exit_days))
    stage = (
        f"CASE WHEN sign < {gone} THEN 'exit' WHEN times > 1 THEN 'maintenance' WHEN times = 1 AND received > 0 THEN "
        "'use' WHEN times = 1 THEN 'purchase' WHEN keen > 0 THEN 'awareness' ELSE 'contact' END"
    )
    relations = {name: table.relation for name, table in tables.items()}
    engine = next(iter(tables.values())).engine
    frame = engine.query(f"SELECT id, {stage} AS stage FROM ({facts}) AS f ORDER BY id".format(**relations))
    stages: pd.Series = frame.set_index("id")["stage"]
    return stages


def _sql(name: str, table: Table, day: dt.date, use_days: int, shallow: list[str]) -> str:
    """Return what one table says of people by a day: purchase days, receipt, interest, last sign of life."""
    until, relation = literal(day), "{" + name + "}"
    if name == "orders":
        table.require("customer_id", "day")
        bought = " AND is_purchase" if "is_purchase" in table.columns else ""
        late = f"CASE WHEN CAST(day AS DATE) < {literal(day - dt.timedelta(days=use_days))} THEN 1 ELSE 0 END"
        if "received_at" in table.columns:
            late = f"CASE WHEN CAST(received_at AS DATE) <= {until} THEN 1 WHEN received_at IS NULL THEN 0 ELSE 0 END"
        return (
            f"SELECT customer_id AS id, COUNT(DISTINCT CAST(day AS DATE)) AS times, MAX({late}) AS received, "
            f"1 AS keen, MAX(CAST(day AS DATE)) AS sign FROM {relation} AS o "
            f"WHERE CAST(day AS DATE) <= {until}{bought} GROUP BY 1"
        )
    if name == "events":
        table.require("person_id", "occurred_at", "event")
        watched = f"event IN {literal(shallow)}" if shallow else "FALSE"
        keen = f"MAX(CASE WHEN {watched} THEN 0 ELSE 1 END)"
        who, when = "person_id", "occurred_at"
    elif name == "contacts":
        table.require("customer_id", "sent_at")
        return (
            "SELECT customer_id AS id, 0 AS times, 0 AS received, 0 AS keen, MIN(CAST(sent_at AS DATE)) AS sign "
            f"FROM {relation} AS c WHERE CAST(sent_at AS DATE) <= {until} GROUP BY 1"
        )
    else:
        table.require("customer_id", "signed_up_at")
        keen, who, when = "1", "customer_id", "signed_up_at"
    return (
        f"SELECT {who} AS id, 0 AS times, 0 AS received, {keen} AS keen, MAX(CAST({when} AS DATE)) AS sign "
        f"FROM {relation} AS e WHERE CAST({when} AS DATE) <= {until} GROUP BY 1"
    )


def _codes(stages: pd.Series) -> np.ndarray:
    """Return the place of each stage; the last for who was not known."""
    place = pd.Index(STAGES).get_indexer(pd.Index(stages))
    return np.where(place < 0, len(STAGES), place)


def _counted(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    size = len(STAGES) + 1
    return np.bincount(before * size + after, minlength=size * size).reshape(size, size).astype(float)


def _chances(pairs: np.ndarray) -> np.ndarray:
    """Return the shares of each row; a stage where nobody was keeps who comes to it."""
    total = pairs.sum(axis=1, keepdims=True)
    return np.where(total > 0, pairs / np.maximum(total, 1), np.eye(len(pairs)))


def _table(person: pd.DataFrame, chances: np.ndarray, value: pd.Series | None) -> pd.DataFrame:
    groups = person.groupby("stage")
    people = groups.size().reindex(STAGES, fill_value=0)
    table = pd.DataFrame({"people": people, "share": people / len(person)})
    table["weeks_in_stage"] = groups["weeks_in_stage"].mean().reindex(STAGES, fill_value=0.0)
    table["stay"] = np.diag(chances)
    table["in_a_month"] = people.to_numpy() @ np.linalg.matrix_power(chances, _MONTH)
    if value is not None:
        worth = value.reindex(person.index).fillna(0.0)
        table["value"] = worth.groupby(person["stage"]).sum().reindex(STAGES, fill_value=0.0)
        table["value_per_person"] = table["value"] / people.clip(lower=1)
    table.index.name = "stage"
    return table
