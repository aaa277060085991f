"""Platforms side by side, drawn; the twin returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvlib.audience.platforms import MEASURES, SHARES, Platforms
from clvlib.plotting import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    money_axis,
    new_axes,
    percent_axis,
    shortened,
    styled,
    wrapped,
)
from clvlib.words import currency_symbol, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["platforms_data", "platforms_plot"]


def platforms_data(result: Platforms, measure: str = "") -> pd.DataFrame:
    """Return what :func:`platforms_plot` draws of a measure: per platform raw and standardised, and if it differs.

    Platforms stand in the order of their buyers, the same for every measure.
    """
    data = result.of(measure or result.clearest)
    order = result.of("basket")["people"].sort_values(ascending=False, kind="stable").index
    data = data.loc[order.intersection(data.index, sort=False), ["raw", "standardised", "lower", "upper", "p_value"]]
    return data.assign(differs=data["p_value"] <= 1 - result.level).drop(columns="p_value")


def platforms_plot(result: Platforms, measure: str = "", ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the measures per platform, as they are and standardised to the shop's own mix, with their intervals.

    Parameters
    ----------
    result : Platforms
        What to draw.
    measure : str
        One of those measured; by default all of them, a panel each, or on given axes the one of which the result's
        sentence speaks.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
        Those of the first measure.
    """
    measures = [measure or result.clearest] if measure or ax is not None else list(result.measures)
    places = len(platforms_data(result, measures[0]))
    rows = -(-len(measures) // 2)
    with styled():
        first = ax or new_axes(height=1.2 + rows * (0.8 + 0.3 * places))
        panels = [first]
        if len(measures) > 1:
            figure: Any = first.figure
            first.remove()
            grid = figure.subplots(rows, 2, squeeze=False).ravel()
            panels = list(grid[: len(measures)])
            for spare in grid[len(measures) :]:
                spare.remove()
        for place, (panel, name) in enumerate(zip(panels, measures, strict=True)):
            _panel(panel, platforms_data(result, name), name, named=place % 2 == 0)
        panels[min(1, len(panels) - 1)].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=1)
        panels[0].set_title(wrapped(title or result.sentence, 44 if len(panels) > 1 else 56))
    return panels[0]


def _panel(ax: Axes, data: pd.DataFrame, measure: str, *, named: bool) -> None:
    """Draw one measure; ``named``: with the platforms' names."""
    y = np.arange(len(data))
    ax.plot(data["raw"], y - 0.18, "o", color=FAINT, markeredgecolor=INK, label=tr("as it is"))
    for differs, color, label in ((True, ACCENT, tr("like for like, differs")), (False, MUTED, tr("may be chance"))):
        part = data["differs"].to_numpy() == differs
        some = data[part]
        errors = [some["standardised"] - some["lower"], some["upper"] - some["standardised"]]
        ax.errorbar(some["standardised"], y[part], xerr=errors, fmt="o", color=color, capsize=2, label=label)
    ax.set_yticks(y, [shortened(str(name)) if named else "" for name in data.index])
    ax.set_ylim(len(data) - 0.5, -0.6)
    ax.set_xlabel(tr(MEASURES[measure]))
    ax.grid(axis="y", visible=False)
    if measure in SHARES:
        percent_axis(ax, "x")
    if measure == "basket":
        money_axis(ax, "x", currency_symbol())
