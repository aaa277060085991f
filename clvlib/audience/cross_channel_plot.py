"""What several platforms are worth, drawn; the twin returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.audience.cross_channel import CrossChannel
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, INK, money_axis, new_axes, styled, wrapped
from clvlib.words import currency_symbol, mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["worth_data", "worth_plot"]

_MIXES = {"raw": mark("as they are"), "alike": mark("with as many purchases")}


def worth_data(result: CrossChannel) -> pd.DataFrame:
    """Return what :func:`worth_plot` draws: the difference in net spend with limits, as it is and like for like.

    Raises
    ------
    EmptyDataError
        Too few bought on several platforms, or on one.
    """
    rows = {mix: result.spending(mix) for mix in _MIXES} if len(result.worth) else {}
    data = pd.DataFrame(rows, index=["difference", "lower", "upper"]).T.dropna()
    if data.empty:
        raise EmptyDataError(tr("too few customers bought on several platforms, or on one, to compare them"))
    return data.astype(float)


def worth_plot(result: CrossChannel, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw by how much customers of several platforms spent more than those of one.

    Parameters
    ----------
    result : CrossChannel
        What to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = worth_data(result)
    y = np.arange(len(data))
    errors = [data["difference"] - data["lower"], data["upper"] - data["difference"]]
    with styled():
        ax = ax or new_axes(height=2.2)
        ax.errorbar(data["difference"], y, xerr=errors, fmt="o", color=ACCENT, capsize=2)
        ax.axvline(0, color=INK, lw=1)
        ax.set_yticks(y, [tr(_MIXES[str(mix)]) for mix in data.index])
        ax.set_ylim(len(data) - 0.5, -0.5)
        ax.set_xlabel(tr("net spend so far, several platforms less one"))
        money_axis(ax, "x", currency_symbol())
        ax.grid(axis="y", visible=False)
        ax.set_title(wrapped(title or result.worth_sentence, 50))
    return ax
