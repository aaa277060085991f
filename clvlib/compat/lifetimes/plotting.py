"""lifetimes.plotting: its figures, in pyplot's current figure as there, with numbers from the engine."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from clvlib.clv.plots import frequency_frame
from clvlib.compat.lifetimes.utils import calculate_alive_path, expected_cumulative_transactions, unit_of_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_calibration_purchases_vs_holdout_purchases",
    "plot_cumulative_transactions",
    "plot_dropout_rate_heterogeneity",
    "plot_expected_repeat_purchases",
    "plot_frequency_recency_matrix",
    "plot_history_alive",
    "plot_incremental_transactions",
    "plot_period_transactions",
    "plot_probability_alive_matrix",
    "plot_transaction_rate_heterogeneity",
]

_KINDS = {
    "frequency_cal": "Purchases in calibration period",
    "recency_cal": "Age of customer at last purchase",
    "T_cal": "Age of customer at the end of calibration period",
    "time_since_last_purchase": "Time since user made last purchase",
}


def _axes(ax: Axes | None = None) -> Axes:
    from matplotlib import pyplot as plt

    return plt.subplot(111) if ax is None else ax


def plot_period_transactions(
    model: Any,
    max_frequency: int = 7,
    title: str = "Frequency of Repeat Transactions",
    xlabel: str = "Number of Calibration Period Transactions",
    ylabel: str = "Customers",
    **kwargs: Any,
) -> Axes:
    """Draw how many customers made 0, 1, 2 ... repeat purchases, and how many the model expects.

    Parameters
    ----------
    model : fitter
        A fitted fitter of purchases.
    max_frequency : int
        How many of the counts, from 0.
    title, xlabel, ylabel : str
        Captions.
    **kwargs
        For :meth:`pandas.DataFrame.plot`; ``label`` names the two rows of bars.

    Returns
    -------
    matplotlib Axes
    """
    labels = kwargs.pop("label", ["Actual", "Model"])
    summary = model.data.rename(columns={"weights": "n", "n_periods": "T"})
    frame = frequency_frame(model.engine(), summary, top=max_frequency).iloc[:max_frequency]
    ax: Axes = frame.set_axis(labels, axis=1).plot(kind="bar", **kwargs)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.tick_params(axis="x", rotation=0)
    ax.legend()
    return ax


def plot_calibration_purchases_vs_holdout_purchases(
    model: Any, calibration_holdout_matrix: pd.DataFrame, kind: str = "frequency_cal", n: int = 7, **kwargs: Any
) -> Axes:
    """Draw the holdout's purchases per customer, made and predicted, by what the calibration knew.

    Parameters
    ----------
    model : fitter
        Fitted to the calibration.
    calibration_holdout_matrix : pandas.DataFrame
        From :func:`calibration_and_holdout_data`.
    kind : {"frequency_cal", "recency_cal", "T_cal", "time_since_last_purchase"}
        What customers are grouped by.
    n : int
        How many groups, from the least value.
    **kwargs
        For :meth:`pandas.DataFrame.plot`.

    Returns
    -------
    matplotlib Axes
    """
    frame = calibration_holdout_matrix
    predicted = model.predict(frame["duration_holdout"], frame["frequency_cal"], frame["recency_cal"], frame["T_cal"])
    by = frame["T_cal"] - frame["recency_cal"] if kind == "time_since_last_purchase" else frame[kind]
    table = frame[["frequency_holdout"]].assign(model_predictions=predicted).groupby(by).mean().iloc[:n]
    ax: Axes = table.plot(**kwargs)
    ax.set(
        title="Actual Purchases in Holdout Period vs Predicted Purchases",
        xlabel=_KINDS[kind],
        ylabel="Average of Purchases in Holdout Period",
    )
    ax.legend()
    return ax


def _matrix(values: np.ndarray, title: str, xlabel: str, ylabel: str, kwargs: dict[str, Any]) -> Axes:
    ax = _axes()
    image = ax.imshow(values, **kwargs)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    rows, columns = values.shape
    ax.set_aspect(columns / rows)
    ax.figure.colorbar(image, ax=ax)
    return ax


def plot_frequency_recency_matrix(
    model: Any,
    T: float = 1,
    max_frequency: int | None = None,
    max_recency: int | None = None,
    title: str | None = None,
    xlabel: str = "Customer's Historical Frequency",
    ylabel: str = "Customer's Recency",
    **kwargs: Any,
) -> Axes:
    """Draw the purchases expected in the next T, by frequency and recency.

    Parameters
    ----------
    model : fitter
        A fitted fitter of purchases.
    T : float
        The coming span.
    max_frequency, max_recency : int, optional
        The last column and row; by default the greatest frequency and T of the data.
    title, xlabel, ylabel : str
        Captions.
    **kwargs
        For ``imshow``.

    Returns
    -------
    matplotlib Axes
    """
    x, t_x = model.grid(max_frequency, max_recency)
    values = model.conditional_expected_number_of_purchases_up_to_time(T, x, t_x, t_x.max())
    if title is None:
        units = "Unit" if T == 1 else "Units"
        title = f"Expected Number of Future Purchases for {T} {units} of Time,\nby Frequency and Recency of a Customer"
    return _matrix(values, title, xlabel, ylabel, kwargs)


def plot_probability_alive_matrix(
    model: Any,
    max_frequency: int | None = None,
    max_recency: int | None = None,
    title: str = "Probability Customer is Alive,\nby Frequency and Recency of a Customer",
    xlabel: str = "Customer's Historical Frequency",
    ylabel: str = "Customer's Recency",
    **kwargs: Any,
) -> Axes:
    """Draw P(alive), by frequency and recency.

    Parameters are those of :func:`plot_frequency_recency_matrix`.
    """
    values = model.conditional_probability_alive_matrix(max_frequency, max_recency)
    return _matrix(values, title, xlabel, ylabel, kwargs)


def plot_expected_repeat_purchases(
    model: Any,
    title: str = "Expected Number of Repeat Purchases per Customer",
    xlabel: str = "Time Since First Purchase",
    ax: Axes | None = None,
    label: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw a new customer's expected repeat purchases over time: as long as observed, and half as long again, dashed.

    Parameters
    ----------
    model : fitter
        A fitted fitter of purchases.
    title, xlabel : str
        Captions.
    ax : matplotlib Axes, optional
        Where to draw.
    label : str, optional
        The line's name in a legend.
    **kwargs
        For ``plot``.

    Returns
    -------
    matplotlib Axes
    """
    ax = _axes(ax)
    seen = float(model.data["T"].max())
    expected = model.expected_number_of_purchases_up_to_time
    times, beyond = np.linspace(0, seen, 100), np.linspace(seen, 1.5 * seen, 100)
    (line,) = ax.plot(times, expected(times), label=label, **kwargs)
    ax.plot(beyond, expected(beyond), **{"color": line.get_color(), **kwargs, "linestyle": "--"})
    ax.set(title=title, xlabel=xlabel)
    if label is not None:
        ax.legend(loc="lower right")
    return ax


def plot_history_alive(
    model: Any,
    t: int,
    transactions: pd.DataFrame,
    datetime_col: str,
    freq: str = "D",
    start_date: str | dt.date | None = None,
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw how one customer's P(alive) went, and when purchases were made.

    Parameters
    ----------
    model : fitter
        A fitted fitter of purchases.
    t : int
        Periods since the first purchase.
    transactions : pandas.DataFrame
        The purchases of one customer.
    datetime_col : str
        Its column of dates.
    freq : str
        The period.
    start_date : str or date, optional
        Where the time axis begins.
    ax : matplotlib Axes, optional
        Where to draw.
    **kwargs
        For ``plot``.

    Returns
    -------
    matplotlib Axes
    """
    ax = _axes(ax)
    bought = pd.to_datetime(transactions[datetime_col]).dt.to_period(unit_of_time(freq))
    path = calculate_alive_path(model, transactions, datetime_col, t, freq)
    times = pd.period_range(bought.min(), periods=len(path)).to_timestamp()
    ax.plot(times, path, **{"label": "P_alive", **kwargs})
    for number, time in enumerate(sorted(bought.unique())):
        name = "_" if number else "purchases"  # named once in the legend
        ax.axvline(time.to_timestamp(), color="black", linestyle="--", linewidth=1, label=name)
    limits: Any = (times[0] if start_date is None else pd.Timestamp(start_date), times[-1])
    ax.set_xlim(limits)
    ax.set(title="History of P_alive", ylabel="P_alive", ylim=(0, 1.05))
    ax.tick_params(axis="x", rotation=30)
    ax.legend(loc="lower left")
    return ax


def _tracking(table: pd.DataFrame, t_cal: float, captions: dict[str, str], ax: Axes | None, kwargs: Any) -> Axes:
    axes: Axes = table.plot(ax=ax, title=captions["title"], **kwargs)
    dates = isinstance(table.index, pd.PeriodIndex)
    axes.axvline(table.index[int(t_cal)].ordinal if dates else t_cal, color="red", linestyle="--")
    axes.set(xlabel="date" if dates else captions["xlabel"], ylabel=captions["ylabel"])
    return axes


def plot_cumulative_transactions(
    model: Any,
    transactions: pd.DataFrame,
    datetime_col: str,
    customer_id_col: str,
    t: int,
    t_cal: float,
    datetime_format: str | None = None,
    freq: str = "D",
    set_index_date: bool = False,  # noqa: FBT001, FBT002 - lifetimes' signature
    title: str = "Tracking Cumulative Transactions",
    xlabel: str = "day",
    ylabel: str = "Cumulative Transactions",
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw all customers' repeat purchases so far, and those expected.

    Parameters
    ----------
    model : fitter
        A fitted fitter of purchases.
    transactions, datetime_col, customer_id_col, t, datetime_format, freq, set_index_date
        As in :func:`expected_cumulative_transactions`.
    t_cal : float
        Where a line marks the end of what the model was fitted to.
    title, xlabel, ylabel : str
        Captions.
    ax : matplotlib Axes, optional
        Where to draw.
    **kwargs
        For :meth:`pandas.DataFrame.plot`.

    Returns
    -------
    matplotlib Axes
    """
    table = expected_cumulative_transactions(
        model, transactions, datetime_col, customer_id_col, t, datetime_format, freq, set_index_date=set_index_date
    )
    return _tracking(table, t_cal, {"title": title, "xlabel": xlabel, "ylabel": ylabel}, ax, kwargs)


def plot_incremental_transactions(
    model: Any,
    transactions: pd.DataFrame,
    datetime_col: str,
    customer_id_col: str,
    t: int,
    t_cal: float,
    datetime_format: str | None = None,
    freq: str = "D",
    set_index_date: bool = False,  # noqa: FBT001, FBT002 - lifetimes' signature
    title: str = "Tracking Daily Transactions",
    xlabel: str = "day",
    ylabel: str = "Transactions",
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw all customers' repeat purchases per period, and those expected.

    Parameters are those of :func:`plot_cumulative_transactions`.
    """
    table = expected_cumulative_transactions(
        model, transactions, datetime_col, customer_id_col, t, datetime_format, freq, set_index_date=set_index_date
    )
    return _tracking(table.diff(), t_cal, {"title": title, "xlabel": xlabel, "ylabel": ylabel}, ax, kwargs)


def _density(distribution: Any, captions: dict[str, Any], kwargs: dict[str, Any]) -> Axes:
    from matplotlib import pyplot as plt

    ax = _axes()
    values = np.linspace(0, distribution.ppf(0.99), 100)
    plt.suptitle(captions["suptitle"], fontsize=captions["size"], fontweight="bold")
    ax.plot(values, distribution.pdf(values), **kwargs)
    ax.set_title(f"mean: {distribution.mean():.3f}, var: {distribution.var():.3f}")
    ax.set(xlabel=captions["xlabel"], ylabel=captions["ylabel"])
    return ax


def plot_transaction_rate_heterogeneity(
    model: Any,
    suptitle: str = "Heterogeneity in Transaction Rate",
    xlabel: str = "Transaction Rate",
    ylabel: str = "Density",
    suptitle_fontsize: float = 14,
    **kwargs: Any,
) -> Axes:
    """Draw how purchase rates differ between customers: the gamma distribution of BG, MBG and Pareto/NBD.

    Parameters
    ----------
    model : fitter
        A fitted fitter with r and alpha.
    suptitle, xlabel, ylabel : str
        Captions.
    suptitle_fontsize : float
        In points.
    **kwargs
        For ``plot``.

    Returns
    -------
    matplotlib Axes
    """
    r, alpha = model.params_["r"], model.params_["alpha"]
    captions = {"suptitle": suptitle, "size": suptitle_fontsize, "xlabel": xlabel, "ylabel": ylabel}
    return _density(stats.gamma(r, scale=1 / alpha), captions, kwargs)


def plot_dropout_rate_heterogeneity(
    model: Any,
    suptitle: str = "Heterogeneity in Dropout Probability",
    xlabel: str = "Dropout Probability p",
    ylabel: str = "Density",
    suptitle_fontsize: float = 14,
    **kwargs: Any,
) -> Axes:
    """Draw how the chance to leave after a purchase differs between customers: the beta distribution of BG and MBG/NBD.

    Parameters are those of :func:`plot_transaction_rate_heterogeneity`, for a fitter with a and b.
    """
    captions = {"suptitle": suptitle, "size": suptitle_fontsize, "xlabel": xlabel, "ylabel": ylabel}
    return _density(stats.beta(model.params_["a"], model.params_["b"]), captions, kwargs)
