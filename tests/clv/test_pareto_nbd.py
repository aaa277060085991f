"""Pareto/NBD and NBD against the papers and against mpmath."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pandas as pd
import pytest

from clvlib.clv import engine
from clvlib.clv.cells import Cells
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from tests.clv import oracles

LETTERS = ("r", "alpha", "s", "beta")
PUBLISHED = (0.5533, 10.578, 0.6061, 11.669)
BG = (0.242595, 4.413602, 0.792920, 2.425888)
PARAMETERS = [
    PUBLISHED,
    (0.05, 0.2, 0.05, 30.0),
    (3.0, 900.0, 1.0, 0.5),
    (40.0, 90.0, 8.0, 4000.0),
    (0.4, 25.0, 2.5, 1e-3),
]


def frame(histories) -> pd.DataFrame:
    return pd.DataFrame(histories, columns=["frequency", "recency", "T"])


def given(p) -> ParetoNBDModel:
    return ParetoNBDModel.with_parameters(dict(zip(LETTERS, p, strict=True)))


def test_cdnow(cdnow):
    model = ParetoNBDModel().fit(cdnow)
    assert model.converged_
    assert model.log_likelihood_ == pytest.approx(-9594.976, abs=5e-4)
    for letter, known, half in zip(LETTERS, PUBLISHED, (5e-5, 5e-4, 2e-4, 5e-4), strict=True):
        # s: the spreadsheet stopped 1e-5 nats short of the maximum, where s is .60624
        assert model.params_[letter] == pytest.approx(known, abs=half), letter
    assert given(PUBLISHED).log_likelihood(cdnow).sum() < model.log_likelihood_
    np.testing.assert_allclose(model.standard_errors_, [0.0476264, 0.8427222, 0.1872594, 6.2105448], rtol=2e-4)
    assert model.expected_purchases_new(52) == pytest.approx(1.473434, abs=5e-7)
    best = frame([(26, 216 / 7, 31.0)])
    assert model.expected_purchases(best, 52)[0] == pytest.approx(25.45647, rel=6e-5)
    assert model.probability_alive(best)[0] == pytest.approx(0.997874, abs=1e-6)


def test_cdnow_holdout_at_the_published_parameters(cdnow):
    expected = given(PUBLISHED).expected_purchases(cdnow.rename_axis("customer_id"), 39)
    assert expected.sum() == pytest.approx(1665.7, abs=0.05)
    assert (expected - cdnow["frequency_holdout"]).abs().mean() == pytest.approx(0.75455, abs=1e-5)


def test_where_lifetimes_gives_nan():
    # the parameters of lifetimes' own test of underflow
    model = given((0.55, 10.58, 0.61, 11.67))
    values = model.expected_purchases(frame([(x, 200.0, 200.0) for x in (132, 133, 200, 500)]), 10)
    np.testing.assert_allclose(values, [6.20605, 6.25287, 9.38984, 23.43598], atol=5e-6)


@pytest.mark.parametrize("p", PARAMETERS)
def test_log_likelihood_and_alive_agree_with_mpmath(p):
    cases = oracles.histories(counts=(0, 1, 9, 170, 60000), spans=(0.5, 39.0, 9000.0), shares=(0.02, 0.9, 1.0))
    truth = [float(oracles.pareto_log_likelihood(*p, *case)) for case in cases]
    np.testing.assert_allclose(given(p).log_likelihood(frame(cases)), truth, rtol=1e-9, atol=1e-9)
    truth = [float(1 / (1 + oracles.pareto_odds(*p, *case))) for case in cases]
    np.testing.assert_allclose(given(p).probability_alive(frame(cases)), truth, rtol=1e-7, atol=1e-300)


def test_the_oracle_itself_agrees_with_the_textbook():
    for p in PARAMETERS[:3]:
        for case in [(0, 0.0, 39.0), (1, 20.0, 39.0), (9, 31.0, 39.0)]:
            book = oracles.pareto_log_likelihood_textbook(*p, *case)
            assert float(oracles.pareto_log_likelihood(*p, *case)) == pytest.approx(float(book), rel=1e-12)


@pytest.mark.parametrize("p", PARAMETERS)
def test_expected_purchases_agree_with_mpmath(p):
    cases = oracles.histories(counts=(0, 2, 170), spans=(0.5, 39.0, 9000.0), shares=(0.9, 1.0))
    for horizon in (0.01, 39.0, 5000.0):
        truth = [float(oracles.pareto_expected(*p, *case, horizon)) for case in cases]
        np.testing.assert_allclose(given(p).expected_purchases(frame(cases), horizon), truth, rtol=1e-7, atol=1e-250)


@pytest.mark.parametrize("p", PARAMETERS)
def test_count_probabilities_agree_with_mpmath(p):
    for case in [(0, 0.0, 30.0), (12, 28.0, 30.0), (90, 30.0, 30.0)]:
        for n in (1, 2, 7, 60):
            truth = float(oracles.pareto_tail(*p, *case, 26.0, n))
            ours = given(p)._tail(np.array(p), oracle_cells(case), 26.0, np.array([float(n)]))[0]
            assert ours == pytest.approx(truth, rel=1e-7, abs=1e-12), (case, n)


def oracle_cells(case):
    return Cells.of(frequency=case[0], recency=case[1], T=case[2])


def test_customers_alike_and_times_alike_when_scaled():
    """Ten times the time unit: the same chances, densities smaller by 10 per purchase."""
    cases = oracles.histories(counts=(0, 3, 40), spans=(39.0,), shares=(0.5, 1.0))
    scaled = [(x, 10 * t, 10 * T) for x, t, T in cases]
    r, alpha, s, beta = PUBLISHED
    slow = given((r, 10 * alpha, s, 10 * beta))
    np.testing.assert_allclose(slow.probability_alive(frame(scaled)), given(PUBLISHED).probability_alive(frame(cases)))
    shift = np.array([case[0] for case in cases]) * np.log(10)
    np.testing.assert_allclose(
        slow.log_likelihood(frame(scaled)), given(PUBLISHED).log_likelihood(frame(cases)) - shift
    )


def test_lifetimes_and_we_agree(cdnow):
    few = cdnow.iloc[::4]
    ours, theirs = ParetoNBDModel().fit(few), engine.fit(ParetoNBDModel(), few, engine="lifetimes")
    assert ours.log_likelihood_ >= theirs.log_likelihood_ - 1e-7
    assert theirs.log_likelihood_ == pytest.approx(ours.log_likelihood_, rel=1e-7)


def test_nbd_cdnow(cdnow):
    model = NBDModel().fit(cdnow)
    assert model.log_likelihood_ == pytest.approx(-9763.6576, abs=5e-5)
    np.testing.assert_allclose(model.params_, [0.3847659, 12.0720137], rtol=2e-6)
    expected = model.expected_purchases(cdnow, 39)
    assert expected.sum() == pytest.approx(2929.8, abs=0.05)
    assert (expected - cdnow["frequency_holdout"]).abs().mean() == pytest.approx(1.04102, abs=5e-6)


def test_nbd_is_the_border_of_the_others(cdnow):
    """With dropout switched off both larger models have the NBD's likelihood."""
    nbd = NBDModel.with_parameters({"r": 0.4, "alpha": 12.0})
    pareto = given((0.4, 12.0, 1e-18, 1e3))
    np.testing.assert_allclose(pareto.log_likelihood(cdnow), nbd.log_likelihood(cdnow), rtol=1e-9)
    np.testing.assert_allclose(pareto.expected_purchases(cdnow, 39), nbd.expected_purchases(cdnow, 39), rtol=1e-9)


@pytest.mark.parametrize("p", PARAMETERS)
def test_discounted_purchases_agree_with_mpmath(p):
    cases = oracles.histories(counts=(0, 2, 170), spans=(0.5, 39.0, 9000.0), shares=(0.9,))
    for rate, horizon in [(0.0027, None), (0.0027, 52.0), (0.3, None)]:
        truth = [float(oracles.pareto_discounted(*p, *case, rate, horizon or mp.inf)) for case in cases]
        ours = given(p).discounted_expected_purchases(frame(cases), rate, horizon)
        np.testing.assert_allclose(ours, truth, rtol=1e-7, atol=1e-250)


@pytest.mark.parametrize("p", PARAMETERS)
def test_very_many_customers_are_each_foreseen_as_if_alone(p):
    rng = np.random.default_rng(1)
    T = 9000 * np.concatenate([[0.0, 1.0], rng.random(2000), 10 ** rng.uniform(-5, 0, 2000)])
    x = rng.integers(0, 3, len(T))
    many = frame({"frequency": x, "recency": 0.9 * T * (x > 0), "T": T})
    few = many.iloc[[0, 1, 2, 3, 2100, 2400, 4001]]
    for predict in (
        lambda who: given(p).probability_alive(who),
        lambda who: given(p).discounted_expected_purchases(who, 0.0027),
        lambda who: given(p).next_purchase_probability(who, 39.0),
        lambda who: given(p).expected_purchases(who, 39.0, 0.9, "customer")["upper"],
    ):
        alone = pd.concat([predict(few.loc[[i]]) for i in few.index])
        np.testing.assert_allclose(predict(many)[few.index], alone, rtol=1e-8, atol=1e-250)


def test_the_integral_over_leaving_has_the_points_that_it_needs():
    """At every steepness, and to the last of each group, against four times as many points."""
    rng = np.random.default_rng(2)
    model = ParetoNBDModel()
    x = np.floor(10 ** rng.uniform(0, 4.5, 20000)) - 1
    T = 10 ** rng.uniform(-1, 4, len(x))
    t_x = np.where(x > 0, T * (1 - 10 ** rng.uniform(-4, -0.001, len(x))), 0.0)
    cells = Cells.of(frequency=x, recency=t_x, T=T)
    for letters in (*PARAMETERS, (0.6, 0.4, 0.2, 3000.0)):
        p = np.array(letters)
        moderate = np.flatnonzero(model._depth(p, cells, T) < 16)
        with np.errstate(divide="ignore"):
            truth = model._leaving(p, cells.take(moderate), 100)[0]
        ours = model._odds(p, cells)[moderate]
        np.testing.assert_allclose(np.logaddexp(0, ours), np.logaddexp(0, truth), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("model", [ParetoNBDModel(), BetaGeoModel(), ModifiedBetaGeoModel(), NBDModel()])
def test_pooling_customers_without_a_repeat_purchase_changes_no_sum(model):
    """Times from thousandths to thousands, some few at 0: value, gradient and Hessian with and without."""
    rng = np.random.default_rng(3)
    T = np.concatenate([np.zeros(10), 10 ** rng.uniform(-3, 4, 60000), rng.uniform(20, 70, 60000)])
    x = rng.poisson(0.7, len(T)) * (T > 0)
    cells = Cells.of(frequency=x, recency=T * rng.random(len(T)) * (x > 0), T=T)
    pooled = cells.pooled()
    assert len(pooled) < 0.6 * len(cells)
    assert pooled.customers == pytest.approx(cells.customers, rel=1e-12)
    for p in [*PARAMETERS, (0.25, 4.4, 0.8, 2.4), (1.3, 1e-3, 20.0, 1.0)]:
        if isinstance(model, ModifiedBetaGeoModel) and p[0] > 2:
            continue  # singularities at T = α ((b/a)^(1/r) e^(iπ/r) − 1)
        parameters = np.array(p)[: len(model._names)]
        for ours, truth in zip(
            model._derivatives(parameters, pooled), model._derivatives(parameters, cells), strict=True
        ):
            np.testing.assert_allclose(ours, truth, rtol=1e-10, atol=1e-10 * np.abs(truth).max())
    whole = Cells.of(frequency=x, recency=0.0, T=np.ceil(T))
    assert whole.pooled() is whole


@pytest.mark.parametrize(
    ("cls", "known"), [(ParetoNBDModel, PUBLISHED), (BetaGeoModel, BG), (ModifiedBetaGeoModel, (12.0, 90.0, 0.9, 2.0))]
)
def test_very_many_customers_are_fitted_to_the_optimum_of_all(cls, known):
    """Parts lead there, pooled where it does no harm: the gradient over all customers, taken at once, is nothing."""
    truth = cls.with_parameters(dict(zip(cls._names, known, strict=True)))
    people = truth.simulate(60000, np.random.default_rng(5).uniform(2, 60, 60000), 6)
    model = cls().fit(people)
    p = model._p()
    value, gradient, hessian = model._derivatives(p, Cells.read(people, model._columns))
    assert model.log_likelihood_ == pytest.approx(value, rel=1e-12)
    assert gradient @ np.linalg.solve(-hessian, gradient) < 1e-7
    assert (np.abs(p - known) < 4 * model.standard_errors_).all()
