"""The one question that an experiment asks of the engine, and the arithmetic that joins its answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from clvlib.abtest.clusters import Clusters, Columns, covariance
from clvlib.abtest.metric import Metric
from clvlib.abtest.outcomes_sql import end_sql, money_column, outcomes_sql, seconds
from clvlib.data.engine import Table, as_table, identifier, literal
from clvlib.data.together import together
from clvlib.errors import DataError, MissingTableError, ParameterError
from clvlib.words import mark, tr, trn

__all__ = [
    "COUNTS",
    "fetch",
    "fetch_members",
    "fetch_people",
    "fetch_shared",
    "fetch_values",
    "length",
    "merged",
    "span",
]

COUNTS = ("people", "extra_rows", "bought_before", "bad_amounts", "uncovered")
_COUNTED = """COUNT(*) AS people, SUM(seen - 1) AS extra_rows,
       SUM(CASE WHEN orders_before > 0 THEN 1 ELSE 0 END) AS bought_before,
       SUM(bad_amounts) AS bad_amounts, SUM(uncovered) AS uncovered,
       MIN(assigned_at) AS first_assigned, MAX(assigned_at) AS last_assigned,
       MAX(until) AS until"""
KEYS = ["variant", "status", "look", "day", "segment", "cluster_id"]


def fetch(
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    metrics: Iterable[Metric],
    *,
    name: str,
    window: pd.Timedelta,
    history: pd.Timedelta,
    as_of: str | dt.date | None = None,
    segments: tuple[Table | pd.DataFrame, str] | None = None,
    complaints: Table | pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Aggregate an experiment by arm, whether people's windows are over, the week in which they ended, and day.

    Parameters
    ----------
    assignments, orders : Table or pandas.DataFrame
        As :meth:`clvlib.abtest.experiment.Experiment.analyse` takes them.
    metrics : iterable of Metric
        Whose aggregates are wanted.
    name : str
        Name of the experiment.
    window, history : pandas.Timedelta
        How long after the assignment orders count, and how long before it they serve for comparison.
    as_of : str or date, optional
        Until when the data are known.
    segments : pair of Table or pandas.DataFrame and str, optional
        A table of people, by ``customer_id``, and its column whose values are the segments.
    complaints : Table or pandas.DataFrame, optional
        As :meth:`clvlib.abtest.experiment.Experiment.analyse` takes them.

    Returns
    -------
    pandas.DataFrame
        A row per ``variant``, ``status`` (``mature``, ``open``, ``double``), ``look`` (the end of the ISO week in which
        the windows ended, or of the data; missing unless mature), ``day`` of assignment and ``segment``, with the
        :data:`COUNTS`, ``first_assigned``, ``last_assigned`` and the aggregates of all metrics. Where the assignments
        name clusters, a row per ``cluster_id`` too; people without one share the row in which it is missing.
    """
    known = list(metrics)
    tables = _together(assignments, orders, None if segments is None else segments[0], complaints)
    _require(tables, known)
    wanted = [f"{sql} AS {identifier(key)}" for m in known for key, sql in m.aggregates().items()]
    by = None if segments is None else segments[1]
    if by is not None:
        tables["customers"].require(by)
    sql = outcomes_sql(tables, name, (seconds(window), seconds(history)), end_sql(as_of), by)
    keys, people = ", ".join(KEYS), tables.pop("assignments")
    asked = ", ".join([_COUNTED, *wanted])
    cells = people.query(f"{sql}\nSELECT {keys}, {asked} FROM dated GROUP BY {keys} ORDER BY {keys}", **tables)
    return cells if cells["cluster_id"].notna().any() else cells.drop(columns="cluster_id")


def fetch_shared(
    assignments: Table | pd.DataFrame, orders: Table | pd.DataFrame, *, name: str, as_of: str | dt.date | None = None
) -> pd.DataFrame:
    """Count the people of an experiment who are in another one too, by the arms of both.

    Parameters
    ----------
    assignments, orders, name, as_of
        As :func:`fetch` takes them.

    Returns
    -------
    pandas.DataFrame
        A row per ``other`` experiment, ``variant`` and ``other_variant``, with ``people``; without those of two arms.
    """
    tables = _together(assignments, orders, None, None)
    here = literal(name).replace("{", "{{").replace("}", "}}")
    people = tables.pop("assignments")
    if people.query("SELECT COUNT(DISTINCT CAST(experiment AS VARCHAR)) AS n FROM {t}")["n"].iloc[0] < 2:
        return pd.DataFrame({"other": [], "variant": [], "other_variant": [], "people": []})
    return people.query(
        f"""WITH known AS (SELECT {end_sql(as_of)} AS until),
    p AS (
      SELECT CAST(experiment AS VARCHAR) AS experiment, CAST(unit_id AS VARCHAR) AS unit_id,
             MIN(CAST(variant AS VARCHAR)) AS variant, MAX(CAST(variant AS VARCHAR)) AS other
      FROM {{t}} AS _a, known WHERE unit_id IS NOT NULL AND variant IS NOT NULL
        AND CAST(assigned_at AS TIMESTAMP) < known.until GROUP BY 1, 2
    )
    SELECT b.experiment AS other, a.variant, b.variant AS other_variant, COUNT(*) AS people
    FROM p AS a JOIN p AS b ON a.unit_id = b.unit_id AND a.experiment <> b.experiment
    WHERE a.experiment = {here} AND a.variant = a.other AND b.variant = b.other GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        **tables,
    )


def fetch_values(
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    *,
    name: str,
    window: pd.Timedelta,
    as_of: str | dt.date | None = None,
) -> pd.DataFrame:
    """Count how often people whose windows are over brought which revenue.

    Parameters
    ----------
    assignments, orders, name, window, as_of
        As :func:`fetch` takes them.

    Returns
    -------
    pandas.DataFrame
        A row per ``variant``, ``bought`` (whether they ordered at all), ``revenue`` and, where the assignments name
        clusters, ``cluster_id``, with ``people``.
    """
    tables = _together(assignments, orders, None, None)
    sql = outcomes_sql(tables, name, (seconds(window), seconds(pd.Timedelta("1s"))), end_sql(as_of), None)
    people, keys = tables.pop("assignments"), "variant, bought, revenue, cluster_id"
    query = f"""{sql} SELECT variant, orders > 0 AS bought, revenue, cluster_id, COUNT(*) AS people
      FROM outcomes WHERE status = 'mature' GROUP BY {keys} ORDER BY {keys}"""
    values = people.query(query, **tables)
    return values if values["cluster_id"].notna().any() else values.drop(columns="cluster_id")


def fetch_members(
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    *,
    name: str,
    as_of: str | dt.date,
    until: str | dt.date | None = None,
) -> pd.DataFrame:
    """List the people of an experiment with what they brought since their assignment.

    Parameters
    ----------
    assignments, orders, name
        As :func:`fetch` takes them.
    as_of : str or date
        Who was assigned by then, and what they brought by then.
    until : str or date, optional
        What they brought from then to here is ``came``; nothing when left out.

    Returns
    -------
    pandas.DataFrame
        By ``unit_id``: ``variant``, ``cluster_id`` (missing where people were assigned one by one), ``observed`` and
        ``came`` (money net of refunds). People of two arms are left out.
    """
    tables = _together(assignments, orders, None, None)
    long = seconds(pd.Timedelta("36500D"))
    end = end_sql(as_of if until is None else until)
    sql = outcomes_sql(tables, name, (long, seconds(pd.Timedelta("1s"))), end, None)
    then = end_sql(as_of)
    query = f"""{sql}, parts AS (
      SELECT unit_id, SUM(CASE WHEN NOT earlier AND ordered_at < {then} THEN amount ELSE 0 END) AS observed,
             SUM(CASE WHEN ordered_at >= {then} THEN amount ELSE 0 END) AS came FROM purchases GROUP BY unit_id
    )
    SELECT p.unit_id, p.variant, p.cluster_id, COALESCE(b.observed, 0) AS observed, COALESCE(b.came, 0) AS came
    FROM people AS p LEFT JOIN parts AS b ON b.unit_id = p.unit_id
    WHERE p.variant = p.other_variant AND p.assigned_at < {then} ORDER BY p.unit_id"""
    people = tables.pop("assignments")
    return people.query(query, **tables).set_index("unit_id")


def fetch_people(people: Table | pd.DataFrame, metrics: Iterable[Metric], *, as_of: str | dt.date) -> pd.DataFrame:
    """Aggregate a table that has a row per person, all of whose windows are over, by arm (and cluster).

    Parameters
    ----------
    people, as_of
        As :meth:`clvlib.abtest.experiment.Experiment.analyse_people` takes them.
    metrics : iterable of Metric
        Whose aggregates are wanted.

    Returns
    -------
    pandas.DataFrame
        As from :func:`fetch`, without what only assignments and orders can tell.

    Raises
    ------
    DataError
        A metric is missing or infinite for somebody.
    """
    table = as_table(people, "people", "variant")
    known = list(metrics)
    wanted = [f"{sql} AS {identifier(key)}" for m in known for key, sql in m.aggregates().items()]
    values = list(dict.fromkeys(value for m in known for value in m.values()))
    missing = " + ".join(f"COUNT(*) - COUNT({value})" for value in values) or "0"
    keys = ["variant", "cluster_id"] if "cluster_id" in table.columns else ["variant"]
    cells = table.query(
        f"SELECT {', '.join(keys)}, 'mature' AS status, COUNT(*) AS people, {missing} AS missing, {', '.join(wanted)} "
        f"FROM {{t}} AS _p WHERE variant IS NOT NULL GROUP BY {', '.join(keys)} ORDER BY {', '.join(keys)}"
    )
    means = [name for name in cells.columns if name.endswith("_mean")]
    if cells.pop("missing").sum() or not np.isfinite(cells[means].to_numpy(dtype=float)).all():
        raise DataError(f"people: {' or '.join(values)} is missing or infinite for somebody; mend or leave them out")
    cells = cells.assign(look=pd.Timestamp(as_of))
    return cells.drop(columns="cluster_id") if "cluster_id" in cells and cells["cluster_id"].isna().all() else cells


def merged(cells: pd.DataFrame, by: list[str], metrics: Iterable[Metric]) -> pd.DataFrame:
    """Join the aggregates of groups that do not overlap into those of ``by``, exactly.

    Parameters
    ----------
    cells : pandas.DataFrame
        What :func:`fetch` returned.
    by : list of str
        Columns that stay apart.
    metrics : iterable of Metric
        Whose aggregates are there.

    Returns
    -------
    pandas.DataFrame
        A row per group with the :data:`COUNTS`, ``clusters`` (0 where people were assigned one by one), their
        degrees of ``freedom`` if there are any, and the aggregates of all metrics, whose variances are theirs then.
    """
    known = list(metrics)
    figures = cells.drop(columns=[*KEYS, "first_assigned", "last_assigned"], errors="ignore")
    columns = {str(name): column.to_numpy(dtype=float) for name, column in figures.items()}
    if "cluster_id" in cells:
        columns["cluster"] = pd.factorize(cells["cluster_id"])[0].astype(float)
    group = cells.groupby(by, sort=False).ngroup().to_numpy()
    rows: list[dict[str, Any]] = []
    for k in range(group.max(initial=-1) + 1):
        places = np.flatnonzero(group == k)
        key = {name: cells[name].iloc[places[0]] for name in by}
        rows.append(key | _joined({name: column[places] for name, column in columns.items()}, known))
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*by, *cells.columns.difference(by)])


def _joined(columns: Columns, metrics: Iterable[Metric]) -> dict[str, Any]:
    """Join the aggregates of the groups of one row."""
    row: dict[str, Any] = {column: int(columns[column].sum()) for column in COUNTS if column in columns}
    row["clusters"] = 0
    if "cluster" in columns:
        clusters = Clusters.of(columns)
        row |= {"clusters": int(clusters.number), "freedom": clusters.freedom}
        if "bought_before" in columns:
            row["before_variance"] = _before(columns)
    for metric in metrics:
        row |= metric.merge(columns)
    return row


def _before(rows: Columns) -> float:
    """Variance of having bought in the window before assignment, by clusters."""
    n = rows["people"]
    share = rows["bought_before"] / n
    distance = share - rows["bought_before"].sum() / n.sum()
    return covariance(rows, share * (1 - share) * n / np.maximum(n - 1, 1), distance, distance)


def span(text: str, what: str) -> pd.Timedelta:
    """Read a span such as ``"7D"``.

    Raises
    ------
    ParameterError
        It is none, or shorter than a second.
    """
    try:
        found = pd.Timedelta(text)
    except ValueError as error:
        raise ParameterError(f"{what}: {text!r} is no span such as '7D' or '48h'") from error
    if not found >= pd.Timedelta("1s"):
        raise ParameterError(f"{what}: a span of at least a second is needed; found {text!r}")
    return found


def length(window: str) -> str:
    """Write a span in days where it is made of whole ones, in hours otherwise."""
    days, rest = divmod(span(window, "window"), pd.Timedelta("1D"))
    if rest:
        return tr("{hours:g} hours", hours=span(window, "window") / pd.Timedelta("1h"))
    return trn("{n} day", "{n} days", days)


def _together(
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    customers: Table | pd.DataFrame | None,
    complaints: Table | pd.DataFrame | None,
) -> dict[str, Table]:
    """All as tables of one engine, since they are joined there."""
    tables = together(assignments=assignments, orders=orders, customers=customers, complaints=complaints)
    tables["assignments"].require("experiment", "variant", "unit_id", "assigned_at")
    tables["orders"].require("customer_id", "ordered_at", money_column(tables["orders"]))
    if "customers" in tables:
        tables["customers"].require("customer_id")
    if "complaints" in tables:
        tables["complaints"].require("customer_id", "opened_at")
    return tables


def _require(tables: Mapping[str, Table], metrics: Iterable[Metric]) -> None:
    """Refuse a metric whose tables or columns are not there."""
    for metric in metrics:
        for need in metric.needs:
            table, _, column = need.partition(".")
            if table not in tables:
                text = mark("{metric} needs the table {table}, which this shop does not have")
                raise MissingTableError(tr(text, metric=tr(metric.name), table=table))
            if column:
                tables[table].require(column)
