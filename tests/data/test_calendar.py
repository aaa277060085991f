"""ISO weeks against the calendar module of the standard library and the ISO rule for long years."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.data.calendar import Week, as_date, week_span
from clvlib.errors import ParameterError


@given(st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1)))
def test_a_day_lies_in_its_week_and_weeks_adjoin(day: dt.date) -> None:
    week = Week.containing(day)
    assert week.start <= day < week.end
    assert week.start.weekday() == 0
    assert week.next.start == week.end
    assert week.next.previous == week
    assert (week.label[:4], week.label[6:]) == (day.strftime("%G"), day.strftime("%V"))


def test_years_of_53_weeks() -> None:
    # A year has a week 53 exactly when its 31 December is a Thursday, or a Friday in a leap year.
    for year in range(1990, 2101):
        end = dt.date(year, 12, 31)
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if end.weekday() == 3 or (end.weekday() == 4 and leap):
            assert Week(f"{year}-W53").next.label == f"{year + 1}-W01"
        else:
            with pytest.raises(ParameterError, match="01 to 52"):
                Week(f"{year}-W53")


@pytest.mark.parametrize("label", ["2026-46", "W46", "2026-W00", "2026-W54", "", "last", "0000-W01"])
def test_other_labels_are_refused(label: str) -> None:
    with pytest.raises(ParameterError):
        Week(label)


def test_compact_and_lower_case_labels_are_the_same_week() -> None:
    assert Week("2026w46") == Week("2026-W46")


@pytest.mark.parametrize("value", ["2026-13-01", "yesterday", 5, None])
def test_what_is_no_day(value: object) -> None:
    with pytest.raises(ParameterError, match="not a day"):
        as_date(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "first", "last", "n"),
    [
        ("2026-W46", "2026-W46", "2026-W46", 1),
        ("w46", "2026-W46", "2026-W46", 1),
        ("W47", "2025-W47", "2025-W47", 1),  # the data end with 2026-W46
        ("W53", "2020-W53", "2020-W53", 1),  # before 2026 the last year with 53 weeks is 2020
        ("W20..W46", "2026-W20", "2026-W46", 27),
        ("W50..W02", "2025-W50", "2026-W02", 5),  # 50, 51, 52, 1, 2
        ("2026-W45..W46", "2026-W45", "2026-W46", 2),
        ("W45..2026-W46", "2026-W45", "2026-W46", 2),
        ("2026W52..2027W01", "2026-W52", "2027-W01", 3),
    ],
)
def test_spans_of_weeks(text: str, first: str, last: str, n: int):
    weeks = week_span(text, Week("2026-W46"))
    assert (weeks[0].label, weeks[-1].label, len(weeks)) == (first, last, n)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("46", "is no week and no span"),
        ("2026-W20..", "is no week and no span"),
        ("2026-W46..2026-W20", "ends before it begins"),
        ("2026-W46..W20", "ends before it begins"),
        ("W54", "no year has a week 54"),
        ("2026-W00", "weeks 01 to 53, not 00"),
    ],
)
def test_no_spans_of_weeks(text: str, says: str):
    with pytest.raises(ParameterError, match=says):
        week_span(text, Week("2026-W46"))
