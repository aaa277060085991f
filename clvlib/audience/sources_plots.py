"""Figures of the sources of traffic; each has a twin that returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.audience.sources import Sources
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, INK, MUTED, PALETTE, new_axes, shortened, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["payback_data", "payback_plot", "value_data", "value_plot"]


def value_data(result: Sources) -> pd.DataFrame:
    """Return what :func:`value_plot` draws: value by cost of each channel, with limits, the highest first.

    Raises
    ------
    EmptyDataError
        No channel has both a value and a cost.
    """
    columns = ["clv_to_cac", "clv_to_cac_lower", "clv_to_cac_upper"]
    data = result.table.reindex(columns=columns).dropna().sort_values("clv_to_cac", ascending=False, kind="stable")
    if data.empty:
        raise EmptyDataError(tr("no channel has both a cost and new customers with a value"))
    return data


def value_plot(result: Sources, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what each channel brings by what it costs, with intervals.

    Parameters
    ----------
    result : Sources
        With spend and value.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = value_data(result)
    y = np.arange(len(data))
    errors = [data.iloc[:, 0] - data.iloc[:, 1], data.iloc[:, 2] - data.iloc[:, 0]]
    with styled():
        ax = ax or new_axes(height=1.3 + 0.32 * len(data))
        ax.errorbar(data["clv_to_cac"], y, xerr=np.clip(errors, 0, None), fmt="o", color=ACCENT, capsize=2)
        ax.axvline(1, color=INK, lw=1)
        ax.set_yticks(y, [shortened(tr(str(name))) for name in data.index])
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.set_xlabel(tr("customer value by cost of acquisition; at 1 a channel pays for itself"))
        ax.grid(axis="y", visible=False)
        ax.set_title(wrapped(title or result.sentence, 56))
    return ax


def payback_data(result: Sources, channels: int = 6) -> pd.DataFrame:
    """Return what :func:`payback_plot` draws: margin by cost (columns are channels) by weeks since the first purchase.

    The channels with most cost; a curve ends where too few of its customers have come.

    Raises
    ------
    EmptyDataError
        No channel has both a cost and new customers.
    """
    known = result.table[result.table.reindex(columns=["cac"])["cac"] > 0]
    if known.empty:
        raise EmptyDataError(tr("no channel has both a cost and new customers"))
    shown = known["cost"].nlargest(channels).index
    ratio = result.curve["margin"] / result.curve["cac"]
    frame = ratio.rename("ratio").reset_index()
    return frame.pivot_table("ratio", "week", "channel")[list(shown)]


def payback_plot(result: Sources, ax: Axes | None = None, title: str = "", channels: int = 6) -> Axes:
    """Draw how much of its cost each channel has brought back, by weeks since the first purchase.

    Parameters
    ----------
    result : Sources
        With spend.
    ax, title
        As for :func:`value_plot`.
    channels : int
        How many, those with most cost.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = payback_data(result, channels)
    colors = [ACCENT, *PALETTE[1:], MUTED]
    with styled():
        ax = ax or new_axes(height=3.6)
        for place, (name, ratio) in enumerate(data.items()):
            drawn = ratio.dropna()
            ax.plot(drawn.index, drawn, color=colors[place % len(colors)], label=shortened(tr(str(name))), marker=".")
        ax.axhline(1, color=INK, lw=1)
        ax.set_ylim(bottom=0)
        ax.set(xlabel=tr("weeks since the first purchase"), ylabel=tr("margin so far by cost"))
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_title(wrapped(title or result.payback_sentence, 56))
    return ax
