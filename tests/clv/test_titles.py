"""Titles of figures are what the figures show; numbers by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from clvlib.clv import plots


def title(ax) -> str:
    return (ax.get_title(loc="left") or ax.get_title()).replace("\n", " ")


def test_tracking_counts_the_weeks_that_were_not_seen():
    weeks = pd.date_range("2026-11-01", periods=4, freq="W")
    frame = pd.DataFrame(
        {"actual": [5.0, 12, 9, 30], "expected": [6.0, 10, 10, 10], "lower": 4.0, "upper": 15.0}
        | {"holdout": [False, True, True, True]},
        index=weeks,
    )
    sums = frame[["actual", "expected", "lower", "upper"]].cumsum().add_suffix("_cumulative")
    frame = frame.join(sums)
    assert title(plots.tracking_plot(frame)) == "2 of 3 weeks not seen lie within the range"
    text = "Over all weeks the model counts 36 repeat purchases; 56 came"
    assert title(plots.tracking_plot(frame, cumulative=True)) == text
    assert title(plots.tracking_plot(frame.assign(holdout=False))) == "Repeat purchases per week"


def test_frames_by_hand():
    value = pd.Series([55.0, *[5.0] * 9])  # the first of ten customers holds 55 of 100
    assert (
        title(plots.concentration_plot(plots.concentration(value))) == "The most valuable tenth holds 55% of the value"
    )
    often = pd.DataFrame({"actual": [70.0, 20, 10], "expected": [68.0, 25, 7]})
    assert title(plots.frequency_plot(often)) == "70 customers have not come back; the model says 68"
    matrix = pd.DataFrame([[0.04, 0.5], [0.2, 0.91]], index=[1, 2], columns=[0.0, 10.0])
    assert title(plots.alive_matrix_plot(matrix)) == "P(alive) lies between 4% and 91%, by purchases and silence"
    assert title(plots.purchases_matrix_plot(10 * matrix)).startswith("Between 0.4 and 9.1 purchases are expected")
    course = pd.DataFrame({"probability_alive": [1.0, 0.8, 0.37], "purchase": [True, False, False]})
    assert title(plots.alive_history_plot(course)) == "This customer's P(alive) is now 37%"


@pytest.mark.parametrize("missing", ["lower", "holdout"])
def test_a_frame_without_bands_or_weeks_not_seen_claims_nothing(missing):
    frame = pd.DataFrame({"actual": [1.0, 2.0], "expected": [1.0, 2.0], "holdout": [False, True]})
    frame = frame.assign(lower=0.5, upper=2.5)
    frame = frame.drop(columns=["lower", "upper"]) if missing == "lower" else frame.assign(holdout=False)
    assert title(plots.tracking_plot(frame)) == "Repeat purchases per week"
