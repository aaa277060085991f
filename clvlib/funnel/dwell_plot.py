"""The figure of the time on the page, with its headless twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.funnel.dwell import Dwell
from clvlib.plotting import ACCENT, PALETTE, new_axes, percent_axis, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["dwell_data", "plot_dwell"]


def dwell_data(result: Dwell) -> pd.DataFrame:
    """Return what :func:`plot_dwell` draws: by band of time the share of clicks, the rate with limits, ``alike``."""
    return result.table[["share", "rate", "lower", "upper", "alike"]]


def plot_dwell(result: Dwell, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the share that goes on by the time on the page, as counted and as the adjusted relation has it.

    Parameters
    ----------
    result : Dwell
        The result.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = dwell_data(result)
    x = np.arange(len(data))
    with styled():
        ax = ax or new_axes(height=3.6)
        ends = np.clip([data["rate"] - data["lower"], data["upper"] - data["rate"]], 0, None)
        ax.errorbar(x, data["rate"], yerr=ends, fmt="o", color=ACCENT, capsize=3, label=tr("as counted"))
        if data["alike"].notna().any():
            label = tr("same mix of {columns}", columns=tr(", ").join(map(tr, result.adjusted)))
            label = label if result.adjusted else tr("fitted")
            ax.plot(x, data["alike"], color=PALETTE[1], lw=1.6, label=label)
        ax.set_xticks(x, [f"{band}\n{share:.0%}" for band, share in data["share"].items()])
        ax.set_ylim(bottom=0)
        ax.set_xlabel(tr("seconds on the page; below: share of clicks"))
        ax.set_ylabel(tr("{before} to {step}", before=tr(result.before), step=tr(result.step)))
        ax.legend(loc="upper left")
        ax.set_title(wrapped(title or result.sentence.rstrip(".。"), 64))
    return percent_axis(ax)
