"""What every model promises, whatever its formulas: one battery over all of them."""

from __future__ import annotations

import copy
import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.clv.models.base import load
from clvlib.clv.models.beta_discrete_weibull import BetaDiscreteWeibullModel
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.beta_geo_beta_binom import BetaGeoBetaBinomModel
from clvlib.clv.models.beta_geo_cnbd_k import BetaGeoCNBDkModel, ModifiedBetaGeoCNBDkModel
from clvlib.clv.models.correlated_pareto_nbd import CorrelatedParetoNBDModel
from clvlib.clv.models.dependent_gamma_gamma import DependentGammaGammaModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.gamma_gompertz_nbd import GammaGompertzNBDModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_ggg import ParetoGGGModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.models.shifted_beta_geo import ShiftedBetaGeoModel
from clvlib.errors import (
    ClvError,
    ConvergenceWarning,
    DataError,
    EmptyDataError,
    MissingColumnError,
    NotFittedError,
    ParameterError,
    UnitMismatchError,
)

TRUTH = {
    BetaGeoModel: {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5},
    ModifiedBetaGeoModel: {"r": 0.8, "alpha": 6.0, "a": 0.9, "b": 2.0},
    ParetoNBDModel: {"r": 0.8, "alpha": 6.0, "s": 0.9, "beta": 15.0},
    NBDModel: {"r": 0.6, "alpha": 8.0},
    GammaGompertzNBDModel: {"r": 1.5, "alpha": 4.0, "b": 0.15, "s": 0.8, "beta": 12.0},
    CorrelatedParetoNBDModel: {"r": 2.0, "alpha": 1.5, "s": 1.5, "beta": 25.0, "kappa": 2.0},
    ParetoGGGModel: {"r": 1.5, "alpha": 3.0, "s": 1.2, "beta": 25.0, "t": 6.0, "gamma": 2.0},
    BetaGeoCNBDkModel: {"r": 0.6, "alpha": 2.5, "a": 0.9, "b": 2.5},
    ModifiedBetaGeoCNBDkModel: {"r": 0.8, "alpha": 2.0, "a": 0.9, "b": 2.0},
}
ARGUMENTS = {BetaGeoCNBDkModel: {"k": 2}, ModifiedBetaGeoCNBDkModel: {"k": 3}}
PERIODIC = {
    BetaGeoBetaBinomModel: {"alpha": 1.2, "beta": 0.75, "gamma": 0.65, "delta": 2.8},
    ShiftedBetaGeoModel: {"alpha": 0.7, "beta": 1.2},
    BetaDiscreteWeibullModel: {"alpha": 0.6, "beta": 3.0, "c": 1.4},
}
SPEND = {
    GammaGammaModel: {"p": 6.0, "q": 4.0, "gamma": 15.0},
    DependentGammaGammaModel: {"p": 6.0, "q": 4.0, "gamma": 15.0, "d": 1.2},
}
PURCHASE_MODELS = list(TRUTH)
ALL_MODELS = [*TRUTH, *PERIODIC, *SPEND]
SLOW = {ParetoGGGModel: 0.1}  # of the customers that others get: it integrates where they have closed forms


def new(cls):
    return cls(**ARGUMENTS.get(cls, {}))


def given_parameters(cls, params, unit="W"):
    return cls.with_parameters(params, unit, **ARGUMENTS.get(cls, {}))


def customers(cls, n=1500, seed=1) -> pd.DataFrame:
    """Simulated customers on a grid of days, in weeks, with spend; members and donors by period."""
    rng, n = np.random.default_rng(seed), int(n * SLOW.get(cls, 1))
    if cls in PERIODIC:
        return given_parameters(cls, PERIODIC[cls]).simulate(n, rng.integers(5, 15, n), seed)
    truth = TRUTH.get(cls, TRUTH[BetaGeoModel])
    model = given_parameters(cls if cls in TRUTH else BetaGeoModel, truth)
    frame = model.simulate(n, rng.integers(100, 400, n) / 7, seed)
    if "litt" not in frame:
        frame["recency"] = np.floor(frame["recency"] * 7) / 7
    shape = rng.gamma(6.0 * np.maximum(frame["frequency"], 1))
    mean = shape / rng.gamma(4.0, 1 / 15.0, n) / np.maximum(frame["frequency"], 1)
    mean = mean * SPEND.get(cls, {}).get("d", 1.0) ** np.log2(np.maximum(frame["frequency"], 1))
    frame["monetary_value"] = np.where(frame["frequency"] > 0, mean, 0.0)
    return frame


@pytest.fixture(scope="module", params=ALL_MODELS, ids=lambda cls: cls.__name__)
def case(request):
    frame = customers(request.param)
    return request.param, frame, new(request.param).fit(frame)


def predictions(model, frame) -> pd.DataFrame:
    if isinstance(model, GammaGammaModel):
        return model.expected_spend(frame, 0.9)
    if isinstance(model, ShiftedBetaGeoModel):
        return model.probability_retained(frame, 3, 0.9)
    parts = {
        "alive": model.probability_alive(frame),
        "discounted": model.discounted_expected_purchases(frame, 0.003, 52),
    }
    return pd.concat([pd.DataFrame(parts), model.expected_purchases(frame, 26, interval=0.9)], axis=1)


def test_learned_attributes(case):
    cls, _, model = case
    names = list(cls._names)
    assert model.converged_
    assert list(model.params_.index) == list(model.standard_errors_.index) == list(model.covariance_.columns) == names
    np.testing.assert_allclose(np.diag(model.covariance_), model.standard_errors_**2)
    assert model.aic_ == pytest.approx(2 * len(names) - 2 * model.log_likelihood_)
    assert model.bic_ == pytest.approx(len(names) * np.log(model.n_customers_) - 2 * model.log_likelihood_)
    assert model.unit_ == "W"
    table = model.summary()
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()


def test_log_likelihood_is_that_of_the_customers(case):
    _, frame, model = case
    assert model.log_likelihood(frame).sum() == pytest.approx(model.log_likelihood_, rel=1e-12)


def test_derivatives_are_those_of_the_log_likelihood(case):
    cls, frame, model = case
    cells = model._usable(model._read(frame))
    at = model._p() * 1.1
    _, gradient, hessian = model._derivatives(at, cells)
    for i in range(len(at)):
        step = np.zeros_like(at)
        step[i] = 1e-5 * at[i]
        up, down = model._derivatives(at + step, cells), model._derivatives(at - step, cells)
        assert (up[0] - down[0]) / (2 * step[i]) == pytest.approx(gradient[i], rel=1e-5, abs=1e-3), cls._names[i]
        np.testing.assert_allclose((up[1] - down[1]) / (2 * step[i]), hessian[i], rtol=1e-4, atol=1e-2)


def test_row_order_does_not_matter(case):
    cls, frame, model = case
    shuffled = frame.sample(frac=1.0, random_state=7)
    other = new(cls).fit(shuffled)
    pd.testing.assert_series_equal(other.params_, model.params_, rtol=1e-9)
    pd.testing.assert_frame_equal(predictions(other, shuffled).loc[frame.index], predictions(model, frame), rtol=1e-7)


def test_weeks_and_days_give_the_same_predictions(case):
    cls, frame, model = case
    if cls not in TRUTH:
        pytest.skip("no continuous time")
    days = frame.assign(recency=frame["recency"] * 7, T=frame["T"] * 7)
    if "litt" in frame:
        days["litt"] += np.log(7) * days["frequency"]
    days.attrs["clvlib"] = {"unit": "D"}
    other = new(cls).fit(days)
    pd.testing.assert_series_equal(
        other.expected_purchases(days, 26 * 7), model.expected_purchases(frame, 26), rtol=1e-6
    )
    pd.testing.assert_series_equal(other.probability_alive(days), model.probability_alive(frame), rtol=1e-6)
    with pytest.raises(UnitMismatchError, match="'W'"):
        model.probability_alive(days)


def test_weights_equal_repeated_rows(case):
    cls, frame, _ = case
    few = frame.head(400)
    counts = np.random.default_rng(3).integers(1, 4, len(few))
    weighted = new(cls).fit(few.assign(n=counts))
    repeated = new(cls).fit(few.loc[few.index.repeat(counts)])
    pd.testing.assert_series_equal(weighted.params_, repeated.params_, rtol=1e-7)
    assert weighted.n_customers_ == repeated.n_customers_
    pd.testing.assert_series_equal(weighted.standard_errors_, repeated.standard_errors_, rtol=1e-6)


def test_refit_forgets_the_old_data(case):
    cls, frame, _ = case
    model = new(cls).fit(customers(cls, 300, seed=9))
    pd.testing.assert_series_equal(model.fit(frame).params_, new(cls).fit(frame).params_)


def test_json_round_trip(case, tmp_path):
    _, frame, model = case
    model.to_json(tmp_path / "model.json")
    other = load(tmp_path / "model.json")
    assert type(other) is type(model)
    pd.testing.assert_frame_equal(other.summary(), model.summary())
    pd.testing.assert_frame_equal(predictions(other, frame), predictions(model, frame))
    assert other.converged_ == model.converged_
    assert clv.load is load


def test_scikit_learns_habits(case):
    cls, frame, _ = case
    model = new(cls)
    assert set(model.get_params()) == set(inspect.signature(cls.__init__).parameters) - {"self", "args", "kwargs"}
    clone = cls(**copy.deepcopy(model.get_params()))
    assert repr(clone) == repr(model)
    assert clone.set_params(**model.get_params()) is clone
    with pytest.raises(ParameterError):
        model.set_params(nonsense=1)
    assert not [name for name in vars(model) if name.endswith("_") and not name.startswith("_")]
    with pytest.raises(NotFittedError):
        model.summary()
    assert model.fit(frame) is model


def test_bad_input_is_refused(case):
    cls, frame, model = case
    column = cls._columns[0]
    for broken in (frame.assign(**{column: np.nan}), frame.assign(**{column: -1.0}), frame.assign(**{column: np.inf})):
        with pytest.raises(DataError, match=column):
            new(cls).fit(broken)
    with pytest.raises(MissingColumnError, match=column):
        new(cls).fit(frame.drop(columns=column))
    with pytest.raises(EmptyDataError):
        new(cls).fit(frame.iloc[:0])
    with pytest.raises(ClvError):
        new(cls).fit(frame.to_numpy())
    with pytest.raises(DataError, match="not numeric"):
        new(cls).fit(frame.assign(**{column: "many"}))
    with pytest.raises(DataError, match=f"more than one column of the name {column}"):
        new(cls).fit(pd.concat([frame, frame[[column]]], axis=1))
    with pytest.raises(ParameterError):
        cls.with_parameters({"nonsense": 1.0})
    with pytest.raises(ParameterError):
        cls.with_parameters(dict(model.params_ * -1))


def test_parameters_are_recovered(case):
    cls, _, _ = case
    truth = list((TRUTH | PERIODIC | SPEND)[cls].values())
    model = new(cls).fit(customers(cls, 30000, seed=5))
    errors = (np.log(model.params_) - np.log(truth)) / np.sqrt(np.diag(model._log_covariance))
    assert np.abs(errors).max() < 3.3, errors


def test_a_prior_counts_as_its_density_says(case):
    """The slope of the log-likelihood and that of the prior cancel; figures of fit are those of the data."""
    cls, frame, plain = case
    few, names = frame.head(300), list(cls._names)
    prior = {names[0]: (2 * plain.params_.iloc[0], 0.2), names[-1]: (0.7 * plain.params_.iloc[-1], 0.1)}
    model = cls(**ARGUMENTS.get(cls, {}), prior=prior).fit(few)
    assert model.converged_
    cells = model._usable(model._read(few))
    slope = pd.Series(model._derivatives(model._p(), cells)[1] * model._p(), names)
    for name, (median, deviation) in prior.items():
        slope[name] -= np.log(model.params_[name] / median) / deviation**2
    np.testing.assert_allclose(slope / np.sqrt(len(few)), 0, atol=1e-4)
    assert model.log_likelihood_ == pytest.approx(model.log_likelihood(few).sum(), rel=1e-9)
    known = np.log(model.params_[names[-1]]), np.sqrt(model._log_covariance[-1, -1])
    assert known[1] < 0.1
    with pytest.raises(ParameterError, match="median"):
        cls(**ARGUMENTS.get(cls, {}), prior={"nonsense": (1.0, 1.0)}).fit(few)
    with pytest.raises(ParameterError, match="median"):
        cls(**ARGUMENTS.get(cls, {}), prior={names[0]: (1.0, 0.0)}).fit(few)


def test_a_million_rows_of_few_histories_cost_little(case):
    cls, frame, model = case
    many = frame.assign(n=1e4)
    assert new(cls).fit(many).params_.to_numpy() == pytest.approx(model.params_.to_numpy(), rel=1e-6)


# ---- purchase models


@pytest.fixture(scope="module", params=PURCHASE_MODELS, ids=lambda cls: cls.__name__)
def purchase(request):
    model = given_parameters(request.param, TRUTH[request.param])
    return model, customers(request.param, 300, seed=11)


def test_identities_of_counts(purchase):
    model, frame = purchase
    few = frame.iloc[::10]
    probabilities = np.stack([model.count_probability(few, 13, n) for n in range(200)])
    np.testing.assert_allclose(probabilities.sum(axis=0), 1.0, atol=1e-6)
    assert (probabilities >= 0).all()
    mean = (np.arange(200)[:, None] * probabilities).sum(axis=0)
    np.testing.assert_allclose(mean, model.expected_purchases(few, 13), rtol=1e-4)
    np.testing.assert_allclose(model.next_purchase_probability(few, 13), 1 - probabilities[0], atol=1e-12)
    new = [model.count_probability_new(13, n) for n in range(200)]
    assert np.arange(200) @ new == pytest.approx(model.expected_purchases_new(13), rel=1e-5)


def test_time_to_the_next_purchase(purchase):
    """Quantiles turn the distribution round, rise with the probability, and are infinite where it ends below."""
    model, frame = purchase
    few = frame.iloc[::10]
    waits = pd.DataFrame({q: model.next_purchase_quantile(few, q) for q in (0.05, 0.3, 0.7)})
    assert (waits > 0).all(axis=None)
    assert (waits.diff(axis=1).iloc[:, 1:].replace(np.inf, np.nan).dropna(how="all").min() > 0).all()
    assert np.isfinite(waits[0.05]).any()
    for q, wait in waits.items():
        for customer, span in wait.iloc[::5].items():
            reached = model.next_purchase_probability(few.loc[[customer]], min(span, 1e5)).iloc[0]
            assert (reached == pytest.approx(q, rel=1e-6)) if np.isfinite(span) else reached < q
    if isinstance(model, NBDModel):  # Lomax
        r, alpha = model.params_
        lomax = (alpha + few["T"]) * (0.7 ** (-1 / (r + few["frequency"])) - 1)
        np.testing.assert_allclose(waits[0.3], lomax, rtol=1e-9)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        model.next_purchase_quantile(few, 1.0)


def test_monotone_in_time_and_bounded(purchase):
    model, frame = purchase
    shares = model.probability_alive(frame)
    assert shares.between(0, 1).all()
    spans = [0.0, 1.0, 5.0, 26.0, 260.0]
    values = np.stack([model.expected_purchases(frame, h) for h in spans])
    assert (values[0] == 0).all()
    assert (np.diff(values, axis=0) >= -1e-12).all()
    discounted = model.discounted_expected_purchases(frame, 0.01, 26)
    assert (discounted <= model.expected_purchases(frame, 26) + 1e-9).all()
    assert (model.discounted_expected_purchases(frame, 0.01) >= discounted - 1e-9).all()


def test_silence_lowers_the_chance_to_be_alive(purchase):
    model, _ = purchase
    silence = pd.DataFrame({"frequency": 4, "recency": 20.0, "T": [20.0, 25.0, 30.0, 45.0, 90.0]})
    alive = model.probability_alive(silence)
    assert alive.is_monotonic_decreasing or (alive == 1).all()


def test_the_whole_span_is_its_parts(purchase):
    """E[X(T)] of new customers equals what simulation counts, and a second draw after T adds up too."""
    model, _ = purchase
    drawn = model.simulate(int(200_000 * SLOW.get(type(model), 10) / 10), 30.0, seed=3)
    error = drawn["frequency"].std() / np.sqrt(len(drawn))
    assert abs(drawn["frequency"].mean() - model.expected_purchases_new(30.0)) < 4 * error
    later = model.simulate_future(drawn, 30.0, seed=4)
    whole = drawn["frequency"].mean() + later.mean()
    assert abs(whole - model.expected_purchases_new(60.0)) < 4 * (drawn["frequency"] + later).std() / np.sqrt(
        len(drawn)
    )
    expected = model.expected_purchases(drawn, 30.0)
    assert abs((later - expected).mean()) < 4 * (later - expected).std() / np.sqrt(len(drawn))
    assert (drawn["recency"] <= drawn["T"]).all()


def test_intervals_of_parts_lie_inside_the_whole(purchase):
    model, frame = purchase
    fitted = new(type(model)).fit(customers(type(model)))
    both, known, own = (fitted.expected_purchases(frame, 26, 0.9, u) for u in ("both", "parameters", "customer"))
    for part in (known, own):
        assert (both["lower"] <= part["lower"] + 1e-9).all() or (both["lower"] == 0).any()
        assert (both["upper"] >= part["upper"] - 1e-9).all()
    for table in (both, known, own):
        assert (table["lower"] <= table["mean"] + 1e-12).all()
        assert (table["mean"] <= table["upper"] + 1e-12).all()
    total = fitted.total_purchases(frame, 26)
    assert total["mean"] == pytest.approx(both["mean"].sum())
    assert total["lower"] < total["mean"] < total["upper"]
    alive = fitted.probability_alive(frame, 0.9)
    assert (alive["lower"] <= alive["mean"] + 1e-12).all()
    assert (alive["upper"] <= 1).all()
    with pytest.raises(ParameterError, match="uncertainty"):
        model.expected_purchases(frame, 26, 0.9)
    with pytest.raises(ParameterError, match="uncertainty"):
        fitted.expected_purchases(frame, 26, 0.9, "nonsense")


@pytest.mark.parametrize("horizon", [-1.0, np.nan, np.inf, "26"])
def test_bad_spans_are_refused(purchase, horizon):
    model, frame = purchase
    with pytest.raises(ParameterError, match="horizon"):
        model.expected_purchases(frame, horizon)
    with pytest.raises(ParameterError, match="horizon"):
        model.simulate_future(frame, horizon, 1)
    with pytest.raises(ParameterError):
        model.expected_purchases_new(-1.0 if horizon == "26" else horizon)
    with pytest.raises(ParameterError):
        model.discounted_expected_purchases(frame, 0.0)


@pytest.mark.parametrize(
    ("n", "T", "says"),
    [
        (-1, 9.0, "n is a number of customers"),
        (2.5, 9.0, "n is a number of customers"),
        (3, [9.0, 9.0], "one for each of 3 customers; found 2"),
        (3, -9.0, "finite and not negative"),
        (3, [9.0, np.nan, 9.0], "finite and not negative"),
    ],
)
def test_nobody_can_be_drawn_so(purchase, n, T, says):
    with pytest.raises(ParameterError, match=says):
        purchase[0].simulate(n, T, 1)


HISTORY = st.tuples(
    st.one_of(st.integers(0, 3), st.integers(0, 60000)),
    st.floats(0, 1),
    st.one_of(st.floats(0, 100), st.floats(0, 40000)),
)
DECADES = st.floats(-9, 9)


@settings(max_examples=40, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(histories=st.lists(HISTORY, min_size=1, max_size=5), logs=st.lists(DECADES, min_size=6, max_size=6))
@pytest.mark.parametrize("cls", PURCHASE_MODELS)
def test_predictions_are_never_nan(cls, histories, logs):
    model = given_parameters(cls, dict(zip(cls._names, np.exp(logs), strict=False)))
    frame = pd.DataFrame([(x, s * T if x else 0.0, T) for x, s, T in histories], columns=["frequency", "recency", "T"])
    assert np.isfinite(model.log_likelihood(frame)).all()
    assert model.probability_alive(frame).between(0, 1).all()
    for horizon in (0.0, 1e-3, 52.0, 20000.0):
        expected = model.expected_purchases(frame, horizon)
        assert np.isfinite(expected).all()
        assert (expected >= 0).all()
    assert np.isfinite(model.discounted_expected_purchases(frame, 0.003)).all()
    limits = model.expected_purchases(frame, 52.0, 0.9, "customer")
    assert np.isfinite(limits.to_numpy()).all()
    assert (model.next_purchase_quantile(frame, 0.5) >= 0).all()


HARD = {
    "one customer": [(3, 10.0, 20.0)],
    "one one-time buyer": [(0, 0.0, 20.0)],
    "only one-time buyers": [(0, 0.0, float(t)) for t in range(1, 40)],
    "identical histories": [(2, 5.0, 20.0)] * 50,
    "all just bought": [(x, 20.0, 20.0) for x in range(1, 30)],
    "nobody leaves": [(x, 199.0 - (x % 3), 200.0) for x in range(20, 60)],
    "everybody left": [(1, 0.5, 300.0)] * 200,
    "enormous counts": [(50_000, 39.0, 39.0), (0, 0.0, 39.0), (1, 3.0, 39.0), (20_000, 30.0, 39.0)],
    "decades in days": [(x, 9000.0 * x / 12, 12000.0) for x in range(12)],
    "joined today": [(0, 0.0, 0.0)] * 10,
    "bought and joined today": [(1, 0.0, 0.0), (0, 0.0, 0.0), (2, 3.0, 9.0)],
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("cls", PURCHASE_MODELS)
def test_hard_data_end_in_figures_and_a_word(cls, name):
    frame = pd.DataFrame(HARD[name], columns=["frequency", "recency", "T"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = new(cls).fit(frame)
    assert model.converged_ == (not caught)
    assert all(issubclass(w.category, ConvergenceWarning) for w in caught), [str(w.message) for w in caught]
    assert np.isfinite(model.summary().to_numpy()).all()
    assert np.isfinite(model.log_likelihood_)
    table = model.expected_purchases(frame, 52, 0.9)
    assert np.isfinite(table.to_numpy()).all()
    assert model.probability_alive(frame).between(0, 1).all()
    assert np.isfinite(model.discounted_expected_purchases(frame, 0.003)).all()
    assert np.isfinite(model.total_purchases(frame, 52)).all()


def test_a_border_is_named():
    frame = pd.DataFrame(HARD["nobody leaves"], columns=["frequency", "recency", "T"])
    with pytest.warns(ConvergenceWarning, match="NBD"):
        BetaGeoModel().fit(frame)


@pytest.mark.parametrize(
    ("row", "word"),
    [((1, 21.0, 20.0), "later than T"), ((0, 3.0, 20.0), "no repeat purchase"), ((1.5, 3.0, 20.0), "whole numbers")],
)
def test_impossible_histories_are_refused(row, word):
    frame = pd.DataFrame([row], columns=["frequency", "recency", "T"], index=["c7"])
    with pytest.raises(DataError, match=f"{word}.*'c7'"):
        BetaGeoModel().fit(frame)


def test_a_file_of_another_kind_is_refused(tmp_path):
    for text in ("{}", "nonsense", '{"model": "os:system", "arguments": {}}', '{"model": 3}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ParameterError):
            load(tmp_path / "x.json")
