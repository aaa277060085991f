"""Who came back: against people counted one by one, and what cohorts must add up to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clvlib.audience.fans import cohorts_plot, fans, retention_plot
from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.stats.proportions import proportion_interval

WEEK = Week("2026-W46")
SEEN = st.tuples(st.sampled_from("abcdefg"), st.integers(-3, 70), st.integers(0, 23))


def events_of(rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["person_id", "ago", "hour"])
    frame["occurred_at"] = (
        pd.Timestamp(WEEK.as_of)
        - pd.to_timedelta(frame["ago"].astype(float), unit="D")
        + pd.to_timedelta(frame["hour"].astype(float), unit="h")
    )
    return frame


@settings(max_examples=40)
@given(st.lists(SEEN, min_size=1, max_size=40), st.integers(2, 12))
def test_figures_are_those_of_counting(rows, weeks):
    frame = events_of(rows)
    past = frame[frame["occurred_at"] < pd.Timestamp(WEEK.end)]
    monday = past["occurred_at"].dt.normalize() - pd.to_timedelta(past["occurred_at"].dt.day_of_week, unit="D")
    by_week = {week: set(group) for week, group in past["person_id"].groupby(monday)}
    this, before = pd.Timestamp(WEEK.start), pd.Timestamp(WEEK.previous.start)
    if before not in by_week:
        with pytest.raises(EmptyDataError):
            fans(frame, WEEK, weeks)
        return
    result = fans(frame, WEEK, weeks)
    stayed = len(by_week[before] & by_week.get(this, set()))
    assert (result.before, result.stayed) == (len(by_week[before]), stayed)
    expected = proportion_interval(stayed, len(by_week[before])).iloc[0]
    assert (result.retained, result.lower, result.upper) == pytest.approx(tuple(expected))
    first = {who: min(week for week, people in by_week.items() if who in people) for who in set(past["person_id"])}
    for label, row in result.table.iterrows():
        start = pd.Timestamp(Week(label).start)
        people = by_week.get(start, set())
        own = past[(past["occurred_at"] >= start) & (past["occurred_at"] < start + pd.Timedelta(days=7))]
        days = len(set(zip(own["person_id"], own["occurred_at"].dt.date, strict=True)))
        assert (row["people"], row["daily"]) == (len(people), pytest.approx(days / 7))
        assert row["new"] == sum(week == start for week in first.values())
        four = set().union(*(by_week.get(start - pd.Timedelta(weeks=k), set()) for k in range(4)))
        if not np.isnan(row["monthly"]):
            assert row["monthly"] == len(four)
            assert start - pd.Timedelta(weeks=3) >= min(by_week)
            each = own.groupby("person_id")["occurred_at"].apply(lambda times: times.dt.date.nunique() / 7)
            shares = np.array([each.get(who, 0.0) for who in four])
            if four:
                assert row["stickiness"] == pytest.approx(shares.mean())
            if len(four) > 1 and np.ptp(shares) > 0:
                ends = stats.t.interval(0.95, len(four) - 1, shares.mean(), stats.sem(shares))
                assert tuple(row[["stickiness_lower", "stickiness_upper"]]) == pytest.approx(ends)
    for label, shares in result.cohorts.iterrows():
        start = pd.Timestamp(Week(label).start)
        cohort = {who for who, week in first.items() if week == start}
        assert result.sizes[label] == len(cohort)
        for age, share in shares.items():
            then = start + pd.Timedelta(weeks=age)
            if then > this or not cohort:
                assert np.isnan(share)
            else:
                assert share == pytest.approx(len(cohort & by_week.get(then, set())) / len(cohort))


def test_what_is_drawn_is_what_was_counted():
    rows = [(who, ago, 12) for who in "abcde" for ago in (1, 8, 15, 22) if ord(who) * ago % 3]
    result = fans(events_of(rows), WEEK, 4)
    drawn = retention_plot(result).get_lines()[0].get_ydata()
    np.testing.assert_allclose(drawn, result.table["retained"].dropna())
    image = cohorts_plot(result).get_images()[0].get_array()
    np.testing.assert_allclose(np.ma.filled(image, np.nan), result.cohorts.iloc[:-1, 1:])


def test_what_cannot_be_is_refused():
    frame = events_of([("a", 1, 1), ("a", 9, 1)])
    with pytest.raises(ParameterError, match="two weeks"):
        fans(frame, WEEK, 1)
    with pytest.raises(EmptyDataError, match="2026-W45"):
        fans(frame.head(1), WEEK)
    with pytest.raises(MissingColumnError):
        fans(frame.drop(columns="person_id"), WEEK)


def test_titles_say_what_is_to_be_seen():
    """Of 4 people of W44, 2 came again in W45 and 1 in W46; of the 2 who were new in W45, 2 came again in W46."""
    seen = [
        ("a", 0),
        ("b", 0),
        ("c", 0),
        ("d", 0),
        ("a", 7),
        ("b", 7),
        ("e", 7),
        ("f", 7),
        ("a", 14),
        ("e", 14),
        ("f", 14),
    ]
    log = pd.DataFrame(seen, columns=["person_id", "day"])
    log["occurred_at"] = pd.Timestamp("2026-10-26") + pd.to_timedelta(log["day"], unit="D")
    found = fans(log, Week("2026-W46"), weeks=3)
    assert found.trend_sentence == "75% came again in W46; in the week before it was 50%"
    assert found.cohorts_sentence == (  # (2 + 2) / (4 + 2), and 1 / 4
        "Of the people who were new, 67% were seen again in the week after, 25% in week 2"
    )
    assert cohorts_plot(found).get_title(loc="left").replace("\n", " ") == found.cohorts_sentence
    one = fans(log[log["day"] > 0], Week("2026-W46"), weeks=2)
    assert one.trend_sentence == "75% came again in W46"
    assert one.cohorts_sentence == "Of the people who were new, 75% were seen again in the week after"
    old = fans(log[log["person_id"].isin(["a", "b"])], Week("2026-W46"), weeks=2)
    assert old.cohorts_sentence == "Nobody was new in the weeks before"
