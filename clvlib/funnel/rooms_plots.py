"""Figures of the live rooms; each has a twin that returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvlib.funnel.rooms import Scorecard
from clvlib.funnel.rooms_course import Course
from clvlib.plotting import (
    ACCENT,
    INK,
    MUTED,
    PALETTE,
    WARN,
    money_axis,
    new_axes,
    percent_axis,
    shortened,
    styled,
    wrapped,
)
from clvlib.words import currency_symbol, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["course_data", "hosts_data", "plot_course", "plot_hosts"]

_MOST = 24  # hosts that fit a figure
_LOOK = {"conversion": (ACCENT, "o"), "gmv_per_viewer": (PALETTE[2], "s"), "refund_rate": (WARN, "D")}


def hosts_data(result: Scorecard) -> pd.DataFrame:
    """Return what :func:`plot_hosts` draws: by measure and host the raw and the shrunken ratio with limits.

    Hosts stand in the order of their conversion, the best first; of more than 24 the first and the last twelve.

    Raises
    ------
    EmptyDataError
        The hosts cannot be compared.
    """
    order = result.of("conversion").index
    if len(order) > _MOST:
        order = order[: _MOST // 2].append(order[-(_MOST // 2) :])
    drawn = result.measures[["raw", "ratio", "lower", "upper"]]
    kept = [name for name in _LOOK if name in drawn.index.get_level_values("measure")]
    return pd.concat({name: drawn.loc[name].reindex(order) for name in kept}, names=["measure"])


def plot_hosts(result: Scorecard, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw each host against what was to be expected: as counted (hollow), and like for like with luck taken off.

    Parameters
    ----------
    result : Scorecard
        With two hosts that can be compared.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = hosts_data(result)
    names, hosts = data.index.get_level_values(0).unique(), data.loc["conversion"].index
    with styled():
        ax = ax or new_axes(height=1.6 + 0.42 * len(hosts))
        for place, name in enumerate(names):
            own, (color, marker) = data.loc[name], _LOOK[name]
            y = np.arange(len(hosts)) + 0.24 * (place - (len(names) - 1) / 2)
            errors = [own["ratio"] - own["lower"], own["upper"] - own["ratio"]]
            look: dict[str, Any] = {"color": color, "fmt": marker, "ms": 5, "lw": 1.6, "label": result.names[name]}
            ax.errorbar(own["ratio"], y, xerr=np.clip(errors, 0, None), **look)
            ax.plot(own["raw"], y, marker, mfc="none", color=color, ms=4, alpha=0.7)
        ax.axvline(1, color=INK, lw=1)
        ax.set_xscale("log")
        ends = data[["raw", "lower", "upper"]].to_numpy()
        low, high = np.nanmin(ends[ends > 0]), np.nanmax(ends)
        ticks = _ticks(float(low), float(high))
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
        ax.set_yticks(range(len(hosts)), [shortened(str(host)) for host in hosts])
        ax.set_ylim(len(hosts) - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(tr("times what others have on the same platform in the same category; hollow: as counted"))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(names), fontsize=9)
        ax.set_title(wrapped(title or result.sentence.rstrip(".。"), 64), pad=26)
    return ax


def _ticks(low: float, high: float) -> list[float]:
    """Round ratios from low to high, the roundest first, as far as they have room beside one another."""
    kept: list[float] = []
    for tick in (1, 0.5, 2, 0.25, 3, 0.1, 5, 0.05, 10, 0.02, 0.7, 1.5, 0.8, 1.25, 0.9, 1.1):
        apart = [abs(np.log(tick / other)) for other in kept]
        if low / 1.1 <= tick <= high * 1.1 and min(apart, default=np.inf) > 0.06 * np.log(high / low):
            kept.append(tick)
    return kept


def course_data(result: Course) -> pd.DataFrame:
    """Return what :func:`plot_course` draws: conversion and money per minute by minute since the start, with limits."""
    columns = ["rate", "lower", "upper", "gmv_per_minute", "gmv_per_minute_lower", "gmv_per_minute_upper"]
    return result.table[columns]


def plot_course(result: Course, title: str = "") -> Axes:
    """Draw conversion by the minute people came, and what is sold per minute on air below.

    Parameters
    ----------
    result : Course
        The course.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
        The upper one, of conversion.
    """
    data = course_data(result)
    money = data["gmv_per_minute"].notna().any()
    with styled():
        top = new_axes(height=4.4 if money else 2.9)
        x = data.index.to_numpy() + result.minutes / 2
        axes = [top]
        if money:
            figure = top.figure
            top.remove()
            axes = list(figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]}))
            gmv = data.iloc[:, 3:].to_numpy().T
            axes[1].bar(x, gmv[0], width=0.8 * result.minutes, color=ACCENT)
            ends = np.clip([gmv[0] - gmv[1], gmv[2] - gmv[0]], 0, None)
            axes[1].errorbar(x, gmv[0], yerr=ends, fmt="none", ecolor=INK, lw=1.2, capsize=2)
            axes[1].set_ylabel(tr("GMV per minute"))
            axes[1].set_ylim(bottom=0)
            money_axis(axes[1], "y", currency_symbol())
        axes[0].fill_between(x, data["lower"], data["upper"], color=ACCENT, alpha=0.18, lw=0)
        axes[0].plot(x, data["rate"], color=ACCENT, marker="o")
        axes[0].axhline(result.table[result.step].sum() / result.table["viewers"].sum(), color=MUTED, lw=1, ls="--")
        axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel(tr("{first} to {last}", first=tr(result.first), last=tr(result.step)))
        axes[-1].set_xlabel(tr("minutes since the session began"))
        axes[-1].set_xticks(data.index[:: max(1, len(data) // 12)])
        percent_axis(axes[0], "y", 1)
        axes[0].set_title(wrapped(title or result.sentence.rstrip(".。"), 64))
    return axes[0]
