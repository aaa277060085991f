from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.paths import alike, credit, journeys
from clvlib.funnel.paths_draws import drawn_anew
from clvlib.funnel.plots import credit_data, plot_credit
from clvlib.funnel.worth import worth_of_touches

ZERO = pd.Timestamp("2026-11-01")


def table(rows):
    return pd.DataFrame(rows, columns=["path", "journeys", "conversions"])


KNOWN = table([("C1 > C2 > C3", 1, 1), ("C1", 1, 0), ("C2 > C3", 1, 0)])


def test_the_known_answer():
    """Issue 5: conversion 1/3, removal effects .5, 1, 1, credit .2, .4, .4."""
    found = credit(KNOWN)
    assert found.rate == pytest.approx(1 / 3)
    rows = found.table.sort_index()
    assert rows["removal_effect"].tolist() == pytest.approx([0.5, 1, 1])
    assert rows["markov"].tolist() == pytest.approx([0.2, 0.4, 0.4])
    assert rows["first"].tolist() == [1, 0, 0]
    assert rows["last"].tolist() == [0, 0, 1]
    assert rows["linear"].tolist() == rows["shapley"].tolist() == pytest.approx([1 / 3] * 3)
    assert rows["journeys"].tolist() == [2, 2, 2]


PATHS = st.dictionaries(
    st.lists(st.sampled_from("ABCD"), min_size=1, max_size=5).map(lambda w: " > ".join(_runs(w))),
    st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=1,
    max_size=8,
)


def _runs(walk):
    return [a for a, b in zip(walk, [None, *walk[:-1]], strict=True) if a != b]


@given(PATHS)
@settings(max_examples=40)
def test_credit_adds_up(paths):
    frame = table([(path, *counts) for path, counts in paths.items()])
    if not frame["conversions"].sum():
        with pytest.raises(EmptyDataError, match="nothing to share out"):
            credit(frame)
        return
    found = credit(frame, draws=5)
    for rule in ("first", "last", "linear", "shapley", "markov"):
        assert found.table[rule].sum() == pytest.approx(found.conversions)
    assert found.table["removal_effect"].between(-1e-9, 1 + 1e-9).all()
    shuffled = credit(frame.sample(frac=1, random_state=1), draws=5).table
    assert shuffled["markov"].sort_index().to_numpy() == pytest.approx(found.table["markov"].sort_index().to_numpy())


def test_removal_effect_against_a_random_walk():
    """The same chain, walked 200,000 times."""
    frame = table([("A > B", 40, 20), ("B > A > B", 30, 5), ("A", 50, 10), ("C > A", 20, 8), ("C", 60, 3)])
    found = credit(frame, draws=1).table["removal_effect"]
    flows: dict[str, dict[str, float]] = {}
    for path, n, won in frame.itertuples(index=False):
        walk = ["start", *path.split(" > ")]
        for a, b in pairwise(walk):
            flows.setdefault(a, {}).setdefault(b, 0.0)
            flows[a][b] += n
        ends = flows.setdefault(walk[-1], {})
        ends["won"], ends["lost"] = ends.get("won", 0) + won, ends.get("lost", 0) + n - won
    rng = np.random.default_rng(1)

    def rate(removed, n=200_000):
        at = np.full(n, "start", dtype="U6")
        for _ in range(60):
            for state, ends in flows.items():
                here = np.flatnonzero(at == state)
                chances = np.array(list(ends.values()))
                at[here] = rng.choice(list(ends), len(here), p=chances / chances.sum())
                at[at == removed] = "lost"
        return (at == "won").mean()

    whole = rate("")
    for touch in "ABC":
        assert found[touch] == pytest.approx(1 - rate(touch) / whole, abs=0.02)


def test_shapley_is_the_shapley_value():
    """Every order in which touchpoints may join, for the game of conversions whose paths need no other touchpoint."""
    from itertools import permutations

    frame = table([("A > B", 40, 20), ("B > A > B", 30, 5), ("A", 50, 10), ("C > A", 20, 8), ("C > B > A", 60, 3)])
    worth = {"".join(sorted({*p.split(" > ")})): 0 for p in frame["path"]}
    for path, _, won in frame.itertuples(index=False):
        worth["".join(sorted({*path.split(" > ")}))] += won

    def value(team):
        return sum(won for needed, won in worth.items() if set(needed) <= set(team))

    gains = dict.fromkeys("ABC", 0.0)
    for order in permutations("ABC"):
        for k, touch in enumerate(order):
            gains[touch] += (value(order[: k + 1]) - value(order[:k])) / 6
    assert credit(frame, draws=1).table["shapley"].sort_index().to_dict() == pytest.approx(gains)


def test_intervals_shrink_with_data_and_hold_the_estimate():
    frame = table([("A > B", 400, 40), ("B", 300, 10), ("A", 500, 30)])
    small = credit(frame).table
    large = credit(frame.assign(journeys=frame["journeys"] * 100, conversions=frame["conversions"] * 100)).table
    assert ((small["lower"] <= small["markov"]) & (small["markov"] <= small["upper"])).all()
    width = (large["upper"] - large["lower"]) / 100 / (small["upper"] - small["lower"])
    assert width.to_numpy() == pytest.approx(0.1, abs=0.05)


# --- journeys ---------------------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(st.sampled_from("pqr"), st.integers(0, 40), st.sampled_from("xyz"), st.sampled_from(["view", "order"])),
    min_size=1, max_size=30, unique_by=lambda r: (r[0], r[1]),
)  # fmt: skip


@given(ROWS, st.integers(1, 10))
@settings(max_examples=60)
def test_journeys_equal_a_walk_through_the_log(rows, window):
    cut = 45
    counts: dict[str, list[int]] = {}
    for person in "pqr":
        walk: list[str] = []
        last = None
        done = []
        for _, hour, channel, event in sorted(r for r in rows if r[0] == person):
            if last is not None and hour - last > window:
                done.append((walk, 0, last))
                walk = []
            last = hour
            if event == "order":
                done.append((walk, 1, hour))
                walk, last = [], None
            else:
                walk = [*walk, channel]
        if last is not None:
            done.append((walk, 0, last))
        for steps, won, end in done:
            if steps and (won or end + window < cut):
                entry = counts.setdefault(" > ".join(_runs(steps)), [0, 0])
                entry[0] += 1
                entry[1] += won
    events = pd.DataFrame(rows, columns=["person_id", "hour", "channel", "event"])
    events["occurred_at"] = ZERO + pd.to_timedelta(events.pop("hour").astype("int64"), unit="h")
    kw = {"window": pd.Timedelta(hours=window), "as_of": ZERO + pd.Timedelta(hours=cut)}
    if not counts:
        with pytest.raises(EmptyDataError):
            journeys(events, "order", **kw)
        return
    found = journeys(events, "order", **kw).set_index("path")
    assert {path: list(row) for path, row in zip(found.index, found.to_numpy().tolist(), strict=True)} == counts


def come_back(rng, people=250):
    """People who come again and again, each with an inclination of his own to buy: of A .2 on average, of B .1."""
    channel = np.where(rng.random(people) < 0.6, "A", "B")
    chance = np.where(channel == "A", rng.beta(0.5, 2, people), rng.beta(0.5, 4.5, people))
    often = 1 + rng.negative_binomial(0.5, 0.1, people)
    who = np.repeat(np.arange(people), often)
    came = pd.DataFrame({"person_id": who.astype(str), "channel": channel[who], "event": "view"})
    came["occurred_at"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(10 * came.groupby("person_id").cumcount(), "D")
    won = came[rng.random(len(came)) < chance[who]]
    return pd.concat([came, won.assign(event="order", occurred_at=won["occurred_at"] + pd.Timedelta(hours=1))])


def test_intervals_take_people_for_what_repeats():
    """Paths of one touch are credited with their own conversions: of A .6 * .2 / (.6 * .2 + .4 * .1) = 3/4 of all."""
    rng = np.random.default_rng(21)
    held = alone = 0
    for _ in range(40):
        log, asked = come_back(rng), {"goal": "order", "as_of": "2040-01-01"}
        paths = journeys(log, **asked)
        found = credit(paths, draws=100, kinds=alike(log, **asked))
        low, high = found.table.loc["A", ["lower", "upper"]] / found.conversions
        held += low <= 0.75 <= high
        low, high = credit(paths, draws=100).table.loc["A", ["lower", "upper"]] / found.conversions
        alone += low <= 0.75 <= high
    assert held >= 32  # binomial(40, .95): 34 or more with probability .997, and 100 draws are a little short
    assert alone < 28


def test_money_of_people_who_come_back_varies_as_people_do():
    """Paths of one touch: what A brings is a sum over people, whose error is sqrt(n variance)."""
    log, asked = come_back(np.random.default_rng(3), 600), {"goal": "order", "as_of": "2040-01-01"}
    buyers = log.loc[log["event"] == "order", "person_id"].unique()
    worth = pd.DataFrame({"margin": np.random.default_rng(4).gamma(2, 50, len(buyers))}, index=buyers)
    found = credit(journeys(log, **asked), kinds=alike(log, **asked))
    row = worth_of_touches(found, log, worth=worth, **asked).table.loc["A"]
    by_a = set(log.loc[log["channel"] == "A", "person_id"])
    each = np.zeros(600)
    each[: len(buyers)] = worth["margin"] * [person in by_a for person in buyers]
    assert row["margin"] == pytest.approx(each.sum())
    error = np.sqrt(600) * each.std(ddof=1)
    assert row["margin_upper"] - row["margin_lower"] == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_people_alike_are_counted_together():
    log = pd.DataFrame({
        "person_id": list("aabbccd"), "channel": ["x", "x", "x", "x", "x", "y", "x"],
        "event": ["view", "order", "view", "order", "view", "order", "view"],
        "occurred_at": pd.date_range("2026-11-02", periods=7, freq="h"),
    })  # fmt: skip
    kinds = alike(log, "order", as_of="2026-11-30")
    assert kinds.tolist() == [3, 1]  # c buys by y, but came by x alone; d does not buy
    paths = journeys(log, "order", as_of="2026-11-30")
    drawn = drawn_anew(paths, kinds, 50, 0)
    assert (drawn.won.sum(axis=1) + drawn.lost.sum(axis=1) == 4).all()


def test_only_touchpoints_of_the_period_count():
    events = pd.DataFrame({
        "person_id": "p", "event": ["view", "cart", "order", "view"], "channel": ["x", "y", "z", None],
        "occurred_at": ZERO + pd.to_timedelta([0, 1, 2, 60], unit="D"),
    })  # fmt: skip
    found = journeys(events, "order", as_of="2027-03-01", touches=["view"])
    assert found.to_dict("records") == [
        {"path": "x", "journeys": 1, "conversions": 1}, {"path": "unknown", "journeys": 1, "conversions": 0},
    ]  # fmt: skip
    assert len(journeys(events, "order", as_of="2027-03-01", starts=("2026-12-01", None))) == 1
    assert len(journeys(events, "order", as_of="2027-03-01", starts=(None, "2026-12-01"))) == 1


def test_bad_input():
    events = pd.DataFrame({"person_id": ["p"], "event": ["view"], "occurred_at": [ZERO]})
    with pytest.raises(MissingColumnError, match="no column 'channel'"):
        journeys(events, "order", as_of="2027-01-01")
    with pytest.raises(EmptyDataError, match="no journey"):
        journeys(events.assign(channel="x"), "order", as_of="2026-11-02")
    with pytest.raises(ParameterError, match="0 <= conversions <= journeys"):
        credit(table([("A", 1, 2)]))
    with pytest.raises(ParameterError):
        credit(KNOWN, level=1.5)
    with pytest.raises(EmptyDataError):
        credit(KNOWN.iloc[:0])


def test_figure_draws_what_its_twin_says():
    found = credit(table([("A > B", 400, 40), ("B", 300, 10), ("A", 500, 30)]))
    ax = plot_credit(found)
    data = credit_data(found)
    assert [t.get_text() for t in ax.get_yticklabels()] == data.index.tolist()
    assert ax.get_title(loc="left").replace("\n", " ") == found.sentence
