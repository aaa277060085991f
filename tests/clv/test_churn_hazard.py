"""The hazard against processes whose hazard is known, statsmodels, and arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special

from clvlib.clv.churn_causes import Staying, causes_of, learn_staying
from clvlib.clv.churn_features import FEATURES, Known
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
    row, asked = hazard.evidence.loc["late"], ["late", "unanswered", "spend"]  # of causes, beside no sign but silence
    oracle = sm.Logit(lapsed, sm.add_constant(frame[asked])).fit(disp=0, cov_type="HC0")
    low, high = oracle.conf_int().loc["late"]
    assert row[["odds_ratio", "lower", "upper"]].astype(float).tolist() == pytest.approx(
        np.exp([oracle.params["late"], low, high]).tolist(), rel=0.03
    )


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
    """Of four customers one has a late parcel, one an ignored complaint too; each would stay with a chance of 0.6."""
    by_name = {feature.name: feature for feature in FEATURES}
    staying = Staying(
        features=(by_name["late"], by_name["unanswered"], by_name["purchases"]),
        coefficients=np.log([0.5, 0.2, 1.0]),
        reference=np.array([0.0, 0.0, 1.0]),
        base=np.log(0.6),
        covariance=0.01 * np.eye(3),
    )
    frame = pd.DataFrame({"late": [1.0, 1, 0, 0], "unanswered": [0.0, 1, 0, 0], "purchases": 1.0})
    known = Known(None, frame, frame, 4)
    risk, loss = np.array([0.7, 0.94, 0.4, 0.4]), np.array([70.0, 94, 4, 4])
    causes = causes_of(staying, known, risk, loss, 0.9, np.random.default_rng(1), 400)
    split = np.log(0.5) / np.log(0.1)  # of what late parcel and complaint did together
    late, complaint = np.array([0.5, 0.9 * split]), np.array([0.9 * (1 - split)])
    # 1 - 0.6 × 0.5 = 0.7 and 1 - 0.6 × 0.1 = 0.94 lapse, so these shares of the risks are due to the causes
    assert causes.loc["delivery", "share"] == pytest.approx(late.sum() / risk.sum())
    assert causes.loc["complaint", "share"] == pytest.approx(complaint.sum() / risk.sum())
    assert causes.loc["delivery", "value_at_risk"] == pytest.approx(50 + 90 * split)
    assert causes["share"].sum() == pytest.approx(1)
    assert causes["value_at_risk"].sum() == pytest.approx(172)
    assert (causes["lower"] < causes["share"]).drop("unknown").all()
    assert (causes["share"] < causes["upper"]).drop("unknown").all()
    assert causes["customers"].to_dict() == {"delivery": 2, "complaint": 1, "unknown": 2}
    assert causes.index[-1] == "unknown"


def left(rng: np.random.Generator, n: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Late parcels drive half away, full prices a fifth; others pause by their rhythm. Who left stops watching."""
    late, full, rhythm = rng.random(n) < 0.2, rng.random(n) < 0.6, rng.normal(size=n)
    by_late, by_price = late & (rng.random(n) < 0.5), full & (rng.random(n) < 0.2)
    pause = special.expit(1.2 * rhythm - 0.4)
    lapsed = by_late | by_price | (rng.random(n) < pause)
    frame = pd.DataFrame({
        "model": 1.2 * rhythm - 0.4 + 0.5 * rng.normal(size=n),
        "absent": rng.normal(size=n) + 2.5 * (by_late | by_price),
        "late": late, "full_price": full, "purchases": rhythm,
    }).astype(float)  # fmt: skip
    both = by_late & by_price
    split = np.log(0.5) / np.log(0.5 * 0.8)
    acted = np.column_stack([by_late - (1 - split) * both, by_price - split * both])
    return frame.rename_axis("customer_id"), lapsed.astype(float), acted


def test_a_cause_is_not_hidden_by_the_signs_that_follow_it():
    """Full prices drive a tenth of their buyers away, who then stop watching: that sign leaves nothing to see."""
    rng, named, hidden = np.random.default_rng(13), 0, 0
    for _ in range(20):
        full, rhythm = rng.random(2500) < 0.6, rng.normal(size=2500)
        gone = full & (rng.random(2500) < 0.1)
        lapsed = (gone | (rng.random(2500) < special.expit(rhythm - 0.4))).astype(float)
        absent = rng.normal(size=2500) + 5.0 * gone
        frame = pd.DataFrame({"model": rhythm, "absent": absent, "full_price": full.astype(float), "purchases": rhythm})
        named += "price" in fit_hazard(frame, lapsed).groups
        beside = sm.Logit(lapsed, sm.add_constant(frame.drop(columns="model"))).fit(disp=0)
        hidden += beside.pvalues["full_price"] > 0.05
    assert named >= 13
    assert hidden >= 13


def test_what_takes_time_to_be_seen_is_no_cause():
    """A third left for no cause at all; a late parcel and a low rating show only some days after the purchase."""
    rng, named, n = np.random.default_rng(14), 0, 2500
    for _ in range(60):
        gone, rhythm = rng.random(n) < 0.33, rng.gamma(2, 12, n)
        quiet = np.where(gone, rng.uniform(0, 91, n), np.minimum(rng.exponential(rhythm), 90))
        lapsed = (gone | (rng.random(n) < np.exp(-56 / rhythm))).astype(float)
        frame = pd.DataFrame({
            "silence": np.log((quiet + 7) / (rhythm + 7)),
            "absent": rng.normal(size=n) + 2.0 * gone,
            "late": (quiet > 4) & (rng.random(n) < 0.1),
            "unhappy": (quiet > 10) & (rng.random(n) < 0.1),
            "full_price": rng.random(n) < 0.6,
            "purchases": -np.log(rhythm),
        }).astype(float)  # fmt: skip
        named += bool({"delivery", "satisfaction", "price"} & set(fit_hazard(frame, lapsed).groups))
    assert named <= 8  # nominal 5% at most, of one side: 3 of 60, and three standard errors


def test_true_shares_of_causes_are_found_though_signs_come_after_them():
    rng, names = np.random.default_rng(12), ["delivery", "price"]
    inside, off, by_odds = [], [], []
    for _ in range(30):
        frame, lapsed, _acted = left(rng, 4000)
        hazard = fit_hazard(frame, lapsed)
        plain = fit_hazard(frame.drop(columns="absent"), lapsed)
        assert set(names) <= set(plain.groups)
        now, happened, acted = left(rng, 800)
        known, risk = Known(None, now, now, 800), special.expit(hazard.logit(now))
        found = causes_of(learn_staying(plain, frame, lapsed), known, risk, None, 0.9, rng, 100).loc[names]
        true = acted.sum(axis=0) / happened.sum()
        off.append(found["share"] - true)
        inside.append((found["lower"] <= true) & (true <= found["upper"]))
        odds = hazard.parts(now)["delivery"].clip(lower=0)
        by_odds.append(float((1 - np.exp(-odds)) @ risk / risk.sum() - true[0]))
    assert np.abs(np.mean(off, axis=0)).max() < 0.015  # of shares near .15 and .19
    assert np.mean(by_odds) < -0.018  # as the odds ratio beside the signs would have it, unshared even
    assert np.mean(inside, axis=0).min() > 0.75  # nominal .9 of 30


def test_too_few_are_named():
    frame, _lapsed = drawn(np.random.default_rng(10), 100)
    for outcome in (np.zeros(100), np.ones(100), np.r_[np.ones(29), np.zeros(71)]):
        with pytest.raises(EmptyDataError, match="needs 30 who did"):
            fit_hazard(frame, outcome)
