"""The view of those who have a prior."""

from __future__ import annotations

import numpy as np
import pytest

from clvlib.abtest.bayes import bayesian, expected_loss
from clvlib.abtest.experiment import Experiment
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.stats.posterior import posterior_means, posterior_proportions
from tests.abtest.test_clusters import cells as clustered
from tests.abtest.test_experiment import cells


def test_beside_the_verdict() -> None:
    result = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 264)}))
    view = bayesian(result)
    assert view.table["probability_best"].tolist() == pytest.approx(
        posterior_proportions([200, 264], [2000, 2000])["probability_best"].tolist()
    )
    assert view.table["arm"].tolist() == ["A", "B"]
    assert (
        "With a uniform prior on each arm's conversion, B is best with a probability of more than 99.9%;"
        in view.sentence
    )
    assert view.sentence.endswith(
        "is 0.00 points, from staying with A 3.20 points."
    )  # 13.2% is all but surely the better
    assert view.prior in view._repr_html_()
    revenue = bayesian(result, "revenue", prior=(5.0, 0.2))
    errors = [(2500 * p * (1 - p) / 1999) ** 0.5 for p in (0.1, 0.132)]
    theirs = posterior_means([5.0, 6.6], errors, prior=(5.0, 0.2))
    assert revenue.table["mean"].tolist() == pytest.approx(theirs["mean"].tolist())
    assert revenue.prior == "normal(5, 0.2)"


def test_a_flat_prior_agrees_with_the_interval() -> None:
    """One-sided p-value and probability to be the better of two are each other's complement, for large samples."""
    result = Experiment("script", metric="revenue").judge(cells({"A": (20_000, 2000), "B": (20_000, 2090)}))
    row = result.primary.iloc[0]
    assert bayesian(result).table["probability_best"].iloc[1] == pytest.approx(1 - row["p_value"] / 2, abs=1e-4)


def test_clusters_know_less() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(50, 150, 80)
    x = rng.binomial(n, rng.beta(2, 8, 80))
    arm = np.repeat(["A", "B"], 40)
    result = Experiment("script", min_per_arm=1).judge(clustered(np.arange(80), arm, x, n))
    view = bayesian(result)
    alone = posterior_proportions([x[:40].sum(), x[40:].sum()], [n[:40].sum(), n[40:].sum()])
    assert view.prior == "flat"
    assert ((view.table["upper"] - view.table["lower"]) > 2 * (alone["upper"] - alone["lower"])).all()


def test_the_expected_loss_is_that_of_what_is_decided() -> None:
    shipped = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 264)}))
    kept = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 210)}))
    losses = [posterior_proportions([200, x], [2000, 2000])["expected_loss"] for x in (264, 210)]
    assert (shipped.arm, kept.arm) == ("B", "")
    assert expected_loss(shipped) == pytest.approx(losses[0][1])
    assert expected_loss(kept) == pytest.approx(losses[1][0])
    assert expected_loss(kept) > 50 * expected_loss(shipped)


def test_bad_input() -> None:
    with pytest.warns(ThinDataWarning):
        result = Experiment("script").judge(cells({"A": (2000, 0), "B": (2000, 0)}))
    assert bayesian(result).table["probability_best"].tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(EmptyDataError, match="in an arm revenue does not vary"):
        bayesian(result, "revenue")
    with pytest.raises(ParameterError, match="beta prior are positive"):
        bayesian(result, prior=(-1, 1))
    with pytest.raises(ParameterError, match="metric: 'clicks'"):
        bayesian(result, "clicks")
