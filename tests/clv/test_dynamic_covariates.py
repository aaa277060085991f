"""Covariates that change with time: against BG/NBD, brute-force integrals, thinning, and the apparel data."""

from __future__ import annotations

import copy
import datetime as dt
import time

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvlib as clv
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.dynamic_covariates import DynamicCovariateModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.errors import DataError, MissingColumnError, ParameterError, UnitMismatchError
from tests.clv import conftest, oracles
from tests.conftest import shared_data

BG = {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5}
EFFECTS = {"purchase:holiday": 2.0, "purchase:streams": 1.15}
RAW = {"holiday": [0, 1], "streams": [0, 1]}
FIRST, AS_OF, LAST = dt.date(2024, 1, 1), dt.date(2025, 12, 31), dt.date(2026, 12, 31)
MODELS = [(BetaGeoModel, 0), (ModifiedBetaGeoModel, 1)]


def calendar() -> pd.DataFrame:
    """Weekly periods: the last quarter is a holiday season; 0 to 5 streams a week."""
    start = pd.date_range(FIRST, LAST, freq="7D")
    streams = np.random.default_rng(1).integers(0, 6, len(start))
    return pd.DataFrame({"start": start, "holiday": (start.month >= 10).astype(int), "streams": streams})


def model_of(base=BetaGeoModel, effects=EFFECTS, **arguments) -> DynamicCovariateModel:
    chosen = {"covariates": calendar(), "until": LAST, "encoding": RAW} | arguments
    return DynamicCovariateModel.with_parameters(BG | effects, "W", model=base, **chosen)


def speed_by_day(frame: pd.DataFrame, until: dt.date, effects=EFFECTS) -> pd.Series:
    """exp(g'z) of each day, written out by hand."""
    days = pd.date_range(frame["start"].min(), until)
    daily = frame.set_index("start").reindex(days, method="ffill")
    return np.exp(sum(np.log(m) * daily[name.removeprefix("purchase:")] for name, m in effects.items()))


def shopped(n: int, frame: pd.DataFrame, seed: int, at_start: int = 0, effects=EFFECTS, until=AS_OF):
    """Customers by thinning, event by event: first days, purchase times in days since FIRST, and who lives."""
    rng = np.random.default_rng(seed)
    speed = speed_by_day(frame, until, effects).to_numpy()
    fastest, end = speed.max(), (until - FIRST).days
    born = rng.integers(0, 400, n)
    rows = []
    for customer, (t, rate, leave) in enumerate(
        zip(born, rng.gamma(BG["r"], 1 / BG["alpha"], n) / 7, rng.beta(BG["a"], BG["b"], n), strict=True)
    ):
        now = float(t)
        if at_start and rng.random() < leave:
            continue
        while True:
            now += rng.exponential(1 / max(rate * fastest, 1e-12))
            if now > end:
                break
            # the day d is the time from d − 1 to d
            if rng.random() < speed[int(np.ceil(now))] / fastest:
                rows.append((customer, now))
                if rng.random() < leave:
                    break
    return born, pd.DataFrame(rows, columns=["customer", "time"])


def summarised(born: np.ndarray, events: pd.DataFrame, frame: pd.DataFrame, names=("holiday", "streams")):
    """Frequency, recency, T in weeks until AS_OF, and the sums of covariates over purchases, by hand."""
    end = (AS_OF - FIRST).days
    seen = events[events["time"] <= end]
    grouped = seen.groupby("customer")["time"]
    index = pd.RangeIndex(len(born))
    summary = pd.DataFrame(
        {
            "frequency": grouped.size().reindex(index, fill_value=0),
            "recency": (grouped.max().reindex(index) - born).fillna(0.0) / 7,
            "T": (end - born) / 7,
        },
        index=index,
    ).rename(index=str)
    summary.index.name = "customer_id"
    day = pd.DatetimeIndex([pd.Timestamp(FIRST)] * len(seen)) + pd.to_timedelta(np.ceil(seen["time"]), "D")
    values = frame.set_index("start").reindex(day, method="ffill")
    for name in names:
        sums = pd.Series(values[name].to_numpy(), index=seen["customer"]).groupby(level=0).sum()
        summary[f"purchase:{name}"] = sums.reindex(index, fill_value=0).to_numpy(dtype=float)
    summary.attrs["clvlib"] = {"unit": "W", "collapse": "D", "as_of": str(AS_OF)}
    return summary


@pytest.fixture(scope="module")
def shop():
    frame = calendar()
    born, events = shopped(4000, frame, seed=2, until=LAST)
    return frame, born, events, summarised(born, events, frame)


# ---- the likelihood


@pytest.mark.parametrize(("base", "at_start"), MODELS)
def test_log_likelihood_agrees_with_mpmath(base, at_start, shop):
    frame, _, _, summary = shop
    few = summary[summary["frequency"].between(0, 9)].iloc[:12]
    few = few.assign(recency=np.round(few["recency"] * 7) / 7)  # whole days, to add up by day
    few.attrs = summary.attrs
    speed = speed_by_day(frame, AS_OF)
    truth = []
    for _, row in few.iterrows():
        first = AS_OF - dt.timedelta(days=round(row["T"] * 7))
        days = speed.loc[pd.Timestamp(first) + pd.Timedelta(days=1) :]
        clock = days.cumsum() / 7
        t_x = clock.iloc[round(row["recency"] * 7) - 1] if row["frequency"] else 0.0
        jumps = row["purchase:holiday"] * np.log(2.0) + row["purchase:streams"] * np.log(1.15)
        own = oracles.bg_log_likelihood(0.6, 5.0, 0.9, 2.5, row["frequency"], t_x, clock.iloc[-1], at_start)
        truth.append(float(own) + jumps)
    np.testing.assert_allclose(model_of(base).log_likelihood(few), truth, rtol=1e-9)


def test_log_likelihood_agrees_with_a_brute_force_integral():
    """Over rate and chance to leave, with the intensity of every purchase and the whole time under risk."""
    frame = pd.DataFrame({"start": ["2025-01-01", "2025-02-01"], "holiday": [0, 1]})
    model = DynamicCovariateModel.with_parameters(
        BG | {"purchase:holiday": 3.0}, "W", model=BetaGeoModel, covariates=frame, until="2025-12-31"
    )
    # first purchase on 20 January, others on 25 January, 3 and 10 February; looked at until 1 March
    summary = pd.DataFrame({"frequency": [3], "recency": [21 / 7], "T": [40 / 7]}, index=["c"])
    summary.attrs["clvlib"] = {"unit": "W", "as_of": "2025-03-01"}
    orders = pd.DataFrame({"customer_id": "c", "ordered_at": ["2025-01-20", "2025-01-25", "2025-02-03", "2025-02-10"]})
    history = model.history(summary, orders)
    assert history["purchase:holiday"].tolist() == [2.0]
    with mp.workdps(20):
        r, alpha, a, b = (mp.mpf(BG[name]) for name in ("r", "alpha", "a", "b"))
        weeks = mp.mpf(11 + 3 * 10) / 7, mp.mpf(11 + 3 * 29) / 7  # 21 to 31 January, then at three times the speed

        def of_rate(rate):
            gamma = alpha**r * rate ** (r - 1) * mp.exp(-alpha * rate) / mp.gamma(r)
            purchases = rate**3 * 3**2
            stays = mp.beta(a, b + 3) / mp.beta(a, b) * mp.exp(-rate * weeks[1])
            leaves = mp.beta(a + 1, b + 2) / mp.beta(a, b) * mp.exp(-rate * weeks[0])
            return gamma * purchases * (stays + leaves)

        truth = float(mp.log(mp.quad(of_rate, [0, 0.05, 0.3, 1, 4, 20])))
    assert model.log_likelihood(history)["c"] == pytest.approx(truth, rel=1e-9)


def test_without_effect_it_is_bg(shop):
    *_, summary = shop
    model, plain = model_of(effects=dict.fromkeys(EFFECTS, 1.0)), BetaGeoModel.with_parameters(BG, "W")
    pd.testing.assert_series_equal(model.log_likelihood(summary), plain.log_likelihood(summary), rtol=1e-11)
    pd.testing.assert_frame_equal(
        model.expected_purchases(summary, 26, 0.9, "customer"), plain.expected_purchases(summary, 26, 0.9, "customer")
    )
    ours, theirs = (m.discounted_expected_purchases(summary, 0.003, 40) for m in (model, plain))
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)
    assert model.simulate(10, 20.0, 1, AS_OF)["frequency"].tolist() == plain.simulate(10, 20.0, 1)["frequency"].tolist()


@pytest.mark.parametrize("base", [base for base, _ in MODELS])
def test_derivatives(base, shop):
    *_, summary = shop
    model = model_of(base)
    cells = model._with_sums(summary.head(300))
    objective, theta = model._objective(cells), np.log(model._p()) + 0.05
    value, gradient, hessian = objective(theta)
    assert value == pytest.approx(cells.weight @ model._log_likelihood(np.exp(theta), cells), rel=1e-12)
    step = 1e-6 * np.eye(len(theta))
    slopes = [(objective(theta + s)[0] - objective(theta - s)[0]) / 2e-6 for s in step]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-4)
    steps = 6e-6 * np.eye(len(theta))
    differences = [(objective(theta + step)[1] - objective(theta - step)[1]) / 1.2e-5 for step in steps]
    np.testing.assert_allclose(hessian, differences, rtol=1e-6, atol=1e-5)


# ---- estimates


def errors(model, truth) -> np.ndarray:
    names = list(model.params_.index)
    return (np.log(model.params_) - np.log([truth[n] for n in names])) / np.sqrt(np.diag(model._log_covariance))


@pytest.mark.parametrize(("base", "at_start"), MODELS)
def test_coefficients_are_recovered_from_thinning(base, at_start, shop):
    frame, _, _, summary = shop
    if at_start:
        summary = summarised(*shopped(4000, frame, 3, at_start), frame)
    model = DynamicCovariateModel(base, frame, LAST, RAW).fit(summary)
    assert model.converged_
    assert np.abs(errors(model, BG | EFFECTS)).max() < 3.3, errors(model, BG | EFFECTS)
    free = DynamicCovariateModel(base, frame, LAST).fit(summary)
    assert free.log_likelihood_ == pytest.approx(model.log_likelihood_, abs=1e-6)
    per = model.params_["purchase:streams"] ** free.encoding_["streams"][1]  # per standard deviation
    assert free.params_["purchase:streams"] == pytest.approx(per, rel=1e-5)


def test_whoever_leaves_the_holiday_out_is_misled_and_the_test_says_so(shop):
    frame, _, _, summary = shop
    without = BetaGeoModel().fit(summary)
    only = DynamicCovariateModel(BetaGeoModel, frame[["start", "streams"]], LAST, RAW).fit(summary)
    both = DynamicCovariateModel(BetaGeoModel, frame, LAST, RAW).fit(summary)
    assert without.log_likelihood_ < only.log_likelihood_ < both.log_likelihood_
    assert stats.chi2.sf(2 * (both.log_likelihood_ - only.log_likelihood_), 1) < 1e-10


@pytest.mark.slow
def test_intervals_cover():
    rng = np.random.default_rng(4)
    truth = model_of()
    inside = []
    for _ in range(100):
        summary = truth.simulate(800, rng.uniform(40, 100, 800), rng, AS_OF)
        table = DynamicCovariateModel(BetaGeoModel, calendar(), LAST, RAW).fit(summary).summary(0.9).loc[list(EFFECTS)]
        values = np.array(list(EFFECTS.values()))
        inside.append((table["lower"] < values) & (table["upper"] > values))
    share = pd.concat(inside, axis=1).mean(axis=1)
    assert share.between(0.81, 0.99).all(), share  # 3 standard errors of 100 trials are 0.09


def test_a_shop_of_one_day_events():
    """A purchase day counts with its own day's covariates, and that day counts in the time under risk."""
    frame = pd.DataFrame({"start": pd.date_range("2025-01-01", "2025-11-12")})
    frame["sale"] = (frame["start"] == "2025-11-11").astype(int)
    rate, boost = 0.02, 9.0  # per day; nobody leaves
    rng = np.random.default_rng(5)
    rows = []
    for customer in range(3000):
        bought = rng.random(30) < -np.expm1(-rate * np.where(np.arange(30) == 29, boost, 1.0))
        rows += [(str(customer), pd.Timestamp("2025-10-12"))]
        rows += [
            (str(customer), pd.Timestamp("2025-10-13") + pd.Timedelta(days=int(d))) for d in np.flatnonzero(bought)
        ]
    orders = pd.DataFrame(rows, columns=["customer_id", "ordered_at"])
    shop = clv.connect({"orders": orders.assign(amount=1.0)})
    summary = shop.customer_summary("2025-11-11", unit="D")
    with pytest.warns(UserWarning, match="NBD|one purchase rate|leave"):
        model = DynamicCovariateModel(BetaGeoModel, frame).fit(summary, shop.table("orders"))
    # the estimate of a Poisson rate ratio, were purchases not one a day at most
    days = orders[orders["ordered_at"] > "2025-10-12"].groupby("ordered_at").size()
    truth = days.iloc[-1] / days.iloc[:-1].mean()
    assert model.params_["purchase:sale"] == pytest.approx(truth, rel=0.01)


# ---- predictions


@pytest.mark.parametrize("horizon", [8.0, 52.0])
def test_forecasts_are_what_comes(shop, horizon):
    _, _, events, summary = shop
    end = (AS_OF - FIRST).days
    later = events[(events["time"] > end) & (events["time"] <= end + 7 * horizon)]
    actual = later.groupby("customer").size().reindex(range(len(summary)), fill_value=0).to_numpy()
    model = model_of()
    error = actual - model.expected_purchases(summary, horizon).to_numpy()
    for part in (summary["frequency"] == 0, summary["frequency"] == 1, summary["frequency"] > 1):
        chosen = error[part.to_numpy()]
        assert abs(chosen.mean()) < 3.5 * chosen.std() / np.sqrt(len(chosen))
    limits = model.expected_purchases(summary, horizon, 0.9, "customer")
    assert ((limits["lower"] <= actual) & (actual <= limits["upper"])).mean() > 0.9
    none = model.count_probability(summary, horizon, 0).to_numpy()
    gap = (actual == 0) - none
    assert abs(gap.mean()) < 3.5 * gap.std() / np.sqrt(len(gap))
    drawn = model.simulate_future(summary, horizon, 6).to_numpy()
    assert abs((drawn - actual).mean()) < 3.5 * (drawn - actual).std() / np.sqrt(len(drawn))


def test_a_plan_changes_the_forecast(shop):
    *_, summary = shop
    model = model_of()
    busy = calendar().assign(streams=lambda f: np.where(f["start"] > pd.Timestamp(AS_OF), 5, f["streams"]))
    more = model.with_covariates(busy, LAST).expected_purchases(summary, 26)
    assert (more > model.expected_purchases(summary, 26)).all()
    pd.testing.assert_series_equal(
        model.with_covariates(busy, LAST).probability_alive(summary), model.probability_alive(summary)
    )
    with pytest.raises(ParameterError, match=r"horizon reaches to 2027.*known from 2024-01-01 to 2026-12-31"):
        model.expected_purchases(summary, 60)
    with pytest.raises(ParameterError, match="horizon reaches"):
        model.discounted_expected_purchases(summary, 0.003)
    with pytest.raises(ParameterError, match="the model knows"):
        model.with_covariates(busy[["start", "holiday"]])


def test_discounting_is_the_sum_over_days(shop):
    *_, summary = shop
    few, model, rate = summary.head(5), model_of(), 0.01
    few.attrs = summary.attrs
    steps = np.arange(0, 40 * 7 + 1) / 7
    expected = np.stack([model.expected_purchases(few, t) for t in steps])
    middle = np.exp(-rate * (steps[1:] + steps[:-1]) / 2)
    truth = (np.diff(expected, axis=0) * middle[:, None]).sum(axis=0)
    np.testing.assert_allclose(model.discounted_expected_purchases(few, rate, 40), truth, rtol=1e-6)


def test_lifetime_value_takes_it(shop):
    *_, summary = shop
    summary = summary.assign(monetary_value=20.0 * (summary["frequency"] > 0))
    summary.attrs = shop[3].attrs
    spend = GammaGammaModel.with_parameters({"p": 6.0, "q": 4.0, "gamma": 15.0})
    model = model_of()
    table = clv.LifetimeValue(model, spend, 0.3, 0.1).predict(summary, 26, 0.9, "customer")
    often = model.discounted_expected_purchases(summary, np.log(1.1) / (365.25 / 7), 26)
    np.testing.assert_allclose(table["mean"], 0.3 * often * spend.expected_spend(summary))


# ---- customers with covariates of their own


def test_own_covariates(shop):
    frame, _, _, summary = shop
    some = summary.head(40)
    some.attrs = summary.attrs
    # everybody has what all have, written differently for every third customer: by change only, from the first day on
    short = frame[frame.drop(columns="start").diff().fillna(1).any(axis=1)]
    own = pd.concat([(short if i % 3 else frame).assign(customer_id=who) for i, who in enumerate(some.index)])
    alike = model_of(covariates=own.sample(frac=1, random_state=1))
    pd.testing.assert_series_equal(alike.log_likelihood(some), model_of().log_likelihood(some), rtol=1e-11)
    pd.testing.assert_series_equal(alike.expected_purchases(some, 20), model_of().expected_purchases(some, 20))
    # customers who differ: each is the customer of a calendar that all share
    rng = np.random.default_rng(8)
    own = pd.concat([frame.assign(customer_id=who) for who in some.index]).reset_index(drop=True)
    own["streams"] = rng.integers(0, 6, len(own))
    model = model_of(covariates=own)
    for who in some.index[:6]:
        row = some.loc[[who]]
        row.attrs = some.attrs
        alone = model_of(covariates=own[own["customer_id"] == who].drop(columns="customer_id"))
        assert model.log_likelihood(some)[who] == pytest.approx(alone.log_likelihood(row)[who], rel=1e-12)
        assert model.expected_purchases(some, 9)[who] == pytest.approx(alone.expected_purchases(row, 9)[who])
    drawn = model.simulate(40, 60.0, 1, AS_OF)
    assert sorted(drawn.index) == sorted(some.index)
    other = summary.iloc[50:52]
    other.attrs = summary.attrs
    with pytest.raises(DataError, match="customers have none, first '50'"):
        model.probability_alive(other)
    with pytest.raises(ParameterError, match="as a row of a summary"):
        model.expected_purchases_new(10.0)
    with pytest.raises(ParameterError, match="those of 40 customers"):
        model.simulate(41, 60.0, 1, AS_OF)


def test_own_covariates_are_recovered():
    rng = np.random.default_rng(9)
    start = pd.date_range(FIRST, LAST, freq="28D")
    n = 3000
    own = pd.DataFrame(
        {
            "start": np.tile(start, n),
            "customer_id": np.repeat(np.arange(n).astype(str), len(start)),
            "streams": rng.integers(0, 6, n * len(start)),
            "season": np.tile(np.where(start.month >= 10, "winter", "summer"), n),
        }
    )
    truth = BG | {"purchase:streams": 1.2, "purchase:season=winter": 1.5}
    levels = {"streams": [0, 1], "season": ["summer", "winter"]}
    known = {"model": BetaGeoModel, "covariates": own, "until": LAST, "encoding": levels}
    drawn = DynamicCovariateModel.with_parameters(truth, "W", **known).simulate(n, rng.uniform(50, 100, n), rng, AS_OF)
    model = DynamicCovariateModel(**known).fit(drawn)
    assert model.converged_
    assert np.abs(errors(model, truth)).max() < 3.3, errors(model, truth)


# ---- real data


def test_apparel_has_a_season():
    folder = shared_data("apparel")
    orders = pd.read_csv(folder / "clvtools_apparelTrans.csv", dtype={"Id": str}, parse_dates=["Date"])
    orders = orders.set_axis(["customer_id", "date", "amount"], axis=1)
    orders = orders.groupby(["customer_id", "date"], as_index=False)["amount"].sum()
    split = pd.Timestamp("2006-12-31")
    summary = conftest.customer_summary(orders, split)
    start = pd.date_range("2005-01-01", "2011-01-01", freq="MS")
    seasons = pd.DataFrame({"start": start, "holiday": (start.month >= 10).astype(int)})
    started = time.process_time()
    model = DynamicCovariateModel(BetaGeoModel, seasons).fit(summary, orders.rename(columns={"date": "ordered_at"}))
    spent = time.process_time() - started
    assert spent < 5  # CLVTools: 655 s for these 600 customers
    assert model.converged_
    plain = BetaGeoModel().fit(summary)
    ratio = 2 * (model.log_likelihood_ - plain.log_likelihood_)
    assert stats.chi2.sf(ratio, 1) < 1e-3
    # the season shows in the counts themselves: purchases per day, holiday against the rest, of the year 2006
    repeat = orders[(orders["date"] > "2005-12-31") & (orders["date"] <= split)]["date"]
    share = (repeat.dt.month >= 10).sum() / 92 / ((repeat.dt.month < 10).sum() / 273)
    assert (model.params_["purchase:holiday"] > 1) == (share > 1)
    model.expected_purchases(summary, 52, 0.9)


# ---- habits


def test_saved_cloned_and_sent_on(shop, tmp_path):
    frame, _, _, summary = shop
    model = DynamicCovariateModel("ModifiedBetaGeoModel", frame, LAST, RAW)
    assert model.fit(summary) is model
    model.to_json(tmp_path / "model.json")
    other = clv.load(tmp_path / "model.json")
    pd.testing.assert_frame_equal(other.summary(), model.summary())
    pd.testing.assert_frame_equal(
        other.expected_purchases(summary, 26, 0.9), model.expected_purchases(summary, 26, 0.9)
    )
    assert other.expected_purchases_new(20.0) == model.expected_purchases_new(20.0)
    clone = type(model)(**copy.deepcopy(model.get_params()))
    assert repr(clone) == "<DynamicCovariateModel(ModifiedBetaGeoModel(), holiday, streams)>"
    assert not [name for name in vars(clone) if name.endswith("_")]
    shuffled = summary.sample(frac=1, random_state=1)
    shuffled.attrs = summary.attrs
    pd.testing.assert_series_equal(clone.fit(shuffled).params_, model.params_, rtol=1e-9)
    days = summary.assign(recency=summary["recency"] * 7, T=summary["T"] * 7)
    days.attrs["clvlib"] = summary.attrs["clvlib"] | {"unit": "D"}
    np.testing.assert_allclose(
        clone.fit(days).expected_purchases(days, 70), model.expected_purchases(summary, 10), 1e-6
    )
    with pytest.raises(UnitMismatchError):
        model.expected_purchases(days, 10)


def test_what_cannot_be_is_refused(shop):
    frame, _, _, summary = shop
    fit = DynamicCovariateModel(BetaGeoModel, frame, LAST).fit
    with pytest.raises(MissingColumnError, match="fit\\(summary, orders\\)"):
        fit(summary.drop(columns="purchase:holiday"))
    for attrs in ({"unit": "W"}, {"unit": "W", "as_of": str(AS_OF), "collapse": "W"}):
        bare = summary.copy()
        bare.attrs["clvlib"] = attrs
        with pytest.raises(ParameterError, match="as_of"):
            fit(bare)
    with pytest.raises(DataError, match="other repeat purchases than the summary"):
        fit(summary, pd.DataFrame({"customer_id": ["0"], "ordered_at": ["2024-02-02"]}))
    with pytest.raises(ParameterError, match="do not leave by the clock"):
        DynamicCovariateModel(ParetoNBDModel, frame).fit(summary)
    with pytest.raises(ParameterError, match="history of a customer reaches"):
        DynamicCovariateModel(BetaGeoModel, frame.iloc[20:], LAST).fit(summary)
    for broken, word in (
        (frame.drop(columns="start"), "column start"),
        (frame[["start"]], "at least one"),
        (frame.iloc[:1], "say until"),
        (pd.concat([frame, frame]), "same day"),
        (frame.assign(start=frame["start"].where(frame.index > 0)), "no day"),
    ):
        with pytest.raises((ParameterError, DataError, MissingColumnError), match=word):
            DynamicCovariateModel(BetaGeoModel, broken).fit(summary)
    with pytest.raises(ParameterError, match="until lies before"):
        DynamicCovariateModel(BetaGeoModel, frame, "2020-01-01").fit(summary)
