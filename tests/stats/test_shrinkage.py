"""Shrinkage and like-for-like comparison: another implementation, published data, and what it is for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.stats.shrinkage import SPREADS, _posterior_of_spread, like_for_like_ratios, shrink_ratios, stand_out

# Lip cancer in 56 Scottish districts, observed and expected cases (Clayton & Kaldor 1987, table 1)
OBSERVED = np.array([
    9, 39, 11, 9, 15, 8, 26, 7, 6, 20, 13, 5, 3, 8, 17, 9, 2, 7, 9, 7, 16, 31, 11, 7, 19, 15, 7, 10, 16, 11, 5, 3, 7, 8,
    11, 9, 11, 8, 6, 4, 10, 8, 2, 6, 19, 3, 2, 3, 28, 6, 1, 1, 1, 1, 0, 0,
])  # fmt: skip
EXPECTED = np.array([
    1.4, 8.7, 3.0, 2.5, 4.3, 2.4, 8.1, 2.3, 2.0, 6.6, 4.4, 1.8, 1.1, 3.3, 7.8, 4.6, 1.1, 4.2, 5.5, 4.4, 10.5, 22.7, 8.8,
    5.6, 15.5, 12.5, 6.0, 9.0, 14.4, 10.2, 4.8, 2.9, 7.0, 8.5, 12.3, 10.1, 12.7, 9.4, 7.2, 5.3, 18.8, 15.8, 4.3, 14.6,
    50.7, 8.2, 5.6, 9.3, 88.7, 19.6, 3.4, 3.6, 5.7, 7.0, 4.2, 1.8,
])  # fmt: skip


@pytest.fixture(scope="module")
def negative_binomial():
    model = sm.NegativeBinomial(OBSERVED, np.ones((56, 1)), offset=np.log(EXPECTED))
    return model, model.fit(disp=0)


def test_the_spread_of_lip_cancer_is_that_of_statsmodels(negative_binomial):
    """The marginal likelihood is that of a negative binomial regression with an offset."""
    model, fit = negative_binomial
    weight, centre, error = _posterior_of_spread(OBSERVED.astype(float), EXPECTED)
    best = int(np.argmax(np.log(weight / SPREADS) + np.log(1 / error)))  # without the grid's density and Laplace's term
    assert SPREADS[best] == pytest.approx(fit.params[1] ** 0.5, rel=0.06)  # a step of the grid
    assert centre[best] == pytest.approx(np.exp(fit.params[0]), rel=0.01)
    log_likelihood = [model.loglike([np.log(m), s**2]) for m, s in zip(centre, SPREADS, strict=True)]
    ours = np.log(weight / SPREADS / error)
    some = weight > 1e-8
    assert np.ptp((ours - log_likelihood)[some]) < 1e-6  # equal up to a constant


def test_lip_cancer_ratios(negative_binomial):
    """Clayton and Kaldor's estimate (a + O) / (a / m + E), with a and m from statsmodels."""
    _, fit = negative_binomial
    a, m = 1 / fit.params[1], np.exp(fit.params[0])
    found = shrink_ratios(OBSERVED, EXPECTED)
    plug_in = (a + OBSERVED) / (a / m + EXPECTED)
    assert found.table["ratio"].to_numpy() == pytest.approx(plug_in, abs=0.09)
    assert np.abs(found.table["ratio"] - plug_in).mean() < 0.02
    assert (
        found.table["rank"].iloc[0] > found.table["raw"].rank(ascending=False).iloc[0]
    )  # 9 cases of 1.4: luck, partly
    assert found.table["lower"].lt(plug_in).all()
    assert found.table["upper"].gt(plug_in).all()


def test_like_for_like_is_poisson_regression():
    rng = np.random.default_rng(4)
    cells = pd.DataFrame({"g": np.repeat(list("abcd"), 6), "s": np.tile(range(6), 4), "n": rng.integers(5, 90, 24)})
    cells["y"] = rng.poisson(cells["n"] * 0.3)
    design = pd.get_dummies(cells[["g", "s"]].astype(str), drop_first=True).astype(float)
    fit = sm.GLM(cells["y"], sm.add_constant(design), sm.families.Poisson(), offset=np.log(cells["n"])).fit()
    found = like_for_like_ratios(cells["g"], cells["s"], cells["y"], cells["n"])
    ratio = found["observed"] / found["expected"]
    assert np.log(ratio / ratio["a"]).drop("a").to_numpy() == pytest.approx(fit.params[["g_b", "g_c", "g_d"]], abs=1e-6)
    # the information is the diagonal of the profile's: X'WX with the strata taken out
    weight, x = fit.mu.to_numpy() if hasattr(fit.mu, "to_numpy") else fit.mu, pd.get_dummies(cells["g"]).to_numpy(float)
    z = pd.get_dummies(cells["s"]).to_numpy(float)
    profile = (x.T * weight) @ x - (x.T * weight) @ z @ np.diag(1 / (z.T @ weight)) @ (z.T * weight) @ x
    share = np.diag(profile) / (x.T @ weight)
    assert found["information"].to_numpy() == pytest.approx(share, abs=0.02)


def test_groups_that_fall_apart_keep_ratios():
    """By hand: c has 1 of 10 where it is alone, and nothing of 100 where a and b have 5 of 100 each.

    With half an observation more, c's ratio r is 1.5 / (expected + .5), and 5 + 5 are shared by 100 (2 a + r).
    """
    found = like_for_like_ratios(["a", "b", "c", "c"], [1, 1, 1, 2], [5, 5, 0, 1], [100, 100, 100, 10])
    ratio = found["observed"] / found["expected"]
    assert 0.02 < ratio["c"] / ratio["a"] < 0.5
    assert 0.5 < ratio["a"] < 3
    rng = np.random.default_rng(6)
    for _ in range(60):
        n = rng.poisson(rng.gamma(0.3, 1, (8, 100)) * 2)
        y = rng.binomial(n, 0.08)
        if not y.sum(axis=1).all():
            continue
        g, s = np.indices(n.shape)
        found = like_for_like_ratios(g.ravel(), s.ravel(), y.ravel(), n.ravel())
        assert (found["observed"] / found["expected"]).between(0.02, 20).all()


def test_a_group_alone_is_not_compared():
    found = like_for_like_ratios(["a", "b", "c"], [1, 1, 2], [5, 10, 90], [100, 100, 100])
    assert found["information"].round(9).tolist() == pytest.approx([2 / 3, 1 / 3, 0], abs=0.35)
    assert found.loc["c", "information"] == 0
    assert found.loc["c", "observed"] == pytest.approx(found.loc["c", "expected"], rel=1e-6)


def test_mantel_haenszel_is_that_of_statsmodels():
    rng = np.random.default_rng(8)
    n = rng.integers(20, 60, (3, 2))
    x = rng.binomial(n, [0.25, 0.4])
    tables = [np.array([[x[k, 0], n[k, 0] - x[k, 0]], [x[k, 1], n[k, 1] - x[k, 1]]]) for k in range(3)]
    theirs = sm.stats.StratifiedTable(tables).test_null_odds(correction=True)
    found = stand_out(["a", "b"] * 3, np.repeat(range(3), 2), x.ravel(), n.ravel())
    assert found["z"]["a"] ** 2 == pytest.approx(theirs.statistic)
    assert found["p_value"].tolist() == pytest.approx([theirs.pvalue] * 2)
    assert found["z"]["a"] == pytest.approx(-found["z"]["b"])


def hosts(rng: np.random.Generator, spread: float, groups: int = 8, strata: int = 120, clicks: int = 9000):
    """Hosts over platforms, categories and weeks, one of them with a thirtieth of the others' streams."""
    theta = rng.gamma(spread**-2, spread**2, groups) if spread else np.ones(groups)
    rate = np.minimum(0.15 * np.exp(rng.normal(0, 0.3, strata)), 0.5)
    size = rng.gamma(0.5, 1, (groups, strata))
    size[0] /= 30
    n = rng.poisson(size / size.sum() * clicks)
    x = rng.binomial(n, np.minimum(theta[:, None] * rate, 1))
    return theta, x, n


def test_shrunken_figures_are_nearer_to_the_truth_and_intervals_cover():
    rng = np.random.default_rng(11)
    covered, ranked, raw, shrunken, first = [], [], [], [], []
    for run in range(120):
        theta, x, n = hosts(rng, 0.15)
        g, s = np.indices(n.shape)
        found = like_for_like_ratios(g.ravel(), s.ravel(), x.ravel(), n.ravel())
        scale = found["information"] / (1 - x.sum() / n.sum())
        table = shrink_ratios(found["observed"] * scale, found["expected"] * scale, draws=2000, seed=run).table
        true = theta * (found["expected"] @ (found["observed"] / found["expected"])) / (found["expected"] @ theta)
        covered.append(((table["lower"] <= true) & (true <= table["upper"])).to_numpy())
        place = (-theta).argsort().argsort() + 1
        ranked.append((table["rank_lower"] <= place) & (place <= table["rank_upper"]))
        raw.append((table["raw"] - true) ** 2)
        shrunken.append((table["ratio"] - true) ** 2)
        first.append((table["raw"].idxmax() == 0, table["ratio"].idxmax() == 0, theta.argmax() == 0))
    assert 0.93 < np.mean(covered) < 0.99
    assert np.mean([row[0] for row in covered]) > 0.9  # the host with hardly any streams
    assert np.mean(ranked) > 0.95
    assert np.mean(shrunken) < 0.5 * np.mean(raw)
    by_luck, after, truly = np.mean(first, axis=0)
    assert by_luck > 0.2  # raw, it tops the list, or ends it, far more often than it should
    assert after < truly + 0.06


def test_where_hosts_are_alike_hardly_any_stands_out():
    rng = np.random.default_rng(12)
    false, widths = 0, []
    for run in range(150):
        _, x, n = hosts(rng, 0.0, clicks=4000)
        g, s = np.indices(n.shape)
        tested = stand_out(g.ravel(), s.ravel(), x.ravel(), n.ravel())
        false += bool((tested["p_value"] * 8 < 0.05).any())
        if run < 20:
            found = like_for_like_ratios(g.ravel(), s.ravel(), x.ravel(), n.ravel())
            scale = found["information"] / (1 - x.sum() / n.sum())
            widths.append(shrink_ratios(found["observed"] * scale, found["expected"] * scale, draws=500).spread)
    assert false / 150 < 0.05 + 2 * (0.05 * 0.95 / 150) ** 0.5
    assert np.mean(widths) < 0.1


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0.5, 80)), min_size=2, max_size=8), st.randoms())
def test_order_and_direction(rows: list[tuple[int, float]], random) -> None:
    rows = [*rows, (5, 5.0)]
    mixed = random.sample(range(len(rows)), len(rows))
    o, e = np.array(rows, dtype=float).T
    one, other = shrink_ratios(o, e, draws=400), shrink_ratios(o[mixed], e[mixed], draws=400)
    if len(set(rows)) == len(rows):
        assert other.table["ratio"].tolist() == pytest.approx(one.table["ratio"].to_numpy()[mixed])
    back = shrink_ratios(o, e, draws=400, better="lower").table
    assert (back["rank_lower"] + one.table["rank_upper"]).tolist() == [len(rows) + 1] * len(rows)
    assert one.table["own"].between(0, 1).all()
    assert one.table["probability_best"].sum() == pytest.approx(1)


def test_more_data_shrink_less():
    little, much = (shrink_ratios(np.array([12, 8, 10, 10]) * k, np.full(4, 10.0) * k).table for k in (1, 1000))
    assert much["own"].min() > 0.95
    assert much["ratio"].tolist() == pytest.approx([1.2, 0.8, 1, 1], abs=0.02)
    assert little["own"].max() < 0.5
    assert little["ratio"].between(0.85, 1.15).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shrink_ratios([1], [1]), "two groups"),
        (lambda: shrink_ratios([1, -1], [1, 1]), "finite, not negative"),
        (lambda: shrink_ratios([0, 0], [1, 1]), "more than nothing"),
        (lambda: shrink_ratios([1, 2], [1, 1], level=95), "level is a share"),
        (lambda: like_for_like_ratios([1], [1], [0], [5]), "more than nothing"),
        (lambda: like_for_like_ratios([1], [1], [np.nan], [5]), "finite"),
        (lambda: stand_out([1], [1], [6], [5]), "between 0 and the trials"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
