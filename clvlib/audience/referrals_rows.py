"""Invitations and customers, read for the analysis of referrals: a row per invitation, a row per customer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clvlib.audience.period import purchases
from clvlib.data.engine import Table, literal
from clvlib.words import mark

__all__ = ["LEADERS", "OTHERS", "SET_ASIDE", "classified", "customers", "sent_by"]

LEADERS, OTHERS = mark("opinion leaders"), mark("other customers")
SET_ASIDE = {
    "self_referrals": mark("people who invited themselves"),
    "repeated": mark("people who had accepted another invitation before"),
    "already_customers": mark("people who had bought before they accepted"),
}


def sent_by(table: Table, end: pd.Timestamp, within: int) -> pd.DataFrame:
    """Invitations up to the day, by time: what was not accepted by then is not accepted yet."""
    names = {"customer_id": "VARCHAR", "channel": "VARCHAR", "is_kol": "BOOLEAN"}
    more = [f"CAST({n if n in table.columns else 'NULL'} AS {kind}) AS {n}" for n, kind in names.items()]
    table.require("referrer_id", "sent_at", "accepted_at")
    frame = table.query(
        f"""SELECT CAST(referrer_id AS VARCHAR) AS referrer_id, CAST(sent_at AS TIMESTAMP) AS sent_at,
                   CASE WHEN accepted_at < {literal(end)} THEN CAST(accepted_at AS TIMESTAMP) END AS accepted_at,
                   {", ".join(more)}
            FROM {{t}} AS t WHERE sent_at < {literal(end)} AND referrer_id IS NOT NULL
            ORDER BY 2, 1, 4 NULLS LAST, 3 NULLS LAST"""
    )
    frame["accepted"] = frame["accepted_at"].notna()
    until = frame["accepted_at"].where(frame["accepted"], end)
    days = (until - frame["sent_at"]).dt.total_seconds() / 86_400
    frame["early"] = days < 0
    frame["days"] = days.clip(lower=0)
    frame["open"] = ~frame["accepted"] & (days < within)
    if "is_kol" in table.columns:
        marked = frame["is_kol"].eq(True)  # noqa: FBT003 - what is not known is not True
        frame["is_kol"] = np.where(marked.groupby(frame["referrer_id"]).transform("any"), LEADERS, OTHERS)
    return frame


def customers(orders: Table, end: pd.Timestamp) -> pd.DataFrame:
    """A row per customer: day of the first purchase, net spend so far, whether there was a second day."""
    return (
        purchases(orders)
        .query(
            f"""SELECT CAST(customer_id AS VARCHAR) AS customer_id, CAST(MIN(ordered_at) AS DATE) AS first_day,
                   CAST(SUM(net_amount) AS DOUBLE) AS spend,
                   CAST(COUNT(DISTINCT CAST(ordered_at AS DATE)) > 1 AS DOUBLE) AS repeat_rate
            FROM {{t}} AS t WHERE ordered_at < {literal(end)} GROUP BY 1 ORDER BY 1"""
        )
        .set_index("customer_id")
        .astype({"first_day": "datetime64[us]"})
    )


def classified(sent: pd.DataFrame, bought: pd.DataFrame) -> pd.DataFrame:
    """Mark whom an acceptance brought, and why it brought nobody."""
    guest, taken = sent["customer_id"], sent["accepted"]
    oneself = guest.eq(sent["referrer_id"])
    order = sent["accepted_at"].where(taken & ~oneself & guest.notna()).sort_values(kind="stable").dropna().index
    repeated = guest.loc[order].duplicated().reindex(sent.index, fill_value=False)
    first = pd.Series(bought["first_day"].reindex(guest).to_numpy(), index=sent.index)
    before = first < sent["accepted_at"].dt.normalize()
    reasons = [taken & oneself, repeated, taken & before]
    sent["aside"] = np.select(reasons, [*SET_ASIDE], "")
    sent = sent[~oneself | taken]  # an invitation to oneself that was never accepted is none
    sent = sent.assign(brought=sent["accepted"] & sent["aside"].eq(""))
    revenue = bought["spend"].reindex(sent["customer_id"]).to_numpy()
    return sent.assign(revenue=np.where(sent["brought"], revenue, np.nan))
