"""The outlook: CDNOW's published forecast, seasons, shops drawn from known parameters, the sample, and thin shops."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import clvlib as clv
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.outlook import Outlook, outlook
from clvlib.clv.outlook_draws import Ahead, Curve, counts_at
from clvlib.clv.outlook_forecast import _figures
from clvlib.clv.outlook_plots import outlook_plot
from clvlib.clv.outlook_record import Wider, record
from clvlib.clv.outlook_series import _learnt, arrivals_drift, lone, season, shared_drift
from clvlib.clv.outlook_weeks import by_clock, past_weeks
from clvlib.clv.valuation import CustomerValue
from clvlib.errors import ConvergenceWarning, EmptyDataError, ParameterError
from tests.clv.real_shops import real
from tests.conftest import shared_data

STUDY = CustomerValue(model="BetaGeoModel")


@pytest.fixture(scope="module")
def shop(orders):
    frame = orders.rename(columns={"date": "ordered_at"})
    return clv.connect({"orders": frame.assign(ordered_at=frame["ordered_at"].dt.strftime("%Y-%m-%d"))})


# ---- weeks


visits = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 60)), min_size=1, max_size=40)


@settings(max_examples=40)
@given(visits)
def test_weeks_count_what_a_loop_counts(rows: list[tuple[str, int]]):
    rows = [*rows, ("f", 0)]
    start, end = dt.date(2026, 1, 5), dt.date(2026, 3, 8)
    frame = pd.DataFrame(rows, columns=["customer_id", "at"])
    frame = frame.assign(day=pd.Timestamp(start) + pd.to_timedelta(frame["at"], "D"), net_amount=10.0)
    past = past_weeks(frame, end)
    assert len(past.weeks) == 9
    days = sorted(set(rows))
    first = {who: min(day for other, day in days if other == who) for who, _ in days}
    for start_week, stop in ((0, 9), (5, 9), (3, 4)):
        within = [(who, day) for who, day in days if 7 * start_week <= day < 7 * stop]
        spent = sum(10 for _, day in rows if 7 * start_week <= day < 7 * stop)
        assert past.total(start_week, stop) == {
            "orders": len(within), "buyers": len({who for who, _ in within}), "revenue": spent
        }  # fmt: skip
    new = [sum(day // 7 == week for day in first.values()) for week in range(9)]
    assert past.weeks["new"].tolist() == new
    earlier = past.until(3)
    assert earlier.total(0, 6) == past.total(0, 6)
    assert earlier.births.sum() == sum(day < 42 for day in first.values())


def test_a_lean_is_told_in_the_words_of_hand_arithmetic():
    """Of 100 each, 130, 120, 90 and 100 were forecast: 10% too high on average, and too high twice."""
    origins = pd.date_range("2026-05-31", periods=4, freq="28D")
    past = pd.DataFrame({"origin": origins, "weeks": 12, "figure": "base_value", "mean": [130.0, 120, 90, 100],
                         "naive": 100.0, "actual": 100.0, "inside": True})  # fmt: skip
    past = pd.concat([past, past.assign(figure="orders", mean=100.0)])
    table = pd.DataFrame()
    found = Outlook(
        table=table, as_of="", level=0.9, seasonal=False, weekly=table, past=past, record=record(past, step=4)
    )
    row = found.record.loc[(12, "base_value")]
    assert (row["bias"], row["high"]) == (pytest.approx(0.1), 2)
    assert "value of the base was forecast 10.0% too high on average, and too high on 2 of 4 days." in found.verdict
    low = record(past.assign(mean=200 - past["mean"]), step=4)
    assert low.loc[(12, "base_value"), "bias"] == pytest.approx(-0.1)
    said = dataclasses.replace(found, record=low).verdict
    assert "value of the base was forecast 10.0% too low on average, and too high on 1 of 4 days." in said


# ---- CDNOW, against what was published


def test_repeat_orders_are_the_models(shop):
    """Of 2,357 customers 1,653.4 repeat purchases in 39 weeks (Fader, Hardie & Lee 2005); nobody new comes."""
    study = CustomerValue(model="BetaGeoModel", margin=1.0, dropout_prior=None)
    result = outlook(shop, "1997-09-30", study, (13, 39), draws=20_000)
    summary, base = shop.customer_summary("1997-09-30"), study.of(shop, "1997-09-30")
    curve, _ = Curve.of(base.purchases, summary, 91, np.ones(len(summary)))
    assert float(curve(39)) == pytest.approx(1653.4, abs=1.5)
    assert float(curve(13)) == pytest.approx(base.purchases.expected_purchases(summary, 13).sum(), rel=2e-3)
    orders = result.table.xs("orders", level="figure")
    assert orders["lower"].lt([600.0, 1882.0]).all()
    assert orders.loc[39, "lower"] < 1882 < orders.loc[39, "upper"]
    assert result.weekly["actual"].iloc[-45:-39].max() < 120
    assert list(result.table.index.get_level_values("figure").unique()) == ["orders", "buyers", "revenue", "base_value"]


def test_value_ahead_is_discounted_as_value_is(shop):
    """Today's is the base's; a year's end in h weeks is e^(δh) (value to h + 52, less value to h)."""
    study = CustomerValue(model="BetaGeoModel", horizon=52, margin=0.3, annual_rate=0.15)
    day = "1997-09-30"
    result = outlook(shop, day, study, (4, 12), origins=0, draws=20_000)
    base, summary = study.of(shop, day), shop.customer_summary(day)
    life = study.lifetime(shop, day)
    for weeks in (4, 12):
        later = life.predict(summary, 52 + weeks, None).sum() - life.predict(summary, weeks, None).sum()
        expected = later * 1.15 ** (weeks * 7 / 365.25)
        row = result.table.loc[(weeks, "base_value")]
        assert row["mean"] == pytest.approx(expected, rel=0.01)
        assert row["actual"] == base.value == row["naive"]


def test_the_record_of_cdnow_beats_the_naive_forecast_where_a_model_can(shop):
    """Nobody new comes and orders fade: four weeks on the last weeks serve as well, twelve weeks on they do not."""
    result = outlook(shop, "1998-06-28", STUDY, origins=14)
    errors = result.record.xs("orders", level="figure")
    assert errors.loc[12, "error"] < 0.6 * errors.loc[12, "naive_error"]
    assert "cannot be told" in errors.loc[4, "verdict"]
    assert result.record["inside"].sum() / result.record["origins"].sum() > 0.75
    assert "no yearly season" in result.verdict
    past = result.past[(result.past["figure"] == "orders") & (result.past["weeks"] == 4)]
    for _, row in past.iterrows():
        after = past_weeks(shop.table("orders"), row["origin"].date() + dt.timedelta(weeks=4))
        n = len(after.weeks)
        assert row["actual"] == after.total(n - 4, n)["orders"]


# ---- series


def test_a_season_is_found_where_there_is_one_and_only_there():
    rng, weeks = np.random.default_rng(2), np.arange(168)
    wave = 0.4 * np.sin(2 * np.pi * weeks / (365.25 / 7) + 1)
    found = season(wave[:156] + rng.normal(0, 0.1, 156), 12)
    np.testing.assert_allclose(found[1], wave[156:], atol=0.1)
    none = [np.abs(season(rng.normal(0, 0.1, 120), 4)[1]).max() for _ in range(40)]
    assert np.mean(np.array(none) > 0.06) < 0.35  # AIC takes a wave too many now and then, a small one
    assert not season(wave[:100], 12)[1].any()  # less than two years


def test_the_filter_is_gaussian_conditioning():
    """The whole series as one normal vector: its density, and the state given it, by the formulas of textbooks."""
    rng = np.random.default_rng(4)
    y, noise = rng.normal(10, 2, 7), rng.uniform(0.5, 2, 7)
    moves, shock = np.array([[1.0, 1], [0, 0.9]]), np.array([0.7, 0.2])
    start, wide = np.array([9.0, 0.1]), [4.0, 0.3]
    one = moves[None], shock[None], start[None], np.array([wide]), np.ones(1), np.zeros(3), np.zeros(1)
    found = _learnt(y, noise[None], *one)
    powers = [np.linalg.matrix_power(moves, k) for k in range(8)]
    joint = np.block([[powers[i] @ np.diag(wide) @ powers[j].T + sum(
        powers[i - k] @ np.diag(shock**2) @ powers[j - k].T for k in range(1, min(i, j) + 1)
    ) for j in range(1, 8)] for i in range(1, 8)])  # fmt: skip
    mean = np.concatenate([power @ start for power in powers[1:]])
    seen = joint[::2, ::2] + np.diag(noise)
    gain = joint[-2:, ::2] @ np.linalg.inv(seen)
    np.testing.assert_allclose(found.mean[0], mean[-2:] + gain @ (y - mean[::2]), rtol=1e-9)
    np.testing.assert_allclose(found.spread[0], joint[-2:, -2:] - gain @ joint[::2, -2:], rtol=1e-8)
    ends = np.linalg.cholesky(seen)
    np.testing.assert_allclose(found.residuals, np.linalg.solve(ends, y - mean[::2]), rtol=1e-8)  # innovations
    np.testing.assert_allclose(found.expected(), [(power @ found.mean[0])[0] for power in powers[1:4]], rtol=1e-12)


def test_memory_is_seen_through_chance():
    """Weeks that remember (0.8) and chance as large as they: half a year of it, what came 4 and 12 weeks later."""
    rng, inside, off, held = np.random.default_rng(3), [], [], []
    for _ in range(60):
        level = np.zeros(38)
        for week in range(1, 38):
            level[week] = 0.8 * level[week - 1] + rng.normal(0, 0.12)
        chance = np.full(26, 0.03)
        found = shared_drift(level[:26] + rng.normal(0, np.sqrt(0.03), 26), chance, 12)
        paths = found.paths(rng.standard_normal((800, 12)), rng)
        for week in (3, 11):
            lower, upper = np.quantile(paths[:, week], [0.05, 0.95])
            inside.append(lower <= level[26 + week] <= upper)
        off.append(level[26] - found.expected()[0])
        held.append(level[26])
    assert 0.82 < np.mean(inside) < 0.97  # 90% asked for
    assert np.std(off) < 0.95 * np.std(held)  # what lasts is seen; without it 0.21 is off


def test_a_lone_week_moves_nothing_and_a_change_that_lasts_does():
    calm = 2 * np.sqrt(np.tile([100.0, 110.0, 90.0], 8) + 0.375)
    level = arrivals_drift(calm, 1).expected()[0]
    festival = arrivals_drift(np.append(calm, 32.0), 1)
    assert festival.expected()[0] == pytest.approx(level, abs=0.1)
    assert festival.noise.min() > 2  # but such weeks happen
    assert arrivals_drift(np.append(calm, np.full(8, 32.0)), 1).expected()[0] > 30
    shut = np.append(calm, [1.2, 20.0, 20.0])
    assert lone(shut).nonzero()[0].tolist() == [24]
    assert arrivals_drift(shut, 1).expected()[0] == pytest.approx(level, abs=0.5)


def test_a_trend_goes_on_and_fades_and_none_is_made_of_chance():
    rng = np.random.default_rng(6)
    growing = 8 * 1.04 ** np.arange(52)
    drawn = [arrivals_drift(2 * np.sqrt(rng.poisson(growing) + 0.375), 12).expected() for _ in range(20)]
    coming = np.mean(np.array(drawn) ** 2 / 4, axis=0)
    assert (np.diff(coming) > 0).all()
    assert np.diff(coming)[-1] < np.diff(coming)[0]
    truth = 8 * 1.04 ** np.arange(52, 64)
    assert 0.85 < coming[0] / truth[0] < 1.02
    assert coming[-1] / truth[-1] > 0.72  # the last level alone would be 0.6 of it
    still = [
        np.diff(arrivals_drift(2 * np.sqrt(rng.poisson(30.0, 52) + 0.375), 12).expected()[[0, 11]])[0]
        for _ in range(60)
    ]
    assert np.mean(np.abs(still)) < 0.5  # of 11, in 11 weeks
    assert abs(np.mean(still)) < 0.2


def test_a_young_shop_is_held_against_its_last_weeks():
    """60 weeks, two orders in each of the first 10 and ten in each week since: a year ago says nothing of the next."""
    rows = [(f"{week}-{k}", 7 * week) for week in range(60) for k in range(2 if week < 10 else 10)]
    frame = pd.DataFrame(rows, columns=["customer_id", "at"])
    frame = frame.assign(day=pd.Timestamp("2025-01-06") + pd.to_timedelta(frame["at"], "D"), net_amount=1.0)
    end = dt.date(2025, 1, 5) + dt.timedelta(weeks=60)
    assert past_weeks(frame, end).naive([4], 7.0) == [40, 40, 40.0, 7.0]
    older = frame.assign(day=frame["day"] - pd.Timedelta(weeks=44), customer_id="old " + frame["customer_id"])
    assert (
        past_weeks(pd.concat([older, frame]), end).naive([4], 7.0)[0] == 4 * 10 + 2 + 2 + 10 + 10
    )  # their weeks a year ago


# ---- shops drawn from known parameters


def drawn_shop(seed: int, weeks: int, shared: float = 0.12, festival: float = 1.0) -> tuple[pd.DataFrame, dt.date]:
    """Draw orders of a BG/NBD shop whose busy weeks are longer ones; 30 new customers a week, a festival at the end."""
    rng = np.random.default_rng(seed)
    factor = np.exp(rng.normal(0, shared, weeks) - shared**2 / 2)
    factor[weeks - 13] *= festival
    clock = np.concatenate([[0.0], np.cumsum(factor)])
    rows = []
    for week, busy in enumerate(factor):
        for who in range(rng.poisson(30 * busy)):
            rate, leaves, at = rng.gamma(0.6, 1 / 4.0), rng.beta(0.9, 2.5), week + rng.random()
            now = float(np.interp(at, np.arange(weeks + 1), clock))
            while True:
                rows.append((f"{week}-{who}", float(np.interp(now, clock, np.arange(weeks + 1)))))
                if len(rows) > 1 and rows[-2][0] == rows[-1][0] and rng.random() < leaves:
                    break
                now += rng.exponential(1 / max(rate, 1e-9))
                if now >= clock[-1]:
                    break
    frame = pd.DataFrame(rows, columns=["customer_id", "at"])
    start = pd.Timestamp("2026-01-05")
    days = start + pd.to_timedelta(np.floor(7 * frame["at"]).clip(upper=7 * weeks - 1), "D")
    level = frame["customer_id"].map({who: rng.gamma(4, 1) for who in frame["customer_id"].unique()})
    money = rng.gamma(6, 5, len(frame)) * level.to_numpy()
    sold = pd.DataFrame(
        {"customer_id": frame["customer_id"], "ordered_at": days.dt.strftime("%Y-%m-%d"), "amount": money}
    )
    return sold, (start + pd.Timedelta(weeks=weeks - 12) - pd.Timedelta(days=1)).date()


@pytest.mark.slow
def test_intervals_hold_what_comes_in_shops_of_known_parameters():
    inside: list[bool] = []
    off: list[float] = []
    for seed in range(16):
        sold, day = drawn_shop(seed, 52)
        shop = clv.connect({"orders": sold}, as_of="2027-01-03")
        result = outlook(shop, day, STUDY, origins=0, draws=2_000)
        last = past_weeks(shop.table("orders"), day + dt.timedelta(weeks=12))
        for weeks in (4, 12):
            came = last.total(40, 40 + weeks)
            for figure, actual in came.items():
                row = result.table.loc[(weeks, figure)]
                inside.append(row["lower"] <= actual <= row["upper"])
                off.append(np.log(actual / row["mean"]))
    assert 0.8 < np.mean(inside) < 0.99  # 90% asked for, 16 independent shops
    assert abs(np.mean(off)) < 0.04


def test_a_festival_in_the_last_week_is_no_sign_that_customers_come_back():
    """A last week of two and a half times the usual: by the calendar 12 weeks were forecast 17% too high on average."""
    off = []
    for seed in range(4):
        sold, day = drawn_shop(seed, 52, 0.08, festival=2.5)
        shop = clv.connect({"orders": sold}, as_of="2027-01-03")
        result = outlook(shop, day, STUDY, (12,), origins=0, draws=500)
        came = past_weeks(shop.table("orders"), day + dt.timedelta(weeks=12)).total(40, 52)
        row = result.table.loc[(12, "orders")]
        off.append(np.log(row["mean"] / came["orders"]))
        assert row["lower"] < came["orders"] < row["upper"]
    assert abs(np.mean(off)) < 0.09


def test_a_clock_that_runs_faster_keeps_purchases_and_moves_times():
    pace = np.array([1.0, 1.0, 3.0, 1.0])  # two weeks ago lasts three
    frame = pd.DataFrame({"frequency": [2, 0, 1], "recency": [3.5, 0.0, 0.5], "T": [4.0, 1.5, 2.5]})
    found = by_clock(frame, pace)
    assert found["frequency"].tolist() == [2, 0, 1]
    # ages 4, 1.5, 2.5 hold 2, 0.5 × 2 and 2 weeks more; the last purchases were 0.5 and 2 weeks ago, of 0.5 and 4 now
    assert found["T"].tolist() == [6.0, 2.5, 4.5]
    assert found["recency"].tolist() == [5.5, 0.0, 0.5]


FEW = {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5}
MANY = {"r": 8.0, "alpha": 4.0, "a": 0.05, "b": 9.0}


@pytest.mark.parametrize(("often", "weeks"), [(MANY, 1), (FEW, 4)])
def test_buyers_vary_as_those_who_are_drawn(often: dict[str, float], weeks: int):
    """Where all buy twice a week, and where few do: 250 futures of the same customers, against draws of the outlook."""
    rng, model = np.random.default_rng(7), BetaGeoModel.with_parameters(often, unit="W")
    known = model.simulate(800, np.full(800, 30.0), rng)
    expected = float(model.expected_purchases(known, weeks).sum())
    count = rng.poisson(expected / weeks, (4000, weeks)).astype(float)
    nobody = np.zeros_like(count)
    drawn = Ahead(count, nobody, nobody, nobody, np.full(weeks, expected / weeks), 0.0)
    curve, _ = Curve.of(model, known, 10, np.ones(800))
    buyers = _figures(model, known, curve, drawn, weeks, rng)["buyers"]
    futures = [int((model.simulate_future(known, weeks, rng) > 0).sum()) for _ in range(250)]
    assert buyers.mean() == pytest.approx(np.mean(futures), rel=0.02)
    assert buyers.std() == pytest.approx(np.std(futures), rel=0.15)


@pytest.mark.parametrize("mean", [0.05, 0.3, 1.0, 3.0, 10.0, 50.0])
def test_counts_come_back_from_the_scale_on_which_chance_is_even(mean: float):
    """The mean of 2 √(n + 3/8) over a Poisson count, summed by scipy."""
    n = np.arange(400)
    level = stats.poisson.pmf(n, mean) @ (2 * np.sqrt(n + 3 / 8))
    assert counts_at(np.array([level]))[0] == pytest.approx(mean, rel=0.01)
    assert counts_at(np.array([0.0, -3.0])).tolist() == [0.0, 0.0]


def test_nobody_new_is_expected_where_nobody_came_for_years():
    """All 600 of a real apparel shop came in its first days, years ago: 20 were expected within 12 weeks."""
    orders = real("apparel")
    shop, day = clv.connect({"orders": orders}), dt.date.fromisoformat(orders["ordered_at"].min()) + dt.timedelta(1259)
    result = outlook(shop, day, STUDY, (12,), origins=0, draws=500)
    base = STUDY.of(shop, day)
    expected = float(base.purchases.expected_purchases(base.table, 12).sum())
    assert result.table.loc[(12, "orders"), "mean"] == pytest.approx(expected, rel=0.15)


# ---- the sample shop


def test_weeks_of_the_sample_share_its_season(sample_shop, sample):
    daily = json.loads((sample / "truth.json").read_text())["parameters"]["season"]["daily"]
    factor = pd.Series(daily).to_numpy().reshape(-1, 7).mean(axis=1)
    past = past_weeks(sample_shop.table("orders"), dt.date(2026, 11, 15))
    expected = past.expected_repeats(STUDY.of(sample_shop, "2026-11-15").purchases)
    ratio = past.repeats[8:] / expected[8:]
    assert np.corrcoef(ratio, factor[8:])[0, 1] > 0.6  # chance of some 90 purchases a week is the rest
    assert ratio[-1] > 1.4  # Double 11


def test_the_sample_before_double_11_holds_what_came(sample_shop):
    result = outlook(sample_shop, "2026-08-23", STUDY, origins=4)
    last = past_weeks(sample_shop.table("orders"), dt.date(2026, 11, 15))
    for weeks in (4, 12):
        for figure, actual in last.total(28, 28 + weeks).items():
            row = result.table.loc[(weeks, figure)]
            assert row["lower"] < actual < row["upper"], (weeks, figure)
            assert list(row["quantiles"].values()) == sorted(row["quantiles"].values())
            assert row["quantiles"][0.05] == pytest.approx(row["lower"], rel=1e-9)
    assert len(result.record.xs(4, level="weeks")) == 4
    assert result.record["origins"].max() == 3  # 28 weeks, at least 16 to learn from: 12, 8 and 4 weeks ago
    ax = outlook_plot(result)
    assert "12" in ax.get_title(loc="left")
    assert result.weekly["mean"].notna().sum() == 12
    assert "orders" in result.sentence


def test_wider_where_past_intervals_were_too_narrow(sample_shop):
    """By the root mean square of past errors, four as their intervals say among them, at quantiles of Student's t."""
    study = CustomerValue(model="BetaGeoModel")
    free, graded = (outlook(sample_shop, "2026-11-15", study, origins=n, draws=1_000) for n in (0, 6))
    assert free.record.empty
    wider = []
    for (weeks, figure), row in graded.table.iterrows():
        past = graded.past[(graded.past["weeks"] == weeks) & (graded.past["figure"] == figure)]
        apart = len(past) / (weeks / 4)
        scale = np.sqrt(max(1, (4 + (past["off"] ** 2).sum() / (weeks / 4)) / (4 + apart)))
        by = scale * stats.t.ppf(0.95, 4 + apart) / stats.t.ppf(0.95, 4)
        before = free.table.loc[(weeks, figure)]
        for end, middle in (("upper", "lower"), (0.9, 0.1)):
            now, then = ((each["quantiles"] | each.to_dict()) for each in (row, before))
            student = stats.t.ppf(0.9, 4 + apart) / stats.t.ppf(0.9, 4)
            times = by if end == "upper" else scale * student
            found = np.log(now[end] / now[middle]) / np.log(then[end] / then[middle])
            assert found == pytest.approx(times, rel=1e-9), (weeks, figure, end)
        assert row["quantiles"][0.5] == pytest.approx(before["quantiles"][0.5], rel=1e-9)
        wider.append(by)
    assert max(wider) > 1.02  # Double 11 was not foreseen
    assert "unchecked" in free.verdict
    assert "the 90% interval" in graded.verdict


@given(st.lists(st.floats(-4, 4), max_size=12), st.integers(1, 4), st.floats(1, 3))
def test_a_scale_is_never_lowered_and_grows_with_what_was_missed(off: list[float], span: int, times: float):
    found = Wider.by(np.array(off), span)
    assert 1 <= found.scale <= Wider.by(times * np.array(off), span).scale
    assert found == Wider.by(np.array([*off, np.nan]), span)  # nothing came: no ratio
    assert found.stretched(8.0, 8.0, 0.95) == pytest.approx(8.0)
    low, high = (found.stretched(8.0 * by, 8.0, share) for by, share in ((0.5, 0.05), (2.0, 0.95)))
    assert low < 4.0 < 16.0 < high
    assert low * high == pytest.approx(64.0)


# ---- real shops


@pytest.mark.slow
@pytest.mark.parametrize(("name", "worst"), [("online_retail", 0.18), ("complete_journey", 0.02)])
def test_real_shops_are_told_when_the_naive_forecast_serves_as_well(name, worst):
    folder = shared_data(name)
    shop = clv.connect(folder / "online_retail.parquet" if name == "online_retail" else folder, mapping=name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # in Online Retail hardly anybody is seen to leave
        result = outlook(shop, shop.week().as_of, CustomerValue(model="ModifiedBetaGeoModel"), origins=9)
    row = result.record.loc[(4, "orders")]
    assert row["error"] < worst
    assert "better cannot be told" in row["verdict"]
    assert result.record["inside"].sum() / result.record["origins"].sum() > 0.65


# ---- thin shops and bad input


def thin(rows) -> object:
    return clv.connect({"orders": pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount"])})


def test_thin_shops_get_a_sentence():
    once = thin([("a", "2026-01-05", 10.0), ("b", "2026-01-07", 20.0)])
    with pytest.raises(EmptyDataError, match="bought twice"):
        outlook(once, "2026-01-11", STUDY)
    with pytest.raises(EmptyDataError, match="on or before"):
        past_weeks(once.table("orders"), dt.date(2025, 12, 31))
    with pytest.raises(EmptyDataError, match="is not over"):
        past_weeks(once.table("orders"), dt.date(2026, 1, 7))
    young = thin(
        [("a", "2026-01-05", 10.0), ("a", "2026-01-13", 12.0), ("b", "2026-01-14", 9.0), ("c", "2026-01-20", 3.0)]
    )
    with pytest.warns(UserWarning, match="."):
        result = outlook(young, "2026-01-25", STUDY)
    assert np.isfinite(result.table[["mean", "lower", "upper"]].to_numpy(dtype=float)).all()
    assert result.table.loc[(12, "orders"), "actual"] != result.table.loc[(12, "orders"), "actual"]  # not known
    assert "too young" in result.verdict


def test_a_shop_that_has_shut_is_not_expected_to_sell_more_than_ever(sample_shop):
    """Orders end in July: outcomes of zero count, and one break of the past does not blow limits up without end."""
    rows = sample_shop.table("orders").query(
        "SELECT customer_id, CAST(CAST(ordered_at AS DATE) AS VARCHAR) AS ordered_at, amount FROM {t} AS t "
        "WHERE is_purchase AND ordered_at < DATE '2026-08-01'"
    )
    result = outlook(clv.connect({"orders": rows}), "2026-11-15", STUDY, (4, 12), draws=1_000)
    orders = result.table.xs("orders", level="figure")
    busiest = past_weeks(rows.assign(day=rows["ordered_at"], net_amount=rows["amount"]), dt.date(2026, 7, 26)).weeks
    assert orders.loc[4, "mean"] < 30
    assert orders.loc[4, "upper"] < busiest["orders"].rolling(4).sum().max()
    assert orders.loc[12, "upper"] < busiest["orders"].rolling(12).sum().max()
    assert Wider.by(np.array([-np.inf, np.nan, 4.0]), 1) == Wider.by(np.array([-9.0, 9.0]), 1)


@pytest.mark.parametrize("weeks", [(), (12, 4), (4, 4), (0,), (1.5,)])
def test_weeks_ahead_are_whole_and_in_order(shop, weeks):
    with pytest.raises(ParameterError, match="weeks ahead"):
        outlook(shop, "1997-09-30", STUDY, weeks)


def test_too_few_draws(shop):
    with pytest.raises(ParameterError, match="draws"):
        outlook(shop, "1997-09-30", STUDY, draws=10)


def test_rows_may_come_in_any_order(orders):
    frame = orders.rename(columns={"date": "ordered_at"})
    frame = frame.assign(ordered_at=frame["ordered_at"].dt.strftime("%Y-%m-%d"))
    first, second = (
        outlook(clv.connect({"orders": rows}), "1997-09-30", STUDY, origins=1, draws=500).table["mean"]
        for rows in (frame, frame.sample(frac=1, random_state=3))
    )
    pd.testing.assert_series_equal(first, second, rtol=0.02)
