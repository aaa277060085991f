"""Target markets: every figure by hand, a currency that changes nothing, planted and absent differences, bad input."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.audience.markets import _segments, _valued, _weights, markets
from clvlib.audience.markets_people import people_of
from clvlib.audience.markets_plot import markets_data, markets_plot
from clvlib.data.identities import events_of
from clvlib.data.together import together
from clvlib.errors import DataError, EmptyDataError, MissingColumnError, ParameterError
from clvlib.report.tables import save_table
from clvlib.stats.ranks import rank_intervals
from tests.sequential import seldom

PERIOD = ("2026-11-02", "2026-11-16")
DAY = pd.Timestamp("2026-11-02")


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


@pytest.fixture(scope="module")
def people(shop):
    """The sample's people of twelve weeks, with what they spent in all as their value."""
    halves = (dt.date(2026, 8, 24), dt.date(2026, 10, 5), dt.date(2026, 11, 16))
    tables = {"customers": shop.table("customers"), "orders": shop.table("orders"), "events": events_of(shop)}
    frame = people_of(tables, halves, [], [18, 26, 36, 46, 56], ["exposure"])
    spent = shop.query("SELECT customer_id, CAST(SUM(net_amount) AS DOUBLE) AS v FROM orders GROUP BY 1")
    frame, _ = _valued(frame, spent.set_index("customer_id")["v"], watched=True)
    return frame[frame["found"]].reset_index(drop=True)


def small(rows):
    """Customers (gender, interests), and what each spent on which day; everybody is seen on the first day."""
    frame = pd.DataFrame(rows, columns=["customer_id", "gender", "interests", "spent"])
    orders = [(c, DAY + pd.Timedelta(days=d), a) for c, paid in zip(frame["customer_id"], frame["spent"], strict=True)
              for d, a in paid]  # fmt: skip
    sold = pd.DataFrame(orders, columns=["customer_id", "ordered_at", "amount"]).astype({"amount": float})
    seen = pd.DataFrame({"person_id": frame["customer_id"], "occurred_at": DAY})
    return frame.drop(columns="spent"), sold, seen


ROWS = [
    ("a", "female", "home|baby", [(0, 10), (8, 30)]),
    ("b", "female", "home", [(9, 20)]),
    ("c", "female", None, []),
    ("d", "male", "baby|", [(1, 40)]),
    ("e", "male", "baby", [(2, 10), (13, 10)]),
    ("f", None, "home| baby", [(3, 5), (10, 5)]),
    ("g", "other", "home", [(20, 99)]),  # after the period
]


def test_every_figure_by_hand():
    who, sold, seen = small(ROWS)
    worth = pd.Series({"a": 4.0, "b": 8.0, "d": 1.0, "e": 2.0, "f": 3.0, "c": 500.0})  # c bought nothing
    found = markets(who, sold, PERIOD, seen, worth, fewest=2)
    women, men = found.table.loc[("gender", "female")], found.table.loc[("gender", "male")]
    assert women[["people", "buyers", "size", "spending", "conversion"]].tolist() == [3, 2, 3, 30, 2 / 3]
    assert women[["growth", "value"]].tolist() == [2 / 1 - 1, 6]  # one bought in the first week, two in the second
    assert men[["people", "buyers", "spending", "conversion", "growth", "value"]].tolist() == [2, 2, 30, 1, -0.5, 1.5]
    # the shop: 130 by 5 buyers, 5 of 7 seen, 4 late by 4 early, 18 by 5; mean size 2.5
    logs = np.log([3 / 2.5, 30 / 26, (2 / 3) / (5 / 7), 2 / 1, 6 / 3.6])
    assert women["score"] == pytest.approx(100 * np.exp(logs.mean()))
    # how each of the three moves the mean of the five logs: a, b, c
    a = [1 / 3, 40 / 60 - 1 / 2, 1 / 2 - 1 / 3, 1 / 2 - 1, 4 / 12 - 1 / 2]
    b = [1 / 3, 20 / 60 - 1 / 2, 1 / 2 - 1 / 3, 1 / 2, 8 / 12 - 1 / 2]
    c = [1 / 3, 0, -1 / 3, 0, 0]
    error = np.sqrt(sum((sum(row) / 5) ** 2 for row in (a, b, c)))
    assert women["score_upper"] / women["score"] == pytest.approx(np.exp(1.959964 * error))
    assert found.table.loc[("gender", "other"), ["people", "buyers"]].tolist() == [1, 0]
    assert np.isnan(found.table.loc[("gender", "other"), "rank"])
    assert found.unknown == {"gender": 1, "interests": 1}
    assert found.left_out_sentence.startswith("Not ranked: 1 segments of fewer than 2 buyers, 0 people without a row")
    # who has two interests is in both segments
    assert found.table.loc[("interests", "home"), ["people", "buyers"]].tolist() == [4, 3]
    assert found.table.loc[("interests", "baby"), ["people", "buyers"]].tolist() == [4, 4]
    part = _segments(_people(who, sold, seen), "interests", {"size": 1.0}, 2)
    # baby: a, d, e, f; home: a, b, f, g; two are shared, each moves the log of a size by a fourth
    np.testing.assert_allclose(part.covariance, [[1 / 4, 2 / 16], [2 / 16, 1 / 4]])


def _people(who, sold, seen):
    halves = (dt.date(2026, 11, 2), dt.date(2026, 11, 9), dt.date(2026, 11, 16))
    return people_of(together(customers=who, orders=sold, events=seen), halves, ["interests"], [18], [])


def test_weights_of_ones_own():
    who, sold, seen = small(ROWS)
    value = pd.Series(1.0, index=who["customer_id"])
    by_size = markets(who, sold, PERIOD, seen, value, weights={"size": 2}, fewest=2)
    assert by_size.weights == {"size": 1, "spending": 0, "conversion": 0, "growth": 0, "value": 0}
    assert by_size.leader("gender").name == "female"
    by_conversion = markets(who, sold, PERIOD, seen, weights={"conversion": 1}, fewest=2)
    assert by_conversion.leader("gender").name == "male"
    assert by_conversion.absent == ("value",)
    blind = markets(who, sold, PERIOD, fewest=2)
    assert set(blind.weights) == {"size", "spending", "growth"}
    assert sum(blind.weights.values()) == pytest.approx(1)


def test_what_another_weight_would_change():
    """Women lead by size 3:2, men by conversion 1 to 2/3: with these two the lead turns where both weigh alike."""
    who, sold, seen = small(ROWS)
    found = markets(who, sold, PERIOD, seen, weights={"size": 3, "conversion": 1}, fewest=2)
    rows = found.rivals.xs("gender", level="feature")
    assert rows.loc["size", ["weight", "rival"]].tolist() == [0.75, "male"]
    assert rows.loc["size", "needed"] == pytest.approx(0.5)
    assert rows.loc["conversion", "needed"] == pytest.approx(0.5)
    turned = markets(who, sold, PERIOD, seen, weights={"size": 49, "conversion": 51}, fewest=2)
    assert turned.leader("gender").name == "male"
    assert rows.loc["spending", "rival"] is None or np.isnan(rows.loc["spending", "needed"])


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
@settings(max_examples=8)
def test_currency_units_and_order_of_rows_change_no_rank(rate, unit, shuffle):
    rng = np.random.default_rng(4)
    spent = rng.gamma(2, 50, (150, 2)).round(2) + 0.01
    rows = [(f"c{i}", "xyz"[i % 3], None, [*zip(rng.integers(0, 14, 2), spent[i], strict=True)]) for i in range(150)]
    who, sold, seen = small(rows)
    worth = pd.Series(rng.gamma(2, 50, 150), index=who["customer_id"])
    order = list(range(len(sold)))
    shuffle.shuffle(order)
    one = markets(who, sold, PERIOD, seen, worth)
    other = markets(who.iloc[::-1], sold.iloc[order].assign(amount=sold["amount"] * rate), PERIOD, seen, worth * unit)
    columns = ["rank", "rank_lower", "rank_upper", "score", "score_lower", "score_upper"]
    pd.testing.assert_frame_equal(one.table[columns], other.table[columns], rtol=1e-7)
    assert one.sentence == other.sentence


@pytest.mark.slow
def test_where_nothing_differs_nothing_is_claimed(people):
    """The sample's people under labels dealt anew: all six features in one report, no segment is told from another."""
    rng = np.random.default_rng(5)
    features = ["age_band", "gender", "region", "city_tier", "income_band", "interests"]
    shares = _weights({"spending": 1, "conversion": 1, "growth": 1, "value": 1}, [])  # sizes do differ

    def claimed() -> bool:
        dealt = people.assign(**{name: people[name].to_numpy()[rng.permutation(len(people))] for name in features})
        parts = [_segments(dealt, name, shares, 30) for name in features]
        return any(rank_intervals(part.scores, part.covariance, 1 - 0.05 / 6)["ahead"].any() for part in parts)

    assert seldom((claimed() for _ in range(400)), 0.05, 0.15)


def test_labels_without_meaning_are_not_told_apart(people):
    """As above, in short: gender alone, dealt anew, and by all criteria but size."""
    rng, claims = np.random.default_rng(2), 0
    shares = _weights({"spending": 1, "conversion": 1, "growth": 1, "value": 1}, [])
    for _ in range(40):
        dealt = people.assign(gender=people["gender"].to_numpy()[rng.permutation(len(people))])
        part = _segments(dealt, "gender", shares, 30)
        claims += bool(rank_intervals(part.scores, part.covariance)["ahead"].any())
    assert claims / 40 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)


def test_the_scores_errors_are_those_of_a_bootstrap(people):
    """People drawn anew, a Poisson number of times each, as the errors take it."""
    rng = np.random.default_rng(6)
    shares = _weights(None, [])
    part = _segments(people, "age_band", shares, 30)
    draws = []
    for _ in range(80):
        again = people.loc[np.repeat(np.arange(len(people)), rng.poisson(1, len(people)))].reset_index(drop=True)
        draws.append(_segments(again, "age_band", shares, 10).scores)
    drawn = pd.DataFrame(draws)[part.scores.index]
    drawn = drawn.sub(drawn.mean(axis=1), axis=0)  # the mean size, which is the same for all, moves too
    middle = np.eye(len(part.scores)) - 1 / len(part.scores)
    ratio = drawn.std() / np.sqrt(np.diag(middle @ part.covariance @ middle))
    assert ratio.between(0.7, 1.35).all()


def test_a_planted_difference_is_found(people):
    better = people["gender"].eq("male")
    lifted = people.assign(value=people["value"].where(~better, people["value"] * 2))
    part = _segments(lifted, "gender", _weights({"value": 1, "conversion": 1}, []), 30)
    found = rank_intervals(part.scores, part.covariance, 0.95)
    assert found.loc["male", "rank_upper"] == 1


def test_the_sample_shop(shop):
    found = markets(
        shop.table("customers"),
        shop.table("orders"),
        ("2026-08-24", "2026-11-16"),
        events_of(shop),
        viewing=["exposure"],
    )
    assert found.absent == ("value",)
    assert set(found.table.index.get_level_values("feature")) == {
        "age_band", "gender", "region", "city_tier", "income_band", "interests"
    }  # fmt: skip
    assert found.sentence.startswith("Under these weights ")
    assert "age_band" not in found.sentence
    assert (
        (found.ranked["rank_lower"] <= found.ranked["rank"]) & (found.ranked["rank"] <= found.ranked["rank_upper"])
    ).all()
    truth = shop.query(
        "SELECT COUNT(DISTINCT o.customer_id) AS n FROM orders AS o JOIN customers USING (customer_id) "
        "WHERE gender = 'female' AND is_purchase AND ordered_at >= '2026-08-24'"
    )
    assert found.table.loc[("gender", "female"), "buyers"] == truth["n"].iloc[0]
    ranking, criteria = found.ranking, found.criteria
    assert ranking.index.get_level_values(0)[:3].tolist() == ["age_band"] * 3
    assert len(ranking) == len(criteria) == len(found.table)
    assert [*criteria.columns[:3]] == ["buyers", "spending", "spending_interval"]
    assert set(found.formats) <= set(criteria)


def test_a_part_of_the_shop_and_orders_that_know_no_viewers(shop):
    part = shop.where(platform="Douyin")
    found = markets(part.table("customers"), part.table("orders"), ("2026-05-18", "2026-11-16"), events_of(part))
    whole = markets(shop.table("customers"), shop.table("orders"), ("2026-05-18", "2026-11-16"), events_of(shop))
    assert 0 < found.table.loc[("gender", "female"), "buyers"] < whole.table.loc[("gender", "female"), "buyers"]


def test_sentences():
    rng = np.random.default_rng(1)
    rows = [(f"c{i}", "xy"[i % 2], None, [(0, 50 + rng.random()), (10, 50 + rng.random())]) for i in range(80)]
    who, sold, seen = small(rows)
    alike = markets(who, sold, PERIOD, seen)
    assert alike.left_out_sentence == ""
    assert (
        alike.sentence
        == "Under these weights the segments of 1 feature cannot be told apart: their order may be chance."
    )
    dear = sold.assign(amount=sold["amount"].where(sold["customer_id"].str[1:].astype(int) % 2 == 0, 10.0))
    found = markets(who, dear, PERIOD, seen, weights={"spending": 3, "size": 1})
    assert found.sentence == "Under these weights x ranks first of 2 by gender."
    assert found.weights_sentence.startswith("By gender x stays first whatever")
    data = markets_data(found)
    assert data["ahead"].tolist() == [True, False]
    ax = markets_plot(found, title="Claim")
    assert sorted(x for line in ax.lines[:2] for x in line.get_xdata()) == sorted(data["score"])


def test_bad_input():
    who, sold, seen = small(ROWS)
    wrong = {"no criterion luck": {"luck": 1}, "not negative": {"size": -1}, "can be had": {"value": 1}}
    for says, weights in (wrong | {"finite": {"size": float("nan")}}).items():
        with pytest.raises(ParameterError, match=says):
            markets(who, sold, PERIOD, seen, weights=weights, fewest=2)
    with pytest.raises(ParameterError, match="value: some are negative"):
        markets(who, sold, PERIOD, seen, pd.Series(-1.0, index=who["customer_id"]), fewest=2)
    with pytest.raises(ParameterError, match="fewest at least 2"):
        markets(who, sold, PERIOD, fewest=1)
    with pytest.raises(EmptyDataError, match="no feature has two segments of 30 buyers"):
        markets(who, sold, PERIOD, seen)
    with pytest.raises(EmptyDataError, match="nobody watched or bought"):
        markets(who, sold, ("2020-01-06", "2020-01-13"), seen)
    with pytest.raises(MissingColumnError, match="there is no age_band"):
        markets(who[["customer_id"]], sold, PERIOD)
    with pytest.raises(DataError, match="several rows"):
        markets(pd.concat([who, who]), sold, PERIOD, seen, fewest=2)


def test_tables_can_be_saved_as_they_are_shown(tmp_path):
    who, sold, seen = small(ROWS)
    found = markets(who, sold, PERIOD, seen, fewest=2)
    for name in ("ranking", "criteria", "table"):
        save_table(getattr(found, name), tmp_path, name)
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == len(found.table)
    saved = pd.read_csv(tmp_path / "ranking.csv").set_index("segment")
    assert saved.loc["female", "ranks"] == str(found.ranking.loc[("gender", "female"), "ranks"])
