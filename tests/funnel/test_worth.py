"""Credit in money: sums are those of the people who converted, later touches may count more, and cost stands beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.funnel.flow_plot import flow_data, plot_flow
from clvlib.funnel.paths import credit, journeys
from clvlib.funnel.worth import worth_of_touches

ZERO = pd.Timestamp("2026-09-01")
END = "2027-01-01"


def log_of(*walks: tuple[str, str, list[tuple[float, str]], float | None]) -> pd.DataFrame:
    """Events of people: who, then touches as (day, channel), then the day of the order, if any."""
    rows = []
    for person, _, touches, order in walks:
        rows += [(person, ZERO + pd.Timedelta(days=day), "view", channel) for day, channel in touches]
        rows += [] if order is None else [(person, ZERO + pd.Timedelta(days=order), "order", touches[-1][1])]
    return pd.DataFrame(rows, columns=["person_id", "occurred_at", "event", "channel"])


def worth_for(events: pd.DataFrame, **options) -> pd.DataFrame:
    found = credit(journeys(events, "order", as_of=END), draws=20)
    return worth_of_touches(found, events, "order", as_of=END, **{"draws": 20} | options).table


def test_later_touches_count_more():
    events = log_of(("a", "", [(0, "x"), (3.5, "z"), (7, "y")], 7.5))
    found = worth_for(events, half_life="3.5D")
    # ages at the last touch: 7, 3.5 and 0 days, so 1/4, 1/2 and 1 of 7/4
    assert found["time_decay"].to_dict() == pytest.approx({"x": 1 / 7, "z": 2 / 7, "y": 4 / 7})
    even = worth_for(events, half_life="36500D")["time_decay"]
    assert even.to_numpy() == pytest.approx(1 / 3, abs=1e-3)  # linear
    last = worth_for(events, half_life="1min")["time_decay"]
    assert last.to_dict() == pytest.approx({"x": 0, "z": 0, "y": 1})


def test_a_person_s_worth_is_shared_by_his_conversions_and_paths_of_one_touch_keep_their_own():
    events = log_of(
        ("a", "", [(0, "x")], 1), ("a", "", [(30, "y")], 31), ("b", "", [(0, "y")], 1), ("c", "", [(0, "x")], None),
    )  # fmt: skip
    worth = pd.DataFrame({"margin": [40.0, 10.0, 99.0], "value": [8.0, 0.0, 99.0]}, index=["a", "b", "c"])
    found = worth_for(events, worth=worth)
    # half of a's 40 came by x, half by y beside b's 10; c did not convert
    assert found["margin"].to_dict() == pytest.approx({"x": 20, "y": 30})
    assert found["value"].to_dict() == pytest.approx({"x": 4, "y": 4})


WALKS = st.lists(
    st.tuples(st.lists(st.sampled_from("xyz"), min_size=1, max_size=4), st.booleans(), st.integers(1, 50)),
    min_size=2, max_size=12,
)  # fmt: skip


@given(WALKS, st.floats(0.01, 1000))
@settings(max_examples=25)
def test_sums_units_and_equal_worth(walks: list[tuple[list[str], bool, int]], unit: float):
    if not any(won for _, won, _ in walks):
        walks[0] = (walks[0][0], True, walks[0][2])
    events = log_of(*(
        (f"p{i}", "", [(k, c) for k, c in enumerate(walk)], len(walk) if won else None)
        for i, (walk, won, _) in enumerate(walks)
    ))  # fmt: skip
    worth = pd.DataFrame({"margin": [float(w) for *_, w in walks], "same": 7.0})
    worth.index = pd.Index([f"p{i}" for i in range(len(walks))])
    found = worth_for(events, worth=worth)
    orders = sum(won for _, won, _ in walks)
    assert found["orders"].sum() == pytest.approx(orders)
    assert found["time_decay"].sum() == pytest.approx(orders)
    assert found["margin"].sum() == pytest.approx(sum(w for _, won, w in walks if won))
    assert found["same"].to_numpy() == pytest.approx(7 * found["orders"].to_numpy())
    scaled = worth_for(events.sample(frac=1, random_state=1), worth=worth * unit)
    assert scaled["margin"].reindex(found.index).to_numpy() == pytest.approx(unit * found["margin"].to_numpy())


@pytest.mark.slow
def test_intervals_of_money_hold_what_they_say():
    """Channels apart, orders Poisson, baskets lognormal: the credited sum's expectation is known, 60 times over."""
    rng = np.random.default_rng(7)
    held = 0
    for run in range(60):
        n = rng.poisson([60, 30])
        won = [(channel, k) for channel, count in zip("xy", n, strict=True) for k in range(count)]
        spent = rng.lognormal(3, 0.8, len(won))
        people = [f"{channel}{k}" for channel, k in won]
        lost = [f"l{channel}{k}" for channel in "xy" for k in range(40)]
        events = log_of(
            *((p, "", [(0, c)], 1) for p, (c, _) in zip(people, won, strict=True)),
            *((p, "", [(0, p[1])], None) for p in lost),
        )
        worth = pd.DataFrame({"margin": spent}, index=people)
        row = worth_for(events, worth=worth, draws=80, seed=run).loc["x"]
        held += row["margin_lower"] <= 60 * np.exp(3 + 0.8**2 / 2) <= row["margin_upper"]
    # 95% asked for: then the chance of 51 or less of 60 is 0.3%
    assert held >= 52


def test_beside_cost():
    events = log_of(("a", "", [(0, "x")], 1), ("b", "", [(0, "y")], 1), ("c", "", [(0, "z")], 1))
    worth = pd.DataFrame({"value": [30.0, 10.0, 5.0]}, index=["a", "b", "c"])
    found = worth_of_touches(
        credit(journeys(events, "order", as_of=END)), events, "order", as_of=END, worth=worth,
        cost=pd.Series({"x": 6.0, "y": 20.0, "z": 0.0, "elsewhere": 9.0}),
    )  # fmt: skip
    assert found.table["cost_per_order"].drop("z").to_dict() == pytest.approx({"x": 6, "y": 20})
    assert found.table["value_to_cost"].drop("z").to_dict() == pytest.approx({"x": 5, "y": 0.5})
    assert found.table.loc["z", ["cost", "cost_per_order", "value_to_cost"]].isna().all()
    assert found.sentence.startswith("By credit x brings 5.0 times its cost")
    assert found.costs.index.tolist() == ["x", "y"]
    assert set(found.formats(found.costs)) <= set(found.costs)
    alone = worth_of_touches(credit(journeys(events, "order", as_of=END)), events, "order", as_of=END)
    assert alone.sentence.startswith("What the channels cost")
    assert alone.costs.empty


def test_who_is_not_known_is_said_and_bad_input_refused():
    events = log_of(("a", "", [(0, "x")], 1), ("b", "", [(0, "x")], 1))
    with pytest.warns(ThinDataWarning, match="1 person who converted is worth nothing"):
        found = worth_for(events, worth=pd.DataFrame({"margin": [3.0]}, index=["a"]))
    assert found["margin"].sum() == 3
    with pytest.raises(ParameterError, match="half-life"):
        worth_for(events, half_life="0D")
    with pytest.raises(ParameterError, match="finite"):
        worth_for(events, worth=pd.DataFrame({"margin": [np.nan]}, index=["a"]))


def test_the_flow_from_first_to_last():
    paths = pd.DataFrame({
        "path": ["x", "x > y", "y > x > y", "z", "w > z"], "journeys": [90, 9, 9, 9, 9],
        "conversions": [10, 4, 3, 2, 0],
    })  # fmt: skip
    found = credit(paths, draws=5)
    data = flow_data(found, most=2)
    # x begins 14 and closes 10, y begins 3 and closes 7; z is beyond the two
    assert data.to_dict("records") == [
        {"first": "x", "last": "x", "orders": 10}, {"first": "x", "last": "y", "orders": 4},
        {"first": "y", "last": "y", "orders": 3}, {"first": "other", "last": "other", "orders": 2},
    ]  # fmt: skip
    ax = plot_flow(found)
    assert ax.get_title(loc="left").startswith("21% of the orders are closed by another channel")  # 4 of 19
    labels = {text.get_text() for text in ax.texts}
    assert {"x 74%", "x 53%", "y 16%", "y 37%", "z 11%"} <= labels
