from __future__ import annotations

import datetime as dt
import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.data.engine import DuckDBEngine, Table, as_table
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError, ThinDataWarning
from clvlib.funnel import keys as packing
from clvlib.funnel.chains import chains
from clvlib.funnel.kernel import funnel, funnels
from clvlib.funnel.query import Query, moment
from clvlib.funnel.threshold import threshold
from tests.conftest import shared_data
from tests.funnel.oracle import Rules, brute, people

pytestmark = pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
ZERO = pd.Timestamp("2026-11-01")


HOUR = pd.Timedelta(hours=1)


def log(rows, unit=HOUR, **columns):
    """Events from (person, time, event) triples, times in units of an hour."""
    frame = pd.DataFrame({
        "person_id": pd.Series([r[0] for r in rows], dtype=object),
        "occurred_at": pd.Series([None if r[1] is None else ZERO + r[1] * unit for r in rows], dtype="datetime64[us]"),
        "event": pd.Series([r[2] for r in rows], dtype=object),
    })  # fmt: skip
    return frame.assign(**columns)


def hours(n):
    return pd.Timedelta(hours=n)


# --- against brute force ----------------------------------------------------------------------------------------------

EVENT = st.tuples(
    st.sampled_from([*"pqr", None]), st.one_of(st.integers(0, 12), st.none()), st.sampled_from("aabbccddxy")
)
ROWS = st.lists(EVENT, min_size=1, max_size=40)
STEPS = ["a", "b", "c", "d"]


@st.composite
def rules(draw):
    """Any rules that go together."""
    order = draw(st.sampled_from(["ordered", "ordered", "strict", "any"]))
    optional = tuple(sorted(draw(st.sets(st.integers(1, 3), max_size=2))))
    barred = st.sampled_from([1, 2, 3, None])  # None: on the whole way
    excluded = draw(st.dictionaries(st.sampled_from("xy"), barred, max_size=2))
    ways = set(excluded.values())
    if order == "any" or None in ways or ways & set(optional):
        excluded = dict.fromkeys(excluded)
    in_turn = order != "any"
    return Rules(
        STEPS, draw(st.integers(1, 9)), order, optional,
        gaps=draw(st.dictionaries(st.integers(1, 3), st.integers(1, 6), max_size=2)) if in_turn else {},
        excluded={event: (1, 2, 3, 4) if way is None else (way,) for event, way in excluded.items()},
        ties=draw(st.booleans()) if in_turn else True, reentry=draw(st.sampled_from([True, True, False])),
    )  # fmt: skip


def asked(rules, unit):
    """The same rules as the funnel takes them, in hours of length ``unit``."""
    whole = not rules.excluded or all(len(ways) > 1 for ways in rules.excluded.values())
    return {
        "window": rules.window * unit, "order": rules.order, "optional": [STEPS[k] for k in rules.optional],
        "gaps": {STEPS[k]: gap * unit for k, gap in rules.gaps.items()}, "ties": rules.ties, "reentry": rules.reentry,
        "excluded": list(rules.excluded) if whole else {e: STEPS[ways[0]] for e, ways in rules.excluded.items()},
    }  # fmt: skip


@given(
    rows=ROWS,
    rules=rules(),
    so_far=st.booleans(),
    cut=st.one_of(st.none(), st.integers(0, 14)),
    low=st.one_of(st.none(), st.integers(0, 6)),
    high=st.one_of(st.none(), st.integers(7, 13)),
    shorter=st.sampled_from(["0s", "1ms", "1us"]),
)
@settings(max_examples=300)
def test_equals_brute_force_on_random_streams(rows, rules, so_far, cut, low, high, shorter):
    unit = pd.Timedelta(hours=1) - pd.Timedelta(shorter)  # with fractions of a second, a finer clock
    events = log(rows, unit)

    def at(x):
        return None if x is None else ZERO + x * unit

    if not set(events["event"]) & set(STEPS):
        return
    as_of = None if cut is None else at(cut) + pd.Timedelta(microseconds=1)  # never at midnight, which is a whole day
    truth = brute(rows, rules, None if cut is None else cut + 0.001, (low, high), so_far=so_far)
    found = funnel(
        events, STEPS, as_of=as_of, starts=(at(low), at(high)), open_windows="so far" if so_far else "exclude",
        **asked(rules, unit),
    )  # fmt: skip
    assert found.table["people"].tolist() == people(truth, 4)
    assert found.table["still_open"].tolist() == people(truth, 4, closed=False)
    assert found.open_units == people(truth, 1, closed=False)[0]


@given(
    rows=ROWS, window=st.integers(1, 8), parts=st.integers(2, 5), by=st.sampled_from([(), ("event", "segment")])
)  # fmt: skip
@settings(max_examples=25)
def test_parts_of_the_units_add_up(rows, window, parts, by):
    events = as_table(log(rows, segment=[r[0] for r in rows]), "events")
    query = Query(("a", "b", "c"), window * 3_600_000_000, by=by)

    def histories(found):
        rows = zip(found.depth, found.segment[:, 0], map(tuple, found.times), strict=True)
        return sorted((int(d), int(s), tuple(map(int, t))) for d, s, t in rows)

    whole = chains(events, query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_ROWS", max(len(rows) // parts, 1))
        patch.setattr(packing.Frame, "capacity", 2)
        assert histories(chains(events, query)) == histories(whole)


@given(rows=ROWS, window=st.integers(1, 8))
@settings(max_examples=40)
def test_a_chain_is_a_chain(rows, window):
    """Its events exist, in order, within the window."""
    found = chains(as_table(log(rows), "events"), Query(("a", "b", "c"), window * 3_600_000_000))
    base = moment(ZERO, "")
    for depth, times in zip(found.depth, found.times, strict=True):
        made = [(t - base) / 3_600_000_000 for t in times[:depth]]
        assert all(t == -1 for t in times[depth:])
        assert made == sorted(made)
        assert made[-1] - made[0] <= window
        assert all(any(r[2] == step and r[1] == t for r in rows) for step, t in zip("abc", made, strict=False))


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("pqr"), st.integers(0, 9), st.sampled_from("abc"), st.sampled_from(["x", "y", None])),
        min_size=1, max_size=60,
    ),
    window=st.integers(1, 6),
    cut=st.one_of(st.none(), st.integers(1, 12)),
)  # fmt: skip
@settings(max_examples=60)
def test_segments(rows, window, cut):
    """First and last touch split the people; "each" walks in every segment for itself."""
    plain = [r[:3] for r in rows]
    place = [r[3] or "unknown" for r in rows]
    events = log(plain, place=[r[3] for r in rows])
    stop = None if cut is None else ZERO + hours(cut) + pd.Timedelta(microseconds=1)
    limit = np.inf if cut is None else cut + 0.001
    steps = ["a", "b", "c"]
    kw = {"window": hours(window), "by": "place", "as_of": stop}
    if not set(events["event"]) & set(steps):
        return
    total = funnel(events, steps, hours(window), as_of=stop).table
    for attribution, pick in (("first", min), ("last", max)):
        found = funnel(events, steps, **kw, attribution=attribution)
        assert found.table.groupby("step", sort=False)["people"].sum().reindex(steps).fillna(0).tolist() == (
            total["people"].tolist()
        )
        pd.testing.assert_frame_equal(found.total, total)
        truth = brute(plain, Rules(steps, window), None if cut is None else cut + 0.001)
        expected: dict[str, int] = {}
        for person, (_, closed) in truth.items():
            starts = [
                (t, s) for (p, t, e), s in zip(plain, place, strict=True) if (p, e) == (person, "a") and t < limit
            ]
            counted = [x for x in starts if x[0] + window < limit] or starts
            if closed:
                name = pick(counted)[1]
                expected[name] = expected.get(name, 0) + 1
        first = found.table[found.table["step"].eq("a") & found.table["people"].gt(0)]
        assert dict(zip(first["place"], first["people"], strict=True)) == expected
    split = funnel(events, steps, **kw, attribution="each").table
    pairs = [((p, s), t, e) for (p, t, e), s in zip(plain, place, strict=True)]
    truth = brute(pairs, Rules(steps, window), None if cut is None else cut + 0.001)
    for name, rows_of in split.groupby("place"):
        here = {unit: value for unit, value in truth.items() if unit[1] == name}
        assert rows_of["people"].tolist() == people(here, 3)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("pqr"), st.integers(0, 6), st.sampled_from("abc"), st.sampled_from(["x", "y", None]),
                  st.sampled_from("mn")), min_size=1, max_size=40,
    ),
    attribution=st.sampled_from(["first", "last", "step", "each"]),
    options=st.sampled_from(
        [{}, {"as_of": ZERO + hours(7.5)}, {"reentry": False}, {"starts": (ZERO + hours(2), None)}]
    ),
)  # fmt: skip
@settings(max_examples=40)
def test_one_walk_gives_what_a_funnel_for_each_column_gives(rows, attribution, options):
    """Also where several events at the same time lie in several segments."""
    events = log([r[:3] for r in rows], place=[r[3] for r in rows], host=[r[4] for r in rows])
    ways = [["host", "place"], (), "place", ["place", "host"], "host"]
    found = funnels(events, ["a", "b", "c"], hours(3), ways, attribution=attribution, **options)
    for columns, one in zip(ways, found, strict=True):
        alone = funnel(events, ["a", "b", "c"], hours(3), columns, attribution=attribution, **options)
        pd.testing.assert_frame_equal(one.table, alone.table)
        pd.testing.assert_frame_equal(one.total, alone.total)
        assert (one.by, one.open_units) == (alone.by, alone.open_units)


@given(st.sets(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1), max_size=50))
@settings(max_examples=100)
def test_rank_is_a_search(units, others):
    """Also for values that cluster, as no hash does."""
    ordered = np.array(sorted(units), np.uint64)
    values = np.array([*units, *others, 0, 2**64 - 1], np.uint64)
    place = {unit: k for k, unit in enumerate(sorted(units))}
    assert packing._rank(values, ordered).tolist() == [place.get(int(v), -1) for v in values]
    assert packing._distinct(np.repeat(values, 2)).tolist() == sorted({int(v) for v in values})


# --- ClickHouse's documented cases ------------------------------------------------------------------------------------


def sequence(stream):
    """One person's events, an hour apart."""
    return log([("p", i, e) for i, e in enumerate(stream)])


@pytest.mark.parametrize(
    ("stream", "ordered", "strict"),
    [("abc", 3, 3), ("adbc", 3, 1), ("aabbcc", 3, 3), ("aaaabbcc", 3, 3), ("aabbdcc", 3, 2), ("ccbbaa", 1, 1)],
)
def test_clickhouse_strings(stream, ordered, strict):
    assert funnel(sequence(stream), [*"abc"], "7D").table["people"].sum() == ordered
    assert funnel(sequence(stream), [*"abc"], "7D", order="strict").table["people"].sum() == strict


@pytest.mark.parametrize(("window", "reached"), [(2, 3), (3, 4), (4, 5)])
def test_clickhouse_windows(window, reached):
    events = log([("p", i, str(1000 + i)) for i in range(9)], pd.Timedelta(seconds=1))
    steps = [str(s) for s in range(1003, 1008)]
    assert funnel(events, steps, pd.Timedelta(seconds=window)).table["people"].sum() == reached


# --- written rules ----------------------------------------------------------------------------------------------------


def test_the_best_start_counts():
    events = log([("p", 0, "view"), ("p", 100, "view"), ("p", 101, "cart"), ("p", 120, "order")])
    assert funnel(events, ["view", "cart", "order"], hours(24)).table["people"].tolist() == [1, 1, 1]


def test_ties_are_taken_in_the_order_of_the_steps_unless_strict():
    events = log([("p", 0, "cart"), ("p", 0, "view")])
    assert funnel(events, ["view", "cart"], "1D").table["people"].tolist() == [1, 1]
    assert funnel(events, ["view", "cart"], "1D", ties=False).table["people"].tolist() == [1, 0]


def test_strict_takes_the_latest_start_before_a_tie():
    """FINDINGS: the latest start is tied with the next step, the one before it is not."""
    events = log([("p", 0, "a"), ("p", 5, "a"), ("p", 5, "b"), ("p", 6, "c")])
    assert funnel(events, ["a", "b", "c"], hours(6), ties=False).table["people"].tolist() == [1, 1, 1]
    assert funnel(events, ["a", "b", "c"], hours(5), ties=False).table["people"].tolist() == [1, 1, 0]


def test_strict_order_gives_the_next_start_its_chance():
    """ClickHouse stops where the chain first breaks, here at d."""
    assert funnel(sequence("adabc"), [*"abc"], "7D", order="strict").table["people"].tolist() == [1, 1, 1]
    assert funnel(sequence("abac"), [*"abc"], "7D", order="strict").table["people"].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("events", "reached"),
    [
        ("a1 b1 c2", 3),  # taken as a b c
        ("a1 b2 a3 c3", 2),  # taken as a b a c
        ("a1 b2 c3 x3", 3),  # other events after the steps
        ("a1 x1 b2", 1),
        ("a1 b1 c1 d1", 3),
    ],
)
def test_strict_order_at_the_same_time(events, reached):
    rows = [("p", int(event[1:]), event[0]) for event in events.split()]
    assert funnel(log(rows), [*"abc"], "7D", order="strict").table["people"].sum() == reached


def test_any_order_counts_whoever_made_all_steps_so_far_within_the_window():
    people_of = {
        order: funnel(sequence("xcab"), [*"abc"], "2h", order=order).table["people"].tolist()
        for order in ("ordered", "any")
    }
    assert people_of == {"ordered": [1, 1, 0], "any": [1, 1, 1]}
    assert funnel(sequence("cxab"), [*"abc"], "2h", order="any").table["people"].tolist() == [1, 1, 0]
    found = funnel(sequence("cab"), [*"abc"], "2h", order="any", starts=(ZERO + hours(1), None)).table
    assert found["people"].tolist() == [1, 1, 1]  # a step before the period counts with a start within it
    assert found["median_minutes"].tolist() == [0, 60, 120]


def test_an_optional_step_changes_nothing_but_its_own_row():
    events = log([("p", 0, "a"), ("p", 1, "o"), ("p", 2, "b"), ("q", 0, "a"), ("q", 2, "b"), ("q", 3, "o")])
    found = funnel(events, [*"aob"], "7D", optional=["o"])
    assert found.table["people"].tolist() == [2, 1, 2]  # q made it when all was over
    assert found.table["from_previous"].tolist() == [1, 0.5, 1]
    assert found.step_before("b") == "a"
    assert found.sentence.startswith("100.0% go all the way from a to b; most are lost between a and b")


def test_a_gap_is_inclusive_and_counts_from_the_required_step_before():
    for gap, reached in ((2, 1), (1, 0)):
        assert funnel(sequence("axb"), [*"ab"], "7D", gaps={"b": hours(gap)}).table["people"].tolist() == [1, reached]
        assert funnel(sequence("aob"), [*"aob"], "7D", optional="o", gaps={"b": hours(gap)}).table[
            "people"
        ].tolist() == [1, 1, reached]
    late = log([("p", 0, "a"), ("p", 1, "b"), ("p", 9, "b"), ("p", 10, "c")])
    assert funnel(late, [*"abc"], "7D", gaps={"c": "1h"}).table["people"].tolist() == [1, 1, 1]
    assert funnel(late, [*"abc"], "7D", gaps={"b": "1h", "c": "1h"}).table["people"].tolist() == [1, 1, 0]


def test_a_gap_across_an_optional_step_is_that_of_the_chain_through_it():
    """b follows the second a in time; by way of o it would have to follow the first, which is too long ago."""
    events = log([("p", 0, "a"), ("p", 5, "o"), ("p", 6, "a"), ("p", 7, "b")])
    assert funnel(events, [*"aob"], "7D", optional="o", gaps={"b": "3h"}).table["people"].tolist() == [1, 0, 1]
    assert funnel(events, [*"aob"], "7D", optional="o", gaps={"b": "7h"}).table["people"].tolist() == [1, 1, 1]


def test_strict_order_with_a_gap_takes_the_repeat_that_fits():
    events = log([("p", 0, "a"), ("p", 1, "b"), ("p", 2, "c"), ("p", 8, "c"), ("p", 9, "d")])
    found = funnel(events, [*"abcd"], "7D", order="strict", gaps={"d": "2h"})
    assert found.table["people"].tolist() == [1, 1, 1, 1]


def test_an_excluded_event_breaks_the_chain_on_its_way():
    assert funnel(sequence("axbc"), [*"abc"], "7D", excluded="x").table["people"].tolist() == [1, 0, 0]
    assert funnel(sequence("axabc"), [*"abc"], "7D", excluded="x").table["people"].tolist() == [1, 1, 1]
    assert funnel(sequence("axbc"), [*"abc"], "7D", excluded={"x": "c"}).table["people"].tolist() == [1, 1, 1]
    assert funnel(sequence("cxba"), [*"abc"], "7D", order="any", excluded="x").table["people"].tolist() == [1, 1, 0]
    at_once = log([("p", 0, "a"), ("p", 1, "x"), ("p", 1, "b"), ("p", 2, "c")])  # taken as a b x c
    assert funnel(at_once, [*"abc"], "7D", excluded="x").table["people"].tolist() == [1, 1, 0]


def test_each_step_in_the_segment_where_it_was_made():
    """p views on x and orders on y; q views twice on x and orders there; r views on y."""
    rows = [
        ("p", 0, "view"),
        ("p", 1, "order"),
        ("q", 0, "view"),
        ("q", 1, "view"),
        ("q", 2, "order"),
        ("r", 0, "view"),
    ]
    events = log(rows, place=["x", "y", "x", "x", "x", "y"])
    found = funnel(events, ["view", "order"], "7D", by="place", attribution="step")
    assert found.table[["place", "step", "people"]].values.tolist() == [
        ["x", "view", 2], ["x", "order", 1], ["y", "view", 1], ["y", "order", 1],
    ]  # fmt: skip
    assert found.table["from_previous"].tolist() == [1, 1, 1, 0]  # of those who viewed on x, all went on
    elsewhere = funnel(events.assign(place=["x", "z", "x", "x", "x", "y"]), ["view", "order"], "7D", by="place",
                       attribution="step")  # fmt: skip
    assert elsewhere.table.query("place == 'z'")["people"].tolist() == [0, 1]
    with pytest.raises(ParameterError, match="segment of its own"):
        threshold(found, "order")


def test_where_a_step_was_made_does_not_depend_on_what_came_of_it():
    """All view on x, then on y; half order. Nobody may say that all of those on y do, and nobody on x."""
    rows = [row for k in range(10) for row in ((k, 0, "view"), (k, 1, "view"), (k, 2, "order"))[: 3 - k % 2]]
    events = log(rows, place=["x" if at == 0 else "y" for _, at, _ in rows])
    found = funnel(events, ["view", "order"], "7D", by="place", attribution="step").table
    assert found.query("place == 'x'")[["people", "from_previous"]].values.tolist() == [[10, 1], [0, 0.5]]
    assert found.query("place == 'y'")["people"].tolist() == [0, 5]


@given(
    rows=st.lists(st.tuples(EVENT, st.sampled_from("xy")), min_size=1, max_size=40), window=st.integers(1, 8)
)  # fmt: skip
@settings(max_examples=30)
def test_segments_of_each_step_add_up(rows, window):
    events = log([r[0] for r in rows], place=[r[1] for r in rows])
    if not set(events["event"]) & {"a", "b"}:
        return
    found = funnel(events, ["a", "b"], hours(window), by="place", attribution="step")
    split = found.table.groupby("step", sort=False)
    assert split["people"].sum().reindex(["a", "b"]).fillna(0).tolist() == found.total["people"].tolist()
    starts, orders = (found.table[found.table["step"].eq(step)].reset_index() for step in "ab")
    assert (starts["people"] * orders["from_previous"]).sum() == pytest.approx(found.total["people"].iloc[1])


def test_robots_are_kept_apart_named_and_counted():
    rows = [("robot", i / 1000, "view") for i in range(50_000)] + [("robot", 60, "order")] * 50_000
    events = log([*rows, ("p", 0, "view"), ("p", 1, "order"), ("q", 0, "view")])
    found = funnel(events, ["view", "order"], "7D")
    assert found.table["people"].tolist() == [2, 1]
    assert found.robots == 1
    assert found.apart.to_dict("records") == [{"person_id": "robot", "events": 100_000}]
    assert funnel(events, ["view", "order"], "7D", robot=50_000).table["people"].tolist() == [3, 2]
    by = funnel(events.assign(place="x"), ["view", "order"], "7D", by="place", attribution="each")
    assert by.apart.to_dict("records") == [{"person_id": "robot", "place": "x", "events": 100_000}]
    alone = funnel(events[events["person_id"] == "robot"], ["view", "order"], "7D")
    assert (alone.table["people"].tolist(), alone.robots) == ([0, 0], 1)


@given(st.lists(st.integers(0, 8), max_size=60), st.integers(1, 12))
@settings(max_examples=30)
def test_a_robot_has_more_events_of_one_step_than_the_limit(people_of_events, limit):
    counts = pd.Series(people_of_events).value_counts()
    events = log([("z", 0, "a"), *((str(p), i, "a") for i, p in enumerate(people_of_events))])
    assert funnel(events, ["a"], "1D", robot=limit).robots == (counts > limit).sum()


def test_sessions_that_overlap_are_walked_apart():
    events = log(
        [("p", 0, "a"), ("p", 1, "a"), ("p", 2, "b"), ("p", 3, "b")], session_id=["s1", "s2", "s1", "s2"]
    )  # fmt: skip
    found = funnel(events, ["a", "b"], "1D", unit="session").table
    assert found["people"].tolist() == [2, 2]
    assert found["median_minutes"].tolist() == [0, 120]


def test_a_wrong_clock_converts_nobody():
    """An order before the view, in 1970 or in 2099; the funnel of the others is what it was."""
    rows = [("p", 0, "view"), ("p", 1, "order"), ("q", 5, "view"), ("q", 4, "order"), ("r", 5, "view")]
    events = log(rows)
    wrong = pd.DataFrame(
        {"person_id": ["q", "r"], "event": "order", "occurred_at": pd.to_datetime(["1970-01-01", "2099-01-01"])}
    )
    both = funnel(pd.concat([events, wrong]), ["view", "order"], "7D").table
    pd.testing.assert_frame_equal(both, funnel(events, ["view", "order"], "7D").table)
    assert both["people"].tolist() == [3, 1]


def test_a_segment_that_nobody_is_in_is_not_there_and_one_still_open_has_no_rate():
    events = log([("p", 0, "a"), ("p", 1, "b"), ("q", 30, "a"), ("r", 1, "b")], place=["x", "x", "y", "z"])
    found = funnel(events, ["a", "b"], "1D", by="place", as_of=ZERO + hours(40))
    assert found.table["place"].tolist() == ["x", "x", "y", "y"]
    assert found.table.loc[2, ["people", "still_open"]].tolist() == [0, 1]
    assert found.table.loc[2:, ["from_previous", "from_first", "median_minutes"]].isna().to_numpy()[:, :2].all()


def test_duplicates_change_nothing():
    rows = [("p", 0, "a"), ("p", 1, "b"), ("q", 0, "a"), ("q", 9, "b")]
    once = funnel(log(rows), ["a", "b"], hours(5)).table
    pd.testing.assert_frame_equal(funnel(log(rows * 3), ["a", "b"], hours(5)).table, once)


def test_row_order_changes_nothing():
    rng = np.random.default_rng(5)
    events = log([(f"p{rng.integers(20)}", int(rng.integers(50)), str(rng.choice(list("abc")))) for _ in range(200)])
    one = funnel(events, list("abc"), "1D", by="event").table
    pd.testing.assert_frame_equal(
        funnel(events.sample(frac=1, random_state=1), list("abc"), "1D", by="event").table, one
    )


def test_an_open_window_is_neither_converted_nor_lost():
    """p's window is over; q converted early, and counting it while r is left out would overstate the rate."""
    events = log([("p", 0, "a"), ("q", 90, "a"), ("q", 91, "b"), ("r", 92, "a")])
    at = ZERO + hours(95)
    found = funnel(events, ["a", "b"], hours(48), as_of=at)
    assert found.table["people"].tolist() == [1, 0]
    assert found.table["still_open"].tolist() == [2, 1]
    assert found.open_units == 2
    assert funnel(events, ["a", "b"], hours(48), as_of=at, open_windows="so far").table["people"].tolist() == [3, 1]


def test_a_window_that_ends_with_the_observation_is_over_and_a_moment_later_is_open():
    events = log([("p", 0, "a")])
    day = ZERO.date()
    last = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    assert funnel(events, ["a"], last, as_of=day).open_units == 0
    assert funnel(events, ["a"], "1D", as_of=day).open_units == 1


def test_as_of_day_holds_the_whole_day_and_nothing_later():
    events = log([("p", 0, "a"), ("p", 23, "b"), ("p", 24, "c")])
    kw = {"window": "2D", "open_windows": "so far"}
    for day in ("2026-11-01", dt.date(2026, 11, 1), pd.Timestamp("2026-11-01")):
        assert funnel(events, list("abc"), as_of=day, **kw).table["people"].tolist() == [1, 1, 0]
    assert funnel(events, list("abc"), as_of="2026-11-01 22:30", **kw).table["people"].tolist() == [1, 0, 0]


def test_median_minutes_are_those_of_the_chain_that_counts():
    events = log(
        [("p", 0, "a"), ("p", 2, "a"), ("p", 3, "b"), ("q", 0, "a"), ("q", 5, "b"), ("r", 0, "a"), ("r", 1, "b")]
    )
    assert funnel(events, ["a", "b"], "1D").table["median_minutes"].tolist() == [0, 60]


def test_time_is_taken_from_the_latest_event_of_the_step_before():
    """The start that counts is the one whose window is over; the time to the cart is that from the latest view."""
    events = log([("p", 0, "view"), ("p", 40, "view"), ("p", 41, "cart"), ("p", 41, "order")])
    found = funnel(events, ["view", "cart", "order"], hours(45), as_of=ZERO + hours(60)).table
    assert found["people"].tolist() == [1, 1, 1]
    assert found["median_minutes"].tolist() == [0, 60, 0]


def test_rates_and_wilson_intervals():
    """Wilson of 81 in 263 is .2553 to .3662 (Newcombe 1998a, table I)."""
    rows = [(f"p{i}", 0, "a") for i in range(263)] + [(f"p{i}", 1, "b") for i in range(81)]
    b = funnel(log(rows), ["a", "b"], "1D").table.iloc[1]
    assert b["from_previous"] == b["from_first"] == 81 / 263
    assert b[["lower", "upper", "first_lower", "first_upper"]].round(4).tolist() == [0.2553, 0.3662, 0.2553, 0.3662]


def test_sessions_are_a_person_in_a_session():
    events = log([("p", 0, "a"), ("p", 1, "b"), ("q", 0, "a")], session_id=["s1", "s2", "s1"])
    assert funnel(events, ["a", "b"], "1D").table["people"].tolist() == [2, 1]
    assert funnel(events, ["a", "b"], "1D", unit="session").table["people"].tolist() == [2, 0]
    gone = funnel(events.assign(session_id=["s1", "s1", None]), ["a", "b"], "1D", unit="session")
    assert gone.table["people"].tolist() == [1, 1]
    assert gone.unusable == 1


def test_unusable_events_are_counted():
    events = log([("p", 0, "a"), ("p", None, "b"), (None, 1, "b"), ("p", None, "elsewhere")])
    found = funnel(events, ["a", "b"], "1D")
    assert found.table["people"].tolist() == [1, 0]
    assert found.unusable == 2


def test_one_step_is_a_count():
    table = funnel(log([("p", 0, "a"), ("q", 1, "a"), ("q", 1, "b")]), ["a"], "1D").table
    assert table[["people", "from_previous", "from_first"]].values.tolist() == [[2, 1, 1]]


def test_ids_are_text_and_nothing_is_lost_on_the_way():
    ids = ["0000000000000000001", "1", "9007199254740993", "9007199254740992", "小明", "x'; DROP"]
    events = log([(i, 0, "a") for i in ids] + [(ids[2], 1, "b'{c}")])
    assert funnel(events, ["a", "b'{c}"], "1D").table["people"].tolist() == [6, 1]


def test_microseconds_over_many_years_still_fit():
    """Keys that do not fit into 62 bits are made a part of the people at a time: here 36 years of microseconds."""
    n = 10_000
    times = pd.date_range("1990-01-01 00:00:00.000001", "2026-01-01", periods=n).astype("datetime64[us]")
    events = pd.DataFrame({
        "person_id": [f"p{i}" for i in range(n)] * 2,
        "occurred_at": np.concatenate([times, times + pd.Timedelta("1us")]),
        "event": ["a"] * n + ["b"] * n,
        "shop": ["x", "y"] * n,
    })  # fmt: skip
    query = Query(("a", "b"), 1, by=("shop",))
    table = as_table(events, "events")
    frame = packing.frame_of(query, packing.read_log(table, query))
    assert frame.capacity < n // 2
    found = funnel(events, ["a", "b"], pd.Timedelta(microseconds=1), by="shop")
    assert found.table["people"].tolist() == [n // 2] * 4


def test_dates_and_infinite_times():
    engine = DuckDBEngine()
    values = (
        "('p', DATE '2026-11-01', 'a'), ('p', DATE '2026-11-02', 'b'), ('q', DATE '2026-11-01', 'a'), ('q', NULL, 'b')"
    )
    engine.connection.execute(f"CREATE TABLE d AS SELECT * FROM (VALUES {values}) AS x(person_id, occurred_at, event)")
    columns = ("person_id", "occurred_at", "event")
    assert funnel(Table(engine, "events", "d", columns), ["a", "b"], "1D").table["people"].tolist() == [2, 1]
    engine.connection.execute(
        "CREATE TABLE i AS SELECT 'p' AS person_id, 'a' AS event, TIMESTAMP 'infinity' AS occurred_at"
    )
    engine.connection.execute("INSERT INTO i VALUES ('q', 'a', TIMESTAMP '2026-11-01')")
    found = funnel(Table(engine, "events", "i", columns), ["a"], "1D")
    assert (found.table["people"].tolist(), found.unusable) == ([1], 1)


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = log([("p", 0, "view"), ("p", 1, "order")], place=["x", None])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"steps": []}, "event names is needed"),
        ({"steps": "view"}, "event names is needed"),
        ({"steps": None}, "event names is needed"),
        ({"by": [None]}, "names of columns are needed"),
        ({"steps": ["view", "view"]}, "twice"),
        ({"window": "0D"}, "not positive"),
        ({"window": "-1D"}, "not positive"),
        ({"window": "soon"}, "no length of time"),
        ({"window": "7"}, "'7' has no unit"),
        ({"window": 7}, "7 has no unit"),
        ({"window": pd.NaT}, "not positive"),
        ({"unit": "household"}, "'person', 'session'"),
        ({"attribution": "middle"}, "'first', 'last', 'each'"),
        ({"open_windows": "maybe"}, "'exclude', 'so far'"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"as_of": "someday"}, "not a date"),
        ({"as_of": pd.NaT}, "not a date"),
        ({"as_of": pd.Timestamp("2026-11-01", tz="Asia/Shanghai")}, "time zone"),
        ({"starts": ("2026-11-02", "2026-11-02")}, "not before"),
        ({"attribution": "each", "order": "sorted"}, "'ordered', 'strict', 'any'"),
        ({"optional": ["view"]}, "'view' is no step after the first; those are order"),
        ({"steps": ["view"], "optional": "cart"}, "no step after the first; those are none"),
        ({"gaps": {"cart": "1D"}}, "gaps: 'cart' is no step"),
        ({"gaps": {"order": "0D"}}, r"gaps\['order'\]: '0D' is not positive"),
        ({"excluded": ["order"]}, "'order' is a step"),
        ({"excluded": {"x": "cart"}}, r"excluded\['x'\]: 'cart' is no step"),
        ({"excluded": {"x": "order"}, "optional": "order"}, "'order' is optional"),
        ({"order": "any", "gaps": {"order": "1D"}}, "no step is before another"),
        ({"order": "any", "ties": False}, "no step is before another"),
        ({"robot": 0}, "keep everybody apart"),
        ({"steps": ["viw", "ordr"]}, "none of viw, ordr occurs in the log; its events are order, view"),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(ParameterError, match=says):
        funnel(GOOD, **{"steps": ["view", "order"], "window": "7D", **arguments})


def test_an_unknown_event_name_is_told_from_a_step_that_nobody_reached():
    with pytest.warns(ThinDataWarning, match="'ordr' never occurs in the log .did you mean 'order'"):
        assert funnel(GOOD, ["view", "ordr"], "7D").table["people"].tolist() == [1, 0]
    with pytest.warns(ThinDataWarning, match="excluded: 'refnd' never occurs in the log, so it breaks no chain"):
        funnel(GOOD, ["view", "order"], "7D", excluded="refnd")
    with pytest.warns(ThinDataWarning, match="nobody reached 'cart', so the step rate after it is missing"):
        found = funnel(pd.concat([GOOD, log([("q", 5, "cart")])]), ["view", "cart", "order"], "7D").table
    assert found["people"].tolist() == [1, 0, 0]
    assert found["from_first"].tolist() == [1, 0, 0]
    assert np.isnan(found["from_previous"].iloc[2])


def test_nobody_has_started():
    with pytest.warns(ThinDataWarning, match="nobody made the first step 'view'"):
        found = funnel(GOOD, ["view", "order"], "7D", starts=("2027-01-01", None), by="place")
    assert found.total["people"].tolist() == [0, 0]
    assert found.table.empty
    with pytest.warns(ThinDataWarning, match="1 have an open window"):
        funnel(GOOD, ["view", "order"], "7D", as_of="2026-11-02")


def test_bad_tables():
    with pytest.raises(EmptyDataError, match="events: the table has no row"):
        funnel(GOOD.iloc[:0], ["view"], "7D")
    with pytest.raises(MissingColumnError, match="session_id is needed"):
        funnel(GOOD, ["view"], "7D", unit="session")
    with pytest.raises(MissingColumnError, match="planet is needed"):
        funnel(GOOD, ["view"], "7D", by="planet")
    with pytest.raises(ParameterError, match="without a zone"):
        funnel(GOOD.assign(occurred_at=GOOD["occurred_at"].dt.tz_localize("Asia/Shanghai")), ["view"], "7D")
    with pytest.raises(ParameterError, match="convert it to timestamps"):
        funnel(GOOD.assign(occurred_at=[1, 2]), ["view"], "7D")
    with pytest.raises(ParameterError, match="found list"):
        funnel([1, 2], ["view"], "7D")


# --- names ------------------------------------------------------------------------------------------------------------


IMPORTS = (
    "import clvlib as clv; f = clv.funnel",
    "import clvlib.funnel; import clvlib as clv; f = clv.funnel",
    "import clvlib.funnel.kernel; import clvlib as clv; f = clv.funnel",
    "import clvlib as clv; clv.funnel; import clvlib.funnel.kernel; f = clvlib.funnel.kernel.funnel",
    "from clvlib.funnel.kernel import funnel as f",
    "from clvlib import funnel as f; import clvlib.funnel.kernel; clvlib.funnel.kernel.funnel",
)


def test_the_function_is_reachable_whatever_was_imported_first():
    """Each in a process of its own, forked from one that has imported what is not ours."""
    code = f"""import os, sys
import duckdb, numpy, pandas, scipy.stats
for imports in {IMPORTS}:
    child = os.fork()
    if not child:
        assert not any(name.startswith("clvlib") for name in sys.modules)
        exec(imports)
        log = pandas.DataFrame({{"person_id": ["p"], "event": ["a"], "occurred_at": [pandas.Timestamp("2026-11-01")]}})
        assert f(log, steps=["a"], window="7D").table["people"].tolist() == [1]
        import clvlib.funnel.chains, clvlib.funnel.kernel
        assert clvlib.funnel(log, ["a"], "7D").table.equals(clvlib.funnel.kernel.funnel(log, ["a"], "7D").table)
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, imports
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_clvlib_does_not_import_the_funnel():
    code = "import clvlib, clvlib.funnel, sys; assert 'pandas' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taobao():
    """A public behaviour log; its last line is cut off, and has no time."""
    import duckdb

    path = shared_data("taobao_events") / "UserBehavior_first84k.csv"
    return duckdb.sql(
        f"""SELECT user AS person_id, kind AS event, make_timestamp((time + 8 * 3600) * 1000000) AS occurred_at
        FROM read_csv('{path}', header=false, null_padding=true, columns={{'user': 'VARCHAR', 'item': 'VARCHAR',
             'category': 'VARCHAR', 'kind': 'VARCHAR', 'time': 'BIGINT'}})"""
    ).df()


def test_taobao_counts(taobao):
    assert taobao["event"].value_counts().to_dict() == {"pv": 75_873, "cart": 4_497, "fav": 2_356, "buy": 1_750}
    assert taobao["person_id"].nunique() == 815


@pytest.mark.parametrize("window", ["1h", "1D", "7D"])
def test_taobao_equals_brute_force(taobao, window):
    found = funnel(taobao, ["pv", "cart", "buy"], window)
    timed = taobao.dropna(subset="occurred_at")
    seconds = (timed["occurred_at"] - ZERO) // pd.Timedelta(seconds=1)
    rows = list(zip(timed["person_id"], seconds, timed["event"], strict=True))
    truth = brute(rows, Rules(["pv", "cart", "buy"], pd.Timedelta(window).total_seconds()))
    assert found.table["people"].tolist() == people(truth, 3)


def test_olist_leads_won():
    """842 of 8,000 leads are won, 10.5%; one of them before its first contact, a clock error that converts nobody."""
    folder = shared_data("olist_marketing_funnel")
    leads = pd.read_csv(folder / "olist_marketing_qualified_leads_dataset.csv")
    deals = pd.read_csv(folder / "olist_closed_deals_dataset.csv")
    events = pd.concat([
        pd.DataFrame({"person_id": leads["mql_id"], "event": "lead", "origin": leads["origin"],
                      "occurred_at": pd.to_datetime(leads["first_contact_date"], format="%d-%m-%Y")}),
        pd.DataFrame({"person_id": deals["mql_id"], "event": "won", "origin": None,
                      "occurred_at": pd.to_datetime(deals["won_date"], format="%d-%m-%Y %H:%M")}),
    ])  # fmt: skip
    ever = funnel(events, ["lead", "won"], "3650D", by="origin")
    assert ever.total["people"].tolist() == [8_000, 841]
    assert round(100 * ever.total["from_first"].iloc[1], 1) == 10.5
    assert ever.table.groupby("step")["people"].sum().tolist() == [8_000, 841]
    unknown = leads["origin"].isna().sum() + leads["origin"].eq("unknown").sum()
    assert ever.table.query("step == 'lead' and origin == 'unknown'")["people"].tolist() == [unknown]


def test_help_shows_the_arguments_of_the_function_and_not_of_the_package():
    assert inspect.signature(clv.funnel) == inspect.signature(funnel)


def test_a_row_per_segment_has_each_step_and_the_whole_way():
    """Of 4 people on x, 3 click and 1 of these buys; on y, 2 of 2 click and none buys: by hand, limits as in table."""
    made = [
        *((f"x{i}", "see", "x") for i in range(4)),
        *((f"x{i}", "click", "x") for i in range(3)),
        ("x0", "buy", "x"),
    ]
    made += [(f"y{i}", step, "y") for i in range(2) for step in ("see", "click")]
    events = pd.DataFrame(made, columns=["person_id", "event", "place"])
    events["occurred_at"] = pd.Timestamp("2026-11-09") + pd.to_timedelta(range(len(events)), unit="min")
    found = funnel(events, ["see", "click", "buy"], "7D", by="place")
    wide = found.wide
    assert wide[["see", "click", "buy", "all_the_way"]].to_dict("index") == {
        "x": {"see": 4, "click": 3 / 4, "buy": 1 / 3, "all_the_way": 1 / 4},
        "y": {"see": 2, "click": 1, "buy": 0, "all_the_way": 0},
    }
    row = found.table.query("place == 'x' and step == 'buy'").iloc[0]
    assert wide.loc["x", ["buy_lower", "buy_upper"]].tolist() == [row["lower"], row["upper"]]
    whole = wide.loc["x", ["all_the_way_lower", "all_the_way_upper"]].tolist()
    assert whole == [row["first_lower"], row["first_upper"]]
    assert set(found.formats) == set(wide.columns) - {"see"}
