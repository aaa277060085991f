"""BG/CNBD-k and MBG/CNBD-k against BG/NBD and MBG/NBD, mpmath, simulation, and a shop whose customers buy regularly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.beta_geo_cnbd_k import BetaGeoCNBDkModel, ModifiedBetaGeoCNBDkModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.errors import DataError, ParameterError
from tests.clv import oracles
from tests.conftest import shared_data

LETTERS = ("r", "alpha", "a", "b")
PARAMETERS = [
    (0.243, 4.41, 0.793, 2.43),
    (0.05, 0.2, 0.05, 0.3),
    (1.5, 300.0, 1.00001, 30.0),
    (40.0, 900.0, 25.0, 700.0),
]
MODELS = [(BetaGeoCNBDkModel, 0), (ModifiedBetaGeoCNBDkModel, 1)]
HISTORIES = [(0, 0.0, 30.0), (1, 5.0, 30.0), (7, 28.0, 30.0), (40, 39.0, 39.0), (3, 2000.0, 9000.0)]


def frame(histories, litt=None) -> pd.DataFrame:
    table = pd.DataFrame(histories, columns=["frequency", "recency", "T"])
    return table if litt is None else table.assign(litt=litt)


def given(cls, p, k):
    return cls.with_parameters(dict(zip(LETTERS, p, strict=True)), k=k)


def grocery(end: str) -> pd.DataFrame:
    """Days with a purchase to the summary, in weeks, by hand."""
    raw = pd.read_csv(shared_data("grocery") / "groceryElog.csv", parse_dates=["date"])
    seen = raw[raw["date"] <= end].drop_duplicates().sort_values(["cust", "date"])
    days = seen.groupby("cust")["date"]
    first, last = days.min(), days.max()
    table = pd.DataFrame(
        {
            "frequency": days.size() - 1,
            "recency": (last - first).dt.days / 7,
            "T": (pd.Timestamp(end) - first).dt.days / 7,
            "litt": np.log(days.diff().dt.days / 7).groupby(seen["cust"]).sum(),
        }
    )
    table.attrs["clvlib"] = {"unit": "W"}
    return table


def regular(cls, k, n, seed, r=1.2, alpha=1.5, a=0.9, b=2.5) -> pd.DataFrame:
    """Customers whose gamma-distributed waits are drawn one by one, with litt."""
    rng = np.random.default_rng(seed)
    T = rng.uniform(15, 60, n)
    rate, leaves = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n)
    waits = rng.gamma(k, 1 / rate, (400, n))
    times = np.cumsum(waits, axis=0)
    tenure = rng.geometric(np.maximum(leaves, 1e-12)) - (cls is ModifiedBetaGeoCNBDkModel)
    seen = (times <= T) & (np.arange(1, 401)[:, None] <= tenure)
    table = frame(np.column_stack([seen.sum(axis=0), np.where(seen, times, 0).max(axis=0), T]))
    return table.assign(litt=np.where(seen, np.log(waits), 0).sum(axis=0))


@pytest.mark.parametrize(
    ("cls", "plain"), [(BetaGeoCNBDkModel, BetaGeoModel), (ModifiedBetaGeoCNBDkModel, ModifiedBetaGeoModel)]
)
def test_k_1_is_the_plain_model(cls, plain, cdnow):
    ours, theirs = cls(k=1).fit(cdnow), plain().fit(cdnow)
    pd.testing.assert_series_equal(ours.params_, theirs.params_, rtol=1e-7)
    assert ours.log_likelihood_ == pytest.approx(theirs.log_likelihood_, rel=1e-12)
    p = theirs.params_
    ours = cls.with_parameters(p, k=1, unit="W")
    pd.testing.assert_series_equal(ours.probability_alive(cdnow), theirs.probability_alive(cdnow))
    pd.testing.assert_series_equal(ours.expected_purchases(cdnow, 39), theirs.expected_purchases(cdnow, 39))
    pd.testing.assert_series_equal(ours.count_probability(cdnow, 39, 2), theirs.count_probability(cdnow, 39, 2))


@pytest.mark.parametrize(("cls", "at_start"), MODELS)
@pytest.mark.parametrize("k", [2, 5, 12])
def test_likelihood_and_alive_agree_with_mpmath(cls, at_start, k):
    for p in PARAMETERS:
        litt = [x * np.log(0.8 * t_x / x) if x else 0.0 for x, t_x, _ in HISTORIES]
        cases = [(*case, s) for case, s in zip(HISTORIES, litt, strict=True)]
        truth = [oracles.cnbd_log_likelihood(k, *p, *case, at_start) for case in cases]
        values = given(cls, p, k).log_likelihood(frame(HISTORIES, litt))
        np.testing.assert_allclose(values, np.array(truth, dtype=float), rtol=1e-9, atol=1e-9)
        truth = [oracles.cnbd_alive(k, *p, *case, at_start) for case in HISTORIES]
        alive = given(cls, p, k).probability_alive(frame(HISTORIES))
        np.testing.assert_allclose(alive, np.array(truth, dtype=float), rtol=1e-9, atol=1e-300)
    case = (k, 2.0, 3.0, 0.8, 2.5, 7, 28.0, 30.0, 8.0, at_start)
    book = float(oracles.cnbd_log_likelihood(*case))
    assert float(oracles.cnbd_log_likelihood_by_rate(*case)) == pytest.approx(book, rel=1e-12)


@pytest.mark.parametrize(("cls", "at_start"), MODELS)
@pytest.mark.parametrize("k", [2, 12])
def test_predictions_agree_with_mpmath(cls, at_start, k):
    for p in PARAMETERS[:: 1 if k == 2 else 2]:
        model = given(cls, p, k)
        for horizon in (0.1, 39.0):
            truth = [oracles.cnbd_expected(k, *p, *case, horizon, at_start) for case in HISTORIES]
            values = model.expected_purchases(frame(HISTORIES), horizon)
            np.testing.assert_allclose(values, np.array(truth, dtype=float), rtol=1e-7, atol=1e-250)
        tails = [[oracles.cnbd_tail(k, *p, *case, 26.0, n, at_start) for case in HISTORIES] for n in (3, 4)]
        values = model.count_probability(frame(HISTORIES), 26.0, 3)
        np.testing.assert_allclose(values, np.array(np.subtract(*tails), dtype=float), rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize("cls", [BetaGeoCNBDkModel, ModifiedBetaGeoCNBDkModel])
@pytest.mark.parametrize("k", [1, 3])
def test_k_is_found_and_the_parameters_with_it(cls, k):
    """From waits drawn one by one: with litt, and without it where frequency and recency alone speak."""
    table = regular(cls, k, 20_000, seed=4)
    model = cls().fit(table)
    assert model.k_ == k
    errors = (np.log(model.params_) - np.log([1.2, 1.5, 0.9, 2.5])) / np.sqrt(np.diag(model._log_covariance))
    assert errors.abs().max() < 3.3
    alone = cls().fit(table.drop(columns="litt"))
    assert alone.k_ == k
    np.testing.assert_allclose(alone.params_, model.params_, rtol=1e-6)
    both = [model.log_likelihood(table).sum(), alone.log_likelihood(table.drop(columns="litt")).sum()]
    np.testing.assert_allclose([model.log_likelihood_, alone.log_likelihood_], both, rtol=1e-12)


def test_many_histories_choose_k_on_a_part():
    model = BetaGeoCNBDkModel().fit(regular(BetaGeoCNBDkModel, 2, 30_000, seed=5))
    assert model.k_ == 2
    assert model.k_log_likelihoods_ == []


def test_grocery():
    """Customers of a grocer buy as by Erlang-2 (BTYDplus says so of these data); that forecasts 2007 better."""
    past, whole = grocery("2006-12-31"), grocery("2007-12-30")
    actual = whole["frequency"].loc[past.index] - past["frequency"]
    errors = {}
    for cls in (BetaGeoCNBDkModel, ModifiedBetaGeoCNBDkModel):
        model, plain = cls().fit(past), cls(k=1).fit(past)
        assert model.k_ == 2
        assert model.converged_
        for fitted in (model, plain):
            errors[fitted] = (fitted.expected_purchases(past, 52) - actual).abs().mean()
        assert errors[model] < errors[plain] - 0.1
        assert abs(model.expected_purchases(past, 52).sum() - actual.sum()) < abs(
            plain.expected_purchases(past, 52).sum() - actual.sum()
        )


def test_litt_is_checked():
    table = frame([(2, 10.0, 20.0), (0, 0.0, 5.0)], [2 * np.log(4.0), 0.0])
    given(BetaGeoCNBDkModel, PARAMETERS[0], 2).log_likelihood(table)
    for litt in ([2 * np.log(40.0), 0.0], [0.0, 1.0], [np.nan, 0.0]):
        with pytest.raises(DataError, match="litt"):
            BetaGeoCNBDkModel().fit(table.assign(litt=litt))
    with pytest.raises(DataError, match="not numeric"):
        BetaGeoCNBDkModel().fit(table.assign(litt="x"))


@pytest.mark.parametrize("k", [0, 1.5, 41, "2", True])
def test_an_impossible_k_is_refused(k):
    with pytest.raises(ParameterError, match="whole number from 1 to 40"):
        BetaGeoCNBDkModel(k=k).fit(frame([(2, 10.0, 20.0)]))
    with pytest.raises(ParameterError, match="whole number from 1 to 40"):
        given(BetaGeoCNBDkModel, PARAMETERS[0], k)
