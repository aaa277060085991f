"""Platforms side by side, drawn; the twin returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.audience.platforms import MEASURES, Platforms
from clvlib.plotting import ACCENT, FAINT, INK, new_axes, percent_axis, shortened, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["platforms_data", "platforms_plot"]


def platforms_data(result: Platforms, measure: str = "") -> pd.DataFrame:
    """Return what :func:`platforms_plot` draws: a measure per platform, raw and standardised, the highest first."""
    measure = measure or result.clearest
    columns = ["raw", "standardised", "lower", "upper"]
    return result.of(measure)[columns].sort_values("standardised", ascending=False, kind="stable")


def platforms_plot(result: Platforms, measure: str = "", ax: Axes | None = None, title: str = "") -> Axes:
    """Draw a measure per platform, as it is and standardised to the shop's own mix, with its interval.

    Parameters
    ----------
    result : Platforms
        What to draw.
    measure : str
        One of those measured; by default the one of which the result's sentence speaks.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    measure = measure or result.clearest
    data = platforms_data(result, measure)
    y = np.arange(len(data))
    errors = [data["standardised"] - data["lower"], data["upper"] - data["standardised"]]
    with styled():
        ax = ax or new_axes(height=1.4 + 0.34 * len(data))
        ax.plot(data["raw"], y - 0.16, "o", color=FAINT, markeredgecolor=INK, label=tr("as it is"))
        ax.errorbar(data["standardised"], y, xerr=errors, fmt="o", color=ACCENT, capsize=2, label=tr("like for like"))
        ax.set_yticks(y, [shortened(str(name)) for name in data.index])
        ax.invert_yaxis()
        ax.set_xlabel(tr(MEASURES[measure]))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_title(wrapped(title or result.sentence, 56))
    return percent_axis(ax, "x") if measure in ("conversion", "repeat_rate") else ax
