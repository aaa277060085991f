"""The figure of joining in, with its headless twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.errors import EmptyDataError
from clvlib.funnel.interaction import Interaction
from clvlib.plotting import ACCENT, INK, MUTED, new_axes, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["interaction_data", "plot_interaction"]


def interaction_data(result: Interaction) -> pd.DataFrame:
    """Return what :func:`plot_interaction` draws: by comparison the ratio of baskets, with limits.

    Raises
    ------
    EmptyDataError
        Baskets cannot be compared.
    """
    data = result.table[result.table["measure"] == "basket"]
    if data.empty:
        raise EmptyDataError(tr("too few orders with and without joining in to compare baskets"))
    return data.set_index("comparison")[["ratio", "lower", "upper"]]


def plot_interaction(result: Interaction, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the basket of those who joined in by that of the others: as counted, alike before, and the same people.

    Parameters
    ----------
    result : Interaction
        With orders.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = interaction_data(result)
    y = np.arange(len(data))
    with styled():
        ax = ax or new_axes(height=1.7 + 0.42 * len(data))
        for place, (ratio, lower, upper) in enumerate(data.to_numpy(float)):
            color = ACCENT if place else MUTED
            ax.plot([lower, upper], [place, place], color=color)
            ax.plot(ratio, place, "o", color=color)
        ax.axvline(1, color=INK, lw=1)
        ax.set_yticks(y, [tr(str(name)) for name in data.index])
        ax.set_ylim(len(data) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(tr("basket with joining in, by that without"))
        ax.set_title(wrapped(title or result.sentence.rstrip(".。"), 60))
    return ax
