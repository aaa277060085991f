"""Figures are written rounded, and what is no number never as one."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.errors import ParameterError
from clvlib.report.form import frame_cells, html_table, outcomes, show, show_change, text_table
from clvlib.words import money, price_in, speaking


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, pd.NA, pd.NaT, float("inf"), np.float64("-inf")])
@pytest.mark.parametrize("unit", ["money", "count", "share", "weeks", ".2f"])
def test_absent_is_a_dash(value, unit: str):
    assert show(value, unit, "CNY") == "—"


@pytest.mark.parametrize(
    ("currency", "value", "text"),
    [
        ("JPY", 95, "¥95"),
        ("JPY", 8.25, "¥8.2"),
        ("JPY", 3.02, "¥3"),
        ("JPY", 0.02, "¥0"),
        ("KRW", 12000, "₩12,000"),
        ("EUR", 95, "€95.00"),
        ("BRL", -3, "−BRL 3.00"),
    ],
)
def test_money_has_the_decimals_of_its_currency(currency: str, value: float, text: str):
    """ISO 4217 gives JPY and KRW no smaller unit; a mean, such as a cost per click, keeps a digit where it is small."""
    assert show(value, "money", currency) == text
    price_in(currency)
    assert money(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.5, "money", "¥1,234"),
        (-12.345, "money", "−¥12.35"),
        (0, "money", "¥0.00"),
        (817.4, "money", "¥817"),
        (99.994, "money", "¥99.99"),
        (99.996, "money", "¥100"),
        (1234567, "count", "1,234,567"),
        (2.6, "count", "3"),  # things are whole, beside a bound of 146 too
        (19.9, "count", "20"),
        (-3.4, "count", "−3"),
        (0.42, "count", "0.4"),
        (0.97, "count", "1"),
        (0.00042, "ratio", "0.00042"),
        (12345.678, "number", "12,346"),
        (1.5, "days", "1.5 days"),
        (-0.05, "share", "−5.0%"),
        (0.05, "points", "+5.0 pp"),
        (0.00003, "share", "0.003%"),
        (0.0312, "p_value", "0.031"),
        (1e-9, "p_value", "<0.0001"),
        (np.int64(3), "count", "3"),
    ],
)
def test_units(value, unit: str, text: str):
    assert show(value, unit, "CNY") == text


def test_unknown_unit():
    with pytest.raises(ParameterError, match="'mony' is none of count, money"):
        show(1.0, "mony")


def test_cells_of_a_frame():
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2026-11-15", None]),
            "yes": [True, False],
            "n": [1234, -5],
            "x": [0.123456, np.nan],
            "share": [0.5, np.nan],
            "band": pd.IntervalIndex.from_tuples([(0, 10), (10, 20)]),
            "text": ["a", None],
            "day": [dt.date(2026, 1, 2), None],
        },
        index=pd.Index(["007", "8"], name="customer_id"),
    )
    heads, rows, numeric = frame_cells(frame, {"share": "share"}, "CNY")
    assert heads == ["customer_id", "when", "yes", "n", "x", "share", "band", "text", "day"]
    assert rows[0] == ["007", "2026-11-15", "yes", "1,234", "0.123", "50.0%", "0 to 10", "a", "2026-01-02"]
    assert rows[1] == ["8", "—", "no", "−5", "—", "—", "10 to 20", "—", "—"]
    assert numeric == [False, False, False, True, True, True, False, False, False]


def test_frames_of_all_shapes():
    many = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    assert frame_cells(many, {}, "")[0] == ["a x", "a y"]
    two = pd.DataFrame({"v": [1]}, index=pd.MultiIndex.from_tuples([("p", 1)], names=["k", None]))
    assert frame_cells(two, {}, "")[:2] == (["k", "", "v"], [["p", "1", "1"]])
    assert frame_cells(pd.DataFrame({"a": []}), {}, "")[:2] == (["a"], [])
    assert frame_cells(pd.DataFrame({"a": [1, 2]}, index=[5, 6]), {}, "")[0] == ["", "a"]
    same = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert frame_cells(same, {}, "")[:2] == (["a", "a"], [["1", "2"]])


@pytest.mark.parametrize(("language", "word"), [("en", "age band"), ("zh", "年龄段")])
def test_names_of_columns_are_words_where_they_are_features_and_stay_where_they_are_names(language: str, word: str):
    frame = pd.DataFrame({"feature": ["age_band"], "file": ["age_band"], "segment": ["my_own"]})
    with speaking(language):
        assert frame_cells(frame, {}, "")[1] == [[word, "age_band", "my_own"]]


@pytest.mark.parametrize(
    ("heads", "shown"),
    [
        (["arm", "rate", "lower", "upper", "n"], {"rate": "2 to 3"}),
        (["arm", "rate", "rate_lower", "rate_upper"], {"rate": "2 to 3"}),
        (["arm", "lift", "n", "lift_lower", "lift_upper"], {"lift": "3 to 4"}),  # by name, wherever they stand
        (["arm", "buyer_index", "index_lower", "index_upper"], {"buyer_index": "2 to 3"}),
        (["name", "estimate", "standard_error", "lower", "upper"], {"estimate": "3 to 4"}),
        (["rate", "a_lower", "a_upper", "b_lower", "b_upper"], {"rate": "1 to 2"}),  # what b is of cannot be told
        (["lower", "upper"], {}),
        (["rate", "lower", "n", "upper"], {}),
        (["flower", "n"], {}),
    ],
)
def test_intervals_stand_below_their_estimates(heads: list[str], shown: dict[str, str]):
    html = html_table(heads, [[str(place) for place in range(len(heads))]], [True] * len(heads))
    columns = re.findall(r"<th scope[^>]*>(.*?)</th>", html)
    assert {column.removesuffix("<br><small>interval</small>") for column in columns if "<small>" in column} == {
        name.replace("_", " ") for name in shown
    }
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html)
    assert len(cells) == len(columns) == len(heads) - 2 * len(shown)
    below = [text for cell in cells for text in re.findall("<small>(.*)</small>", cell)]
    assert below == list(shown.values())


def test_an_interval_of_its_own_stands_below_its_estimate_too():
    heads = ["lost", "lost_share", "lost_interval"]  # the column of its name counts, and is no share
    html = html_table(heads, [["9", "1%", "0% to 2%"]], [True, True, False])
    assert re.findall(r"<td[^>]*>(.*?)</td>", html) == ["9", "1%<br><small>0% to 2%</small>"]


def test_an_interval_that_is_not_known_is_not_shown_and_one_of_texts_is_none():
    rows = [["a", "1", "—", "—"], ["b", "2", "1", "3"], ["c", "2", "1", "—"]]  # the last has no upper end
    html = html_table(["arm", "n", "lower", "upper"], rows, [False, True, True, True])
    assert re.findall("<small>(.*?)</small>", html) == ["interval", "1 to 3", "1 to —"]
    assert "<small>" not in html_table(["arm", "n", "lower", "upper"], rows, [False, True, False, False])


def test_tables_are_escaped_and_aligned():
    table = (["na<me", "n"], [["<script>", "1"], ["b", "1,000"]], [False, True], "A & B", "x < y")
    html = html_table(*table)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "A &amp; B" in html
    assert '<td class="num" style="text-align:right">1,000</td>' in html
    assert text_table(*table).splitlines() == [
        "A & B",
        "na<me         n",
        "<script>      1",
        "b         1,000",
        "x < y",
    ]


def test_names_of_the_library_are_words_and_values_of_the_data_stay():
    frame = pd.DataFrame({"feature": ["age_band", "my_own"], "x": [1, 2]})
    assert [row[0] for row in frame_cells(frame, {}, "")[1]] == ["age band", "my_own"]


@given(st.floats(0, 300), st.floats(0, 300), st.integers(0, 300))
def test_what_came_lies_within_what_is_written_if_it_lies_within(one: float, other: float, came: int):
    lower, upper = sorted((one, other))
    ends = outcomes(lower, upper, "count")
    assert ends[0] <= ends[1]
    if ends != (lower, upper):  # two bounds between which there is no whole number stay as they are
        shown = [int(show(end, "count")) for end in ends]
        assert (shown[0] <= came <= shown[1]) == (lower <= came <= upper)


@pytest.mark.parametrize(
    ("value", "unit", "beside", "text"),
    [
        (21.43, "money", 221.93, "+¥21"), (-0.84, "money", 57.08, "−¥0.84"), (120.0, "money", 57.08, "+¥120"),
        (0.8333, "score", 4.09, "+0.83"), (-0.00019, "ratio", 0.129, "−0.00019"), (0.8, "ratio", 10.1, "+0.8"),
        (0.3, "money", 500.0, "+¥0.30"), (1.25, "hours", 30.0, "+1.2 hours"), (5, "count", 100.0, "+5"),
        (0.02, "share", 0.5, "+2.0 pp"), (None, "money", 5.0, "—"), (3.0, "money", float("nan"), "+¥3.00"),
    ],
)  # fmt: skip
def test_a_change_has_the_decimals_of_its_figure(value: Any, unit: str, beside: float, text: str):
    assert show_change(value, unit, "CNY", beside=beside) == text


def test_changes_of_few_things_keep_a_decimal():
    # a change of 5 lies outside of what is usual, which 5 to 5 would deny
    assert [show_change(value, "count") for value in (5.0, 4.6, -0.3, 19.9, 20.4)] == [
        "+5",
        "+4.6",
        "−0.3",
        "+19.9",
        "+20",
    ]
