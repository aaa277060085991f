"""Satisfaction: people, not ratings, are averaged; SciPy's interval; what is off the scale is counted apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.audience.satisfaction import satisfaction
from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, MissingColumnError

WEEK = Week("2026-W46")


def said(n: int = 60, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in rng.integers(0, 30, n)],
            "rating": rng.integers(1, 6, n).astype(float),
            "created_at": pd.Timestamp(WEEK.start) + pd.to_timedelta(rng.integers(-48, 7 * 24 + 48, n), unit="h"),
            "topic": rng.choice(["price", "product", None], n),
        }
    )


def test_each_person_counts_once():
    frame = said()
    orders = pd.DataFrame({"customer_id": [f"c{i}" for i in range(25)], "ordered_at": pd.Timestamp("2026-03-01")})
    orders.loc[orders.index[:5], "ordered_at"] = pd.Timestamp(WEEK.start)
    result = satisfaction(frame, WEEK, orders, 0.9)
    own = frame[(frame["created_at"] >= pd.Timestamp(WEEK.start)) & (frame["created_at"] < pd.Timestamp(WEEK.end))]
    means = own.groupby("customer_id")["rating"].mean()
    interval = stats.t.interval(0.9, len(means) - 1, means.mean(), means.sem())
    assert (result.rating, result.lower, result.upper) == pytest.approx((means.mean(), *interval))
    assert (result.people, result.ratings, result.out_of_range) == (len(means), len(own), 0)
    kinds = own["customer_id"].map(
        lambda who: "new" if int(who[1:]) < 5 else "returning" if int(who[1:]) < 25 else "no customer yet"
    )
    people = own.groupby(kinds)["customer_id"].nunique()
    assert result.table.loc["customers", "people"].to_dict() == people.to_dict()
    topics = own.fillna({"topic": "none"}).groupby("topic")["customer_id"].nunique()
    assert result.table.loc["topic", "people"].to_dict() == topics.to_dict()
    pd.testing.assert_frame_equal(satisfaction(frame.iloc[::-1], WEEK, orders, 0.9).table, result.table)


def test_off_the_scale_and_alike():
    frame = pd.DataFrame({"customer_id": list("abcd"), "rating": [4, 4, 0, 6], "created_at": pd.Timestamp(WEEK.start)})
    result = satisfaction(frame, WEEK)
    assert (result.rating, result.lower, result.upper, result.out_of_range) == (4.0, 4.0, 4.0, 2)
    assert "2 ratings outside 1 to 5 do not count" in result.sentence
    with pytest.raises(EmptyDataError, match="nobody rated"):
        satisfaction(frame.tail(2), WEEK)
    with pytest.raises(EmptyDataError):
        satisfaction(frame, WEEK.previous)
    with pytest.raises(MissingColumnError):
        satisfaction(frame.drop(columns="rating"), WEEK)
