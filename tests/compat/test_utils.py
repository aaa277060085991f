"""Summaries and running sums equal those of lifetimes on CDNOW."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvlib.compat.lifetimes as ours
from clvlib.compat.lifetimes import utils
from clvlib.errors import EmptyDataError
from tests.compat.conftest import quietly


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"freq": "W"},
        {"freq": "D", "freq_multiplier": 7, "observation_period_end": "19970930"},
        {"monetary_value_col": "spent"},
        {"monetary_value_col": "spent", "freq": "W", "observation_period_end": "19971231"},
        {"monetary_value_col": "spent", "include_first_transaction": True},
        {"freq": "h", "freq_multiplier": 24, "observation_period_end": pd.Timestamp("1998-01-15")},
    ],
)
def test_summaries_equal_those_of_lifetimes(theirs, log, settings):
    expected = quietly(theirs.utils.summary_data_from_transaction_data, log, "id", "date", **settings)
    found = utils.summary_data_from_transaction_data(log, "id", "date", **settings)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    text = log.assign(date=log["date"].dt.strftime("%Y%m%d").astype(int))  # as CDNOW's file has them
    again = utils.summary_data_from_transaction_data(text, "id", "date", datetime_format="%Y%m%d", **settings)
    pd.testing.assert_frame_equal(again, expected, rtol=1e-12)


def test_cdnow_in_weeks_to_the_day_is_the_summary_of_the_papers(log, customers):
    found = utils.summary_data_from_transaction_data(
        log, "id", "date", "spent", observation_period_end="1997-09-30", freq="D", freq_multiplier=7
    )
    columns = ["frequency", "recency", "T"]
    np.testing.assert_allclose(found[columns], customers[columns], atol=0.0051)  # printed with two decimals
    buyers = found[found["frequency"] > 0]["monetary_value"]
    assert len(buyers) == 946
    assert buyers.mean() == pytest.approx(35.08, abs=0.005)  # Fader & Hardie, note 025


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"freq_multiplier": 7},
        {"freq": "W"},
        {"include_first_transaction": True},
        {"observation_period_end": "1998-03-01"},
        {"freq": "h", "freq_multiplier": 24},
    ],
)
def test_calibration_and_holdout_equal_those_of_lifetimes(theirs, log, settings):
    split = "1997-09-28" if settings.get("freq") == "W" else "1997-09-30"  # a week's last day
    given = ("id", "date", split)
    # lifetimes cannot do without amounts on pandas 3
    expected = quietly(theirs.utils.calibration_and_holdout_data, log, *given, monetary_value_col="spent", **settings)
    found = utils.calibration_and_holdout_data(log, *given, monetary_value_col="spent", **settings)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    plain = utils.calibration_and_holdout_data(log, *given, **settings)
    pd.testing.assert_frame_equal(plain, expected.drop(columns=["monetary_value_cal", "monetary_value_holdout"]))


def test_a_purchase_belongs_to_the_calibration_or_to_the_holdout():
    times = ["2015-01-01 09:00", "2015-01-06 10:00", "2015-01-06 20:00", "2015-01-07 08:00"]
    log = pd.DataFrame({"id": 1, "date": pd.to_datetime(times), "spent": [1.0, 2.0, 3.0, 4.0]})
    found = utils.calibration_and_holdout_data(
        log, "id", "date", "2015-01-06", "2015-01-07", monetary_value_col="spent"
    ).loc[1]
    assert found["frequency_cal"] == 1
    assert found["monetary_value_cal"] == 5.0
    assert found["frequency_holdout"] == 1
    assert found["monetary_value_holdout"] == 4.0
    with pytest.raises(EmptyDataError, match="There is no data available"):
        utils.calibration_and_holdout_data(log, "id", "date", "2016-01-01", "2016-02-01")


def test_old_names_of_periods_and_rows_without_customer_or_date(log):
    few = log.head(200)
    hourly = utils.summary_data_from_transaction_data(few, "id", "date", freq="H")
    pd.testing.assert_frame_equal(hourly, utils.summary_data_from_transaction_data(few, "id", "date", freq="h"))
    holes = pd.concat([few, pd.DataFrame({"id": [1.0, np.nan], "date": [pd.NaT, few["date"].max()], "spent": 1.0})])
    for amounts in (None, "spent"):
        whole, holed = (utils.summary_data_from_transaction_data(part, "id", "date", amounts) for part in (few, holes))
        pd.testing.assert_frame_equal(holed, whole, check_index_type=False)
    months = pd.DataFrame({"id": 1, "date": pd.to_datetime(["2015-01-31", "2015-02-01", "2015-04-15"])})
    found = utils.summary_data_from_transaction_data(months, "id", "date", freq="M").loc[1]
    assert found.to_dict() == {"frequency": 2.0, "recency": 3.0, "T": 3.0}  # months of the calendar


class _Root:
    """A model of which every figure is plain."""

    def expected_number_of_purchases_up_to_time(self, t):
        return np.sqrt(t)

    def conditional_probability_alive(self, frequency, recency, T):
        return np.asarray(frequency) * 100 + np.asarray(recency) + np.asarray(T) / 100


@pytest.mark.parametrize(
    ("t", "settings"),
    [
        (100, {}),
        (175, {"freq_multiplier": 7}),
        (60, {"freq_multiplier": 7, "set_index_date": True}),
        (20, {"freq": "W", "set_index_date": True}),
        (600, {}),
    ],
)
def test_running_sums_equal_those_of_lifetimes(theirs, log, t, settings):
    arguments = (_Root(), log, "date", "id", t)
    expected = quietly(theirs.utils.expected_cumulative_transactions, *arguments, **settings)
    found = utils.expected_cumulative_transactions(*arguments, **settings)
    pd.testing.assert_frame_equal(found, expected, check_index_type=False, check_freq=False, rtol=1e-9)


def test_alive_path_by_hand():
    # bought on days 0, 2 (twice) and 5, in no order; asked for 4 days, but the last purchase is later
    days = pd.DataFrame({"date": ["2015-01-06", "2015-01-01", "2015-01-03", "2015-01-03"]})
    found = utils.calculate_alive_path(_Root(), days, "date", 4)
    assert found.tolist() == pytest.approx([0.0, 0.01, 102.02, 102.03, 102.04, 205.05])
    weekly = utils.calculate_alive_path(_Root(), days, "date", 3, freq="W")  # 2015-01-05 is a Monday
    assert weekly.tolist() == pytest.approx([0.0, 101.01, 101.02, 101.03])


def test_what_cannot_be_is_refused():
    good = {"frequency": [0, 1], "recency": [0, 1], "T": [5, 6], "monetary_value": [2.0, 3.0]}
    assert utils._check_inputs(**good) is None
    for column, values in {
        "recency": [1, 1],
        "frequency": [0, 0.5],
        "monetary_value": [0.0, 3.0],
        "T": [5, 0.5],
    }.items():
        with pytest.raises(ValueError, match=r"\w"):
            utils._check_inputs(**{**good, column: values})
    assert issubclass(ours.utils.ConvergenceError, ValueError)
    assert utils._scale_time(np.arange(201)) == 1 / 200
