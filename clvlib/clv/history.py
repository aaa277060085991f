"""How one customer's P(alive) went, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from clvlib.clv.cells import PERIODS_PER_YEAR
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.words import tr

__all__ = ["alive_history"]


def alive_history(
    model: PurchaseModel,
    orders: Table | pd.DataFrame | Sequence[Any],
    as_of: Any,
    customer_id: Any = None,
    unit: str | None = None,
) -> pd.DataFrame:
    """Return what a model held of a customer on each day since the first purchase, knowing what was known by then.

    It falls while the customer is silent and jumps with every purchase.

    Parameters
    ----------
    model : PurchaseModel
        Fitted; one with covariates cannot be asked.
    orders : Table, pandas.DataFrame or sequence of dates
        Orders as in :func:`clvlib.clv.holdout.tracking`, or the dates of the customer's purchases.
    as_of : date or str
        Last day looked at.
    customer_id : optional
        Who, where ``orders`` holds several customers.
    unit : str, optional
        The model's time unit, where the model does not know it.

    Returns
    -------
    pandas.DataFrame
        By ``day`` from the first purchase to ``as_of``: frequency, recency, T, litt (the sum of the logs of the times
        between purchases), probability_alive, purchase (whether there was one).

    Raises
    ------
    EmptyDataError
        When there is no purchase by then.
    ParameterError
        When there are several customers to choose from.

    Examples
    --------
    >>> from clvlib.clv.models.beta_geo import BetaGeoModel
    >>> model = BetaGeoModel.with_parameters({"r": 0.25, "alpha": 4.0, "a": 0.8, "b": 2.5}, unit="W")
    >>> table = alive_history(model, ["2026-01-01", "2026-01-15"], as_of="2026-02-26")
    >>> table.loc[["2026-01-14", "2026-01-15", "2026-02-26"], "probability_alive"].round(2).tolist()
    [1.0, 0.76, 0.57]
    """
    end = as_date(as_of)
    unit = unit or model.unit_ or "W"
    per = PERIODS_PER_YEAR["D"] / PERIODS_PER_YEAR[unit]
    if isinstance(orders, (Table, pd.DataFrame)):
        dates = _dates(as_table(orders, "orders", "customer_id", "day"), customer_id)
    else:
        dates = pd.Series(pd.to_datetime(list(orders)))
    bought = pd.DatetimeIndex(dates).normalize().unique().sort_values()
    bought = bought[bought <= pd.Timestamp(end)]
    if not len(bought):
        who = tr("the customer") if customer_id is None else customer_id
        raise EmptyDataError(tr("{who} had not bought by {day}", who=who, day=end))
    days = pd.date_range(bought[0], pd.Timestamp(end), name="day")
    place = (bought - bought[0]).days.to_numpy()
    age = np.arange(len(days))
    frequency = np.searchsorted(place, age, side="right") - 1
    litt = np.concatenate([[0.0], np.cumsum(np.log(np.diff(place) / per))])
    columns = {"frequency": frequency, "recency": place[frequency] / per, "T": age / per, "litt": litt[frequency]}
    table = pd.DataFrame(columns, index=days)
    table.attrs["clvlib"] = {"unit": unit}
    table["probability_alive"] = model.probability_alive(table)
    return table.assign(purchase=days.isin(bought))


def _dates(table: Table, customer_id: Any) -> pd.Series:
    """Return the days on which the customer bought."""
    condition = "is_purchase" if "is_purchase" in table.columns else "TRUE"
    who = "TRUE" if customer_id is None else f"customer_id = {literal(customer_id)}"
    found = table.query(f"SELECT DISTINCT customer_id, CAST(day AS DATE) AS day FROM {{t}} WHERE {who} AND {condition}")
    if len(found["customer_id"].unique()) > 1:
        raise ParameterError("the orders are those of several customers; say which one by customer_id")
    return found["day"]
