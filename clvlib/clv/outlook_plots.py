"""The figure of the outlook: past weeks, and a fan for the coming ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clvlib.clv.outlook import Outlook
from clvlib.plotting import ACCENT, MUTED, count_axis, new_axes, styled, wrapped
from clvlib.words import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["outlook_plot"]

_PAST = 52  # weeks that are drawn, at most


def outlook_plot(result: Outlook, ax: Axes | None = None) -> Axes:
    """Draw orders per week, past and to come, with the ranges of half and of most outcomes (``result.weekly``)."""
    ax = ax if ax is not None else new_axes()
    frame = result.weekly
    past, coming = frame[frame["mean"].isna()].tail(_PAST), frame[frame["mean"].notna()]
    longest = result.table.index[-1][0]
    rows = result.table.loc[longest]
    with styled():
        most, half = tr("{level:.0%} of outcomes", level=result.level), tr("half of them")
        for low, high, alpha, label in (("lower", "upper", 0.18, most), ("low", "high", 0.35, half)):
            area = coming[low], coming[high]
            ax.fill_between(coming.index, *area, color=ACCENT, alpha=alpha, linewidth=0, label=label)
        ax.plot(past.index, past["actual"], color=MUTED, label=tr("actual"))
        ax.plot(coming.index, coming["mean"], color=ACCENT, label=tr("expected"))
        ax.set_ylim(bottom=0)
        ax.set_ylabel(tr("orders per week"))
        title = tr(
            "The next {n} weeks: {mean:,.0f} orders, {lower:,.0f} to {upper:,.0f}",
            n=longest,
            mean=rows.loc["orders", "mean"],
            lower=rows.loc["orders", "lower"],
            upper=rows.loc["orders", "upper"],
        )
        ax.set_title(wrapped(title))
        ax.legend(loc="upper left")
        ax.tick_params(axis="x", rotation=30)
        count_axis(ax)
    return ax
