"""Figures of early warnings. Each draws a frame that the result holds; the docstrings say which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.clv.churn import ChurnRisk
from clvlib.clv.churn_causes import UNKNOWN
from clvlib.clv.churn_rounds import HAZARD, PURCHASE, RULE
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, MUTED, WARN, new_axes, percent_axis, styled, wrapped
from clvlib.words import mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration_plot", "causes_plot", "precision_plot"]

_NAMES = {HAZARD: mark("hazard model"), PURCHASE: mark("purchase model"), RULE: mark("longest silence first")}


def calibration_plot(result: ChurnRisk, ax: Axes | None = None) -> Axes:
    """Draw the share that lapsed by band of risk, on held-out weeks (``result.calibration``)."""
    frame = result.calibration
    ax = ax if ax is not None else new_axes()
    with styled():
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        ax.errorbar(frame["predicted"], frame["observed"], yerr=_reach(frame, "observed"), fmt="o", color=ACCENT)
        ax.set(xlim=(0, 1), ylim=(0, 1.02))
        ax.set_xlabel(tr("risk, as it was forecast"))
        ax.set_ylabel(tr("bought nothing"))
        each = (np.average(frame[name], weights=frame["customers"]) for name in ("predicted", "observed"))
        ax.set_title(
            wrapped(
                tr(
                    "{risk:.0%} were expected to buy nothing, {came:.0%} did",
                    **dict(zip(("risk", "came"), each, strict=True)),
                )
            )
        )
        percent_axis(ax, "x")
        percent_axis(ax, "y")
    return ax


def precision_plot(result: ChurnRisk, ax: Axes | None = None) -> Axes:
    """Draw the share of a list who lapsed, by the way it was made, on held-out weeks (``result.scores``)."""
    table = result.scores.iloc[::-1]
    ax = ax if ax is not None else new_axes(height=0.5 * len(table) + 1.5)
    places = np.arange(len(table))
    base = float(table["precision"].iloc[0] / table["lift"].iloc[0])
    with styled():
        for place, (name, row) in zip(places, table.iterrows(), strict=True):
            colour = ACCENT if name == result.method else MUTED
            ax.plot([row["precision_lower"], row["precision_upper"]], [place, place], color=colour)
            ax.plot(row["precision"], place, "o", color=colour)
        ax.axvline(base, color=MUTED, linewidth=1, linestyle="--")
        ax.text(base, len(table) - 0.5, " " + tr("all active customers"), color=MUTED, fontsize=9, va="center")
        ax.set_yticks(places, [tr(_NAMES[str(name)]) for name in table.index])
        ax.set(ylim=(-0.6, len(table) - 0.3), xlim=(min(base, float(table["precision_lower"].min())) - 0.05, 1.0))
        ax.set_xlabel(tr("of {n:,} listed customers, bought nothing", n=result.list_size))
        chosen = table["precision"].get(result.method, np.nan)
        text = mark("{share:.0%} of those on the list bought nothing, {all:.0%} of all active customers")
        ax.set_title(wrapped(tr(text, share=chosen, all=base)))
        percent_axis(ax, "x")
    return ax


def causes_plot(result: ChurnRisk, ax: Axes | None = None) -> Axes:
    """Draw the share of the expected churn behind each cause, with intervals (``result.causes``).

    Raises
    ------
    EmptyDataError
        The data show no cause.
    """
    table = result.causes.drop(index=UNKNOWN).iloc[::-1]
    if table.empty:
        raise EmptyDataError("the data show no cause of leaving, so there is none to draw")
    ax = ax if ax is not None else new_axes(height=0.5 * len(table) + 1.3)
    places = np.arange(len(table))
    with styled():
        ax.barh(places, table["share"], 0.6, color=WARN)
        ax.errorbar(table["share"], places, xerr=_reach(table, "share"), fmt="none", ecolor=MUTED)
        ax.set_yticks(places, list(table["words"]))
        ax.set_xlabel(tr("of the expected churn"))
        text = mark("{share:.0%} of the expected churn goes with: {cause}")
        ax.set_title(wrapped(tr(text, cause=table["words"].iloc[-1], share=table["share"].iloc[-1])))
        percent_axis(ax, "x")
    return ax


def _reach(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return how far the interval reaches to both sides."""
    sides = np.stack([frame[column] - frame["lower"], frame["upper"] - frame[column]])
    return np.asarray(np.maximum(sides, 0))
