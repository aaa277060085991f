from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from clvlib.stats.multiplicity import adjust
from clvlib.stats.quantiles import LEVELS, calibration, pinball, quantile_score

FINE = tuple((np.arange(999) + 0.5) / 999)


def normal_crps(y: float, mean: float, sd: float) -> float:
    """Gneiting & Raftery 2007, equation 21, with the sign turned so that less is better."""
    z = (y - mean) / sd
    return float(sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)))


@pytest.mark.parametrize("y", [-3.0, 0.0, 0.4, 2.5])
def test_many_quantiles_give_the_crps_of_the_normal(y: float):
    quantiles = dict(zip(FINE, stats.norm.ppf(FINE, 0.3, 1.7), strict=True))
    assert quantile_score(y, quantiles) == pytest.approx(normal_crps(y, 0.3, 1.7), rel=2e-3)


@pytest.mark.parametrize("y", [0.1, 1.0, 6.0])
def test_and_that_of_a_skew_distribution_as_integrated(y: float):
    law = stats.gamma(2.0)
    below, above = (
        integrate.quad(lambda x: law.cdf(x) ** 2, 0, y)[0],
        integrate.quad(lambda x: law.sf(x) ** 2, y, 60)[0],
    )
    assert quantile_score(y, dict(zip(FINE, law.ppf(FINE), strict=True))) == pytest.approx(below + above, rel=3e-3)


def test_seven_quantiles_come_near():
    """Over what a normal law brings, the mean score is within a twentieth of σ/√π, the mean CRPS of a true forecast."""
    quantiles = dict(zip(LEVELS, stats.norm.ppf(LEVELS), strict=True))
    mean = integrate.quad(lambda y: quantile_score(y, quantiles) * stats.norm.pdf(y), -8, 8, limit=200)[0]
    assert mean == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)


@pytest.mark.parametrize("level", [0.05, 0.25, 0.5, 0.9])
def test_expected_pinball_loss_is_least_at_the_true_quantile(level: float):
    """And there it is φ(Φ⁻¹(level)) for a standard normal: integrate by parts."""

    def expected(q: float) -> float:
        return float(integrate.quad(lambda y: pinball(y, q, level) * stats.norm.pdf(y), -9, 9, points=[q])[0])

    best = optimize.minimize_scalar(expected, bounds=(-4, 4), method="bounded", options={"xatol": 1e-6})
    assert best.x == pytest.approx(stats.norm.ppf(level), abs=1e-3)
    assert best.fun == pytest.approx(stats.norm.pdf(stats.norm.ppf(level)), abs=1e-7)


def test_an_honest_forecast_scores_best():
    """The mean score under N(0, 1) of quantiles that are shifted, too wide or too narrow, is worse (it is proper)."""

    def mean(shift: float, scale: float) -> float:
        said = dict(zip(LEVELS, shift + scale * stats.norm.ppf(LEVELS), strict=True))
        return float(np.mean([quantile_score(y, said) for y in stats.norm.ppf(FINE)]))

    honest = mean(0, 1)
    assert all(mean(*other) > honest + 0.003 for other in ((0.3, 1), (-0.3, 1), (0, 0.6), (0, 1.5)))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_of_a_single_figure_it_is_the_absolute_error(y: float, said: float):
    assert quantile_score(y, dict.fromkeys(LEVELS, said)) == pytest.approx(abs(y - said), abs=1e-6)


@given(st.floats(-50, 50), st.lists(st.floats(-20, 20), min_size=7, max_size=7), st.floats(0.1, 10))
def test_units_do_not_matter(y: float, values: list[float], unit: float):
    said = dict(zip(LEVELS, sorted(values), strict=True))
    other = {level: unit * value for level, value in said.items()}
    assert quantile_score(unit * y, other) == pytest.approx(unit * quantile_score(y, said), abs=1e-6)


def test_calibration_by_hand():
    """Quarters: middles ±1/8 and ±3/8, so the PIT's variance is 5/64; its distance is 1/4 on average, variance 1/64."""
    quarters = {0.25: -1.0, 0.5: 0.0, 0.75: 1.0}
    above = calibration([(5.0, quarters)] * 8)
    assert (above.n, above.place, above.spread) == (8, 0.875, 1.5)
    z = (8 * 3 / 8) / (8 * 5 / 64) ** 0.5, (8 * (3 / 8 - 1 / 4)) / (8 / 64) ** 0.5  # 3.79 and 2.83
    assert above.p_place == pytest.approx(2 * stats.norm.sf(z[0]))
    assert above.p_spread == pytest.approx(2 * stats.norm.sf(z[1]))
    on = calibration([(0.0, quarters)] * 8)  # on the median: between the second and the third quarter
    assert (on.place, on.spread) == (0.5, 0.0)
    with pytest.raises(ValueError, match="needs forecasts"):
        calibration([])


def test_quantiles_that_coincide_share_what_they_bound():
    """A count that is 0 in nine weeks of ten: with half of all levels at 0, a 0 says nothing of either side."""
    said = {0.25: 0.0, 0.5: 0.0, 0.75: 0.0, 0.95: 1.0}
    assert calibration([(0.0, said)]).place == pytest.approx((0 + 0.95) / 2)


@pytest.mark.parametrize(("shift", "scale", "place", "spread"), [(0, 1, 0, 0), (0.8, 1, 1, 0), (0, 0.5, 0, 1)])
def test_calibrated_forecasts_pass_at_the_nominal_rate_and_others_are_found(shift, scale, place, spread):
    """Twelve weeks: of true forecasts 5% are called wrong; shifts by 0.8 σ and halves of σ are found mostly."""
    rng = np.random.default_rng(7)
    said = dict(zip(LEVELS, scale * stats.norm.ppf(LEVELS), strict=True))
    found = [calibration((y, said) for y in rng.normal(shift, 1, 12)) for _ in range(1000)]
    wrong = np.array([adjust([c.p_place, c.p_spread]) <= 0.05 for c in found])
    if place or spread:
        assert wrong[:, 0 if place else 1].mean() > 0.6
    else:
        assert wrong.any(axis=1).mean() == pytest.approx(0.05, abs=0.02)  # 0.014 is two standard errors
        assert np.mean([c.place for c in found]) == pytest.approx(0.5, abs=0.01)
        assert np.mean([c.spread for c in found]) == pytest.approx(1.0, abs=0.02)
