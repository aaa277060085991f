"""Time on the page: counts by hand, a known relation, the sample shop's truth, bad input."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.dwell import dwell
from clvlib.funnel.dwell_plot import dwell_data, plot_dwell
from clvlib.funnel.view import WeekFunnel

PERIOD = (dt.date(2026, 11, 9), dt.date(2026, 11, 16))


def log(rows: list[tuple]) -> pd.DataFrame:
    """Events from person, event, minute, product, dwell."""
    frame = pd.DataFrame(rows, columns=["person_id", "event", "minute", "product_id", "dwell_s"])
    frame["occurred_at"] = pd.Timestamp("2026-11-10") + pd.to_timedelta(frame.pop("minute"), unit="min")
    return frame


@pytest.fixture
def small() -> pd.DataFrame:
    return log(
        [
            ("a", "click", 0, "p", 8.0),  # another click comes first
            ("a", "click", 1, "p", 30.0),
            ("a", "cart", 2, "p", None),
            ("b", "click", 0, "p", 30.0),  # another product
            ("b", "cart", 2, "q", None),
            ("c", "click", 0, "p", 30.0),  # too late
            ("c", "cart", 31, "p", None),
            ("d", "click", 5, "p", 100.0),  # at the same time counts
            ("d", "cart", 5, "p", None),
            ("e", "click", 0, "p", 0.0),
            ("f", "click", 0, "p", 5000.0),
            ("g", "click", 0, "p", None),
            ("h", "click", 24 * 60 * 30, "p", 10.0),
        ]
    )


def test_counts_by_hand(small):
    with pytest.warns(UserWarning, match="hardly anybody went on"):
        found = dwell(small, PERIOD)
    assert (found.clicks, found.people, found.zero, found.too_long, found.missing) == (5, 4, 1, 1, 1)
    table = found.table[found.table["clicks"] > 0]
    assert table["clicks"].to_dict() == {"5–10": 1, "20–40": 3, "80–160": 1}
    assert table["went_on"].to_dict() == {"5–10": 0, "20–40": 1, "80–160": 1}
    assert found.quantiles.loc[0.5, "quantile"] == 30
    assert found.longest_tenth == pytest.approx(0.5 * 100 / (8 + 90 + 100))


def many(rng: np.random.Generator, n: int = 6000, shift: float = 0.5) -> pd.DataFrame:
    """Log-normal times, longer where a cart follows; dear goods are seen longer and bought less."""
    dear = rng.random(n) < 0.4
    cart = rng.random(n) < np.where(dear, 0.05, 0.25)
    seconds = np.exp(3 + 0.8 * dear + shift * cart + 0.8 * rng.standard_normal(n)).clip(0.5, 1500)
    clicks = pd.DataFrame({"person_id": np.arange(n), "event": "click", "dwell_s": seconds})
    clicks["category"] = np.where(dear, "dear", "cheap")
    clicks["occurred_at"] = pd.Timestamp("2026-11-10")
    return pd.concat([clicks, clicks[cart].assign(event="cart", dwell_s=np.nan)])


def test_a_known_relation_is_recovered():
    """Two normal distributions of equal variance make a logistic curve of slope shift / variance."""
    truth = 2 ** (0.5 / 0.64)
    rng = np.random.default_rng(1)
    found = [dwell(many(rng), PERIOD, by=["category"]) for _ in range(12)]
    assert sum(r.odds_lower <= truth <= r.odds_upper for r in found) >= 10
    assert np.mean([r.odds_ratio for r in found]) == pytest.approx(truth, rel=0.04)
    assert sum(r.bend < 0.05 for r in found) <= 3
    raw = dwell(many(np.random.default_rng(2)), PERIOD, by=[])
    assert raw.odds_upper < truth  # the dear goods hide it where they are not held fixed


def test_no_relation_is_not_claimed():
    rng = np.random.default_rng(3)
    found = [dwell(many(rng, 1500, 0.0), PERIOD, by=["category"]) for _ in range(20)]
    assert sum(r.p_value < 0.05 for r in found) <= 4
    quiet = next(r for r in found if r.p_value > 0.05)
    assert "does not go with" in quiet.sentence


def test_one_persons_clicks_are_worth_fewer():
    rng = np.random.default_rng(4)
    alone = many(rng, 2000)
    alone["product_id"] = alone["person_id"].astype(str)
    crowd = alone.assign(
        person_id=np.where(alone["event"].eq("cart") | (alone["person_id"] % 5 > 0), alone["person_id"], -1)
    )
    carts = set(alone.loc[alone["event"] == "cart", "person_id"])
    crowd["person_id"] = np.where(alone["person_id"].isin(carts), alone["person_id"] // 400, crowd["person_id"])
    one, other = (dwell(t, PERIOD, by=[]).table.query("clicks > 200") for t in (alone, crowd))
    assert ((other["upper"] - other["lower"]) > (one["upper"] - one["lower"])).all()
    assert other["clicks"].tolist() == one["clicks"].tolist()


def test_order_and_units():
    events = many(np.random.default_rng(5), 800)
    shuffled = events.sample(frac=1, random_state=1)
    one, other = (dwell(t, PERIOD, by=["category"]) for t in (events, shuffled))
    pd.testing.assert_frame_equal(one.table, other.table)
    minutes = dwell(
        events.assign(dwell_s=events["dwell_s"] * 60), PERIOD, by=["category"],
        edges=[60 * edge for edge in (5, 10, 20, 40, 80, 160)], longest=60 * 1800,
    )  # fmt: skip
    assert minutes.odds_ratio == pytest.approx(one.odds_ratio, rel=0.03)  # but for the steps in which time is counted
    assert minutes.table["went_on"].tolist() == one.table["went_on"].tolist()


def test_the_samples_relation_is_found(sample_shop):
    """sample_traffic: log time ~ N(3.2 + 0.45 where a cart follows, 0.8), so twice the time is odds × 2^(.45/.64)."""
    view = WeekFunnel(sample_shop, sample_shop.week())
    period = (Week("2026-W35").start, Week("2026-W46").end)
    found = dwell(view.events, period)
    assert found.odds_lower < 2 ** (0.45 / 0.64) < found.odds_upper
    assert found.quantiles.loc[0.5, "quantile"] == pytest.approx(np.exp(3.2 + 0.45 * 0.15), rel=0.05)
    assert found.zero == found.too_long == found.missing == 0
    table = found.table
    assert ((table["lower"] <= table["alike"]) & (table["alike"] <= table["upper"])).sum() >= 6
    assert view.dwell.odds_lower > 1
    ax = plot_dwell(view.dwell)
    assert len(ax.get_xticks()) == len(dwell_data(view.dwell))


def test_bad_input(small):
    with pytest.raises(EmptyDataError, match="says how long"):
        dwell(small.assign(dwell_s=None), PERIOD)
    with pytest.raises(EmptyDataError, match="says how long"):
        dwell(small.iloc[:0], PERIOD)
    with pytest.raises(MissingColumnError, match="dwell_s"):
        dwell(small.drop(columns="dwell_s"), PERIOD)
    for options in ({"edges": (10, 5)}, {"edges": ()}, {"within": "-1D"}, {"level": 95}, {"longest": 60}):
        with pytest.raises(ParameterError, match="rising edges"):
            dwell(small, PERIOD, **options)
    with pytest.warns(UserWarning, match="hardly anybody went on"):
        found = dwell(small[small["event"] == "click"], PERIOD)
    assert np.isnan(found.odds_ratio)
    assert found.sentence == "Half of the clicks stay for 30 seconds or more."
    assert plot_dwell(found) is not None
