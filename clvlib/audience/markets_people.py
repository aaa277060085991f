"""The people of a period, one row each: what is known of them, and what they did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pandas as pd

from clvlib.audience.bands import band_sql
from clvlib.audience.period import during, purchases
from clvlib.data.engine import Table, identifier, literal
from clvlib.errors import DataError, EmptyDataError, MissingColumnError
from clvlib.words import mark, tr

__all__ = ["FEATURES", "people_of"]

FEATURES = (
    *(mark("age_band"), mark("gender"), mark("region"), mark("city_tier"), mark("income_band"), mark("interests")),
)


def people_of(
    tables: dict[str, Table],
    halves: tuple[dt.date, dt.date, dt.date],
    features: Sequence[str],
    edges: list[int],
    viewing: Sequence[str],
) -> pd.DataFrame:
    """Return everybody who was seen or bought, with 1 and 0 for what they did.

    Parameters
    ----------
    tables : dict of Table
        ``customers``, ``orders``, and ``events`` where there are.
    halves : tuple of date
        First day, first day of the second half, and the day after the last.
    features, edges, viewing
        As for :func:`clvlib.audience.markets.markets`, checked bands.

    Returns
    -------
    pandas.DataFrame
        ``id``, the features (missing where not known), ``found`` (has a row among the customers), ``people`` (1),
        ``seen``, ``bought``, ``converted`` (both), ``spend`` (net), ``early`` and ``late`` (bought in that half).

    Raises
    ------
    MissingColumnError
        ``customers`` has none of the features.
    DataError
        ``customers`` has a customer twice.
    EmptyDataError
        Nobody was seen or bought in the period.
    """
    first, middle, end = halves
    chosen = _chosen(tables["customers"].require("customer_id"), features)
    year = (end - dt.timedelta(days=1)).year
    described = ", ".join(
        f"{band_sql(edges, year) if name == 'age_band' else f'CAST(c.{identifier(name)} AS VARCHAR)'}"
        f" AS {identifier(name)}"
        for name in chosen
    )
    frame = tables["customers"].query(
        f"""WITH acts AS (
            {_seen_sql(tables.get("events"), (first, end), viewing)}
            SELECT CAST(customer_id AS VARCHAR) AS id, 0 AS seen, 1 AS bought, CAST(net_amount AS DOUBLE) AS spend,
                   CASE WHEN ordered_at < {literal(middle)} THEN 1 ELSE 0 END AS early,
                   CASE WHEN ordered_at < {literal(middle)} THEN 0 ELSE 1 END AS late
            FROM {purchases(tables["orders"]).relation} AS o WHERE {during("ordered_at", (first, end))}
          ), each AS (
            SELECT id, 1.0 AS people, MAX(seen) * 1.0 AS seen, MAX(bought) * 1.0 AS bought,
                   MAX(seen) * MAX(bought) * 1.0 AS converted, SUM(spend) AS spend, MAX(early) * 1.0 AS early,
                   MAX(late) * 1.0 AS late FROM acts GROUP BY id)
        SELECT e.*, c.customer_id IS NOT NULL AS found, {described}
        FROM each AS e LEFT JOIN {{t}} AS c ON e.id = CAST(c.customer_id AS VARCHAR) ORDER BY e.id"""
    )
    if frame.empty:
        last = end - dt.timedelta(days=1)
        raise EmptyDataError(tr("nobody watched or bought from {first} to {last}", first=first, last=last))
    if frame["id"].duplicated().any():
        raise DataError(tr("customers: some customer_id stands in several rows; keep one row per customer"))
    counted = ["people", "seen", "bought", "converted", "spend", "early", "late"]
    return frame.astype(dict.fromkeys(counted, float))


def _chosen(customers: Table, features: Sequence[str]) -> list[str]:
    there = {*customers.columns} | ({"age_band"} if "birth_year" in customers.columns else set())
    missing = [name for name in features if name not in there]
    chosen = [*features] or [name for name in FEATURES if name in there]
    if missing or not chosen:
        raise MissingColumnError(
            tr(
                "customers: there is no {wanted} to describe people by; the table has {columns}",
                wanted=", ".join(missing) or ", ".join(FEATURES),
                columns=", ".join(customers.columns),
            )
        )
    return chosen


def _seen_sql(events: Table | None, period: tuple[dt.date, dt.date], viewing: Sequence[str]) -> str:
    if events is None:
        return ""
    events.require("person_id", "occurred_at", *(["event"] if viewing else []))
    only = f" AND event IN {literal([*viewing])}" if viewing else ""
    return (
        "SELECT DISTINCT CAST(person_id AS VARCHAR) AS id, 1 AS seen, 0 AS bought, 0.0 AS spend, 0 AS early, 0 AS late "
        f"FROM {events.relation} AS e WHERE person_id IS NOT NULL AND {during('occurred_at', period)}{only} UNION ALL"
    )
