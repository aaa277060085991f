"""Satisfaction: people, not ratings, are averaged; SciPy's interval; what is off the scale is counted apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.audience.satisfaction import satisfaction, side_by_side
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


def test_new_and_returning_customers_stand_side_by_side(sample_shop):
    """Straight from the tables: who rated in the week of his first order is new, later he returns."""
    week = sample_shop.week("2026-W46")
    result = side_by_side(sample_shop.table("feedback"), week, sample_shop.table("orders"), 13)
    ratings = sample_shop.query("SELECT customer_id, created_at, rating, topic FROM feedback WHERE rating IS NOT NULL")
    firsts = sample_shop.query("SELECT customer_id, ordered_at FROM orders WHERE is_purchase")
    first = firsts.groupby("customer_id")["ordered_at"].min()
    ratings["since"] = (
        ratings["created_at"].dt.to_period("W").dt.start_time
        - ratings["customer_id"].map(first).dt.to_period("W").dt.start_time
    ).dt.days
    seen = ratings["created_at"] >= pd.Timestamp(week.start) - pd.Timedelta(weeks=12)
    own = ratings[seen & (ratings["since"] >= 0)]
    kinds = {"new": own[own["since"] == 0], "returning": own[own["since"] > 0]}
    for name, part in kinds.items():
        for topic, rows in {"all": part, **dict(list(part.groupby("topic")))}.items():
            means = rows.groupby("customer_id")["rating"].mean()
            told = result.table.loc[(topic, name)]
            assert (told["people"], told["rating"]) == (len(means), pytest.approx(means.mean()))
    new, returning = (part.groupby("customer_id")["rating"].mean() for part in kinds.values())
    welch = stats.ttest_ind(new, returning, equal_var=False)
    assert result.difference.p_value == pytest.approx(welch.pvalue)
    assert (result.difference.lower, result.difference.upper) == pytest.approx(welch.confidence_interval(0.95))
    assert "which is not told apart" in result.sentence
    assert (result.first, result.last) == ("2026-08-17", "2026-11-15")


def test_sides_that_differ_are_told_apart_and_one_side_alone_is_shown():
    start, ago = pd.Timestamp(WEEK.start), pd.Timestamp("2026-03-01")
    orders = pd.DataFrame({"customer_id": [f"c{i}" for i in range(40)], "ordered_at": [start] * 20 + [ago] * 20})
    frame = pd.DataFrame(
        {"customer_id": orders["customer_id"], "rating": [1, 2] * 10 + [4, 5] * 10, "created_at": start}
    )
    result = side_by_side(frame, WEEK, orders)
    assert "new customers rated 1.50 on average and returning ones 4.50 (difference −3." in result.sentence
    assert result.table.index.tolist() == [("all", "new"), ("all", "returning")]
    alone = side_by_side(frame.tail(20), WEEK, orders)
    assert (alone.difference, alone.sentence, len(alone.table)) == (None, "", 1)
    with pytest.raises(EmptyDataError, match="no customer rated in the 13 weeks to 2026-W46"):
        side_by_side(frame.assign(customer_id="x"), WEEK, orders)
