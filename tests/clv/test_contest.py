"""The contest of scores: its measures against SciPy, its intervals by simulation, and a shop whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvlib as clv
from clvlib.clv.contest import contest_plot, rank_contest, value_contest
from clvlib.clv.scores import gains, gini
from clvlib.clv.valuation import CustomerValue
from clvlib.errors import EmptyDataError, ParameterError


def drawn(rng: np.random.Generator, n: int, noise: float = 1.0) -> tuple[pd.DataFrame, pd.Series]:
    worth = rng.normal(size=n)
    scores = pd.DataFrame({"near": worth + 0.3 * rng.normal(size=n), "far": worth + 2 * rng.normal(size=n)})
    spent = pd.Series(np.maximum(worth + noise * rng.normal(size=n), 0.0))
    return scores, spent


def test_measures_are_those_of_others():
    scores, spent = drawn(np.random.default_rng(1), 400)
    scores["far"] = scores["far"].round()  # with ties
    table = rank_contest(scores, spent).table
    for name in scores:
        assert table.loc[name, "spearman"] == pytest.approx(stats.spearmanr(scores[name], spent).statistic)
        assert table.loc[name, "gini"] == pytest.approx(gini(scores[name], spent))
        assert table.loc[name, "top_share"] == pytest.approx(gains(scores[name], spent, 11)[1])
    order = scores["near"].sort_values(ascending=False).index
    assert table.loc["near", "top_share"] == pytest.approx(spent[order[:40]].sum() / spent.sum())
    assert list(table.index) == ["near", "far"]
    assert table.loc["near", ["difference", "difference_lower", "difference_upper"]].eq(0).all()
    assert table.loc["far", "difference_upper"] < 0


def test_scores_count_by_their_order_alone():
    scores, spent = drawn(np.random.default_rng(2), 200)
    result = rank_contest(scores, spent)
    other = rank_contest(np.exp(scores / 3) * 1000, spent * 7)
    pd.testing.assert_frame_equal(other.table, result.table)
    assert other.spent == pytest.approx(7 * result.spent)


def test_intervals_cover_and_equals_are_seldom_told_apart():
    rng = np.random.default_rng(3)
    many, later = drawn(rng, 400_000)
    truth = stats.spearmanr(many["near"], later).statistic
    inside = told = 0
    for _ in range(100):
        scores, spent = drawn(rng, 200)
        worth = scores.pop("far") * 0 + spent + rng.normal(size=200)
        scores["one"], scores["other"] = worth + rng.normal(size=200), worth + rng.normal(size=200)
        inside += rank_contest(scores[["near"]], spent, 0.9, 100, rng).table["spearman_upper"].iloc[0] >= truth
        told += rank_contest(scores[["one", "other"]], spent, 0.9, 100, rng).table["difference_upper"].iloc[1] < 0
    assert 0.88 <= inside / 100 <= 1.0  # one-sided, nominal 0.95, three errors of 100 trials
    assert told / 100 < 0.2  # nominal 0.1: of two equals the data choose which one lost


def test_a_shop_is_ranked_by_what_was_known(orders):
    frame = orders.rename(columns={"date": "ordered_at"})
    shop = clv.connect({"orders": frame.assign(ordered_at=frame["ordered_at"].dt.strftime("%Y-%m-%d"))})
    study = CustomerValue(model="BetaGeoModel")
    result = value_contest(shop, "1998-06-30", 39, study)
    _, later = shop.calibration_holdout("1997-09-30", "1998-06-30")
    assert result.customers == 2357
    assert result.buyers == (later["frequency_holdout"] > 0).sum()
    assert set(result.table.index) == {"RCV", "RFM", "past spend", "model"}
    assert (result.table["top_share"] > 0.3).all()
    assert result.table.loc["RCV", "difference_upper"] < 0
    known = shop.customer_summary("1997-09-30")
    later = (later["frequency_holdout"] * later["monetary_value_holdout"]).loc[known.index]
    points = clv.rfm(known).table[["R", "F", "M"]].sum(axis=1)
    assert result.table.loc["RFM", "spearman"] == pytest.approx(stats.spearmanr(points, later).statistic)
    tiers = pd.DataFrame({"tier": (shop.customer_summary("1997-09-30")["frequency"] > 2).astype(float)})
    assert "tier" in value_contest(shop, "1998-06-30", 39, study, tiers, scale="rank").table.index
    ax = contest_plot(result)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(result.table.index[::-1])
    share = result.table.loc[result.best, "top_share"]
    assert ax.get_title(loc="left") == f"The best tenth by {result.best} brought {share:.0%} of later spend"


def test_what_cannot_be_is_refused():
    scores, spent = drawn(np.random.default_rng(4), 20)
    for bad in (scores.assign(near=np.nan), scores.assign(near=np.inf)):
        with pytest.raises(ParameterError, match="every score"):
            rank_contest(bad, spent)
    with pytest.raises(ParameterError, match="not negative"):
        rank_contest(scores, spent - 5)
    with pytest.raises(EmptyDataError, match="the same"):
        rank_contest(scores, spent * 0)
    with pytest.raises(ParameterError, match="draws"):
        rank_contest(scores, spent, draws=10)
