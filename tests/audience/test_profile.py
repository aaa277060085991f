from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clvlib.audience.plots import index_data, plot_index
from clvlib.audience.profile import profile
from clvlib.errors import DataError, EmptyDataError, MissingColumnError, ParameterError
from clvlib.stats.proportions import proportion_interval

WEEK = ("2026-11-09", "2026-11-16")
DAY = pd.Timestamp("2026-11-10 20:00")


def shop(people, viewers, buyers, **columns):
    """Customers with features, a log of viewers and orders of buyers, all inside the week."""
    customers = pd.DataFrame({"customer_id": list(people), **columns})
    events = pd.DataFrame({"person_id": list(viewers), "occurred_at": DAY, "event": "view"})
    orders = pd.DataFrame({"customer_id": list(buyers), "ordered_at": DAY, "amount": 10.0})
    return customers, events, orders


PEOPLE = st.lists(
    st.tuples(
        st.sampled_from(["female", "male", None]), st.sampled_from(["north", "south", "west", None]),
        st.one_of(st.none(), st.integers(1940, 2015)), st.booleans(), st.booleans(), st.booleans(),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@given(PEOPLE)
@settings(max_examples=80)
def test_equals_pandas(people):
    frame = pd.DataFrame(people, columns=["gender", "region", "birth_year", "known", "views", "buys"]).astype(
        {"gender": object, "region": object, "birth_year": "Int64"}
    )
    frame["customer_id"] = [f"{i:03}" for i in range(len(frame))]
    known = frame.loc[frame["known"], ["customer_id", "gender", "region", "birth_year"]]
    viewers, buyers = (frame.loc[frame[c], "customer_id"] for c in ("views", "buys"))
    _, events, orders = shop([], [*viewers, *viewers], [*buyers, *buyers])
    if not (len(viewers) or len(buyers)):
        with pytest.raises(EmptyDataError):
            profile(known, events, orders, WEEK)
        return
    found = profile(known, events, orders, WEEK)
    present = frame["views"] | frame["buys"]
    assert (found.viewers, found.buyers, found.both) == (
        len(viewers),
        len(buyers),
        (frame["views"] & frame["buys"]).sum(),
    )
    assert found.nameless == (present & ~frame["known"]).sum()
    age = 2026 - frame["birth_year"].astype("float")
    labels = ["under 18", "18–25", "26–35", "36–45", "46–55", "56 and over"]
    truth = {
        "gender": frame["gender"],
        "region": frame["region"],
        "age_band": pd.cut(age, [-1, 17, 25, 35, 45, 55, 999], labels=labels).astype(object),
    }
    assert found.table["feature"].drop_duplicates().tolist() == ["age_band", "gender", "region"]
    for feature, rows in found.table.groupby("feature"):
        group = truth[feature].where(truth[feature].notna() & frame["known"], "unknown")
        expected = frame[present].groupby(group[present])[["views", "buys"]].sum()
        got = rows.set_index("group")[["viewers", "buyers"]]
        assert got.sort_index().values.tolist() == expected.sort_index().values.tolist()
        assert got.index.tolist()[-1] == "unknown" or "unknown" not in got.index
    if len(viewers):
        assert found.table.groupby("feature")["viewer_share"].sum().to_numpy() == pytest.approx(1)
    assert found.table["index_lower"].fillna(0).le(found.table["buyer_index"].fillna(0) + 1e-9).all()
    assert found.table["buyer_index"].fillna(0).le(found.table["index_upper"].fillna(0) + 1e-9).all()


def test_shares_are_wilson():
    """Newcombe 1998a, table I: 81 of 263 is .2553 to .3662."""
    people = [f"c{i}" for i in range(263)]
    customers, events, orders = shop(people, people, people[:1], gender=["f"] * 81 + ["m"] * 182)
    row = profile(customers, events, orders, WEEK).table.query("group == 'f'").iloc[0]
    assert row[["viewer_lower", "viewer_upper"]].round(4).tolist() == [0.2553, 0.3662]


def test_index_against_a_relative_risk():
    """Where all buyers are viewers, the index is the group's conversion over everybody's.

    By hand: 30 of 200 women and 10 of 300 men bought: 100 × (30/40) / (200/500) = 187.5; variance of its logarithm
    1/30 - 1/40 - 1/200 - 1/500 + 2 × 30 / (40 × 200) = .0088333.
    """
    people = [f"c{i}" for i in range(500)]
    buyers = people[:30] + people[200:210]
    customers, events, orders = shop(people, people, buyers, gender=["f"] * 200 + ["m"] * 300)
    table = profile(customers, events, orders, WEEK).table.set_index("group")
    women = np.sqrt(1 / 30 - 1 / 40 - 1 / 200 - 1 / 500 + 60 / 8000)
    men = np.sqrt(1 / 10 - 1 / 40 - 1 / 300 - 1 / 500 + 20 / 12000)
    p = [2 * stats.norm.sf(abs(np.log(index)) / error) for index, error in ((1.875, women), (10 / 24, men))]
    assert p[0] < p[1] < 0.025  # Holm: the women are held against .05 / 2, then the men against .05
    assert table["buyer_index"][["f", "m"]].tolist() == pytest.approx([187.5, 1000 / 24])
    assert table["p_value"][["f", "m"]].tolist() == pytest.approx([2 * p[0], p[1]])
    for group, index, half in (
        ("f", 187.5, stats.norm.isf(0.0125) * women), ("m", 1000 / 24, stats.norm.isf(0.025) * men)
    ):  # fmt: skip
        limits = table.loc[group, ["index_lower", "index_upper"]].tolist()
        assert limits == pytest.approx(list(index * np.exp([-half, half])))


def test_index_of_separate_people_is_katz():
    """No buyer was seen watching: two independent samples, log interval of Katz et al. 1978."""
    viewers, buyers = [f"v{i}" for i in range(100)], [f"b{i}" for i in range(50)]
    customers, events, orders = shop(
        viewers + buyers, viewers, buyers, gender=["f"] * 40 + ["m"] * 60 + ["f"] * 30 + ["m"] * 20
    )
    row = profile(customers, events, orders, WEEK).table.query("group == 'f'").iloc[0]
    half = stats.norm.isf(0.05 / 2 / 2) * np.sqrt(1 / 30 - 1 / 50 + 1 / 40 - 1 / 100)  # the others differ more: Holm
    assert row["buyer_index"] == pytest.approx(150)
    assert row["index_upper"] == pytest.approx(150 * np.exp(half))


def test_index_intervals_cover():
    """Over 400 draws of 2,000 viewers, 95% intervals of an index whose truth is known hold it about 95% of the time."""
    from clvlib.audience.profile import _index

    rng = np.random.default_rng(11)
    share, rate, rate_rest = 0.3, 0.06, 0.03
    truth = 100 * rate / (share * rate + (1 - share) * rate_rest)
    held = 0
    for _ in range(400):
        v = rng.binomial(2000, share)
        b, rest = rng.binomial(v, rate), rng.binomial(2000 - v, rate_rest)
        counts = {name: np.array([float(n)]) for name, n in (("viewers", v), ("buyers", b), ("both", b))}
        totals = {"viewers": 2000.0, "buyers": float(b + rest), "both": float(b + rest)}
        row = _index(counts, totals, 0.95, np.ones(1), np.array(["only"]))[0]
        held += row[1] <= truth <= row[2]
    assert stats.binom.cdf(held, 400, 0.95) > 0.001
    assert stats.binom.sf(held - 1, 400, 0.95) > 0.001


def test_groups_that_are_alike_are_rarely_told_apart_and_limits_agree():
    """Four features dealt at random to 3,000 viewers, of whom 600 buy: in 300 draws any group differs in about 5%."""
    from clvlib.audience.profile import _index

    rng = np.random.default_rng(5)
    sizes, draws = (2, 4, 5, 12), 300
    features = np.repeat(["f0", "f1", "f2", "f3"], sizes)
    found = 0
    for _ in range(draws):
        labels = [rng.integers(0, n, 3000) for n in sizes]
        viewers = np.concatenate([np.bincount(x, minlength=n) for x, n in zip(labels, sizes, strict=True)]).astype(
            float
        )
        buyers = np.concatenate([np.bincount(x[:600], minlength=n) for x, n in zip(labels, sizes, strict=True)]) * 1.0
        totals = {"viewers": 3000.0, "buyers": 600.0, "both": 600.0}
        counts = {"viewers": viewers, "buyers": buyers, "both": buyers}
        _, lower, upper, p = _index(counts, totals, 0.95, np.ones(len(viewers)), features).T
        assert ((p <= 0.05) == ((lower > 100) | (upper < 100))).all()
        found += (p <= 0.05).any()
    assert found <= stats.binom.isf(0.001, draws, 0.05)
    assert found >= stats.binom.ppf(0.001, draws, 0.02)  # Holm gives away little where the groups are many


def test_the_sample_shops_women_buy_more_often(sample_shop):
    """truth.json: the persona of beauty, of whom most are women, is 36% of the buyers and 27% of the viewers."""
    week = sample_shop.week()
    found = profile(
        sample_shop.table("customers"), sample_shop.table("events"), sample_shop.table("orders"),
        (week.shift(-11).start, week.end), viewing=["exposure"],
    ).table.set_index("group")  # fmt: skip
    assert found.loc["female", "index_lower"] > 100


def test_a_group_without_buyers():
    people = [f"c{i}" for i in range(20)]
    customers, events, orders = shop(people, people, people[:5], gender=["f"] * 10 + ["m"] * 10)
    row = profile(customers, events, orders, WEEK).table.query("group == 'm'").iloc[0]
    upper = proportion_interval(0, 5)["upper"].iloc[0]
    assert row[["buyer_index", "index_lower"]].tolist() == [0, 0]
    assert row["index_upper"] == pytest.approx(100 * upper / 0.5)


def test_everybody_in_one_group():
    customers, events, orders = shop("abc", "abc", "ab", gender=["f"] * 3)
    row = profile(customers, events, orders, WEEK).table.iloc[0]
    assert row[["buyer_index", "index_lower", "index_upper", "p_value"]].tolist() == pytest.approx([100, 100, 100, 1])


def test_without_events():
    customers, _, orders = shop("ab", "", "ab", gender=["f", "m"])
    found = profile(customers, None, orders, WEEK)
    assert found.viewers == 0
    assert "viewers" not in found.table
    assert found.table["buyer_share"].tolist() == [0.5, 0.5]
    with pytest.raises(ParameterError, match="no index"):
        index_data(found)


def test_nobody_bought():
    customers, events, orders = shop("ab", "ab", "", gender=["f", "m"])
    found = profile(customers, events, orders.astype({"ordered_at": "datetime64[us]"}), WEEK)
    assert found.buyers == 0
    assert found.table[["buyer_share", "buyer_index"]].isna().all(axis=None)


def test_bands_and_features():
    customers, events, orders = shop("abc", "abc", "a", birth_year=[2000, 1990, None], tier=["x", "y", "y"])
    found = profile(customers, events, orders, WEEK, features=["tier", "age_band"], bands=[30])
    assert found.table[["feature", "group"]].values.tolist() == [
        ["tier", "y"], ["tier", "x"], ["age_band", "under 30"], ["age_band", "30 and over"], ["age_band", "unknown"],
    ]  # fmt: skip


def test_only_the_events_that_are_views():
    customers, events, orders = shop("ab", "ab", "a", gender=["f", "m"])
    events["event"] = ["view", "bounce"]
    assert profile(customers, events, orders, WEEK, viewing=["view"]).viewers == 1


def test_bad_input():
    customers, events, orders = shop("ab", "ab", "a", gender=["f", "m"])
    with pytest.raises(MissingColumnError, match="no planet to describe people by"):
        profile(customers, events, orders, WEEK, features=["planet"])
    with pytest.raises(MissingColumnError, match="to describe people by"):
        profile(customers[["customer_id"]], events, orders, WEEK)
    with pytest.raises(DataError, match="several rows"):
        profile(pd.concat([customers, customers]), events, orders, WEEK)
    with pytest.raises(EmptyDataError, match="nobody watched or bought"):
        profile(customers, events, orders, ("2020-01-06", "2020-01-13"))
    for period in [("2026-11-16", "2026-11-09"), "2026-11-09", ("2026-11-09",), ("soon", "2026-11-09")]:
        with pytest.raises(ParameterError, match="period"):
            profile(customers, events, orders, period)
    with pytest.raises(ParameterError, match="rising"):
        profile(customers, events, orders, WEEK, bands=[30, 20])
    with pytest.raises(ParameterError, match="between 0 and 1"):
        profile(customers, events, orders, WEEK, level=95)


def test_figure_draws_what_its_twin_says():
    people = [f"c{i}" for i in range(200)]
    customers, events, orders = shop(people, people, people[:60], gender=["f"] * 90 + ["m"] * 90 + [None] * 20)
    found = profile(customers, events, orders, WEEK)
    data = index_data(found)
    ax = plot_index(found, title="Claim")
    assert ax.get_title(loc="left") == "Claim"
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"gender: {g}" for g in data["group"]]


def test_sentence():
    people = [f"c{i}" for i in range(400)]
    buyers = people[:80] + people[200:210]
    customers, events, orders = shop(people, people, buyers, gender=["f"] * 200 + ["m"] * 200)
    found = profile(customers, events, orders, WEEK)
    assert found.sentence == "Buyers differ from viewers most in m (22), f (178); 100 is their share among viewers"
    same = profile(customers, events, orders.iloc[[0, -1]], WEEK)
    assert same.sentence.startswith("No group buys more")
    assert profile(customers, None, orders, WEEK).sentence == "f is the largest group of buyers, 89% of them"
