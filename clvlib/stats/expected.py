"""Numbers of events against what was expected of each segment: who has more than the others, beyond chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.stats.proportions import proportion_interval

__all__ = ["compare_observed"]

_FIGURES = ["rate", "lower", "upper", "others", "p_value"]


def compare_observed(sums: pd.DataFrame, rate: float, level: float = 0.95) -> pd.DataFrame:
    """Hold observed against expected numbers, each segment against the others.

    Parameters
    ----------
    sums : pandas.DataFrame
        By segment: ``observed`` and ``expected`` numbers of events; further columns are kept.
    rate : float
        What as many events as expected stand for, to which the ratios are scaled; 1 for the ratios themselves.
    level : float
        Of the limits, held by all together, and of the verdict.

    Returns
    -------
    pandas.DataFrame
        A row per ``segment``: the columns given, ``rate`` with ``lower`` and ``upper``, ``others`` (the rate of all
        other segments together) and ``p_value`` (Holm). NaN where a segment is alone or nothing is expected of it; the
        limits also where it has all events. They leave ``others`` out exactly where ``p_value`` is at most
        ``1 - level``.

    Notes
    -----
    Given the number of all events, that of a segment is binomial with its share of the expected ones where it is like
    the others (Breslow & Day 1987, section 3.5; exact for Poisson numbers, on the safe side for rates that are not
    small). Limits are Clopper and Pearson's, the p-value is twice the smaller tail.

    Examples
    --------
    >>> sums = pd.DataFrame({"observed": [12, 4], "expected": [8.0, 8.0]}, index=["a", "b"])
    >>> compare_observed(sums, 0.08)[["segment", "rate", "others", "p_value"]].round(4).values.tolist()
    [['a', 0.12, 0.04, 0.1536], ['b', 0.04, 0.12, 0.1536]]
    """
    x, e = sums["observed"].to_numpy(float), sums["expected"].to_numpy(float)
    total, planned = x.sum(), e.sum()
    table = sums.rename_axis("segment").reset_index()
    table = table.assign(**dict.fromkeys(_FIGURES, np.nan))
    fit = (e > 0) & (planned - e > 1e-9 * planned)
    if not fit.any() or total == 0:
        return table
    x, e = x[fit], e[fit]
    more = np.where(x > 0, special.betainc(np.maximum(x, 1), total - x + 1, e / planned), 1.0)  # binomial: x or more
    less = np.where(x < total, special.betainc(np.maximum(total - x, 1), x + 1, (planned - e) / planned), 1.0)
    p_value = np.minimum(1.0, 2 * np.minimum(more, less))
    levels = 1 - agreeing_alpha(p_value, 1 - level).to_numpy()
    limits = proportion_interval(x, total, levels, "clopper-pearson")[["lower", "upper"]].to_numpy()
    others = rate * (total - x) / (planned - e)
    with np.errstate(divide="ignore"):
        odds = limits / (1 - limits)
    some = (total > x)[:, None]  # a ratio to others who have none has no end that can be told
    ends = np.where(some, odds, np.nan) * (others * (planned - e) / e)[:, None]
    table.loc[fit, _FIGURES] = np.column_stack([rate * x / e, ends, others, adjust(p_value)])
    return table
