"""RCV against its definition written out in pandas, its traps, and its parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.clv.rcv import rcv
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError

LAST = pd.Timestamp("2026-11-15")


def days_ago(*days: int) -> pd.Series:
    return LAST - pd.to_timedelta(pd.Series(days), unit="D")


def written_out(orders: pd.DataFrame, events: pd.DataFrame, window: int, activity_window: int) -> pd.Series:
    """Amount × purchase days ÷ active days, customer by customer."""
    result = {}
    for who in sorted(orders["customer_id"].unique()):
        own = orders[orders["customer_id"] == who]
        recent = own[own["day"] > LAST - pd.Timedelta(days=window)]
        begin = LAST - pd.Timedelta(days=activity_window)
        seen = set(own["day"][own["day"] > begin].dt.date)
        log = events[events["person_id"] == who]["occurred_at"].dt.normalize()
        seen |= set(log[(log > begin) & (log <= LAST)].dt.date)
        result[who] = recent["net_amount"].sum() * recent["day"].nunique() / max(len(seen), 1)
    return pd.Series(result)


ORDER = st.tuples(st.sampled_from("abcd"), st.integers(0, 70), st.integers(1, 500))
EVENT = st.tuples(st.sampled_from("abcde"), st.integers(-2, 70), st.integers(0, 23))


@settings(max_examples=40)
@given(st.lists(ORDER, min_size=1, max_size=12), st.lists(EVENT, max_size=12), st.integers(1, 60), st.integers(1, 60))
def test_the_score_is_what_the_definition_says(orders, events, window, activity_window):
    sold = pd.DataFrame(orders, columns=["customer_id", "ago", "net_amount"]).astype({"net_amount": float})
    sold["day"] = days_ago(*sold["ago"])
    log = pd.DataFrame(events, columns=["person_id", "ago", "hour"]).astype({"person_id": "object"})
    log["occurred_at"] = pd.to_datetime(days_ago(*log["ago"])) + pd.to_timedelta(log["hour"].astype(float), unit="h")
    result = rcv(sold, LAST, log, window=window, activity_window=activity_window)
    expected = written_out(sold, log, window, activity_window)
    assert result.table["raw"].sort_index().to_list() == pytest.approx(expected.to_list())
    scale = 10 / expected.max() if expected.max() > 0 else 0.0
    np.testing.assert_allclose(result.table["score"].sort_index(), scale * expected)
    again = rcv(sold.sample(frac=1, random_state=1), LAST, log, window=window, activity_window=activity_window)
    pd.testing.assert_frame_equal(again.table.sort_index(), result.table.sort_index())


@pytest.fixture
def sold() -> pd.DataFrame:
    amounts = [100.0, 50.0, 200.0, 80.0, 40.0]
    return pd.DataFrame({"customer_id": list("aabcd"), "net_amount": amounts, "day": days_ago(2, 9, 5, 200, 40)})


def test_scales(sold):
    raw = pd.Series({"a": 75.0 * 2, "b": 200.0, "c": 0.0, "d": 0.0})
    for scale, expected in {
        "max": 10 * raw / 200,
        "log": 10 * np.log1p(raw) / np.log1p(200),
        "rank": pd.Series({"a": 6.25, "b": 8.75, "c": 0.0, "d": 0.0}),
        100.0: np.minimum(10 * raw / 100, 10),
    }.items():
        result = rcv(sold, LAST, scale=scale)
        np.testing.assert_allclose(result.table["score"].sort_index(), expected, err_msg=str(scale))
        assert result.vips == (expected >= 5).sum()
    result = rcv(sold, LAST)
    assert (result.vip_share, result.vip_share_of_amount, result.seen_by) == (0.5, 1.0, "orders")
    assert rcv(sold.assign(net_amount=0.0), LAST).table["score"].eq(0).all()


def test_the_unit_of_money_matters_for_some_scales_only(sold):
    cents = sold.assign(net_amount=sold["net_amount"] * 100)
    for scale in ("max", "rank"):
        np.testing.assert_allclose(
            rcv(cents, LAST, scale=scale).table["score"], rcv(sold, LAST, scale=scale).table["score"]
        )
    assert (rcv(cents, LAST, scale="log").table["score"] != rcv(sold, LAST, scale="log").table["score"]).any()


def test_more_activity_lowers_the_score(sold):
    watched = pd.DataFrame({"person_id": "b", "occurred_at": days_ago(1, 1, 2, 3)})
    table = rcv(sold, LAST, watched).table
    assert table.loc["b", "active_days"] == 4
    assert table.loc["b", "raw"] == 50.0
    assert table.index[0] == "a"


def test_spend_without_activity(sold):
    """Spend within 60 days, activity within 30: customer d bought and was not there."""
    rows = {rule: rcv(sold, LAST, window=60, inactive=rule).table.loc["d", "raw"] for rule in ("one", "zero", "most")}
    assert rows == {"one": 40.0, "zero": 0.0, "most": 200.0}


def test_only_purchases_count(sold):
    unpaid = sold.assign(is_purchase=[True, True, False, True, True])
    assert list(rcv(unpaid, LAST).table.index[:1]) == ["a"]
    assert "b" not in rcv(unpaid, LAST).table.index
    assert clv.rcv is rcv


def test_what_cannot_be_is_refused(sold):
    for bad in ({"window": 0}, {"scale": "best"}, {"scale": -1.0}, {"inactive": "maybe"}):
        with pytest.raises(ParameterError):
            rcv(sold, LAST, **bad)
    with pytest.raises(EmptyDataError):
        rcv(sold, "2020-01-01")
    with pytest.raises(MissingColumnError):
        rcv(sold.drop(columns="net_amount"), LAST)
