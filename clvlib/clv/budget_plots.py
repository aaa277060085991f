"""The figure of the budget: what a unit spent brings in each channel, on average and as the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clvlib.clv.budget import Budget
from clvlib.plotting import ACCENT, MUTED, WARN, new_axes, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["budget_plot"]


def budget_plot(result: Budget, ax: Axes | None = None) -> Axes:
    """Draw value by spend per channel with intervals, average and, where it is told, marginal (``result.table``)."""
    table = result.table.sort_values("average", kind="stable")
    ax = ax if ax is not None else new_axes(height=0.42 * len(table) + 1.7)
    places = np.arange(len(table), dtype=float)
    with styled():
        for name, colour, off, label in (
            ("average", MUTED, 0.12, tr("on average")),
            ("marginal", ACCENT, -0.12, tr("the next unit")),
        ):
            middle, low, high = (table[f"{name}{end}"].to_numpy(dtype=float) for end in ("", "_lower", "_upper"))
            if np.isfinite(middle).any():
                ax.hlines(places + off, low, high, color=colour)
                ax.plot(middle, places + off, "o", color=colour, label=label)
        ax.axvline(1, color=WARN, linewidth=1, linestyle="--", label=tr("as much as it costs"))
        ax.set_yticks(places, [tr(str(name)) for name in table.index])
        ax.grid(visible=False, axis="y")
        ax.set_xlim(left=0)
        ax.set_xlabel(tr("value of new customers by spend"))
        best, worst = (tr(str(table.index[at])) for at in (-1, 0))
        ax.set_title(wrapped(tr("A unit spent brings most in {best}, least in {worst}", best=best, worst=worst)))
        ax.legend(loc="lower right")
    return ax
