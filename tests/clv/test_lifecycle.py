"""Lifecycle stages against the rules written out person by person, and the sums that flows must keep."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.clv.lifecycle import NEW, STAGES, lifecycle
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError

LAST = pd.Timestamp("2026-11-15")
WHO, AGO = st.sampled_from("abcdef"), st.integers(-3, 150)
ORDER = st.tuples(WHO, AGO, st.one_of(st.none(), st.integers(0, 20)))
EVENT = st.tuples(WHO, AGO, st.sampled_from(["exposure", "click", "paid"]))


def dated(rows, columns: list[str], when: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "ago", *columns])
    frame[when] = LAST - pd.to_timedelta(frame["ago"].astype(float), unit="D")
    return frame


def stage_of(who: str, day: pd.Timestamp, orders, events, contacts, customers) -> str | None:
    """The rules, in the order of the documentation."""
    bought = orders[(orders["customer_id"] == who) & (orders["day"] <= day)]
    seen = events[(events["person_id"] == who) & (events["occurred_at"] <= day)]
    written = contacts[(contacts["customer_id"] == who) & (contacts["sent_at"] <= day)]
    joined = customers[(customers["customer_id"] == who) & (customers["signed_up_at"] <= day)]
    signs = [*bought["day"], *seen["occurred_at"], *joined["signed_up_at"], *written["sent_at"].nsmallest(1)]
    if not signs:
        return None
    if max(signs) < day - pd.Timedelta(days=90):
        return "exit"
    if len(set(bought["day"])) > 1:
        return "maintenance"
    if len(bought):
        return "use" if (bought["received_at"] <= day).any() else "purchase"
    return "awareness" if len(joined) or (seen["event"] != "exposure").any() else "contact"


@settings(max_examples=40)
@given(
    st.lists(ORDER, min_size=1, max_size=8),
    st.lists(EVENT, max_size=8),
    st.lists(st.tuples(WHO, AGO), max_size=4),
    st.lists(st.tuples(WHO, AGO), max_size=3, unique_by=lambda row: row[0]),
)
def test_everybody_is_in_the_one_stage_that_the_rules_name(orders, events, contacts, customers):
    sold = dated(orders, ["wait"], "day").rename(columns={"id": "customer_id"})
    sold["received_at"] = sold["day"] + pd.to_timedelta(sold["wait"].astype(float), unit="D")
    tables = (
        sold,
        dated(events, ["event"], "occurred_at").rename(columns={"id": "person_id"}),
        dated(contacts, [], "sent_at").rename(columns={"id": "customer_id"}),
        dated(customers, [], "signed_up_at").rename(columns={"id": "customer_id"}),
    )
    tables = tuple(frame.astype({frame.columns[0]: "str"}) for frame in tables)
    people = sorted(set("abcdef"))
    expected = {who: stage_of(who, LAST, *tables) for who in people}
    expected = {who: stage for who, stage in expected.items() if stage is not None}
    if not expected:
        with pytest.raises(EmptyDataError):
            lifecycle(sold, LAST, *tables[1:])
        return
    result = lifecycle(sold, LAST, *tables[1:], weeks=3)
    assert result.by_person["stage"].to_dict() == expected
    for who, row in result.by_person.iterrows():
        then = [stage_of(who, LAST - pd.Timedelta(weeks=back), *tables) for back in range(4)]
        assert row["before"] == (then[1] or NEW)
        lasted = next((back for back in range(4) if then[back] != then[0]), 4)
        assert row["weeks_in_stage"] == min(lasted, 3)
    assert result.flow.to_numpy().sum() == result.people == len(expected)
    assert result.flow.sum().to_dict() == result.table["people"].to_dict()
    assert result.table["share"].sum() == pytest.approx(1)
    assert result.table["in_a_month"].sum() == pytest.approx(result.people)
    np.testing.assert_allclose(result.transitions.sum(axis=1), 1)


def test_what_stages_are_worth_and_where_people_go():
    rows = [(f"c{i}", 40, 1) for i in range(8)] + [(f"c{i}", 3, 1) for i in range(2)]
    sold = dated(rows, ["wait"], "day").rename(columns={"id": "customer_id"})
    result = lifecycle(sold, LAST, weeks=1, value=pd.Series({"c0": 10.0, "c7": 1.0}))
    assert result.table.loc["maintenance", ["people", "value", "value_per_person"]].tolist() == [2, 10.0, 5.0]
    assert result.table.loc["use", ["people", "value", "stay"]].tolist() == [6, 1.0, 0.75]
    # of 6 in use three quarters stay each week for four weeks; nobody leaves maintenance
    assert result.table.loc["use", "in_a_month"] == pytest.approx(6 * 0.75**4)
    assert list(result.table.index) == list(STAGES)
    assert clv.lifecycle is lifecycle


def test_the_shop_of_the_repository(tmp_path):
    """Order of rows and a table that is absent."""
    rng = np.random.default_rng(3)
    rows = [(f"c{i}", int(rng.integers(0, 120)), None) for i in rng.integers(0, 60, 200)]
    sold = dated(rows, ["wait"], "day").rename(columns={"id": "customer_id"}).drop(columns="wait")
    one = lifecycle(sold, LAST)
    other = lifecycle(sold.sample(frac=1, random_state=1), LAST)
    pd.testing.assert_frame_equal(one.by_person, other.by_person)
    assert set(one.by_person["stage"]) <= {"purchase", "use", "maintenance", "exit"}


def test_what_cannot_be_is_refused():
    sold = dated([("a", 3, 1)], ["wait"], "day").rename(columns={"id": "customer_id"})
    for bad in ({"exit_days": 0}, {"weeks": 0}, {"use_days": 0}):
        with pytest.raises(ParameterError):
            lifecycle(sold, LAST, **bad)
    with pytest.raises(MissingColumnError):
        lifecycle(sold.drop(columns="day"), LAST)
    with pytest.raises(EmptyDataError):
        lifecycle(sold, "2020-01-01")


def test_a_stage_where_nobody_ever_was_has_no_share_that_stays():
    orders = pd.DataFrame({"customer_id": ["a", "b"], "day": pd.to_datetime(["2026-11-01", "2026-11-02"])})
    table = lifecycle(orders, "2026-11-15", value=pd.Series({"a": 2.0, "b": 4.0})).table
    assert table.loc["maintenance", "people"] == 0
    assert table.loc["maintenance", ["weeks_in_stage", "stay", "value_per_person"]].isna().all()
    there = table[table["people"] > 0]
    assert there["weeks_in_stage"].notna().all()
    assert (there["value"] / there["people"]).tolist() == there["value_per_person"].tolist()


def test_moves_are_those_of_the_flow():
    """Of four who had bought once, one bought again and one was never known before: 1 of 3 moved on."""
    sold = pd.DataFrame([("a", 60), ("a", 3), ("b", 60), ("c", 60), ("d", 2)], columns=["customer_id", "ago"])
    found = lifecycle(sold.assign(day=LAST - pd.to_timedelta(sold["ago"], "D")), LAST, weeks=4)
    moves = found.moves(0.9).sort_values("now", ignore_index=True)
    assert moves[["before", "now", "people"]].values.tolist() == [["use", "maintenance", 1], [NEW, "purchase", 1]]
    row = moves.iloc[0]
    assert row["share"] == pytest.approx(1 / 3)
    assert row["share_lower"] < 1 / 3 < row["share_upper"]
    assert row["usual_share"] == pytest.approx(1 / 12)  # three people in four weeks
    assert moves.iloc[1][["share", "share_lower", "share_upper", "usual_share"]].isna().all()
    assert moves["people"].sum() + np.trace(found.flow.to_numpy()[:-1]) == found.people
    still = lifecycle(sold.iloc[[2]].assign(day=LAST - pd.Timedelta(days=60)), LAST)
    assert still.moves().empty
