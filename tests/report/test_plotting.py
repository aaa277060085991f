"""The one style holds whatever else sets matplotlib, and its colours can be told apart."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from clvlib import plotting


@pytest.fixture(autouse=True)
def _restore():
    with mpl.rc_context():
        yield
    plt.close("all")


def test_import_is_cheap():
    code = "import sys, clvlib.plotting; sys.exit('matplotlib' in sys.modules or 'seaborn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_style_survives_set_theme():
    import seaborn as sns

    sns.set_theme(style="darkgrid", font="Courier")
    plotting.style()
    assert mpl.rcParams["font.sans-serif"][0] == "DejaVu Sans"
    assert mpl.rcParams["axes.facecolor"] == "white"
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(plotting.PALETTE)


def test_styled_is_independent_of_who_came_last():
    import seaborn as sns

    sns.set_theme(style="darkgrid", font="Courier")
    theirs = dict(mpl.rcParams)
    with plotting.styled():
        assert mpl.rcParams["axes.spines.top"] is False
        assert mpl.rcParams["font.family"] == ["DejaVu Sans", "clvlib Sans SC"]
    assert dict(mpl.rcParams) == theirs


def _linear(colour: str) -> np.ndarray:
    rgb = np.array(mpl.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""
    bright = sorted(float(_linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_of_the_data_are_drawn_as_they_are(language: str):
    """A missing letter is a warning of matplotlib's, and warnings are errors here."""
    try:
        plotting.style(language)
        with plotting.styled():
            ax = plotting.new_axes()
            ax.set_title("快手 and $x_1$ & Ünal")
            ax.set_yticks([0], ["主播"])
            ax.figure.canvas.draw()
        assert not ax.title.get_parse_math()
    finally:
        plotting.style("en")


def test_text_has_contrast():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)  # the standard's own example
    assert _contrast(plotting.INK, "#ffffff") >= 7
    assert _contrast(plotting.MUTED, "#ffffff") >= 4.5
    assert _contrast(plotting.ACCENT, "#ffffff") >= 4.5


# Machado, Oliveira, Fernandes (2009), severity 1.0
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear.clip(0, 1)
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("matrix", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["normal", "deuteranopia", "protanopia"])
def test_palette_can_be_told_apart(matrix: np.ndarray):
    seen = {colour: _lab(matrix @ _linear(colour)) for colour in plotting.PALETTE}
    closest = min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(plotting.PALETTE, 2))
    assert closest > 9  # a difference of some 2.3 is just noticeable (CIE76)


def test_axes_are_written_for_readers():
    ax = plotting.new_axes()
    for axis_format, want in [
        (plotting.percent_axis, "−25%"),
        (plotting.count_axis, "−0.25"),
        (lambda a: plotting.money_axis(a, symbol="¥"), "−¥0.25"),
    ]:
        assert axis_format(ax).yaxis.get_major_formatter()(-0.25, 0) == want
    assert ax.figure not in map(plt.figure, plt.get_fignums())


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [([0, 0.05, 0.1], ["0%", "5%", "10%"]), ([0, 0.025, 0.05, 0.075], ["0.0%", "2.5%", "5.0%", "7.5%"])],
)
def test_a_tick_of_a_share_says_where_it_stands(ticks: list[float], texts: list[str]):
    """Ticks at every 2.5% were written 0, 2, 5 and 8%."""
    ax = plotting.percent_axis(plotting.new_axes(), "x")
    ax.set_xticks(ticks)
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_xticklabels()] == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (999.9, "1K"), (1000, "1K"), (1550, "1.55K"), (-3.2e9, "−3.2B"), (float("inf"), "—")],
)
def test_compact(value: float, text: str):
    assert plotting.compact(value) == text


def test_compact_in_chinese_has_separators_below_ten_thousand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plotting, "_spoken", "zh")
    assert [plotting.compact(value, "¥") for value in (999, 2500, 25_000)] == ["¥999", "¥2,500", "¥2.5万"]
