"""Estimates and predictions against those of lifetimes, on CDNOW and the donations.

Its optimisers stop within a few parts in a million of the maximum, so estimates are compared at 1e-5 and, at equal
parameters, predictions at 1e-9 (Pareto/NBD: 1e-7, the accuracy of its 2F1).
"""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

import clvlib.compat.lifetimes as ours
from clvlib.errors import ConvergenceWarning, ParameterError, ThinDataWarning
from tests.compat.conftest import quietly

HISTORIES = ["BetaGeoFitter", "ModifiedBetaGeoFitter", "ParetoNBDFitter"]
EVERY = [*HISTORIES, "GammaGammaFitter", "BetaGeoBetaBinomFitter"]
GIVEN = {
    "BetaGeoFitter": {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426},
    "ModifiedBetaGeoFitter": {"r": 0.525, "alpha": 6.183, "a": 0.891, "b": 1.614},
    "ParetoNBDFitter": {"r": 0.553, "alpha": 10.578, "s": 0.606, "beta": 11.669},
    "GammaGammaFitter": {"p": 6.25, "q": 3.74, "v": 15.44},
    "BetaGeoBetaBinomFitter": {"alpha": 1.204, "beta": 0.750, "gamma": 0.657, "delta": 2.783},
}


def vectors(name, customers, donors):
    """Return what the fitter of that name is fitted to."""
    if name == "BetaGeoBetaBinomFitter":
        return [donors[column] for column in ("frequency", "recency", "periods", "weights")]
    if name == "GammaGammaFitter":
        buyers = customers[customers["frequency"] > 0]
        return [buyers["frequency"], buyers["monetary_value"]]
    return [customers[column] for column in ("frequency", "recency", "T")]


def pair(theirs, name, **arguments):
    """Return both packages' fitters with the same given parameters."""
    both = getattr(theirs.top, name)(**arguments), getattr(ours, name)(**arguments)
    for fitter in both:
        fitter.params_ = pd.Series(GIVEN[name])
    return both


@pytest.mark.parametrize("penalizer", [0.0, 0.01])
@pytest.mark.parametrize("name", EVERY)
def test_estimates_equal_those_of_lifetimes(theirs, customers, donors, name, penalizer):
    data = vectors(name, customers, donors)
    stricter = {"tol": 1e-9} if name == "ParetoNBDFitter" else {}
    reference = quietly(getattr(theirs.top, name)(penalizer_coef=penalizer).fit, *data, **stricter)
    fitter = getattr(ours, name)(penalizer_coef=penalizer)
    assert fitter.fit(*data) is fitter
    assert list(fitter.params_.index) == list(reference.params_.index)
    np.testing.assert_allclose(fitter.params_, reference.params_, rtol=1e-5)
    # ours is the lower, or the same: a maximum is a maximum
    assert fitter._negative_log_likelihood_ <= reference._negative_log_likelihood_ * (1 + 1e-12)
    assert fitter._negative_log_likelihood_ == pytest.approx(reference._negative_log_likelihood_, rel=1e-9)
    assert repr(fitter) == repr(reference)
    pd.testing.assert_frame_equal(fitter.data, reference.data, check_dtype=False)
    if name != "ParetoNBDFitter":  # lifetimes has no errors there
        pd.testing.assert_frame_equal(fitter.summary, reference.summary, rtol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_weights_are_repeated_customers(customers, donors, name):
    columns = vectors(name, customers, donors)
    if name == "BetaGeoBetaBinomFitter":
        weighted = getattr(ours, name)().fit(*columns)
        repeated = getattr(ours, name)().fit(*(column.repeat(columns[3]) for column in columns[:3]))
    else:
        repeated = getattr(ours, name)().fit(*columns)
        cells = pd.DataFrame(dict(enumerate(columns))).value_counts().reset_index(name="n")
        weighted = getattr(ours, name)().fit(*(cells[i] for i in range(len(columns))), weights=cells["n"])
        assert (cells["n"] > 1).any()
    np.testing.assert_allclose(weighted.params_, repeated.params_, rtol=1e-8)
    np.testing.assert_allclose(weighted.standard_errors_, repeated.standard_errors_, rtol=1e-6)
    penalised = [getattr(ours, name)(penalizer_coef=0.01) for _ in range(2)]
    penalised[0].fit(*columns)
    doubled = [pd.concat([column, column]) for column in columns]
    penalised[1].fit(*doubled)
    same = np.allclose(penalised[0].params_, penalised[1].params_, rtol=1e-6)
    assert same == (name != "ParetoNBDFitter")  # a penalty on the mean does not care how many customers there are


@pytest.mark.parametrize("name", HISTORIES)
def test_predictions_equal_those_of_lifetimes_in_value_and_kind(theirs, customers, name):
    reference, fitter = pair(theirs, name)
    head = customers.head(300)
    series = [head[column] for column in ("frequency", "recency", "T")]
    methods = {
        "conditional_probability_alive": series,
        "conditional_expected_number_of_purchases_up_to_time": [39, *series],
        "expected_number_of_purchases_up_to_time": [pd.Series([0.0, 1, 39, 200])],
    }
    for method, inputs in methods.items():
        numbers = [float(value.iloc[-1]) if isinstance(value, pd.Series) else value for value in inputs]
        for given in (inputs, [np.asarray(value, dtype=float) for value in inputs], numbers):
            expected = quietly(getattr(reference, method), *given)
            found = getattr(fitter, method)(*given)
            assert type(found) is type(expected)
            assert np.shape(found) == np.shape(expected)
            rtol = 1e-7 if name == "ParetoNBDFitter" else 1e-9
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)
            if isinstance(found, pd.Series):
                pd.testing.assert_index_equal(found.index, expected.index)
    matrices = [quietly(f.conditional_probability_alive_matrix, 9, 30) for f in (reference, fitter)]
    np.testing.assert_allclose(matrices[1], matrices[0], rtol=1e-7)


@pytest.mark.parametrize("name", ["BetaGeoFitter", "ModifiedBetaGeoFitter"])
def test_chances_of_n_purchases_equal_those_of_lifetimes(theirs, name):
    reference, fitter = pair(theirs, name)
    for n in (0, 1, 2, 7):
        expected = quietly(reference.probability_of_n_purchases_up_to_time, 39, n)
        assert fitter.probability_of_n_purchases_up_to_time(39, n) == pytest.approx(expected, rel=1e-8)
    chances = fitter.probability_of_n_purchases_up_to_time(39, np.arange(400))
    assert chances.sum() == pytest.approx(1, abs=1e-6)


def test_conditional_chances_of_pareto_nbd_equal_those_of_lifetimes(theirs):
    reference, fitter = pair(theirs, "ParetoNBDFitter")
    for n in (0, 1, 3):
        expected = quietly(reference.conditional_probability_of_n_purchases_up_to_time, n, 10, 4, 20.0, 38.86)
        found = fitter.conditional_probability_of_n_purchases_up_to_time(n, 10, 4, 20.0, 38.86)
        assert found == pytest.approx(expected, rel=1e-6)
    # where lifetimes is NaN: 40-digit mpmath gives 6.20605 and 6.25287
    far = fitter.conditional_expected_number_of_purchases_up_to_time(10, np.array([132, 133]), 200, 200)
    assert np.isfinite(far).all()


def test_bg_bb_predictions_equal_those_of_lifetimes(theirs, donors):
    reference, fitter = pair(theirs, "BetaGeoBetaBinomFitter")
    history = [donors[column] for column in ("frequency", "recency", "periods")]
    for m in (0, 1, 5):
        for method in ("conditional_probability_alive", "conditional_expected_number_of_purchases_up_to_time"):
            expected = quietly(getattr(reference, method), m, *history)
            pd.testing.assert_series_equal(getattr(fitter, method)(m, *history), expected, rtol=1e-9, atol=1e-12)
    data = donors.set_axis(["frequency", "recency", "n_periods", "weights"], axis=1)
    reference.data = fitter.data = data
    for n in (3, 6, 8):
        expected = quietly(reference.expected_number_of_transactions_in_first_n_periods, n)
        found = fitter.expected_number_of_transactions_in_first_n_periods(n)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


def test_spend_and_value_equal_those_of_lifetimes(theirs, customers):
    spend = pair(theirs, "GammaGammaFitter")
    buys = pair(theirs, "BetaGeoFitter")
    columns = [customers[column] for column in ("frequency", "recency", "T", "monetary_value")]
    x, m = columns[0], columns[3]
    expected, found = (quietly(f.conditional_expected_average_profit, x, m) for f in spend)
    pd.testing.assert_series_equal(found, expected, rtol=1e-12)
    for fitter in buys:
        fitter.predict = fitter.conditional_expected_number_of_purchases_up_to_time
    for settings in ({}, {"freq": "W", "time": 3, "discount_rate": 0.1}, {"freq": "M"}, {"freq": "H", "time": 1}):
        expected, found = (
            quietly(s.customer_lifetime_value, b, *columns, **settings) for s, b in zip(spend, buys, strict=True)
        )
        pd.testing.assert_series_equal(found, expected, rtol=1e-8)
    with pytest.raises(ParameterError, match="freq is one of"):
        spend[1].customer_lifetime_value(buys[1], *columns, freq="Q")


def test_q_constraint_keeps_a_heavy_tail_in_hand():
    rng = np.random.default_rng(0)
    x, nu = rng.integers(1, 9, 3000), rng.gamma(0.8, 1 / 20, 3000)  # q = 0.8: no mean exists
    m = rng.gamma(6.0 * x) / (nu * x)
    free, kept = ours.GammaGammaFitter().fit(x, m), ours.GammaGammaFitter().fit(x, m, q_constraint=True)
    assert free.params_["q"] == pytest.approx(0.8, abs=0.05)
    assert kept.params_["q"] == pytest.approx(1.0, abs=1e-6)
    for fitter in (free, kept):
        with pytest.warns(ThinDataWarning, match="stands in"):
            newcomer = fitter.conditional_expected_average_profit(0, 0)
        assert newcomer == pytest.approx(m.mean())


def test_inputs_that_no_customer_can_have_are_refused(customers):
    columns = [customers[column].head(5) for column in ("frequency", "recency", "T")]
    with pytest.raises(ValueError, match="recency"):
        ours.BetaGeoFitter().fit(columns[0], columns[2] + 1, columns[2])
    with pytest.raises(ValueError, match="whole numbers"):
        ours.ParetoNBDFitter().fit(columns[0] + 0.5, columns[1], columns[2])
    with pytest.raises(ValueError, match="no customer"):
        ours.ModifiedBetaGeoFitter().fit([], [], [])
    with pytest.raises(ValueError, match="above 0"):
        ours.GammaGammaFitter().fit([1, 2], [10.0, 0.0])
    with pytest.raises(ValueError, match="call fit"):
        ours.BetaGeoFitter().conditional_probability_alive(1, 2, 3)


def test_a_border_warns_instead_of_failing():
    recency = np.zeros(50)
    with pytest.warns(ConvergenceWarning, match="hardly anybody buys again"):
        ours.BetaGeoFitter().fit(recency, recency, recency + 30)


def test_series_are_matched_by_their_index_and_gaps_stay_gaps():
    fitter = ours.BetaGeoFitter()
    fitter.params_ = pd.Series(GIVEN["BetaGeoFitter"])
    x, t_x, T = (pd.Series(values, index=["a", "b"]) for values in ([2.0, np.nan], [3.0, 4.0], [9.0, 9.0]))
    found = fitter.conditional_expected_number_of_purchases_up_to_time(5, x, t_x[::-1], T)
    assert found["a"] == fitter.conditional_expected_number_of_purchases_up_to_time(5, 2, 3, 9)
    assert np.isnan(found["b"])


@pytest.mark.parametrize("name", EVERY)
def test_saved_fitters_come_back_as_they_were(tmp_path, customers, donors, name):
    data = vectors(name, customers, donors)
    fitter = getattr(ours, name)(penalizer_coef=0.001).fit(*data, index=[f"c{i}" for i in range(len(data[0]))])
    fitter.save_model(tmp_path / "all.json")
    fitter.save_model(tmp_path / "bare.json", save_data=False, save_generate_data_method=False)
    again, bare = getattr(ours, name)(), getattr(ours, name)()
    again.load_model(tmp_path / "all.json")
    bare.load_model(tmp_path / "bare.json")
    for kept in (again, bare, pickle.loads(pickle.dumps(fitter)), copy.deepcopy(fitter)):  # noqa: S301 - our own
        assert kept.params_.equals(fitter.params_)
        assert kept.penalizer_coef == 0.001
        assert kept._negative_log_likelihood_ == fitter._negative_log_likelihood_
        pd.testing.assert_frame_equal(kept.summary, fitter.summary)
    pd.testing.assert_frame_equal(again.data, fitter.data)
    assert repr(again) == repr(fitter)
    assert bare.data is None
    assert bare.generate_new_data is None
    if name in HISTORIES:
        assert again._scale == fitter._scale
        assert again.predict(5, 1, 2, 9) == bare.predict(5, 1, 2, 9) == fitter.predict(5, 1, 2, 9)
    if name != "GammaGammaFitter":
        assert len(again.generate_new_data(size=7)) == 7
    with pytest.raises(ParameterError, match="not a BaseFitter"):
        ours.BaseFitter().load_model(tmp_path / "all.json")


def test_files_of_lifetimes_itself_are_refused_unread(tmp_path):
    (tmp_path / "theirs.pkl").write_bytes(pickle.dumps({"params_": 1}))
    (tmp_path / "other.json").write_text(json.dumps([1, 2]))
    for name in ("theirs.pkl", "other.json"):
        with pytest.raises(ParameterError, match="not a file that save_model"):
            ours.BetaGeoFitter().load_model(tmp_path / name)


def test_the_engine_behind_a_fitter_gives_what_lifetimes_has_not(customers):
    fitter = ours.BetaGeoFitter().fit(*(customers[column] for column in ("frequency", "recency", "T")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fitter.engine().expected_purchases(customers, horizon=39, interval=0.9, uncertainty="customer")
    expected = fitter.predict(39, *(customers[column] for column in ("frequency", "recency", "T")))
    pd.testing.assert_series_equal(found["mean"], expected, check_names=False)
    assert (found["lower"] <= found["upper"]).all()
