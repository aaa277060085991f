"""What opinion leaders contribute, drawn; the twin returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.audience.referrals import Referrals
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, INK, new_axes, percent_axis, styled, wrapped
from clvlib.words import mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["leaders_data", "leaders_plot"]

_OF = {
    "invitation_share": mark("of the invitations"),
    "brought_share": mark("of the new customers brought"),
    "revenue_share": mark("of the revenue of those"),
}


def leaders_data(result: Referrals) -> pd.DataFrame:
    """Return what :func:`leaders_plot` draws: opinion leaders' share, with limits, of customers and of what they bring.

    Raises
    ------
    EmptyDataError
        Nobody who invites is marked as an opinion leader.
    """
    row = result.leaders
    if row is None:
        raise EmptyDataError(tr("nobody who invites is marked as an opinion leader"))
    people = row["referrers"] / result.customers
    shares = {name: [row[f"{name}{end}"] for end in ("", "_lower", "_upper")] for name in _OF}
    columns = ["share", "lower", "upper"]
    return pd.DataFrame({"customer_share": [people, np.nan, np.nan], **shares}, index=columns).T


def leaders_plot(result: Referrals, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what share opinion leaders have of what invitations bring, beside their share of the customers.

    Parameters
    ----------
    result : Referrals
        With ``is_kol``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = leaders_data(result)
    y, names = np.arange(len(data)), [tr("of the customers"), *(tr(text) for text in _OF.values())]
    errors = np.clip([data["share"] - data["lower"], data["upper"] - data["share"]], 0, None)
    with styled():
        ax = ax or new_axes(height=2.4)
        ax.barh(y, data["share"], color=ACCENT, height=0.62)
        ax.errorbar(data["share"], y, xerr=errors, fmt="none", ecolor=INK, capsize=2, lw=1.2)
        ax.set_yticks(y, names)
        ax.invert_yaxis()
        ax.set_xlabel(tr("share of the opinion leaders"))
        ax.grid(axis="y", visible=False)
        ax.set_title(wrapped(title or result.leaders_sentence, 50))
    return percent_axis(ax, "x")
