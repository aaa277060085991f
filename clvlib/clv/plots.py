"""Figures of customer value, each with the frame behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvlib.clv.cells import Cells
from clvlib.clv.holdout import Validation
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.rfm import RFM
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.plotting import ACCENT, FAINT, MUTED, SEQUENTIAL, WARN, count_axis, new_axes, percent_axis, styled, wrapped
from clvlib.words import mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "alive_history_plot",
    "alive_matrix",
    "alive_matrix_plot",
    "concentration",
    "concentration_plot",
    "conditional_plot",
    "frequency_frame",
    "frequency_plot",
    "purchases_matrix",
    "purchases_matrix_plot",
    "segments_plot",
    "tracking_plot",
]


def tracking_plot(frame: pd.DataFrame, cumulative: bool = False, ax: Axes | None = None) -> Axes:  # noqa: FBT001, FBT002 - a figure's two forms
    """Draw :func:`clvlib.clv.holdout.tracking`: repeat purchases per week, or their running sum, against the model's.

    Parameters
    ----------
    frame : pandas.DataFrame
        What ``tracking`` returned; with its bands where it was asked for them.
    cumulative : bool
        Draw the running sums.
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.
    """
    ax = ax if ax is not None else new_axes()
    suffix = "_cumulative" if cumulative else ""
    with styled():
        if "lower" in frame:
            band = frame[f"lower{suffix}"], frame[f"upper{suffix}"]
            ax.fill_between(frame.index, *band, color=ACCENT, alpha=0.18, linewidth=0, label=tr("expected range"))
        ax.plot(frame.index, frame[f"actual{suffix}"], color=MUTED, label=tr("actual"))
        ax.plot(frame.index, frame[f"expected{suffix}"], color=ACCENT, label=tr("model"))
        if frame["holdout"].any():
            ax.axvspan(frame.index[frame["holdout"]][0], frame.index[-1], color=FAINT, alpha=0.5, zorder=0)
            ax.text(
                frame.index[frame["holdout"]][0],
                0.02,
                f" {tr('not seen by the model')}",
                transform=ax.get_xaxis_transform(),
                color=MUTED,
                fontsize=9,
            )
        ax.set_ylim(bottom=0)
        ax.set(ylabel=tr("repeat purchases"), title=wrapped(_tracked(frame, cumulative=cumulative)))
        ax.legend(loc="upper left" if cumulative else "best")
        ax.tick_params(axis="x", rotation=30)
        count_axis(ax)
    return ax


def _tracked(frame: pd.DataFrame, *, cumulative: bool) -> str:
    """Say how the weeks not seen went, or where all end; of a frame without any, or without bands, what it is."""
    held = frame[frame["holdout"]]
    if held.empty or "lower" not in frame:
        return tr("Repeat purchases so far") if cumulative else tr("Repeat purchases per week")
    if cumulative:
        ends = {name: frame[f"{name}_cumulative"].iloc[-1] for name in ("expected", "actual")}
        return tr("Over all weeks the model counts {expected:,.0f} repeat purchases; {actual:,.0f} came", **ends)
    inside = int(held["actual"].between(held["lower"], held["upper"]).sum())
    return tr("{inside} of {weeks} weeks not seen lie within the range", inside=inside, weeks=len(held))


def conditional_plot(validation: Validation, ax: Axes | None = None) -> Axes:
    """Draw purchases in the holdout by purchases in the calibration, expected against actual (``validation.table``)."""
    ax = ax if ax is not None else new_axes()
    table = validation.table
    places = np.arange(len(table))
    with styled():
        ax.plot(places, table["actual"], "o-", color=MUTED, label=tr("actual"))
        ax.plot(places, table["expected"], "s--", color=ACCENT, label=tr("model"))
        names = [str(value) for value in table.index]
        if len(names) > 1:
            names[-1] += "+"
        ax.set_xticks(places, names)
        ax.set_ylim(bottom=0)
        ax.set(xlabel=tr("repeat purchases before"), ylabel=tr("purchases after, per customer"))
        text = mark("{expected:.2f} purchases per customer were expected, {actual:.2f} came")
        each = {"expected": validation.expected, "actual": validation.actual}
        ax.set_title(wrapped(tr(text, **{name: total / validation.customers for name, total in each.items()})))
        ax.legend(loc="upper left")
    return ax


def frequency_frame(model: PurchaseModel, summary: pd.DataFrame, top: int = 7) -> pd.DataFrame:
    """Return how many customers made 0, 1, 2, ... repeat purchases, and how many the model expects.

    Parameters
    ----------
    model : PurchaseModel
        Fitted to the summary.
    summary : pandas.DataFrame
        frequency, recency, T by customer_id.
    top : int
        Counts from here on share the last row.

    Returns
    -------
    pandas.DataFrame
        By frequency 0 … top: actual, expected (customers).
    """
    cells = Cells.read(summary, ("frequency", "T"))
    counts = np.bincount(np.minimum(cells["frequency"], top).astype(int), weights=cells.weight, minlength=top + 1)
    spans, code = np.unique(cells["T"], return_inverse=True)
    new = Cells.of(frequency=np.zeros(len(spans)), recency=0.0, T=spans)
    new = replace(new, weight=np.bincount(code, weights=cells.weight).astype(float)).pooled()
    levels = np.arange(1.0, top + 1)[:, None] * np.ones(len(new))
    newcomers = Cells.of(frequency=np.zeros(len(new)), recency=0.0, T=0.0)
    tail = model._tail(model._p(), newcomers, new["T"], levels) @ new.weight  # noqa: SLF001 - all counts at once
    expected = -np.diff(np.concatenate([[cells.customers], tail, [0.0]]))
    return pd.DataFrame({"actual": counts, "expected": expected}, index=pd.RangeIndex(top + 1, name="frequency"))


def frequency_plot(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw :func:`frequency_frame`."""
    ax = ax if ax is not None else new_axes()
    places = np.arange(len(frame))
    with styled():
        ax.bar(places - 0.2, frame["actual"], 0.38, color=MUTED, label=tr("actual"))
        ax.bar(places + 0.2, frame["expected"], 0.38, color=ACCENT, label=tr("model"))
        ax.set_xticks(places, [*map(str, frame.index[:-1]), f"{frame.index[-1]}+"])
        text = mark("{actual:,.0f} customers have not come back; the model says {expected:,.0f}")
        title = wrapped(tr(text, actual=frame["actual"].iloc[0], expected=frame["expected"].iloc[0]))
        ax.set(xlabel=tr("repeat purchases"), ylabel=tr("customers"), title=title)
        ax.legend()
        count_axis(ax)
    return ax


def alive_matrix(model: PurchaseModel, T: float, top: int, steps: int = 40) -> pd.DataFrame:
    """Return P(alive) of customers seen for T, by repeat purchases (rows) and the time of the last one (columns)."""
    return _matrix(model.probability_alive, T, top, steps)


def purchases_matrix(model: PurchaseModel, T: float, top: int, horizon: float, steps: int = 40) -> pd.DataFrame:
    """Return the purchases expected within the horizon, as :func:`alive_matrix` returns P(alive)."""
    return _matrix(lambda grid: model.expected_purchases(grid, horizon), T, top, steps)


def _matrix(forecast: Callable[[pd.DataFrame], Any], T: float, top: int, steps: int) -> pd.DataFrame:
    if not (np.isfinite(T) and T > 0) or top < 1:
        raise ParameterError(f"T is a positive span and top at least 1; found {T} and {top}")
    recency = np.linspace(0, T, steps + 1)
    x, t_x = np.meshgrid(np.arange(1, top + 1), recency, indexing="ij")
    grid = pd.DataFrame({"frequency": x.ravel(), "recency": t_x.ravel(), "T": T})
    values = np.asarray(forecast(grid)).reshape(x.shape)
    index, columns = pd.Index(range(1, top + 1), name="frequency"), pd.Index(recency, name="recency")
    return pd.DataFrame(values, index=index, columns=columns)


def alive_matrix_plot(frame: pd.DataFrame, unit: str = "", ax: Axes | None = None) -> Axes:
    """Draw :func:`alive_matrix`."""
    text = mark("P(alive) lies between {low:.0%} and {high:.0%}, by purchases and silence")
    ax, bar = _matrix_plot(frame, tr(text, low=frame.min().min(), high=frame.max().max()), 1.0, unit, ax)
    percent_axis(bar.ax)
    return ax


def purchases_matrix_plot(frame: pd.DataFrame, unit: str = "", ax: Axes | None = None) -> Axes:
    """Draw :func:`purchases_matrix`."""
    text = mark("Between {low:.1f} and {high:.1f} purchases are expected, by purchases and silence")
    most = float(frame.max().max())
    return _matrix_plot(frame, tr(text, low=frame.min().min(), high=most), most, unit, ax)[0]


def _matrix_plot(frame: pd.DataFrame, title: str, top: float, unit: str, ax: Axes | None) -> tuple[Axes, Any]:
    """Draw a matrix over frequency and recency; return the axes and the colour bar."""
    ax = ax if ax is not None else new_axes()
    with styled():
        extent = (float(frame.columns[0]), float(frame.columns[-1]), frame.index[0] - 0.5, frame.index[-1] + 0.5)
        image = ax.imshow(
            frame.to_numpy(), origin="lower", aspect="auto", extent=extent, vmin=0, vmax=top, cmap=SEQUENTIAL
        )
        ax.grid(visible=False)
        last = tr("last purchase after the first ({unit})", unit=unit) if unit else tr("last purchase after the first")
        ax.set(xlabel=last, ylabel=tr("repeat purchases"), title=wrapped(title))
        return ax, ax.figure.colorbar(image, ax=ax)


def alive_history_plot(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw :func:`clvlib.clv.history.alive_history`: one customer's P(alive) over time, his purchases marked."""
    ax = ax if ax is not None else new_axes()
    marked = frame[frame["purchase"]]
    with styled():
        ax.plot(frame.index, frame["probability_alive"], color=ACCENT)
        ax.plot(
            marked.index, marked["probability_alive"], "o", color=WARN, label=tr("purchase"), clip_on=False, zorder=3
        )
        now = tr("This customer's P(alive) is now {chance:.0%}", chance=frame["probability_alive"].iloc[-1])
        ax.set(ylabel=tr("P(alive)"), title=wrapped(now), ylim=(0, 1))
        ax.legend(loc="lower left")
        ax.tick_params(axis="x", rotation=30)
        percent_axis(ax)
    return ax


def concentration(value: pd.Series) -> pd.DataFrame:
    """Return the Lorenz curve of value: the share of all value that the most valuable customers hold.

    Parameters
    ----------
    value : pandas.Series
        Per customer, not negative.

    Returns
    -------
    pandas.DataFrame
        ``customers`` (share, from the most valuable down) and ``value`` (share), 101 rows from 0 to 1.
    """
    if not len(value) or not value.sum() > 0:
        raise EmptyDataError(tr("no customer has any value, so there is no distribution of it"))
    ordered = np.sort(value.to_numpy(dtype=float))[::-1]
    share = np.concatenate([[0.0], np.cumsum(ordered) / ordered.sum()])
    customers = np.linspace(0, 1, 101)
    return pd.DataFrame({"customers": customers, "value": np.interp(customers, np.linspace(0, 1, len(share)), share)})


def concentration_plot(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw :func:`concentration`."""
    ax = ax if ax is not None else new_axes()
    with styled():
        ax.plot(frame["customers"], frame["value"], color=ACCENT)
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        ax.set(xlabel=tr("customers, the most valuable first"), ylabel=tr("share of all value"))
        ax.set(xlim=(0, 1), ylim=(0, 1))
        tenth = float(np.interp(0.1, frame["customers"], frame["value"]))
        ax.set_title(wrapped(tr("The most valuable tenth holds {share:.0%} of the value", share=tenth)))
        percent_axis(ax, "x")
        percent_axis(ax, "y")
    return ax


def segments_plot(result: RFM, ax: Axes | None = None) -> Axes:
    """Draw RFM segments: their share of customers beside their share of money (``result.segments``)."""
    frame = result.segments.iloc[::-1]
    ax = ax if ax is not None else new_axes(height=0.42 * len(frame) + 1.4)
    places = np.arange(len(frame))
    money, text = (
        (mark("of all spend so far"), mark("{segment}: {customers:.0%} of customers, {money:.0%} of all spend so far"))
        if result.first_counts
        else (mark("of repeat spend"), mark("{segment}: {customers:.0%} of customers, {money:.0%} of repeat spend"))
    )
    with styled():
        ax.barh(places + 0.2, frame["share"], 0.38, color=MUTED, label=tr("of customers"))
        ax.barh(places - 0.2, frame["share_of_money"], 0.38, color=WARN, label=tr(money))
        ax.set_yticks(places, [tr(name) for name in frame.index])
        name, most = max(frame.iterrows(), key=lambda item: item[1]["share_of_money"])
        ax.set_title(wrapped(tr(text, segment=tr(str(name)), customers=most["share"], money=most["share_of_money"])))
        ax.legend(loc="best")
        percent_axis(ax, "x")
    return ax
