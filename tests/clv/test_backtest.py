"""The backtest: CDNOW's published figures, no leakage, honest baselines, the choice."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvlib as clv
from clvlib.clv import backtest_plots as plots
from clvlib.clv.backtest import AVERAGE_RATE, LAST_PERIOD, backtest, graded, ranking, trials
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.data.datasets import cdnow as cdnow_frame
from clvlib.errors import ConvergenceWarning, EmptyDataError, ParameterError, ThinDataWarning
from clvlib.words import in_words

SPLIT = dt.date(1997, 9, 30)


def small_shop(seed: int = 1, customers: int = 300, days: int = 600) -> pd.DataFrame:
    """Orders of customers who buy at gamma rates and leave after an exponential time."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(customers):
        born, rate, life = rng.integers(0, days - 100), rng.gamma(0.8, 0.03), rng.exponential(200)
        times = np.cumsum(rng.exponential(1 / rate, 200))
        rows += [(f"c{i}", born + int(t)) for t in [0.0, *times[times < life]] if born + t < days]
    frame = pd.DataFrame(rows, columns=["customer_id", "day"])
    frame["ordered_at"] = pd.Timestamp("2025-01-06") + pd.to_timedelta(frame.pop("day"), unit="D")
    frame["amount"] = rng.gamma(4, 10, len(frame)).round(2) + 1
    return frame


def connect(orders: pd.DataFrame):
    return clv.connect({"orders": orders.assign(ordered_at=orders["ordered_at"].astype(str))})


@pytest.fixture(scope="module")
def shop():
    return clv.connect({"orders": cdnow_frame(sample=True)}, mapping="cdnow")


@pytest.fixture(scope="module")
def result(shop):
    return backtest(shop, None, [SPLIT], 39, GammaGammaModel())


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    return small_shop()


@pytest.fixture(scope="module")
def small(orders):
    return backtest(connect(orders), [BetaGeoModel], 3, 8)


# ---- known answers


def test_cdnow_holdout_is_the_published_one(result):
    table = result.table
    # Fader, Hardie & Lee 2005; Batislam et al. 2007; NBD: sums and mean absolute errors over 39 weeks
    assert table["forecast"]["BetaGeoModel"] == pytest.approx(1653.4, abs=0.05)
    assert table["mae"]["BetaGeoModel"] == pytest.approx(0.78545, abs=5e-6)
    assert table["forecast"]["ModifiedBetaGeoModel"] == pytest.approx(1576.7, abs=0.05)
    assert table["mae"]["ModifiedBetaGeoModel"] == pytest.approx(0.76478, abs=5e-6)
    assert table["forecast"]["NBDModel"] == pytest.approx(2929.8, abs=0.05)
    assert table["mae"]["NBDModel"] == pytest.approx(1.04102, abs=5e-6)
    assert (table["actual"] == 1882).all()
    assert (table["customers"] == 2357).all()


def test_models_with_dropout_beat_the_simple_rules_on_cdnow(result):
    table = result.table
    assert result.best_baseline == "NBDModel"
    assert table["log_score"]["BetaGeoModel"] > table["log_score"][LAST_PERIOD]
    assert table["verdict"].drop(["NBDModel", LAST_PERIOD, AVERAGE_RATE]).eq("better").all()
    assert table["log_score"].is_monotonic_decreasing
    assert result.choice == table.index[0]
    assert result.sentence.startswith(f"Use {in_words(result.choice)}: over 1 forecast of 39 weeks it beats")
    assert "BG/NBD" in result.sentence  # as the field says it, not as the class is named
    assert "Model" not in result.sentence


def test_figures_agree_with_sums_over_customers(shop, result):
    known, later = shop.calibration_holdout(SPLIT, "1998-06-30")
    model = result.fits[SPLIT]["BetaGeoModel"]
    row = result.table.loc["BetaGeoModel"]
    y = later["frequency_holdout"].to_numpy()
    counts = [model.count_probability(known, 39.0, n).to_numpy() for n in range(y.max() + 1)]
    chance = np.choose(y, counts)
    assert row["log_score"] == pytest.approx(np.log(chance).mean(), rel=1e-9)
    cdf = np.cumsum([model.count_probability(known, 39.0, n).to_numpy() for n in range(260)], axis=0)
    crps = ((cdf - (np.arange(260)[:, None] >= y)) ** 2).sum(axis=0)
    assert row["crps"] == pytest.approx(crps.mean(), rel=1e-7)
    assert row["brier"] == pytest.approx(((1 - counts[0] - (y > 0)) ** 2).mean())
    expected = model.expected_purchases(known, 39.0)
    assert row["rmse"] == pytest.approx(np.sqrt(((expected - y) ** 2).mean()))
    assert row["wape"] == pytest.approx((expected - y).abs().sum() / 1882)
    assert row["bias"] == pytest.approx(expected.sum() / 1882 - 1)
    spent = y * later["monetary_value_holdout"]
    worth = expected * GammaGammaModel().fit(known).expected_spend(known)
    assert row["money_mae"] == pytest.approx((worth - spent).abs().mean())
    assert row["money_bias"] == pytest.approx(worth.sum() / spent.sum() - 1)
    top = spent[worth.sort_values(ascending=False).index]
    assert row["top_share"] == pytest.approx(top.iloc[:236].sum() / spent.sum(), abs=0.003)
    assert row["top_lift"] == pytest.approx(10 * row["top_share"])


def test_the_interval_is_that_of_a_paired_mean(shop, result):
    known, later = shop.calibration_holdout(SPLIT, "1998-06-30")
    y = later["frequency_holdout"].to_numpy()
    logs = {}
    for name in ("BetaGeoModel", "NBDModel"):
        model = result.fits[SPLIT][name]
        logs[name] = np.log(np.choose(y, [model.count_probability(known, 39.0, n) for n in range(y.max() + 1)]))
    gap = logs["BetaGeoModel"] - logs["NBDModel"]
    row = result.table.loc["BetaGeoModel"]
    assert row["difference"] == pytest.approx(gap.mean(), rel=1e-8)
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    assert row["upper"] - row["lower"] == pytest.approx(2 * stats.norm.ppf(0.975) * error, rel=0.1)
    assert row["lower"] < row["difference"] < row["upper"]


def test_baselines_by_hand(shop, result):
    known, later = shop.calibration_holdout(SPLIT, "1998-06-30")
    y = later["frequency_holdout"].to_numpy(dtype=float)
    # all were born within the 39 weeks before, so all repeat purchases lie in the last period
    error = known["frequency"] - y
    assert result.table["mae"][LAST_PERIOD] == pytest.approx(error.abs().mean())
    mean = np.maximum(known["frequency"], 0.5 * 39 / (known["T"] + 39))
    assert result.table["log_score"][LAST_PERIOD] == pytest.approx(stats.poisson.logpmf(y, mean).mean(), rel=1e-9)
    rate = known["frequency"] / known["T"] * 39
    assert result.table["forecast"][AVERAGE_RATE] == pytest.approx(rate.sum())
    assert result.table["money_forecast"][AVERAGE_RATE] == pytest.approx((rate * known["monetary_value"]).sum())


def test_the_last_period_is_the_one_before_the_origin():
    days = ["2026-01-05", "2026-02-02", "2026-03-02", "2026-03-09", "2026-03-30", "2026-04-20"]
    one = pd.DataFrame({"customer_id": "a", "ordered_at": days, "amount": [1.0, 2, 4, 8, 16, 32]})
    orders = pd.concat([one.assign(customer_id=str(i)) for i in range(30)])
    with pytest.warns((ConvergenceWarning, ThinDataWarning)) as caught:
        found = backtest(clv.connect({"orders": orders}), [NBDModel], ["2026-03-22"], 4, GammaGammaModel())
    said = " ".join(str(warning.message) for warning in caught)
    assert "NBDModel: no proper fit at 1 of 1 origins, lastly: origin 2026-03-22: NBDModel: the maximum" in said
    assert "spend model: no proper fit at 1 of 1 origins" in said
    # 23 February to 22 March: two purchases, worth 12; 23 March to 19 April: one, worth 16
    row = found.table.loc[LAST_PERIOD]
    assert (row["forecast"], row["actual"]) == (60, 30)
    assert (row["money_forecast"], row["money_actual"]) == (360, 480)
    assert not found.origins.xs("NBDModel", level="model")["converged"].any()


# ---- nothing leaks, nothing depends on order


def test_what_comes_after_the_origin_does_not_reach_the_fit(orders):
    day = dt.date(2026, 3, 1)
    end = pd.Timestamp(day) + pd.Timedelta(weeks=8)
    changed = orders.copy()
    after = changed["ordered_at"] > pd.Timestamp(day)
    changed = pd.concat([changed[~after], changed[after].sample(frac=0.5, random_state=1).assign(amount=999.0)])
    first, second = (backtest(connect(frame), [BetaGeoModel], [day], 8) for frame in (orders, changed))
    pd.testing.assert_series_equal(first.fits[day]["BetaGeoModel"].params_, second.fits[day]["BetaGeoModel"].params_)
    pd.testing.assert_series_equal(first.table["forecast"].sort_index(), second.table["forecast"].sort_index())
    assert first.table["actual"].iloc[0] != second.table["actual"].iloc[0]
    # and what comes after the horizon changes nothing at all
    later = orders.copy()
    later.loc[later["ordered_at"] >= end + pd.Timedelta(days=1), "amount"] = 5.0
    later = pd.concat(
        [later, pd.DataFrame({"customer_id": ["x"], "ordered_at": [end + pd.Timedelta(days=3)], "amount": 1.0})]
    )
    third = backtest(connect(later), [BetaGeoModel], [day], 8)
    pd.testing.assert_frame_equal(first.table, third.table)
    assert first.sentence == third.sentence


def test_the_order_of_rows_and_models_does_not_matter(orders, small):
    mixed = backtest(connect(orders.sample(frac=1, random_state=3)), [NBDModel(), BetaGeoModel()], 3, 8)
    pd.testing.assert_frame_equal(mixed.table.sort_index(), small.table.sort_index(), rtol=1e-12)
    assert mixed.choice == small.choice


def test_weeks_and_days_give_the_same(orders, small):
    days = backtest(connect(orders), [BetaGeoModel], list(small.fits), 56, unit="D")
    for name in ("log_score", "crps", "mae", "brier", "gini"):
        np.testing.assert_allclose(days.table[name].sort_index(), small.table[name].sort_index(), rtol=2e-5)


def test_the_model_that_made_the_customers_wins_and_is_calibrated():
    true = BetaGeoModel.with_parameters({"r": 0.6, "alpha": 4.4, "a": 0.8, "b": 2.5}, unit="W")

    class Simulated:
        data_until, date_range = dt.date(2026, 1, 1), (dt.date(2024, 1, 1), dt.date(2026, 1, 1))

        def calibration_holdout(self, *_, **__):
            known = true.simulate(8000, np.tile([10.0, 20.0, 30.0, 40.0], 2000), seed=1).assign(monetary_value=1.0)
            later = pd.DataFrame({"frequency_holdout": true.simulate_future(known, 13.0, seed=2).astype(int)})
            return known, later.assign(monetary_value_holdout=1.0, duration_holdout=13.0)

        def customer_summary(self, *_):
            raise EmptyDataError("the shop is younger than that")

    found = backtest(Simulated(), None, ["2025-01-01"], 13)
    assert found.table["verdict"]["BetaGeoModel"] == "better"
    assert found.table["pit_p"]["BetaGeoModel"] > 0.001
    assert abs(found.table["bias"]["BetaGeoModel"]) < 0.05
    assert found.table["pit_p"]["NBDModel"] < 1e-6
    assert found.table["log_score"]["BetaGeoModel"] >= found.table["log_score"].max() - 0.001
    active = found.active.loc["BetaGeoModel"]
    assert ((active["lower"] <= active["expected"]) & (active["expected"] <= active["upper"])).mean() >= 0.7


def test_a_customer_seen_at_several_origins_counts_as_one_for_chance():
    true = NBDModel.with_parameters({"r": 0.8, "alpha": 8.0}, unit="W")
    known = true.simulate(1500, 30.0, seed=1).assign(monetary_value=1.0)
    later = pd.DataFrame({"frequency_holdout": true.simulate_future(known, 13.0, seed=2).astype(int)})

    class Simulated:  # everybody does the same again at each origin, so four origins tell no more than one
        data_until, date_range = dt.date(2026, 1, 1), (dt.date(2024, 1, 1), dt.date(2026, 1, 1))

        def calibration_holdout(self, *_, **__):
            return known, later.assign(monetary_value_holdout=1.0, duration_holdout=13.0)

        def customer_summary(self, *_):
            raise EmptyDataError("the shop is younger than that")

    days = ["2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01"]
    one, four = (backtest(Simulated(), [NBDModel], days[:n], 13) for n in (1, 4))
    for name in ("lower", "upper"):
        assert four.table[name][LAST_PERIOD] == pytest.approx(one.table[name][LAST_PERIOD], rel=1e-9)
    assert four.table["pit_p"]["NBDModel"] == pytest.approx(one.table["pit_p"]["NBDModel"])


def test_where_nobody_leaves_the_simple_model_is_chosen():
    true = NBDModel.with_parameters({"r": 0.8, "alpha": 8.0}, unit="W")

    class Simulated:
        data_until, date_range = dt.date(2026, 1, 1), (dt.date(2024, 1, 1), dt.date(2026, 1, 1))

        def calibration_holdout(self, *_, **__):
            known = true.simulate(4000, np.tile([10.0, 40.0], 2000), seed=1).assign(monetary_value=1.0)
            later = pd.DataFrame({"frequency_holdout": true.simulate_future(known, 13.0, seed=2).astype(int)})
            return known, later.assign(monetary_value_holdout=1.0, duration_holdout=13.0)

        def customer_summary(self, *_):
            raise EmptyDataError("the shop is younger than that")

    found = backtest(Simulated(), [BetaGeoModel], ["2025-01-01"], 13)
    assert found.choice == "NBDModel"
    assert "no model clearly beats this simple rule" in found.sentence


# ---- several origins


def test_origins_are_pooled_by_customers(small):
    origins, table = small.origins, small.table
    assert len(origins) == 3 * 4
    one = origins.xs("BetaGeoModel", level="model")
    n = one["customers"]
    for name in ("log_score", "crps", "mae", "brier"):
        assert table[name]["BetaGeoModel"] == pytest.approx((n * one[name]).sum() / n.sum())
    assert table["forecast"]["BetaGeoModel"] == pytest.approx(one["forecast"].sum())
    assert table["rmse"]["BetaGeoModel"] == pytest.approx(np.sqrt((n * one["rmse"] ** 2).sum() / n.sum()))
    assert table["gini"]["BetaGeoModel"] == pytest.approx(one["gini"].mean())
    best = origins.xs(small.best_baseline, level="model")["log_score"]
    assert table["won"]["BetaGeoModel"] == (one["log_score"] > best).sum()


def test_chosen_origins_are_sundays_a_horizon_apart_and_end_in_the_data(orders, small):
    days = list(small.fits)
    assert all(day.weekday() == 6 for day in days)
    assert {(b - a).days for a, b in pairwise(days)} == {56}
    last = orders["ordered_at"].max().date()
    assert last - dt.timedelta(days=7) < days[-1] + dt.timedelta(weeks=8) <= last


def test_by_crps(orders, small):
    other = backtest(connect(orders), [BetaGeoModel], 3, 8, by="crps")
    assert other.table["crps"].is_monotonic_increasing
    best = other.table["crps"][other.best_baseline]
    assert other.table["difference"]["BetaGeoModel"] == pytest.approx(best - other.table["crps"]["BetaGeoModel"])
    pd.testing.assert_series_equal(other.table["log_score"].sort_index(), small.table["log_score"].sort_index())


def test_the_same_seed_gives_the_same(orders, small):
    again = backtest(connect(orders), {"BetaGeoModel": BetaGeoModel}, 3, 8)
    pd.testing.assert_frame_equal(again.table, small.table)
    other = backtest(connect(orders), [BetaGeoModel], 3, 8, seed=1)
    assert other.table["lower"]["BetaGeoModel"] != small.table["lower"]["BetaGeoModel"]


# ---- what cannot be


def test_horizon_beyond_the_data(shop):
    with pytest.raises(ParameterError, match=r"1998-06-01: the horizon ends on 1998-08-31 and the data on 1998-06-30"):
        backtest(shop, [BetaGeoModel], ["1998-06-01"], 13)
    with pytest.raises(EmptyDataError, match="too little to learn from"):
        backtest(shop, [BetaGeoModel], 2, 70)


def test_nothing_after_as_of_is_known(shop):
    then = backtest(shop, [BetaGeoModel], 2, 13, as_of="1998-01-31")
    assert [day.isoformat() for day in then.fits] == ["1997-07-27", "1997-10-26"]
    with pytest.raises(ParameterError, match="the data on 1998-01-31"):
        backtest(shop, [BetaGeoModel], ["1997-12-01"], 13, as_of="1998-01-31")


def test_origin_before_the_first_order(shop):
    with pytest.raises(EmptyDataError, match="no purchase on or before 1996-12-01; the first is of 1997-01-01"):
        backtest(shop, [BetaGeoModel], ["1996-12-01"], 13)


def test_nobody_buys_twice():
    days = pd.date_range("2026-01-01", periods=100).astype(str)
    lone = clv.connect({"orders": pd.DataFrame({"customer_id": range(100), "ordered_at": days, "amount": 5.0})})
    with pytest.raises(EmptyDataError, match="2026-03-01: none of 60 customers had bought twice"):
        backtest(lone, [BetaGeoModel], ["2026-03-01"], 4)


def test_nobody_buys_in_the_horizon(orders):
    end = orders["ordered_at"].max()
    kept = orders[orders["ordered_at"] < end - pd.Timedelta(weeks=10)]
    closed = pd.concat([kept, pd.DataFrame({"customer_id": ["new"], "ordered_at": [end], "amount": [1.0]})])
    with pytest.warns(ThinDataWarning, match=r"bias, gini.*wape at \d{4}-\d\d-\d\d; they are left out"):
        found = backtest(connect(closed), [BetaGeoModel], [(end - pd.Timedelta(weeks=9)).date()], 8)
    assert found.table["actual"].eq(0).all()
    assert np.isfinite(found.table["log_score"]).all()


def test_three_customers_say_so():
    days = ["2026-01-05", "2026-01-19", "2026-02-09", "2026-03-09", "2026-04-20"]
    few = pd.concat(
        [pd.DataFrame({"customer_id": c, "ordered_at": days[i:], "amount": 5.0}) for i, c in enumerate("abc")]
    )
    with pytest.warns((ThinDataWarning, ConvergenceWarning)) as caught:
        found = backtest(clv.connect({"orders": few}), [BetaGeoModel], ["2026-03-01"], 4)
    assert any("too few customers or purchases for" in str(w.message) for w in caught)
    assert found.table["parameters"][found.choice] == 0
    assert "no model clearly beats" in found.sentence


def test_more_origins_than_weeks(orders):
    short = orders[orders["ordered_at"] < "2025-04-17"]
    with pytest.warns(ThinDataWarning, match="room for 2 origins a week apart, not 9"):
        found = backtest(connect(short), [NBDModel], 9, 4)
    assert len(found.fits) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"horizon": 0}, "whole number of days"),
        ({"horizon": 1.1}, "whole number of days"),
        ({"horizon": float("nan")}, "whole number of days"),
        ({"origins": []}, "a number or a list"),
        ({"origins": "1997-09-30"}, "a number or a list"),
        ({"origins": 0}, "at least one origin"),
        ({"models": []}, "at least one model"),
        ({"models": [GammaGammaModel]}, "compares purchase models"),
        ({"models": [BetaGeoModel, BetaGeoModel()]}, "two models are named"),
        ({"spend": GammaGammaModel}, "a spend model such as"),
        ({"unit": "M"}, "unit and collapse"),
        ({"by": "mae"}, "by is"),
        ({"level": 1.0}, "level lies"),
        ({"draws": 5}, "draws"),
    ],
)
def test_arguments_that_cannot_be(shop, changes, words):
    with pytest.raises(ParameterError, match=words):
        backtest(shop, **{"models": [BetaGeoModel], "origins": [SPLIT], "horizon": 13, **changes})


# ---- what is shown


def test_frames_behind_the_figures(result):
    assert result.calibration["share"].groupby("model").sum().tolist() == pytest.approx([1] * 6)
    assert result.active["customers"].groupby("model").sum().eq(2357).all()
    buyers = (result.active["customers"] * result.active["actual"]).groupby("model").sum()
    assert buyers.to_numpy() == pytest.approx(buyers.iloc[0])
    curve = result.gains.loc["BetaGeoModel", "value"]
    assert curve.is_monotonic_increasing
    assert curve.iloc[[0, -1]].tolist() == pytest.approx([0, 1])
    assert result.table["top_share"]["BetaGeoModel"] == pytest.approx(curve[0.1])
    assert plots.lift(result)["lift"].mean() == pytest.approx(1)
    assert "Use " in result._repr_html_()


def test_every_figure_draws(result):
    drawn = [
        plots.leaderboard_plot(result),
        plots.pit_plot(result),
        plots.active_plot(result, "NBDModel"),
        plots.lift_plot(result),
        plots.gains_plot(result),
        plots.gains_plot(result, list(result.table.index)),
    ]
    for ax in drawn:
        ax.figure.canvas.draw()
        assert ax.get_title(loc="left") or ax.get_title()
    with pytest.raises(ParameterError, match="no model 'x'"):
        plots.lift(result, "x")


def test_a_ranking_by_log_scores_alone_is_that_of_the_leaderboard(orders):
    shop, models = connect(orders), ["BetaGeoModel", "ParetoNBDModel"]
    asked = {"unit": "W", "collapse": "D", "as_of": None}
    held = trials(shop, [getattr(clv, name) for name in models], 3, 8, None, **asked)
    board = graded(held, 8, "W")
    assert ranking(held) == [board.choice, *board.table.index]


def test_a_fit_that_begins_near_ends_where_any_other_does(orders):
    base = connect(orders).customer_summary()
    whole = clv.ParetoNBDModel().fit(base)
    start = clv.ParetoNBDModel().fit(base.iloc[::2])
    near = clv.ParetoNBDModel()._beginning(start).fit(base)
    np.testing.assert_allclose(near.params_, whole.params_, rtol=1e-5)
    assert near.log_likelihood_ == pytest.approx(whole.log_likelihood_, rel=1e-11)
    astray = clv.ParetoNBDModel.with_parameters({"r": 1e-8, "alpha": 1e8, "s": 1e8, "beta": 1e-8})
    astray.converged_ = True
    far = clv.ParetoNBDModel()._beginning(astray).fit(base)
    np.testing.assert_allclose(far.params_, whole.params_, rtol=1e-5)
