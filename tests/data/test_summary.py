"""The customer summary: equal to lifetimes on CDNOW, to plain pandas on anything, and on other engines."""

from __future__ import annotations

import datetime as dt
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.data import datasets, summary
from clvlib.data.connect import Shop
from clvlib.errors import EmptyDataError, ParameterError
from tests.conftest import shared_data

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lifetimes.utils import calibration_and_holdout_data, summary_data_from_transaction_data


@pytest.fixture(scope="module")
def cdnow() -> Shop:
    return clv.connect("cdnow")


@pytest.fixture(scope="module")
def transactions() -> pd.DataFrame:
    frame = datasets.cdnow()
    return frame.assign(day=pd.to_datetime(frame["ordered_at"]), amount=frame["amount"].astype(float))


@pytest.mark.parametrize(
    ("unit", "collapse", "freq", "multiplier"), [("D", "D", "D", 1), ("W", "D", "D", 7), ("W", "W", "W", 1)]
)
def test_cdnow_equals_lifetimes(cdnow, transactions, unit, collapse, freq, multiplier) -> None:
    theirs = summary_data_from_transaction_data(
        transactions, "customer_id", "day", "amount", "1998-06-30", freq=freq, freq_multiplier=multiplier
    )
    ours = cdnow.customer_summary("1998-06-30", unit=unit, collapse=collapse)
    assert ours.index.equals(theirs.index)
    for column in ("frequency", "recency", "T"):
        np.testing.assert_array_equal(ours[column], theirs[column])
    np.testing.assert_allclose(ours["monetary_value"], theirs["monetary_value"], rtol=1e-12)
    assert ours.attrs["clvlib"] == {"unit": unit, "collapse": collapse, "as_of": "1998-06-30"}


@pytest.mark.filterwarnings("ignore")
def test_cdnow_holdout_equals_lifetimes(cdnow, transactions) -> None:
    theirs = calibration_and_holdout_data(
        transactions, "customer_id", "day", "1997-09-30", "1998-06-30", freq="D", monetary_value_col="amount"
    )
    calibration, holdout = cdnow.calibration_holdout("1997-09-30", "1998-06-30", unit="D")
    assert calibration.index.equals(theirs.index)
    np.testing.assert_array_equal(calibration["frequency"], theirs["frequency_cal"])
    np.testing.assert_array_equal(calibration["recency"], theirs["recency_cal"])
    np.testing.assert_array_equal(calibration["T"], theirs["T_cal"])
    np.testing.assert_allclose(calibration["monetary_value"], theirs["monetary_value_cal"], rtol=1e-12)
    np.testing.assert_array_equal(holdout["frequency_holdout"], theirs["frequency_holdout"])
    np.testing.assert_array_equal(holdout["duration_holdout"], theirs["duration_holdout"])


def test_the_published_sample() -> None:
    # Fader, Hardie & Lee 2005: 2,357 customers, 39 weeks, and 1,882 purchases in the 39 weeks after.
    shop = clv.connect({"orders": datasets.cdnow(sample=True)}, mapping="cdnow")
    calibration, holdout = shop.calibration_holdout("1997-09-30", "1998-06-30")
    assert len(calibration) == 2357
    assert holdout["frequency_holdout"].sum() == 1882
    assert holdout["duration_holdout"].unique().tolist() == [39.0]
    assert (calibration["frequency"] > 0).sum() == 946
    assert calibration.loc[calibration["frequency"] > 0, "monetary_value"].mean() == pytest.approx(35.08, abs=0.005)
    published = pd.read_csv(shared_data("cdnow") / "cdnow_customers_summary_with_transactions.csv")
    assert calibration["frequency"].tolist() == published["x"].tolist()
    np.testing.assert_allclose(calibration["recency"], published["t_x"], atol=0.00501)
    np.testing.assert_allclose(calibration["T"], published["T"], atol=0.00501)


def test_online_retail_reconciles() -> None:
    shop = clv.connect(shared_data("online_retail") / "online_retail.parquet", mapping="online_retail")
    row = shop.quality().table.iloc[0]
    assert row["rows_read"] == 541_909
    assert row["amount_read"] == pytest.approx(9_747_747.934, abs=1e-6)
    assert row["amount_kept"] + row["amount_quarantined"] == pytest.approx(9_747_747.934, abs=1e-6)
    assert shop.quality().reasons[["reason", "rows"]].to_numpy().tolist() == [["customer_id: missing", 135_080]]
    valid = shop.query(
        "SELECT count(*) AS n, count(DISTINCT customer_id) AS c, sum(amount) AS s FROM orders WHERE amount > 0"
    ).iloc[0]
    assert valid.tolist() == [397_884, 4_338, pytest.approx(8_911_407.904, abs=0.005)]


def test_tmall_reconciles() -> None:
    shop = clv.connect(shared_data("tmall_orders") / "tmall_order_report.csv", mapping="tmall_orders")
    sums = shop.query(
        "SELECT sum(amount) AS total, sum(net_amount) AS paid, sum(refunded_amount) AS refunded, "
        "count(*) FILTER (WHERE paid_at IS NULL) AS unpaid, count(*) FILTER (WHERE refunded_amount > 0) AS n "
        "FROM orders"
    ).iloc[0]
    assert sums.tolist() == [
        pytest.approx(2_995_760.61),
        pytest.approx(1_902_487.15),  # their column of what buyers really paid, which the mapping does not read
        pytest.approx(572_335.92),
        3_923,
        5_646,
    ]
    assert shop.quality().ok


def test_taobao_and_olist_events() -> None:
    taobao = clv.connect(shared_data("taobao_events") / "UserBehavior_first84k.csv", mapping="taobao_events")
    counts = taobao.query("SELECT event, count(*) AS n FROM events GROUP BY event").set_index("event")["n"]
    # The cut-off last line is a page view: 75,873 lines, 75,872 of them whole.
    assert counts.to_dict() == {"click": 75_872, "cart": 4_497, "favourite": 2_356, "paid": 1_750}
    assert taobao.quarantine()["reason"].tolist() == ["row: too few columns"]
    olist = clv.connect(shared_data("olist_marketing_funnel"), mapping="olist_marketing_funnel")
    counts = olist.query("SELECT event, count(*) AS n FROM events GROUP BY event").set_index("event")["n"]
    assert counts.to_dict() == {"lead": 8_000, "won": 842}


def test_complete_journey_reconciles() -> None:
    shop = clv.connect(shared_data("complete_journey"), mapping="complete_journey")
    row = shop.quality().table.set_index("table").loc["orders"]
    assert [row["rows_read"], row["rows_kept"]] == [1_469_307, 1_469_307]
    assert row["amount_kept"] == pytest.approx(4_596_039.58)
    assert shop.query("SELECT count(DISTINCT customer_id) AS n FROM orders")["n"].iloc[0] == 2_469


# Against plain pandas, on anything

ORDERS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 400), st.integers(0, 100_000)), min_size=1, max_size=40
)
START = dt.date(2025, 1, 1)


def frame_of(orders: list[tuple[str, int, int]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": [who for who, _, _ in orders],
            "ordered_at": [pd.Timestamp(START) + pd.Timedelta(hours=7 * days) for _, days, _ in orders],
            "amount": [cents / 100 for _, _, cents in orders],
        }
    )


@settings(max_examples=60)
@given(ORDERS, st.sampled_from([("D", "D"), ("W", "D"), ("W", "W"), ("M", "M"), ("Y", "D")]), st.integers(0, 150))
def test_the_summary_is_what_pandas_says(orders, kind, after) -> None:
    unit, collapse = kind
    frame = frame_of(orders)
    until = START + dt.timedelta(days=after)
    shop = clv.connect({"orders": frame}, as_of="2026-06-01")
    seen = frame[frame["ordered_at"].dt.date <= until]
    if seen.empty:
        with pytest.raises(EmptyDataError, match=f"no purchase on or before {until}"):
            shop.customer_summary(until, unit, collapse)
        return
    periods = seen["ordered_at"].dt.to_period(collapse)
    visits = seen.groupby([seen["customer_id"], periods.rename("period")])["amount"].sum().reset_index()
    end = pd.Period(until, collapse)
    scale = {"D": 1, "W": 7, "M": 30.4375, "Y": 365.25}[unit] if collapse == "D" else 1
    ours = shop.customer_summary(until, unit, collapse)
    bare = shop.customer_summary(until, unit, collapse, spend=False)
    pd.testing.assert_frame_equal(ours.drop(columns="spend"), bare)
    np.testing.assert_allclose(ours["spend"], seen.groupby("customer_id")["amount"].sum(), rtol=1e-12)
    assert ours.index.tolist() == sorted(seen["customer_id"].unique())
    for who, mine in visits.groupby("customer_id"):
        first, last = mine["period"].min(), mine["period"].max()
        repeat = mine.loc[mine["period"] > first, "amount"]
        assert ours.loc[who, "frequency"] == len(repeat)
        assert ours.loc[who, "recency"] == (last - first).n / scale
        assert ours.loc[who, "T"] == (end - first).n / scale
        assert ours.loc[who, "monetary_value"] == pytest.approx(repeat.mean() if len(repeat) else 0.0)
    compressed = shop.customer_summary(until, unit, collapse, compressed=True)
    expanded = compressed.loc[compressed.index.repeat(compressed["n"])].drop(columns="n")
    pd.testing.assert_frame_equal(
        expanded.reset_index(drop=True),
        ours[["frequency", "recency", "T"]].sort_values(["frequency", "recency", "T"]).reset_index(drop=True),
        check_dtype=False,
    )
    shop.close()


@settings(max_examples=30)
@given(ORDERS, st.integers(1, 60), st.integers(1, 60))
def test_calibration_and_holdout_add_up_to_the_whole(orders, split, more) -> None:
    frame = frame_of([("z", 0, 500), *orders])
    last, end = START + dt.timedelta(days=split), START + dt.timedelta(days=split + more)
    shop = clv.connect({"orders": frame}, as_of="2026-06-01")
    calibration, holdout = shop.calibration_holdout(last, end, unit="D")
    whole = shop.customer_summary(end, unit="D").loc[calibration.index]
    assert (calibration["frequency"] + holdout["frequency_holdout"]).tolist() == whole["frequency"].tolist()
    spend = (
        calibration["frequency"] * calibration["monetary_value"]
        + holdout["frequency_holdout"] * holdout["monetary_value_holdout"]
    )
    np.testing.assert_allclose(spend, whole["frequency"] * whole["monetary_value"], atol=1e-6)
    assert not holdout.isna().any().any()
    pd.testing.assert_frame_equal(calibration, shop.customer_summary(last, unit="D"))
    shop.close()


def test_a_day_is_a_day_in_the_shops_zone(tmp_path: Path) -> None:
    # 23:30 and 00:30 in Shanghai are one day in London.
    frame = pd.DataFrame(
        {
            "customer_id": ["a", "a"],
            "ordered_at": pd.to_datetime(["2026-01-05 15:30", "2026-01-05 16:30"], utc=True),
            "amount": [1.0, 1.0],
        }
    )
    (tmp_path / "clvlib.toml").write_text('timezone = "Europe/London"')
    shanghai = clv.connect({"orders": frame}, as_of="2026-02-01")
    london = clv.connect({"orders": frame}, mapping=tmp_path / "clvlib.toml", as_of="2026-02-01")
    assert shanghai.customer_summary()["frequency"].tolist() == [1]
    assert london.customer_summary()["frequency"].tolist() == [0]


@pytest.mark.parametrize(("unit", "collapse"), [("h", "D"), ("D", "W"), ("W", "M"), ("W", "h")])
def test_units_that_do_not_go_together(cdnow, unit, collapse) -> None:
    with pytest.raises(ParameterError, match="unit"):
        cdnow.customer_summary("1998-06-30", unit, collapse)


def test_splits_that_cannot_be(cdnow) -> None:
    with pytest.raises(ParameterError, match="must lie before"):
        cdnow.calibration_holdout("1998-06-30", "1997-09-30")
    with pytest.raises(ParameterError, match="cuts a period"):
        cdnow.calibration_holdout("1997-09-30", "1998-06-30", "W", "W")
    with pytest.raises(EmptyDataError, match="the first is of 1997-01-01, the last of 1998-06-30"):
        cdnow.customer_summary("1996-12-31")


def test_no_order_is_a_purchase() -> None:
    frame = pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2026-01-05"], "amount": [5], "refunded_amount": [5]})
    with pytest.raises(EmptyDataError, match="all are unpaid or refunded"):
        clv.connect({"orders": frame}).customer_summary("2026-02-01")


@pytest.mark.parametrize(("unit", "collapse", "scale"), [("D", "D", 1), ("W", "D", 7), ("W", "W", 1), ("M", "M", 1)])
def test_litt_is_the_sum_of_the_logs_of_the_times_between(cdnow, transactions, unit, collapse, scale) -> None:
    visits = transactions.assign(period=transactions["day"].dt.to_period(collapse).astype("int64"))
    visits = visits.drop_duplicates(["customer_id", "period"]).sort_values(["customer_id", "period"])
    gaps = np.log(visits.groupby("customer_id")["period"].diff() / scale)
    truth = gaps.groupby(visits["customer_id"]).sum()
    ours = cdnow.customer_summary("1998-06-30", unit, collapse, litt=True)
    np.testing.assert_allclose(ours["litt"], truth.loc[ours.index], rtol=1e-12, atol=1e-12)
    pd.testing.assert_frame_equal(ours.drop(columns="litt"), cdnow.customer_summary("1998-06-30", unit, collapse))
    for column in ("litt", "spend"):
        with pytest.raises(ParameterError, match=column):
            cdnow.customer_summary("1998-06-30", unit, collapse, **{column: True}, compressed=True)


# Other engines, from the same text


@pytest.mark.parametrize("dialect", ["spark", "postgres", "snowflake", "bigquery", "clickhouse"])
@pytest.mark.parametrize("collapse", ["D", "W", "M"])
def test_the_query_can_be_said_in_other_dialects(dialect: str, collapse: str) -> None:
    sql = summary._summary_sql(dt.date(2026, 11, 15), collapse, collapse, litt=True, spend=True).format(t="orders")
    told = sqlglot.transpile(sql, read="duckdb", write=dialect, unsupported_level=sqlglot.ErrorLevel.RAISE)[0]
    assert "ARG_MIN" not in told.upper()
    sqlglot.parse_one(told, read=dialect)


@pytest.mark.parametrize(("unit", "collapse"), [("W", "D"), ("W", "W")])
def test_another_engine_gives_the_same_rows(cdnow, unit, collapse) -> None:
    """SQLite stands for the warehouses here: the same definition, transpiled, on rows that it holds itself."""
    sql = summary._summary_sql(dt.date(1998, 6, 30), unit, collapse, spend=True).format(t="orders")
    told = sqlglot.transpile(sql, read="duckdb", write="sqlite")[0]
    rows = cdnow.query("SELECT customer_id, CAST(day AS VARCHAR) AS day, net_amount, is_purchase FROM orders")
    with closing(sqlite3.connect(":memory:")) as other:
        rows.to_sql("orders", other, index=False)
        theirs = pd.read_sql(told, other).set_index("customer_id").sort_index()
    ours = cdnow.customer_summary("1998-06-30", unit, collapse)
    pd.testing.assert_frame_equal(theirs, ours, check_dtype=False, rtol=1e-12)
