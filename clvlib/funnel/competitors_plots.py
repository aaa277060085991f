"""The calendar of competitors beside our own, drawn; the twin returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.funnel.competitors import Competitors
from clvlib.plotting import INK, PALETTE, new_axes, shortened, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calendar_data", "plot_calendar"]

_DAY = pd.Timedelta(days=1)


def calendar_data(result: Competitors) -> pd.DataFrame:
    """Return what :func:`plot_calendar` draws: ``platform``, ``brand`` (empty for our sessions), ``start``, ``end``.

    What runs on beyond the period ends with it.
    """
    first, end = pd.Timestamp(result.first), pd.Timestamp(result.last) + _DAY
    theirs = result.table[["platform", "brand", "started_at", "ended_at"]].set_axis(
        ["platform", "brand", "start", "end"], axis=1
    )
    stop = theirs["end"].fillna(theirs["start"] + result.open_days * _DAY)
    begin = theirs["start"].where(theirs["start"] > first, first)
    theirs = theirs.assign(start=begin, end=stop.where(stop < end, end))
    ours = result.sessions[["platform", "started_at", "ended_at"]].set_axis(["platform", "start", "end"], axis=1)
    ours = ours.assign(brand="", platform=ours["platform"].replace("", "unknown"))
    data = pd.concat([theirs, ours], ignore_index=True)
    return data[data["end"] > data["start"]].sort_values(
        ["platform", "start", "brand"], kind="stable", ignore_index=True
    )


def plot_calendar(result: Competitors, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw when competitors' promotions ran, above when we were live, platform by platform.

    Parameters
    ----------
    result : Competitors
        What to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, how much of our time had competition.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = calendar_data(result)
    platforms = list(dict.fromkeys(data["platform"]))
    brands = sorted(set(data["brand"]) - {""})
    step = 0.56 / max(len(brands), 1)
    first = pd.Timestamp(result.first)
    with styled():
        ax = ax or new_axes(height=1.2 + 0.75 * len(platforms))
        for name in [*brands, ""]:
            part = data[data["brand"] == name]
            row = part["platform"].map({platform: k for k, platform in enumerate(platforms)})
            at = row + 0.22 if not name else row - 0.42 + step * brands.index(name)
            left, width = (part["start"] - first) / _DAY, (part["end"] - part["start"]) / _DAY
            colour = PALETTE[brands.index(name) % len(PALETTE)] if name else INK
            height = 0.16 if not name else step * 0.85
            ax.barh(
                at,
                width,
                left=left,
                height=height,
                align="edge",
                color=colour,
                label=shortened(name) or tr("our live sessions"),
            )
        days = max(7, int(np.ceil((data["end"].max() - first) / _DAY)))  # no further than something is known
        names = [(first + k * _DAY).strftime("%m-%d") for k in range(days)]
        ax.set_xticks([k + 0.5 for k in range(days)], names, fontsize=9 if days < 8 else 8)
        ax.set_xticks(range(days + 1), minor=True)
        ax.tick_params(axis="x", which="major", length=0)
        ax.grid(visible=False)
        ax.grid(visible=True, axis="x", which="minor")
        ax.set_xlim(0, days)
        ax.set_yticks(range(len(platforms)), [shortened(tr(str(name))) for name in platforms])
        ax.set_ylim(len(platforms) - 0.5, -0.5)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_title(wrapped(title or result.claim, 56))
    return ax
