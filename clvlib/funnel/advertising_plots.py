"""Figures of advertising; each has a twin that returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.errors import EmptyDataError
from clvlib.funnel.advertising import Advertising
from clvlib.plotting import ACCENT, FAINT, INK, WARN, new_axes, percent_axis, shortened, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["advertising_data", "plot_advertising"]


def advertising_data(result: Advertising, dimension: str = "channel", most: int = 14) -> pd.DataFrame:
    """Return what :func:`plot_advertising` draws: click-through rates of a dimension, now and before.

    Raises
    ------
    EmptyDataError
        There is no such dimension, or no segment with an interval.
    """
    data = result.table[(result.table["dimension"] == dimension) & result.table["lower"].notna()]
    if data.empty:
        raise EmptyDataError(tr("no {dimension} has days enough for an interval", dimension=tr(dimension)))
    return data.head(most).sort_values("ctr", ascending=False, kind="stable").reset_index(drop=True)


def plot_advertising(
    result: Advertising, dimension: str = "channel", most: int = 14, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw click-through rates of the week with their intervals, beside those of the weeks before.

    Parameters
    ----------
    result : Advertising
        What to draw.
    dimension : str
        By what.
    most : int
        How many segments, the largest.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, what moved.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EmptyDataError
        As :func:`advertising_data`.
    """
    data = advertising_data(result, dimension, most)
    y = np.arange(len(data))
    moved = (data["p_value"] <= 1 - result.level).to_numpy()
    with styled():
        ax = ax or new_axes(height=1.3 + 0.28 * len(data))
        ax.plot(data["ctr_before"], y, "o", color=FAINT, markeredgecolor=INK, label=tr("weeks before"))
        for mask, colour, label in ((moved, WARN, tr("moved")), (~moved, ACCENT, tr("this week"))):
            if mask.any():
                part = data[mask]
                errors = [part["ctr"] - part["lower"], part["upper"] - part["ctr"]]
                ax.errorbar(part["ctr"], y[mask], xerr=errors, fmt="o", color=colour, capsize=2, label=label)
        ax.set_yticks(y, [shortened(tr(str(name))) for name in data["segment"]])
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.set_xlabel(tr("click-through rate"))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_title(wrapped(title or result.claim, 56))
    return percent_axis(ax, "x", decimals=1)
