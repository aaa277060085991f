"""Quantiles and variances of coming spend that are looked up for very many customers, against sums over every count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from clvlib.clv import compound
from clvlib.clv.cells import Cells
from clvlib.clv.compound import Compound
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.beta_geo_cnbd_k import BetaGeoCNBDkModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.value import LifetimeValue

MODELS = [
    BetaGeoModel.with_parameters({"r": 0.2426, "alpha": 4.4136, "a": 0.7929, "b": 2.4259}, unit="W"),
    ModifiedBetaGeoModel.with_parameters({"r": 0.5248, "alpha": 6.183, "a": 0.891, "b": 1.614}, unit="W"),
    ParetoNBDModel.with_parameters({"r": 0.5533, "alpha": 10.578, "s": 0.6061, "beta": 11.669}, unit="W"),
    NBDModel.with_parameters({"r": 0.3848, "alpha": 12.072}, unit="W"),
]
MOST = 4000  # purchases that nobody exceeds
SHAPE, Q = 6.25, 3.74


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: type(model).__name__)
def held(request):
    """A model, 12,000 customers of it, and the chance of every count of some of them."""
    model, rng = request.param, np.random.default_rng(3)
    cells = model._read(model.simulate(12_000, rng.uniform(0, 104, 12_000), rng))
    common = np.flatnonzero(np.bincount(cells["frequency"].astype(int))[cells["frequency"].astype(int)] > 1500)
    some = rng.choice(common, 12, replace=False)
    n = np.arange(1.0, MOST)[:, None] * np.ones(len(some))
    tail = model._tail(model._p(), cells.take(some), np.full(len(some), 52.0), n)
    return model, cells, some, tail - np.vstack([tail[1:], np.zeros(len(some))])


def solved_rows(monkeypatch):
    """How many histories are solved one by one."""
    rows, solved = [], Compound.solved

    def watch(self, cells, level, *width):
        rows.append(len(cells))
        return solved(self, cells, level, *width)

    monkeypatch.setattr(Compound, "solved", watch)
    return rows


def test_quantiles_against_the_sum_over_all_counts(held, monkeypatch):
    model, cells, some, mass = held
    rows = solved_rows(monkeypatch)
    found = np.array(Compound(model, cells, 52.0, SHAPE, Q).quantiles((0.5, 0.95)))
    assert sum(rows) < 0.4 * len(cells)
    n = np.arange(1.0, MOST)
    for place, customer in enumerate(some):
        freedom = Q + SHAPE * cells["frequency"][customer]

        def below(log_w, level, place=place, freedom=freedom):
            share = special.betainc(SHAPE * n, freedom, special.expit(log_w))
            return 1 - mass[:, place].sum() + mass[:, place] @ share - level

        for level, quantile in zip((0.5, 0.95), found[:, customer], strict=True):
            truth = 0.0
            if 1 - mass[:, place].sum() < level:
                truth = np.exp(optimize.brentq(below, -60, 20, args=(level,), xtol=1e-10))
            assert quantile == pytest.approx(truth, rel=1e-3)


def test_moments_against_the_sum_over_all_counts(held):
    model, cells, some, mass = held
    n = np.arange(1.0, MOST)
    first, second = model._moments(model._p(), cells, 52.0)
    np.testing.assert_allclose(first[some], n @ mass, rtol=2e-3)
    np.testing.assert_allclose(second[some], n**2 @ mass, rtol=3e-3)
    np.testing.assert_allclose(model._variance(model._p(), cells, 52.0), second - first**2, rtol=1e-9)


def test_one_customer_of_many_is_valued_as_alone(held):
    model = held[0]
    value = LifetimeValue(model, GammaGammaModel.with_parameters({"p": SHAPE, "q": Q, "gamma": 15.44}), annual_rate=0.0)
    frame = model.simulate(12_000, 60.0, 5)
    frame["monetary_value"] = np.where(frame["frequency"] > 0, 30.0, 0.0)
    apart = frame.iloc[:40]
    together = value.predict(frame, 52, 0.9, "customer").iloc[:40]
    np.testing.assert_allclose(together, value.predict(apart, 52, 0.9, "customer"), rtol=1e-2)  # bins of counts differ
    assert value.total(frame, 52, uncertainty="customer").loc["all", "upper"] == pytest.approx(
        value.total(frame.loc[frame.index.repeat(2)], 52, uncertainty="customer").loc["all", "upper"] / 2, rel=0.02
    )


def test_where_recency_tells_more_nothing_is_looked_up(monkeypatch):
    """BG/CNBD-2: who bought just now will not buy at once, so x and T are not all that matters."""
    model = BetaGeoCNBDkModel.with_parameters({"r": 0.5, "alpha": 4.0, "a": 0.8, "b": 2.5, "k": 2}, unit="W")
    cells = model._read(model.simulate(2_000, 60.0, 1))
    rows = solved_rows(monkeypatch)
    Compound(model, cells, 52.0, SHAPE, Q).quantiles((0.95,))
    assert sum(rows) == (model._tail_cells(model._p(), cells, 52.0, np.ones(len(cells))) > 0.05).sum()


def test_what_a_table_cannot_hold_is_solved(monkeypatch):
    """Spend that hardly varies: the distribution has a step at each count, which no cubic follows."""
    model = MODELS[0]
    x = np.repeat([0.0, 1.0], 3000)
    T = np.random.default_rng(1).uniform(5, 90, 6000)
    cells = Cells.of(frequency=x, recency=x * T / 2, T=T)
    rows = solved_rows(monkeypatch)
    whole = Compound(model, cells, 26.0, 500.0, 80.0)
    upper = whole.quantiles((0.95,))[0]
    assert sum(rows) > 6000
    rows.clear()
    monkeypatch.setattr(compound, "_CLOSE", 1e9)
    loose = whole.quantiles((0.95,))[0]
    assert sum(rows) < 2000
    assert np.abs(loose / upper - 1).max() > 1e-3
