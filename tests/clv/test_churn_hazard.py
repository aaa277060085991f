"""The hazard against processes whose hazard is known, statsmodels, and arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special

from clvlib.clv.churn_causes import causes_of
from clvlib.clv.churn_features import Known
from clvlib.clv.churn_hazard import fit_hazard, logit, straightened
from clvlib.errors import EmptyDataError

TRUTH = {"model": 0.8, "absent": 0.5, "late": 1.2, "unanswered": 2.0, "refunded": 0.0, "spend": 0.0}
BINARY = {"late": 0.2, "unanswered": 0.1, "refunded": 0.1}


def drawn(rng: np.random.Generator, n: int, truth=TRUTH) -> tuple[pd.DataFrame, np.ndarray]:
    frame = pd.DataFrame(
        {name: rng.random(n) < BINARY[name] if name in BINARY else rng.normal(size=n) for name in truth}
    ).astype(float)
    chance = special.expit(-0.5 + frame.to_numpy() @ np.array(list(truth.values())))
    return frame.set_index(pd.RangeIndex(n, name="customer_id")), (rng.random(n) < chance).astype(float)


def test_the_true_hazard_is_found_and_risks_mean_what_they_say():
    rng = np.random.default_rng(5)
    inside, slopes, named = [], 0, []
    for _ in range(40):
        frame, lapsed = drawn(rng, 3000)
        hazard = fit_hazard(frame, lapsed).calibrated(*drawn(rng, 3000))
        error = np.sqrt(np.diag(hazard.covariance))
        truth = np.array([TRUTH[name] for name in hazard.names])
        inside.extend(np.abs(hazard.coefficients - truth) < 1.96 * error + 0.02)  # the penalty pulls a little
        later, happened = drawn(rng, 3000)
        line = straightened(hazard.logit(later), happened, precision=0, customers=later.index)
        slopes += abs(line.slope - 1) < 1.645 * np.hypot(line.error, 0.05)  # calibration has an error of its own
        named.append(set(hazard.groups))
    assert 0.88 <= np.mean(inside) <= 1.0  # nominal 0.95
    assert slopes >= 31  # nominal 0.9 of 40: 36, less 2.6 standard errors
    assert all({"silence", "absent", "delivery", "complaint"} <= groups for groups in named)
    assert sum("refund" in groups for groups in named) <= 4  # nominal 2.5% where its direction is wrong half the time


def test_causes_that_are_none_are_hardly_ever_named():
    rng = np.random.default_rng(6)
    none = dict.fromkeys(TRUTH, 0.0) | {"model": 1.0}
    false = sum(set(fit_hazard(*drawn(rng, 600, none)).groups) != {"silence"} for _ in range(60))
    assert false <= 8  # nominal at most 5%: 3 of 60, and three standard errors


def test_parts_add_up_and_references_are_harmless():
    frame, lapsed = drawn(np.random.default_rng(7), 2000)
    frame["slow_answer"] = 1.0  # the same for everybody
    hazard = fit_hazard(frame, lapsed).calibrated(frame[:500], lapsed[:500])
    parts = hazard.parts(frame)
    np.testing.assert_allclose(hazard.base + parts.sum(axis=1), hazard.logit(frame), rtol=1e-12)
    assert (parts.loc[frame["late"] == 0, "delivery"] == 0).all()
    assert parts["absent"].mean() == pytest.approx(0, abs=1e-9)
    assert hazard.evidence.loc["slow_answer", "verdict"] == "the same for everybody"
    assert hazard.evidence.loc["late", "verdict"] == "in the model"
    assert hazard.evidence.loc["late", "lower"] < np.exp(1.2) < hazard.evidence.loc["late", "upper"]


def test_repeated_customers_do_not_make_surer():
    """Each row three times under one customer: the same estimate, the same error, as statsmodels has it."""
    frame, lapsed = drawn(np.random.default_rng(8), 1500, {"model": 1.0, "late": 1.0})
    once, thrice = fit_hazard(frame, lapsed), fit_hazard(pd.concat([frame] * 3), np.tile(lapsed, 3))
    np.testing.assert_allclose(thrice.covariance, once.covariance, rtol=0.05)  # the penalty weighs a third
    oracle = sm.Logit(lapsed, sm.add_constant(frame)).fit(disp=0, cov_type="HC0")
    np.testing.assert_allclose(once.coefficients, oracle.params.iloc[1:], rtol=0.02)
    np.testing.assert_allclose(once.covariance, oracle.cov_params().iloc[1:, 1:], rtol=0.05)
    line = straightened(frame["model"], lapsed, precision=0, customers=frame.index)
    alone = sm.Logit(lapsed, sm.add_constant(frame[["model"]])).fit(disp=0, cov_type="HC0")
    np.testing.assert_allclose([line.shift, line.slope, line.error], [*alone.params, alone.bse["model"]], rtol=1e-4)


def test_calibration_is_gentle_where_data_are_few():
    assert straightened([-3.0, 3.0], [1, 0]).slope > 0  # two customers do not turn a model round
    assert straightened(np.tile([-3.0, 3.0], 500), np.tile([1, 0], 500)).slope < 0
    nothing = straightened([0.5], [1])
    assert 0 < nothing.shift < 0.2
    assert logit([0.0, 1.0]).tolist() == pytest.approx([-np.log(1e6 - 1), np.log(1e6 - 1)])


def test_shares_of_causes_by_hand():
    frame, lapsed = drawn(np.random.default_rng(9), 4000, {"model": 1.0, "late": 1.2, "unanswered": 2.0})
    hazard = fit_hazard(frame, lapsed)
    late, ignored = (hazard.coefficients[hazard.names.index(name)] for name in ("late", "unanswered"))
    some = pd.DataFrame({"model": 0.0, "late": [1.0, 1, 0, 0], "unanswered": [0.0, 1, 0, 0]})
    known = Known(None, some, some, 4)
    risk, loss = np.array([0.8, 0.9, 0.5, 0.3]), np.array([80.0, 90, 5, 3])
    causes = causes_of(hazard, known, risk, loss, 0.9, np.random.default_rng(1), 200)
    one, both = 1 - np.exp(-late), 1 - np.exp(-late - ignored)
    share = (0.8 * one + 0.9 * both * late / (late + ignored)) / 2.5
    assert causes.loc["delivery", "share"] == pytest.approx(share)
    assert causes.loc["complaint", "share"] == pytest.approx(0.9 * both * ignored / (late + ignored) / 2.5)
    assert causes["share"].sum() == pytest.approx(1)
    assert causes["value_at_risk"].sum() == pytest.approx(178)
    assert causes.loc["delivery", "lower"] < share < causes.loc["delivery", "upper"]
    assert causes["customers"].to_dict() == {"delivery": 2, "complaint": 1, "unknown": 2}
    assert causes.index[-1] == "unknown"


def test_too_few_are_named():
    frame, _lapsed = drawn(np.random.default_rng(10), 100)
    for outcome in (np.zeros(100), np.ones(100), np.r_[np.ones(29), np.zeros(71)]):
        with pytest.raises(EmptyDataError, match="needs 30 who did"):
            fit_hazard(frame, outcome)
