"""How good risks were: Brier score, calibration, and what a list of a workable size would have held."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from clvlib.clv.churn_hazard import logit, straightened
from clvlib.clv.churn_rounds import METHODS, PURCHASE, RULE
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.words import paragraph, tr, trn

__all__ = ["RiskGrade", "bands", "grade_risks", "score_table"]

Array = NDArray[np.float64]

_EDGES = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class RiskGrade(Result):
    """Risks stated earlier against what happened since; ``table`` has a row per band of risk, and names nobody.

    ``table`` columns: ``lowest``, ``highest`` (the band), ``customers``, ``predicted`` (mean risk), ``observed`` (share
    who bought nothing), ``lower``, ``upper`` (Wilson).

    Attributes
    ----------
    made, as_of : str
        When the risks were stated, and the last day looked at.
    weeks, horizon : float
        How long that is, and how long the risks speak of.
    complete : bool
        Whether the horizon is over. Before, whoever bought is known not to have lapsed; the others may still buy.
    customers : int
        Who had a risk.
    predicted, observed, lower, upper : float
        Mean risk, and the share who bought nothing, with its interval.
    listed : int
        How many the list named.
    precision, precision_lower, precision_upper : float
        Share of them who bought nothing.
    lift : float
        That over the share of all; NaN where everybody bought.
    level : float
        Of the intervals.
    """

    made: str
    as_of: str
    weeks: float
    horizon: float
    complete: bool
    customers: int
    predicted: float
    observed: float
    lower: float
    upper: float
    listed: int
    precision: float
    precision_lower: float
    precision_upper: float
    lift: float
    level: float

    @property
    def sentence(self) -> str:
        """What came of the list and of the risks."""
        said = trn(
            "Of the {n:,} customer most at risk on {made}, {hit:.0%} bought nothing in the {weeks:g} weeks since "
            "({lower:.0%} to {upper:.0%}).",
            "Of the {n:,} customers most at risk on {made}, {hit:.0%} bought nothing in the {weeks:g} weeks since "
            "({lower:.0%} to {upper:.0%}).",
            self.listed,
            made=self.made,
            hit=self.precision,
            weeks=self.weeks,
            lower=self.precision_lower,
            upper=self.precision_upper,
        )
        if not self.complete:
            left = tr("Their time is not over: {weeks:g} more weeks decide.", weeks=self.horizon - self.weeks)
            return paragraph(said, left)
        return (
            said
            + " "
            + tr(
                "Of all {n:,}, {observed:.0%} bought nothing ({lower:.0%} to {upper:.0%}), {predicted:.0%} were "
                "expected to.",
                n=self.customers,
                observed=self.observed,
                lower=self.lower,
                upper=self.upper,
                predicted=self.predicted,
            )
        )


def grade_risks(
    earlier: pd.DataFrame,
    orders: Table | pd.DataFrame,
    made: str | dt.date,
    as_of: str | dt.date,
    horizon: int,
    list_size: int = 100,
    level: float = 0.9,
) -> RiskGrade:
    """Hold risks that were stated earlier against what customers did since.

    Parameters
    ----------
    earlier : pandas.DataFrame
        By customer_id: ``risk``, and ``listed`` where a list was made of it; else the highest risks are taken for it.
    orders : Table or pandas.DataFrame
        ``customer_id`` and ``day``; rows with ``amount`` of 0 or less and unpaid ones do not count.
    made : str or date
        The last day that the risks knew.
    as_of : str or date
        The last day that counts now.
    horizon : int
        Weeks of which the risks speak.
    list_size : int
        Length of the list, where ``earlier`` does not say.
    level : float
        Of the intervals.

    Returns
    -------
    RiskGrade

    Raises
    ------
    EmptyDataError
        No customer had a risk.
    ParameterError
        A risk is not between 0 and 1, or no day has passed.

    Examples
    --------
    >>> risks = pd.DataFrame({"risk": [0.9, 0.8, 0.2, 0.1]}, index=pd.Index(list("abcd"), name="customer_id"))
    >>> sold = pd.DataFrame({"customer_id": ["b", "c", "d"], "day": pd.to_datetime(["2026-11-03"] * 3)})
    >>> graded = grade_risks(risks, sold, "2026-11-01", "2026-11-15", horizon=2, list_size=2)
    >>> graded.precision, graded.observed, graded.predicted
    (0.5, 0.25, 0.5)
    """
    start, last = as_date(made, "made"), as_date(as_of)
    if last <= start or horizon < 1:
        raise ParameterError(f"risks of {start} are graded on a later day, of at least a week's horizon; found {last}")
    end = min(last, start + dt.timedelta(weeks=horizon))
    sold = as_table(orders, "orders", "customer_id", "day")
    condition = " AND ".join(
        text
        for column, text in (("amount", "amount > 0"), ("paid_at", "paid_at IS NOT NULL"))
        if column in sold.columns
    )
    came = sold.query(
        f"SELECT DISTINCT customer_id FROM {{t}} AS t WHERE {condition or 'TRUE'} AND CAST(day AS DATE) > "
        f"{literal(start)} AND CAST(day AS DATE) <= {literal(end)}"
    )["customer_id"]
    weeks = (end - start).days / 7
    return graded(earlier.assign(lapsed=~earlier.index.isin(came)), start, end, weeks, horizon, list_size, level)


def graded(
    rows: pd.DataFrame, made: dt.date, end: dt.date, weeks: float, horizon: float, list_size: int, level: float
) -> RiskGrade:
    """Grade customers with ``risk``, ``lapsed`` and perhaps ``listed``."""
    risk, lapsed = rows["risk"].to_numpy(dtype=float), rows["lapsed"].to_numpy(dtype=float)
    if not len(risk):
        raise EmptyDataError(f"no customer had a risk on {made}")
    if not ((risk >= 0) & (risk <= 1)).all():
        raise ParameterError("a risk is a probability; some are not between 0 and 1")
    listed = rows["listed"].to_numpy(dtype=float) if "listed" in rows else members(risk, list_size)
    whole = proportion_interval(lapsed.sum(), len(lapsed), level).iloc[0]
    size = max(float(listed.sum()), 1e-9)
    some = proportion_interval(min(float(listed @ lapsed), size), size, level).iloc[0]
    return RiskGrade(
        made=str(made),
        as_of=str(end),
        weeks=weeks,
        horizon=horizon,
        complete=weeks >= horizon,
        customers=len(risk),
        predicted=float(risk.mean()),
        observed=float(whole["estimate"]),
        lower=float(whole["lower"]),
        upper=float(whole["upper"]),
        listed=round(size),
        precision=float(some["estimate"]),
        precision_lower=float(some["lower"]),
        precision_upper=float(some["upper"]),
        lift=float(some["estimate"] / whole["estimate"]) if whole["estimate"] > 0 else float("nan"),
        level=level,
        table=bands(risk, lapsed, level),
    )


def bands(risk: ArrayLike, lapsed: ArrayLike, level: float, customers: ArrayLike | None = None) -> pd.DataFrame:
    """Return predicted and observed shares by tenths of risk; rows of one customer count as one in the interval."""
    p, y = np.asarray(risk, dtype=float), np.asarray(lapsed, dtype=float)
    who = np.arange(len(p)) if customers is None else pd.factorize(np.asarray(customers))[0]
    place = np.clip(np.searchsorted(_EDGES, p, side="right") - 1, 0, len(_EDGES) - 2)
    groups = pd.DataFrame({"place": place, "risk": p, "lapsed": y, "who": who}).groupby("place")
    table = groups.agg(customers=("who", "size"), predicted=("risk", "mean"), observed=("lapsed", "mean"))
    people = groups["who"].nunique()
    limits = proportion_interval(table["observed"] * people, people, level)
    table.insert(0, "lowest", _EDGES[table.index])
    table.insert(1, "highest", _EDGES[table.index + 1])
    return table.assign(lower=limits["lower"], upper=limits["upper"]).reset_index(drop=True)


def members(score: ArrayLike, size: int) -> Array:
    """Return how much of each customer the list of the ``size`` highest holds: equals at its end share what is left.

    >>> members([3.0, 2.0, 2.0, 1.0], 2).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    values = np.asarray(score, dtype=float)
    if size >= len(values):
        return np.ones(len(values))
    edge = np.partition(values, len(values) - size)[len(values) - size]
    above, equal = values > edge, values == edge
    return np.where(above, 1.0, np.where(equal, (size - above.sum()) / equal.sum(), 0.0))


def score_table(rows: pd.DataFrame, list_size: int, level: float, draws: int, seed: Any) -> pd.DataFrame:
    """Score the methods on rolling origins.

    Parameters
    ----------
    rows : pandas.DataFrame
        What :func:`clvlib.clv.churn_rounds.rounds` returns.
    list_size : int
        Customers who can be worked on, on each day.
    level : float
        Of all intervals.
    draws : int
        Bootstrap resamples of customers, the same for all methods.
    seed : int or numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        By method: ``brier``; ``difference`` (of it to the purchase model's); ``slope`` of the calibration line, 1 where
        risks mean what they say; ``precision`` (share of the list who lapsed), ``lift`` (over the share of all),
        ``gain`` (precision less the recency rule's); each with ``_lower`` and ``_upper``. Those of precision and lift
        are Wilson's, in which a customer on several lists counts once; those of Brier score, difference and gain come
        from the bootstrap, that of the slope is robust to customers being in several rows.
    """
    names = [name for name in METHODS if name in rows]
    who, people = pd.factorize(rows.index)
    lapsed = rows["lapsed"].to_numpy(dtype=float)
    lists = {name: _lists(rows, name, list_size) for name in names}
    losses = {name: (rows[name].to_numpy(dtype=float) - lapsed) ** 2 for name in names}
    columns = [np.ones(len(rows)), *losses.values(), *lists.values(), *(lists[name] * lapsed for name in names)]
    sums = np.column_stack([np.bincount(who, column) for column in columns])
    whole = _ratios(sums.sum(axis=0)[None], names)[0]
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people)) @ sums for _ in range(draws)]
    )
    spread = _ratios(drawn, names)
    lower, upper = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], axis=0)
    table = pd.DataFrame(index=pd.Index(names, name="method"))
    for j, measure in enumerate(("brier", "difference", "precision", "gain")):
        table[measure] = whole[:, j]
        table[f"{measure}_lower"], table[f"{measure}_upper"] = lower[:, j], upper[:, j]
    return _finished(table, rows, lists, lapsed, who, level)


def _lists(rows: pd.DataFrame, method: str, size: int) -> Array:
    """Return the lists that a method would have made, one on each day; the rule takes the longest silence first."""
    by = "silence_weeks" if method == RULE else method
    made = [members(part.to_numpy(dtype=float), size) for _, part in rows.groupby("day", sort=False)[by]]
    return np.concatenate(made)


def _ratios(sums: Array, names: list[str]) -> NDArray[Any]:
    """Return Brier score, difference, precision and gain of each method, shape (draws, methods, 4)."""
    n, m = sums[:, :1], len(names)
    brier = sums[:, 1 : 1 + m] / n
    precision = sums[:, 1 + 2 * m :] / np.maximum(sums[:, 1 + m : 1 + 2 * m], 1e-12)
    rival, rule = names.index(PURCHASE), names.index(RULE)
    parts = (brier, brier - brier[:, [rival]], precision, precision - precision[:, [rule]])
    return np.stack(parts, axis=2)


def _finished(
    table: pd.DataFrame, rows: pd.DataFrame, lists: dict[str, Array], lapsed: Array, who: NDArray[np.intp], level: float
) -> pd.DataFrame:
    """Add slope and lift, and Wilson's limits of precision."""
    z, base = float(stats.norm.isf((1 - level) / 2)), float(lapsed.mean())
    for name in table.index:
        line = straightened(logit(rows[name]), lapsed, precision=0, customers=who)
        once = np.zeros(int(who.max()) + 1)
        np.maximum.at(once, who, lists[name])
        n, share = float(once.sum()), float(table.loc[name, "precision"])
        limits = proportion_interval(share * n, n, level).iloc[0]
        found = {
            "slope": line.slope,
            "slope_lower": line.slope - z * line.error,
            "slope_upper": line.slope + z * line.error,
            "precision_lower": limits["lower"],
            "precision_upper": limits["upper"],
            "lift": share / base,
            "lift_lower": limits["lower"] / base,
            "lift_upper": limits["upper"] / base,
        }
        for column, value in found.items():
            table.loc[name, column] = value
    return table
