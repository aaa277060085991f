"""Files of every kind come in as they are, or are refused with a sentence; never misread."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import clvlib as clv
from clvlib.data.engine import as_table
from clvlib.errors import (
    ConfigError,
    DataError,
    EmptyDataError,
    EngineError,
    MissingColumnError,
    MissingTableError,
    ParameterError,
)

HEAD = "customer_id,ordered_at,amount\n"


def folder(path: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        file = path / name.replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(shop: clv.Shop, columns: str = "customer_id, CAST(ordered_at AS VARCHAR) AS t, amount") -> list[tuple]:
    return list(shop.query(f"SELECT {columns} FROM orders ORDER BY ALL").itertuples(index=False, name=None))


def reasons(shop: clv.Shop) -> dict[str, int]:
    frame = shop.quality().reasons
    return dict(zip(frame["reason"], frame["rows"], strict=True))


def test_long_queries_draw_no_bar_among_the_outputs() -> None:
    asked = """import clvlib, pandas as pd
shop = clvlib.connect(pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2026-06-01"], "amount": [1.0]}))
print(shop.query("SELECT current_setting('enable_progress_bar') AS bar")["bar"].tolist())"""
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[False]"  # DuckDB takes a program without a file for a person at a prompt


# What people's files look like


def test_a_store_is_replaced_whole_and_nothing_else_is(tmp_path: Path) -> None:
    def orders(*amounts: float) -> dict[str, pd.DataFrame]:
        return {"orders": pd.DataFrame({"customer_id": "a", "ordered_at": "2026-06-01", "amount": amounts})}

    store = tmp_path / "shop.duckdb"
    ended = f"""import os, clvlib, pandas as pd
orders = pd.DataFrame({{"customer_id": ["a"], "ordered_at": ["2026-06-01"], "amount": [1.0]}})
shop = clvlib.connect({{"orders": orders}}, store={str(store)!r})
os._exit(9)"""
    assert subprocess.run([sys.executable, "-c", ended], check=False).returncode == 9
    first = clv.connect(store)
    again = clv.connect(orders(5.0, 6.0), store=store)  # while the first is still read
    assert [row[2] for row in rows(first)] == [1.0]
    assert [row[2] for row in rows(again)] == [5.0, 6.0]
    with pytest.raises(MissingColumnError):
        clv.connect({"orders": pd.DataFrame({"amount": [1.0]})}, store=store)
    with pytest.raises(DataError, match=r"close the shop that still reads what was there before"):
        clv.connect(store)
    first.close()
    assert rows(clv.connect(store)) == rows(again)
    theirs = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(theirs)) as connection:
        connection.execute("CREATE TABLE orders AS SELECT 1 AS customer_id")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    for name in ("warehouse.duckdb", "notes.txt"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ParameterError, match=f"{name} is there and no store that clvlib made"):
            clv.connect(orders(5.0), store=tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(ParameterError, match="there is no folder"):
        clv.connect(orders(5.0), store=tmp_path / "nowhere" / "shop.duckdb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "shop.duckdb", "warehouse.duckdb"]


def test_ids_stay_text(tmp_path: Path) -> None:
    ids = ["007", "1234567890123456789", "98765432109876543210987", "0x1F", "1e5", "İ-客户"]
    lines = "".join(f"{i},2026-01-0{n + 1},1\n" for n, i in enumerate(ids))
    shop = clv.connect(folder(tmp_path, orders__csv=HEAD + lines))
    assert {r[0] for r in rows(shop)} == set(ids)


def test_ids_from_parquet_integers_and_floats(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "customer_id": [17850.0, float("nan"), 3.5, 2.0**60],  # a whole float, nothing, no id, digits lost
            "ordered_at": pd.Timestamp("2026-01-05"),
            "amount": [1.5, 1.0, 1.0, 1.0],
            "order_id": [9007199254740993, 2, 3, 4],  # an integer beyond what a float can hold
        }
    )
    frame.to_parquet(tmp_path / "orders.parquet")
    shop = clv.connect(tmp_path)
    assert rows(shop, "customer_id, order_id, amount") == [("17850", "9007199254740993", 1.5)]
    assert reasons(shop) == {"customer_id: not an id": 2, "customer_id: missing": 1}


@pytest.mark.parametrize("word", ["", " ", "nan", "NULL", "None", "N/A", "\u3000", "undefined"])
def test_a_word_for_nothing_is_no_customer(tmp_path: Path, word: str) -> None:
    shop = clv.connect(folder(tmp_path, orders__csv=HEAD + f"a,2026-01-05,1\n{word},2026-01-05,2\n"))
    assert reasons(shop) == {"customer_id: missing": 1}


def test_byte_order_mark_semicolons_quotes_and_gzip(tmp_path: Path) -> None:
    text = '\ufeffcustomer_id;ordered_at;amount\n"a;b";2026-01-05 20:15;"1,234.50"\n'
    (tmp_path / "orders.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert rows(clv.connect(tmp_path)) == [("a;b", "2026-01-05 20:15:00", 1234.5)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_machine(tmp_path: Path, end: str) -> None:
    text = HEAD + "a,2026-01-05,1\nb,2026-01-06,2\n"
    shop = clv.connect(folder(tmp_path, orders__csv=text.replace("\n", end)))
    assert [r[0] for r in rows(shop)] == ["a", "b"]
    assert shop.quality().ok


CHINESE = "客户编号,下单时间 ,金额\n张三,2026-01-05 20:15:00,12.5\n李四,2026-01-06 21:00:00,8\n"
CHINESE_TOML = """
[tables.orders.columns]
customer_id = "客户编号"
ordered_at = "下单时间"
amount = "金额"
"""


@pytest.mark.parametrize("table", ["orders", "customers"])
def test_a_workbook_is_named_and_not_passed_over(tmp_path: Path, table: str):
    folder(tmp_path, **({} if table == "orders" else {"orders__csv": HEAD + "a,2026-01-05,1\n"}))
    (tmp_path / f"{table}-2026.xlsx").write_bytes(b"PK\x03\x04")
    says = rf"{table}-2026.xlsx: a workbook of Excel is not read; save its sheet as “CSV UTF-8”"
    with pytest.raises(DataError, match=says):
        clv.connect(tmp_path)
    with pytest.raises(DataError, match=says):
        clv.connect(tmp_path / f"{table}-2026.xlsx")


def test_gb18030_is_read_when_stated_and_refused_with_the_hint_when_not(tmp_path: Path) -> None:
    folder(tmp_path, orders__csv=CHINESE.encode("gb18030"), clvlib__toml=CHINESE_TOML)
    with pytest.raises(DataError, match=r'it could be gb18030.*encoding = "gb18030"'):
        clv.connect(tmp_path)
    folder(tmp_path, clvlib__toml=CHINESE_TOML.replace("[tables", '[tables.orders]\nencoding = "gb18030"\n[tables'))
    assert rows(clv.connect(tmp_path))[0] == ("张三", "2026-01-05 20:15:00", 12.5)


def test_a_wrong_encoding_is_refused_at_the_byte(tmp_path: Path) -> None:
    toml = '[tables.orders]\nencoding = "gb18030"\n'
    folder(tmp_path, orders__csv=HEAD.encode() + b"a\xff\xff,2026-01-05,1\n", clvlib__toml=toml)
    with pytest.raises(DataError, match="byte 32 is not gb18030"):
        clv.connect(tmp_path)
    with pytest.raises(ConfigError, match="no encoding is called 'klingon'"):
        clv.connect(folder(tmp_path, clvlib__toml=toml.replace("gb18030", "klingon")))


def test_one_line_that_is_not_utf8_goes_to_quarantine(tmp_path: Path) -> None:
    # Far enough into the file that the look at its beginning does not see it.
    good = b"".join(b"c%06d,2026-01-05,1\n" % i for i in range(70_000))
    shop = clv.connect(folder(tmp_path, orders__csv=HEAD.encode() + good + b"\xe5\xbc\xa0\xff,2026-01-05,1\n"))
    assert reasons(shop) == {"row: not UTF-8": 1}
    assert shop.quarantine()["row"].tolist() == [70_001]


def test_day_first_dates_are_refused_until_the_format_is_stated(tmp_path: Path) -> None:
    folder(tmp_path, orders__csv=HEAD + "a,03/02/2026,1\nb,14/02/2026,2\n")
    with pytest.raises(EmptyDataError, match=r"ordered_at: not a time in 2 \(such as '03/02/2026'\).*formats"):
        clv.connect(tmp_path)
    folder(tmp_path, clvlib__toml='[tables.orders.formats]\nordered_at = "%d/%m/%Y"\n')
    assert [r[1][:10] for r in rows(clv.connect(tmp_path))] == ["2026-02-03", "2026-02-14"]


@pytest.mark.parametrize(
    ("text", "shanghai"),
    [
        ("2026-01-05", "2026-01-05 00:00:00"),
        ("2026/1/5 9:05", "2026-01-05 09:05:00"),
        ("2026-01-05T09:05:01.250", "2026-01-05 09:05:01.25"),
        ("2026-01-04T20:00:00Z", "2026-01-05 04:00:00"),
        ("2026-01-05 04:00:00+08:00", "2026-01-05 04:00:00"),
        ("2026-01-04 15:00:00 -0500", "2026-01-05 04:00:00"),
    ],
)
def test_times(tmp_path: Path, text: str, shanghai: str) -> None:
    assert rows(clv.connect(folder(tmp_path, orders__csv=HEAD + f"a,{text},1\n")))[0][1] == shanghai


@pytest.mark.parametrize(
    "text", ["20260105", "2026-02-30", "2026-1", "infinity", "epoch", "1767571200", "05-01-2026", "2026-01-05 25:00"]
)
def test_what_is_no_time_is_never_guessed(tmp_path: Path, text: str) -> None:
    shop = clv.connect(folder(tmp_path, orders__csv=HEAD + f"a,2026-01-05,1\nb,{text},1\n"))
    assert reasons(shop) == {"ordered_at: not a time": 1}


def test_epochs_and_instants_become_shop_time(tmp_path: Path) -> None:
    toml = '[tables.orders.formats]\nordered_at = "epoch_s"\n'
    folder(tmp_path, orders__csv=HEAD + "a,1767571200,1\n", clvlib__toml=toml)
    assert rows(clv.connect(tmp_path))[0][1] == "2026-01-05 08:00:00"  # midnight UTC
    frame = pd.DataFrame({"customer_id": "a", "ordered_at": [1767571200], "amount": 1.0})
    with pytest.raises(DataError, match="epoch_s"):
        clv.connect({"orders": frame})
    frame["ordered_at"] = pd.to_datetime(frame["ordered_at"], unit="s", utc=True)
    assert rows(clv.connect({"orders": frame}))[0][1] == "2026-01-05 08:00:00"


@pytest.mark.parametrize(
    ("text", "amount"),
    [("12", 12.0), ("+1,234,567.25", 1234567.25), ("¥12.50", 12.5), ("1e3", 1000.0), (".5", 0.5), (" 7 ", 7.0)],
)
def test_amounts(tmp_path: Path, text: str, amount: float) -> None:
    assert rows(clv.connect(folder(tmp_path, orders__csv=HEAD + f'a,2026-01-05,"{text}"\n')))[0][2] == amount


@pytest.mark.parametrize("text", ["1,5", "1.234,50", "12 3", "1,23,456", "inf", "0x1F", "--1", "1e40", "twelve", "(5)"])
def test_what_is_no_amount_is_never_guessed(tmp_path: Path, text: str) -> None:
    shop = clv.connect(folder(tmp_path, orders__csv=HEAD + f'a,2026-01-05,1\nb,2026-01-05,"{text}"\n'))
    assert reasons(shop) == {"amount: not a number": 1}
    assert shop.quality().reasons["example"].tolist() == [text]


def test_decimal_commas_and_cents_when_stated(tmp_path: Path) -> None:
    text = 'customer_id;ordered_at;amount\na;2026-01-05;"1.234,50"\nb;2026-01-05;7,5\nc;2026-01-05;1,234.50\n'
    folder(tmp_path, orders__csv=text, clvlib__toml='[tables.orders]\ndecimal = ","\n')
    shop = clv.connect(tmp_path)
    assert [r[2] for r in rows(shop)] == [1234.5, 7.5]
    assert reasons(shop) == {"amount: not a number": 1}
    folder(tmp_path, orders__csv=HEAD + "a,2026-01-05,1250\n", clvlib__toml="[tables.orders.scale]\namount = 0.01\n")
    assert rows(clv.connect(tmp_path))[0][2] == 12.5


def test_broken_lines_are_counted_with_their_row(tmp_path: Path) -> None:
    text = (
        HEAD
        + 'a,2026-01-01,1\nb,2026-01-02\n"c\nd",2026-01-03,3\ne,2026-01-04,4,9\nf,2026-01-05,x\ng,2026-01-06,6\nh,"20'
    )
    shop = clv.connect(folder(tmp_path, orders__csv=text))
    assert [r[0] for r in rows(shop)] == ["a", "c\nd", "g"]
    found = shop.quarantine()
    assert list(zip(found["row"], found["reason"], strict=True)) == [
        (2, "row: too few columns"),
        (4, "row: too many columns"),
        (5, "amount: not a number"),
        (7, "row: a quote is not closed"),
    ]
    quality = shop.quality()
    assert quality.table[["rows_read", "rows_kept", "rows_quarantined"]].iloc[0].tolist() == [7, 3, 4]
    assert not quality.ok
    assert any("last line has no line end" in note for note in quality.notes)


def test_a_wrong_type_in_one_row_of_many(tmp_path: Path) -> None:
    lines = [f"c{i % 5000},2026-01-05,{i % 90}.5" for i in range(300_000)]
    lines[123_456] = "c1,2026-01-05,n/v"
    shop = clv.connect(folder(tmp_path, orders__csv=HEAD + "\n".join(lines) + "\n"))
    assert shop.quality().sentences() == [
        "orders: amount: not a number: 1 of 300,000 rows, first at row 123,457 of orders.csv ('n/v'); "
        "the rows were quarantined"
    ]


# Folders, databases, configurations


def test_many_files_of_both_kinds_are_one_table(tmp_path: Path) -> None:
    folder(tmp_path, **{"orders-1__csv": HEAD + "a,2026-01-05,1\n", "orders/x__csv": HEAD + "b,2026-01-06,2\n"})
    frame = pd.DataFrame({"customer_id": ["c"], "ordered_at": pd.Timestamp("2026-01-07"), "amount": [3.0]})
    frame.to_parquet(tmp_path / "orders.parquet")
    assert [r[0] for r in rows(clv.connect(tmp_path))] == ["a", "b", "c"]


def test_files_that_disagree(tmp_path: Path) -> None:
    more = "customer_id,ordered_at,amount,channel\nb,2026-01-06,2,Weibo\n"
    folder(tmp_path, **{"orders-1__csv": HEAD + "a,2026-01-05,1\n", "orders-2__csv": more})
    shop = clv.connect(tmp_path)
    assert rows(shop, "customer_id, coalesce(channel, '-')") == [("a", "-"), ("b", "Weibo")]
    assert any("orders-1.csv: lacks channel" in note for note in shop.quality().notes)
    folder(tmp_path, **{"orders-3__csv": "customer_id,ordered_at,Amuont\nc,2026-01-06,2\n"})
    with pytest.raises(MissingColumnError, match=r"orders-3.csv has no column 'amount'.*amount = \"Amuont\""):
        clv.connect(tmp_path)


def test_header_names_are_matched_without_case_or_blanks_but_never_doubly(tmp_path: Path) -> None:
    shop = clv.connect(folder(tmp_path, orders__csv=" Customer_ID ,Ordered_At,AMOUNT \na,2026-01-05,1\n"))
    assert rows(shop)[0][0] == "a"
    with pytest.raises(DataError, match="names amount twice"):
        clv.connect(folder(tmp_path, orders__csv="customer_id,ordered_at,amount,amount\na,2026-01-05,1,2\n"))


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({}, EmptyDataError, "no table of the contract"),
        ({"orders__csv": ""}, DataError, "the file is empty"),
        ({"orders__csv": HEAD}, EmptyDataError, "a header and no row"),
        ({"orders__csv": "a,b\n1,2\n"}, MissingColumnError, "no column 'customer_id'; it has a, b"),
        ({"orders__csv": HEAD + "a,b,c\n"}, EmptyDataError, "none of the 1 rows passes"),
        ({"orders__parquet": "not parquet"}, DataError, "cannot be read as Parquet"),
        ({"orders__csv__gz": "not gzip"}, DataError, "cannot be read"),
        ({"clvlib__toml": "x ="}, ConfigError, "not TOML"),
        ({"clvlib__toml": "timezone = 'Mars/Olympus'"}, ConfigError, "no time zone"),
        ({"clvlib__toml": "currrency = 'CNY'"}, ConfigError, "did you mean currency"),
        ({"clvlib__toml": "sample = 'yes'"}, ConfigError, "wrong type; it takes true or false"),
        ({"clvlib__toml": "[privacy]\nrecipients = 'age1x'"}, ConfigError, "it takes a list"),
        ({"clvlib__toml": "[value]\nmargin = 30"}, ConfigError, "margin is a share, such as 0.15; found 30"),
        ({"clvlib__toml": "[value]\nmargin = 0"}, ConfigError, "margin is a share"),
        ({"clvlib__toml": "[value]\nannual_rate = 15"}, ConfigError, "annual_rate is a share"),
        ({"clvlib__toml": "[thresholds]\nclick_to_cart = 12"}, ConfigError, "click_to_cart is a share"),
        ({"clvlib__toml": "[thresholds]\nclik_to_cart = 0.1"}, ConfigError, "did you mean click_to_cart"),
        ({"clvlib__toml": "currency = 'RMBs'"}, ConfigError, "no ISO code of three letters"),
        ({"clvlib__toml": "[funnel]\nsteps = ['view', 'view']"}, ConfigError, "two or more different events"),
        ({"clvlib__toml": "[tables.order]"}, ConfigError, "did you mean orders"),
        ({"clvlib__toml": "[tables.orders.columns]\nammount = 'x'"}, ConfigError, "did you mean amount"),
        ({"clvlib__toml": "[tables.orders]\nfiles = 'nothing*.csv'"}, DataError, "no file matches"),
        ({"clvlib__toml": "[tables.orders]\nduplicates = 'drop'"}, ConfigError, "may be 'quarantine' or 'keep'"),
        ({"clvlib__toml": "source = 'elsewhere'"}, ConfigError, "no such folder"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(
    tmp_path: Path, files: dict[str, str], error: type[Exception], words: str
) -> None:
    source = folder(tmp_path, **files)
    with pytest.raises(error, match=words):
        clv.connect(source / "clvlib.toml" if words == "no such folder" else source)


def test_a_rule_that_is_no_sql(tmp_path: Path) -> None:
    toml = '[tables.orders]\nwhere = "amount >"\n'
    with pytest.raises(ConfigError, match="cannot be carried out"):
        clv.connect(folder(tmp_path, orders__csv=HEAD + "a,2026-01-05,1\n", clvlib__toml=toml))
    toml = '[tables.orders.columns]\namount = { sql = "price * 2" }\n'
    with pytest.raises(ConfigError, match="cannot be read as configured"):
        clv.connect(folder(tmp_path, clvlib__toml=toml))


def test_sources_that_are_not_there() -> None:
    with pytest.raises(DataError, match="no such folder or file"):
        clv.connect("no/such/place")
    with pytest.raises(DataError, match="no table 'order'"):
        clv.connect({"order": pd.DataFrame()})
    with pytest.raises(ParameterError, match=r"orders: a pandas.DataFrame is needed, found list"):
        clv.connect({"orders": [{"customer_id": "a"}]})
    with pytest.raises(ConfigError, match="mappings that ship are"):
        clv.connect({"orders": pd.DataFrame()}, mapping="shopify")


def test_a_database_and_a_store(tmp_path: Path) -> None:
    path = tmp_path / "own.duckdb"
    with duckdb.connect(str(path)) as own:
        own.execute(
            "CREATE TABLE orders AS SELECT 'a' AS customer_id, TIMESTAMP '2026-01-05' AS ordered_at, 5 AS amount"
        )
        own.execute("INSERT INTO orders VALUES ('b', TIMESTAMP '2026-01-06', -1)")
    shop = clv.connect(path, store=tmp_path / "store.duckdb", as_of="2026-02-01")
    before = shop.quality(), shop.fingerprint(), rows(shop)
    shop.close()
    again, twice = clv.connect(tmp_path / "store.duckdb"), clv.connect(tmp_path / "store.duckdb")
    for opened in (again, twice):
        assert rows(opened) == before[2]
        assert opened.fingerprint() == before[1]
        pd.testing.assert_frame_equal(opened.quality().reasons, before[0].reasons)
        assert str(opened.data_until) == "2026-02-01"
    with pytest.raises(ParameterError, match="was checked before"):
        clv.connect(tmp_path / "store.duckdb", as_of="2026-01-01")
    assert rows(clv.connect(path)) == [("a", "2026-01-05 00:00:00", 5.0)]  # the user's own file is untouched


def test_a_failed_store_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataError):
        clv.connect(folder(tmp_path / "in", orders__csv=HEAD), store=tmp_path / "store.duckdb")
    assert not (tmp_path / "store.duckdb").exists()


def test_a_shop_of_events_alone(tmp_path: Path) -> None:
    shop = clv.connect(folder(tmp_path, events__csv="person_id,occurred_at,event\na,2026-01-05,click\n"))
    assert shop.tables == ("events",)
    assert not shop.quality().ok
    assert str(shop.date_range[0]) == "2026-01-05"
    with pytest.raises(MissingTableError, match="no table 'orders'; it has events"):
        shop.customer_summary()


def test_an_optional_table_without_rows_counts_as_absent(tmp_path: Path) -> None:
    shop = clv.connect(
        folder(tmp_path, orders__csv=HEAD + "a,2026-01-05,1\n", events__csv="person_id,occurred_at,event\n")
    )
    assert not shop.has("events")
    assert "events: has no row; it is left out" in shop.quality().notes


def test_it_spills_instead_of_failing(tmp_path: Path) -> None:
    # A million orders need far more than 100 MB once parsed and checked for copies.
    duckdb.sql(
        "COPY (SELECT 'customer number ' || (i % 150000) AS customer_id, 'order number ' || i AS order_id, "
        "TIMESTAMP '2026-01-01' + (i % 1500000) * INTERVAL 1 SECOND AS ordered_at, i % 97 + 0.5 AS amount "
        f"FROM range(1000000) AS t(i)) TO '{tmp_path / 'orders.parquet'}'"
    )
    shop = clv.connect(tmp_path, memory_limit="100MB")
    summary = shop.customer_summary("2026-03-01")
    assert len(summary) == 150_000
    assert shop.quality().table["rows_kept"].tolist() == [1_000_000]


def test_weeks_of_the_data(tmp_path: Path) -> None:
    text = HEAD + "a,2026-01-05,1\na,2026-01-27,1\n"  # a Monday, a Tuesday
    shop = clv.connect(folder(tmp_path, orders__csv=text), as_of="2026-01-27")
    assert shop.week().label == "2026-W04"
    assert shop.week("2026-W05").label == "2026-W05"
    for wrong in ("2026-W01", "2026-W06"):
        with pytest.raises(ParameterError, match="lies outside the data, which run from 2026-01-05 to 2026-01-27"):
            shop.week(wrong)
    with pytest.raises(ParameterError, match="no complete week"):
        clv.connect(tmp_path, as_of="2026-01-06").week()


def test_a_frame_turned_round_is_read_like_any_other():
    frame = pd.DataFrame({"customer_id": ["a", "b", "c"], "ordered_at": pd.date_range("2026-01-01", periods=3)})
    frame["amount"] = [1.5, 2.5, 3.5]
    shop = clv.connect({"orders": frame.iloc[::-1]})
    assert shop.customer_summary("2026-01-31").index.tolist() == ["a", "b", "c"]
    assert as_table(frame.iloc[::-1], "orders").query("SELECT SUM(amount) AS s FROM {t} AS t")["s"].iloc[0] == 7.5


@pytest.fixture
def two_orders() -> clv.Shop:
    return clv.connect(
        pd.DataFrame({"customer_id": ["a", "b"], "ordered_at": ["2026-01-05", "2026-01-06"], "amount": 9})
    )


def test_frames_of_others_are_read_as_their_arrow_tables(two_orders) -> None:
    frame = pd.DataFrame(
        {"customer_id": ["a", "b", "a"], "ordered_at": ["2026-01-05", "2026-01-06", "2026-01-19"], "amount": [9, 5, 7]}
    )
    ours = clv.connect(frame).fingerprint()
    with duckdb.connect() as other:
        for theirs in (pa.table(frame), pa.table(frame).to_reader(), other.from_df(frame)):
            assert clv.connect(theirs).fingerprint() == ours
        assert clv.connect({"orders": pa.table(frame)}).fingerprint() == ours


@pytest.mark.parametrize("source", [None, 5, [{"customer_id": "a"}]])
def test_what_is_no_source_is_named(source) -> None:
    with pytest.raises(
        ParameterError, match=f"a frame of orders, or frames by table name; found {type(source).__name__}"
    ):
        clv.connect(source)


def test_a_frame_without_columns_and_a_day_that_is_none(two_orders) -> None:
    with pytest.raises(EmptyDataError, match="orders: the frame has no column"):
        clv.connect(pd.DataFrame())
    with pytest.raises(ParameterError, match="as_of: NaT is not a day"):
        two_orders.customer_summary(pd.NaT)


def test_a_frame_alone_is_the_orders(two_orders) -> None:
    assert two_orders.tables[0] == "orders"
    summaries = [two_orders.customer_summary(day) for day in ("2026-01-19", np.datetime64("2026-01-19T23:00", "ns"))]
    assert summaries[0]["T"].tolist() == [2.0, 13 / 7]
    pd.testing.assert_frame_equal(*summaries)


@pytest.mark.parametrize(
    "command",
    [
        "DROP TABLE orders",
        "UPDATE orders SET amount = 1",
        "SELECT 1; DELETE FROM orders",
        "ATTACH 'x.db'",
        "SET threads = 1",
    ],
)
def test_a_question_changes_nothing(two_orders, command: str) -> None:
    before = two_orders.fingerprint()
    with pytest.raises(ParameterError, match="changes nothing; found"):
        two_orders.query(command)
    assert two_orders.fingerprint() == before


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("FROM orders", 2),
        ("SHOW TABLES", None),
        ("DESCRIBE orders", None),
        ("SUMMARIZE orders", None),
        ("WITH a AS (SELECT * FROM orders) SELECT * FROM a", 2),
        ("PIVOT orders ON customer_id USING sum(amount) GROUP BY is_purchase", 1),
    ],
)
def test_every_kind_of_question_is_answered(two_orders, question: str, rows: int | None) -> None:
    assert len(two_orders.query(question)) == rows or rows is None
    with pytest.raises(EngineError, match="Parser Error"):
        two_orders.query("SELEKT 1")
