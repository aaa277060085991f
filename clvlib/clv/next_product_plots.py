"""Figure of recommendations: how often each way to recommend was right (``result.scores``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clvlib.clv.next_product import NextProduct
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, MUTED, WARN, new_axes, percent_axis, styled, wrapped
from clvlib.words import mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["hits_plot"]


def hits_plot(result: NextProduct, ax: Axes | None = None) -> Axes:
    """Draw the hit rate of each method on held-out baskets, with intervals, and the threshold (``result.scores``).

    Raises
    ------
    EmptyDataError
        No basket was held out.
    """
    if result.scores.empty:
        raise EmptyDataError(tr("no basket was held out, so there is no hit rate to draw"))
    table = result.scores.iloc[::-1]
    ax = ax if ax is not None else new_axes(height=0.5 * len(table) + 1.5)
    places = np.arange(len(table))
    with styled():
        for place, (name, row) in zip(places, table.iterrows(), strict=True):
            colour = ACCENT if name == "rules" else MUTED
            ax.plot([row["lower"], row["upper"]], [place, place], color=colour)
            ax.plot(row["hit_rate"], place, "o", color=colour)
        ax.axvline(result.threshold, color=WARN, linewidth=1, linestyle="--")
        ax.text(
            result.threshold, len(table) - 0.5, tr("threshold") + " ", color=WARN, fontsize=9, va="center", ha="right"
        )
        ax.set_yticks(places, [tr(str(name)) for name in table.index])
        ax.set(ylim=(-0.6, len(table) - 0.2), xlim=(0, 1))
        ax.set_xlabel(tr("held-out baskets with one of {k} recommended products", k=result.k))
        text = mark("{share:.0%} of held-out baskets held a recommended product")
        ax.set_title(wrapped(tr(text, share=result.hit_rate)))
        percent_axis(ax, "x")
    return ax
