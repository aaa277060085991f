"""The canvas draws what matplotlib draws, with less work: texts where they belong, ticks as they are, titles inside."""

from __future__ import annotations

import base64
import io
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axis import Axis, XTick, YTick
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from clvlib.plotting import new_axes, percent_axis, styled
from clvlib.report import canvas
from clvlib.report.canvas import _ASKED, Canvas, _Renderer
from clvlib.report.pictures import pictured

FONTS = [["DejaVu Sans", "clvlib Sans SC"], ["clvlib Sans SC", "DejaVu Sans"]]


def drawn(figure: Figure, kind: type[FigureCanvasAgg]) -> np.ndarray:
    figure.set_dpi(160)
    kind(figure).draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def text_by(kind: type[RendererAgg], text: str, prop: FontProperties, angle: float) -> np.ndarray:
    renderer = kind(240, 240, 160)
    gc = renderer.new_gc()
    gc.set_foreground((0, 0, 0, 1), isRGBA=True)
    renderer.draw_text(gc, 100, 140, text, prop, angle)
    return np.asarray(renderer.buffer_rgba())[..., 3].astype(int)


@pytest.mark.parametrize("family", FONTS)
@pytest.mark.parametrize("text", ["Hxgq|_", "−0.25%", "转化率 g"])
@pytest.mark.parametrize("angle", [0, 90])
def test_texts_lie_where_those_of_matplotlib_do(family: list[str], text: str, angle: float):
    new_axes()  # makes the fonts known
    prop = FontProperties(family=family, size=10.5, weight="bold")
    assert _Renderer(9, 9, 160).get_text_width_height_descent(text, prop, False) == RendererAgg(
        9, 9, 160
    ).get_text_width_height_descent(text, prop, False)
    ours, theirs = (text_by(kind, text, prop, angle) for kind in (_Renderer, RendererAgg))
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.01)
    shifts = {(i, j): np.abs(np.roll(ours, (i, j), (0, 1)) - theirs).sum() for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert min(shifts, key=shifts.__getitem__) == (0, 0)
    assert shifts[0, 0] < 0.25 * theirs.sum()  # letters lie at whole pixels, and those of matplotlib between


@pytest.mark.parametrize(("text", "angle"), [("$x^2$", 0), ("slanted", 30)])
def test_other_texts_are_matplotlibs_own(text: str, angle: float):
    ours, theirs = new_axes(3, 2), new_axes(3, 2)
    for ax in (ours, theirs):
        ax.set_axis_off()
        ax.text(0.3, 0.3, text, rotation=angle)
    assert (drawn(ours.figure, Canvas) == drawn(theirs.figure, FigureCanvasAgg)).all()


@pytest.mark.parametrize("family", FONTS)
@pytest.mark.parametrize("text", ["one line", "two\nlines", "转化率\n14%"])
def test_lines_are_as_high_as_those_of_matplotlib(family: list[str], text: str):
    ours, theirs = (new_axes(3, 2).text(0.5, 0.5, text, family=family) for _ in range(2))
    Canvas(ours.figure).draw()
    FigureCanvasAgg(theirs.figure).draw()
    assert ours.get_window_extent().bounds == theirs.get_window_extent().bounds


def busy() -> Figure:
    """Twins, a colour bar, minor ticks, and labels on top."""
    figure = new_axes().figure
    figure.clear()
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    left.plot([0, 1234], [1e-3, 50])
    left.set_yscale("log")
    percent_axis(left.twinx(), decimals=1).plot([0, 1234], [0.1, 0.9])
    figure.colorbar(right.imshow(np.arange(12).reshape(3, 4)), ax=right, label="scale")
    right.xaxis.tick_top()
    for ax in (left, right):
        ax.set(xlabel="across", ylabel="up", title="A title")
    return figure


def test_figures_are_matplotlibs_but_for_the_places_of_letters():
    ours, theirs = busy(), busy()
    difference = np.abs(drawn(ours, Canvas) - drawn(theirs, FigureCanvasAgg))
    assert [ax.bbox.bounds for ax in ours.axes] == [ax.bbox.bounds for ax in theirs.axes]
    inside = np.zeros(difference.shape[:2], dtype=bool)
    for x0, y0, x1, y1 in (ax.bbox.extents.round().astype(int) for ax in ours.axes):
        inside[len(inside) - y1 : len(inside) - y0, x0:x1] = True
    assert difference[inside].max() == 0
    assert 0 < difference.mean() < 1.5
    for mine, other in zip(ours.axes, theirs.axes, strict=True):
        for axis, reference in zip((mine.xaxis, mine.yaxis), (other.xaxis, other.yaxis), strict=True):
            assert [t.get_text() for t in axis.get_ticklabels()] == [t.get_text() for t in reference.get_ticklabels()]
            assert not set(_ASKED) & set(vars(axis))
    assert type(ours.get_layout_engine()) is type(theirs.get_layout_engine())


def test_ticks_are_found_once_for_each_place(monkeypatch: pytest.MonkeyPatch):
    asked: Counter[int] = Counter()
    find = Axis._update_ticks
    monkeypatch.setattr(Axis, "_update_ticks", lambda axis: asked.update([id(axis)]) or find(axis))
    ax = new_axes()
    ax.plot([0, 100])
    ax.set_title("A title")
    drawn(ax.figure, Canvas)
    assert list(asked.values()) == [2, 2]  # where the layout finds the axes, and where it puts them


def ticked() -> Figure:
    ax = new_axes(4, 3)
    ax.plot([1, 40], [1, 90])
    ax.minorticks_on()
    ax.tick_params(axis="x", which="both", top=True, labeltop=True, labelrotation=90, colors="#D55E00", direction="in")
    ax.tick_params(axis="y", labelsize=6, length=9)
    for label in ax.get_yticklabels():
        label.set_fontweight("bold")
    ax.get_yticklabels()[1].set_color("#0072B2")  # one alone, though not the first, after which the others are made
    return ax.figure


def test_ticks_that_are_copied_look_like_those_that_are_made(monkeypatch: pytest.MonkeyPatch):
    made = Counter()
    for kind in (XTick, YTick):
        init = kind.__init__
        monkeypatch.setattr(
            kind, "__init__", lambda self, *a, i=init, **k: (made.update([type(self)]), i(self, *a, **k))[1]
        )
    one = ticked()
    before, ours = made.total(), drawn(one, Canvas)
    copied = (
        sum(len(axis.majorTicks) + len(axis.minorTicks) for axis in (one.axes[0].xaxis, one.axes[0].yaxis)) - before
    )
    assert made.total() == before
    assert copied > 10
    with monkeypatch.context() as patch:
        patch.setattr(canvas, "_like_the_first", lambda _, make: make)
        theirs = drawn(ticked(), Canvas)
    assert made.total() >= 2 * before + copied
    assert (ours == theirs).all()


def test_what_changes_between_drawings_is_drawn():
    ax = new_axes()
    ax.plot([0, 1])
    before = drawn(ax.figure, Canvas)
    ax.set_ylim(0, 5000)
    again = drawn(ax.figure, Canvas)
    assert (before != again).any()
    assert "5000" in [label.get_text() for label in ax.get_yticklabels()]


def test_a_long_title_stays_inside_the_figure():
    ax, short = new_axes(), new_axes()
    ax.barh(["a rather long name of a group of customers"], [1])
    with styled():
        ax.set_title("A title nearly as long as the figure begins further left")
        short.set_title("A title")
    picture = Image.open(io.BytesIO(base64.b64decode(pictured(ax.figure)[0])))
    assert picture.width <= 7.2 * 160
    box = ax._left_title.get_window_extent()
    assert box.x0 > 0
    drawn(short.figure, Canvas)
    assert short._left_title.get_position()[0] == 0


def test_text_outside_is_known():
    for x, cut in ((0.5, False), (0.97, True), (1.5, True)):
        figure = plt.figure(figsize=(3, 2))
        figure.text(x, 0.5, "some text")
        canvas = Canvas(figure)
        canvas.draw()
        assert canvas.cuts_text() is cut
        plt.close(figure)
