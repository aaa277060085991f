"""Target markets drawn; the twin returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.audience.markets import Markets
from clvlib.plotting import ACCENT, INK, MUTED, new_axes, shortened, styled, wrapped
from clvlib.words import in_words, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["markets_data", "markets_plot"]


def markets_data(result: Markets, segments: int = 3) -> pd.DataFrame:
    """Return what :func:`markets_plot` draws: the first segments of each feature, with scores, limits and ``ahead``.

    ``ahead``: whether it surely ranks before at least one other of its feature.
    """
    rows = result.ranked.groupby(level="feature", sort=False).head(segments)
    frame = rows[["score", "score_lower", "score_upper"]].copy()
    frame["ahead"] = rows["rank_upper"] < rows["segments"]
    return frame


def markets_plot(result: Markets, segments: int = 3, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the scores of the first segments of each feature, with intervals.

    Parameters
    ----------
    result : Markets
        What to draw.
    segments : int
        Of each feature, so many.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = markets_data(result, segments)
    feature = data.index.get_level_values("feature")
    y = np.arange(len(data)) + 0.6 * pd.factorize(feature)[0]
    names = [f"{in_words(str(f))} · {shortened(tr(str(name)))}" for f, name in data.index]
    colors = np.where(data["ahead"], ACCENT, MUTED)
    with styled():
        ax = ax or new_axes(height=1.6 + 0.26 * len(data))
        ax.hlines(y, data["score_lower"], data["score_upper"], colors=list(colors), lw=2)
        for ahead, label in ((True, tr("surely before another")), (False, tr("before none for sure"))):
            chosen = data["ahead"].eq(ahead).to_numpy()
            if chosen.any():
                ax.plot(data["score"][chosen], y[chosen], "o", color=ACCENT if ahead else MUTED, label=label)
        ax.axvline(100, color=INK, lw=1)
        ax.set_yticks(y, names)
        ax.invert_yaxis()
        ax.set_xlabel(tr("score; 100: as the shop, and of mean size"))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_title(wrapped(title or result.sentence, 50))
    return ax
