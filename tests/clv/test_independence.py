"""Dependence of spend on frequency: the test holds its size whatever the spend, finds what is there, weighs it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvlib as clv
from clvlib.clv.cells import Cells
from clvlib.clv.independence import _correlation, _trend, independence, independence_plot
from clvlib.clv.inference import likelihood_ratio
from clvlib.clv.models.dependent_gamma_gamma import DependentGammaGammaModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.words import price_in
from tests.clv.conftest import customer_summary
from tests.conftest import shared_data


def buyers(rng, n, d=1.0, p=6.25, q=3.74, gamma=15.44) -> pd.DataFrame:
    """Repeat buyers of NBD frequency and Gamma-Gamma spend (note 025's parameters), d times as much per doubling."""
    x = rng.poisson(rng.gamma(0.5, 8.0, 3 * n + 100))
    x = x[x > 0][:n].astype(float)
    spend = rng.gamma(p * x) / rng.gamma(q, 1 / gamma, n) / x
    return pd.DataFrame({"frequency": x, "monetary_value": spend * d ** np.log2(x)})


def lognormal_buyers(rng, n) -> pd.DataFrame:
    """Independent, but with a heavier tail than Gamma-Gamma: each purchase is lognormal around the customer's mean."""
    x = rng.poisson(rng.gamma(0.5, 8.0, 3 * n + 100))
    x = x[x > 0][:n]
    who = np.repeat(np.arange(n), x)
    amounts = np.exp(rng.normal(3.0, 0.5, n)[who] + rng.normal(-0.5, 1.0, len(who)))
    return pd.DataFrame({"frequency": x.astype(float), "monetary_value": np.bincount(who, amounts) / x})


def cells(frame: pd.DataFrame) -> Cells:
    return Cells.read(frame, ("frequency", "monetary_value"))


def trend_p_value(frame: pd.DataFrame) -> float:
    _, slope, error = _trend(cells(frame))
    return float(2 * stats.norm.sf(abs(slope) / error))


def within_chance(rejected: int, tests: int, size: float = 0.05) -> bool:
    return bool(stats.binomtest(rejected, tests, size).pvalue > 0.001)


def test_cdnow(cdnow):
    result = independence(cdnow)
    assert result.customers == 946
    assert result.correlation == pytest.approx(0.113884, abs=1e-5)  # as lifetimes' documentation prints it
    assert result.plain.log_likelihood_ == pytest.approx(-4055.9177, abs=5e-5)  # note 025
    assert result.statistic == pytest.approx(2 * (result.dependent.log_likelihood_ + 4055.9177), abs=2e-4)
    assert result.table["customers"].tolist() == [439, 214, 100, 62, 38, 29, 64]
    np.testing.assert_allclose(result.table["expected"], 35.17, atol=0.005)  # note 025's mean of a new customer
    repeat = cdnow[cdnow["frequency"] > 0]
    for row, inside in ((0, repeat["frequency"] == 1), (6, repeat["frequency"] >= 7)):
        spend = repeat.loc[inside, "monetary_value"]
        interval = stats.t.interval(0.95, len(spend) - 1, spend.mean(), spend.sem())
        np.testing.assert_allclose(result.table.iloc[row, 1:4].astype(float), [spend.mean(), *interval])
    assert result.deciles["independent"].sum() == pytest.approx(
        (cdnow["frequency"] * GammaGammaModel().fit(cdnow).expected_spend(cdnow)).sum()
    )
    assert result.p_value < 0.01
    assert result.holds  # it is there, and does not matter
    assert "may be assumed" in result.verdict


def test_trend_agrees_with_statsmodels(cdnow):
    import statsmodels.api as sm

    repeat = cdnow[cdnow["frequency"] > 0]
    design = sm.add_constant(np.log2(repeat["frequency"].to_numpy()))
    family = sm.families.Gamma(sm.families.links.Log())
    theirs = sm.GLM(repeat["monetary_value"].to_numpy(), design, family=family).fit(cov_type="HC0", tol=1e-12)
    trend, slope, error = _trend(cells(repeat))
    assert slope == pytest.approx(theirs.params[1], rel=1e-8)
    assert error == pytest.approx(theirs.bse[1], rel=0.02)  # they take the expected Hessian, we the observed one
    x = cells(repeat)["frequency"]
    np.testing.assert_allclose(trend, np.exp(theirs.params[0] + theirs.params[1] * np.log2(x)), rtol=1e-8)


def test_correlation_has_fishers_interval_where_fisher_is_right():
    rng = np.random.default_rng(2)
    z = rng.multivariate_normal([50, 40], [[9, 3], [3, 4]], 200_000)
    frame = pd.DataFrame({"frequency": np.round(z[:, 0] * 1e4), "monetary_value": z[:, 1]})
    r, lower, upper = _correlation(cells(frame), 1.0)
    theirs = stats.pearsonr(frame["frequency"], frame["monetary_value"]).confidence_interval(0.6826894921370859)
    assert r == pytest.approx(0.5, abs=0.005)
    assert (lower, upper) == pytest.approx(tuple(theirs), abs=5e-5)


def test_tests_hold_their_size_and_ranks_do_not():
    rng = np.random.default_rng(11)
    samples = [buyers(rng, 600, p=2.0, q=8.0, gamma=30.0) for _ in range(1000)]
    assert within_chance(sum(trend_p_value(frame) < 0.05 for frame in samples), 1000)
    some = samples[:300]
    ratio = [likelihood_ratio(GammaGammaModel().fit(f), DependentGammaGammaModel().fit(f))["p_value"] for f in some]
    assert within_chance(sum(p < 0.05 for p in ratio), 300)
    assert 0.4 < np.mean(ratio) < 0.6
    ranks = [stats.spearmanr(f["frequency"], f["monetary_value"]).pvalue for f in some]
    assert np.mean(np.array(ranks) < 0.05) > 0.5  # which is why we do not use them


def test_trend_trusts_no_distribution():
    """Lognormal spend misleads the likelihood ratio; the trend of means it does not."""
    rng = np.random.default_rng(12)
    samples = [lognormal_buyers(rng, 2000) for _ in range(400)]
    assert within_chance(sum(trend_p_value(frame) < 0.05 for frame in samples), 400)
    result = independence(pd.concat(samples[:20]))
    assert result.likelihood_p_value < 1e-6
    assert result.p_value > 0.01
    assert result.holds


@pytest.mark.parametrize("d", [1.08, 0.9])
def test_dependence_is_found_and_measured(d):
    rng = np.random.default_rng(13)
    samples = [buyers(rng, 1500, d) for _ in range(60)]
    slopes, errors = np.array([_trend(cells(frame))[1:] for frame in samples]).T
    assert within_chance(int((np.abs(slopes - np.log(d)) > 1.96 * errors).sum()), 60)
    assert np.mean(np.abs(slopes) > 1.96 * errors) > 0.9
    assert slopes.mean() == pytest.approx(np.log(d), abs=4 * slopes.std() / 60**0.5)
    models = [DependentGammaGammaModel().fit(frame) for frame in samples[:30]]
    found = [np.log(model.params_["d"] / d) / np.sqrt(model._log_covariance[3, 3]) for model in models]
    assert np.mean(np.square(found)) == pytest.approx(1.0, abs=0.75)


def test_verdict_weighs_size():
    rng = np.random.default_rng(14)
    many = buyers(rng, 200_000, 1.01)
    small = independence(many)
    assert small.p_value < 1e-6
    assert small.holds
    assert "1.0% more" in small.verdict
    strong = buyers(rng, 4000, 1.25)
    lone = pd.DataFrame({"frequency": np.zeros(4000), "monetary_value": 0.0})  # of whom each may buy once again
    strong = independence(pd.concat([strong, lone], ignore_index=True), pd.Series(1.0, range(8000)))
    assert not strong.holds
    assert "Dependence shows" in strong.verdict
    assert strong.lower < 1.25 < strong.upper
    few = buyers(rng, 60)
    unknown = independence(few, material=0.01)
    assert not unknown.holds
    assert "Undecided" in unknown.verdict
    assert unknown.moved < unknown.moved_upper
    assert independence(few, material=0.5).holds


def test_size_is_that_of_the_forecasts():
    """moved and change by hand: two groups of equal spend, which dependence parts by the trend."""
    rng = np.random.default_rng(15)
    frame = buyers(rng, 3000, 1.2)
    coming = pd.Series(np.where(frame["frequency"] > 3, 2.0, 0.0), frame.index)
    result = independence(frame, coming)
    scale = result.doubling ** np.log2(frame["frequency"])
    scaled = frame.assign(monetary_value=frame["monetary_value"] / scale)
    changed = GammaGammaModel().fit(scaled).expected_spend(scaled) * scale * coming
    plain = GammaGammaModel().fit(frame).expected_spend(frame) * coming
    assert result.change == pytest.approx(changed.sum() / plain.sum() - 1, rel=1e-6)
    assert result.moved == pytest.approx((changed - plain).abs().sum() / plain.sum(), rel=1e-6)
    assert result.deciles["dependent"].sum() == pytest.approx(changed.sum())
    assert result.deciles["independent"].is_monotonic_decreasing
    with pytest.raises(ParameterError, match="purchases"):
        independence(frame, coming.iloc[1:])


def test_weights_are_customers():
    frame = buyers(np.random.default_rng(16), 400)
    counts = np.random.default_rng(17).integers(1, 4, len(frame))
    weighted = independence(frame.assign(n=counts))
    repeated = independence(frame.loc[frame.index.repeat(counts)].reset_index(drop=True))
    for name, value in repeated._scalars().items():
        if isinstance(value, float):
            assert getattr(weighted, name) == pytest.approx(value, rel=1e-6), name
    pd.testing.assert_frame_equal(weighted.table, repeated.table)


def test_thin_classes_are_joined():
    frame = buyers(np.random.default_rng(18), 300)
    frame = frame[(frame["frequency"] < 3) | (frame["frequency"] == 5)]
    frame.loc[len(frame) + 1000] = [50.0, 30.0]
    table = independence(frame).table
    assert table["customers"].sum() == len(frame)
    assert list(table.index[:2]) == ["1", "2"]
    assert np.isfinite(table.to_numpy()).all()
    assert (table["customers"] >= 2).all()


@pytest.mark.filterwarnings("ignore::clvlib.errors.ConvergenceWarning", "ignore::clvlib.errors.ThinDataWarning")
@pytest.mark.parametrize(
    "rows",
    [
        [(1, float(m)) for m in range(1, 40)] + [(20, 50.0)],
        [(1, 10.0), (1, 10.0), (40_000, 12.0), (3, 9.0)],
        [(1, 10.0)] * 30 + [(3, 10.0)] * 20,
        [(x, m) for x in (1, 2, 3) for m in (1.0, 2.0, 5.0, 1000.0, 1e5)],
        [(0, 0.0)] * 50 + [(1, 5.0), (2, 6.0), (3, 9.0), (2, 0.0)],
    ],
    ids=["lone", "enormous", "identical", "heavy", "few"],
)
def test_hard_data_end_in_figures_and_find_nothing(rows):
    result = independence(pd.DataFrame(rows, columns=["frequency", "monetary_value"]))
    figures = [value for value in result._scalars().values() if isinstance(value, float)]
    assert np.isfinite(figures).all()
    assert np.isfinite(result.table.to_numpy()).all()
    assert np.isfinite(result.deciles.to_numpy()).all()
    assert result.p_value > 0.05


def test_what_cannot_be_tested():
    frame = buyers(np.random.default_rng(19), 50)
    with pytest.raises(EmptyDataError, match="differently often"):
        independence(frame.assign(frequency=3.0))
    with pytest.raises(EmptyDataError, match="repeat buyers"):
        independence(frame.assign(frequency=0.0))
    with pytest.raises(ParameterError, match="material"):
        independence(frame, material=0.0)
    with pytest.raises(ParameterError, match="level"):
        independence(frame, level=95)


def test_online_retail_is_independent_though_its_likelihood_says_otherwise():
    raw = pd.read_parquet(shared_data("online_retail") / "online_retail.parquet")
    raw["amount"] = raw["Quantity"] * raw["UnitPrice"]
    raw = raw[raw["CustomerID"].notna() & (raw["amount"] > 0)]
    raw = raw.assign(customer_id=raw["CustomerID"], date=pd.to_datetime(raw["InvoiceDate"]).dt.normalize())
    orders = raw.groupby(["customer_id", "date"], as_index=False)["amount"].sum()
    base = customer_summary(orders, orders["date"].max())
    result = independence(base)
    repeat = base[base["frequency"] > 0]
    assert result.correlation == pytest.approx(repeat["frequency"].corr(repeat["monetary_value"]))
    assert result.likelihood_p_value < 1e-6
    assert result.lower < 1 < result.upper
    assert result.holds


def test_the_figure_draws(cdnow):
    result = clv.independence(cdnow)
    price_in("USD")  # CDNOW's
    ax = independence_plot(result)
    ax.figure.canvas.draw()
    assert ax.get_yticklabels()[-1].get_text().startswith("$")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3", "4", "5", "6", "7+"]
    assert result.verdict in result._repr_html_()
