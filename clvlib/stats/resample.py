"""One engine for intervals that no formula gives: draws in, limits out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.stats.effect import Effect

__all__ = ["bootstrap", "interval_of_draws", "permutation_p_value"]

Array = NDArray[np.float64]
METHODS = ("bca", "percentile")


def interval_of_draws(draws: ArrayLike, level: float = 0.95, axis: int = 0) -> pd.DataFrame:
    """Summarise draws of one or more quantities by their mean and central interval.

    Parameters
    ----------
    draws : array_like, shape (draws,) or (draws, quantities)
        Bootstrap or posterior draws.
    level : float
        Share of the draws between the limits.
    axis : int
        Along which the draws lie.

    Returns
    -------
    pandas.DataFrame
        A row per quantity: ``mean``, ``lower``, ``upper``.

    Raises
    ------
    ValueError
        No draw, a draw that is not a number, or a level outside (0, 1).

    Examples
    --------
    >>> interval_of_draws([0, 1, 2, 3, 4], level=0.5).values.tolist()
    [[2.0, 1.0, 3.0]]
    """
    values = np.asarray(draws, dtype=float)
    if not (values.size and np.isfinite(values).all()):
        raise ValueError(f"{np.sum(~np.isfinite(values))} of {values.size} draws are no finite numbers")
    tail = _tail(level)
    lower, upper = np.quantile(values, [tail, 1 - tail], axis=axis)
    columns = {"mean": values.mean(axis=axis), "lower": lower, "upper": upper}
    return pd.DataFrame({name: np.atleast_1d(column) for name, column in columns.items()})


def bootstrap(
    statistic: Callable[..., float],
    *columns: ArrayLike,
    level: float = 0.95,
    draws: int = 2000,
    seed: int | np.random.Generator = 0,
    groups: ArrayLike | None = None,
    method: str = "bca",
) -> Effect:
    """Bootstrap interval of any statistic of rows, or of clusters of rows.

    Parameters
    ----------
    statistic : callable
        Takes the resampled columns, returns one number.
    *columns : array_like
        Columns of equal length that are resampled together, a row at a time.
    level : float
        Confidence level.
    draws : int
        Number of resamples.
    seed : int or numpy.random.Generator
        Source of randomness; the same seed gives the same interval.
    groups : array_like, optional
        Labels; whole groups are then resampled, since their rows are not independent.
    method : {"bca", "percentile"}
        Bias-corrected and accelerated (Efron 1987), which needs one evaluation per row (or group) more, or plain
        quantiles.

    Returns
    -------
    Effect
        ``p_value`` is that of zero, found by inverting the interval; it is never below ``1 / draws``.

    Raises
    ------
    ValueError
        Columns of unequal length or fewer than two rows (groups); a statistic that is not finite; a parameter out of
        range.

    Examples
    --------
    >>> x = np.arange(100.0)  # mean 49.5, standard error 2.9
    >>> b = bootstrap(np.mean, x, seed=1)
    >>> print(f"{b.estimate:.1f} {b.lower:.1f} {b.upper:.1f}")
    49.5 43.6 55.0
    """
    tail = _tail(level)
    if method not in METHODS or draws < 100:
        raise ValueError(f"method is one of {METHODS} and draws at least 100; found {method!r} and {draws}")
    data = [np.asarray(column) for column in columns]
    members = _members(data, groups)
    generator = np.random.default_rng(seed)

    def evaluate(picked: NDArray[np.intp]) -> float:
        rows = picked if groups is None else np.concatenate([members[i] for i in picked])
        value = float(statistic(*(column[rows] for column in data)))
        if not np.isfinite(value):
            raise ValueError("the statistic is not a finite number on some resample; drop it or use a smoother one")
        return value

    units = len(members)
    everything = np.arange(units)
    estimate = evaluate(everything)
    sample = np.sort([evaluate(generator.integers(units, size=units)) for _ in range(draws)])
    shift, acceleration = 0.0, 0.0
    if method == "bca" and sample[0] < sample[-1]:
        shift = _shift(sample, estimate)
        acceleration = _acceleration([evaluate(np.delete(everything, i)) for i in everything])
    lower, upper = np.quantile(sample, [_bca(tail, shift, acceleration), _bca(1 - tail, shift, acceleration)])
    p_value = _p_value(sample, shift, acceleration)
    return Effect(estimate, float(lower), float(upper), p_value, f"bootstrap-{method}", level)


def permutation_p_value(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    draws: int = 9999,
    seed: int | np.random.Generator = 0,
) -> float:
    """Two-sided p-value of no difference between two groups of clusters, by assigning whole clusters anew.

    The statistic is the difference of ``sum(total) / sum(size)`` in units of its cluster-robust error. So the test is
    exact when the groups are alike in everything, and right for many clusters when only their means are (Janssen 1997).

    Parameters
    ----------
    first, second : pair of array_like
        Total and size of each cluster of either group; at least two clusters each.
    draws : int
        Random assignments; all of them are tried, and no random numbers needed, when there are no more than that.
    seed : int or numpy.random.Generator
        Source of randomness.

    Raises
    ------
    ValueError
        Too few clusters or draws; totals that are not finite; sizes that are not positive.

    Examples
    --------
    >>> permutation_p_value(([9.0, 8, 9], [1, 1, 1]), ([1, 2, 1], [1, 1, 1]))  # 2 of the 20 assignments
    0.1
    """
    pairs = [np.atleast_2d(np.asarray(group, dtype=float)) for group in (first, second)]
    totals, sizes = np.concatenate(pairs, axis=1)
    count, treated = len(totals), pairs[0].shape[1]
    if not 2 <= treated <= count - 2 or draws < 1:
        raise ValueError(f"two clusters a group and a draw are needed; found {treated}, {count - treated} and {draws}")
    if not (np.isfinite(totals).all() and np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError("every cluster needs a finite total and a positive size")
    rest = totals - totals.sum() / sizes.sum() * sizes  # which ratio is taken away does not matter, but for digits
    sums = np.column_stack([rest, sizes, rest * rest, rest * sizes, sizes * sizes])
    seen = abs(_studentised(np.arange(count)[None, :] < treated, sums)[0])
    every = comb(count, treated)
    more = tried = 0
    for chosen in _assignments(count, treated, draws if every > draws else 0, np.random.default_rng(seed)):
        more += int((np.abs(_studentised(chosen, sums)) >= seen * (1 - 1e-9)).sum())
        tried += len(chosen)
    return more / tried if every <= draws else (1 + more) / (1 + tried)


def _assignments(
    count: int, treated: int, draws: int, generator: np.random.Generator, block: int = 2**22
) -> Iterator[NDArray[np.bool_]]:
    """Blocks of assignments, a row each: all of them when ``draws`` is 0, or so many at random."""
    rows = max(1, block // count)
    if draws:
        for start in range(0, draws, rows):
            order = generator.random((min(rows, draws - start), count)).argpartition(treated, axis=1)
            chosen = np.zeros(order.shape, dtype=bool)
            np.put_along_axis(chosen, order[:, :treated], True, axis=1)  # noqa: FBT003 - numpy's signature
            yield chosen
    else:
        chosen = np.zeros((comb(count, treated), count), dtype=bool)
        for row, members in zip(chosen, combinations(range(count), treated), strict=True):
            row[list(members)] = True
        yield chosen


def _studentised(chosen: NDArray[np.bool_], sums: Array) -> Array:
    """Difference of the ratios of the chosen and of the other clusters over its error; ties of no error count most."""
    part = chosen @ sums
    ratios, errors = [], []
    for number, group in ((chosen.sum(axis=1), part), (len(sums) - chosen.sum(axis=1), sums.sum(axis=0) - part)):
        total, size, squares, cross, sizes2 = group.T
        ratio = total / size
        spread = squares - 2 * ratio * cross + ratio * ratio * sizes2
        spread = np.where(spread > 1e-12 * squares, spread, 0.0)  # what is left of a sum that cancels is no spread
        ratios.append(ratio)
        errors.append(spread * number / (number - 1) / size**2)
    distance, error = ratios[0] - ratios[1], np.sqrt(errors[0] + errors[1])
    none = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.asarray(np.divide(distance, error, out=none, where=error > 0), dtype=float)


def _members(data: list[NDArray[np.generic]], groups: ArrayLike | None) -> list[NDArray[np.intp]]:
    lengths = {len(column) for column in data}
    if len(lengths) != 1:
        raise ValueError(f"the columns must be there and equally long; found lengths {sorted(lengths)}")
    (rows,) = lengths
    if groups is None:
        members = [*np.arange(rows)[:, None]]
    else:
        labels = pd.factorize(np.asarray(groups))[0]
        if len(labels) != rows:
            raise ValueError(f"a group label for each of the {rows} rows is needed; found {len(labels)}")
        order = np.argsort(labels, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    if len(members) < 2:
        raise ValueError(f"resampling needs at least two rows (or groups); found {len(members)}")
    return members


def _shift(sample: Array, estimate: float) -> float:
    """Bias correction z0: where the estimate lies among the draws, ties counted half."""
    share = (np.sum(sample < estimate) + np.sum(sample <= estimate)) / (2 * len(sample))
    return float(special.ndtri(np.clip(share, 1 / (2 * len(sample)), 1 - 1 / (2 * len(sample)))))


def _acceleration(jackknife: list[float]) -> float:
    """Efron's acceleration from the statistic with each unit left out in turn."""
    deviation = np.mean(jackknife) - np.asarray(jackknife)
    spread = float(np.sum(deviation**2)) ** 1.5
    return float(np.sum(deviation**3)) / (6 * spread) if spread > 0 else 0.0


def _bca(tail: float, shift: float, acceleration: float) -> float:
    z = shift + float(special.ndtri(tail))
    return float(special.ndtr(shift + z / (1 - acceleration * z)))


def _p_value(sample: Array, shift: float, acceleration: float) -> float:
    """Twice the smallest tail whose limit reaches zero: the inverse of the adjusted quantile."""
    share = (np.sum(sample < 0) + np.sum(sample <= 0)) / (2 * len(sample))
    share = np.clip(share, 1 / (2 * len(sample)), 1 - 1 / (2 * len(sample)))
    w = float(special.ndtri(share)) - shift
    tail = float(special.ndtr(w / (1 + acceleration * w) - shift))
    return max(min(1.0, 2 * min(tail, 1 - tail)), 1 / len(sample))


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    return (1 - level) / 2
