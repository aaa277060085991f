"""What groups of customers are worth, each by models of its own: arms of an experiment, channels, cohorts."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scipy import stats

from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.value import LifetimeValue
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import mark, tr

__all__ = ["GroupValues", "group_values"]

LEAST = 30  # customers who came back, below which a group has no model of its own


@dataclass(frozen=True)
class GroupValues(Result):
    """What groups of customers are worth.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per ``group``: ``customers``, ``repeaters`` (who bought again), ``mean`` (of all of them together),
        ``lower``, ``upper`` and ``error``: the standard error that comes from the parameters of the group's models.
    value : pandas.Series
        Expected value by customer.
    """

    value: pd.Series


def group_values(
    summary: pd.DataFrame,
    by: pd.Series,
    horizon: float | None,
    *,
    margin: float = 1.0,
    annual_rate: float = 0.1,
    model: type[PurchaseModel] = BetaGeoModel,
    level: float = 0.95,
    least: int = LEAST,
) -> GroupValues:
    """Fit purchases and spend of each group alone, and value its customers.

    With one model for all, groups of equal histories would have equal values by construction; models of their own let
    the data say whether they differ.

    Parameters
    ----------
    summary : pandas.DataFrame
        frequency, recency, T, monetary_value by customer_id.
    by : pandas.Series
        Group by customer_id; customers that it lacks are left out, and so are its ids without a purchase.
    horizon, margin, annual_rate
        As :class:`clvlib.LifetimeValue` takes them.
    model : type
        Class of purchase model.
    level : float
        Of the intervals, which hold the uncertainty of the parameters.
    least : int
        Customers who bought again that each group needs.

    Raises
    ------
    EmptyDataError
        A group has too few customers who bought again.
    ParameterError
        No group, or a level outside (0, 1).

    Examples
    --------
    >>> from clvlib.data.sample import sample_shop
    >>> base = sample_shop(customers=400).customer_summary()
    >>> halves = pd.Series(["one", "two"] * (len(base) // 2 + 1), name="half")[: len(base)].set_axis(base.index)
    >>> found = group_values(base, halves, 26)
    >>> found.table["group"].tolist(), bool((found.table["error"] > 0).all())
    (['one', 'two'], True)
    """
    if not 0 < level < 1:
        raise ParameterError(f"level: a share between 0 and 1 is needed, such as 0.95; found {level}")
    there = by.dropna()
    groups = {group: summary.loc[summary.index.isin(rows.index)] for group, rows in there.groupby(there)}
    if not groups:
        raise ParameterError("by: no customer has a group")
    rows, values = [], []
    for group, own in groups.items():
        repeaters = int((own["frequency"] > 0).sum())
        if repeaters < least:
            text = mark("{group}: {n:,} customers bought again, and models of their own need {least}")
            raise EmptyDataError(tr(text, group=group, n=repeaters, least=least))
        worth = LifetimeValue(model().fit(own), GammaGammaModel().fit(own), margin, annual_rate)
        total = worth.total(own, horizon, level, uncertainty="parameters").iloc[0]
        error = (total["upper"] - total["lower"]) / (2 * float(stats.norm.isf((1 - level) / 2)))
        figures = {"mean": total["mean"], "lower": total["lower"], "upper": total["upper"], "error": error}
        rows.append({"group": group, "customers": len(own), "repeaters": repeaters} | figures)
        values.append(pd.Series(worth.predict(own, horizon, interval=None)))
    return GroupValues(table=pd.DataFrame(rows), value=pd.concat(values).rename("value"))
