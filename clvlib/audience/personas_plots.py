"""The figure of the personas, with its headless twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from clvlib.audience.personas import Personas, spoken
from clvlib.errors import EmptyDataError
from clvlib.plotting import SEQUENTIAL, new_axes, shortened, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["personas_data", "plot_personas"]


def personas_data(result: Personas) -> pd.DataFrame:
    """Return what :func:`plot_personas` draws: share of each category (columns) in the orders of each persona (rows).

    Raises
    ------
    EmptyDataError
        There are no personas, or orders have no category.
    """
    if result.number == 1:
        raise EmptyDataError(result.reason)
    if result.shares.columns.empty:
        raise EmptyDataError(tr("orders have no category to show personas by"))
    return result.shares.loc[[*result.table.index, result.shares.index[-1]]]


def plot_personas(result: Personas, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what each persona buys, and all customers below, as a heat map.

    Parameters
    ----------
    result : Personas
        What to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EmptyDataError
        As for :func:`personas_data`.
    """
    import seaborn as sns

    data = personas_data(result)
    with styled():
        ax = ax or new_axes(height=1.9 + 0.42 * len(data))
        label = {"label": tr("share of orders"), "pad": 0.02, "format": "{x:.0%}"}
        sns.heatmap(
            data, ax=ax, cmap=SEQUENTIAL, vmin=0, annot=True, fmt=".0%", annot_kws={"size": 9}, cbar_kws=label,
            linewidths=0.4, linecolor="white", xticklabels=False, yticklabels=False,
        )  # fmt: skip
        ax.set_yticks(
            [row + 0.5 for row in range(len(data))],
            [shortened(spoken(str(name)), 36) for name in data.index],
            rotation=0,
        )
        ax.set_xticks(
            [column + 0.5 for column in range(data.shape[1])],
            [wrapped(shortened(tr(str(name))), 16) for name in data.columns],
            rotation=30 if data.shape[1] > 5 else 0,
            ha="right" if data.shape[1] > 5 else "center",
        )
        ax.set(xlabel="", ylabel="")
        ax.set_title(wrapped(title or result.sentence))
    return ax
