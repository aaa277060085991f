"""What touchpoints bring in money: credit for margin and value, by the age of a touch, and beside its cost (F5)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.engine import Table
from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.funnel.paths import Chain, Credit, asked, chain_of, shared_out
from clvlib.funnel.paths_draws import KINDS_SQL, Drawn, drawn_anew, kinds_of
from clvlib.result import Result
from clvlib.stats.resample import interval_of_draws
from clvlib.words import tr, trn

__all__ = ["Worth", "worth_of_touches"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Worth(Result):
    """What touchpoints bring and cost.

    ``table`` has a row per ``touch``, those with most orders first: ``orders`` with ``orders_lower`` and
    ``orders_upper`` (Markov), ``time_decay`` (orders); each kind of money with its limits; with cost ``cost``,
    ``cost_per_order`` with limits and, where there is a ``value``, ``value_to_cost`` with limits. Cost counts as known.

    Attributes
    ----------
    level : float
        Confidence level.
    """

    level: float

    @property
    def credited(self) -> pd.DataFrame:
        """Orders and money, their limits as intervals, for people to read."""
        shown = self._read([name for name in ("orders", "time_decay", "margin", "value") if name in self.table])
        return shown.rename(columns={"value": "expected_value", "value_interval": "expected_value_interval"})

    @property
    def costs(self) -> pd.DataFrame:
        """Cost, and what it brings, of the touchpoints with a known cost."""
        names = [name for name in ("cost", "cost_per_order", "value_to_cost") if name in self.table]
        return self._read(names)[self.table["cost"].notna()] if names else pd.DataFrame()

    def formats(self, frame: pd.DataFrame) -> dict[str, str]:
        """Return how a notebook writes the columns of :attr:`credited` or :attr:`costs`."""
        forms = dict.fromkeys(("margin", "expected_value", "cost", "cost_per_order"), "money")
        forms |= dict.fromkeys(("orders", "time_decay"), ",.0f") | {"value_to_cost": ".1f"}
        forms |= {f"{name}_interval": form for name, form in forms.items()}
        return {name: form for name, form in forms.items() if name in frame}

    @property
    def sentence(self) -> str:
        """Which channel brings most and least expected value for its cost, in words."""
        ratios = self.table["value_to_cost"].dropna() if "value_to_cost" in self.table else pd.Series(dtype=float)
        if len(ratios) < 2:
            return tr("What the channels cost, or what their customers are worth, is not known.")
        ordered = self.table.loc[ratios.sort_values(kind="stable").index]
        best, worst = ordered.iloc[-1], ordered.iloc[0]
        told = {f"{side}{end}": row[f"value_to_cost{end}"] for side, row in (("high", best), ("low", worst))
                for end in ("", "_lower", "_upper")}  # fmt: skip
        return tr(
            "By credit {best} brings {high:.1f} times its cost in expected value ({high_lower:.1f} to "
            "{high_upper:.1f}), {worst} {low:.1f} times ({low_lower:.1f} to {low_upper:.1f}).",
            best=tr(str(best.name)),
            worst=tr(str(worst.name)),
            **told,
        )

    def _read(self, names: list[str]) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for name in names:
            columns[name] = self.table[name]
            if f"{name}_lower" in self.table:
                lower, upper = self.table[f"{name}_lower"], self.table[f"{name}_upper"]
                spans = pd.arrays.IntervalArray.from_arrays(lower, upper, closed="both")
                columns[f"{name}_interval"] = pd.Series(spans, index=self.table.index)
        return pd.DataFrame(columns)


def worth_of_touches(
    found: Credit,
    events: Any,
    goal: str,
    touch: str = "channel",
    window: str | pd.Timedelta = "7D",
    *,
    touches: Sequence[str] = (),
    as_of: Any,
    starts: tuple[Any, Any] | None = None,
    worth: pd.DataFrame | None = None,
    cost: pd.Series | None = None,
    half_life: str | pd.Timedelta = "7D",
    draws: int = 200,
    seed: int = 0,
) -> Worth:
    """Credit touchpoints with money, and set it beside what they cost.

    What a person is worth is shared equally by his conversions of the period, so that credited sums are those of the
    people who converted. Each sum is credited by removal effects as :func:`clvlib.funnel.paths.credit` credits
    conversions, the chance to convert being replaced by what a journey is expected to bring.

    Parameters
    ----------
    found : Credit
        Of the same journeys.
    events, goal, touch, window, touches, as_of, starts
        As for :func:`clvlib.funnel.paths.journeys`.
    worth : pandas.DataFrame, optional
        By person_id, a column for each kind of money, such as ``margin`` and ``value``: totals of the person.
    cost : pandas.Series, optional
        By touchpoint, what was spent on it in the period.
    half_life : str or pandas.Timedelta
        With ``time_decay`` a touch counts half of one that is so much later.
    draws, seed : int
        Of the bootstrap: people are drawn, and what those who made the same journeys are worth as normal around its
        mean.

    Returns
    -------
    Worth

    Raises
    ------
    MissingColumnError, ParameterError
        As for :func:`clvlib.funnel.paths.journeys`; worth is not finite, or a half-life not positive.

    Warns
    -----
    ThinDataWarning
        Some who converted have no row in ``worth``; they count as worth nothing.

    Examples
    --------
    >>> from clvlib.funnel.paths import credit, journeys
    >>> log = pd.DataFrame({"person_id": list("aabb"), "channel": ["x", "y", "y", "y"],
    ...                     "event": ["view", "order", "view", "order"],
    ...                     "occurred_at": pd.date_range("2026-11-02", periods=4, freq="h")})
    >>> found = credit(journeys(log, "order", as_of="2026-11-30"))
    >>> worth = pd.DataFrame({"margin": [30.0, 50.0]}, index=["a", "b"])
    >>> worth_of_touches(found, log, "order", as_of="2026-11-30", worth=worth).table["margin"].to_dict()
    {'x': 30.0, 'y': 50.0}
    """
    half = pd.Timedelta(half_life) / pd.Timedelta(microseconds=1)
    if not half > 0 or (worth is not None and not np.isfinite(worth.to_numpy(dtype=float)).all()):
        raise ParameterError("worth_of_touches: a half-life is positive, and what people are worth is finite")
    runs, written = asked(events, goal, touch, window, touches, as_of, starts)
    limits = found.table[["markov", "lower", "upper"]]
    result = limits.set_axis(["orders", "orders_lower", "orders_upper"], axis=1).copy()
    decayed = runs.query(_decay(half), written=written).set_index("touch")["credit"]
    result["time_decay"] = decayed.reindex(result.index, fill_value=0.0)
    if worth is not None:
        result = result.join(_credited(found, written, worth, draws, seed))
    return Worth(table=result if cost is None else _beside_cost(result, cost), level=found.level)


def _decay(half: float) -> str:
    """Share each conversion out over its touchpoints by their age at the last of them."""
    return f"""SELECT touch, SUM(weight / total) AS credit FROM (
        SELECT touch, weight, SUM(weight) OVER (PARTITION BY person_id, journey) AS total FROM (
            SELECT r.touch, r.person_id, r.journey, POWER(2.0, (r.us - r.latest) / {half!r}) AS weight FROM (
                SELECT *, MAX(us) OVER (PARTITION BY person_id, journey) AS latest FROM {{t}} AS t
                WHERE won = 0 AND repeated = 0
            ) AS r JOIN {{written}} AS w ON r.person_id = w.person_id AND r.journey = w.journey WHERE w.won = 1
        ) AS a
    ) AS b GROUP BY touch ORDER BY touch"""


def _credited(found: Credit, written: Table, worth: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Credit for each kind of money, with limits."""
    chain, names = chain_of(found.paths["path"])
    people = written.query(f"SELECT person_id, kind FROM ({KINDS_SQL}) AS k WHERE conversions > 0 ORDER BY person_id")
    own = worth.set_axis(worth.index.astype(str)).reindex(people["person_id"].astype(str))
    nobody = int(own.isna().all(axis=1).sum())
    if nobody:
        text = trn(
            "{n:,} person who converted is worth nothing in the data: paid back, or not known",
            "{n:,} people who converted are worth nothing in the data: paid back, or not known",
            nobody,
        )
        warnings.warn(text, ThinDataWarning, stacklevel=3)
    kinds = kinds_of(written)
    place = kinds.index.get_indexer(pd.Index(people["kind"]))
    drawn = drawn_anew(found.paths, kinds, draws, seed)
    won = found.paths["conversions"].to_numpy(dtype=float)
    lost = found.paths["journeys"].to_numpy(dtype=float) - won
    columns: dict[str, Floats] = {}
    for name in worth.columns:
        money = own[name].fillna(0.0).to_numpy(dtype=float)
        total, squares = (np.bincount(place, money**power, len(kinds)).astype(float) for power in (1, 2))
        if not total.sum() > 0:
            continue
        columns[name] = shared_out(chain.removal_effects(won, lost, drawn.shares.T @ total), total.sum())
        ends = _limits(chain, drawn, total, squares, kinds.to_numpy(dtype=float), found.level, seed)
        columns[f"{name}_lower"], columns[f"{name}_upper"] = ends.T
    return pd.DataFrame(columns, index=pd.Index(names, name="touch"))


def _limits(
    chain: Chain, drawn: Drawn, total: Floats, squares: Floats, people: Floats, level: float, seed: int
) -> NDArray[np.float64]:
    """Limits of the credit for a sum, given by kind of people, as are its squares and how many they are."""
    rich = np.flatnonzero(total)
    count, mean = drawn.people[:, rich], total[rich] / people[rich]
    spread = np.maximum(squares[rich] / people[rich] - mean**2, 0.0)
    luck = np.random.default_rng(seed + 1).standard_normal(count.shape)
    money = np.maximum(count * mean + np.sqrt(count * spread) * luck, 0.0)
    brought = (drawn.shares[rich].T @ money.T).T
    some = brought.any(axis=1)
    effects = chain.removal_effects(drawn.won[some], drawn.lost[some], brought[some])
    credited = shared_out(effects, brought[some].sum(axis=1, keepdims=True))
    return interval_of_draws(credited, level)[["lower", "upper"]].to_numpy()


def _beside_cost(result: pd.DataFrame, cost: pd.Series) -> pd.DataFrame:
    spent = cost.set_axis(cost.index.astype(str)).reindex(result.index).astype(float)
    spent = spent.where(spent > 0)  # nothing spent, or nothing known of it: there is no cost by which to divide
    result = result.assign(cost=spent)
    per_order = {"": "orders", "_lower": "orders_upper", "_upper": "orders_lower"}
    for end, name in per_order.items():
        result[f"cost_per_order{end}"] = spent / result[name]  # infinite where no order may have come of it
    if "value" in result:
        for end in ("", "_lower", "_upper"):
            result[f"value_to_cost{end}"] = result[f"value{end}"] / spent
    return result
