from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight

from clvlib.stats.survival import (
    clustered_survival,
    cumulative_incidence,
    kaplan_meier,
    share_by,
    survival_at,
    survival_quantile,
)

# Freireich et al. 1963, remission under 6-MP, weeks; the example of every textbook
WEEKS = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
RELAPSED = [True] * 9 + [False] * 12


def test_freireich() -> None:
    curve = kaplan_meier(WEEKS, RELAPSED)
    seen = curve[curve["events"] > 0]
    assert seen["survival"].round(3).tolist() == [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert seen["standard_error"].round(4).tolist() == [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346]
    # log-log limits as survival's conf.type="log-log" prints them for the first time
    assert tuple(seen.iloc[0][["lower", "upper"]].round(3)) == (0.620, 0.952)


rows = st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.integers(1, 4)), min_size=2, max_size=40)


@settings(max_examples=60)
@given(rows)
def test_against_statsmodels_and_weights_as_repetition(data: list[tuple[int, bool, int]]) -> None:
    t, event, w = (np.array(column) for column in zip(*data, strict=True))
    curve = kaplan_meier(t, event, w)
    repeated = kaplan_meier(np.repeat(t, w), np.repeat(event, w))
    np.testing.assert_allclose(curve, repeated, rtol=1e-9, atol=1e-12)
    assert ((curve["lower"] <= curve["survival"]) & (curve["survival"] <= curve["upper"])).all()
    assert curve[["events", "censored"]].to_numpy().sum() == w.sum()
    if event.any():
        seen = curve[curve["events"] > 0]
        with np.errstate(all="ignore"):
            theirs = SurvfuncRight(np.repeat(t, w), np.repeat(event, w).astype(int))
        np.testing.assert_allclose(seen["survival"], theirs.surv_prob, atol=1e-12)
        np.testing.assert_allclose(seen["at_risk"], theirs.n_risk)
        inner = seen["survival"].to_numpy() > 0
        np.testing.assert_allclose(seen["standard_error"][inner], theirs.surv_prob_se[inner], atol=1e-12)


def test_reading_the_curve() -> None:
    curve = kaplan_meier(WEEKS, RELAPSED)
    read = survival_at(curve, [0, 6, 9.5, 35, 40])
    assert read["survival"].round(3).tolist() == [1.0, 0.857, 0.807, 0.448, 0.448]
    assert read["beyond"].tolist() == [False] * 4 + [True]


def test_plain_interval_is_greenwoods() -> None:
    curve = kaplan_meier(WEEKS, RELAPSED, interval="plain")
    row = curve[curve["time"] == 10].iloc[0]
    assert row["upper"] - row["survival"] == pytest.approx(1.959964 * 0.09635, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "not empty"),
        (([1, 2], [True]), "equally long"),
        (([-1.0], [True]), "not negative"),
        (([1.0], [True], [0.0]), "weights finite and positive"),
        (([1.0], [True], None, 1.5), "level lies in"),
        (([1.0], [True], None, 0.9, "log"), "found 0.9 and 'log'"),
    ],
)
def test_bad_input(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kaplan_meier(*arguments)


def test_single_units_have_greenwoods_error() -> None:
    found = clustered_survival(WEEKS, RELAPSED, np.arange(21), 10)
    row = kaplan_meier(WEEKS, RELAPSED).set_index("time").loc[10.0]
    assert found["survival"] == row["survival"]
    assert found["standard_error"] == pytest.approx(row["standard_error"] * (21 / 20) ** 0.5)
    t = stats.t.isf(0.025, 20) / stats.norm.isf(0.025)
    spread = np.log(-np.log(row[["lower", "upper"]].astype(float)) / -np.log(row["survival"]))
    assert np.log(-np.log(found["lower"]) / -np.log(row["survival"])) == pytest.approx(
        spread["lower"] * t * (21 / 20) ** 0.5
    )
    assert not found["beyond"]


def test_copies_of_a_unit_say_nothing_new() -> None:
    once = clustered_survival(WEEKS, RELAPSED, np.arange(21), 16)
    thrice = clustered_survival(np.repeat(WEEKS, 3), np.repeat(RELAPSED, 3), np.repeat(np.arange(21), 3), 16)
    np.testing.assert_allclose(thrice.astype(float), once.astype(float), rtol=1e-9)


def test_without_censoring_it_is_the_ratio_of_cluster_sums() -> None:
    """Then 1 - S is a share of units, and its error that of a ratio estimator (Cochran 1977, equation 2.39)."""
    rng = np.random.default_rng(4)
    groups = rng.integers(0, 30, 200)
    t = rng.integers(1, 9, 200)
    found = clustered_survival(t, np.ones(200, bool), groups, 4)
    sizes, late = np.bincount(groups), np.bincount(groups, t > 4)
    ratio = late.sum() / sizes.sum()
    error = (30 / 29 * ((late - ratio * sizes) ** 2).sum()) ** 0.5 / 200
    assert found["survival"] == pytest.approx(ratio)
    assert found["standard_error"] == pytest.approx(error)


@pytest.mark.parametrize("spread", [0.5, 20.0])  # of the shares that groups accept: alike, or very unlike
def test_clustered_limits_cover(spread: float) -> None:
    rng, held, plain = np.random.default_rng(9), [], []
    for _ in range(300):
        sizes = 1 + rng.negative_binomial(0.7, 0.15, 60)
        share = np.repeat(rng.beta(0.3 * spread, 0.7 * spread, 60), sizes)
        converts = rng.random(len(share)) < share
        waits, watched = np.where(converts, rng.exponential(5, len(share)), 60.0), rng.uniform(0, 60, len(share))
        times, seen = np.minimum(waits, watched), converts & (waits <= watched)
        found = clustered_survival(times, seen, np.repeat(np.arange(60), sizes), 20)
        truth = 1 - 0.3 * (1 - np.exp(-20 / 5))
        held.append(found["lower"] <= truth <= found["upper"])
        naive = survival_at(kaplan_meier(times, seen), 20).iloc[0]
        plain.append(naive["lower"] <= truth <= naive["upper"])
    assert np.mean(held) > 0.91
    if spread < 1:
        assert np.mean(plain) < 0.85  # Greenwood's error knows of no groups


def test_ends_of_clustered_survival() -> None:
    early = clustered_survival([1, 2], [True, True], ["a", "b"], 0.5)
    assert (early["survival"], bool(early["beyond"])) == (1, False)
    assert np.isnan(early["lower"])
    assert clustered_survival([1, 2], [True, False], ["a", "b"], 3)["beyond"]
    assert np.isnan(clustered_survival([1, 2], [True, False], ["a", "a"], 1)["upper"])
    with pytest.raises(ValueError, match="a label for each of the 2 units"):
        clustered_survival([1, 2], [True, False], ["a"], 1)


def test_median_of_freireich() -> None:
    """23 weeks, as every textbook has it; R prints 13 and NA for the log-log limits."""
    assert survival_quantile(kaplan_meier(WEEKS, RELAPSED)) == (23.0, 13.0, np.inf)
    with pytest.raises(ValueError, match="between 0 and 1"):
        survival_quantile(kaplan_meier(WEEKS, RELAPSED), 1.0)


CAUSES = st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["", "a", "b"])), min_size=2, max_size=40)


@settings(max_examples=60)
@given(CAUSES)
def test_cumulative_incidence_against_statsmodels_and_kaplan_meier(data: list[tuple[int, str]]) -> None:
    t, cause = (np.array(column) for column in zip(*data, strict=True))
    if not (cause != "").any():
        with pytest.raises(ValueError, match="nothing happened"):
            cumulative_incidence(t, cause)
        return
    curve = cumulative_incidence(t, cause)
    names = np.unique(cause[cause != ""])
    with np.errstate(all="ignore"):
        theirs = CumIncidenceRight(t, np.searchsorted(names, cause) * (cause != "") + (cause != ""))
    for name, shares, errors in zip(names, theirs.cinc, theirs.cinc_se, strict=True):
        ours = curve[curve["cause"] == name]
        np.testing.assert_allclose(ours["incidence"][ours["time"].isin(theirs.times)], shares, atol=1e-12)
        known = np.isfinite(errors)
        np.testing.assert_allclose(ours["standard_error"].to_numpy()[: len(errors)][known], errors[known], atol=1e-9)
    whole = curve.groupby("time")["incidence"].sum()
    alone = kaplan_meier(t, cause != "")
    np.testing.assert_allclose(whole, 1 - alone["survival"], atol=1e-12)
    one = cumulative_incidence(t, np.where(cause != "", "any", ""))
    np.testing.assert_allclose(one["incidence"], 1 - alone["survival"], atol=1e-12)
    np.testing.assert_allclose(one["standard_error"], alone["standard_error"], atol=1e-9)
    np.testing.assert_allclose(one[["lower", "upper"]], 1 - alone[["upper", "lower"]], atol=1e-9)


def test_cumulative_incidence_by_hand_and_without_censoring() -> None:
    """At 1: 1/4 is kept. At 2: 3/4 times 1/3 comes back; one leaves unseen. At 3 the last is kept: 1/2 x 1."""
    curve = cumulative_incidence([1, 2, 2, 3], ["kept", "returned", "", "kept"])
    kept = curve[curve["cause"] == "kept"]
    assert kept["incidence"].tolist() == pytest.approx([0.25, 0.25, 0.75])
    assert kept["open"].tolist() == pytest.approx([0.75, 0.5, 0.0])
    whole = cumulative_incidence([1, 1, 2, 3, 4, 4], list("abaabb"), [3, 2, 5, 1, 4, 2])
    share = whole["incidence"]
    np.testing.assert_allclose(whole["standard_error"] ** 2, share * (1 - share) / 17, atol=1e-15)


def test_share_by_a_time() -> None:
    curve = kaplan_meier([1, 1, 2, 3, 4], [True, False, True, True, False])
    assert share_by(curve, 0.5) == {"estimate": 0.0, "lower": 0.0, "upper": pytest.approx(0.4345, abs=1e-4), "units": 5}
    assert np.isnan(share_by(curve, 4.5)["estimate"])  # nobody was followed beyond 4, and one is open
    full = kaplan_meier(np.arange(1, 41), np.arange(40) < 9)  # a plain proportion: all are followed beyond 9
    assert share_by(full, 9)["units"] == pytest.approx(40)
    assert share_by(kaplan_meier([1, 1], [False, False]), 1)["units"] == 2  # watched up to then, and nothing happened
    ended = kaplan_meier([1, 2], [True, True])
    assert share_by(ended, 9)["estimate"] == 1.0
    assert share_by(ended, 9)["units"] == 2


def test_intervals_of_incidence_cover() -> None:
    """Two causes with constant hazards .3 and .1, uniform censoring: F(2) = .3 / .4 x (1 - exp(-.8))."""
    rng = np.random.default_rng(4)
    truth = {"a": 0.75 * (1 - np.exp(-0.8)), "b": 0.25 * (1 - np.exp(-0.8))}
    held = {"a": [0, 0], "b": [0, 0]}
    for _ in range(200):
        event, censored = rng.exponential(2.5, 80), rng.uniform(0, 5, 80)
        cause = np.where(event <= censored, np.where(rng.random(80) < 0.75, "a", "b"), "")
        curve = cumulative_incidence(np.minimum(event, censored), cause)
        for name, share in truth.items():
            row = curve[(curve["cause"] == name) & (curve["time"] <= 2)].iloc[-1]
            read = share_by(curve[curve["cause"] == name], 2)
            held[name][0] += row["lower"] <= share <= row["upper"]
            held[name][1] += read["lower"] <= share <= read["upper"]
    assert all(0.90 <= count / 200 <= 0.99 for pair in held.values() for count in pair), held


@pytest.mark.parametrize(("t", "cause"), [([], []), ([1.0], ["", "a"]), ([-1.0], ["a"])])
def test_bad_input_of_incidence(t: list[float], cause: list[str]) -> None:
    with pytest.raises(ValueError, match="durations"):
        cumulative_incidence(t, cause)
