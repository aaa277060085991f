from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.exposure import exposure
from clvlib.abtest.plots import (
    detectable_frame,
    detectable_plot,
    exposure_plot,
    forest_frame,
    forest_plot,
    looks_plot,
    rate_plot,
    segments_plot,
)
from clvlib.abtest.segments import segments
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from tests.abtest.test_clusters import cells as clustered
from tests.abtest.test_experiment import LATER, START, bought, cells, first, people
from tests.abtest.test_segments import shop


def test_forest_plot_draws_what_its_frame_says() -> None:
    result = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 264), "C": (2000, 190)}))
    frame = forest_frame(result)
    assert frame["label"].tolist() == [
        "conversion, B",
        "conversion, C",
        "revenue, B",
        "revenue, C",
        "adjusted revenue, B",
        "adjusted revenue, C",
    ]
    assert frame["verdict"].tolist()[:2] == ["better", "not told apart"]
    ax = forest_plot(result)
    assert [label.get_text() for label in ax.get_yticklabels()] == frame["label"].tolist()
    (dots,) = [c for c in ax.collections if len(c.get_offsets()) == 6]
    assert dots.get_offsets()[:, 0].tolist() == pytest.approx(frame["relative"].tolist())
    assert ax.get_title(loc="left") == "Ship B: effects in experiment script"


def test_rate_plot_draws_every_arm() -> None:
    result = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 264)}))
    ax = rate_plot(result, "revenue")
    assert ax.get_xlabel() == "revenue per person"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A (2,000 people)", "B (2,000 people)"]
    assert rate_plot(result, ax=ax) is ax
    assert ax.get_title(loc="left") == "B's conversion is 3.20 points above A's"
    worse = Experiment("script").judge(cells({"A": (2000, 264), "B": (2000, 200)}))
    assert rate_plot(worse).get_title(loc="left") == "B's conversion is 3.20 points below A's"
    same = Experiment("script").judge(cells({"A": (2000, 264), "B": (2000, 260)}))
    assert rate_plot(same).get_title(loc="left") == "No arm's conversion can be told above A's"
    with pytest.raises(ParameterError, match="'clicks' is none of conversion, revenue, adjusted revenue"):
        rate_plot(result, "clicks")


def test_the_curve_of_detectable_differences_passes_through_this_experiment() -> None:
    for metric in ("conversion", "revenue"):
        result = Experiment("script", metric=metric).judge(cells({"A": (2000, 200), "B": (2000, 264)}))
        at, twice, four = detectable_frame(result, [2000, 4000, 8000])["detectable"]
        assert at == pytest.approx(result.best["detectable"])
        assert at > twice > four == pytest.approx(at / 2, rel=0.05)
        assert detectable_plot(result).get_title(loc="left").startswith("2,000 people per arm find")
    assert detectable_frame(result)["people_per_arm"].iloc[[0, -1]].tolist() == [500, 16_000]


def test_too_few_to_find_anything() -> None:
    result = Experiment("script", min_per_arm=1).judge(cells({"A": (2, 1), "B": (2, 1)}))
    with pytest.raises(EmptyDataError, match="however large"):
        detectable_plot(result)


def test_nothing_to_draw() -> None:
    with pytest.warns(ThinDataWarning):
        result = Experiment("script").judge(cells({"A": (2000, 0), "B": (2000, 0)}))
    with pytest.raises(EmptyDataError, match="nothing to draw"):  # a section of a report is left out, not the chapter
        forest_plot(result)


def test_looks_plot_draws_a_point_per_week() -> None:
    weeks = [cells({"A": (600, 60), "B": (600, 80)}, look=START + pd.Timedelta(7 * k, "D")) for k in range(1, 5)]
    result = Experiment("script", looks="weekly", min_per_arm=2400).judge(pd.concat(weeks, ignore_index=True))
    ax = looks_plot(result)
    ax.figure.canvas.draw()
    assert all(text.get_text().endswith(" pp") for text in ax.get_yticklabels())  # a difference is no per cent
    assert ax.containers[0].lines[0].get_ydata().tolist() == pytest.approx(result.looks["difference"].tolist())
    assert ax.get_title(loc="left").startswith("An effect could first be told on")
    same = Experiment("script").judge(cells({"A": (600, 60), "B": (600, 60)}))
    assert looks_plot(same).get_title(loc="left") == "No weekly look could tell an effect"
    early = Experiment("script").judge(cells({"A": (2, 1), "B": (2, 1)}))
    with pytest.raises(EmptyDataError, match="no week has ended yet"):
        looks_plot(early)


def test_the_curve_of_clusters_is_theirs() -> None:
    rng = np.random.default_rng(4)
    n = rng.integers(50, 150, 80)
    frame = clustered(np.arange(80), np.repeat(["A", "B"], 40), rng.binomial(n, rng.beta(2, 8, 80)), n)
    result = Experiment("script", min_per_arm=1).judge(frame)
    row = result.best
    here = round(2 / (1 / row["n"] + 1 / row["control_n"]))
    assert detectable_frame(result, [here])["detectable"].iloc[0] == pytest.approx(row["detectable"], rel=1e-3)


def test_segments_plot_draws_a_line_a_segment() -> None:
    found = segments(Experiment("script", min_per_arm=1), *shop(), "region", as_of=LATER)
    ax = segments_plot(found)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["north (1,200 people)", "west (610 people)", "south (980 people)"]
    assert ax.get_title(loc="left") == "The effect differs by region"
    assert segments_plot(found, ax) is ax


def test_exposure_plot_draws_a_point_a_day() -> None:
    orders = pd.concat([bought(first("A", 100)), bought(first("B", 260), after="30h")])
    found = exposure(Experiment("script"), people(A=2000, B=2000), orders, days=(1, 2, 7), as_of=LATER)
    ax = exposure_plot(found)
    assert ax.containers[0].lines[0].get_ydata().tolist() == pytest.approx([-0.05, 0.08, 0.08])
    assert ax.get_title(loc="left") == "An effect on conversion could first be told after 1 day"
    none = exposure(Experiment("script"), people(A=50, B=50), bought(["A1"]), days=(1,), as_of=LATER)
    assert exposure_plot(none).get_title(loc="left") == "An effect on conversion could not be told"
