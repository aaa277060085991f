from __future__ import annotations

import pytest

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.plots import forest_frame, forest_plot, rate_frame, rate_plot
from clvlib.errors import ParameterError, ThinDataWarning
from tests.abtest.test_experiment import cells


def test_forest_plot_draws_what_its_frame_says() -> None:
    result = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 264), "C": (2000, 190)}))
    frame = forest_frame(result)
    assert frame["label"].tolist() == ["conversion, B", "conversion, C", "revenue, B", "revenue, C"]
    assert frame["verdict"].tolist()[:2] == ["better", "not told apart"]
    ax = forest_plot(result)
    assert [label.get_text() for label in ax.get_yticklabels()] == frame["label"].tolist()
    (dots,) = [c for c in ax.collections if len(c.get_offsets()) == 4]
    assert dots.get_offsets()[:, 0].tolist() == pytest.approx(frame["relative"].tolist())
    assert ax.get_title(loc="left") == "Ship B: effects in experiment script"


def test_rate_plot_draws_every_arm() -> None:
    result = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 264)}))
    frame = rate_frame(result, "revenue")
    assert frame["arm"].tolist() == ["A", "B"]
    ax = rate_plot(result, "revenue")
    assert ax.get_xlabel() == "revenue per person"
    assert rate_plot(result, ax=ax) is ax
    with pytest.raises(ParameterError, match="'clicks' is none of conversion, revenue"):
        rate_frame(result, "clicks")


def test_nothing_to_draw() -> None:
    with pytest.warns(ThinDataWarning):
        result = Experiment("script").judge(cells({"A": (2000, 0), "B": (2000, 0)}))
    with pytest.raises(ParameterError, match="nothing to draw"):
        forest_plot(result)
