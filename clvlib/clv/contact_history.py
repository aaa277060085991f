"""What past orders and contacts say of the next: who has bought, who must rest, which channel and cost are usual."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.contact_rules import Rule, week_start
from clvlib.data.engine import Table, as_table, identifier, literal
from clvlib.errors import DataError

__all__ = ["Channels", "allowed", "known_customers", "past_contacts", "usual"]

_ANY = "app push"  # where a shop never sent anything


class Channels(NamedTuple):
    """The channel and the cost of each action."""

    channels: list[str]
    costs: NDArray[np.float64]


def known_customers(orders: Table | pd.DataFrame, last: dt.date) -> pd.DataFrame:
    """Return by customer_id the moments of the first and of the last purchase by a day."""
    table = as_table(orders, "orders", "customer_id", "ordered_at")
    real = " AND is_purchase" if "is_purchase" in table.columns else ""
    frame = table.query(
        "SELECT customer_id, MIN(ordered_at) AS first, MAX(ordered_at) AS last FROM {t} AS t "
        f"WHERE ordered_at < {_moment(last)} AND customer_id IS NOT NULL{real} GROUP BY 1 ORDER BY 1"
    ).set_index("customer_id")
    return frame.astype({"first": "datetime64[us]", "last": "datetime64[us]"})


def usual(contacts: Table | pd.DataFrame | None, rules: Sequence[Rule], last: dt.date) -> Channels:
    """Return the channel and cost of each action: the rule's own, or the usual channel and what a contact by it cost.

    Where no cost is known of that channel, the cost is the mean over all channels of the action.

    Raises
    ------
    DataError
        A past contact has a negative cost.
    """
    past = (
        pd.DataFrame(columns=["action", "channel", "n", "cost", "least"]) if contacts is None else _sent(contacts, last)
    )
    if (past["least"] < 0).any():
        raise DataError(f"contacts.cost: a contact costs nothing or more; the least is {past['least'].min():g}")
    channels, costs = [], []
    for rule in rules:
        own = past[past["action"] == rule.action]
        best = own.dropna(subset="channel").sort_values(["n", "channel"], ascending=[False, True], kind="stable")
        channels.append(rule.channel or (str(best["channel"].iloc[0]) if len(best) else _ANY))
        paid = own.dropna(subset="cost")
        alike = paid[paid["channel"] == channels[-1]]
        paid = alike if len(alike) else paid
        mean = float(np.average(paid["cost"], weights=paid["n"])) if len(paid) else 0.0
        costs.append(mean if rule.cost is None else float(rule.cost))
    return Channels(channels, np.array(costs))


def _sent(contacts: Table | pd.DataFrame, last: dt.date) -> pd.DataFrame:
    """Return by action and channel how many contacts were sent, and what they cost."""
    table = as_table(contacts, "contacts", "customer_id", "sent_at", "action")
    channel = "CAST(channel AS VARCHAR)" if "channel" in table.columns else "CAST(NULL AS VARCHAR)"
    cost = "CAST(cost AS DOUBLE)" if "cost" in table.columns else "CAST(NULL AS DOUBLE)"
    sent = " AND NOT COALESCE(CAST(is_holdout AS BOOLEAN), FALSE)" if "is_holdout" in table.columns else ""
    return table.query(
        f"SELECT action, {channel} AS channel, COUNT(*) AS n, AVG({cost}) AS cost, MIN({cost}) AS least "
        f"FROM {{t}} AS t WHERE sent_at < {_moment(last)}{sent} GROUP BY 1, 2 ORDER BY 1, 2"
    )


def past_contacts(
    contacts: Table | pd.DataFrame | None, rules: Sequence[Rule], start: pd.Timestamp
) -> pd.DataFrame | None:
    """Return by customer the time of the last contact, and by rule that of its own and how many there were of late.

    Contacts that were held out count like those that were sent, or the two groups would part ways.
    """
    if contacts is None:
        return None
    table = as_table(contacts, "contacts", "customer_id", "sent_at", "action")
    columns = ["MAX(sent_at) AS any_last"]
    for rule in rules:
        since = literal((start - pd.Timedelta(days=rule.most_days)).to_pydatetime())
        mine = f"action = {literal(rule.action)}"
        columns.append(f"MAX(CASE WHEN {mine} THEN sent_at END) AS {identifier(f'last {rule.action}')}")
        columns.append(
            f"SUM(CASE WHEN {mine} AND sent_at >= {since} THEN 1 ELSE 0 END) AS {identifier(f'times {rule.action}')}"
        )
    chosen = ", ".join(columns).replace("{", "{{").replace("}", "}}")
    return table.query(
        f"SELECT customer_id, {chosen} FROM {{t}} AS t "
        f"WHERE sent_at < {literal(start.to_pydatetime())} AND customer_id IS NOT NULL GROUP BY 1"
    ).set_index("customer_id")


def allowed(
    candidates: pd.DataFrame, past: pd.DataFrame | None, rule: Rule, start: pd.Timestamp, rest_days: float
) -> pd.DataFrame:
    """Leave out who had the contact already, or too many of them; the others may have to wait."""
    if past is None or candidates.empty:
        return candidates
    past = past.reindex(candidates.index)
    done = past[f"last {rule.action}"].astype("datetime64[us]") > candidates["since"]
    often = past[f"times {rule.action}"].fillna(0) >= (rule.most or np.inf)
    rested = (past["any_last"].astype("datetime64[us]") + pd.Timedelta(days=rest_days)).fillna(start)
    earliest = candidates["earliest"].where(candidates["earliest"] >= rested, rested)
    return candidates.assign(earliest=earliest)[~(done | often)]


def _moment(last: dt.date) -> str:
    return literal(week_start(last).to_pydatetime())
