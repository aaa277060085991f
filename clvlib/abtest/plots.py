"""Figures of an experiment, each with the frame behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.abtest.experiment import ExperimentResult
from clvlib.errors import ParameterError
from clvlib.plotting import ACCENT, INK, MUTED, WARN, new_axes, percent_axis, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["forest_frame", "forest_plot", "rate_frame", "rate_plot"]

_COLOURS = {"better": ACCENT, "worse": WARN, "not told apart": MUTED, "control": INK}


def forest_frame(result: ExperimentResult) -> pd.DataFrame:
    """Relative effects with their intervals, a row per metric and treatment arm.

    Parameters
    ----------
    result : ExperimentResult
        What was found.

    Returns
    -------
    pandas.DataFrame
        ``label``, ``metric``, ``arm``, ``relative``, ``lower``, ``upper``, ``level``, ``verdict``; effects without an
        interval on the relative scale are left out.
    """
    rows = result.table[result.table["arm"] != result.control]
    frame = pd.DataFrame(
        {
            "label": rows["metric"] + ", " + rows["arm"],
            "metric": rows["metric"],
            "arm": rows["arm"],
            "relative": rows["relative"],
            "lower": rows["relative_lower"],
            "upper": rows["relative_upper"],
            "level": rows["level"],
            "verdict": rows["verdict"],
        }
    )
    known = np.isfinite(frame[["relative", "lower", "upper"]].to_numpy(dtype=float)).all(axis=1)
    return frame.iloc[np.flatnonzero(known)].reset_index(drop=True)


def forest_plot(result: ExperimentResult, ax: Axes | None = None) -> Axes:
    """Draw the relative effects of :func:`forest_frame` against the line of no effect.

    Parameters
    ----------
    result : ExperimentResult
        What was found.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.

    Raises
    ------
    ParameterError
        No effect has an interval.
    """
    frame = forest_frame(result)
    if frame.empty:
        raise ParameterError(
            f"experiment {result.name!r}: no relative effect has an interval, so there is nothing to draw"
        )
    with styled():
        ax = new_axes(height=1.5 + 0.45 * len(frame)) if ax is None else ax
        ax.axvline(0, color=MUTED, linewidth=1)
        _intervals(ax, frame["verdict"], frame[["relative", "lower", "upper"]], list(frame["label"]))
        for place, (middle, verdict) in enumerate(zip(frame["relative"], frame["verdict"], strict=True)):
            above = ax.annotate(verdict, (middle, place), (0, 7), textcoords="offset points", ha="center")
            above.set(color=_COLOURS[verdict], fontsize=9.5)
        ax.margins(x=0.05)
        ax.set_xlabel(f"change against {result.control}, with its {_levels(frame)} interval")
        ax.set_title(f"{result.verdict.capitalize()} {result.arm}".strip() + f": effects in experiment {result.name}")
        percent_axis(ax, "x", decimals=_decimals(frame))
    return ax


def rate_frame(result: ExperimentResult, metric: str = "") -> pd.DataFrame:
    """Value of a metric in every arm, with its interval.

    Parameters
    ----------
    result : ExperimentResult
        What was found.
    metric : str
        Which; the primary one when left out.

    Returns
    -------
    pandas.DataFrame
        ``arm``, ``n``, ``value``, ``value_lower``, ``value_upper``, ``verdict``.

    Raises
    ------
    ParameterError
        The experiment has no such metric.
    """
    name = metric or result.metric
    rows = result.table[result.table["metric"] == name]
    if rows.empty:
        known = ", ".join(result.table["metric"].unique())
        raise ParameterError(f"metric: {name!r} is none of {known}")
    return rows[["arm", "n", "value", "value_lower", "value_upper", "verdict"]].reset_index(drop=True)


def rate_plot(result: ExperimentResult, metric: str = "", ax: Axes | None = None) -> Axes:
    """Draw the values of :func:`rate_frame`, an interval per arm.

    Parameters
    ----------
    result : ExperimentResult
        What was found.
    metric : str
        Which; the primary one when left out.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.
    """
    name = metric or result.metric
    frame = rate_frame(result, name)
    unit = str(result.table.loc[result.table["metric"] == name, "unit"].iloc[0])
    with styled():
        ax = new_axes(height=1.5 + 0.5 * len(frame)) if ax is None else ax
        labels = [f"{arm} ({n:,})" for arm, n in zip(frame["arm"], frame["n"], strict=True)]
        _intervals(ax, frame["verdict"], frame[["value", "value_lower", "value_upper"]], labels)
        ax.set_xlabel(f"{name} per person" if unit != "share" else f"{name}, share of people")
        if unit == "share":
            percent_axis(ax, "x", decimals=1)
    return ax


def _intervals(ax: Axes, verdicts: pd.Series, values: pd.DataFrame, labels: list[str]) -> None:
    """Draw a row per estimate, the first on top: a dot on the line from limit to limit."""
    estimate, lower, upper = values.to_numpy(dtype=float).T
    places = np.arange(len(values))
    colours = [_COLOURS[str(verdict)] for verdict in verdicts]
    ax.hlines(places, lower, upper, colors=colours, linewidth=2.5)
    ax.scatter(estimate, places, c=colours, s=36, zorder=3)
    ax.set_yticks(places, labels)
    ax.set_ylim(len(values) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")


def _levels(frame: pd.DataFrame) -> str:
    """The levels as one phrase: 95%, or 95 to 97.5% where several tests were corrected."""
    low, high = 100 * frame["level"].min(), 100 * frame["level"].max()
    return f"{low:.4g}%" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}%"


def _decimals(frame: pd.DataFrame) -> int:
    return 1 if (frame["upper"].max() - frame["lower"].min()) < 0.1 else 0
