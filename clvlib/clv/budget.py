"""Where to put the budget (V11): value, cost and marginal return by channel, and what a moved budget may bring."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from clvlib.clv.budget_curves import response_curves
from clvlib.clv.budget_facts import by_segment, new_people, segment_of, weekly_spend
from clvlib.clv.budget_moves import extrapolated, moved, proposed
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import mark, money, paragraph, tr

__all__ = ["Budget", "budget"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Budget(Result):
    """What channels cost and bring, and how the budget may be divided; ``table`` has a row per channel that costs.

    ``table`` columns, per week of the last weeks: ``new_customers``, ``spend``, ``value_per_customer``, ``value``, and
    ``average`` (value by spend) with ``_lower`` and ``_upper``; ``elasticity`` with limits, and ``marginal`` (value of
    the next unit of spend) with limits, blank where it cannot be told; ``proposed`` spend, ``change`` as a share;
    ``seen_least`` and ``seen_most`` (weekly spend so far), and ``beyond``: proposed outside of that.

    Attributes
    ----------
    as_of : str
        The last day that counts.
    weeks, recent : int
        Weeks from which curves are learnt, and those that are "today".
    spend, proposed : float
        Total per week, today and proposed.
    gain, lower, upper : float
        Value less spend that the proposal is expected to bring per week beyond today's, with its interval; NaN where no
        curve is told.
    extrapolated : float
        Share of the moves' expected value that comes from spend never seen; NaN without a gain.
    level : float
        Of the intervals.
    told : int
        Channels whose curve is told.
    segments : pandas.DataFrame
        By segment of new customers: customers, ``value_per_customer``, ``cost_per_customer`` at what their channels
        cost, and ``average`` with limits; empty without segments.
    """

    as_of: str
    weeks: int
    recent: int
    spend: float
    proposed: float
    gain: float
    lower: float
    upper: float
    extrapolated: float
    level: float
    told: int
    segments: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """What channels bring on average, and what can be said of the next unit of spend."""
        known = self.table["average"].dropna().sort_values(kind="stable")
        if known.empty:
            return tr("What the channels bring for their cost is not known.")
        text = mark(
            "A unit spent brings {low:.1f} in {worst} to {high:.1f} in {best}, on average of the last {n} weeks."
        )
        said = tr(
            text,
            low=known.iloc[0],
            worst=tr(str(known.index[0])),
            high=known.iloc[-1],
            best=tr(str(known.index[-1])),
            n=self.recent,
        )
        return paragraph(said, self._curves())

    def _curves(self) -> str:
        if not self.told:
            return tr(
                "What the next unit would bring cannot be told: spend moved with the weeks, or hardly at all, so that "
                "no channel shows a curve. To learn it, change one channel's spend for some weeks and not the others'."
            )
        names = [tr(str(name)) for name in self.table.index[self.table["elasticity"].notna()]]
        return tr(
            "For {names} past weeks tell how new customers answer to spend; the others keep what they have.",
            names=tr(", ").join(names),
        )

    @property
    def verdict(self) -> str:
        """What moving the budget is expected to bring."""
        if not np.isfinite(self.gain):
            return tr("No move of the budget is proposed.")
        moved = float((self.table["proposed"] - self.table["spend"]).clip(lower=0).sum())
        if moved < 0.005 * max(self.spend, 1e-300):
            return tr("Within the limits today's budget is already divided as well as can be told.")
        text = mark(
            "Moving {moved} a week is expected to bring {gain} ({lower} to {upper}) more a week; "
            "{share:.0%} of what moves comes from spend never seen. Spend was not drawn by lot: this is what past "
            "weeks show, not a proof."
        )
        told = {"moved": moved, "gain": self.gain, "lower": self.lower, "upper": self.upper}
        return tr(text, share=self.extrapolated, **{name: money(figure) for name, figure in told.items()})


def budget(
    orders: Table | pd.DataFrame,
    spend: Table | pd.DataFrame,
    value: pd.Series,
    as_of: str | dt.date,
    customers: Table | pd.DataFrame | None = None,
    *,
    margin: float = 0.3,
    total: float | None = None,
    change: float | Mapping[str, tuple[float, float]] = 0.3,
    weeks: int = 52,
    recent: int = 8,
    segment: str = "",
    value_limits: tuple[float, float] | None = None,
    level: float = 0.9,
    draws: int = 2_000,
    seed: int = 0,
) -> Budget:
    """Say what channels cost and bring, and how their budget is best divided as far as past weeks tell.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``day``, ``net_amount``, and ``channel`` where customers have none; only purchases count.
    spend : Table or pandas.DataFrame
        ``channel``, ``date``, ``cost``.
    value : pandas.Series
        By customer_id, the margin expected from that day on; what was earned so far is added.
    as_of : str or date
        The last day that counts; weeks are counted back from it.
    customers : Table or pandas.DataFrame, optional
        ``channel`` of each customer, which counts before that of the first purchase.
    margin : float
        Share of spend that is kept.
    total : float, optional
        Budget per week that is divided; default: today's.
    change : float or mapping of str to (float, float)
        By which share a channel's spend may fall or rise; or by channel the least and the most spend per week, others
        staying as they are. Channels without a curve stay as they are.
    weeks, recent : int
        Weeks that curves are learnt from, and the last weeks that are called today.
    segment : str
        Column of ``customers`` by which new customers are told apart; empty: none.
    value_limits : pair of float, optional
        Lower and upper end of the sum of ``value``, at the level: how far off all values may be together.
    level : float
        Of the intervals.
    draws, seed : int
        Of elasticities and values.

    Returns
    -------
    Budget

    Raises
    ------
    EmptyDataError
        Nothing was spent, or nobody came, in the last weeks.
    ParameterError
        Limits that leave no room, a share that is none.

    Notes
    -----
    Curves are those of :func:`clvlib.clv.budget_curves.response_curves`: no curve, no move. The proposal has the
    highest expected value (mean over draws, concave in spend) among all that keep the limits, by sequential quadratic
    programming (scipy, SLSQP); the gain's interval is that of the same draws. Value per customer is that of those who
    came within ``weeks``; more spend is taken to bring customers like those. Effects that outlast a week are not looked
    for. Intervals hold the chance of who comes (Gamma, by Jeffreys' prior, so that a channel of which nobody came has
    one too), how customers of a channel differ, and with ``value_limits`` what all expected values share.
    """
    _check(weeks, recent, level, draws, margin)
    end = as_date(as_of)
    tables = together(orders=orders, spend=spend, customers=customers)
    people = new_people(tables, end, weeks, value, margin)
    weekly = weekly_spend(tables["spend"], people, end, weeks)
    now = weekly[weekly["week"] < recent].groupby("channel")[["cost", "new"]].sum() / recent
    now = now[now["cost"] > 0]
    if now.empty or not now["new"].sum():
        raise EmptyDataError(tr("in the last {n} weeks nothing was spent, or nobody came of it", n=recent))
    rng = np.random.default_rng(seed)
    curves = response_curves(weekly[weekly["channel"].isin(now.index)], level, draws, rng)
    elasticity = curves.draws[:, curves.table.index.get_indexer(now.index)]
    error = _shared_error(value, value_limits, level)
    worth = _worth(now, people, error, curves.dispersion, recent, draws, rng)
    table = _table(now, weekly, people, worth, elasticity, level)
    told = np.asarray(np.isfinite(elasticity).all(axis=0))
    proposal = proposed(table, elasticity, worth, told, total, change)
    table = table.assign(proposed=proposal, change=proposal / table["spend"] - 1)
    seen = proposal.clip(table["seen_least"].to_numpy(), table["seen_most"].to_numpy())
    table["beyond"] = ~np.isclose(proposal, seen)
    gained = moved(proposal, table, elasticity, worth) - (float(proposal.sum()) - float(table["spend"].sum()))
    gain = [np.nan] * 3 if not told.any() else [float(gained.mean()), *np.quantile(gained, _tails(level))]
    return Budget(
        as_of=str(end),
        weeks=weeks,
        recent=recent,
        spend=float(table["spend"].sum()),
        proposed=float(proposal.sum()),
        gain=gain[0],
        lower=float(gain[1]),
        upper=float(gain[2]),
        extrapolated=extrapolated(proposal, seen, table, elasticity, worth) if told.any() else np.nan,
        level=level,
        told=int(told.sum()),
        segments=by_segment(people, weekly, segment_of(tables.get("customers"), segment), error, level),
        table=table.sort_values("spend", ascending=False, kind="stable"),
    )


def _shared_error(value: pd.Series, limits: tuple[float, float] | None, level: float) -> float:
    """Return the relative standard error that all expected values share."""
    if limits is not None and not 0 <= limits[0] <= limits[1] < np.inf:
        raise ParameterError(f"value_limits are the lower and the upper end of a sum of values; found {limits}")
    if limits is None or not value.sum() > 0:
        return 0.0
    return float((limits[1] - limits[0]) / (2 * stats.norm.ppf((1 + level) / 2) * value.sum()))


def _worth(
    now: pd.DataFrame,
    people: pd.DataFrame,
    error: float,
    dispersion: float,
    recent: int,
    draws: int,
    rng: np.random.Generator,
) -> Array:
    """Draw the value that today's spend brings in a week: new customers times what such customers bring."""
    groups = people[people["channel"].isin(now.index)].groupby("channel")
    size = groups.size().reindex(now.index, fill_value=0).to_numpy(dtype=float)
    whole = people[["value", "expected"]].mean()  # of channels that nobody came from, what all bring is as good a guess
    mean, expected = groups[["value", "expected"]].mean().reindex(now.index).fillna(whole).to_numpy(dtype=float).T
    spread = float(people["value"].std()) if len(people) > 1 else 0.0
    deviation = groups["value"].std().reindex(now.index).fillna(spread).to_numpy(dtype=float)
    each = mean + deviation / np.sqrt(np.maximum(size, 1)) * rng.standard_normal((draws, len(now)))
    each = np.maximum(each + error * expected * rng.standard_normal((draws, 1)), 0.0)
    shape = (now["new"].to_numpy(dtype=float) * recent + 0.5) / dispersion
    return np.asarray(each * rng.gamma(shape, dispersion / recent, (draws, len(now))))


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _table(
    now: pd.DataFrame, weekly: pd.DataFrame, people: pd.DataFrame, worth: Array, elasticity: Array, level: float
) -> pd.DataFrame:
    cost = now["cost"].to_numpy(dtype=float)
    brings = people.groupby("channel")["value"].mean().reindex(now.index)
    table = pd.DataFrame({"new_customers": now["new"], "spend": now["cost"], "value_per_customer": brings})
    table["value"] = table["new_customers"] * brings.fillna(0.0)
    told = {"average": worth / cost, "elasticity": elasticity, "marginal": elasticity * worth / cost}
    for name, drawn in told.items():
        table[name] = drawn.mean(axis=0)
        table[f"{name}_lower"], table[f"{name}_upper"] = np.quantile(drawn, _tails(level), axis=0)
    table["average"] = table["value"] / table["spend"]
    table["average_lower"] = table[["average", "average_lower"]].min(axis=1)  # of nobody it is 0, as of few it may be
    spent = weekly[weekly["channel"].isin(now.index)].groupby("channel")["cost"]
    table["seen_least"], table["seen_most"] = spent.min(), spent.max()
    return table


def _check(weeks: int, recent: int, level: float, draws: int, margin: float) -> None:
    if not 0 < margin <= 1:
        raise ParameterError(f"margin is a share of spend, above 0 up to 1; found {margin}")
    if not 1 <= recent <= weeks or not 0 < level < 1 or draws < 100:
        found = f"weeks {weeks}, recent {recent}, level {level}, draws {draws}"
        raise ParameterError(f"recent is a part of the weeks, level a share, and draws 100 or more; found {found}")
