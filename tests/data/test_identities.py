"""Events under the customer's id: what is known is replaced, what is doubtful stays."""

from __future__ import annotations

import pandas as pd
import pytest

import clvlib as clv
from clvlib.data.engine import as_table
from clvlib.data.identities import events_of, resolved
from clvlib.data.together import together
from clvlib.errors import MissingColumnError, ParameterError

EVENTS = pd.DataFrame(
    {"person_id": ["dy1", "C2", "tb9", "dy3", None], "occurred_at": pd.Timestamp("2026-11-02"), "event": "click"}
)
KNOWN = pd.DataFrame(
    {"source": "x", "source_id": ["dy1", "dy1", "tb9", "tb9"], "customer_id": ["C1", "C1", "C4", "C5"]}
)


def test_an_id_of_one_customer_is_replaced_and_no_row_is_lost():
    tables = together(events=EVENTS, identities=KNOWN)
    found = resolved(tables["events"], tables["identities"]).query("SELECT * FROM {t} AS t")
    assert sorted(found["person_id"].dropna()) == ["C1", "C2", "dy3", "tb9"]
    assert list(found.columns) == list(EVENTS.columns)
    assert len(found) == len(EVENTS)


def test_a_shop_gives_its_events_resolved():
    orders = pd.DataFrame({"customer_id": ["C1"], "ordered_at": ["2026-11-01"], "amount": [5.0]})
    bare = clv.connect({"orders": orders})
    assert events_of(bare) is None
    shop = clv.connect({"orders": orders, "events": EVENTS.dropna().astype(str)})
    assert events_of(shop).relation == shop.table("events").relation
    whole = clv.connect({"orders": orders, "events": EVENTS.dropna().astype(str), "identities": KNOWN.head(1)})
    people = events_of(whole).query("SELECT DISTINCT person_id FROM {t} AS t")["person_id"]
    assert "C1" in set(people)
    assert "dy1" not in set(people)


def test_what_cannot_be_is_refused():
    with pytest.raises(ParameterError, match="one shop"):
        resolved(as_table(EVENTS, "events"), as_table(KNOWN, "identities"))
    tables = together(events=EVENTS, identities=KNOWN.drop(columns="source_id"))
    with pytest.raises(MissingColumnError, match="source_id"):
        resolved(tables["events"], tables["identities"])
