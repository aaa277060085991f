"""Every row is kept or set aside with its reason, and the sums say so; refunds meet the orders that they undo."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.data import config as settings_of
from clvlib.data.connect import Shop, connect
from clvlib.data.contract import CONTRACT, markdown
from clvlib.data.engine import DuckDBEngine, as_table, literal
from clvlib.errors import ClvError, EmptyDataError, EngineError, MissingColumnError, ParameterError


def shop_of(tmp_path, orders: pd.DataFrame | str, toml: str = "", **tables: pd.DataFrame) -> Shop:
    (tmp_path / "clvlib.toml").write_text("as_of = 2026-03-01\n" + toml)
    for name, frame in {"orders": orders, **tables}.items():
        if isinstance(frame, str):
            (tmp_path / f"{name}.csv").write_text(frame)
        else:
            frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return connect(tmp_path)


def reasons(shop: Shop, what: str = "row") -> dict[str, int]:
    frame = shop.quality().reasons
    frame = frame[frame["what"] == what]
    return dict(zip(frame["table"] + "." + frame["reason"], frame["rows"], strict=True))


def test_each_reason_for_quarantine_is_found_and_counted(tmp_path) -> None:
    text = """customer_id,ordered_at,amount,order_id,refunded_amount
a,2026-01-05,10,1,
,2026-01-05,10,2,
a,,10,3,
a,2026-03-02,10,4,
a,1970-01-01,10,5,
a,2026-01-05,,6,
a,2026-01-05,-10,7,
a,2026-01-05,10,1,
a,2026-01-05,20,1,
a,2026-01-06,10,8,-1
a,2026-01-06,10,9,x
"""
    shop = shop_of(tmp_path, text)
    assert reasons(shop) == {
        "orders.customer_id: missing": 1,
        "orders.ordered_at: missing": 1,
        "orders.ordered_at: in the future": 1,
        "orders.ordered_at: before 1990": 1,
        "orders.amount: missing": 1,
        "orders.amount: negative, and no refund": 1,
        "orders.row: an exact copy of another": 1,
    }
    assert reasons(shop, "value") == {
        "orders.refunded_amount: below 0": 1,
        "orders.refunded_amount: not a number": 1,
    }
    assert shop.query("SELECT count(*) AS n, sum(net_amount) AS s FROM orders").iloc[0].tolist() == [4, 50.0]


def test_the_last_moment_of_as_of_is_not_the_future(tmp_path) -> None:
    shop = shop_of(tmp_path, "customer_id,ordered_at,amount\na,2026-03-01 23:59:59.999,1\nb,2026-03-02,1\n")
    assert reasons(shop) == {"orders.ordered_at: in the future": 1}


def test_a_clock_that_stands_before_all_orders_is_named(tmp_path) -> None:
    (tmp_path / "orders.csv").write_text("customer_id,ordered_at,amount\na,2026-03-01,1\n", encoding="utf-8")
    with pytest.raises(EmptyDataError, match=r"in the future in 1 .*Today is 2020-01-01 by the clock here, or as_of"):
        clv.connect(tmp_path, as_of="2020-01-01")


def test_two_equal_orders_without_a_number_are_two_orders(tmp_path) -> None:
    shop = shop_of(tmp_path, "customer_id,ordered_at,amount\n" + 2 * "a,2026-01-05,1\n")
    assert not reasons(shop)


def test_lines_that_differ_only_outside_the_contract_are_no_copies(tmp_path) -> None:
    text = "customer_id,ordered_at,amount,order_id,line\na,2026-01-05,1,7,1\na,2026-01-05,1,7,2\na,2026-01-05,1,7,2\n"
    assert reasons(shop_of(tmp_path, text)) == {"orders.row: an exact copy of another": 1}


def test_unknown_references(tmp_path) -> None:
    orders = pd.DataFrame(
        {
            "customer_id": ["a", "b", "x"],
            "ordered_at": "2026-01-05",
            "amount": [1, 2, 4],
            "session_id": ["s1", "s9", "s1"],
        }
    )
    customers = pd.DataFrame({"customer_id": ["a", "b", "b"], "birth_year": [1990, 20, 1980]})
    sessions = pd.DataFrame({"session_id": ["s1"], "started_at": ["2026-01-05 20:00"]})
    shop = shop_of(tmp_path, orders, customers=customers, sessions=sessions)
    assert reasons(shop) == {
        "orders.customer_id: not in customers": 1,
        "customers.customer_id: occurs before, with other values": 1,
    }
    # A session that nobody knows costs the order its session, not its place.
    assert reasons(shop, "value") == {"orders.session_id: not in sessions": 1, "customers.birth_year: below 1900": 1}
    assert shop.query("SELECT customer_id, session_id FROM orders ORDER BY 1")["session_id"].tolist()[0] == "s1"
    kept = shop_of(tmp_path, orders, '[tables.orders]\nunknown_reference = "keep"\n')
    assert "orders.customer_id: not in customers" not in reasons(kept)


def test_freshness(tmp_path) -> None:
    events = pd.DataFrame({"person_id": ["a"], "occurred_at": ["2026-02-20 10:00"], "event": ["click"]})
    shop = shop_of(tmp_path, "customer_id,ordered_at,amount\na,2026-02-28 09:00,1\n", events=events)
    assert shop.quality().table.set_index("table")["days_behind"].to_dict() == {"orders": 1, "events": 9}


def _files(folder: Path, n: int) -> None:
    """An order in each file, and in every fifth a line before it that is no row."""
    for i in range(n):
        broken = "x,2026-01-05,1,2,3,4\n" if i % 5 == 0 else ""
        row = f"c{i:02},2026-01-05,{i if i != 7 else 'many'},{'test' if i == 9 else ''},x\n"
        (folder / f"orders-{i:02}.csv").write_text(f"customer_id,ordered_at,amount,status,_file\n{broken}{row}")


def test_many_files_are_read_together_and_told_apart(tmp_path) -> None:
    _files(tmp_path, 40)
    (tmp_path / "orders-zz.csv").write_text("amount,ordered_at,customer_id,status\n5,2026-01-05,zz,\n")
    (tmp_path / "clvlib.toml").write_text('as_of = 2026-03-01\n[tables.orders]\nwhere = "status IS NULL"\n')
    shop = connect(tmp_path)
    assert shop.query("SELECT customer_id AS c FROM orders")["c"].tolist() == [
        *(f"c{i:02}" for i in range(40) if i not in {7, 9}), "zz",
    ]  # fmt: skip
    aside = shop.quarantine()[["file", "row", "reason"]].values.tolist()
    broken = [[f"orders-{i:02}.csv", 1, "row: too many columns"] for i in range(0, 40, 5)]
    assert aside == sorted([*broken, ["orders-07.csv", 1, "amount: not a number"]])
    counted = shop.quality().table.iloc[0]
    assert (counted["rows_read"], counted["rows_left_out"], counted["files"]) == (48, 1, 41)  # 40 + 1 - 1 + 8


def test_the_file_that_cannot_be_read_is_named_among_many(tmp_path) -> None:
    for i in range(4):
        frame = pd.DataFrame({"customer_id": [f"c{i}"] * 4000, "ordered_at": ["2026-01-05"] * 4000, "amount": 1})
        frame.to_parquet(tmp_path / f"orders-{i}.parquet")
    damaged = bytearray((tmp_path / "orders-2.parquet").read_bytes())
    damaged[4:40] = b"\xff" * 36  # the first page; head and foot of the file are whole
    (tmp_path / "orders-2.parquet").write_bytes(damaged)
    with pytest.raises(ClvError, match=r"^orders: orders-2\.parquet"):
        connect(tmp_path)


def test_where_leaves_out_and_counts(tmp_path) -> None:
    text = "customer_id,ordered_at,amount,status\na,2026-01-05,1,ok\nb,2026-01-05,1,test\nc,2026-01-05,1,\n"
    table = shop_of(tmp_path, text, "[tables.orders]\nwhere = \"status <> 'test'\"\n").quality().table
    assert table[["rows_read", "rows_kept", "rows_left_out"]].iloc[0].tolist() == [1, 1, 2]


# Refunds


def net(shop: Shop) -> list[tuple[float, bool]]:
    frame = shop.query("SELECT net_amount, is_purchase FROM orders ORDER BY ordered_at, amount")
    return list(frame.itertuples(index=False, name=None))


ORDER = "customer_id,ordered_at,amount,order_id,product_id\n"


def test_a_refund_with_the_orders_number_is_netted_against_it(tmp_path) -> None:
    shop = shop_of(tmp_path, ORDER + "a,2026-01-05,10,1,p\na,2026-01-06,30,2,p\na,2026-01-09,-12,2,p\n")
    assert net(shop) == [(10.0, True), (18.0, True)]


def test_a_refund_meets_its_product_first_and_then_the_rest_of_the_order(tmp_path) -> None:
    text = ORDER + "a,2026-01-05,10,1,p\na,2026-01-05,20,1,q\na,2026-01-09,-25,1,q\n"
    assert net(shop_of(tmp_path, text)) == [(5.0, True), (0.0, False)]


def test_a_refund_without_a_number_meets_the_latest_earlier_purchase_of_the_product(tmp_path) -> None:
    toml = "[tables.orders]\nrefunds = \"order_id LIKE 'C%'\"\n"
    text = (
        ORDER
        + "a,2026-01-05,10,1,p\na,2026-01-06,10,2,p\na,2026-01-06,50,3,q\na,2026-01-20,10,4,p\nb,2026-01-06,10,5,p\n"
        + "a,2026-01-09,-10,C9,p\na,2026-01-01,-7,C8,p\n"
    )
    shop = shop_of(tmp_path, text, toml)
    assert net(shop) == [(10.0, True), (0.0, False), (10.0, True), (50.0, True), (10.0, True)]
    refunds = shop.query("SELECT order_id, matched, unmatched FROM refunds ORDER BY 1")
    assert refunds.to_numpy().tolist() == [["C8", 0.0, 7.0], ["C9", 10.0, 0.0]]  # nothing was bought before C8


def test_refunded_amounts_unpaid_and_free_orders(tmp_path) -> None:
    text = (
        "customer_id,ordered_at,amount,refunded_amount,paid_at\n"
        "a,2026-01-01,10,4,2026-01-01\na,2026-01-02,10,15,2026-01-02\na,2026-01-03,10,,\na,2026-01-04,0,,2026-01-04\n"
    )
    assert net(shop_of(tmp_path, text)) == [(6.0, True), (0.0, False), (0.0, False), (0.0, True)]
    dropped = shop_of(tmp_path, text, '[tables.orders]\nzero_orders = "drop"\n')
    assert [purchase for _, purchase in net(dropped)] == [True, False, False, False]


CELL = st.sampled_from(["a", "b", "", "nan", "7"])
MONEY = st.sampled_from(["10", "-10", "-3.5", "x", "", "0", "2.25", "1,5"])
DAY = st.sampled_from(["2026-01-05", "2026-01-09 10:00", "2026-05-01", "?", ""])


@settings(max_examples=40)
@given(st.lists(st.tuples(CELL, DAY, MONEY, st.sampled_from(["1", "2", ""]), MONEY), max_size=14), st.booleans())
def test_rows_and_sums_always_reconcile(rows: list[tuple[str, ...]], linked: bool) -> None:
    names = ["customer_id", "ordered_at", "amount", "order_id", "refunded_amount"]
    frame = pd.DataFrame([("z", "2026-01-01", "1", "99", ""), *rows], columns=names, dtype=str)
    shop = connect({"orders": frame if linked else frame.drop(columns="order_id")}, as_of="2026-03-01")
    quality = shop.quality()  # raises where read is not kept and quarantined
    row = quality.table.iloc[0]
    assert row["rows_read"] == len(frame)
    assert len(shop.quarantine()) == row["rows_quarantined"]
    readable = pd.to_numeric(frame["amount"], errors="coerce").sum()  # 1,5 is no number for pandas either
    assert row["amount_read"] == pytest.approx(readable)
    sums = shop.query(
        "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM refunds) AS n, "
        "(SELECT coalesce(sum(net_amount), 0) FROM orders) AS net, (SELECT min(net_amount) FROM orders) AS low, "
        "(SELECT coalesce(sum(matched), 0) FROM refunds) AS matched, "
        "(SELECT coalesce(min(unmatched), 0) FROM refunds) AS u"
    ).iloc[0]
    orders = shop.query("SELECT amount, refunded_amount FROM orders").astype(float).fillna(0.0)
    due = (orders["amount"] - orders.min(axis=1)).sum()
    assert sums["n"] == row["rows_kept"]
    assert sums["low"] >= 0
    assert sums["u"] >= 0
    assert sums["net"] == pytest.approx(due - sums["matched"])  # each refund is taken off once
    shop.close()


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random) -> None:
    rows = [("a", f"2026-01-{d:02d}", str(10 * d), "") for d in range(1, 9)]
    rows += [("a", "2026-01-09", "-15", ""), ("b", "2026-01-02", "x", ""), ("", "2026-01-03", "5", "")]
    frame = pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount", "product_id"], dtype=str)
    shuffled = frame.iloc[random.sample(range(len(frame)), len(frame))].reset_index(drop=True)
    one, two = (connect({"orders": f}, as_of="2026-03-01") for f in (frame, shuffled))
    assert one.fingerprint() == two.fingerprint()
    for name in ("rows", "reason"):
        assert one.quality().reasons[name].tolist() == two.quality().reasons[name].tolist()


# The contract, the configuration and the engine


def test_the_contract_is_whole() -> None:
    assert CONTRACT["orders"].required == ("customer_id", "ordered_at", "amount")
    for table in CONTRACT.values():
        names = [column.name for column in table.columns]
        assert len(names) == len(set(names))
        assert set(table.key) | ({table.time} - {""}) <= set(names)
        assert all(c.references is None or c.references in CONTRACT for c in table.columns)
        assert all(f"**{name}**" in markdown() for name in table.required)


@pytest.mark.parametrize("name", settings_of.mapping_names())
def test_the_mappings_that_ship_are_well_formed(name: str) -> None:
    config = settings_of.read_config(name)
    assert config.tables
    assert config.name
    assert isinstance(config.as_of, dt.date)


def test_an_analysis_takes_a_table_or_a_frame() -> None:
    frame = pd.DataFrame({"event": ["click", "cart"], "n": [1, 2]})
    table = as_table(frame, "events", "event")
    assert table.where("n > 1").query("SELECT count(*) AS k FROM {t}")["k"].iloc[0] == 1
    assert as_table(table, "events") is table
    with pytest.raises(MissingColumnError, match="column person_id is needed here"):
        as_table(frame, "events", "person_id")
    with pytest.raises(ParameterError, match="found list"):
        as_table([1], "events")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="in the query"):
        table.query("SELECT nothing FROM {t}")


ENGINE = DuckDBEngine()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_text_survives_as_a_literal(text: str) -> None:
    assert ENGINE.query(f"SELECT {literal(text)} AS x")["x"].iloc[0] == text


def test_what_has_no_literal() -> None:
    with pytest.raises(ParameterError, match="no SQL literal for a set"):
        literal({1})


def test_names_are_found_lazily() -> None:
    assert clv.connect is connect
    assert "connect" in dir(clv)
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = clv.conect


def test_what_is_announced_may_lie_ahead() -> None:
    moments = ["2026-02-10 20:00", "2026-11-11", "2027-06-18"]  # known on 2026-02-01: in ten days, this year, too far
    sold = pd.DataFrame({"customer_id": "a", "ordered_at": ["2026-01-05", "2026-02-10"], "amount": 1})
    rivals = pd.DataFrame({"brand": "b", "started_at": moments})
    ours = pd.DataFrame({"session_id": ["s1", "s2", "s3"], "started_at": moments})
    shop = clv.connect({"orders": sold, "competitors": rivals, "sessions": ours}, as_of="2026-02-01")
    assert reasons(shop) == {
        f"{name}: in the future": 1 for name in ("orders.ordered_at", "competitors.started_at", "sessions.started_at")
    }
    table = shop.quality().table.set_index("table")
    assert table["rows_kept"].to_dict() == {"orders": 1, "sessions": 2, "competitors": 2}
    assert table["days_behind"].to_dict() == {"orders": 27, "sessions": 0, "competitors": 0}
    assert shop.data_until.isoformat() == "2026-02-01"
