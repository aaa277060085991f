"""What the base will be worth some weeks from now: who is known today, older by then, and who is still to come."""

# ruff: noqa: SLF001 - value stands on the machinery of the models, below what users see

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.cells import PERIODS_PER_YEAR
from clvlib.clv.outlook_draws import Ahead, Curve
from clvlib.clv.value import LifetimeValue

__all__ = ["per_order", "spreads", "value_ahead"]

Array = NDArray[np.float64]

_PARTS = 4  # of the horizon, each discounted from its middle: within 0.01% of the integral at 15% a year


def spreads(lifetime: LifetimeValue, summary: pd.DataFrame, spend: Array, horizon: float) -> tuple[float, float]:
    """Return by how much, relatively, what the parameters are not known moves all purchases, and all money.

    Over the cubature points of the estimates; models that were given their parameters have none.
    """
    model = lifetime.purchases
    cells, p = model._read(summary), model._p()
    rows = np.bincount(cells.inverse, weights=cells.rows * spend, minlength=len(cells))
    orders, often, much = np.ones(1), np.ones(1), np.ones(1)
    if model._log_covariance is not None:
        each = [model._expected_cells(point, cells, horizon) for point in model._points()]
        orders, often = (np.array([weight @ one for one in each]) for weight in (cells.weight, rows))
    if lifetime.spend._log_covariance is not None:
        expected = cells.rows * cells.expand(model._expected_cells(p, cells, horizon))
        x, m = (summary[name].to_numpy(dtype=float) for name in ("frequency", "monetary_value"))
        much = np.array([expected @ one for one in lifetime.spend._means(x, m)])
    known, paid, bought = (float(np.log(np.maximum(total, 1e-300)).std()) for total in (orders, often, much))
    return known, float(np.hypot(paid, bought))


def value_ahead(
    lifetime: LifetimeValue,
    money: Curve,
    drawn: Ahead,
    weeks: Sequence[int],
    horizon: float,
    per_order: float,
    spread: float,
    orders: float,
    rng: np.random.Generator,
) -> tuple[float, dict[int, Array]]:
    """Return what the base is worth, and draws of the value that it will be reckoned to have by weeks ahead.

    Parameters
    ----------
    lifetime : LifetimeValue
        The models, in weeks.
    money : Curve
        What the customers so far are expected to spend, up to the last of ``weeks`` and the horizon.
    drawn : Ahead
        Orders of the coming weeks.
    weeks : sequence of int
        How far ahead.
    horizon : float
        Weeks that count as value.
    per_order : float
        What an order more than expected adds to the value of who made it; :func:`per_order`.
    spread : float
        Relative deviation of the value by what the parameters are not known and by what models usually err.
    orders : float
        Made so far, from which the models were estimated.
    rng : numpy.random.Generator

    Notes
    -----
    The mean holds for each customer what he is expected to bring within the horizon from that day on. Around it a draw
    moves with the orders drawn. Estimates move too: as the variance of an efficient estimate falls with what is known,
    that of its change is the fall (Hausman 1978).
    """
    rate = float(np.log1p(lifetime.annual_rate)) / PERIODS_PER_YEAR["W"]
    steps = np.linspace(0, horizon, _PARTS + 1)
    discount = lifetime.margin * np.exp(-rate * (steps[:-1] + steps[1:]) / 2)
    row = pd.DataFrame({"frequency": [0], "recency": 0.0, "T": 0.0, "monetary_value": 0.0}, index=["new"])
    ages = np.arange(weeks[-1]) + 0.5
    expected = lifetime.purchases.expected_purchases_new(np.add.outer(ages, steps))
    fresh = lifetime.spend.expected_spend(row).to_numpy(dtype=float)[0] * (np.diff(expected, axis=1) @ discount)
    moved = rng.standard_normal(len(drawn.new))
    draws = {}
    for week in weeks:
        more = (drawn.known[:, :week] - drawn.known_mean[:week]).sum(axis=1)
        came = drawn.new[:, :week] @ fresh[week - 1 :: -1]
        mean = float(np.diff(money(week + steps)) @ discount)
        coming = float(drawn.known_mean[:week].sum() + drawn.new[:, :week].sum(axis=1).mean())
        apart = np.hypot(spread, drawn.shared) * np.sqrt(coming / (orders + coming)) if coming > 0 else 0.0
        draws[week] = np.maximum(mean + per_order * more + came, 0.0) * np.exp(apart * moved - apart**2 / 2)
    return float(np.diff(money(steps)) @ discount), draws


def per_order(
    lifetime: LifetimeValue, summary: pd.DataFrame, earlier: pd.DataFrame, spend: Array, weeks: int, horizon: float
) -> float:
    """Return what one order more has added to the value of who made it, by those of the last weeks.

    What the customers of some weeks ago are worth now, less what they would be worth had none of them bought since, by
    the orders that they made; at today's spend and undiscounted.
    """
    model = lifetime.purchases
    who = summary.index.get_indexer(earlier.index)
    now, spent = summary.iloc[who], spend[who]
    made = float((now["frequency"] - earlier["frequency"]).sum())
    if made <= 0:
        return 0.0
    silent = earlier.assign(T=earlier["T"] + weeks)
    after, before = (model.expected_purchases(each, horizon).to_numpy(dtype=float) @ spent for each in (now, silent))
    return lifetime.margin * max(float(after - before), 0.0) / made
