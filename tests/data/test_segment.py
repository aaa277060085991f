"""Parts of a shop: whatever it is divided by, the parts add up to the whole."""

from __future__ import annotations

import gc
from pathlib import Path

import pandas as pd
import pytest

import clvlib as clv
from clvlib.data.connect import Shop
from clvlib.data.identities import events_of
from clvlib.errors import MissingTableError, ParameterError

# What counts by each column in the sample shop, read off the contract: the other tables of a part are whole or absent.
DIVIDED = {
    "platform": {"orders", "events", "sessions", "spend", "competitors", "feedback"},
    "channel": {"orders", "events", "spend"},
    "category": {"orders"},
    "script": {"orders", "events", "sessions", "feedback"},
    "city_tier": {
        "orders", "events", "customers", "feedback", "complaints", "assignments", "contacts", "identities", "referrals"
    },
}  # fmt: skip
# where every order and event has its platform, rows of none are in no part
OF_NONE = {("platform", "feedback"): "session_id IS NULL", ("platform", "spend"): "platform IS NULL"}


@pytest.fixture(scope="module")
def whole(sample_shop: Shop) -> Shop:
    return sample_shop


def counted(shop: Shop, table: str) -> tuple[int, float]:
    """Rows, and the money of orders."""
    money = "sum(net_amount)" if table == "orders" else "0"
    row = shop.query(f"SELECT count(*) AS n, {money} AS money FROM {table}").iloc[0]
    return int(row["n"]), round(float(row["money"] or 0), 2)


@pytest.mark.parametrize("column", DIVIDED)
def test_parts_add_up(whole: Shop, column: str):
    parts = [whole.where(**{column: value}) for value in whole.segments()[column]]
    for table in DIVIDED[column]:
        rows, money = zip(*[counted(part, table) for part in parts if part.has(table)], strict=True)
        of_none = len(whole.query(f"SELECT 1 FROM {table} WHERE {OF_NONE.get((column, table), 'FALSE')}"))
        assert (sum(rows) + of_none, round(sum(money), 2)) == counted(whole, table), table
    for part in parts:
        assert all(counted(part, table) == counted(whole, table) for table in set(part.tables) - DIVIDED[column])
        assert (part.data_until, part.week()) == (whole.data_until, whole.week())


def test_a_part_is_what_one_would_count_by_hand(whole: Shop):
    part = whole.where(platform="Douyin", city_tier="tier 1")
    by_hand = whole.query(
        "SELECT count(*) AS n, sum(net_amount) AS money FROM orders JOIN customers USING (customer_id) "
        "WHERE platform = 'Douyin' AND city_tier = 'tier 1'"
    ).iloc[0]
    assert counted(part, "orders") == (by_hand["n"], round(by_hand["money"], 2))
    assert part.name == "Sample livestream shop, platform = Douyin, city_tier = tier 1"
    assert part.fingerprint()["orders"]["rows"] == by_hand["n"]
    assert len(part.customer_summary()) == part.query("SELECT DISTINCT customer_id FROM orders WHERE is_purchase").size
    assert part.whole is whole.whole is whole
    assert not part.has("spend")
    assert counted(part, "spend") == (0, 0)  # whoever asks in SQL sees no figure of all either
    with pytest.raises(MissingTableError):
        part.table("complaints")


def frames() -> dict[str, pd.DataFrame]:
    when = "2026-01-05"
    return {
        "orders": pd.DataFrame({"customer_id": ["a", "b", "c"], "ordered_at": when, "amount": [1, 2, 4]}),
        "customers": pd.DataFrame({"customer_id": ["a", "b", "c"], "region": ["North", "South", ""]}),
        "events": pd.DataFrame(
            {"person_id": ["a", "dy1", "dy2", "dy3", "d"], "occurred_at": "2026-01-06", "event": "click"}
        ),
        "identities": pd.DataFrame(
            {"source": "dy", "source_id": ["dy1", "dy2", "dy3", "dy3"], "customer_id": ["a", "b", "a", "b"]}
        ),
    }


@pytest.mark.parametrize(
    ("region", "orders", "events"),
    [("North", ["a"], ["a", "dy1"]), ("South", ["b"], ["dy2"]), ("", ["c"], ["d", "dy3"])],
)
def test_people_are_known_by_all_their_ids(region: str, orders: list[str], events: list[str]):
    part = clv.connect(frames()).where(region=region)  # the whole is forgotten, and lives on behind its part
    gc.collect()
    assert sorted(part.query("SELECT customer_id FROM orders")["customer_id"]) == orders
    assert sorted(part.query("SELECT person_id FROM events")["person_id"]) == events
    people = events_of(part).query("SELECT DISTINCT person_id FROM {t} AS t")["person_id"]
    assert set(people) <= {"a", "b", "d", "dy3"}


def test_segments_of_a_small_shop():
    shop = clv.connect(frames())
    assert shop.segments() == {"region": ("North", "South", "")}
    assert shop.where() is shop
    assert clv.connect({"orders": frames()["orders"]}).segments() == {}


def test_a_part_of_a_stored_shop(tmp_path: Path):
    clv.connect(frames(), store=tmp_path / "shop.duckdb").close()
    part = clv.connect(tmp_path / "shop.duckdb").where(region="South")  # the file is open for reading only
    assert counted(part, "orders") == (1, 2)
    part.close()


@pytest.mark.parametrize(
    ("segment", "says"),
    [
        ({"regoin": "North"}, "did you mean region"),
        ({"platform": "Douyin"}, "no table of this shop says the platform"),
        ({"region": "north"}, "did you mean North"),
        ({"region": "Mars"}, "there are North, South"),
    ],
)
def test_what_cannot_be(segment: dict[str, str], says: str):
    with pytest.raises(ParameterError, match=says):
        clv.connect(frames()).where(**segment)
    with pytest.raises(ParameterError, match="a part of a shop already"):
        clv.connect(frames()).where(region="North").where(region="North")
