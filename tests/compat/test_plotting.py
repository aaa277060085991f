"""What lifetimes' figures show, seen in matplotlib's objects."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import clvlib.compat.lifetimes as ours
from clvlib.compat.lifetimes import plotting, utils
from tests.compat.conftest import quietly


@pytest.fixture(autouse=True)
def _no_window():
    before = mpl.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


@pytest.fixture(scope="module")
def fitter(customers):
    return ours.BetaGeoFitter().fit(customers["frequency"], customers["recency"], customers["T"])


@pytest.fixture(scope="module")
def reference(theirs, customers):
    return quietly(theirs.top.BetaGeoFitter().fit, customers["frequency"], customers["recency"], customers["T"])


def shown(ax):
    """Return captions and numbers of a figure."""
    captions = [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()]
    legend = ax.get_legend()
    captions += [text.get_text() for text in legend.get_texts()] if legend else []
    numbers = [np.asarray(line.get_ydata(), dtype=float) for line in ax.lines]
    return captions, numbers + [np.asarray(image.get_array()) for image in ax.get_images()]


def assert_alike(found, expected, rtol=1e-4):
    assert found[0] == expected[0]
    assert len(found[1]) == len(expected[1])
    for mine, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=rtol, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("plot_frequency_recency_matrix", {}),
        ("plot_frequency_recency_matrix", {"T": 5, "max_frequency": 4, "max_recency": 8}),
        ("plot_probability_alive_matrix", {}),
        ("plot_probability_alive_matrix", {"max_frequency": 4, "max_recency": 8, "cmap": "magma"}),
        ("plot_transaction_rate_heterogeneity", {}),
        ("plot_dropout_rate_heterogeneity", {"xlabel": "chance"}),
    ],
)
def test_figures_of_a_fitter_are_those_of_lifetimes(theirs, reference, fitter, name, settings):
    expected = shown(quietly(getattr(theirs.plotting, name), reference, **settings))
    plt.close("all")
    assert_alike(shown(getattr(plotting, name)(fitter, **settings)), expected)


@pytest.mark.parametrize("name", ["plot_cumulative_transactions", "plot_incremental_transactions"])
@pytest.mark.parametrize("dated", [False, True])
def test_tracking_is_that_of_lifetimes(theirs, reference, fitter, log, name, dated):
    arguments = (log, "date", "id", 40, 30)
    settings = {"freq": "W", "xlabel": "week", "set_index_date": dated}
    expected = shown(quietly(getattr(theirs.plotting, name), reference, *arguments, **settings))
    plt.close("all")
    assert_alike(shown(getattr(plotting, name)(fitter, *arguments, **settings)), expected)


@pytest.mark.parametrize("kind", ["frequency_cal", "recency_cal", "T_cal", "time_since_last_purchase"])
def test_holdout_figure_is_that_of_lifetimes(theirs, log, kind):
    table = utils.calibration_and_holdout_data(log, "id", "date", "1997-09-30", freq_multiplier=7)
    columns = [table[f"{name}_cal"] for name in ("frequency", "recency", "T")]
    given = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}
    drawn = []
    for module, plots in ((theirs.top, theirs.plotting), (ours, plotting)):
        model = quietly(module.BetaGeoFitter().fit, *columns)
        model.params_ = pd.Series(given)
        drawn.append(shown(quietly(plots.plot_calibration_purchases_vs_holdout_purchases, model, table, kind, n=5)))
        plt.close("all")
    assert_alike(drawn[1], drawn[0], rtol=1e-9)


def test_counts_are_those_observed_and_those_expected(fitter, customers):
    ax = plotting.plot_period_transactions(fitter, max_frequency=5, label=["seen", "model"])
    heights = [patch.get_height() for patch in ax.patches]
    observed = customers["frequency"].value_counts()
    assert heights[:5] == [observed[n] for n in range(5)]
    spans = customers["T"].to_numpy()
    for n in range(5):  # lifetimes draws as many customers at random instead
        expected = fitter.probability_of_n_purchases_up_to_time(spans, n).sum()
        assert heights[5 + n] == pytest.approx(expected, rel=1e-9)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["seen", "model"]


def test_weighted_customers_count_as_many(customers, fitter):
    cells = customers.value_counts(["frequency", "recency", "T"]).reset_index(name="n")
    weighted = ours.BetaGeoFitter().fit(cells["frequency"], cells["recency"], cells["T"], weights=cells["n"])
    heights = [
        [patch.get_height() for patch in plotting.plot_period_transactions(model).patches]
        for model in (fitter, weighted)
    ]
    np.testing.assert_allclose(heights[1], heights[0], rtol=1e-6)


def test_expected_repeat_purchases_go_on_dashed(fitter):
    _, ax = plt.subplots()
    assert plotting.plot_expected_repeat_purchases(fitter, ax=ax, label="BG/NBD", color="k") is ax
    solid, dashed = ax.lines
    assert solid.get_color() == dashed.get_color()
    assert dashed.get_linestyle() == "--"
    assert solid.get_xdata()[-1] == dashed.get_xdata()[0] == 38.86
    assert dashed.get_xdata()[-1] == pytest.approx(1.5 * 38.86)
    assert solid.get_ydata()[-1] == pytest.approx(fitter.expected_number_of_purchases_up_to_time(38.86))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["BG/NBD"]


def test_the_history_of_one_customer_marks_the_purchases(fitter, log):
    one = log[log["id"] == 1]
    ax = plotting.plot_history_alive(fitter, 400, one, "date", start_date="1997-01-10")
    path = ax.lines[0].get_ydata()
    assert len(path) == 401
    assert path[0] == 1.0
    assert len(ax.lines) == 1 + one["date"].nunique()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["P_alive", "purchases"]
    assert ax.get_xlim()[0] == mpl.dates.date2num(pd.Timestamp("1997-01-10"))
