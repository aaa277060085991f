"""Who watches and who buys: shares by age, gender, place and income, and buyers against viewers (A1)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from clvlib.audience.bands import BANDS, band_names, band_sql, edges_of
from clvlib.audience.period import days, during, purchases
from clvlib.data.engine import Table, identifier, literal
from clvlib.data.together import together
from clvlib.errors import DataError, EmptyDataError, MissingColumnError, ParameterError
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr

__all__ = ["Profile", "profile"]

Floats = NDArray[np.float64]
_FEATURES = (mark("age_band"), mark("gender"), mark("region"), mark("city_tier"), mark("income_band"))
UNKNOWN = mark("unknown")


@dataclass(frozen=True)
class Profile(Result):
    """Viewers and buyers by what is known of them.

    ``table`` has a row per feature and group: ``viewers`` and ``buyers`` (people of the period, each once), their
    shares ``viewer_share`` and ``buyer_share`` with Wilson limits ``…_lower`` and ``…_upper``, and ``buyer_index``: 100
    times the share among buyers over the share among viewers, with ``index_lower``, ``index_upper`` and ``p_value`` (of
    index 100, adjusted by Holm within a feature and then for the number of features; missing without a buyer, as the
    whole index is without a viewer). The index's limits hold for all groups together: they leave 100 out where the
    p-value is at most ``1 - level``. People
    of whom a feature is not known are the group ``unknown``, so every feature's groups add up to all viewers and all
    buyers. Without events the viewers' columns and the index are absent.

    Attributes
    ----------
    viewers, buyers : int
        People in all; viewers are 0 without events.
    both : int
        Buyers who were seen watching.
    nameless : int
        Viewers and buyers of whom the customers' table has no row.
    level : float
        Confidence level of the intervals.
    """

    viewers: int
    buyers: int
    both: int
    nameless: int
    level: float

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of ``table``."""
        shares = {f"{who}_{what}": "share" for who in ("viewer", "buyer") for what in ("share", "lower", "upper")}
        index = {"buyer_index": ".0f", "index_lower": ".0f", "index_upper": ".0f", "p_value": "p_value"}
        return {name: form for name, form in (shares | index).items() if name in self.table}

    @property
    def sentence(self) -> str:
        """The groups that differ most, in words."""
        if "buyer_index" not in self.table:
            top = self.table.sort_values("buyers", ascending=False, kind="stable").iloc[0]
            return tr(
                "{group} is the largest group of buyers, {share:.0%} of them",
                group=tr(top["group"]),
                share=top["buyer_share"],
            )
        apart = self.table[self.table["p_value"].lt(1 - self.level) & self.table["group"].ne(UNKNOWN)]
        if apart.empty:
            return tr("No group buys more, or less, than its share of the viewers by more than chance explains")
        order = apart["buyer_index"].div(100).map(np.log).abs().sort_values(ascending=False, kind="stable").index
        named = [
            tr("{group} ({index:.0f})", group=tr(str(apart.loc[k, "group"])), index=apart.loc[k, "buyer_index"])
            for k in order[:3]
        ]
        return tr(
            "Buyers differ from viewers most in {groups}; 100 is their share among viewers",
            groups=tr(", ").join(named),
        )


def profile(
    customers: Table | pd.DataFrame,
    events: Table | pd.DataFrame | None,
    orders: Table | pd.DataFrame,
    period: tuple[Any, Any],
    *,
    features: Sequence[str] = (),
    bands: Sequence[int] = BANDS,
    viewing: Sequence[str] = (),
    level: float = 0.95,
) -> Profile:
    """Describe the viewers and the buyers of a period.

    Parameters
    ----------
    customers, events, orders : Table or pandas.DataFrame
        Tables of one shop, or frames; ``events`` may be None.
    period : tuple
        First day, and the day after the last.
    features : sequence of str
        Columns of ``customers`` to describe people by; ``age_band`` is made from ``birth_year``. By default, those of
        age_band, gender, region, city_tier and income_band that there are.
    bands : sequence of int
        Ages at which bands begin. Ages are whole years, the period's last year less the year of birth.
    viewing : sequence of str
        Events that make a viewer; by default, any.
    level : float
        Confidence level.

    Returns
    -------
    Profile

    Raises
    ------
    MissingColumnError
        ``customers`` has none of the features.
    DataError
        ``customers`` has a customer twice.
    EmptyDataError
        Nobody watched or bought in the period.

    Notes
    -----
    The index's limits are those of its logarithm, a delta-method error that takes into account that buyers are mostly
    viewers too: with b of B buyers and v of V viewers in a group, o of O among those who are both, its square is
    1/b - 1/B + 1/v - 1/V - 2 (o/(b v) - o/(b V) - o/(B v) + O/(B V)). A group without a buyer has index 0 and as upper
    limit that of its share among buyers over its share among viewers. Each limit is at the level of the step at which
    Holm decided its group (:func:`clvlib.stats.multiplicity.agreeing_alpha`), so that limits and p-values agree.

    Examples
    --------
    >>> people = pd.DataFrame({"customer_id": ["a", "b", "c", "d"], "gender": ["female", "female", "male", None]})
    >>> log = pd.DataFrame({"person_id": ["a", "b", "c", "d"], "occurred_at": pd.Timestamp("2026-11-09")})
    >>> sold = pd.DataFrame({"customer_id": ["a", "b"], "ordered_at": pd.Timestamp("2026-11-10"), "amount": 9})
    >>> found = profile(people, log, sold, ("2026-11-09", "2026-11-16"))
    >>> found.table[["feature", "group", "viewers", "buyers", "buyer_index"]]
      feature    group  viewers  buyers  buyer_index
    0  gender   female        2       2        200.0
    1  gender     male        1       0          0.0
    2  gender  unknown        1       0          0.0
    """
    span = days(period)
    tables = together(customers=customers, events=events, orders=orders)
    chosen = _features(tables["customers"], features)
    edges = edges_of(bands)
    counts = tables["customers"].query(_sql(tables, chosen, span, edges, viewing))
    names = ("viewers", "buyers", "both", "found", "n", "people")
    totals = {name: float(counts[name].iloc[0]) for name in names}
    if not totals["n"]:
        raise EmptyDataError(
            tr("nobody watched or bought from {first} to {last}", first=span[0], last=span[1] - dt.timedelta(days=1))
        )
    if totals["n"] > totals["people"]:
        raise DataError(tr("customers: some customer_id stands in several rows; keep one row per customer"))
    rows = pd.concat([_groups(counts, f"f{i}", f, edges) for i, f in enumerate(chosen)], ignore_index=True)
    table = _shares(rows, totals, level, watched=events is not None)
    viewers, buyers, both = (int(totals[name]) for name in ("viewers", "buyers", "both"))
    nameless = int(totals["n"] - totals["found"])
    return Profile(viewers=viewers, buyers=buyers, both=both, nameless=nameless, level=level, table=table)


def _features(customers: Table, features: Sequence[str]) -> list[str]:
    customers.require("customer_id")
    there = {*customers.columns} | ({"age_band"} if "birth_year" in customers.columns else set())
    missing = [f for f in features if f not in there]
    chosen = list(features) or [f for f in _FEATURES if f in there]
    if missing or not chosen:
        wanted = ", ".join(missing) or ", ".join(_FEATURES)
        raise MissingColumnError(
            tr(
                "customers: there is no {wanted} to describe people by; the table has {columns}",
                wanted=wanted,
                columns=", ".join(customers.columns),
            )
        )
    return chosen


def _sql(
    tables: dict[str, Table],
    features: list[str],
    span: tuple[dt.date, dt.date],
    edges: list[int],
    viewing: Sequence[str],
) -> str:
    """One pass: each person once, with their features, counted per group of each feature and (first row) in all."""
    year = (span[1] - dt.timedelta(days=1)).year
    columns = [band_sql(edges, year) if f == "age_band" else f"CAST({identifier(f)} AS VARCHAR)" for f in features]
    described = ", ".join(f"COALESCE({column}, '{UNKNOWN}') AS f{i}" for i, column in enumerate(columns))
    names = [f"f{i}" for i in range(len(features))]
    return f"""
    WITH people AS (
        SELECT id, MAX(viewer) AS viewer, MAX(buyer) AS buyer FROM (
            {_viewers_sql(tables.get("events"), span, viewing)}
            SELECT DISTINCT CAST(customer_id AS VARCHAR) AS id, 0 AS viewer, 1 AS buyer
            FROM {purchases(tables["orders"]).relation} AS o WHERE {during("ordered_at", span)}
        ) AS u GROUP BY id
    ), described AS (
        SELECT p.id, viewer, buyer, CASE WHEN c.customer_id IS NULL THEN 0 ELSE 1 END AS found, {described}
        FROM people AS p LEFT JOIN {tables["customers"].relation} AS c ON p.id = CAST(c.customer_id AS VARCHAR)
    )
    SELECT {", ".join(names)}, COALESCE(SUM(viewer), 0) AS viewers, COALESCE(SUM(buyer), 0) AS buyers,
           COALESCE(SUM(viewer * buyer), 0) AS both, COALESCE(SUM(found), 0) AS found,
           COUNT(*) AS n, COUNT(DISTINCT id) AS people
    FROM described GROUP BY GROUPING SETS ((), {", ".join(f"({name})" for name in names)})
    ORDER BY {", ".join(f"{name} IS NULL DESC" for name in names)}"""


def _viewers_sql(events: Table | None, span: tuple[dt.date, dt.date], viewing: Sequence[str]) -> str:
    if events is None:
        return ""
    events.require("person_id", "occurred_at", *(["event"] if viewing else []))
    only = f" AND event IN {literal([*viewing])}" if viewing else ""
    return (
        f"SELECT DISTINCT CAST(person_id AS VARCHAR) AS id, 1 AS viewer, 0 AS buyer FROM {events.relation} AS e "
        f"WHERE person_id IS NOT NULL AND {during('occurred_at', span)}{only} UNION ALL"
    )


def _groups(counts: pd.DataFrame, column: str, feature: str, edges: list[int]) -> pd.DataFrame:
    """Rows of one feature: ages as they rise, other groups by size; unknown last."""
    rows = counts[counts[column].notna()]
    fixed = {name: place for place, name in enumerate(band_names(edges))} if feature == "age_band" else {}
    place = rows[column].map(lambda name: len(fixed) if name == UNKNOWN else fixed.get(name, -1))
    rows = rows.assign(feature=feature, group=rows[column], place=place)
    return rows.sort_values(["place", "viewers", "buyers", "group"], ascending=[True, False, False, True])


def _shares(rows: pd.DataFrame, totals: dict[str, float], level: float, *, watched: bool) -> pd.DataFrame:
    """Shares with limits, and the index where there are viewers."""
    table = rows[["feature", "group"]].reset_index(drop=True)
    counts = {name: rows[name].to_numpy(float) for name in ("viewers", "buyers", "both")}
    for name, share in (("viewers", "viewer"), ("buyers", "buyer")):
        if name == "viewers" and not watched:
            continue
        table[name] = counts[name].astype(np.int64)
        limits = np.full((len(rows), 3), np.nan)
        if totals[name]:
            limits = _wilson(counts[name], totals[name], level)
        table[[f"{share}_share", f"{share}_lower", f"{share}_upper"]] = limits
    if watched:
        columns = ["buyer_index", "index_lower", "index_upper", "p_value"]
        table[columns] = _index(counts, totals, level, table["buyer_upper"].to_numpy(), table["feature"].to_numpy())
    return table


def _wilson(x: Floats, n: float, level: float) -> Floats:
    try:
        return proportion_interval(x, n, level).to_numpy()
    except ValueError as error:
        raise ParameterError(str(error)) from error


def _index(
    counts: dict[str, Floats], totals: dict[str, float], level: float, buyer_upper: Floats, features: NDArray[Any]
) -> Floats:
    """Index with limits and adjusted p-value; missing where nobody of the group watched (see :func:`profile`)."""
    v, b = counts["viewers"], counts["buyers"]
    V, B = totals["viewers"], totals["buyers"]
    result = np.full((len(v), 4), np.nan)
    if not (V and B):
        return result
    seen = v > 0
    result[seen, 0] = 100 * (b[seen] / B) / (v[seen] / V)
    result[seen, 1], result[seen, 2] = 0.0, 100 * buyer_upper[seen] * V / v[seen]
    some = seen & (b > 0)
    error = _log_error({name: count[some] for name, count in counts.items()}, totals)
    distance = np.abs(np.log(result[some, 0] / 100))
    z = np.divide(distance, error, out=np.where(distance > 1e-12, np.inf, 0.0), where=error > 0)
    result[some, 3], alpha = _together(2 * special.ndtr(-z), features[some], 1 - level)
    half = -special.ndtri(alpha / 2) * error
    result[some, 1:3] = result[some, :1] * np.exp(np.column_stack([-half, half]))
    return result


def _log_error(counts: dict[str, Floats], totals: dict[str, float]) -> Floats:
    """Error of the index's logarithm (see :func:`profile`)."""
    v, b, o = counts["viewers"], counts["buyers"], counts["both"]
    V, B, O = totals["viewers"], totals["buyers"], totals["both"]  # noqa: E741 - as in the formula
    variance = 1 / b - 1 / B + 1 / v - 1 / V - 2 * (o / (b * v) - o / (b * V) - o / (B * v) + O / (B * V))
    return np.sqrt(np.maximum(variance, 0))


def _together(p: Floats, features: NDArray[Any], alpha: float) -> tuple[Floats, Floats]:
    """Adjust p-values within each feature and for the number of features; the level at which each was decided."""
    names = np.unique(features)
    adjusted, levels = np.ones(len(p)), np.full(len(p), alpha)
    for name in names:
        there = features == name
        adjusted[there] = np.minimum(1, len(names) * adjust(p[there]).to_numpy())
        levels[there] = agreeing_alpha(p[there], alpha / len(names)).to_numpy()
    return adjusted, levels
