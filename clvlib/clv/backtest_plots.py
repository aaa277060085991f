"""Figures of a backtest. Each draws a frame that the result holds; the docstrings say which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.clv.backtest import Backtest
from clvlib.errors import ParameterError
from clvlib.plotting import ACCENT, INK, MUTED, PALETTE, new_axes, percent_axis, styled, wrapped
from clvlib.words import in_words, mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["active_plot", "gains_plot", "leaderboard_plot", "lift", "lift_plot", "pit_plot"]


def leaderboard_plot(result: Backtest, ax: Axes | None = None) -> Axes:
    """Draw how much better than the best baseline each model scored, with intervals (``result.table``)."""
    table = result.table.iloc[::-1]
    ax = ax if ax is not None else new_axes(height=0.5 * len(table) + 1.3)
    places = np.arange(len(table))
    with styled():
        for place, (name, row) in zip(places, table.iterrows(), strict=True):
            colour = ACCENT if name == result.choice else MUTED
            ax.plot([row["lower"], row["upper"]], [place, place], color=colour)
            ax.plot(row["difference"], place, "o", color=colour)
        ax.axvline(0, color=INK, linewidth=1)
        ax.set_yticks(places, [in_words(str(name)) for name in table.index])
        text = mark("better than {rule} by (purchases per customer)")
        if result.by == "log_score":
            text = mark("better than {rule} by (nats per customer)")
        ax.set(xlabel=tr(text, rule=in_words(result.best_baseline)), ylim=(-0.6, len(table) - 0.4))
        told = mark("{model} forecast better than any simple rule")
        if result.table.loc[result.choice, "baseline"]:
            told = mark("No model clearly forecast better than {model}")
        ax.set_title(wrapped(tr(told, model=in_words(result.choice))))
    return ax


def pit_plot(result: Backtest, model: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the PIT histogram of a model, by default of the chosen one (``result.calibration``): flat is calibrated."""
    frame = _part(result.calibration, _name(result, model))
    ax = ax if ax is not None else new_axes()
    with styled():
        ax.bar(frame["left"], frame["share"], frame["right"] - frame["left"], align="edge", color=ACCENT)
        ax.axhline(1 / len(frame), color=INK, linewidth=1, linestyle="--")
        where = tr("where the outcome fell in the forecast distribution")
        ax.set(xlabel=where, ylabel=tr("share of customers"), xlim=(0, 1))
        ax.set_title(tr("Calibration of purchase counts, {model}", model=tr(_name(result, model))))
        percent_axis(ax)
    return ax


def active_plot(result: Backtest, model: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the share that bought by forecast P(active), by default of the chosen model (``result.active``)."""
    frame = _part(result.active, _name(result, model))
    ax = ax if ax is not None else new_axes()
    error = np.abs(np.stack([frame["actual"] - frame["lower"], frame["upper"] - frame["actual"]]))
    top = 1.05 * float(max(frame["expected"].max(), frame["upper"].max()))
    with styled():
        ax.plot([0, top], [0, top], color=MUTED, linewidth=1, linestyle="--")
        ax.errorbar(frame["expected"], frame["actual"], yerr=error, fmt="o", color=ACCENT)
        ax.set(xlabel=tr("forecast to buy"), ylabel=tr("bought"), xlim=(0, top), ylim=(0, top))
        expected, actual = (np.average(frame[name], weights=frame["customers"]) for name in ("expected", "actual"))
        ax.set_title(
            wrapped(tr("{expected:.0%} were forecast to buy, {actual:.0%} did", expected=expected, actual=actual))
        )
        percent_axis(ax, "x")
        percent_axis(ax, "y")
    return ax


def lift(result: Backtest, model: str | None = None) -> pd.DataFrame:
    """Return the value of each tenth of customers by forecast, the highest first, over the mean of all.

    Parameters
    ----------
    result : Backtest
    model : str, optional
        By default the chosen one.

    Returns
    -------
    pandas.DataFrame
        By ``decile`` 1 … 10: ``lift``; it averages 1.
    """
    curve = _part(result.gains, _name(result, model))["value"].to_numpy(dtype=float)
    return pd.DataFrame({"lift": 10 * np.diff(curve[::10])}, index=pd.RangeIndex(1, 11, name="decile"))


def lift_plot(result: Backtest, model: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw :func:`lift`."""
    frame = lift(result, model)
    ax = ax if ax is not None else new_axes()
    with styled():
        ax.bar(frame.index, frame["lift"], 0.75, color=ACCENT)
        ax.axhline(1, color=INK, linewidth=1, linestyle="--")
        ax.set_xticks(frame.index)
        ax.set(xlabel=tr("tenth of customers, the highest forecast first"), ylabel=tr("value against the mean"))
        text = mark("The tenth with the highest forecast brought {lift:.1f} times the mean")
        ax.set_title(wrapped(tr(text, lift=frame["lift"].iloc[0])))
    return ax


def gains_plot(result: Backtest, models: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the Lorenz curve along the forecast's order (``result.gains``); by default of choice and best baseline."""
    names = list(dict.fromkeys([result.choice, result.best_baseline])) if models is None else list(models)
    ax = ax if ax is not None else new_axes()
    with styled():
        for name, colour in zip(names, PALETTE * (1 + len(names) // len(PALETTE)), strict=False):
            curve = _part(result.gains, _name(result, name))
            ax.plot(curve.index, curve["value"], color=colour, label=in_words(name))
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        ax.set(xlabel=tr("customers, the highest forecast first"), ylabel=tr("share of the value that came"))
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.set_title(tr("How much value the forecast found"))
        ax.legend(loc="lower right")
        percent_axis(ax, "x")
        percent_axis(ax, "y")
    return ax


def _name(result: Backtest, model: str | None) -> str:
    if model is None:
        return result.choice
    if model not in result.table.index:
        raise ParameterError(f"the backtest has no model {model!r}; it has {', '.join(map(str, result.table.index))}")
    return model


def _part(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return pd.DataFrame(frame.xs(model, level="model"))
