"""Next product: textbook figures, counting by hand, chance finds, planted companions, bad input, real shops."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import combinations, pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import clvlib as clv
from clvlib.clv import next_product_rules as rules_of
from clvlib.clv.next_product import POPULAR, _score_table, next_product
from clvlib.clv.next_product_plots import hits_plot
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.words import speaking
from tests.conftest import ROOT, shared_data

LAST = "2026-11-15"
TAN = [  # Tan, Steinbach & Kumar, Introduction to Data Mining, table 6.1
    {"bread", "milk"},
    {"bread", "diapers", "beer", "eggs"},
    {"milk", "diapers", "beer", "cola"},
    {"bread", "milk", "diapers", "beer"},
    {"bread", "milk", "diapers", "cola"},
]


def shop_of(baskets, who=None, days=None) -> pd.DataFrame:
    rows = [
        (
            i if who is None else who[i],
            pd.Timestamp("2026-01-05") + pd.Timedelta(days=0 if days is None else days[i]),
            p,
        )
        for i, basket in enumerate(baskets)
        for p in basket
    ]
    return pd.DataFrame(rows, columns=["customer_id", "day", "product_id"])


def read(frame, largest=200):
    return rules_of.Baskets.read(frame, pd.Timestamp(LAST).date(), largest)


def pairs_of(b, first, then, least=1) -> pd.DataFrame:
    """All pairs that meet, by name, with their measures."""
    frame = rules_of.count_pairs(first, then, least)[0]
    counts = (frame[name].to_numpy(dtype=float) for name in ("count", "bought_count", "then_count", "of"))
    return frame.assign(**rules_of.measures(*counts)).set_index([b.products[frame["a"]], b.products[frame["b"]]])


def test_textbook_figures():
    """Diapers and beer meet in 3 of 5 baskets; 4 have diapers, 3 beer: confidence 3/4, lift 3·5/(4·3)."""
    b = read(shop_of(TAN))
    row = pairs_of(b, b.held, b.held).loc[("diapers", "beer")]
    assert row[["count", "bought_count", "then_count", "of"]].tolist() == [3, 4, 3, 5]
    assert row[["support", "confidence", "lift"]].tolist() == pytest.approx([0.6, 0.75, 1.25], rel=1e-15)
    assert row["leverage"] == pytest.approx(0.6 - 0.8 * 0.6)
    assert row["conviction"] == pytest.approx((1 - 0.6) / (1 - 0.75))
    assert pairs_of(b, b.held, b.held).loc[("beer", "diapers"), "conviction"] == math.inf


def test_published_measures():
    """Han, Kamber & Pei, Data Mining, section 6.3: games and videos, 40% and 66%, lift 0.89."""
    found = rules_of.measures(*(np.array([float(v)]) for v in (4000, 6000, 7500)), 10_000)
    assert found["support"][0] == 0.4
    assert round(found["confidence"][0], 2) == 0.67
    assert round(found["lift"][0], 2) == 0.89
    assert found["leverage"][0] == pytest.approx(-0.05)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.sets(st.integers(0, 6), min_size=1)), min_size=3))
def test_counts_are_those_by_hand(rows):
    """Brute force over customers' days: pairs within one, and from one to the next."""
    frame = shop_of([r[2] for r in rows], [r[0] for r in rows], [r[1] for r in rows])
    days = {key: set(part) for key, part in frame.groupby(["customer_id", "day"])["product_id"]}
    if len(days) < 2 or frame["product_id"].nunique() < 2:
        return
    b = read(frame)
    keys = sorted(days)
    steps = [(x, y) for x, y in pairwise(keys) if x[0] == y[0]]
    first, later = b.steps
    cases = [([(k, k) for k in keys], b.held, b.held), (steps, b.held[first], b.held[later])]
    for pairs, left, right in cases[: 1 + bool(steps)]:
        wanted = {}
        for x, y in permutations(b.products, 2):
            both = sum(x in days[s] and y in days[t] for s, t in pairs)
            if both:
                sold = (sum(x in days[s] for s, _ in pairs), sum(y in days[t] for _, t in pairs))
                wanted[x, y] = (both, *sold, len(pairs))
        found = pairs_of(b, left, right)[["count", "bought_count", "then_count", "of"]]
        assert {pair: tuple(row) for pair, row in zip(found.index, found.to_numpy(), strict=True)} == wanted


def test_the_test_is_no_laxer_than_fishers():
    rng = np.random.default_rng(3)
    n = rng.integers(20, 3000, 5000)
    a, b = rng.integers(1, n), rng.integers(1, n)
    count = np.minimum(rng.hypergeometric(a, n - a, b) + rng.integers(0, 19, 5000), np.minimum(a, b))
    keep = (count > 0) & (count * n > a * b)
    frame = pd.DataFrame({"count": count, "bought_count": a, "then_count": b, "of": n})[keep]
    ours = rules_of._tail(frame, np.ones(len(frame)))
    fisher = stats.hypergeom.sf(frame["count"] - 1, frame["of"], frame["bought_count"], frame["then_count"])
    assert (ours >= fisher * (1 - 1e-9))[fisher < 0.01].all()  # near the mean the two cross
    rare = frame[["bought_count", "then_count"]].min(axis=1)
    often = frame[["bought_count", "then_count"]].max(axis=1) / frame["of"]
    np.testing.assert_allclose(ours, stats.binom.sf(frame["count"] - 1, rare, often), rtol=1e-8)


def random_shop(seed, companions=(), customers=400, baskets=6, taste=0.0):
    """Popular and rare products at random; each customer leans to one group of products by ``taste``."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, 31)
    rows = []
    for c in range(customers):
        weight = popularity * np.where(np.arange(30) % 3 == c % 3, 1 + taste, 1)
        last: set = set()
        for d in range(baskets):
            basket = set(rng.choice(30, 3, replace=False, p=weight / weight.sum()))
            basket |= {b for a, b in companions if a in last and rng.random() < 0.4}
            rows += [(c, d, p) for p in basket]
            last = basket
    frame = pd.DataFrame(rows, columns=["customer_id", "d", "product_id"])
    return frame.assign(day=pd.Timestamp("2026-07-06") + pd.to_timedelta(frame["d"] * 21, "D"))


def test_nothing_is_found_where_nothing_is_planted():
    found = [next_product(random_shop(seed), LAST).rules for seed in range(12)]
    assert sum(count > 0 for count in found) <= 2  # 5% a shop: three or more with a chance of 2%
    repeated = random_shop(1, customers=8, baskets=4)  # eight customers, each of whose baskets come again ten times
    copies = [repeated.assign(day=repeated["day"] - pd.Timedelta(weeks=14 * k)) for k in range(10)]
    assert next_product(pd.concat(copies), LAST).table.empty


def test_planted_companions_are_found_with_their_order_and_taste_has_none():
    planted = {(7, 12), (20, 5)}
    table = next_product(random_shop(5, planted, customers=900, taste=2.0), LAST, min_lift=1.0).table
    assert set(map(tuple, table.loc[table["in_order"], ["bought", "then"]].to_numpy())) == planted
    same_taste = table[~table["in_order"]]
    assert len(same_taste) > 0
    assert (same_taste["bought"] % 3 == same_taste["then"] % 3).all()


def test_intervals_of_lift_hold():
    """Baskets at random: the lift of every pair is 1, and 95 of 100 single intervals should hold it."""
    inside = []
    for seed in range(6):
        b = read(random_shop(seed).assign(customer_id=lambda f: f["customer_id"]))
        first, later = b.steps
        left, right = b.held[first], b.held[later]
        frame = pd.DataFrame(
            [(left[:, [i]].sum(), right[:, [j]].sum(), (left[:, [i]].T @ right[:, [j]]).sum(), i, j)
             for i, j in combinations(range(8), 2)],
            columns=["bought_count", "then_count", "count", "a", "b"],
        ).assign(of=len(first))  # fmt: skip
        effect = rules_of._design_effect(left, right, b.who[first], frame)
        found = rules_of._measured(frame, effect, 0.05)
        inside += ((found["lift_lower"] < 1) & (found["lift_upper"] > 1)).tolist()
    assert np.mean(inside) > 0.93


def test_hit_rates_by_hand():
    """Ten pairs of customers: after tea comes a pot; held out, 6 of 20 follow, so 30%."""
    rows = []
    for c in range(60):
        rows += [(c, "2026-02-02", "tea" if c % 2 else "ink"), (c, "2026-03-02", "pot" if c % 2 else "pen")]
        if c < 20:
            rows += [(c, "2026-10-05", "tea"), (c, "2026-10-12", "pot" if c < 6 else "cup")]
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "product_id"])
    found = next_product(frame.assign(day=pd.to_datetime(frame["day"])), LAST, k=1, holdout_weeks=8)
    assert found.scores["baskets"].tolist() == [40] * 4  # the first step after the split starts in spring
    # of the first steps (pot or pen, then tea) no rule speaks: "ink" or "pen" are as popular as "tea" and come first
    assert found.scores.loc["rules", "hit_rate"] == pytest.approx(6 / 40)
    assert found.verdict == "fail"
    assert found.scores.loc["same again", "hit_rate"] == 0
    top = found.recommendations.set_index("customer_id")
    assert len(top) == 60
    assert top.loc[6, "because"] == POPULAR
    with speaking("en"):
        assert "below the threshold of 70%" in found.sentence


def hit_rates_by_hand(frame, split, k):
    """Share of later baskets that hold one of k products, without rules; ties in order of names."""
    days = {key: set(part) for key, part in frame.groupby(["customer_id", "day"])["product_id"]}
    sold = Counter(p for (_, day), basket in days.items() if day <= split for p in basket)
    popular = sorted(sold, key=lambda p: (-sold[p], p))
    hits = []
    for (who, day), (again, later) in pairwise(sorted(days)):
        if who != again or later <= split:
            continue
        last, came = days[who, day], days[again, later]
        others = [p for p in popular if p not in last]
        same = (sorted(last, key=lambda p: (-sold[p], p)) + others)[:k]
        hits.append([bool(came & set(chosen)) for chosen in (others[:k], popular[:k], same)])
    return np.mean(hits, axis=0).tolist()


@pytest.mark.parametrize("k", [1, 3, 6])
def test_simple_ways_hit_as_often_as_by_hand(k):
    """Many customers have a product of their own that nobody else buys, which only "same again" can know."""
    frame = random_shop(9, customers=120)
    own = frame[["customer_id", "day"]].drop_duplicates().query("customer_id % 2 == 0")
    own = own.assign(product_id=100 + own["customer_id"])
    new = own.query("customer_id < 20 and day > '2026-08-20'").assign(product_id=lambda f: f["product_id"] + 500)
    frame = pd.concat([frame, own.sample(frac=0.7, random_state=1), new])
    found = next_product(frame, LAST, k=k, min_count=1000).scores["hit_rate"]
    assert found.iloc[1:].tolist() == pytest.approx(hit_rates_by_hand(frame, pd.Timestamp("2026-08-16"), k), abs=1e-12)
    assert found["rules"] == found["other popular"]  # there are none


def test_intervals_of_hit_rates_hold_for_customers_who_are_alike():
    """Customers with a rate each, of mean 0.3, and one to ten baskets: intervals hold 0.3, and no difference."""
    rng = np.random.default_rng(8)
    inside = []
    for _ in range(400):
        who = np.repeat(np.arange(80), rng.integers(1, 11, 80))
        rates = [rng.beta(1.5, 3.5, 80)[who], rng.beta(0.9, 2.1, 80)[who]]
        hits = np.stack([rng.random(len(who)) < r for r in (rates[0], rates[1], rates[0], rates[0])], axis=1)
        table = _score_table(hits.astype(float), who, 0.95)
        inside.append((table["lower"] < 0.3) & (table["upper"] > 0.3))
        inside[-1]["difference"] = table["difference_lower"].iloc[1] < 0 < table["difference_upper"].iloc[1]
    assert (np.mean(inside, axis=0) > 0.92).all()


def test_the_difference_is_students_where_each_customer_has_one_basket():
    hits = (np.random.default_rng(2).random((60, 4)) < [0.6, 0.5, 0.4, 0.3]).astype(float)
    table = _score_table(hits, np.arange(60), 0.9)
    for i in (1, 2, 3):
        limits = stats.ttest_rel(hits[:, 0], hits[:, i]).confidence_interval(0.9)
        assert table[["difference_lower", "difference_upper"]].iloc[i].tolist() == pytest.approx(
            list(limits), abs=1e-12
        )
    one = _score_table(np.ones((5, 4)), np.zeros(5, int), 0.95)  # five baskets of one customer count as one
    assert one.loc["rules", "lower"] == pytest.approx(1 / (1 + stats.norm.ppf(0.975) ** 2))


def test_verdicts_and_order_of_rows():
    frame = random_shop(2, {(7, 12)})
    found = next_product(frame, LAST, threshold=0.9)
    row = found.scores.loc["rules"]
    assert found.verdict == "fail"
    drawn = [line.get_xdata()[0] for line in hits_plot(found).lines[1:9:2]]
    assert drawn == found.scores["hit_rate"].tolist()[::-1]
    assert next_product(frame, LAST, threshold=row["hit_rate"]).verdict == "undecided"
    assert next_product(frame, LAST, threshold=row["lower"] - 1e-6).verdict == "pass"
    again = next_product(frame.sample(frac=1, random_state=1), LAST, threshold=0.9)
    for name in ("table", "together", "scores", "recommendations"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(again, name))
    assert next_product(frame, LAST, holdout_weeks=100).verdict == "undecided"  # nothing was known so long ago
    later = pd.concat([frame, frame.assign(day=pd.Timestamp("2026-12-01"))])
    pd.testing.assert_frame_equal(next_product(later, LAST).table, found.table)


def test_bad_input_is_named_or_counted():
    frame = random_shop(4, customers=50)
    with pytest.raises(MissingColumnError, match="product_id"):
        next_product(frame.drop(columns="product_id"), LAST)
    with pytest.raises(EmptyDataError, match="only one product"):
        next_product(frame.assign(product_id="tea"), LAST)
    with pytest.raises(EmptyDataError, match="fewer than two baskets"):
        next_product(frame.assign(customer_id=1, day=pd.Timestamp("2026-07-06")), LAST)
    with pytest.raises(EmptyDataError, match="no purchase"):
        next_product(frame, "2020-01-01")
    for wrong in ({"k": 0}, {"threshold": 70}, {"min_lift": 0.5}, {"largest": 1}, {"alpha": 1}):
        with pytest.raises(ParameterError):
            next_product(frame, LAST, **wrong)
    text = frame.assign(product_id=frame["product_id"].astype(str).astype(object), quantity=2.0)
    text.loc[text.index[:5], "product_id"] = [None, np.nan, "", " ", "nan"]
    text.loc[text.index[5:12], "quantity"] = [-1, 0, -2, -1, -1, -1, -1]
    huge = shop_of([[f"x{i}" for i in range(1000)]] * 3, who=[0, 1, 2])
    found = next_product(pd.concat([text, huge]), LAST)
    assert found.left_out.to_dict() == {"returned": 7, "no_product": 5, "large_baskets": 3}
    assert next_product(pd.concat([text, huge]), LAST, largest=1000).products == found.products + 1000
    once = next_product(frame[frame["d"] == 0], LAST)  # nobody came back
    assert (once.rules, once.verdict) == (0, "undecided")
    assert "undecided" in once.sentence
    with pytest.raises(EmptyDataError, match="held out"):
        hits_plot(once)


def test_a_product_bought_by_all_is_no_rule():
    bag = random_shop(6, {(7, 12)})
    days = bag[["customer_id", "day"]].drop_duplicates().assign(product_id=99)
    found = next_product(pd.concat([bag, days]), LAST)
    assert not (found.table[["bought", "then"]] == 99).any(axis=None)
    assert not (found.together[["bought", "then"]] == 99).any(axis=None)
    assert found.scores.loc[["popularity", "same again"], "hit_rate"].tolist() == [1, 1]


def test_the_sample_shop_shows_its_companions_and_nothing_else(sample_shop):
    planted = json.loads((ROOT / "data" / "sample" / "truth.json").read_text())["parameters"]["products"]
    found = clv.next_product(sample_shop.table("orders"), LAST)
    pairs = set(map(tuple, found.table[["bought", "then"]].to_numpy()))
    assert pairs == set(planted["companions"].items()) - {("P055", "P058")}  # of which there are too few
    assert found.table["in_order"].all()
    assert found.together.empty  # an order is for one product
    z = (found.table["confidence"] - planted["companion_probability"]) * np.sqrt(found.table["bought_count"] / 0.23)
    assert z.abs().max() < 3  # returned orders and free choices move it a little
    assert found.verdict == "fail"
    assert found.scores.loc[["other popular", "popularity", "same again"], "difference_lower"].min() > 0


def test_a_larger_sample_shop_shows_all_of_them(larger_shop):
    table = clv.next_product(larger_shop.table("orders"), larger_shop.data_until).table
    pairs = set(map(tuple, table.loc[table["in_order"], ["bought", "then"]].to_numpy()))
    truth = json.loads((larger_shop.folder / "truth.json").read_text())
    assert pairs == set(truth["parameters"]["products"]["companions"].items())


@pytest.mark.parametrize(
    ("name", "against_popular"), [("online_retail", 0), pytest.param("complete_journey", -1, marks=pytest.mark.slow)]
)
def test_real_shops_mostly_buy_the_same_again(name, against_popular):
    folder = shared_data(name)
    shop = clv.connect(folder / "online_retail.parquet" if name == "online_retail" else folder, mapping=name)
    found = next_product(shop.table("orders"), shop.data_until)
    assert found.verdict == "fail"
    assert found.scores.loc["same again", "difference_upper"] < 0
    assert found.scores.loc["other popular", "difference_lower"] > 0  # like with like: what the last basket lacked
    row = found.scores.loc["popularity"]
    assert int(row["difference_lower"] > 0) - int(row["difference_upper"] < 0) == against_popular
    assert found.rules > 1000
    assert (found.recommendations.groupby("customer_id").size() == 5).all()
