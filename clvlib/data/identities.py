"""One person, several names: events under the customer's id wherever the identities table knows it."""

from __future__ import annotations

from typing import Any

from clvlib.data.engine import Table, identifier
from clvlib.errors import ParameterError

__all__ = ["events_of", "resolved"]


def resolved(events: Table, identities: Table, column: str = "person_id") -> Table:
    """Return events with ids of other sources replaced by the customer's.

    An id that the identities give to several customers is left as it is: to choose one of them would be a guess.

    Parameters
    ----------
    events : Table
        With the column.
    identities : Table
        ``source_id`` and ``customer_id``, of the same shop.
    column : str
        Whose ids they are.

    Raises
    ------
    ParameterError
        The two tables are not of one shop.

    Examples
    --------
    >>> import pandas as pd
    >>> from clvlib.data.together import together
    >>> known = pd.DataFrame({"source_id": ["dy1", "dy3", "dy3"], "customer_id": ["C1", "C3", "C4"]})
    >>> tables = together(events=pd.DataFrame({"person_id": ["dy1", "C2", "dy3"]}), identities=known)
    >>> people = resolved(tables["events"], tables["identities"])
    >>> people.query("SELECT person_id FROM {t} AS t ORDER BY 1")["person_id"].tolist()
    ['C1', 'C2', 'dy3']
    """
    events.require(column)
    identities.require("source_id", "customer_id")
    if events.engine is not identities.engine:
        raise ParameterError("events and identities are tables of one shop")
    own = identifier(column)
    chosen = ", ".join(
        f"COALESCE(i.customer_id, e.{own}) AS {own}" if name == column else f"e.{identifier(name)}"
        for name in events.columns
    )
    known = (
        f"SELECT source_id, MIN(customer_id) AS customer_id FROM {identities.relation} AS k "
        "GROUP BY source_id HAVING COUNT(DISTINCT customer_id) = 1"
    )
    relation = f"(SELECT {chosen} FROM {events.relation} AS e LEFT JOIN ({known}) AS i ON e.{own} = i.source_id)"
    return Table(events.engine, events.name, relation, events.columns)


def events_of(shop: Any) -> Table | None:
    """Return a shop's events under customers' ids, as far as they are known; None where it has no events."""
    if not shop.has("events"):
        return None
    events: Table = shop.table("events")
    return resolved(events, shop.table("identities")) if shop.has("identities") else events
