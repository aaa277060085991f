"""What goes with leaving at a step: odds ratios of what was there at the step before, each adjusted for the others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from clvlib.data.engine import Table, as_table
from clvlib.errors import ConvergenceWarning, EmptyDataError, ParameterError, ThinDataWarning
from clvlib.funnel.chains import Chains, chains
from clvlib.funnel.kernel import question
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.words import mark, tr

__all__ = ["Drivers", "drivers"]

_HOUR = 3_600_000_000
_DAYPARTS = np.array([mark("00 to 06 h"), mark("06 to 12 h"), mark("12 to 18 h"), mark("18 to 24 h")], object)
_DAYS = np.array([mark("weekday"), mark("weekend")], object)
_OTHER, _PART, _DAY = mark("other"), mark("part of day"), mark("day")


@dataclass(frozen=True)
class Drivers(Result):
    """Odds ratios of going on from one step to the next.

    ``table`` has a row per level of each feature (the rarer one, where there are two), those that stand out most first:
    ``feature``, ``level``, ``people`` at the step before, ``rate`` (their share that went on, not adjusted),
    ``odds_ratio`` against the feature's other levels together with ``lower`` and ``upper``, ``z``, and ``p_value``,
    adjusted for all rows (Holm). An interval leaves 1 out exactly when its adjusted p-value is at most ``1 - level``.

    Attributes
    ----------
    step, before : str
        The step, and the one before it.
    people, went_on : int
        Who had made the step before, with their window over, and how many of them made the step.
    level : float
        Confidence level, for all rows together.
    left_out : int
        People with a level so rare that nothing can be said of it.
    """

    step: str
    before: str
    people: int
    went_on: int
    level: float
    left_out: int

    @property
    def found(self) -> pd.DataFrame:
        """The rows that differ from their feature's other levels by more than chance explains."""
        return self.table[self.table["p_value"] <= 1 - self.level]

    @property
    def sentence(self) -> str:
        """What goes most clearly with leaving or going on, in words."""
        if self.found.empty:
            features = tr(", ").join(map(tr, dict.fromkeys(self.table["feature"].sort_values())))
            return tr(
                "Nothing among {features} goes with leaving before {step} by more than chance explains.",
                features=features,
                step=tr(self.step),
            )
        row = self.found.iloc[0]
        return tr(
            "The odds of {step} after {before} are {odds:.2f} ({lower:.2f} to {upper:.2f}) times as high at {feature} "
            "{level} as elsewhere.",
            step=tr(self.step),
            before=tr(self.before),
            odds=row["odds_ratio"],
            lower=row["lower"],
            upper=row["upper"],
            feature=tr(row["feature"]),
            level=tr(row["level"]),
        )


def drivers(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    step: str,
    by: str | Sequence[str],
    window: str | pd.Timedelta = "7D",
    *,
    level: float = 0.95,
    least: int = 10,
    **options: Any,
) -> Drivers:
    """Explain who goes on from a step to the next by a logistic regression on what was there at the step before.

    The features are the columns of ``by`` at the event by which each unit first reached the step before, and the part
    of the day and the week in which it fell; so they are known before anybody goes on or leaves. They are counted
    before they are fitted, so the cost grows with their combinations and not with the people. Each odds ratio compares
    a level with the mean log odds of the feature's others, by their people, and holds the other features fixed; it
    describes an association, and what is not among the features may be behind it.

    Parameters
    ----------
    events, steps, window
        As for :func:`clvlib.funnel.kernel.funnel`.
    step : str
        Any required step but the first.
    by : str or sequence of str
        Columns; a missing value is the level ``unknown``.
    level : float
        Confidence level, for all rows together (Holm).
    least : int
        Levels with fewer people who went on, or fewer who did not, are taken together as ``other``.
    **options
        For :func:`~clvlib.funnel.kernel.funnel`: ``as_of``, ``starts``, ``unit``, ``gaps`` and the like.

    Returns
    -------
    Drivers

    Raises
    ------
    ParameterError
        ``step`` is not a required step after the first, or ``by`` names no column, one twice, or a name that is used
        here: ``part of day``, ``day``.
    EmptyDataError
        Nobody made the step before, or no feature has two levels to compare.

    Warns
    -----
    ThinDataWarning
        A feature says the same as those before it and is left out.
    ConvergenceWarning
        The features together foretell the step for some of the people for sure, so that odds have no end.

    Examples
    --------
    >>> log = pd.DataFrame({"person_id": range(200), "event": "view", "platform": ["x"] * 120 + ["y"] * 80,
    ...                     "occurred_at": pd.Timestamp("2026-11-02")})
    >>> orders = log[::2].assign(event="order")
    >>> orders = pd.concat([orders[orders["platform"] == "x"], orders[orders["platform"] == "y"].head(20)])
    >>> found = drivers(pd.concat([log, orders]), ["view", "order"], "order", "platform")  # 60 of 120, 20 of 80
    >>> found.table[["feature", "level", "rate", "odds_ratio"]].round(3)
        feature level  rate  odds_ratio
    0  platform     y  0.25       0.333
    """
    query, _ = question(steps, window, by, attribution="step", **options)
    _check(query.by, level, least)
    if step not in [query.steps[k] for k in query.required[1:]]:
        raise ParameterError(f"step: {step!r} is not a required step with one before it")
    at = query.steps.index(step)
    found = chains(as_table(events, "events"), query)
    counts, people = _counts(found, query.before[at], at)
    if counts.empty:
        raise EmptyDataError(tr("nobody made the step before '{step}' with a window that is over", step=tr(step)))
    features = [str(c) for c in counts.columns.drop(["people", "went_on"])]
    counts = _pooled(counts, features, least)
    table = _table(counts, features, level)
    return Drivers(
        step=step, before=query.steps[query.before[at]], people=int(counts["people"].sum()),
        went_on=int(counts["went_on"].sum()), level=level, left_out=people - int(counts["people"].sum()), table=table,
    )  # fmt: skip


def _check(by: tuple[str, ...], level: float, least: int) -> None:
    if not by or len(set(by)) < len(by) or {_PART, _DAY, "people", "went_on"} & set(by):
        raise ParameterError(f"by: columns are needed, each once, and none called like what is added; found {by}")
    if not 0 < level < 1:
        raise ParameterError(f"level: {level} is no share between 0 and 1, such as 0.95")
    if least < 1:
        raise ParameterError(f"least: {least} people cannot be compared; at least 1 is needed")


def _counts(found: Chains, before: int, at: int) -> tuple[pd.DataFrame, int]:
    """People and those who went on, a row per combination of features; and how many there are in all."""
    rows = found.closed & (found.times[:, before] >= 0)
    hours = found.first[rows, before] // _HOUR
    weekend = (hours // 24 + 3) % 7 >= 5  # 1970 began on a Thursday
    code = (found.segment[rows, before] * 4 + hours % 24 // 6) * 2 + weekend
    kinds, group = np.unique(code, return_inverse=True)
    frame = found.segments.iloc[kinds // 8].reset_index(drop=True).astype(object)
    went_on = np.bincount(group, weights=found.times[rows, at] >= 0, minlength=len(kinds)).astype(np.int64)
    frame = frame.assign(**{_PART: _DAYPARTS[kinds // 2 % 4], _DAY: _DAYS[kinds % 2]})
    return frame.assign(people=np.bincount(group, minlength=len(kinds)), went_on=went_on), int(rows.sum())


def _pooled(counts: pd.DataFrame, features: list[str], least: int) -> pd.DataFrame:
    """Take rare levels together; leave out who is in a level that is rare even so, until all have enough."""
    while True:
        kept = np.ones(len(counts), bool)
        for feature in features:
            counts = counts.assign(**{feature: counts[feature].mask(_rare(counts, feature, least), _OTHER)})
            kept &= ~_rare(counts, feature, least)
        if kept.all():
            return counts
        counts = counts[kept].reset_index(drop=True)


def _rare(counts: pd.DataFrame, feature: str, least: int) -> pd.Series:
    level = pd.factorize(counts[feature])[0]
    people, went_on = (np.bincount(level, counts[name])[level] for name in ("people", "went_on"))
    return pd.Series((went_on < least) | (people - went_on < least), counts.index)


def _table(counts: pd.DataFrame, features: list[str], level: float) -> pd.DataFrame:
    design, rows, contrasts = np.ones((len(counts), 1)), [], []
    for feature in features:
        sums = counts.groupby(feature)[["people", "went_on"]].sum().sort_values("people", kind="stable")
        if len(sums) == 1:
            continue
        wider = np.column_stack([design, *(counts[feature].eq(name) for name in sums.index[:-1])])
        if np.linalg.matrix_rank(wider) < wider.shape[1]:
            text = tr("'{feature}' says the same as the features before it and is left out", feature=tr(feature))
            warnings.warn(text, ThinDataWarning, stacklevel=3)
            continue
        shown = 1 if len(sums) == 2 else len(sums)  # of two levels, one says what the other does
        rows.append(sums.rename_axis("level").reset_index().assign(feature=feature).head(shown))
        contrasts.append(_against_others(sums["people"].to_numpy(), design.shape[1])[:shown])
        design = wider
    if not rows:
        raise EmptyDataError(tr("no feature has two levels with enough people who went on and enough who did not"))
    table = pd.concat(rows, ignore_index=True)
    contrast = np.zeros((len(table), design.shape[1]))
    for k, part in enumerate(row for block in contrasts for row in block):
        contrast[k, : len(part)] = part
    estimate, error = _fit(design, contrast, counts["went_on"].to_numpy(), counts["people"].to_numpy())
    z = estimate / error
    p_values = 2 * stats.norm.sf(np.abs(z))
    reach = stats.norm.isf(agreeing_alpha(p_values, 1 - level).to_numpy() / 2) * error
    with np.errstate(over="ignore"):  # odds without end
        odds = {"odds_ratio": np.exp(estimate), "lower": np.exp(estimate - reach), "upper": np.exp(estimate + reach)}
    rate = table["went_on"] / table["people"]
    table = table.assign(rate=rate, **odds, z=z, p_value=adjust(p_values).to_numpy())
    table = table.sort_values("z", key=lambda column: -column.abs(), kind="stable", ignore_index=True)
    columns = ["feature", "level", "people", "rate", "odds_ratio", "lower", "upper", "z", "p_value"]
    return table[columns].astype({"feature": "str", "level": "str"})


def _against_others(people: np.ndarray, before: int) -> np.ndarray:
    """Contrasts of each level with the mean of the others; the last level is the one without a column.

    ``before`` is how many columns the design has before those of this feature.
    """
    share = people / people.sum()
    others = np.tile(-share, (len(share), 1)) / (1 - share)[:, None]
    np.fill_diagonal(others, 1.0)
    return np.column_stack([np.zeros((len(share), before)), others[:, :-1]])


def _fit(
    design: np.ndarray, contrast: np.ndarray, went_on: np.ndarray, people: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Contrasts of the log odds and their standard errors, by maximum likelihood on counts."""
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what statsmodels says of separation is said below, once
        fit = GLM(np.column_stack([went_on, people - went_on]), design, family=Binomial()).fit()
    estimate = contrast @ np.asarray(fit.params)
    error = np.sqrt(np.einsum("ij,jk,ik->i", contrast, np.asarray(fit.cov_params()), contrast))
    if not (fit.converged and np.isfinite(error).all() and (error < 10).all()):
        text = tr(
            "some features together foretell the step for sure, so their odds ratios have no end; use fewer of them"
        )
        warnings.warn(text, ConvergenceWarning, stacklevel=4)
    return estimate, error
