"""Who begins an order and who closes it: ribbons from the first touchpoint of a path to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.funnel.paths import ARROW, Credit
from clvlib.plotting import INK, PALETTE, new_axes, shortened, styled, wrapped
from clvlib.words import mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["flow_data", "plot_flow"]

_OTHER = mark("other")
_GAP = 0.015  # between two touchpoints, as a share of all orders


def flow_data(result: Credit, most: int = 6) -> pd.DataFrame:
    """Return what :func:`plot_flow` draws: orders by the ``first`` and the ``last`` touchpoint of their path.

    Touchpoints beyond the ``most`` that begin or close most orders are one, ``other``, which stands last.
    """
    walks = result.paths["path"].str.split(ARROW, regex=False)
    frame = pd.DataFrame({"first": walks.str[0], "last": walks.str[-1], "orders": result.paths["conversions"]})
    total = frame.groupby("first")["orders"].sum().add(frame.groupby("last")["orders"].sum(), fill_value=0)
    kept = total.sort_values(ascending=False, kind="stable").index[:most]
    ends = {name: frame[name].where(frame[name].isin(kept), _OTHER) for name in ("first", "last")}
    place = {name: k for k, name in enumerate([*kept, _OTHER])}
    sums = frame.assign(**ends).groupby(["first", "last"], as_index=False)["orders"].sum()
    kept_rows: pd.DataFrame = sums[sums["orders"] > 0]
    return kept_rows.sort_values(["first", "last"], key=lambda names: names.map(place), ignore_index=True)


def plot_flow(result: Credit, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw how many orders each touchpoint begins, and which one closes them.

    Parameters
    ----------
    result : Credit
        The result.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, how many orders another touchpoint closes than began them.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = flow_data(result)
    total = float(data["orders"].sum())
    walks = result.paths["path"].str.split(ARROW, regex=False)
    moved = float(result.paths.loc[walks.str[0] != walks.str[-1], "conversions"].sum()) / result.conversions
    names = list(dict.fromkeys([*data["first"], *data["last"].sort_values(key=lambda x: x == _OTHER, kind="stable")]))
    colours = dict(zip(names, [*PALETTE[:6], *[PALETTE[-1]] * len(names)], strict=False))
    t = np.linspace(0, 1, 40)
    across, bend = 0.04 + 0.92 * t, 3 * t**2 - 2 * t**3
    with styled():
        ax = ax or new_axes(height=3.8)
        places = {side: _bars(ax, data.groupby(side)["orders"].sum() / total, names, x, colours)
                  for side, x in (("first", 0.0), ("last", 1.0))}  # fmt: skip
        for first, last, orders in zip(data["first"], data["last"], data["orders"], strict=True):
            share = float(orders) / total
            begin, end = places["first"][first], places["last"][last]
            places["first"][first] += share
            places["last"][last] += share
            lower = begin + (end - begin) * bend
            ax.fill_between(across, lower, lower + share, color=colours[first], alpha=0.35, lw=0)
        ax.set(xlim=(-0.45, 1.45), ylim=(1 + _GAP * len(names), -0.08))
        ax.axis("off")
        for x, side in ((0.0, tr("begins")), (1.0, tr("closes"))):
            ax.text(x, -0.03, side, ha="center", fontsize=9.5, color=INK)
        text = tr("{share:.0%} of the orders are closed by another channel than began them", share=moved)
        ax.set_title(wrapped(title or text, 60))
    return ax


def _bars(ax: Axes, shares: pd.Series, names: list[str], x: float, colours: dict[str, str]) -> dict[str, float]:
    """Draw a stack of touchpoints; return where each begins."""
    begins, y = {}, 0.0
    for name in names:
        share = float(shares.get(name, 0.0))
        begins[name] = y
        if share:
            ax.bar(x, share, width=0.07, bottom=y, color=colours[name])
            side, away = ("right", -0.06) if x == 0 else ("left", 0.06)
            ax.text(
                x + away,
                y + share / 2,
                f"{shortened(tr(name), 24)} {share:.0%}",
                ha=side,
                va="center",
                fontsize=9,
                color=INK,
            )
            y += share + _GAP
    return begins
