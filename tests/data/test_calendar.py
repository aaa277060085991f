"""ISO weeks against the calendar module of the standard library and the ISO rule for long years."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.data.calendar import Week, as_date
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
