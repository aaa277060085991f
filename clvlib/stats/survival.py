"""Time until something happens, when for some it has not happened yet."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["clustered_survival", "kaplan_meier", "survival_at"]

Array = NDArray[np.float64]


def kaplan_meier(
    durations: ArrayLike,
    observed: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    interval: str = "log-log",
) -> pd.DataFrame:
    """Share that is still waiting at each time (Kaplan & Meier 1958), with Greenwood's errors.

    Parameters
    ----------
    durations : array_like
        Time to the event, or to the end of observation; not negative.
    observed : array_like of bool
        Whether the event was seen; False where observation ended first.
    weights : array_like, optional
        How many share the row.
    level : float
        Confidence level of the pointwise limits.
    interval : {"log-log", "plain"}
        Limits on the scale of log(-log S), which stay inside [0, 1] (Kalbfleisch & Prentice), or on S itself.

    Returns
    -------
    pandas.DataFrame
        A row per distinct time, in order: ``time``, ``at_risk`` (just before), ``events``, ``censored``, ``survival``,
        ``standard_error``, ``lower``, ``upper``. Before the first row the share is 1. Where nobody is left both limits
        are those of the last time when somebody was: the estimate there has no error of its own.

    Raises
    ------
    ValueError
        Columns of unequal length or empty, times or weights that cannot be, an unknown interval.

    Examples
    --------
    >>> kaplan_meier([1, 2, 2, 3], [True, True, False, True])[["time", "at_risk", "survival"]].values.tolist()
    [[1.0, 4.0, 0.75], [2.0, 3.0, 0.5], [3.0, 1.0, 0.0]]
    """
    t, event, w = _check(durations, observed, weights, level, interval)
    times, at = np.unique(t, return_inverse=True)
    events = np.bincount(at, weights=w * event, minlength=len(times))
    leaving = np.bincount(at, weights=w, minlength=len(times))
    at_risk = np.cumsum(leaving[::-1])[::-1]
    left = at_risk - events  # exactly 0 at the last time when all of its units had the event
    survival = np.cumprod(left / at_risk)
    hazard = np.divide(events, at_risk * left, out=np.zeros_like(left), where=left > 0)
    greenwood = np.cumsum(hazard)  # the variance of log S
    z = float(stats.norm.isf((1 - level) / 2))
    lower, upper = _limits(np.asarray(survival, float), np.asarray(greenwood, float), z, interval)
    return pd.DataFrame(
        {
            "time": times,
            "at_risk": at_risk,
            "events": events,
            "censored": leaving - events,
            "survival": survival,
            "standard_error": survival * np.sqrt(greenwood),
            "lower": lower,
            "upper": upper,
        }
    )


def survival_at(curve: pd.DataFrame, times: ArrayLike) -> pd.DataFrame:
    """Read a :func:`kaplan_meier` curve at given times.

    Parameters
    ----------
    curve : pandas.DataFrame
        What :func:`kaplan_meier` returned.
    times : array_like
        Not negative. Beyond the last observed time the curve is unknown unless it has reached zero.

    Returns
    -------
    pandas.DataFrame
        ``time``, ``survival``, ``lower``, ``upper`` and ``beyond`` (True where the curve is carried past its end).

    Examples
    --------
    >>> curve = kaplan_meier([1, 2, 2, 3], [True, True, False, True])
    >>> survival_at(curve, [0.5, 2.5])["survival"].tolist()
    [1.0, 0.5]
    """
    t = np.atleast_1d(np.asarray(times, dtype=float))
    position = np.searchsorted(curve["time"].to_numpy(), t, side="right")
    out = {"time": t}
    for name in ("survival", "lower", "upper"):
        out[name] = np.concatenate([[1.0], curve[name].to_numpy()])[position]
    last = curve.iloc[-1]
    return pd.DataFrame({**out, "beyond": (t > last["time"]) & (last["survival"] > 0)})


def clustered_survival(
    durations: ArrayLike, observed: ArrayLike, groups: ArrayLike, time: float, level: float = 0.95
) -> pd.Series:
    """Share that is still waiting at one time, where units come in groups that are alike.

    The estimate is that of :func:`kaplan_meier`. Its error adds up the influence of each unit on log S within groups
    (Williams, Biometrics 51, 1995); where every group is a single unit and they are many, it is Greenwood's.

    Parameters
    ----------
    durations, observed
        As for :func:`kaplan_meier`.
    groups : array_like
        Label of each unit's group.
    time : float
        Not negative.
    level : float
        Confidence level of the limits, on the scale of log(-log S), with Student's t of one degree of freedom less than
        there are groups.

    Returns
    -------
    pandas.Series
        ``survival``, ``standard_error``, ``lower``, ``upper``, and ``beyond`` (True where nobody was watched for so
        long). Limits are missing with a single group, and where the share is 1 or 0.

    Raises
    ------
    ValueError
        As for :func:`kaplan_meier`, or not one label per unit.

    Examples
    --------
    >>> found = clustered_survival([1, 2, 2, 3], [True, True, False, True], list("aabb"), 2)
    >>> found["survival"], round(found["standard_error"], 4)
    (0.5, 0.5)
    """
    t, event, _ = _check(durations, observed, None, level, "log-log")
    labels = pd.factorize(np.asarray(groups))[0]
    if len(labels) != len(t) or (labels < 0).any():
        raise ValueError(f"a label for each of the {len(t)} units is needed; found {len(labels)}, some missing")
    curve = kaplan_meier(t, event, None, level)
    until = curve[curve["time"] <= time]
    survival = float(until["survival"].iloc[-1]) if len(until) else 1.0
    beyond = bool(time > t.max() and survival > 0)
    ends = {"survival": survival, "standard_error": np.nan, "lower": np.nan, "upper": np.nan, "beyond": beyond}
    number = int(labels.max()) + 1
    if not 0 < survival < 1 or number < 2:
        return pd.Series(ends)
    left = (until["at_risk"] - until["events"]).to_numpy()
    step = until["events"].to_numpy() / (until["at_risk"].to_numpy() * left)
    passed = np.searchsorted(until["time"].to_numpy(), t, side="right")
    own = np.where(event & (t <= time), 1 / left[np.minimum(passed, len(left)) - 1], 0.0)
    influence = np.concatenate([[0.0], np.cumsum(step)])[passed] - own
    sums = np.bincount(labels, influence)
    error = float(np.sqrt(number / (number - 1) * (sums @ sums)))
    factor = np.exp(stats.t.isf((1 - level) / 2, number - 1) * error / -np.log(survival))
    ends |= {"standard_error": survival * error, "lower": survival**factor, "upper": survival ** (1 / factor)}
    return pd.Series(ends)


def _limits(survival: Array, greenwood: Array, z: float, interval: str) -> tuple[Array, Array]:
    inner = (survival > 0) & (survival < 1)
    s = np.where(inner, survival, 0.5)
    if interval == "plain":
        half = z * s * np.sqrt(greenwood)
        lower, upper = np.maximum(s - half, 0), np.minimum(s + half, 1)
    else:
        factor = np.exp(z * np.sqrt(greenwood) / -np.log(s))
        lower, upper = s**factor, s ** (1 / factor)
    # no event yet: the estimate is 1 and has no error; nobody left: keep the last limits that had one
    lower, upper = np.where(survival == 1, 1.0, lower), np.where(survival == 1, 1.0, upper)
    gone = survival == 0
    if gone.any():
        first = int(np.argmax(gone))
        lower[first:] = 0.0
        upper[first:] = upper[first - 1] if first else 1.0
    return lower, upper


def _check(
    durations: ArrayLike, observed: ArrayLike, weights: ArrayLike | None, level: float, interval: str
) -> tuple[Array, NDArray[np.bool_], Array]:
    t, event = np.asarray(durations, dtype=float), np.asarray(observed, dtype=bool)
    w = np.ones_like(t) if weights is None else np.asarray(weights, dtype=float)
    if not (t.ndim == 1 and len(t) and t.shape == event.shape == w.shape):
        raise ValueError(
            f"durations, observed and weights must be equally long, not empty: {t.shape} {event.shape} {w.shape}"
        )
    if not (np.all(t >= 0) and np.isfinite(t).all() and np.all(w > 0) and np.isfinite(w).all()):
        raise ValueError("durations must be finite and not negative, weights finite and positive")
    if not 0 < level < 1 or interval not in {"log-log", "plain"}:
        raise ValueError(f"level lies in (0, 1) and interval is 'log-log' or 'plain'; found {level} and {interval!r}")
    return t, event, w
