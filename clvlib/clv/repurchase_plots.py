"""The figure of repurchase: who comes back, by where they came from and what they bought first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.clv.repurchase import ALL, Repurchase
from clvlib.data.privacy import withheld
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, MUTED, new_axes, percent_axis, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["repurchase_plot"]

_ROWS = 10  # of a division, the largest


def repurchase_plot(result: Repurchase, smallest: int = 1, ax: Axes | None = None) -> Axes:
    """Draw the share that bought again within the longest of the days that is known, by group (``result.table``).

    Parameters
    ----------
    result : Repurchase
        What :func:`clvlib.clv.repurchase.repurchase` returned.
    smallest : int
        Customers of a group that is drawn, at least, as in tables (:func:`clvlib.data.privacy.withheld`).
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.

    Raises
    ------
    EmptyDataError
        Nobody has been followed for the shortest of the days, or the customers are fewer than that.
    """
    known = [n for n in result.days if np.isfinite(result.table[f"within_{n}"].to_numpy(dtype=float)[0])]
    if not known:
        raise EmptyDataError(tr("nobody has been followed for {n} days yet", n=result.days[0]))
    if result.table["customers"].iloc[0] < smallest:
        raise EmptyDataError(tr("fewer than {n} customers have bought", n=smallest))
    day, column = known[-1], f"within_{known[-1]}"
    small = withheld(result.table["customers"], smallest, list(result.table.index.get_level_values("by")))
    table = result.table[~small & result.table[column].notna()]
    parts = [table.loc[[by]].head(_ROWS).sort_values(column, ascending=False) for by in table.index.unique("by")]
    places = np.concatenate([np.arange(len(part)) + 0.6 * i for i, part in enumerate(parts)])
    places += np.repeat(np.cumsum([0, *map(len, parts[:-1])]), list(map(len, parts)))
    names = [str(name) for part in parts for name in part.index.get_level_values("group")]
    ends = pd.concat(parts)[[column, f"{column}_lower", f"{column}_upper"]].to_numpy(dtype=float)
    whole = float(result.table[column].to_numpy(dtype=float)[0])
    ax = ax if ax is not None else new_axes(height=0.27 * float(places[-1]) + 1.6)
    with styled():
        for place, name, (share, lower, upper) in zip(-places, names, ends, strict=True):
            colour = MUTED if name == ALL else ACCENT
            ax.plot([lower, upper], [place, place], color=colour)
            ax.plot(share, place, "o", color=colour)
        ax.axvline(whole, color=MUTED, linewidth=1, linestyle="--")
        ax.set_yticks(-places, [tr(name) for name in names])
        ax.grid(visible=False, axis="y")
        ax.set_xlim(left=0)
        ax.set_xlabel(tr("bought again within {n} days", n=day))
        title = tr("{share:.0%} of new customers buy again within {n} days", n=day, share=whole)
        ax.set_title(wrapped(title))
        percent_axis(ax, "x")
    return ax
