"""Hosts or sessions compared like for like: the same platform, the same category, the same week."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from clvlib.funnel.rooms_data import Rooms
from clvlib.stats.shrinkage import like_for_like_ratios, shrink_ratios, stand_out

__all__ = ["MONEY", "compare", "room_cells", "stratum_of"]

MONEY: Final = "gmv_per_viewer"


def room_cells(found: Rooms, step: str = "") -> pd.DataFrame:
    """Put side by side what each session had and brought, category by category.

    Parameters
    ----------
    found : Rooms
        The sessions.
    step : str
        The step whose rate among those who made the step before is looked at; empty for none.

    Returns
    -------
    pandas.DataFrame
        ``session_id``, ``host_id`` (empty: unknown), ``stratum`` (platform, category and week), ``block`` (the same
        with four weeks for one), and for each measure ``<measure>_n`` and ``<measure>_y``, denominator and numerator of
        its rate, as far as the tables have them.
    """
    sessions = found.sessions.reindex(columns=["session_id", "started_at", "host_id", "platform"])
    cells = found.visits.merge(found.orders, on=["session_id", "category"], how="outer").merge(sessions, "left")
    day = cells["started_at"].dt.normalize()
    monday = day - pd.to_timedelta(day.dt.day_of_week, unit="D")
    weeks = (monday.max() - monday).dt.days // 7  # before the last
    kind = cells["platform"].astype(object).fillna("").astype("str") + "|" + cells["category"].astype("str") + "|"
    steps = found.steps
    columns = {"conversion": ("viewers", steps[-1])}
    if step in steps[1:-1]:
        columns["step_rate"] = ([*("viewers",), *steps[1:]][steps.index(step) - 1], step)
    if len(found.orders):
        columns[MONEY] = ("viewers", "gmv")
    if len(found.orders) and cells["refunded"].notna().any():
        columns["refund_rate"] = ("orders", "refunded")
    known: dict[str, Any] = {
        f"{name}_{letter}": cells[column].fillna(0)
        for name, pair in columns.items()
        for letter, column in zip("ny", pair, strict=True)
    }
    if len(found.orders):
        known["squares"] = cells["squares"].fillna(0)
    return cells[["session_id"]].assign(
        host_id=cells["host_id"].astype(object).fillna("").astype("str"),
        stratum=kind + weeks.astype("str"),
        block=kind + (weeks // 4).astype("str"),
        **known,
    )


def compare(cells: pd.DataFrame, by: str, measure: str, level: float = 0.95) -> tuple[pd.DataFrame, float]:
    """Compare the groups of a column in one measure.

    Parameters
    ----------
    cells : pandas.DataFrame
        From :func:`room_cells`.
    by : str
        ``host_id`` or ``session_id``.
    measure : str
        ``conversion``, ``step_rate``, ``gmv_per_viewer`` or ``refund_rate``.
    level : float
        Confidence level.

    Returns
    -------
    pandas.DataFrame
        By group: ``n``, ``observed``, ``expected``, ``information``, what
        :func:`~clvlib.stats.shrinkage.shrink_ratios` says, ``value``, ``value_lower``, ``value_upper``, ``overall``,
        and for shares ``z`` and ``p_value`` (of one test). Empty where less than two groups have anything in common.
    float
        Spread of the true ratios.
    """
    cells = cells[cells[f"{measure}_n"] > 0]
    x, n, stratum = cells[f"{measure}_y"], cells[f"{measure}_n"], cells[stratum_of(measure)]
    if not x.sum() > 0:
        return pd.DataFrame(), 0.0
    found = like_for_like_ratios(cells[by], stratum, x, n)
    found = found[found["information"] > 1e-9]
    overall = float(x.sum() / n.sum())
    dispersion = float(cells["squares"].sum() / x.sum()) if measure == MONEY else 1 - overall
    if len(found) < 2 or not found["observed"].sum() > 0 or dispersion <= 0:
        return pd.DataFrame(), 0.0
    scale = found["information"] / dispersion
    better: Literal["higher", "lower"] = "lower" if measure == "refund_rate" else "higher"
    shrunk = shrink_ratios(found["observed"] * scale, found["expected"] * scale, better=better, level=level)
    most = np.inf if measure == MONEY else 1.0
    table = found.join(shrunk.table).assign(
        **{name: (shrunk.table[column] * overall).clip(upper=most) for name, column in _VALUES.items()}, overall=overall
    )
    if measure == MONEY:
        return table.assign(z=np.nan, p_value=np.nan), shrunk.spread
    return table.join(stand_out(cells[by], stratum, x, n)), shrunk.spread


def stratum_of(measure: str) -> str:
    """Name the column of the strata: refunds are too rare for a week, and hang on goods more than on the day."""
    return "block" if measure == "refund_rate" else "stratum"


_VALUES = {"value": "ratio", "value_lower": "lower", "value_upper": "upper"}
