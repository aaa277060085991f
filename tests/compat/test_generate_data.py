"""Artificial customers by their distribution, against the models' closed forms and lifetimes' generators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.beta_geo_beta_binom import BetaGeoBetaBinomModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.compat.lifetimes import generate_data, utils
from clvlib.errors import ParameterError
from tests.compat.conftest import quietly

BG = {"r": 0.8, "alpha": 60.0, "a": 0.8, "b": 2.5}  # slow buyers, so that two purchases rarely share a unit of time
PARETO = {"r": 0.8, "alpha": 60.0, "s": 0.6, "beta": 90.0}
BB = {"alpha": 1.204, "beta": 0.750, "gamma": 0.657, "delta": 2.783}
CASES = [
    ("beta_geometric_nbd_model", BetaGeoModel, BG),
    ("modified_beta_geometric_nbd_model", ModifiedBetaGeoModel, BG),
    ("pareto_nbd_model", ParetoNBDModel, PARETO),
]


@pytest.mark.parametrize(("name", "model", "params"), CASES)
def test_counts_and_survival_follow_the_model(name, model, params):
    np.random.seed(1)  # noqa: NPY002 - what old notebooks call
    drawn = getattr(generate_data, name)(200.0, **params, size=20_000)
    exact = model.with_parameters(params)
    # 4 standard errors of a share of 20,000, and what sharing a unit of time takes away (the share of counts that are
    # reduced by 1 is below the mean number of pairs closer than a unit: about E[x²]/T)
    slack = 4 * np.sqrt(0.25 / 20_000) + (drawn["frequency"] ** 2).mean() / 200
    for n in range(4):
        assert (drawn["frequency"] == n).mean() == pytest.approx(exact.count_probability_new(200.0, n), abs=slack)
    alive = exact.probability_alive(drawn)  # calibrated: of those with 60% alive, 60% are
    groups = pd.cut(alive, [-0.01, 0.3, 0.6, 0.9, 1.0])
    table = drawn["alive"].groupby(groups, observed=True).agg(["mean", "size"])
    expected = alive.groupby(groups, observed=True).mean()
    error = 4 * np.sqrt(expected * (1 - expected) / table["size"]) + 0.02
    assert ((table["mean"] - expected).abs() < error).all()
    assert (drawn["recency"] <= drawn["T"]).all()
    assert ((drawn["recency"] > 0) == (drawn["frequency"] > 0)).all()


@pytest.mark.parametrize(("name", "model", "params"), CASES)
def test_customers_are_distributed_as_those_of_lifetimes(theirs, name, model, params):
    np.random.seed(2)  # noqa: NPY002
    fast = {**params, "alpha": 4.0}  # purchases share units of time, which both count once
    reference = quietly(getattr(theirs.generate_data, name), 30.0, **fast, size=1500)
    drawn = getattr(generate_data, name)(30.0, **fast, size=30_000)
    assert list(drawn.columns) == list(reference.columns)
    assert drawn.index.name == reference.index.name
    for column in ("frequency", "recency", "lambda"):
        assert stats.ks_2samp(drawn[column], reference[column]).pvalue > 1e-3
    assert drawn["alive"].mean() == pytest.approx(reference["alive"].mean(), abs=4 * np.sqrt(0.25 / 1500))


def test_bg_bb_follows_the_model_and_lifetimes(theirs):
    np.random.seed(3)  # noqa: NPY002
    drawn = generate_data.beta_geometric_beta_binom_model(6, **BB, size=40_000)
    reference = quietly(theirs.generate_data.beta_geometric_beta_binom_model, 6, **BB, size=50)
    assert list(drawn.columns) == list(reference.columns)
    exact = BetaGeoBetaBinomModel.with_parameters(BB)
    for n in range(7):
        expected = exact.count_probability_new(6, n)
        assert (drawn["frequency"] == n).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / 40_000))
    # Fader, Hardie & Shang 2010, table 6: P(alive at the next occasion)
    for (x, t_x), expected in {(0, 0): 0.11, (2, 4): 0.59, (6, 6): 0.93}.items():
        who = drawn[(drawn["frequency"] == x) & (drawn["recency"] == t_x)]
        assert who["alive"].mean() == pytest.approx(expected, abs=0.005 + 4 * np.sqrt(0.25 / len(who)))


def test_a_seed_decides_and_spans_are_one_per_customer():
    draws = []
    for _ in range(2):
        np.random.seed(7)  # noqa: NPY002
        draws.append(generate_data.pareto_nbd_model([30, 60, 90, 7], **PARETO, size=3))
    pd.testing.assert_frame_equal(*draws)
    assert draws[0]["T"].tolist() == [30, 60, 90]
    with pytest.raises(ParameterError, match="2 spans"):
        generate_data.pareto_nbd_model([30, 60], **PARETO, size=3)


@pytest.mark.parametrize("freq", ["D", "h", "H"])
def test_the_log_has_the_summary_of_the_same_seed(freq):
    params = {"r": 0.24, "alpha": 4.41, "a": 0.79, "b": 2.43}
    np.random.seed(4)  # noqa: NPY002
    log = generate_data.beta_geometric_nbd_model_transactional_data(100, **params, freq=freq, size=400)
    np.random.seed(4)  # noqa: NPY002
    expected = generate_data.beta_geometric_nbd_model(100, **params, size=400)
    found = utils.summary_data_from_transaction_data(
        log, "customer_id", "date", observation_period_end="2019-1-1", freq=freq
    )
    expected = expected.assign(recency=np.ceil(expected["recency"]))[["frequency", "recency", "T"]]
    pd.testing.assert_frame_equal(found, expected, check_index_type=False)
