"""Why the value of the base moved between two days: a bridge whose parts sum exactly."""

# ruff: noqa: SLF001 - the bridge stands on the machinery of the models, below what users see

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.models.base import normal_quantile
from clvlib.clv.value import LifetimeValue, Parts
from clvlib.errors import ParameterError, UnitMismatchError
from clvlib.plotting import ACCENT, INK, MUTED, WARN, money_axis, new_axes, styled
from clvlib.result import Result
from clvlib.words import begun, currency_symbol, mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bridge", "bridge", "bridge_plot"]

Array = NDArray[np.float64]

_OF_CUSTOMERS = (mark("new"), mark("returning"), mark("lapsing"), mark("spend"))
_PARTS = (mark("revised data"), *_OF_CUSTOMERS, mark("models"), mark("settings"))


@dataclass(frozen=True)
class Bridge(Result):
    """From the value of the base on one day to that on a later day; ``table`` has a row per part, in this order.

    ``table`` columns: ``part``, ``customers``, ``change``, ``lower``, ``upper``. The parts, each priced with what was
    believed on the earlier day unless said otherwise:

    - ``revised data``: the earlier base as it is known today, less what was reported then; with it customers who are
      no longer there because all their orders were refunded;
    - ``new``: customers who bought for the first time in between;
    - ``returning``: the change in expected purchases of those who bought again;
    - ``lapsing``: the same of those who did not; never positive, since silence speaks against them;
    - ``spend``: what returning customers' latest amounts say about the amounts to come;
    - ``models``: what re-estimating the models on the later day changed, over the whole base;
    - ``settings``: another margin or discount rate.

    Attributes
    ----------
    start, end, change : float
        Value of the base on the two days, and the difference: the sum of the parts.
    interval : float
        Level of the limits of the parts of customers: the uncertainty of the earlier models' parameters. The other
        parts are differences between two computed figures and have no limits.
    """

    start: float
    end: float
    change: float
    interval: float

    @property
    def sentence(self) -> str:
        """The movement and its two largest parts, in words."""
        order = self.table.set_index("part")["change"].abs().sort_values(ascending=False, kind="stable")
        if order.iloc[0] == 0 or self.start <= 0:
            return tr("the value of the base did not move")
        change = self.table.set_index("part")["change"]
        named = [(tr(name), change[name] / self.start) for name in order.index[:2] if order[name] > 0]
        parts = tr(" and ").join(tr("{part} ({change:+.1%})", part=name, change=moved) for name, moved in named)
        text = mark("the value of the base fell by {size:.1%}, most of all by {parts}")
        if self.change > 0:
            text = mark("the value of the base rose by {size:.1%}, most of all by {parts}")
        return tr(text, size=abs(self.change) / self.start, parts=parts.replace("-", "−"))


def bridge(
    before: LifetimeValue,
    after: LifetimeValue,
    earlier: pd.DataFrame,
    later: pd.DataFrame,
    horizon: float | None,
    *,
    reported: float | None = None,
    interval: float = 0.9,
) -> Bridge:
    """Take the change of the value of the base between two days apart.

    Parameters
    ----------
    before, after : LifetimeValue
        The models and settings of the two days.
    earlier, later : pandas.DataFrame
        The base on the two days, both from today's data: frequency, recency, T, monetary_value by customer_id, a row
        per customer.
    horizon : float or None
        Span that counts as value, in the summaries' unit; None: all the future.
    reported : float, optional
        The value that was reported on the earlier day; by default what today's data say about it.
    interval : float
        Level of the limits.

    Returns
    -------
    Bridge
        ``start`` plus the sum of ``table["change"]`` is ``end``, to rounding.

    Raises
    ------
    ParameterError
        When a customer stands twice in a summary, or a row stands for several.
    UnitMismatchError
        When the two days' models count time in different units.

    Examples
    --------
    >>> from clvlib.clv.models.beta_geo import BetaGeoModel
    >>> from clvlib.clv.models.gamma_gamma import GammaGammaModel
    >>> m = BetaGeoModel.with_parameters({"r": 0.3, "alpha": 3.0, "a": 1.0, "b": 3.0}, unit="W")
    >>> g = GammaGammaModel.with_parameters({"p": 6.0, "q": 4.0, "gamma": 15.0})
    >>> columns = ["frequency", "recency", "T", "monetary_value"]
    >>> earlier = pd.DataFrame([[2, 8, 10, 25.0], [1, 3, 9, 40.0]], index=["1", "2"], columns=columns)
    >>> rows = [[3, 11, 11, 30.0], [1, 3, 10, 40.0], [0, 0, 0.5, 0.0]]
    >>> later = pd.DataFrame(rows, index=["1", "2", "3"], columns=columns)
    >>> value = LifetimeValue(m, g, margin=0.3, annual_rate=0.15)
    >>> found = bridge(value, value, earlier, later, horizon=52)
    >>> {part: round(change, 2) for part, change in zip(found.table["part"], found.table["change"]) if change}
    {'new': 16.3, 'returning': 13.03, 'lapsing': -1.77, 'spend': 6.15}
    """
    _check(before, after, earlier, later)
    at = earlier.index.get_indexer(later.index)
    sides = _Side.of(before, earlier, horizon), _Side.of(before, later, horizon)
    rows = _Rows(at, again=later["frequency"].to_numpy() > earlier["frequency"].to_numpy()[at])
    gone = ~earlier.index.isin(later.index)
    worth = sides[0].worth()
    start = float(worth.sum()) if reported is None else float(reported)
    priced = LifetimeValue(after.purchases, after.spend, before.margin, before.annual_rate, before.unit)
    held, remodelled, end = (
        side.worth().sum() for side in (sides[1], *(_Side.of(value, later, horizon) for value in (priced, after)))
    )
    revised = float(worth[~gone].sum()) - start
    width = np.full(len(_PARTS), np.nan)
    width[1:-2] = normal_quantile(interval) * _spread(before, *sides, rows)
    table = pd.DataFrame({"part": list(_PARTS), "customers": [int(gone.sum()), *rows.counts(), len(later), len(later)]})
    table["change"] = [revised, *rows.changes(*sides), remodelled - held, end - remodelled]
    table["lower"], table["upper"] = table["change"] - width, table["change"] + width
    return Bridge(start=start, end=float(end), change=float(end - start), interval=interval, table=table)


@dataclass(frozen=True)
class _Side:
    """One day's base under the earlier day's models: per row discounted purchases × margin, and spend."""

    parts: Parts
    often: Array
    much: Array

    @classmethod
    def of(cls, value: LifetimeValue, base: pd.DataFrame, horizon: float | None) -> _Side:
        parts = value.parts(base, horizon)
        return cls(parts, value.margin * parts.cells.expand(parts.purchases * parts.discount), parts.spend)

    def worth(self) -> Array:
        return self.often * self.much


@dataclass(frozen=True)
class _Rows:
    """Which rows of the later base belong to which part."""

    at: NDArray[np.intp]  # the row of the earlier base, −1 for new customers
    again: NDArray[np.bool_]

    def counts(self) -> list[int]:
        known = self.at >= 0
        again = int((known & self.again).sum())
        return [int((~known).sum()), again, int((known & ~self.again).sum()), again]

    def changes(self, earlier: _Side, later: _Side) -> list[float]:
        """Return the changes of the parts of customers."""
        known = self.at >= 0
        bought = (later.often - earlier.often[self.at]) * earlier.much[self.at]
        spent = later.often * (later.much - earlier.much[self.at])
        chosen = (later.worth(), ~known), (bought, known & self.again), (bought, known & ~self.again), (spent, known)
        return [float(change[where].sum()) for change, where in chosen]


def _spread(value: LifetimeValue, earlier: _Side, later: _Side, rows: _Rows) -> Array:
    """Return the standard deviation of the parts of customers over the distribution of the models' estimates."""
    if value.purchases._log_covariance is None or value.spend._log_covariance is None:
        return np.zeros(len(_OF_CUSTOMERS))  # parameters that were given, not estimated

    def often(side: _Side) -> list[_Side]:
        worth = value.margin * side.parts.discount
        return [replace(side, often=side.parts.cells.expand(worth * expected)) for expected in side.parts.often]

    def much(side: _Side) -> list[_Side]:
        return [replace(side, much=spend) for spend in side.parts.much]

    by_purchases = [rows.changes(*pair) for pair in zip(often(earlier), often(later), strict=True)]
    by_spend = [rows.changes(*pair) for pair in zip(much(earlier), much(later), strict=True)]
    return np.asarray(np.hypot(np.std(by_purchases, axis=0), np.std(by_spend, axis=0)))


def _check(before: LifetimeValue, after: LifetimeValue, earlier: pd.DataFrame, later: pd.DataFrame) -> None:
    for base in (earlier, later):
        if "n" in base:
            raise ParameterError("a bridge follows single customers: the summary has a column n, rows of several")
        if not base.index.is_unique:
            raise ParameterError(f"customer {base.index[base.index.duplicated()][0]!r} stands in the summary twice")
    units = before.purchases.unit_, after.purchases.unit_
    if all(units) and units[0] != units[1]:
        raise UnitMismatchError(f"the earlier model counts time in {units[0]!r}, the later one in {units[1]!r}")


def _title(result: Bridge) -> str:
    return begun(result.sentence)


def bridge_plot(result: Bridge, ax: Axes | None = None) -> Axes:
    """Draw the bridge as a waterfall: the value before, each part that moved it, the value after (``result.table``)."""
    table = result.table[result.table["change"] != 0]
    names = [tr("before"), *map(tr, table["part"]), tr("after")]
    ends = result.start + table["change"].cumsum().to_numpy()
    bottoms = [0.0, *np.minimum(ends, ends - table["change"]), 0.0]
    heights = [result.start, *table["change"].abs(), result.end]
    colours = [MUTED, *np.where(table["change"] > 0, ACCENT, WARN), MUTED]
    ax = ax if ax is not None else new_axes()
    with styled():
        places = np.arange(len(names))
        ax.bar(places, heights, 0.7, bottom=bottoms, color=colours)
        width = table["upper"] - table["change"]
        ax.errorbar(places[1:-1], ends, yerr=width, fmt="none", ecolor=INK, elinewidth=1)
        ax.hlines([result.start, *ends], places[:-1] - 0.35, places[1:] + 0.35, color=MUTED, linewidth=0.8)
        ax.set_xticks(places, names)
        low, high = min([result.start, result.end, *ends]), max([result.start, result.end, *ends])
        room = max(high - low, 1e-12)
        ax.set_ylim(max(0.0, low - room), high + 0.3 * room)  # the movement is small beside the whole
        ax.set(ylabel=tr("value of the base"), title=_title(result))
        money_axis(ax, "y", currency_symbol())
    return ax
