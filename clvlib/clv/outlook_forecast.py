"""The forecast of one day: figures of the coming weeks as distributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.misses import USUAL
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.outlook_draws import Ahead, Curve, ahead, paced
from clvlib.clv.outlook_value import per_order, spreads, value_ahead
from clvlib.clv.outlook_weeks import Past, by_clock
from clvlib.clv.valuation import CustomerValue
from clvlib.clv.value import LifetimeValue
from clvlib.stats.quantiles import LEVELS
from clvlib.words import mark

__all__ = ["FIGURES", "Made", "forecast"]

Array = NDArray[np.float64]

FIGURES = {
    "orders": mark("Orders"),
    "buyers": mark("Buyers"),
    "revenue": mark("Revenue"),
    "base_value": mark("Value of the base"),
}

_STEP = 0.1  # of a horizon, for how fast buyers grow with orders


@dataclass(frozen=True)
class Made:
    """One day's forecast."""

    table: pd.DataFrame  # by weeks and figure
    orders: Array  # draws by week
    value: float  # of the base on that day
    spreads: tuple[float, float]
    so_far: float  # orders behind the estimates
    adds: float  # to the value by an order more

    def apart(self, orders: float) -> tuple[float, float]:
        """Return the spreads of estimates from so many orders."""
        much, most = (spread * float(np.sqrt(self.so_far / max(orders, 1.0))) for spread in self.spreads)
        return much, most


def forecast(
    study: CustomerValue, past: Past, life: LifetimeValue, summary: pd.DataFrame, weeks: list[int],
    draws: int, seed: int, like: Made | pd.DataFrame,
) -> Made:  # fmt: skip
    """Forecast from what was known on the last day of ``past``.

    What the parameters are not known, and what an order adds to the value, is taken from a forecast ``like`` it (the
    former falls as the root of the orders), or found from the histories of as many weeks ago as the first of ``weeks``.
    """
    rng = np.random.default_rng(seed)
    spend = life.spend.expected_spend(summary).to_numpy(dtype=float)
    orders, money = Curve.of(life.purchases, summary, weeks[-1] + study.horizon, spend)
    pace, model, known = paced(life.purchases, past), life.purchases, summary
    if (pace != 1).any():
        known = by_clock(summary, pace)
        model = study.fitted(known, type(model)).purchases
        orders, _ = Curve.of(model, known, weeks[-1], spend)
    made = float(past.weeks["orders"].sum())
    if isinstance(like, Made):
        apart, adds = like.apart(made), like.adds
    else:
        apart = spreads(life, summary, spend, study.horizon)
        adds = per_order(life, summary, like, spend, weeks[0], study.horizon)
    drawn = ahead(model, known, past, pace, orders, apart[0], weeks[-1], draws, rng)
    unsure = float(np.hypot(apart[1], USUAL))
    now, later = value_ahead(life, money, drawn, weeks, study.horizon, adds, unsure, made, rng)
    tail = (1 - study.interval) / 2
    rows = {}
    for week in weeks:
        found = _figures(model, known, orders, drawn, week, rng) | {"base_value": later[week]}
        for figure in FIGURES:
            lower, upper, *quantiles = np.quantile(found[figure], [tail, 1 - tail, *LEVELS])
            rows[week, figure] = {
                "mean": float(found[figure].mean()),
                "lower": float(lower),
                "upper": float(upper),
                "median": float(np.median(found[figure])),
                "quantiles": dict(zip(LEVELS, map(float, quantiles), strict=True)),
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["weeks", "figure"])
    return Made(table, drawn.known + drawn.new + drawn.later, now, apart, made, adds)


def _figures(
    model: PurchaseModel, summary: pd.DataFrame, curve: Curve, drawn: Ahead, weeks: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Return draws of orders, buyers and revenue within so many weeks.

    Who buys at all grows more slowly than orders do: a busier time is a longer one, so how buyers grow with a longer
    horizon says how they grow with orders. Whether a customer buys is chance of his own besides: where all buy often,
    orders come by the hundred without one buyer more, and yet some stay away.
    """
    cells, p = model._read(summary), model._p()  # noqa: SLF001 - forecasts stand on the machinery of the models

    def some(span: float) -> Array:
        return np.asarray(model._tail_cells(p, cells, span, np.ones(len(cells))))  # noqa: SLF001

    longer, each = weeks * (1 + _STEP), some(weeks)
    buyers, orders = float(cells.weight @ each), curve(weeks)
    more = float(cells.weight @ some(longer))
    grows = np.log(more / buyers) / np.log(curve(longer) / orders) if orders > 0 and buyers > 0 else 1.0
    known = drawn.known[:, :weeks].sum(axis=1)
    new = drawn.new[:, :weeks].sum(axis=1)
    expected = float(drawn.known_mean[:weeks].sum())
    who = known
    if expected > 0:
        lacking = float(cells.weight @ (each * (1 - each))) - (buyers * grows) ** 2 / expected
        own = np.sqrt(max(lacking, 0.0)) * rng.standard_normal(len(known))
        who = np.maximum(buyers * (known / expected) ** grows + own, 0.0)
    return {
        "orders": known + new + drawn.later[:, :weeks].sum(axis=1),
        "buyers": np.minimum(who, len(cells.inverse)) + new,
        "revenue": drawn.money[:, :weeks].sum(axis=1),
    }
