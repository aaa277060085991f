from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.data.engine import DuckDBEngine, Table, as_table
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError, ThinDataWarning
from clvlib.funnel import chains as engine_side
from clvlib.funnel.chains import Query, chains
from clvlib.funnel.kernel import funnel
from tests.conftest import shared_data
from tests.funnel.oracle import brute, people

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

ROWS = st.lists(
    st.tuples(st.sampled_from([*"pqrstuvw", None]), st.one_of(st.integers(0, 12), st.none()), st.sampled_from("abcdx")),
    min_size=1,
    max_size=100,
)


@given(
    rows=ROWS,
    window=st.integers(1, 8),
    strict=st.booleans(),
    so_far=st.booleans(),
    cut=st.one_of(st.none(), st.integers(0, 14)),
    low=st.one_of(st.none(), st.integers(0, 6)),
    high=st.one_of(st.none(), st.integers(7, 13)),
    fraction=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_equals_brute_force_on_random_streams(rows, window, strict, so_far, cut, low, high, fraction):
    unit = pd.Timedelta(hours=1) - pd.Timedelta(
        microseconds=int(fraction)
    )  # with fractions of a second, the finer clock
    steps = ["a", "b", "c", "d"]
    events = log(rows, unit)

    def at(x):
        return None if x is None else ZERO + x * unit

    if not set(events["event"]) & set(steps):
        return
    as_of = None if cut is None else at(cut) + pd.Timedelta(microseconds=1)  # never at midnight, which is a whole day
    truth = brute(rows, steps, window, None if cut is None else cut + 0.001, (low, high), strict=strict, so_far=so_far)
    found = funnel(
        events, steps, window * unit, as_of=as_of, starts=(at(low), at(high)), strict=strict,
        open_windows="so far" if so_far else "exclude",
    )  # fmt: skip
    assert found.table["people"].tolist() == people(truth, 4)
    assert found.table["still_open"].tolist() == people(truth, 4, closed=False)
    assert found.open_units == people(truth, 1, closed=False)[0]


@given(rows=ROWS, window=st.integers(1, 8), parts=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_parts_of_the_units_add_up(rows, window, parts):
    events = as_table(log(rows, segment=[r[0] for r in rows]), "events")
    query = Query(("a", "b", "c"), window * 3_600_000_000, by=("event", "segment"))

    def histories(found):
        rows = zip(found.depth, found.segment, map(tuple, found.times), strict=True)
        return sorted((int(d), int(s), tuple(map(int, t))) for d, s, t in rows)

    whole = chains(events, query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_side, "_partitions", lambda *_: parts)
        assert histories(chains(events, query)) == histories(whole)


@given(rows=ROWS, window=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_a_chain_is_a_chain(rows, window):
    """Its events exist, in order, within the window, each step the earliest after the one before."""
    found = chains(as_table(log(rows), "events"), Query(("a", "b", "c"), window * 3_600_000_000))
    base = engine_side.moment(ZERO, "")
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
@settings(max_examples=60, deadline=None)
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
        truth = brute(plain, steps, window, None if cut is None else cut + 0.001)
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
    truth = brute(pairs, steps, window, None if cut is None else cut + 0.001)
    for name, rows_of in split.groupby("place"):
        here = {unit: value for unit, value in truth.items() if unit[1] == name}
        assert rows_of["people"].tolist() == people(here, 3)


@given(st.sets(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1), max_size=50))
@settings(max_examples=100, deadline=None)
def test_rank_is_a_search(units, others):
    """Also for values that cluster, as no hash does."""
    ordered = np.array(sorted(units), np.uint64)
    values = np.array([*units, *others, 0, 2**64 - 1], np.uint64)
    place = {unit: k for k, unit in enumerate(sorted(units))}
    assert engine_side._rank(values, ordered).tolist() == [place.get(int(v), -1) for v in values]
    assert engine_side._distinct(np.repeat(values, 2)).tolist() == sorted({int(v) for v in values})


# --- ClickHouse's documented cases ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "reached"), [("abc", 3), ("adbc", 3), ("aabbcc", 3), ("aaaabbcc", 3), ("aabbdcc", 3), ("ccbbaa", 1)]
)
def test_clickhouse_strings(stream, reached):
    events = log([("p", i, e) for i, e in enumerate(stream)])
    assert funnel(events, ["a", "b", "c"], "7D").table["people"].sum() == reached


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
    assert funnel(events, ["view", "cart"], "1D", strict=True).table["people"].tolist() == [1, 0]


def test_strict_takes_the_latest_start_before_a_tie():
    """FINDINGS: the latest start is tied with the next step, the one before it is not."""
    events = log([("p", 0, "a"), ("p", 5, "a"), ("p", 5, "b"), ("p", 6, "c")])
    assert funnel(events, ["a", "b", "c"], hours(6), strict=True).table["people"].tolist() == [1, 1, 1]
    assert funnel(events, ["a", "b", "c"], hours(5), strict=True).table["people"].tolist() == [1, 1, 0]


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
    used = engine_side._log(table, query)
    frame = engine_side._Frame(*engine_side._bounds(query, used), 1, 1, 2)
    assert engine_side._partitions(table, query, frame, used["n"]) > 1
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
        ({"steps": ["view", "view"]}, "twice"),
        ({"window": "0D"}, "not positive"),
        ({"window": "-1D"}, "not positive"),
        ({"window": "soon"}, "no length of time"),
        ({"window": pd.NaT}, "not positive"),
        ({"unit": "household"}, "'person', 'session'"),
        ({"attribution": "middle"}, "'first', 'last', 'each'"),
        ({"open_windows": "maybe"}, "'exclude', 'so far'"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"as_of": "someday"}, "not a date"),
        ({"as_of": pd.NaT}, "not a date"),
        ({"as_of": pd.Timestamp("2026-11-01", tz="Asia/Shanghai")}, "time zone"),
        ({"starts": ("2026-11-02", "2026-11-02")}, "not before"),
        ({"steps": ["viw", "ordr"]}, "none of viw, ordr occurs in the log; its events are order, view"),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(ParameterError, match=says):
        funnel(GOOD, **{"steps": ["view", "order"], "window": "7D", **arguments})


def test_an_unknown_event_name_is_told_from_a_step_that_nobody_reached():
    with pytest.warns(ThinDataWarning, match="'ordr' never occurs in the log .did you mean 'order'"):
        assert funnel(GOOD, ["view", "ordr"], "7D").table["people"].tolist() == [1, 0]
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


@pytest.mark.parametrize(
    "imports",
    [
        "import clvlib as clv; f = clv.funnel",
        "import clvlib.funnel; import clvlib as clv; f = clv.funnel",
        "import clvlib.funnel.kernel; import clvlib as clv; f = clv.funnel",
        "import clvlib as clv; clv.funnel; import clvlib.funnel.kernel; f = clvlib.funnel.kernel.funnel",
        "from clvlib.funnel.kernel import funnel as f",
        "from clvlib import funnel as f; import clvlib.funnel.kernel; clvlib.funnel.kernel.funnel",
    ],
)
def test_the_function_is_reachable_whatever_was_imported_first(imports):
    code = f"""{imports}
import pandas as pd
log = pd.DataFrame({{"person_id": ["p"], "event": ["a"], "occurred_at": [pd.Timestamp("2026-11-01")]}})
assert f(log, steps=["a"], window="7D").table["people"].tolist() == [1]
import clvlib.funnel.chains, clvlib.funnel.kernel
assert clvlib.funnel(log, ["a"], "7D").table.equals(clvlib.funnel.kernel.funnel(log, ["a"], "7D").table)
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
    truth = brute(rows, ["pv", "cart", "buy"], pd.Timedelta(window).total_seconds())
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
