"""Figures of an experiment, each with the frame behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.abtest.decision import DO_NOT_SHIP, INVALID, KEEP_RUNNING, SHIP, amount
from clvlib.abtest.exposure import ExposureResult
from clvlib.abtest.outcome import ExperimentResult
from clvlib.abtest.segments import SegmentResult
from clvlib.errors import EmptyDataError
from clvlib.plotting import ACCENT, INK, MUTED, PALETTE, WARN, count_axis, new_axes, percent_axis, points_axis, styled
from clvlib.stats.sampling import detectable_difference
from clvlib.words import mark, tr, trn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "detectable_frame",
    "detectable_plot",
    "exposure_plot",
    "forest_frame",
    "forest_plot",
    "looks_plot",
    "rate_plot",
    "segments_plot",
]

_COLOURS = {"better": ACCENT, "worse": WARN, "not told apart": MUTED, "control": INK}
_COLOURS |= {"holds": ACCENT, "broken": WARN, "not shown": MUTED}
_TITLES = {
    SHIP: mark("Ship {arm}: effects in experiment {name}"),
    DO_NOT_SHIP: mark("Do not ship: effects in experiment {name}"),
    KEEP_RUNNING: mark("Keep running: effects in experiment {name}"),
    INVALID: mark("Invalid: effects in experiment {name}"),
}


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
    EmptyDataError
        No effect has an interval.
    """
    frame = forest_frame(result)
    if frame.empty:
        text = mark("experiment {name!r}: no relative effect has an interval, so there is nothing to draw")
        raise EmptyDataError(tr(text, name=result.name))
    with styled():
        ax = new_axes(height=1.5 + 0.45 * len(frame)) if ax is None else ax
        ax.axvline(0, color=MUTED, linewidth=1)
        pairs = zip(frame["metric"], frame["arm"], strict=True)
        labels = [tr("{metric}, {arm}", metric=tr(metric), arm=arm) for metric, arm in pairs]
        _intervals(ax, frame["verdict"], frame[["relative", "lower", "upper"]], labels)
        for place, (middle, verdict) in enumerate(zip(frame["relative"], frame["verdict"], strict=True)):
            above = ax.annotate(tr(verdict), (middle, place), (0, 7), textcoords="offset points", ha="center")
            above.set(color=_COLOURS[verdict], fontsize=9.5)
        ax.margins(x=0.05)
        text = mark("change against {control}, with its {level} interval")
        ax.set_xlabel(tr(text, control=result.control, level=_levels(frame)))
        ax.set_title(tr(_TITLES[result.verdict], arm=result.arm, name=result.name))
        percent_axis(ax, "x", decimals=_decimals(frame))
    return ax


def rate_plot(result: ExperimentResult, metric: str = "", ax: Axes | None = None) -> Axes:
    """Draw every arm's value per person with its interval; the frame is ``result.rows(metric)``.

    Parameters
    ----------
    result : ExperimentResult
        What was found.
    metric : str
        Which; the primary one when left out.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.

    Raises
    ------
    ParameterError
        The experiment has no such metric.
    """
    frame = result.rows(metric)
    name, share = tr(frame["metric"].iloc[0]), frame["unit"].iloc[0] == "share"
    with styled():
        ax = new_axes(height=1.5 + 0.5 * len(frame)) if ax is None else ax
        labels = [tr("{arm} ({n:,} people)", arm=arm, n=n) for arm, n in zip(frame["arm"], frame["n"], strict=True)]
        _intervals(ax, frame["verdict"], frame[["value", "value_lower", "value_upper"]], labels)
        text = mark("{metric}, share of people") if share else mark("{metric} per person")
        ax.set_xlabel(tr(text, metric=name))
        ax.set_title(_claim(result.effects(metric), result.control))
        if share:
            percent_axis(ax, "x", decimals=1)
    return ax


def detectable_frame(result: ExperimentResult, sizes: Sequence[int] = ()) -> pd.DataFrame:
    """Smallest difference that arms of a given size find, at the control's value and spread as seen.

    Parameters
    ----------
    result : ExperimentResult
        What was found; its primary metric counts.
    sizes : sequence of int, optional
        People per arm; from a quarter to eight times those of this experiment when left out.

    Returns
    -------
    pandas.DataFrame
        ``people_per_arm``, ``detectable``; sizes at which nothing could be found are left out.
    """
    row = result.best
    here = 2 / (1 / row["n"] + 1 / row["control_n"])  # the equal arms that err as much
    people = np.asarray(sizes, dtype=float) if len(sizes) else here * np.geomspace(0.25, 8, 41)
    if row["family"] == "beta":  # a count of people, each by himself: the error depends on the rate that is to be found
        rows = result.rows()
        control = float(rows.loc[rows["arm"] == result.control, "value"].iloc[0])
        alpha = 1 - float(row["level"])
        values = [detectable_difference(control, n, n, result.power, alpha) for n in people]
    else:
        values = list(row["detectable"] * np.sqrt(here / people))
    frame = pd.DataFrame({"people_per_arm": people.round().astype(int), "detectable": values})
    return frame.iloc[np.flatnonzero(np.isfinite(values))].reset_index(drop=True)


def detectable_plot(result: ExperimentResult, ax: Axes | None = None) -> Axes:
    """Draw :func:`detectable_frame`, with this experiment's place on the curve.

    Parameters
    ----------
    result : ExperimentResult
        What was found.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.

    Raises
    ------
    EmptyDataError
        So few people can find nothing.
    """
    frame, row = detectable_frame(result), result.best
    if not np.isfinite(row["detectable"]):
        text = mark("experiment {name!r}: so few people, or values that do not vary, tell no difference, however large")
        raise EmptyDataError(tr(text, name=result.name))
    here = 2 / (1 / row["n"] + 1 / row["control_n"])
    reach = amount(float(row["detectable"]), str(row["unit"]))
    with styled():
        ax = new_axes(height=3.4) if ax is None else ax
        ax.plot(frame["people_per_arm"].to_numpy(), frame["detectable"].to_numpy(), color=ACCENT)
        ax.plot([here], [row["detectable"]], "o", color=WARN)
        ax.annotate(tr("this experiment"), (here, row["detectable"]), (8, 8), textcoords="offset points").set_color(
            WARN
        )
        ax.set_ylim(0, None)
        ax.set_xlabel(tr("people per arm whose window is over"))
        ax.set_ylabel(tr("smallest difference found"))
        text = mark("{n:,.0f} people per arm find {reach} with a chance of {power:.0%}")
        ax.set_title(tr(text, n=here, reach=reach, power=result.power))
        count_axis(ax, "x")
        if row["unit"] == "share":
            points_axis(ax, decimals=1)
    return ax


def looks_plot(result: ExperimentResult, ax: Axes | None = None) -> Axes:
    """Draw the effect at the end of each week so far, with intervals that hold at all looks; the frame is ``.looks``.

    Parameters
    ----------
    result : ExperimentResult
        What was found.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.

    Raises
    ------
    EmptyDataError
        There was no look yet that could tell anything.
    """
    frame = result.looks
    if frame.empty:
        text = mark("experiment {name!r}: no week has ended yet that could tell anything")
        raise EmptyDataError(tr(text, name=result.name))
    share = result.rows()["unit"].iloc[0] == "share"
    days = pd.to_datetime(frame["look"]) - pd.Timedelta("1us")  # the last day that the look includes
    with styled():
        ax = new_axes(height=3.6) if ax is None else ax
        ax.axhline(0, color=MUTED, linewidth=1)
        arms = list(dict.fromkeys(frame["arm"]))
        for place, arm in enumerate(arms):
            rows = (frame["arm"] == arm).to_numpy()
            colour = PALETTE[place % len(PALETTE)]
            x = days[rows].to_numpy().astype("datetime64[D]")
            y, lower, upper = frame.loc[rows, ["difference", "lower", "upper"]].to_numpy(dtype=float).T
            ax.errorbar(x, y, (y - lower, upper - y), fmt="o-", color=colour, capsize=4, linewidth=1.6, label=arm)
        if len(arms) > 1:
            ax.legend(title=tr("arm"))
        ax.set_xticks(np.unique(days.to_numpy().astype("datetime64[D]")))
        ax.set_xlabel(tr("windows over by"))
        text = mark("{metric}, difference from {control}")
        ax.set_ylabel(tr(text, metric=tr(result.metric), control=result.control))
        ax.set_title(_looks_claim(result))
        if share:
            points_axis(ax, decimals=1)
    return ax


def segments_plot(result: SegmentResult, ax: Axes | None = None) -> Axes:
    """Draw the effect in each segment against the line of no effect; the frame is ``.table``.

    Parameters
    ----------
    result : SegmentResult
        What was found.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.
    """
    frame = result.table.sort_values("difference", ascending=False)
    several = len(set(frame["arm"])) > 1
    rows = zip(frame["segment"], frame["arm"], frame["n"] + frame["control_n"], strict=True)
    text = mark("{segment}, {arm} ({n:,} people)") if several else mark("{segment} ({n:,} people)")
    labels = [tr(text, segment=tr(segment), arm=arm, n=n) for segment, arm, n in rows]
    with styled():
        ax = new_axes(height=1.5 + 0.4 * len(frame)) if ax is None else ax
        ax.axvline(0, color=MUTED, linewidth=1)
        _intervals(ax, frame["verdict"], frame[["difference", "lower", "upper"]], labels)
        text = mark("{metric}, difference from the control, with its {level} interval")
        ax.set_xlabel(tr(text, metric=tr(result.metric), level=_levels(frame)))
        p_value = float(result.interaction["p_adjusted"].min())
        text = mark("No difference of the effect can be told by {by}")
        if p_value < 1 - result.level:
            text = mark("The effect differs by {by}")
        ax.set_title(tr(text, by=tr(result.by)))
        if result.unit == "share":
            points_axis(ax, "x", decimals=0)
    return ax


def exposure_plot(result: ExposureResult, ax: Axes | None = None) -> Axes:
    """Draw the effect by days since the assignment, with intervals that hold together; the frame is ``.table``.

    Parameters
    ----------
    result : ExposureResult
        What was found.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.
    """
    frame = result.table
    with styled():
        ax = new_axes(height=3.6) if ax is None else ax
        ax.axhline(0, color=MUTED, linewidth=1)
        arms = list(dict.fromkeys(frame["arm"]))
        for place, arm in enumerate(arms):
            rows = frame[frame["arm"] == arm]
            x, y, lower, upper = rows[["days", "difference", "lower", "upper"]].to_numpy(dtype=float).T
            x = x + 0.12 * (place - (len(arms) - 1) / 2)
            colour = PALETTE[place % len(PALETTE)]
            ax.errorbar(x, y, (y - lower, upper - y), fmt="o-", color=colour, capsize=4, linewidth=1.6, label=arm)
        if len(arms) > 1:
            ax.legend(title=tr("arm"))
        ax.set_xticks(sorted(set(frame["days"])))
        ax.set_xlabel(tr("days since the assignment"))
        ax.set_ylabel(tr("difference from the control"))
        told = frame[(frame["lower"] > 0) | (frame["upper"] < 0)]
        days = 0 if told.empty else int(told["days"].min())
        title = tr("An effect on {metric} could not be told", metric=tr(result.metric))
        if days:
            title = trn(
                "An effect on {metric} could first be told after {n} day",
                "An effect on {metric} could first be told after {n} days",
                days,
                metric=tr(result.metric),
            )
        ax.set_title(title)
        if result.unit == "share":
            points_axis(ax, decimals=1)
    return ax


def _looks_claim(result: ExperimentResult) -> str:
    """Title that says since when the interval leaves zero out, if it does."""
    told = result.looks[(result.looks["lower"] > 0) | (result.looks["upper"] < 0)]
    if told.empty:
        return tr("No weekly look could tell an effect")
    first = pd.Timestamp(told["look"].min()) - pd.Timedelta("1us")
    return tr("An effect could first be told on {day:%Y-%m-%d}", day=first)


def _claim(effects: pd.DataFrame, control: str) -> str:
    """Title that says what the figure shows."""
    row = effects.iloc[int(effects["difference"].to_numpy().argmax())]
    if row["verdict"] == "not told apart":
        return tr("No arm's {metric} can be told above {control}'s", metric=tr(row["metric"]), control=control)
    names = {"arm": row["arm"], "metric": tr(row["metric"]), "control": control}
    size = amount(abs(float(row["difference"])), str(row["unit"]))
    if row["verdict"] == "better":
        return tr("{arm}'s {metric} is {size} above {control}'s", size=size, **names)
    return tr("{arm}'s {metric} is {size} below {control}'s", size=size, **names)


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
    same = f"{low:.4g}" == f"{high:.4g}"
    return f"{low:.4g}%" if same else tr("{low:.4g} to {high:.4g}%", low=low, high=high)


def _decimals(frame: pd.DataFrame) -> int:
    return 1 if (frame["upper"].max() - frame["lower"].min()) < 0.1 else 0
