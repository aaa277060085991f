"""Does a coupon after a purchase bring customers back (V7)? By its hold-out, or as an association that says so."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clvlib.clv.contact_effects import ContactEffects, contact_effects
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError
from clvlib.result import Result
from clvlib.stats.matched import matched_ratio
from clvlib.words import mark, tr

__all__ = ["ASSOCIATION", "HELD_OUT", "CouponEffect", "coupon_effect"]

HELD_OUT, ASSOCIATION = mark("measured by hold-out"), mark("association only")


@dataclass(frozen=True)
class CouponEffect(Result):
    """What went with the coupon; ``table`` has one row.

    ``table`` columns: ``basis`` (:data:`HELD_OUT` or :data:`ASSOCIATION`), ``sent`` and ``without`` (how many), who
    bought within the window, ``rate_sent`` and ``rate_without``, and ``ratio``. With a hold-out ``effect``, the
    difference with ``lower``, ``upper`` and ``p_value``; else the limits and the p-value are those of ``ratio``, which
    compares purchases of the same month after as many before them.

    Attributes
    ----------
    action : str
        The contact.
    window_days : int
        Days in which a purchase counts.
    level : float
        Of the interval.
    """

    action: str
    window_days: int
    level: float

    @property
    def sentence(self) -> str:
        """What the coupon does, or what cannot be said of it."""
        row = self.table.iloc[0]
        told = {
            "sent": row["rate_sent"],
            "other": row["rate_without"],
            "n": self.window_days,
            "lower": row["lower"],
            "upper": row["upper"],
        }
        if row["basis"] == ASSOCIATION:
            text = mark(
                "Association only, since nobody was held out: after a coupon {sent:.1%} bought within {n} days, "
                "without one {other:.1%}; in the same month and after as many purchases {ratio:.2f} times as many "
                "({lower:.2f} to {upper:.2f}). Who gets a coupon may differ in more than that."
            )
            return tr(text, ratio=row["ratio"], **told)
        if row["lower"] > 0 or row["upper"] < 0:
            text = mark(
                "With the coupon {sent:.1%} bought within {n} days, of those held out {other:.1%}: a difference of "
                "{effect:+.1f} points ({lower:+.1f} to {upper:+.1f})."
            )
        else:
            text = mark(
                "With the coupon {sent:.1%} bought within {n} days, of those held out {other:.1%}; the difference of "
                "{effect:+.1f} points ({lower:+.1f} to {upper:+.1f}) may be chance."
            )
        told |= {name: 100 * row[name] for name in ("effect", "lower", "upper")}
        return tr(text, **told)


def coupon_effect(
    orders: Table | pd.DataFrame,
    contacts: Table | pd.DataFrame,
    as_of: str | dt.date,
    effects: ContactEffects | None = None,
    *,
    action: str = "coupon_48h",
    hours: int = 48,
    window_days: int = 14,
    level: float = 0.95,
) -> CouponEffect:
    """Say what a coupon sent some time after a purchase does to the next one.

    Parameters
    ----------
    orders, contacts : Table or pandas.DataFrame
        As for :func:`clvlib.clv.contact_effects.contact_effects`, and ``day`` of orders.
    as_of : str or date
        The last day that is known.
    effects : ContactEffects, optional
        What contacts did, where it is known already.
    action : str
        The contact.
    hours : int
        After a purchase, give or take a day, it is sent.
    window_days : int
        Days after that in which a purchase counts.
    level : float
        Confidence level.

    Returns
    -------
    CouponEffect

    Raises
    ------
    EmptyDataError
        The action was never taken, or nothing can be compared.
    """
    found = effects or contact_effects(orders, contacts, as_of, window_days=window_days, level=level)
    if action not in found.table.index:
        raise EmptyDataError(tr("nobody was ever sent {action}", action=tr(action)))
    row = found.table.loc[action]
    if row["held_out"] > 0 and np.isfinite(row["effect"]):
        columns = {"held_out": "without", "rate_held": "rate_without"}
        names = ["sent", "held_out", "rate_sent", "rate_held", "effect", "lower", "upper", "p_value", "ratio"]
        table = found.table.loc[[action], names].rename(columns=columns)
        table.insert(0, "basis", HELD_OUT)
        return CouponEffect(action=action, window_days=found.window_days, level=found.level, table=table)
    rows = _chances(together(orders=orders, contacts=contacts), as_date(as_of), action, hours // 24, window_days)
    treated = rows["treated"].to_numpy(dtype=bool)
    again = rows["again"].to_numpy(dtype=float)
    try:
        stratum = rows["month"] + rows["so_far"].astype(str)
        ratio = matched_ratio(again, np.ones(len(rows)), treated, stratum, rows["customer_id"], level)
    except ValueError:
        text = mark("too few purchases with and without {action} to compare")
        raise EmptyDataError(tr(text, action=tr(action))) from None
    figures = {
        "basis": ASSOCIATION,
        "sent": int(treated.sum()),
        "without": int((~treated).sum()),
        "rate_sent": again[treated].mean(),
        "rate_without": again[~treated].mean(),
        "ratio": ratio.estimate,
        "lower": ratio.lower,
        "upper": ratio.upper,
        "p_value": ratio.p_value,
    }
    table = pd.DataFrame([figures], index=pd.Index([action], name="action"))
    return CouponEffect(action=action, window_days=window_days, level=level, table=table)


def _chances(tables: dict[str, Table], end: dt.date, action: str, lag: int, window: int) -> pd.DataFrame:
    """Return the days with a purchase whose window is over: whether a contact came, and whether a purchase followed.

    Who buys again before the coupon is due is left out, with coupon or without.
    """
    orders = tables["orders"].require("customer_id", "day")
    bought = orders.where("is_purchase") if "is_purchase" in orders.columns else orders
    holdout = " AND NOT COALESCE(CAST(is_holdout AS BOOLEAN), FALSE)"
    sent = holdout if "is_holdout" in tables["contacts"].columns else ""
    return bought.query(
        f"""WITH p AS (SELECT DISTINCT customer_id, CAST(day AS DATE) AS day FROM {{t}} AS t
              WHERE CAST(day AS DATE) <= {literal(end)}),
            o AS (SELECT customer_id, day,
              LEAST(ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY day), 4) AS so_far,
              DATE_DIFF('day', day, LEAD(day) OVER (PARTITION BY customer_id ORDER BY day)) AS until FROM p),
            s AS (SELECT DISTINCT customer_id, CAST(sent_at AS DATE) AS day FROM {{contacts}} AS c
              WHERE action = {literal(action)}{sent})
        SELECT o.customer_id, o.day, o.so_far, strftime(o.day, '%Y-%m ') AS month, COUNT(s.day) > 0 AS treated,
          COALESCE(o.until <= {lag + window}, FALSE) AS again
        FROM o LEFT JOIN s ON o.customer_id = s.customer_id
          AND DATE_DIFF('day', o.day, s.day) BETWEEN {lag - 1} AND {lag + 1}
        WHERE DATE_DIFF('day', o.day, {literal(end)}) >= {lag + window} AND COALESCE(o.until > {lag}, TRUE)
        GROUP BY 1, 2, 3, 4, o.until ORDER BY 1, 2""",
        contacts=tables["contacts"],
    )
