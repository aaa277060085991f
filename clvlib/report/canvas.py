"""A canvas for figures that are drawn once: what matplotlib finds again and again while it draws is found once.

The layout, the title, each label of an axis and the drawing ask for the ticks of the axis and for the boxes of their
labels, some twenty times in all; each text is set once to be measured and once more, letter by letter, to be drawn; and
each tick is made anew, though it is to look like the first of its axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache, lru_cache
from math import ceil, floor
from typing import Any, Final

import numpy as np
from matplotlib.axis import XTick, YTick
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg, get_hinting_flag
from matplotlib.font_manager import fontManager, get_font

__all__ = ["Canvas"]

_TEXTS: Final = 1024  # that are kept as they were set: figures have many numbers and words in common
_ROOM: Final = 0.04  # inches beside a long title
# of an axis; with a matplotlib that lacks one of them, drawing is slower and no different
_ASKED: Final = ("_update_ticks", "_get_ticklabel_bboxes", "get_tightbbox")
_TICK: Final = ("tick1line", "tick2line", "gridline", "label1", "label2")  # what a tick is made of


class Canvas(FigureCanvasAgg):
    """The canvas of a figure that is drawn once."""

    def get_renderer(self) -> Any:
        """Return what draws at the figure's size and density."""
        size = (*self.figure.bbox.size, self.figure.dpi)
        if size != getattr(self, "_size", None):
            self._size, self.renderer = size, _Renderer(*size)
        return self.renderer

    def draw(self) -> None:
        """Draw the figure."""
        renderer = self.get_renderer()
        renderer.outside = False
        with _asked_once(self.figure), _laid_out(self.figure, renderer):
            super().draw()  # type: ignore[no-untyped-call]

    def cuts_text(self) -> bool:
        """Whether some of the text that was drawn lies outside."""
        return bool(self.renderer.outside)


class _Renderer(RendererAgg):
    """Draws each text as one image, at whole pixels, from the setting that measured it."""

    def __init__(self, width: float, height: float, dpi: float) -> None:
        super().__init__(width, height, dpi)  # type: ignore[no-untyped-call]
        self.outside = False
        self._set, self._lines = cache(self._set_text), cache(self._line_heights)

    def _set_text(self, text: str, prop: Any) -> tuple[Any, Any, int, int]:
        """Return a text's size and descent, its image, and how much of this lies above and right of where it starts."""
        fonts = tuple(fontManager._find_fonts_by_props(prop))  # noqa: SLF001 - with those for letters that the first lacks
        return _set_in(fonts, prop.get_size_in_points(), self.dpi, text, get_hinting_flag())  # type: ignore[no-untyped-call]

    def _line_heights(self, prop: Any) -> tuple[float | None, float | None, float | None]:
        """Return ascent, descent and gap of a font's lines, or leave them to matplotlib."""
        font = self._prepare_font(prop)  # type: ignore[no-untyped-call]
        table, units = font.get_sfnt_table("OS/2"), font.get_sfnt_table("head")
        if table is None or units is None:
            return None, None, None
        scale = 1 / units["unitsPerEm"] * prop.get_size_in_points() * self.dpi / 72
        return table["sTypoAscender"] * scale, -table["sTypoDescender"] * scale, table["sTypoLineGap"] * scale

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        """Measure a text."""
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)  # type: ignore[no-untyped-call]
        return self._set(s, prop.copy())[0]

    def _get_font_height_metrics(self, prop: Any) -> Any:  # asked by matplotlib 3.11, which else reads the font again
        return self._lines(prop.copy())

    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,  # noqa: FBT002 - matplotlib's
        mtext: Any = None,
    ) -> None:
        """Draw a text that starts at a place, in pixels from the upper left corner."""
        left, lower, image = round(x), round(y), np.empty((0, 0))
        if ismath or angle not in {0, 90}:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]
        else:
            _, image, above, right = self._set(s, prop.copy())
            if angle:
                left, lower, image = left - above, lower - right, np.rot90(image).copy()
            else:
                left, lower = left + right, lower - above + len(image)
            self._renderer.draw_text_image(image, left, lower, 0, gc)
        rows, columns = image.shape
        self.outside |= min(left, lower - rows) < 0 or left + columns > self.width or lower > self.height


@lru_cache(_TEXTS)
def _set_in(fonts: tuple[Any, ...], size: float, dpi: float, text: str, flags: Any) -> tuple[Any, Any, int, int]:
    font: Any = get_font(fonts)
    font.clear()
    font.set_size(size, dpi)
    font.set_text(text, 0.0, flags=flags)
    width, height, descent = (side / 64 for side in (*font.get_width_height(), font.get_descent()))
    font.draw_glyphs_to_bitmap(antialiased=True)
    above, right = floor(height - descent) + 1, ceil(font.get_bitmap_offset()[0] / 64)
    return (width, height, descent), np.array(font.get_image()), above, right


@contextmanager
def _laid_out(figure: Any, renderer: Any) -> Iterator[None]:
    """Lay out before the drawing; a title that would reach beyond the right end of the figure starts at its left."""
    engine, room = figure.get_layout_engine(), _ROOM * figure.dpi
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    for ax in figure.axes:
        title = ax._left_title  # noqa: SLF001 - the artist has no other name
        box = title.get_window_extent(renderer)
        if title.get_text() and box.x1 > renderer.width:
            title.set_x(title.get_position()[0] - (box.x0 - room) / ax.bbox.width)
    try:
        yield
    finally:
        if engine is not None:
            figure.set_layout_engine(engine)


@contextmanager
def _asked_once(figure: Any) -> Iterator[None]:
    """Let each axis find its ticks, the boxes of their labels and its own, once for each place its axes are put to."""
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    asked = [(axis, name) for axis in axes for name in _ASKED if hasattr(axis, name)]
    copied = [(axis, "_get_tick") for axis in axes if getattr(axis, "_tick_class", None) in {XTick, YTick}]
    for axis, name in asked:
        setattr(axis, name, _once(axis, getattr(axis, name)))
    for axis, name in copied:
        setattr(axis, name, _like_the_first(axis, getattr(axis, name)))
    try:
        yield
    finally:
        for axis, name in asked + copied:
            delattr(axis, name)  # the method of its class is left


def _like_the_first(axis: Any, make: Callable[[bool], Any]) -> Callable[[bool], Any]:
    """Copy the first tick of an axis, whose looks matplotlib gives to each later one that it has made anew."""

    def made(major: bool) -> Any:  # noqa: FBT001 - matplotlib's
        ticks = vars(axis).get("majorTicks" if major else "minorTicks")
        if not ticks:
            return make(major)
        tick = copy(ticks[0])
        for name in _TICK:
            setattr(tick, name, copy(getattr(tick, name)))
        for label in (tick.label1, tick.label2):
            label.set_fontproperties(label.get_fontproperties().copy())
        return tick

    return made


def _once(axis: Any, find: Callable[..., Any]) -> Callable[..., Any]:
    at: tuple[bytes, ...] = ()
    found: dict[Any, Any] = {}

    def known(*given: Any, **options: Any) -> Any:
        nonlocal at
        now = (axis.get_view_interval().tobytes(), axis.axes.bbox.get_points().round(3).tobytes())
        if now != at:
            found.clear()
            at = now
        asked = tuple(options.items())
        if asked not in found:
            found[asked] = find(*given, **options)
        return found[asked]

    return known
