"""Figures of the customer's voice. Each draws a frame that the result holds; the docstrings say which.

There is no word cloud: the size of a word in one can neither be compared nor carry an interval. The words that set
complaints apart stand on a scale instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clvlib.clv.voice import Voice
from clvlib.data.privacy import withheld
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, MUTED, WARN, new_axes, styled, wrapped
from clvlib.words import mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["priority_plot", "words_plot"]


def words_plot(result: Voice, most: int = 12, ax: Axes | None = None) -> Axes:
    """Draw the words that set negative comments apart, and those of the others (``result.words``).

    Parameters
    ----------
    result : Voice
    most : int
        Words of either side.
    ax : matplotlib.axes.Axes, optional

    Raises
    ------
    EmptyDataError
        No word tells them apart.
    """
    table = result.words
    picked = table[(table["lower"] > 0) | (table["upper"] < 0)]
    picked = table.loc[[*picked.index[picked["z"] > 0][:most], *picked.index[picked["z"] < 0][-most:]]].iloc[::-1]
    if picked.empty:
        raise EmptyDataError(tr("no word sets negative comments apart from the others"))
    from matplotlib import rcParams

    ax = ax if ax is not None else new_axes(height=0.27 * len(picked) + 1.3)
    with styled():
        for place, (_, row) in enumerate(picked.iterrows()):
            colour = WARN if row["z"] > 0 else ACCENT
            ax.plot([row["lower"], row["upper"]], [place, place], color=colour, linewidth=1)
            ax.plot(row["log_odds"], place, "o", color=colour)
        ax.axvline(0, color=MUTED, linewidth=1, linestyle="--")
        fonts = rcParams["font.sans-serif"]  # fixed here, since words are Chinese in any language
        ax.set_yticks(np.arange(len(picked)), [str(word) for word in picked.index], fontfamily=fonts)
        ax.set_xlabel(tr("← said more by others · log odds ratio · said more in negative comments →"))
        text = mark("“{word}” marks negative comments most clearly")
        if not picked["z"].iloc[-1] > 0:
            text = mark("No word marks negative comments")
        ax.set_title(wrapped(tr(text, word=picked.index[-1])))
    return ax


def priority_plot(result: Voice, fewest: int = 1, ax: Axes | None = None) -> Axes:
    """Draw the priority of each theme with its interval and the interval of its rank (``result.table``).

    Parameters
    ----------
    result : Voice
    fewest : int
        Themes of fewer people are left out, and what would give them away, as in tables
        (:func:`clvlib.data.privacy.withheld`).
    ax : matplotlib.axes.Axes, optional

    Raises
    ------
    EmptyDataError
        No comment complains, or too few people do.
    """
    table = result.table[~withheld(result.table["people"], fewest)].head(12).iloc[::-1]
    if table.empty:
        raise EmptyDataError(tr("no theme has {n} people who complain of it", n=fewest))
    ax = ax if ax is not None else new_axes(height=0.4 * len(table) + 1.3)
    places = np.arange(len(table))
    reach = np.maximum([table["priority"] - table["lower"], table["upper"] - table["priority"]], 0)
    with styled():
        ax.barh(places, table["priority"], 0.6, color=WARN)
        ax.errorbar(table["priority"], places, xerr=reach, fmt="none", ecolor=MUTED)
        for place, (_, row) in zip(places, table.iterrows(), strict=True):
            ranks = tr("rank {lower} to {upper}", lower=int(row["rank_lower"]), upper=int(row["rank_upper"]))
            ax.text(row["upper"], float(place), "  " + ranks, va="center", fontsize=9, color=MUTED)
        ax.set_yticks(places, [tr(str(theme)) for theme in table.index])
        ax.set_xlim(0, 1.3 * max(float(table["upper"].max()), 1.0))
        ax.set_xlabel(tr("people affected × severity"))
        text = mark("To improve first: {theme}")
        if table["rank_upper"].iloc[-1] > 1:
            text = mark("To improve first, most likely: {theme}")
        ax.set_title(wrapped(tr(text, theme=tr(str(table.index[-1])))))
    return ax
