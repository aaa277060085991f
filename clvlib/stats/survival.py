"""Time until something happens, when for some it has not happened yet."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.stats.proportions import proportion_interval

__all__ = [
    "clustered_survival",
    "cumulative_incidence",
    "kaplan_meier",
    "share_by",
    "survival_at",
    "survival_quantile",
]

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
    z = float(-special.ndtri((1 - level) / 2))
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
    factor = np.exp(-special.stdtrit(number - 1, (1 - level) / 2) * error / -np.log(survival))
    ends |= {"standard_error": survival * error, "lower": survival**factor, "upper": survival ** (1 / factor)}
    return pd.Series(ends)


def survival_quantile(curve: pd.DataFrame, share: float = 0.5) -> tuple[float, float, float]:
    """Time by which a ``share`` has had the event, with limits from the pointwise ones (Brookmeyer & Crowley 1982).

    Parameters
    ----------
    curve : pandas.DataFrame
        What :func:`kaplan_meier` returned; its level is that of the limits.
    share : float
        Such as 0.5 for the median.

    Returns
    -------
    tuple of float
        The time, its lower and its upper limit; infinite where the curve does not come so far.

    Raises
    ------
    ValueError
        ``share`` does not lie between 0 and 1.

    Examples
    --------
    >>> survival_quantile(kaplan_meier([1, 2, 2, 3], [True, True, False, True]))[0]
    2.0
    """
    if not 0 < share < 1:
        raise ValueError(f"a quantile is that of a share between 0 and 1, such as 0.5; found {share}")
    times = curve["time"].to_numpy(float)

    def first(column: str) -> float:
        low = curve[column].to_numpy() <= 1 - share + 1e-12
        return float(times[np.argmax(low)]) if low.any() else float("inf")

    return first("survival"), first("lower"), first("upper")


def cumulative_incidence(
    durations: ArrayLike,
    cause: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    interval: str = "log-log",
) -> pd.DataFrame:
    """Share to which each of several things has happened, where the first of them rules out the others.

    The estimator of Aalen & Johansen (1978). One minus Kaplan-Meier, with the other causes as censored, would say what
    happened if the others did not exist, and adds up to more than one.

    Parameters
    ----------
    durations : array_like
        Time to the first event of any cause, or to the end of observation; not negative.
    cause : array_like of str
        What happened; empty text where observation ended first.
    weights : array_like, optional
        How many share the row.
    level : float
        Confidence level of the pointwise limits.
    interval : {"log-log", "plain"}
        Limits on the scale of log(-log(1 - F)), or on F itself; with one cause those of :func:`kaplan_meier`.

    Returns
    -------
    pandas.DataFrame
        A row per ``cause`` and distinct ``time``: ``at_risk`` (just before), ``events`` of the cause, ``decided``
        (events of any cause so far), ``incidence``, ``open`` (share to which nothing has happened yet),
        ``standard_error``, ``lower``, ``upper``.

    Raises
    ------
    ValueError
        As :func:`kaplan_meier`; or nothing happened to anybody.

    Notes
    -----
    The variance takes the increments at each time as multinomial (Betensky & Schoenfeld 2001, of Greenwood's type;
    Allignol, Schumacher & Beyersmann 2010): without censoring it is F (1 - F) / n, with one cause Greenwood's.

    Examples
    --------
    >>> curve = cumulative_incidence([1, 2, 2, 3], ["kept", "returned", "", "kept"])
    >>> curve.loc[curve["cause"] == "returned", "incidence"].tolist()
    [0.0, 0.25, 0.25]
    """
    named = np.asarray(cause, dtype=str)
    t, event, w = _check(durations, named != "", weights, level, interval)
    causes = np.unique(named[event])
    if not len(causes):
        raise ValueError("nothing happened to anybody, so there is no cause whose incidence could be estimated")
    times, at = np.unique(t, return_inverse=True)
    leaving = np.bincount(at, weights=w, minlength=len(times))
    at_risk = np.cumsum(leaving[::-1])[::-1]
    every = np.bincount(at, weights=w * event, minlength=len(times))
    survival = np.cumprod((at_risk - every) / at_risk)
    before = np.concatenate([[1.0], survival[:-1]])
    z = float(-special.ndtri((1 - level) / 2))
    parts = []
    for name in causes:
        events = np.bincount(at, weights=w * (named == name), minlength=len(times))
        incidence = np.minimum(np.cumsum(before * events / at_risk), 1.0)
        variance = _incidence_variance(events / at_risk, every / at_risk, np.asarray(at_risk, float), before, incidence)
        rest = np.where(incidence < 1 - 1e-12, 1 - incidence, 0.0)  # a sum may miss 1 by a digit
        of_log = np.divide(variance, rest**2, out=np.zeros_like(rest), where=rest > 0)
        lower, upper = _limits(rest, of_log, z, interval)
        parts.append(
            pd.DataFrame(
                {
                    "cause": name,
                    "time": times,
                    "at_risk": at_risk,
                    "events": events,
                    "decided": np.cumsum(every),
                    "incidence": incidence,
                    "open": survival,
                    "standard_error": np.sqrt(variance),
                    "lower": 1 - upper,
                    "upper": 1 - lower,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def share_by(curve: pd.DataFrame, at: float, level: float = 0.95) -> dict[str, float]:
    """Share that has had the event by a time, with Wilson's limits at the effective number of units.

    Pointwise limits of a curve have no width where nothing has happened yet. The effective number is that of a plain
    proportion with the curve's variance (Dorey & Korn 1987), and where the share is 0 or 1, that of the units whose
    fate by then is known.

    Parameters
    ----------
    curve : pandas.DataFrame
        What :func:`kaplan_meier` returned, or the rows of one cause of :func:`cumulative_incidence`.
    at : float
        The time; an event at it counts.
    level : float
        Confidence level.

    Returns
    -------
    dict of str to float
        ``estimate``, ``lower``, ``upper`` and ``units`` (the effective number). NaN, and 0 units, where nobody has been
        followed for so long and the curve has not ended: the share is not known.

    Examples
    --------
    >>> share_by(kaplan_meier([1, 2, 3, 4], [True, False, True, False]), 3)["estimate"]
    0.625
    """
    time = curve["time"].to_numpy(float)
    place = int(np.searchsorted(time, at, side="right"))
    competing = "incidence" in curve
    row = curve.iloc[place - 1] if place else None
    waiting = 1.0 if row is None else float(row["open"] if competing else row["survival"])
    if waiting > 1e-12 and at > time[-1]:
        return {"estimate": np.nan, "lower": np.nan, "upper": np.nan, "units": 0.0}
    share = 0.0 if row is None else float(row["incidence"] if competing else 1 - row["survival"])
    variance = 0.0 if row is None else float(row["standard_error"]) ** 2
    if 0 < share < 1 and variance > 0:
        units = share * (1 - share) / variance
    else:
        until = int(np.searchsorted(time, at, side="left"))  # who was watched up to then, and who was decided before
        followed = float(curve["at_risk"].iloc[until]) if until < len(time) else 0.0
        before = curve["decided"].iloc[until - 1] if competing and until else curve["events"].iloc[:until].sum()
        units = followed + float(before)
    limits = proportion_interval(share * units, units, level).iloc[0]
    return {"estimate": share, "lower": float(limits["lower"]), "upper": float(limits["upper"]), "units": units}


def _incidence_variance(own: Array, every: Array, at_risk: Array, before: Array, incidence: Array) -> Array:
    """Variance of an Aalen-Johansen estimate at each time, as sums of what each earlier time adds.

    An increment of the own cause at s moves F(t) by S(s-) - (F(t) - F(s)) / (1 - a(s)), one of another cause by the
    second part alone; a is the share that leaves at s. Written out in powers of F(t), one pass does for all t.
    """
    stay = 1 - every
    inner = stay > 1e-15
    r = np.divide(1.0, stay, out=np.zeros_like(stay), where=inner)  # where all leave, nothing comes after
    other = every - own
    p, q = before + incidence * r, incidence * r
    mean = own * p + other * q
    constant = (own * p**2 + other * q**2 - mean**2) / at_risk
    linear = np.where(inner, -2 * mean, 0.0) / at_risk
    square = every * r / at_risk
    plus = np.cumsum(constant) + incidence**2 * np.cumsum(square)
    total = plus + incidence * np.cumsum(linear)
    return np.where(total > 1e-13 * plus, total, 0.0)  # what is left of sums that cancel is no variance


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
