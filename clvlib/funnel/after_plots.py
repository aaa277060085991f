"""Figures of what follows the order; each has a twin that returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.data.privacy import withheld
from clvlib.errors import EmptyDataError
from clvlib.funnel.complaints import LEVELS, ServiceLevels
from clvlib.funnel.fulfilment import STAGES, Fulfilment
from clvlib.funnel.returns import DIMENSION_NAMES, ReturnRates
from clvlib.plotting import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PALETTE,
    WARN,
    new_axes,
    percent_axis,
    shortened,
    styled,
    wrapped,
)
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_returns", "plot_service", "plot_stages", "returns_data", "service_data", "stages_data"]

_COLOURS = {"waiting": MUTED, "under_way": PALETTE[4], "arrived": PALETTE[1], "returned": WARN, "kept": ACCENT}


def stages_data(result: Fulfilment) -> pd.DataFrame:
    """Return what :func:`plot_stages` draws: by day since payment, the share of orders in each stage.

    Raises
    ------
    EmptyDataError
        The shop does not record receipt and return, or nothing is decided yet.
    """
    if result.stages.empty:
        raise EmptyDataError(tr("receipt and return are not recorded, or no order is decided yet"))
    return result.stages


def plot_stages(result: Fulfilment, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw where paid orders are, day by day since payment.

    Parameters
    ----------
    result : Fulfilment
        What to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EmptyDataError
        As :func:`stages_data`.
    """
    data = stages_data(result)
    order = ["kept", "arrived", "under_way", "waiting", "returned"]
    with styled():
        ax = ax or new_axes(height=3.4)
        ax.stackplot(
            data.index, data[order].to_numpy().T, colors=[_COLOURS[k] for k in order], edgecolor="white", lw=0.5
        )
        names = [tr(STAGES[name]) for name in order]
        ax.legend(ax.collections[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_xlim(0, data.index[-1])
        ax.set_ylim(0, 1)
        ax.set_xlabel(tr("days since payment"))
        ax.set_title(wrapped(title or result.stages_sentence, 56))
    return percent_axis(ax)


def returns_data(result: ReturnRates, most: int = 10) -> pd.DataFrame:
    """Return what :func:`plot_returns` draws: the segments that can be judged, those that stand out most first.

    Raises
    ------
    EmptyDataError
        No segment can be judged.
    """
    data = result.table.dropna(subset=["rate", "others", "lower", "upper"])
    if data.empty:
        raise EmptyDataError(tr("no segment can be held against others yet"))
    return data.head(most)


def plot_returns(result: ReturnRates, most: int = 10, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the rates of the segments that stand out most, with their limits, beside that of the others.

    Parameters
    ----------
    result : ReturnRates
        What to draw.
    most : int
        How many segments.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, who stands out.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EmptyDataError
        As :func:`returns_data`.
    """
    data = returns_data(result, most)
    y = np.arange(len(data))
    found = (data["p_value"] <= 1 - result.level).to_numpy()
    more = (data["rate"] > data["others"]).to_numpy()
    with styled():
        ax = ax or new_axes(height=1.3 + 0.31 * len(data))
        ax.plot(data["others"], y, "o", color=FAINT, markeredgecolor=INK, label=tr("the others, like for like"))
        for mask, colour, label in (
            (found & more, WARN, tr("more than the others")),
            (found & ~more, PALETTE[2], tr("fewer than the others")),
            (~found, ACCENT, tr("may be chance")),
        ):
            if mask.any():
                part = data[mask]
                errors = [part["rate"] - part["lower"], part["upper"] - part["rate"]]
                ax.errorbar(part["rate"], y[mask], xerr=errors, fmt="o", color=colour, capsize=2, label=label)
        ax.set_yticks(
            y,
            [
                f"{tr(DIMENSION_NAMES[d])} {shortened(tr(s))}"
                for d, s in zip(data["dimension"], data["segment"], strict=True)
            ],
        )
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.set_xlabel(tr("share that comes back") if result.measure == "returned" else tr("share that is refunded"))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_title(wrapped(title or result.standing_out.rstrip(".。"), 48))
    return percent_axis(ax, "x")


def service_data(result: ServiceLevels, fewest: int = 1) -> pd.DataFrame:
    """Return what :func:`plot_service` draws: each promise as a whole, and by topic.

    Parameters
    ----------
    result : ServiceLevels
        What to draw.
    fewest : int
        Topics of fewer complaints are left out, and what would give them away, as in tables
        (:func:`clvlib.data.privacy.withheld`).

    Raises
    ------
    EmptyDataError
        No complaint is old enough to judge.
    """
    data = result.shown
    small = withheld(data["complaints"], fewest, list(zip(data["promise"], data["dimension"], strict=True)))
    data = data[~small & data["share"].notna() & data["dimension"].isin(["all", "topic"])]
    place = {name: k for k, name in enumerate(LEVELS.values())}
    keys = data.assign(promise=data["promise"].map(place), dimension=data["dimension"] != "all")
    data = data.loc[keys.sort_values(["promise", "dimension", "share"], kind="stable").index].reset_index(drop=True)
    if data.empty:
        raise EmptyDataError(tr("no complaint is old enough to judge a promise"))
    return data


def plot_service(result: ServiceLevels, fewest: int = 1, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the shares that were answered and solved in time, against the target.

    Parameters
    ----------
    result, fewest
        As in :func:`service_data`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, which promises are not kept.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EmptyDataError
        As :func:`service_data`.
    """
    data = service_data(result, fewest)
    y = np.arange(len(data)) + 0.6 * (data["promise"] != data["promise"].shift()).cumsum().to_numpy()
    colours = {"fail": WARN, "undecided": MUTED, "pass": PALETTE[2]}
    with styled():
        ax = ax or new_axes(height=1.3 + 0.28 * len(data))
        for verdict, colour in colours.items():
            part = data[data["verdict"] == verdict]
            if len(part):
                errors = [part["share"] - part["lower"], part["upper"] - part["share"]]
                ax.errorbar(
                    part["share"], y[part.index], xerr=errors, fmt="o", color=colour, capsize=2, label=tr(verdict)
                )
        ax.axvline(result.target, color=INK, lw=1, ls="--", label=tr("agreed: {target:.0%}", target=result.target))
        names = [
            tr(p) if d == "all" else shortened(tr(s))
            for p, d, s in zip(data["promise"], data["dimension"], data["segment"], strict=True)
        ]
        ax.set_yticks(y, names)
        for label, dimension in zip(ax.get_yticklabels(), data["dimension"], strict=True):
            label.set_fontweight("bold" if dimension == "all" else "normal")
        ax.invert_yaxis()
        ax.set_xlim(0, 1)
        ax.set_xlabel(tr("share in time"))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ax.set_title(wrapped(title or result.claim, 56))
    return percent_axis(ax, "x")
