"""Figures of the audience; each has a twin that returns the frame that is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.audience.grades import Grades
from clvlib.audience.new_returning import weeks_sentence
from clvlib.audience.profile import Profile
from clvlib.audience.slots import SHORT_DAYS, Measure, Slots
from clvlib.errors import ParameterError
from clvlib.plotting import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PALETTE,
    SEQUENTIAL,
    count_axis,
    new_axes,
    percent_axis,
    shortened,
    styled,
    wrapped,
)
from clvlib.words import in_words, mark, money, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "grades_data",
    "index_data",
    "new_returning_data",
    "plot_grades",
    "plot_index",
    "plot_new_returning",
    "plot_slots",
    "slots_data",
]


_PER_HOUR = {
    "views": mark("views per hour, mean week"),
    "viewers": mark("viewers per hour, mean week"),
    "orders": mark("orders per hour, mean week"),
}


def slots_data(result: Slots, measure: Measure = "views") -> pd.DataFrame:
    """Return what :func:`plot_slots` draws: a week's mean per weekday (rows, Monday first) and hour (columns)."""
    if measure not in result.measures:
        raise ParameterError(f"measure: {measure!r} was not counted; there are {', '.join(result.measures)}")
    grid = result.table.pivot_table(index="weekday", columns="hour", values=measure) / result.weeks
    return grid.set_axis([*SHORT_DAYS], axis=0)


def plot_slots(result: Slots, measure: Measure = "views", ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the activity of a mean week as a heat map of weekdays and hours.

    Parameters
    ----------
    result : Slots
        What to draw.
    measure : {"views", "viewers", "orders"}
        Which count.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    import seaborn as sns

    grid = slots_data(result, measure)
    with styled():
        ax = ax or new_axes(height=3.0)
        label = {"label": tr(_PER_HOUR[measure]), "pad": 0.02}
        sns.heatmap(
            grid, ax=ax, cmap=SEQUENTIAL, vmin=0, cbar_kws=label, linewidths=0.4, linecolor="white",
            xticklabels=False, yticklabels=False,
        )  # fmt: skip
        ax.set_xticks([hour + 0.5 for hour in range(0, 24, 3)], [f"{hour}:00" for hour in range(0, 24, 3)], rotation=0)
        ax.set_yticks([day + 0.5 for day in range(7)], [tr(day) for day in grid.index], rotation=0)
        ax.set(xlabel=tr("hour, shop time"), ylabel="")
        ax.set_title(wrapped(title or result.sentence_of(measure)))
    return ax


def index_data(result: Profile, features: tuple[str, ...] = (), rows: int = 16) -> pd.DataFrame:
    """Return what :func:`plot_index` draws: groups with an index, those with most viewers, in the table's order."""
    table = result.table
    if "buyer_index" not in table:
        raise ParameterError("the profile has no index, as it was made without events")
    chosen = table[table["buyer_index"].notna() & (table["feature"].isin(features) if features else True)]
    kept = chosen["viewers"].nlargest(rows).index
    return chosen.loc[chosen.index.isin(kept)].reset_index(drop=True)


def plot_index(
    result: Profile, features: tuple[str, ...] = (), ax: Axes | None = None, title: str = "", rows: int = 16
) -> Axes:
    """Draw the index of buyers against viewers, 100 where they are alike, with intervals.

    Parameters
    ----------
    result : Profile
        With events.
    features : tuple of str
        Which; all by default.
    ax, title
        As for :func:`plot_slots`.
    rows : int
        How many groups at most, those with most viewers.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = index_data(result, features, rows)
    y = np.arange(len(data))
    apart = data["p_value"].lt(1 - result.level).to_numpy()
    with styled():
        ax = ax or new_axes(height=1.2 + 0.27 * len(data))
        for chosen, color, label in (
            (apart, ACCENT, tr("differs from 100")),
            (~apart, MUTED, tr("may well be 100")),
        ):
            if chosen.any():
                part = data[chosen]
                errors = [part["buyer_index"] - part["index_lower"], part["index_upper"] - part["buyer_index"]]
                ax.errorbar(
                    part["buyer_index"], y[chosen], xerr=np.clip(errors, 0, None), fmt="o", color=color, capsize=2,
                    label=label,
                )  # fmt: skip
        ax.axvline(100, color=INK, lw=1)
        names = zip(data["feature"], data["group"], strict=True)
        ax.set_yticks(y, [in_words(feature) + tr(": ") + shortened(tr(group)) for feature, group in names])
        ax.invert_yaxis()
        ax.set_xlabel(tr("share among buyers / share among viewers × 100"))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="best")
        ax.set_title(wrapped(title or result.sentence, 54))
    return ax


def new_returning_data(weeks: pd.DataFrame) -> pd.DataFrame:
    """Return what :func:`plot_new_returning` draws: buyers per week, new and returning."""
    return weeks[["new", "returning"]]


def plot_new_returning(weeks: pd.DataFrame, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw new and returning buyers per week.

    Parameters
    ----------
    weeks : pandas.DataFrame
        As :func:`clvlib.audience.new_returning.new_returning_weeks` returns it.
    ax, title
        As for :func:`plot_slots`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = new_returning_data(weeks)
    x = np.arange(len(data))
    with styled():
        ax = ax or new_axes(height=3.4)
        ax.bar(x, data["returning"], color=ACCENT, label=tr("returning"), width=0.75)
        ax.bar(x, data["new"], bottom=data["returning"], color=PALETTE[1], label=tr("new"), width=0.75)
        step = max(1, len(x) // 12)
        ax.set_xticks(x[::step], [str(week)[-3:] for week in data.index[::step]])
        ax.set_ylabel(tr("buyers"))
        ax.grid(axis="x", visible=False)
        ax.legend(loc="upper left", ncols=2, bbox_to_anchor=(0, 1.0))
        ax.set_ylim(0, max(1.0, 1.18 * float(data.sum(axis=1).max())))
        ax.set_title(wrapped(title or weeks_sentence(weeks)))
    return count_axis(ax)


def grades_data(result: Grades) -> pd.DataFrame:
    """Return what :func:`plot_grades` draws: shares of customers and of revenue per grade, and where it begins."""
    return result.table[["customer_share", "revenue_share", "spend_from"]]


def plot_grades(result: Grades, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw each spending grade's share of the customers beside its share of the revenue.

    Parameters
    ----------
    result : Grades
        What to draw.
    ax, title
        As for :func:`plot_slots`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = grades_data(result)
    y = np.arange(len(data))
    with styled():
        ax = ax or new_axes(height=1.3 + 0.5 * len(data))
        for shift, column, color, label in (
            (-0.19, "customer_share", FAINT, tr("share of customers")),
            (0.19, "revenue_share", ACCENT, tr("share of revenue")),
        ):
            ax.barh(y + shift, data[column], height=0.36, color=color, label=label)
            for k, share in enumerate(data[column]):
                ax.text(share + 0.008, k + shift, f"{share:.0%}", va="center", fontsize=9, color=INK)
        starts = zip(data.index, data["spend_from"], strict=True)
        ax.set_yticks(y, [tr("{grade}, from {low}", grade=tr(grade), low=money(low)) for grade, low in starts])
        ax.invert_yaxis()
        ax.set_xlim(0, min(1.0, float(data[["customer_share", "revenue_share"]].max().max())) * 1.12)
        ax.grid(axis="y", visible=False)
        ax.legend(loc="best")
        ax.set_title(wrapped(title or result.sentence, 56))
    return percent_axis(ax, "x")
