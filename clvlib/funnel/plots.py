"""Figures of the funnel; each has a twin that returns the frame that is drawn."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvlib.errors import EmptyDataError
from clvlib.funnel.change import Change
from clvlib.funnel.curve import ConversionCurve
from clvlib.funnel.drivers import Drivers
from clvlib.funnel.kernel import FunnelResult
from clvlib.funnel.paths import Credit
from clvlib.funnel.threshold import Threshold
from clvlib.funnel.weekly import trend_sentence
from clvlib.plotting import ACCENT, INK, MUTED, PALETTE, WARN, new_axes, percent_axis, shortened, styled, wrapped
from clvlib.words import begun, mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "change_data",
    "credit_data",
    "curve_data",
    "drivers_data",
    "funnel_data",
    "plot_change",
    "plot_credit",
    "plot_curve",
    "plot_drivers",
    "plot_funnel",
    "plot_segments",
    "plot_trend",
    "segments_data",
    "trend_data",
]


_SHARE = {
    "person": mark("share of {step}, persons, within {window}"),
    "session": mark("share of {step}, sessions, within {window}"),
}


def _titled(ax: Axes, title: str, otherwise: str, width: int = 64) -> None:
    ax.set_title(wrapped(begun(title or otherwise.rstrip(".。")), width))


def _words(segment: str) -> str:
    """Write a segment, whose parts may be words of ours."""
    return " × ".join(map(tr, segment.split(" × ")))


def _label(segment: str) -> str:
    """Write a segment beside an axis, each part in a part of the room."""
    parts = segment.split(" × ")
    return " × ".join(shortened(tr(part), 32 // len(parts)) for part in parts)


def funnel_data(result: FunnelResult) -> pd.DataFrame:
    """Return what :func:`plot_funnel` draws: per step people, total conversion with limits, step rate with limits."""
    columns = ["step", "people", "from_first", "first_lower", "first_upper", "from_previous", "lower", "upper"]
    return result.total[columns]


def plot_funnel(result: FunnelResult, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the share of the first step's people that reaches each step, with intervals, and the step rates between.

    Parameters
    ----------
    result : FunnelResult
        Its total is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without.
    title : str
        The figure's claim; by default, the result's own sentence.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = funnel_data(result).fillna({"from_first": 0.0, "first_lower": 0.0, "first_upper": 0.0})
    with styled():
        ax = ax or new_axes(height=0.7 + 0.62 * len(data))
        y = np.arange(len(data))
        ax.barh(y, data["from_first"], color=ACCENT, height=0.62)
        errors = [data["from_first"] - data["first_lower"], data["first_upper"] - data["from_first"]]
        ax.errorbar(data["from_first"], y, xerr=np.clip(errors, 0, None), fmt="none", ecolor=INK, capsize=3, lw=1.2)
        for k, row in enumerate(data.to_dict("records")):
            text = f"{row['people']:,}"
            if k and not np.isnan(row["from_previous"]):
                previous = result.step_before(row["step"])
                text += "   " + tr(
                    "{rate:.1%} of {step} ({lower:.1%} to {upper:.1%})",
                    rate=row["from_previous"],
                    step=tr(previous),
                    lower=row["lower"],
                    upper=row["upper"],
                )
            at, color = (0.01, "white") if row["first_upper"] > 0.55 else (row["first_upper"] + 0.012, INK)
            ax.text(at, k, text, va="center", color=color, fontsize=9.5)
        ax.set_yticks(y, [tr(step) for step in data["step"]])
        ax.invert_yaxis()
        ax.set_xlim(0, 1)
        ax.set_xlabel(tr(_SHARE[result.unit], step=tr(data["step"].iloc[0]), window=result.window))
        ax.grid(axis="y", visible=False)
        _titled(ax, title, result.sentence)
    return percent_axis(ax, "x")


def trend_data(rates: pd.DataFrame, minimum: float) -> pd.DataFrame:
    """Return what :func:`plot_trend` draws: a trend with ``below``, whether the whole interval is below ``minimum``."""
    return rates.assign(below=rates["upper"].lt(minimum))


def plot_trend(rates: pd.DataFrame, minimum: float, ax: Axes | None = None, title: str = "", label: str = "") -> Axes:
    """Draw a step's rate over the weeks with its interval, against the threshold.

    Parameters
    ----------
    rates : pandas.DataFrame
        As :func:`clvlib.funnel.weekly.trend` returns it.
    minimum : float
        The threshold.
    ax, title
        As for :func:`plot_funnel`.
    label : str
        What the rate is of.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.ticker import MaxNLocator

    data = trend_data(rates, minimum)
    with styled():
        ax = ax or new_axes(height=3.4)
        x = np.arange(len(data))
        ax.fill_between(x, data["lower"], data["upper"], color=ACCENT, alpha=0.18, lw=0)
        ax.plot(x, data["rate"], color=ACCENT, marker="o")
        below = data["below"].to_numpy()
        ax.plot(x[below], data["rate"][below], color=WARN, marker="o", linestyle="none")
        ax.axhline(minimum, color=WARN, lw=1.3, ls="--")
        above = not data["rate"].iloc[0] < minimum
        ax.annotate(
            tr("threshold {minimum:.0%}", minimum=minimum), (0, minimum),
            xytext=(0, -4 if above else 4), textcoords="offset points",
            va="top" if above else "bottom", color=WARN, fontsize=9.5,
        )  # fmt: skip
        ax.set_xticks(x, [str(w)[-3:] if "W" in str(w) else str(w) for w in data.index])
        ax.set_ylim(0, max(minimum, data["upper"].max() if data["upper"].notna().any() else 0) * 1.2)
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        ax.set_ylabel(label)
        _titled(ax, title, trend_sentence(rates, label or tr("The rate")))
    return percent_axis(ax)


def segments_data(verdict: Threshold, rows: int = 10) -> pd.DataFrame:
    """Return what :func:`plot_segments` draws: the segments that lose most people, worst first."""
    if verdict.table.empty:
        raise EmptyDataError(tr("there are no segments: the events have no column to break the funnel down by"))
    return verdict.table.head(rows)


def _worst(verdict: Threshold) -> str:
    if verdict.failing.empty:
        return tr("No segment is surely below {minimum:.0%}", minimum=verdict.minimum)
    row = verdict.failing.iloc[0]
    return tr(
        "{segment} loses most: {lost:,.0f} people to reach {minimum:.0%}",
        segment=_words(row["segment"]),
        lost=row["people_lost"],
        minimum=verdict.minimum,
    )


def _named(row: dict[Hashable, Any]) -> str:
    """Name a segment so that a platform and a channel of one name can be told apart."""
    what = "" if "×" in row["dimension"] else tr(row["dimension"]).removesuffix("_id") + tr(": ")
    return f"{what}{_label(row['segment'])} ({row['before']:,})"


def plot_segments(verdict: Threshold, ax: Axes | None = None, title: str = "", rows: int = 10) -> Axes:
    """Draw the rates of the segments that lose most people against the threshold.

    Parameters
    ----------
    verdict : Threshold
        With segments.
    ax, title
        As for :func:`plot_funnel`.
    rows : int
        How many segments.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = segments_data(verdict, rows)
    colors = {"fail": WARN, "pass": PALETTE[2], "undecided": MUTED}
    with styled():
        ax = ax or new_axes(height=1.2 + 0.34 * len(data))
        for k, row in enumerate(data.to_dict("records")):
            ax.plot([row["lower"], row["upper"]], [k, k], color=colors[row["verdict"]], lw=2)
            ax.plot([row["rate"]], [k], color=colors[row["verdict"]], marker="o")
        ax.axvline(verdict.minimum, color=WARN, lw=1.3, ls="--")
        ax.set_yticks(np.arange(len(data)), [_named(row) for row in data.to_dict("records")])
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.set_xlabel(
            tr(
                "{what}; red fails {minimum:.0%}, grey is undecided, green passes",
                what=begun(tr("{before} to {step}", before=tr(verdict.before), step=tr(verdict.step))),
                minimum=verdict.minimum,
            )
        )
        ax.grid(axis="y", visible=False)
        _titled(ax, title, _worst(verdict), 56)
    return percent_axis(ax, "x")


def change_data(result: Change, dimension: str = "", rows: int = 10) -> pd.DataFrame:
    """Return what :func:`plot_change` draws: the largest effects on the rate, of one dimension."""
    chosen = dimension or result.dimension or str(result.table["dimension"].iloc[0])
    data = result.table[result.table["dimension"].eq(chosen)]
    size = data["rate_effect"].abs() + data["mix_effect"].abs()
    return data.loc[size.sort_values(ascending=False, kind="stable").index].head(rows)


def plot_change(result: Change, ax: Axes | None = None, title: str = "", dimension: str = "", rows: int = 10) -> Axes:
    """Draw what each segment's rate and share contributed to the change, in percentage points.

    Parameters
    ----------
    result : Change
        What to draw.
    ax, title
        As for :func:`plot_funnel`.
    dimension : str
        Whose segments; the one that stands out by default.
    rows : int
        How many segments.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = change_data(result, dimension, rows)
    with styled():
        ax = ax or new_axes(height=1.4 + 0.36 * len(data))
        y = np.arange(len(data))
        ax.barh(y - 0.19, 100 * data["rate_effect"], height=0.36, color=ACCENT, label=tr("rate within the segment"))
        ax.barh(y + 0.19, 100 * data["mix_effect"], height=0.36, color=PALETTE[1], label=tr("mix of traffic"))
        ax.axvline(0, color=MUTED, lw=1)
        ax.set_yticks(y, [_label(segment) for segment in data["segment"]])
        for label, segment in zip(ax.get_yticklabels(), data["segment"], strict=True):
            label.set_color(WARN if segment == result.segment else INK)
        ax.invert_yaxis()
        ax.set_xlabel(
            tr(
                "contribution to the change of {what}, percentage points",
                what=tr("{before} to {step}", before=tr(result.before), step=tr(result.step)),
            )
        )
        ax.grid(axis="y", visible=False)
        ax.legend(loc="best")
        _titled(ax, title, result.sentence, 54)
    return ax


def curve_data(now: ConversionCurve, reference: ConversionCurve | None = None) -> pd.DataFrame:
    """Return what :func:`plot_curve` draws: share by hours, of the period and of its reference."""
    parts = [now.table.assign(period="now")]
    parts += [] if reference is None else [reference.table.assign(period="reference")]
    return pd.concat(parts, ignore_index=True)[["period", "hours", "share", "lower", "upper", "at_risk"]]


def plot_curve(
    now: ConversionCurve, reference: ConversionCurve | None = None, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw the share converted by days since the first step, with open windows as censored, and what is to be expected.

    Parameters
    ----------
    now : ConversionCurve
        The period.
    reference : ConversionCurve, optional
        An older one beside it.
    ax, title
        As for :func:`plot_funnel`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = curve_data(now, reference)
    with styled():
        ax = ax or new_axes(height=3.4)
        for period, color, label in (
            ("reference", MUTED, tr("the period before")),
            ("now", ACCENT, tr("this period, so far")),
        ):
            part = data[data["period"] == period]
            if len(part):
                days = np.concatenate([[0.0], part["hours"] / 24])
                lines = {name: np.concatenate([[0.0], part[name]]) for name in ("share", "lower", "upper")}
                ax.fill_between(days, lines["lower"], lines["upper"], step="post", color=color, alpha=0.15, lw=0)
                ax.step(days, lines["share"], where="post", color=color, label=label)
        if now.open_units and not np.isnan(now.final):
            spread = [[now.final - now.lower], [now.upper - now.final]]
            ax.errorbar(
                now.hours / 24, now.final, yerr=spread, fmt="D", color=ACCENT, capsize=3, clip_on=False, zorder=5,
                label=tr("this period, to be expected"),
            )  # fmt: skip
        ax.set_xlim(0, now.hours / 24)
        ax.set_ylim(bottom=0)
        ax.set_xlabel(tr("days since {step}", step=tr(now.start)))
        ax.set_ylabel(tr("share that reached {step}", step=tr(now.goal)))
        ax.legend(loc="lower right")
        _titled(ax, title, now.sentence)
    return percent_axis(ax, decimals=1)


def credit_data(result: Credit) -> pd.DataFrame:
    """Return what :func:`plot_credit` draws: orders credited by the Markov chain, with limits, and by last touch."""
    return result.table[["markov", "lower", "upper", "last"]]


def plot_credit(result: Credit, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the conversions that each touchpoint is credited with, beside those where it came last.

    Parameters
    ----------
    result : Credit
        What to draw.
    ax, title
        As for :func:`plot_funnel`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = credit_data(result)
    y = np.arange(len(data))
    with styled():
        ax = ax or new_axes(height=1.3 + 0.32 * len(data))
        ax.barh(y, data["markov"], color=ACCENT, height=0.6, label=tr("removal effect (Markov)"))
        errors = [data["markov"] - data["lower"], data["upper"] - data["markov"]]
        ax.errorbar(data["markov"], y, xerr=np.clip(errors, 0, None), fmt="none", ecolor=INK, capsize=2, lw=1)
        ax.plot(data["last"], y, marker="D", linestyle="none", color=PALETTE[1], label=tr("last touch"))
        ax.set_yticks(y, [shortened(tr(touch)) for touch in data.index])
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.set_xlabel(tr("orders credited"))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="lower right")
        _titled(ax, title, result.sentence, 56)
    return ax


def drivers_data(result: Drivers, rows: int = 12) -> pd.DataFrame:
    """Return what :func:`plot_drivers` draws: the levels that stand out most, with their odds ratios."""
    return result.table.head(rows)


def plot_drivers(result: Drivers, ax: Axes | None = None, title: str = "", rows: int = 12) -> Axes:
    """Draw odds ratios of going on, with intervals that hold together, on a logarithmic axis.

    Parameters
    ----------
    result : Drivers
        What to draw.
    ax, title
        As for :func:`plot_funnel`.
    rows : int
        How many levels.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    data = drivers_data(result, rows)
    with styled():
        ax = ax or new_axes(height=1.4 + 0.34 * len(data))
        for k, row in enumerate(data.to_dict("records")):
            color = MUTED if row["lower"] <= 1 <= row["upper"] else WARN if row["odds_ratio"] < 1 else PALETTE[2]
            ax.plot([row["lower"], row["upper"]], [k, k], color=color, lw=2)
            ax.plot([row["odds_ratio"]], [k], color=color, marker="o")
        ax.axvline(1, color=MUTED, lw=1)
        names = [
            f"{tr(row['feature']).removesuffix('_id')}{tr(': ')}{shortened(tr(row['level']))} ({row['people']:,})"
            for row in data.to_dict("records")
        ]
        ax.set_yticks(np.arange(len(data)), names)
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel(tr("odds of {step} against elsewhere; red leave more, grey is undecided", step=tr(result.step)))
        ax.grid(axis="y", visible=False)
        _titled(ax, title, result.sentence, 44)
    return ax
