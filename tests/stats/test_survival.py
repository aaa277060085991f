from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from clvlib.stats.survival import kaplan_meier, survival_at

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
