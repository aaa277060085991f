"""What is known of customers on a day: figures by hand, and proof that nothing later is looked at."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.churn_features import Records
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.errors import EmptyDataError, MissingColumnError, ThinDataWarning

DAY = dt.date(2026, 9, 20)
LAST = DAY + dt.timedelta(weeks=8)
TIMES = {
    "orders": ("ordered_at", "received_at", "returned_at", "paid_at", "shipped_at"),
    "events": ("occurred_at",),
    "complaints": ("opened_at", "first_response_at", "resolved_at"),
    "feedback": ("created_at",),
    "refunds": ("refunded_at",),
}


def frames(shop) -> dict[str, pd.DataFrame]:
    known = {name: shop.query(f"SELECT * FROM {name}") for name in TIMES}
    rng = np.random.default_rng(1)
    some = known["orders"].sample(200, random_state=1)
    known["refunds"] = pd.DataFrame(
        {
            "customer_id": some["customer_id"],
            "refunded_at": some["day"] + pd.to_timedelta(rng.integers(1, 60, 200), "D"),
        }
    )
    return known


def until(tables: dict[str, pd.DataFrame], day: dt.date) -> dict[str, pd.DataFrame]:
    """The tables as they stood at the end of a day."""
    end, cut = pd.Timestamp(day) + pd.Timedelta(days=1), {}
    for name, (when, *later) in TIMES.items():
        rows = tables[name][tables[name][when] < end].copy()
        for column in set(later) & set(rows):
            rows[column] = rows[column].where(rows[column] < end)
        cut[name] = rows
    return cut


def planted(tables: dict[str, pd.DataFrame], day: dt.date) -> dict[str, pd.DataFrame]:
    """The tables with much happening to everybody right after the day."""
    who = tables["orders"]["customer_id"].unique()
    now = pd.Timestamp(day) + pd.Timedelta(days=1, hours=1)
    order = {"customer_id": who, "ordered_at": now, "day": now.normalize(), "amount": 9e4, "paid_at": now}
    rows = {
        "orders": pd.DataFrame(order | {"discount": 5.0, "coupon_id": "X"}),
        "events": pd.DataFrame({"person_id": who, "occurred_at": now, "event": "exposure"}),
        "complaints": pd.DataFrame({"customer_id": who, "opened_at": now}),
        "feedback": pd.DataFrame({"customer_id": who, "created_at": now, "rating": 1.0}),
        "refunds": pd.DataFrame({"customer_id": who, "refunded_at": now}),
    }
    return {name: pd.concat([tables[name], rows[name]]).reset_index(drop=True) for name in TIMES}


def known(tables: dict[str, pd.DataFrame], day: dt.date = DAY, last: dt.date = LAST, **settings):
    return Records.read(last, 8, settings.pop("active_weeks", 13), BetaGeoModel(), **tables).at(day)


def test_nothing_later_than_the_day_is_looked_at(sample_shop):
    tables = frames(sample_shop)
    now = known(tables)
    assert set(now.frame) == {
        "model", "silence", "slowing", "absent", "interest", "late", "unanswered", "slow_answer", "refunded", "unhappy",
        "full_price", "discounts", "purchases", "tenure", "spend",
    }  # fmt: skip
    assert (now.frame.drop(columns="slow_answer").std() > 0).all()
    for other in (until(tables, DAY), planted(tables, DAY)):
        then = known(other)
        pd.testing.assert_frame_equal(then.frame, now.frame)
        pd.testing.assert_frame_equal(then.facts, now.facts)
        assert then.buyers == now.buyers
    assert known(until(tables, DAY)).lapsed.all()
    assert not known(planted(tables, DAY)).lapsed.any()
    later = tables["orders"][(tables["orders"]["day"] > pd.Timestamp(DAY)) & (tables["orders"]["amount"] > 0)]
    assert now.lapsed.equals(pd.Series(~now.frame.index.isin(later["customer_id"]), now.frame.index, name="lapsed"))


def sold(rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "received_at", "discount"])
    return frame.assign(
        day=pd.to_datetime(frame["day"]), received_at=pd.to_datetime(frame["received_at"]), amount=100.0
    )


def test_figures_by_hand():
    orders = sold(
        [
            ("a", "2026-06-01", "2026-06-04", 0.0),
            ("a", "2026-06-15", "2026-06-18", 5.0),
            ("a", "2026-08-17", "2026-08-27", 0.0),  # ten days, three are usual
            ("b", "2026-08-01", "2026-08-04", 5.0),
            ("b", "2026-09-19", None, 5.0),  # a day on its way
            ("old", "2026-01-01", "2026-01-04", 0.0),
            ("old", "2026-02-01", "2026-02-04", 0.0),
            ("once", "2026-09-01", "2026-09-04", 0.0),
        ]
    )
    at = pd.to_datetime
    complaints = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b", "b"],
            "opened_at": at(["2026-08-18", "2026-07-01", "2026-09-19", "2026-09-19"]),
            "first_response_at": at(["2026-08-20", None, None, "2026-09-19"]),
        }
    )
    feedback = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b"],
            "rating": [2.0, 5.0, 1.0],
            "created_at": at(["2026-08-30", "2026-08-31", "2026-08-02"]),
        }
    )
    refunds = pd.DataFrame({"customer_id": ["a", "b"], "refunded_at": at(["2026-08-30", "2026-08-30"])})
    got = known({"orders": orders, "complaints": complaints, "feedback": feedback, "refunds": refunds})
    assert list(got.frame.index) == ["a", "b"]  # old is not active, once has no rhythm
    assert got.buyers == 4
    a, b = got.frame.loc["a"], got.frame.loc["b"]
    # a: days 0, 14, 77; silent for 34 days against a mean gap of 38.5; the last gap 63 against 14 before
    assert a["silence"] == pytest.approx(np.log(41 / 45.5))
    assert a["slowing"] == pytest.approx(np.log(70 / 21))
    assert b["slowing"] == 0
    assert a["tenure"] == pytest.approx(np.log1p(111 / 7))
    assert got.facts.loc["a", "silence_weeks"] == pytest.approx(34 / 7)
    binary = ["late", "unanswered", "slow_answer", "refunded", "unhappy", "full_price"]
    # a's answer took two days; the complaint of July came before the last purchase, b's are of yesterday
    assert a[binary].tolist() == [1, 0, 1, 1, 1, 1]
    assert b[binary].tolist() == [0, 0, 0, 0, 0, 0]
    assert a["discounts"] == pytest.approx(1 / 3)
    waiting = known({"orders": orders, "complaints": complaints}, DAY + dt.timedelta(weeks=1))
    assert waiting.frame.loc["b", ["late", "unanswered"]].tolist() == [1, 1]  # eight days on its way; patience is over


def test_who_stopped_watching():
    people = [f"p{i:02d}" for i in range(40)]
    orders = pd.concat([sold([(p, "2026-06-01", None, 0.0), (p, "2026-08-09", None, 0.0)]) for p in people])
    weeks = pd.date_range("2026-06-03", "2026-09-19", freq="7D")
    rows = [(p, week) for p in people for week in weeks]
    events = pd.DataFrame(rows, columns=["person_id", "occurred_at"])
    quit_ = (events["person_id"] == "p00") & (events["occurred_at"] > pd.Timestamp("2026-08-10"))
    bored = (events["person_id"] == "p01") & (events["occurred_at"] > pd.Timestamp("2026-07-06"))
    frame = known({"orders": orders, "events": events[~quit_ & ~bored], "feedback": None}).frame
    usual = frame.drop(index=["p00", "p01"])
    assert usual["absent"].abs().max() < 0.05
    assert usual["interest"].abs().max() < 0.05
    # week 10 holds the last purchase, week 16 the day: six weeks since, of which p00 was seen in none
    assert frame.loc["p00", "absent"] == pytest.approx(np.log(6.5 / 0.5), abs=0.05)
    assert frame.loc["p00", "interest"] == pytest.approx(usual["interest"].mean(), abs=0.01)
    # of weeks 6 to 9, the second half before the last purchase, p01 was seen in none
    assert frame.loc["p01", "interest"] == pytest.approx(np.log(4.5 / 0.5), abs=0.1)


def test_what_cannot_be_is_named():
    orders = sold([("a", "2026-08-01", None, 0.0), ("a", "2026-09-01", None, 0.0)])
    with pytest.raises(MissingColumnError, match="feedback"):
        known({"orders": orders, "feedback": pd.DataFrame({"customer_id": ["a"]})})
    with pytest.raises(EmptyDataError, match="two days"):
        known({"orders": orders}, active_weeks=1)
    with pytest.raises(EmptyDataError, match="nobody had bought"):
        known({"orders": orders.assign(amount=0.0)})
    ratings = pd.DataFrame({"customer_id": "a", "rating": [0.0, 7.0, np.nan], "created_at": pd.Timestamp("2026-09-02")})
    with pytest.warns(ThinDataWarning, match="2 ratings outside 1 to 5"):
        assert known({"orders": orders, "feedback": ratings}).frame["unhappy"].tolist() == [0]
