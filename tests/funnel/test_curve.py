from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.audit import definitions
from clvlib.funnel.curve import conversion_curve
from clvlib.funnel.kernel import funnel
from clvlib.stats.proportions import proportion_interval
from tests.conftest import shared_data

ZERO = pd.Timestamp("2026-11-01")
pytestmark = pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")


def log(rows):
    frame = pd.DataFrame(rows, columns=["person_id", "hour", "event"])
    return frame.assign(occurred_at=ZERO + pd.to_timedelta(frame["hour"].astype(float), unit="h")).drop(columns="hour")


PEOPLE = st.lists(st.tuples(st.integers(0, 60), st.one_of(st.none(), st.integers(0, 40))), min_size=1, max_size=30)


def events_of(people, cut):
    """People as (start, hours until conversion or None), watched until ``cut``."""
    rows = [(f"p{i}", start, "a") for i, (start, _) in enumerate(people)]
    rows += [(f"p{i}", s + t, "b") for i, (s, t) in enumerate(people) if t is not None and s + t < cut]
    return log(rows)


@given(people=PEOPLE, cut=st.integers(61, 120))
@settings(max_examples=60)
def test_equals_the_product_limit_by_hand_and_is_self_consistent(people, cut):
    """Efron 1967: n F(W) is what has converted plus what each open unit is expected to add."""
    window = 24
    as_of = ZERO + pd.Timedelta(hours=cut, microseconds=1)
    found = conversion_curve(events_of(people, cut), ["a", "b"], pd.Timedelta(hours=window), as_of=as_of)
    watched = [min(cut - s, window) for s, _ in people]
    seen = [t is not None and t <= window and s + t < cut for s, t in people]
    times = [t if ok else w for (_, t), ok, w in zip(people, seen, watched, strict=True)]
    assert found.converted == sum(seen)

    def share(at):
        survival = 1.0
        for t in sorted({t for t, ok in zip(times, seen, strict=True) if ok and t <= at}):
            at_risk = sum(x >= t - 1e-6 for x in times)
            survival *= 1 - sum(ok and x == t for x, ok in zip(times, seen, strict=True)) / at_risk
        return 1 - survival

    if max(times) < window and share(window) < 1:  # of those not yet converted, nobody has been watched to the end
        assert np.isnan(found.final)
        return
    assert found.final == pytest.approx(share(window), abs=1e-9)
    if share(window) == 1:
        return
    expected = sum(
        1.0 if ok else (share(window) - share(t)) / (1 - share(t)) for t, ok in zip(times, seen, strict=True)
    )
    assert len(people) * found.final == pytest.approx(expected, abs=1e-6)
    assert found.lower <= found.final + 1e-12
    assert found.final <= found.upper + 1e-12


def test_without_open_windows_it_is_a_proportion():
    people = [(i % 50, 3 + i % 20 if i % 3 == 0 else None) for i in range(120)]
    found = conversion_curve(events_of(people, 500), ["a", "b"], "1D", as_of=ZERO + pd.Timedelta(days=30))
    assert found.open_units == 0
    assert found.final == pytest.approx(found.so_far) == pytest.approx(40 / 120)
    assert found.sentence == "33.3% of those at a have reached b so far"


def simulate(rng, n, cut):
    """Half convert within a week, late rather than early."""
    start = rng.uniform(0, 168, n)
    later = np.where(rng.random(n) < 0.5, 168 * rng.beta(2, 2, n), np.nan)
    return [(s, None if np.isnan(t) else t) for s, t in zip(start, later, strict=True) if s < cut]


def test_counting_open_windows_as_lost_is_wrong_and_this_is_not():
    """Truth .5; the week's end is 168: of the naive rate almost half is missing, the interval holds the truth."""
    rng = np.random.default_rng(2)
    held = naive = 0
    for _ in range(40):
        people = simulate(rng, 400, 168)
        found = conversion_curve(events_of(people, 168), ["a", "b"], "6D", as_of=ZERO + pd.Timedelta(hours=167.99))
        truth = 0.5 * stats.beta.cdf(6 / 7, 2, 2)
        held += found.lower <= truth <= found.upper
        naive += found.so_far / truth / 40
    assert naive < 0.6
    assert held >= 33  # binomial(40, .95): 33 or more with probability .997


def test_a_reference_says_what_the_open_ones_add():
    rng = np.random.default_rng(4)
    old = conversion_curve(events_of(simulate(rng, 3000, 168), 1000), ["a", "b"], "7D", as_of="2027-01-01")
    assert old.final == pytest.approx(0.5, abs=0.03)
    people = simulate(rng, 1500, 100)
    events, as_of = events_of(people, 100), ZERO + pd.Timedelta(hours=99.99)
    alone = conversion_curve(events, ["a", "b"], "7D", as_of=as_of)
    assert np.isnan(alone.final)
    assert alone.sentence.endswith("nobody has been watched for 7 days yet")
    joined = conversion_curve(events, ["a", "b"], "7D", as_of=as_of, reference=old)
    assert joined.lower < 0.5 < joined.upper
    assert 0 < joined.upper - joined.lower < 0.15
    assert joined.then_converted / joined.then_people == pytest.approx(joined.so_far, abs=0.04)


def test_what_is_expected_by_hand():
    """Two days of starts, seen at hour 48. Then: 3 of 4 of day 0 waited and 1 of them converted; 4 of 4 and 2 of day 1.

    Now 2 of 10 have converted and 6 of day 0 and 2 of day 1 wait, so .8 (6/8 * 2/3 + 2/8 * 1/2) stay as they are. A
    curve of both days together would have 3 of 7 convert and not 9 of 24.
    """
    then = [(0, 5), (0, 60), (0, None), (0, None), (30, 90), (30, 95), (30, None), (30, None)]
    old = conversion_curve(events_of(then, 1000), ["a", "b"], "7D", as_of="2027-01-01", starts=(ZERO, None))
    now = [(1, 4), (1, 5), *[(2, None)] * 6, *[(26, None)] * 2]
    found = conversion_curve(
        events_of(now, 48),
        ["a", "b"],
        "7D",
        as_of=ZERO + pd.Timedelta(hours=47.999),
        starts=(ZERO, None),
        reference=old,
    )
    assert (found.then_people, found.then_converted) == (8, 1)
    assert found.final == pytest.approx(1 - 0.8 * (6 / 8 * 2 / 3 + 2 / 8 * 1 / 2))
    left = found.final  # log-log limits by hand: variances of logarithms add up
    stay = (1 - left) / 0.8
    error = (6 / 8) ** 2 * (1 / 3 * 2 / 3 / 3) + (2 / 8) ** 2 * (1 / 2 * 1 / 2 / 4)
    spread = np.exp(stats.norm.isf(0.025) * np.sqrt(0.2 / 0.8 / 10 + error / stay**2) / -np.log(1 - left))
    assert (found.lower, found.upper) == pytest.approx((1 - (1 - left) ** (1 / spread), 1 - (1 - left) ** spread))


def test_who_comes_back_only_in_the_next_week_is_expected_too():
    """One in ten converts at once, one in ten of the others on one of the seven days of the week after.

    Nobody who starts on Monday does so within that week, so a curve of this week alone misses the second half.
    """
    rng = np.random.default_rng(8)

    def week(n):
        start = rng.uniform(0, 168, n)
        again = 168 + rng.uniform(0, 168, n) - start
        at_once, later = rng.random(n) < 0.1, rng.random(n) < 0.1
        return [(s, 0.2 if now else t if then else None) for s, now, then, t in
                zip(start, at_once, later, again, strict=True)]  # fmt: skip

    options = {"starts": (ZERO, ZERO + pd.Timedelta(days=7)), "window": "7D"}
    held, alone, truth = 0, [], 0.1 + 0.9 * 0.1 / 2  # of a pair of uniform days, half lie within seven of one another
    for _ in range(20):
        old = conversion_curve(events_of(week(1000), 400), ["a", "b"], as_of=ZERO + pd.Timedelta(days=15), **options)
        events, as_of = events_of(week(1000), 168), ZERO + pd.Timedelta(hours=167.999)
        found = conversion_curve(events, ["a", "b"], as_of=as_of, reference=old, **options)
        held += found.lower <= truth <= found.upper
        alone.append(conversion_curve(events, ["a", "b"], "6.5D", as_of=as_of, starts=options["starts"]).final)
    assert held >= 16  # binomial(20, .95): 16 or more with probability .997
    assert np.mean(alone) < 0.11


def test_a_reference_for_nobody_watched_at_all_is_the_reference():
    people = [(0.0, 5.0 + i) for i in range(40)] + [(0.0, None)] * 40
    old = conversion_curve(events_of(people, 1000), ["a", "b"], "7D", as_of="2027-01-01")
    fresh = log([(f"q{i}", 0, "a") for i in range(50)])
    found = conversion_curve(fresh, ["a", "b"], "7D", as_of=ZERO + pd.Timedelta(minutes=1), reference=old)
    assert (found.final, found.lower, found.upper) == pytest.approx((old.final, old.lower, old.upper))


def test_where_nobody_ever_converted_it_is_a_share_of_none():
    old = conversion_curve(events_of([(0, None)] * 30, 1000), ["a", "b"], "1D", as_of="2027-01-01")
    now = conversion_curve(
        events_of([(0, None)] * 20, 5), ["a", "b"], "1D", as_of=ZERO + pd.Timedelta(hours=5), reference=old
    )
    assert [now.final, now.lower, now.upper] == pytest.approx(proportion_interval(0, 20).iloc[0].tolist())
    assert now.upper > 0.1


def test_curve_refuses():
    events = events_of([(0, 3)], 100)
    good = conversion_curve(events, ["a", "b"], "1D", as_of="2026-12-01")
    with pytest.raises(ParameterError, match="reference"):
        conversion_curve(events, ["a", "b"], "2D", as_of="2026-12-01", reference=good)
    fresh = conversion_curve(events_of([(0, None)], 100), ["a", "b"], "1D", as_of=ZERO + pd.Timedelta(hours=2))
    with pytest.raises(ParameterError, match="1 of its windows are open"):
        conversion_curve(events, ["a", "b"], "1D", as_of="2026-12-01", reference=fresh)
    with pytest.raises(EmptyDataError, match="nobody made the first step"):
        conversion_curve(events, ["a", "b"], "1D", as_of="2026-12-01", starts=("2030-01-01", None))
    with pytest.raises(ParameterError, match="level"):
        conversion_curve(events, ["a", "b"], "1D", as_of="2026-12-01", level=2)


# --- definitions ------------------------------------------------------------------------------------------------------


def test_definitions_by_hand():
    events = log([
        ("p", 0, "a"), ("p", 30, "a"), ("p", 31, "b"),  # converts from the second start only
        ("q", 0, "a"), ("q", 5, "b"), ("q", 6, "b"),
        ("r", 0, "a"),
        ("s", 95, "a"),  # open at the end
    ]).assign(session_id=["1", "1", "1", "2", "3", "3", "4", "5"])  # fmt: skip
    table = definitions(events, ["a", "b"], "1D", as_of=ZERO + pd.Timedelta(hours=96.5))
    assert table["base"].to_dict() == {
        "best start": 3, "first start": 3, "open as lost": 4, "same session": 3, "event totals": 5,
    }  # fmt: skip
    assert table["converted"].to_dict() == {
        "best start": 2, "first start": 1, "open as lost": 2, "same session": 1, "event totals": 3,
    }  # fmt: skip
    assert table.loc["best start", "against_best"] == 0
    assert table.loc["first start", ["lower", "upper"]].tolist() == pytest.approx(
        proportion_interval(1, 3)[["lower", "upper"]].iloc[0].tolist()
    )
    assert np.isnan(table.loc["event totals", "lower"])


def test_definitions_without_sessions_or_people():
    events = events_of([(0, 3), (0, None)], 100)
    assert "same session" not in definitions(events, ["a", "b"], "1D").index
    with pytest.raises(EmptyDataError):
        definitions(events, ["a", "b"], "1D", starts=("2030-01-01", None))
    with pytest.raises(MissingColumnError):
        definitions(events.drop(columns="event"), ["a", "b"], "1D")


def test_first_start_loses_orders_on_a_real_log():
    """Nearly all people of the Taobao log come back for what they buy later."""
    import duckdb

    path = shared_data("taobao_events") / "UserBehavior_first84k.csv"
    events = duckdb.sql(
        f"""SELECT u AS person_id, kind AS event, make_timestamp((t + 28800) * 1000000) AS occurred_at FROM read_csv(
        '{path}', header=false, null_padding=true, columns={{'u': 'VARCHAR', 'item': 'VARCHAR', 'category': 'VARCHAR',
        'kind': 'VARCHAR', 't': 'BIGINT'}}) WHERE t IS NOT NULL"""
    ).df()
    table = definitions(events, ["pv", "cart", "buy"], "1D")
    first = events[events["event"] == "pv"].groupby("person_id")["occurred_at"].min()
    within = events.join(first.rename("start"), on="person_id")
    within = within[(within["occurred_at"] - within["start"]).between(pd.Timedelta(0), pd.Timedelta("1D"))]
    cart = within[within["event"] == "cart"].groupby("person_id")["occurred_at"].min()
    later = within[within["event"] == "buy"].join(cart.rename("cart"), on="person_id")
    assert table.loc["first start", "converted"] == later[later["occurred_at"] >= later["cart"]]["person_id"].nunique()
    assert table.loc["first start", "rate"] < 0.6 * table.loc["best start", "rate"]
    assert table.loc["best start", "converted"] == funnel(events, ["pv", "cart", "buy"], "1D").table["people"].iloc[-1]


def test_figure_draws_what_its_twin_says():
    from clvlib.funnel.plots import curve_data, plot_curve

    old = conversion_curve(events_of([(0.0, 5.0 + i) for i in range(40)], 1000), ["a", "b"], "7D", as_of="2027-01-01")
    ax = plot_curve(old, old)
    data = curve_data(old, old)
    assert ax.lines[1].get_ydata().tolist() == [0.0, *data.loc[data["period"] == "now", "share"]]
    assert ax.get_title(loc="left").replace("\n", " ") == old.sentence
