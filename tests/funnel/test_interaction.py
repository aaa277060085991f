"""Joining in: counts by hand, no effect claimed where none is, the sample shop, bad input."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.interaction import interaction
from clvlib.funnel.interaction_plot import interaction_data, plot_interaction
from clvlib.funnel.view import WeekFunnel

PERIOD = (dt.date(2026, 11, 2), dt.date(2026, 11, 16))
STEPS = ("exposure", "paid")


def at(minute: float) -> pd.Timestamp:
    return pd.Timestamp("2026-11-10") + pd.Timedelta(minutes=minute)


def test_counts_by_hand():
    rows = [
        ("a", "S1", "exposure", 0),
        ("a", "S1", "question", 1),
        ("a", "S1", "draw", 2),
        ("a", "S1", "paid", 5),
        ("b", "S1", "exposure", 0),
        ("b", "S1", "paid", 5),
        ("b", "S1", "question", 6),  # after the payment: not before it
        ("c", "S1", "draw", 1),  # never seen
        ("d", "S1", "exposure", 1),
        ("d", "S2", "exposure", 60),
        ("e", None, "exposure", 1),
    ]
    events = pd.DataFrame(rows, columns=["person_id", "session_id", "event", "minute"])
    events["occurred_at"] = events.pop("minute").map(at)
    found = interaction(events, None, PERIOD, steps=STEPS)
    assert (found.visits, found.people) == (4, 3)
    assert found.participation["visits"].to_dict() == {"question": 2, "draw": 1, "trial": 0, "any of them": 1}
    assert found.table.empty  # too few to compare
    assert found.shown.empty
    assert found.sentence == "25.0% of visits join in."
    assert "Nobody" in found.conversion_sentence
    with pytest.raises(EmptyDataError, match="too few orders"):
        interaction_data(found)


def made(rng: np.random.Generator, ratio: float, customers: int = 700, weeks: int = 6) -> dict[str, pd.DataFrame]:
    """Visits of customers; the dear ones join in more, and an order with joining in is ``ratio`` times as dear."""
    who = np.repeat(np.arange(customers), weeks)
    level = rng.lognormal(5, 0.6, customers)
    join = rng.random(len(who)) < np.where(level > np.median(level), 0.4, 0.15)[who]
    buys = rng.random(len(who)) < 0.4
    when = pd.Timestamp("2026-10-01") + pd.to_timedelta(np.tile(np.arange(weeks), customers) * 7 * 24 + 20, unit="h")
    visits = pd.DataFrame({"person_id": who.astype(str), "occurred_at": when})
    visits["session_id"] = "S" + (np.arange(len(who)) % weeks).astype(str)
    minute = pd.Timedelta(minutes=1)
    events = pd.concat(
        [
            visits.assign(event="exposure"),
            visits[join].assign(event="question", occurred_at=lambda t: t["occurred_at"] + minute),
            visits[buys].assign(event="paid", occurred_at=lambda t: t["occurred_at"] + 3 * minute),
        ]
    )
    orders = visits[buys].rename(columns={"person_id": "customer_id", "occurred_at": "ordered_at"})
    orders["amount"] = rng.gamma(3, level[who[buys]] / 3) * np.where(join[buys], ratio, 1.0)
    orders["ordered_at"] += 2 * minute
    return {"events": events, "orders": orders}


ALL = (dt.date(2026, 10, 1), dt.date(2026, 11, 16))


@pytest.mark.parametrize("ratio", [1.0, 1.25])
def test_the_same_people_tell_what_the_raw_figures_do_not(ratio: float):
    rng = np.random.default_rng(6)
    found = [interaction(**made(rng, ratio), period=ALL, steps=STEPS) for _ in range(12)]
    rows = [r.table.set_index(["measure", "comparison"]) for r in found]
    same = pd.DataFrame([row.loc[("basket", "the same people")] for row in rows])
    raw = pd.DataFrame([row.loc[("basket", "as counted")] for row in rows])
    alike = pd.DataFrame([row.loc[("basket", "alike before")] for row in rows])
    assert ((same["lower"] <= ratio) & (ratio <= same["upper"])).sum() >= 10
    assert (raw["lower"] > ratio).all()
    assert same["ratio"].mean() == pytest.approx(ratio, rel=0.05)
    assert alike["ratio"].mean() < raw["ratio"].mean()  # what was spent before tells part of it
    conversion = pd.DataFrame([row.loc[("conversion", "the same people")] for row in rows])
    assert ((conversion["lower"] <= 1) & (conversion["upper"] >= 1)).sum() >= 10  # none was put in


def test_rows_in_any_order():
    tables = made(np.random.default_rng(7), 1.1, 150)
    shuffled = {name: frame.sample(frac=1, random_state=2) for name, frame in tables.items()}
    one, other = (interaction(**t, period=ALL, steps=STEPS) for t in (tables, shuffled))
    pd.testing.assert_frame_equal(one.table, other.table)


def test_no_effect_is_claimed_in_the_sample(sample_shop):
    """truth.json: interaction is among what has no effect; those who spend more join in more."""
    view = WeekFunnel(sample_shop, sample_shop.week())
    found = view.interaction
    basket = found.table.set_index(["measure", "comparison"]).loc["basket"]
    assert basket.loc["as counted", "lower"] > 1.05
    for comparison in ("alike before", "the same people"):
        assert basket.loc[comparison, "lower"] < 1 < basket.loc[comparison, "upper"]
    assert "no difference can be told from chance" in found.sentence
    assert "association" in found.conversion_sentence
    share = found.participation.loc["any of them"]
    assert 0.04 < share["lower"] < share["upper"] < 0.05  # 4% of those who do not pay, 6% to 26% of the few who do
    ax = plot_interaction(found)
    assert len(ax.get_yticks()) == len(interaction_data(found)) == 3


def test_bad_input():
    tables = made(np.random.default_rng(8), 1.0, 30)
    silent = tables["events"].query("event != 'question'")
    with pytest.raises(EmptyDataError, match="nobody joined in"):
        interaction(silent, tables["orders"], ALL, steps=STEPS)
    with pytest.raises(EmptyDataError, match="nobody visited"):
        interaction(tables["events"], tables["orders"], (dt.date(2020, 1, 1), dt.date(2020, 2, 1)), steps=STEPS)
    with pytest.raises(MissingColumnError, match="session_id"):
        interaction(tables["events"].drop(columns="session_id"), None, ALL, steps=STEPS)
    for options in ({"kinds": ()}, {"steps": ("paid",)}, {"level": 2.0}):
        with pytest.raises(ParameterError, match="kinds, two steps"):
            interaction(tables["events"], None, ALL, **{"steps": STEPS, **options})
