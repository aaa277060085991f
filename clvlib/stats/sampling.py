"""Before and beside a test: how many people it takes, what so many can show, and whether they were split as planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

__all__ = [
    "SampleRatio",
    "detectable_difference",
    "detectable_mean_difference",
    "highest_baseline",
    "power_proportions",
    "sample_ratio",
    "sample_ratios",
    "sample_size_means",
    "sample_size_proportions",
]


def sample_size_proportions(p1: float, p2: float, power: float = 0.8, alpha: float = 0.05, ratio: float = 1.0) -> float:
    """Units needed in the first group to tell two proportions apart, as R's ``power.prop.test`` has it.

    Parameters
    ----------
    p1, p2 : float
        The proportions expected.
    power : float
        Chance of finding the difference.
    alpha : float
        Two-sided error of the first kind.
    ratio : float
        Size of the second group as a multiple of the first.

    Returns
    -------
    float
        Not rounded; take the next whole number.

    Raises
    ------
    ValueError
        Equal proportions, or a figure out of range.

    Examples
    --------
    >>> round(sample_size_proportions(0.10, 0.132), 3)
    1570.804
    """
    _check_rates(alpha, power, p1, p2)
    if p1 == p2 or not ratio > 0:
        raise ValueError(
            f"no sample is large enough for p1={p1}, p2={p2} at ratio={ratio}; they must differ, ratio > 0"
        )
    null, alternative = _unit_errors(p1, p2, ratio)
    z = -float(special.ndtri(alpha / 2)) * null - float(special.ndtri(1 - power)) * alternative
    return float((z / (p1 - p2)) ** 2)


def power_proportions(n1: float, n2: float, p1: float, p2: float, alpha: float = 0.05) -> float:
    """Chance that a two-sided test at ``alpha`` tells two proportions apart, R's ``power.prop.test``.

    Parameters
    ----------
    n1, n2 : float
        Sizes of the groups.
    p1, p2 : float
        The true proportions.
    alpha : float
        Two-sided error of the first kind.

    Raises
    ------
    ValueError
        A size that is not positive, or a proportion out of range.

    Examples
    --------
    >>> round(power_proportions(2000, 2000, 0.10, 0.132), 4)
    0.8852
    """
    _check_rates(alpha, 0.5, p1, p2)
    _check_sizes(n1, n2)
    null, alternative = _unit_errors(p1, p2, n2 / n1)
    excess = abs(p1 - p2) * n1**0.5 + float(special.ndtri(alpha / 2)) * null
    if alternative == 0:  # both proportions are 0 or 1: the outcome is certain
        return float(excess > 0)
    return float(special.ndtr(excess / alternative))


def detectable_difference(baseline: float, n1: float, n2: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest rise over ``baseline`` that groups of these sizes find with this power.

    Parameters
    ----------
    baseline : float
        Proportion in the second group (the control).
    n1, n2 : float
        Sizes of treatment and control.
    power, alpha : float
        As in :func:`sample_size_proportions`.

    Returns
    -------
    float
        As a difference of proportions; infinite when even a rise to 1 would not be found.

    Raises
    ------
    ValueError
        A size that is not positive, or a figure out of range.

    Examples
    --------
    >>> round(detectable_difference(0.138, 2000, 2000), 4)  # 2,000 an arm find 3.2 points up to this baseline
    0.032
    """
    _check_rates(alpha, power, baseline)
    _check_sizes(n1, n2)

    def shortfall(rise: float) -> float:
        return power_proportions(n1, n2, min(baseline + rise, 1.0), baseline, alpha) - power

    largest = 1 - baseline
    if largest <= 0 or shortfall(largest) < 0:
        return float("inf")
    return _root(shortfall, min(1e-12, largest / 2), largest)


def highest_baseline(difference: float, n1: float, n2: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Highest baseline, up to one half, over which groups of these sizes find a rise of ``difference``.

    Parameters
    ----------
    difference : float
        The rise that is to be found.
    n1, n2, power, alpha : float
        As in :func:`detectable_difference`.

    Returns
    -------
    float
        0 when it is found over no baseline.

    Raises
    ------
    ValueError
        A difference outside (0, 1), or as :func:`detectable_difference`.

    Examples
    --------
    >>> round(highest_baseline(0.032, 2000, 2000), 3)
    0.138
    """
    if not 0 < difference < 1:
        raise ValueError(f"a difference between 0 and 1 is needed; found {difference}")

    def excess(baseline: float) -> float:
        return detectable_difference(baseline, n1, n2, power, alpha) - difference

    top = min(0.5, 1 - difference)
    if excess(1e-9) > 0:
        return 0.0
    return top if excess(top) <= 0 else _root(excess, 1e-9, top)


def sample_size_means(difference: float, variance: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Units needed per group to find a difference of means, by the normal approximation.

    Raises
    ------
    ValueError
        No difference, no variance, or a figure out of range.

    Examples
    --------
    >>> round(sample_size_means(0.5, 1.0), 2)  # (1.95996 + 0.84162)^2 * 2 / 0.25
    62.79
    """
    _check_rates(alpha, power)
    if difference == 0 or not variance > 0:
        raise ValueError(f"difference={difference} and variance={variance} must be other than zero, variance positive")
    return float(2 * variance * _quantiles(power, alpha) ** 2 / difference**2)


def detectable_mean_difference(squared_error: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest difference of means that is found with this power when its squared standard error is known.

    Examples
    --------
    >>> round(detectable_mean_difference(4.0), 3)
    5.603
    """
    _check_rates(alpha, power)
    if not squared_error >= 0:
        raise ValueError(f"a squared standard error is not negative; found {squared_error}")
    return _quantiles(power, alpha) * float(np.sqrt(squared_error))


@dataclass(frozen=True)
class SampleRatio:
    """Whether the groups have the sizes that were planned.

    Attributes
    ----------
    chi2 : float
        Pearson's statistic.
    df : int
        Its degrees of freedom, groups less one.
    p_value : float
        Small when chance alone would hardly split the people so.
    table : pandas.DataFrame
        A row per group: ``observed``, ``expected``, ``share``, ``planned``.
    """

    chi2: float
    df: int
    p_value: float
    table: pd.DataFrame = field(repr=False)


def sample_ratio(
    counts: ArrayLike | Mapping[str, float], expected: ArrayLike | Mapping[str, float] | None = None
) -> SampleRatio:
    """Test the split of people over groups against the plan, by Pearson's chi-square (Fabijan et al. 2019).

    Parameters
    ----------
    counts : array_like or mapping
        People per group; a Series or a mapping keeps its labels.
    expected : array_like or mapping, optional
        Planned shares or weights in the same order, or by the labels of ``counts``; equal ones when left out.

    Raises
    ------
    ValueError
        Fewer than two groups, nobody in any, weights that are not positive or of other groups, or what is no number.

    Examples
    --------
    >>> f"{sample_ratio([821588, 815482]).p_value:.4e}"
    '1.8218e-06'
    >>> round(sample_ratio({"A": 60, "B": 40}, {"B": 1, "A": 2}).p_value, 4)
    0.1573
    """
    if isinstance(counts, Mapping):
        counts = pd.Series(dict(counts))
    index = counts.index if isinstance(counts, pd.Series) else None
    if isinstance(expected, (Mapping, pd.Series)) and index is not None:
        planned_for = pd.Series(dict(expected))
        if set(planned_for.index) != set(index):
            raise ValueError(f"shares are planned for {list(planned_for.index)}, and there are people of {list(index)}")
        expected = planned_for.reindex(index)
    observed = _numbers("counts", counts)
    weights = np.ones_like(observed) if expected is None else _numbers("planned shares", expected)
    if observed.ndim != 1 or len(observed) < 2 or weights.shape != observed.shape:
        raise ValueError(f"two groups or more, each with a planned share: found {observed.shape} and {weights.shape}")
    if not (np.all(observed >= 0) and 0 < observed.sum() < np.inf and np.all((weights > 0) & np.isfinite(weights))):
        raise ValueError("counts must not be negative, somebody must be there, and planned shares must be positive")
    planned = weights / weights.sum()
    chi2 = float(_pearson(observed, planned))
    table = pd.DataFrame(
        {
            "observed": observed,
            "expected": planned * observed.sum(),
            "share": observed / observed.sum(),
            "planned": planned,
        },
        index=index,
    )
    return SampleRatio(chi2, len(observed) - 1, float(special.chdtrc(len(observed) - 1, chi2)), table)


def _numbers(what: str, values: object) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: a number per group is needed, such as [2000, 2010]; found {values!r}") from error


def sample_ratios(counts: ArrayLike, expected: ArrayLike) -> NDArray[np.float64]:
    """P-values of :func:`sample_ratio` for many splits, such as those of single days.

    Parameters
    ----------
    counts : array_like, shape (splits, groups)
        People per split and group, somebody in each split.
    expected : array_like, shape (groups,)
        Planned shares or weights, positive.

    Examples
    --------
    >>> sample_ratios([[821588, 815482], [10, 10]], [1, 1]).round(8).tolist()
    [1.82e-06, 1.0]
    """
    observed, weights = np.asarray(counts, dtype=float), np.asarray(expected, dtype=float)
    return np.asarray(special.chdtrc(len(weights) - 1, _pearson(observed, weights / weights.sum())))


def _pearson(observed: NDArray[np.float64], planned: NDArray[np.float64]) -> NDArray[np.float64]:
    wanted = planned * observed.sum(axis=-1, keepdims=True)
    return np.asarray((np.square(observed - wanted) / wanted).sum(axis=-1))


def _unit_errors(p1: float, p2: float, ratio: float) -> tuple[float, float]:
    """Give the difference's standard errors times sqrt(n1): under the null, with pooled variance, and under p1, p2."""
    pooled = (p1 + ratio * p2) / (1 + ratio)
    null = (pooled * (1 - pooled) * (1 + 1 / ratio)) ** 0.5
    return null, (p1 * (1 - p1) + p2 * (1 - p2) / ratio) ** 0.5


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.brentq(function, low, high, xtol=1e-15))


def _quantiles(power: float, alpha: float) -> float:
    return -float(special.ndtri(alpha / 2) + special.ndtri(1 - power))


def _check_rates(alpha: float, power: float, *rates: float) -> None:
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"alpha and power lie between 0 and 1; found {alpha} and {power}")
    for rate in rates:
        if not 0 <= rate <= 1:
            raise ValueError(f"a proportion lies between 0 and 1; found {rate}")


def _check_sizes(n1: float, n2: float) -> None:
    if not (n1 > 0 and n2 > 0):
        raise ValueError(f"both groups need people; found {n1} and {n2}")
