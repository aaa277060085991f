"""Which of several are surely ahead of which, and so which ranks each may have."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from clvlib.stats.multiplicity import adjust

__all__ = ["rank_intervals"]


def rank_intervals(scores: ArrayLike, covariance: ArrayLike, level: float = 0.95) -> pd.DataFrame:
    """Rank estimates, with intervals that hold the true ranks of all of them at once.

    Each pair is compared; after Holm's adjustment for all pairs, whoever is surely below ``a`` others ranks after them,
    and whoever is surely above ``b`` ranks before those (Mogstad, Romano, Shaikh & Wilhelm, Review of Economic Studies
    91, 2024). Where all are alike everybody's interval is that of all ranks in at least ``level`` of cases, which a
    bootstrap of ranks does not give (Hall & Miller, Annals of Statistics 37, 2009).

    Parameters
    ----------
    scores : array_like, shape (m,)
        Estimates, approximately normal; the highest ranks first.
    covariance : array_like, shape (m, m) or (m,)
        Of their errors; squared errors alone where they are independent.
    level : float
        Chance that all intervals hold at once.

    Returns
    -------
    pandas.DataFrame
        A row per estimate: ``score``, ``rank`` (1 is the highest; ties share the better one), ``rank_lower``,
        ``rank_upper``, ``ahead`` and ``behind``: how many it is surely ahead of, or behind. The index is that of
        ``scores`` when it is a Series.

    Raises
    ------
    ValueError
        Shapes that do not fit, figures that are not finite, a negative variance, a level outside (0, 1).

    Examples
    --------
    >>> rank_intervals([5.0, 1.0, 1.2], [0.1, 0.1, 0.1])[["rank", "rank_lower", "rank_upper"]].values.tolist()
    [[1, 1, 1], [3, 2, 3], [2, 2, 3]]
    """
    index = scores.index if isinstance(scores, pd.Series) else None
    s, v = np.atleast_1d(np.asarray(scores, dtype=float)), np.asarray(covariance, dtype=float)
    v = np.diag(v) if v.ndim == 1 else v
    if s.ndim != 1 or v.shape != (len(s), len(s)) or not (np.isfinite(s).all() and np.isfinite(v).all()):
        raise ValueError(f"{len(s)} finite scores need a finite covariance of as many rows and columns, not {v.shape}")
    if (np.diag(v) < 0).any() or not 0 < level < 1:
        raise ValueError(f"variances are not negative, and level is a share between 0 and 1; found {level}")
    one, other = np.triu_indices(len(s), 1)
    apart = s[one] - s[other]
    errors = v[one, one] + v[other, other] - 2 * v[one, other]
    noise = 1e-12 * (v[one, one] + v[other, other])  # what is left of variances that cancel is none
    none = np.where(apart == 0, 0.0, np.inf)
    z = np.divide(np.abs(apart), np.sqrt(np.maximum(errors, 0)), out=none, where=errors > noise)
    sure = adjust(2 * special.ndtr(-z)).to_numpy() <= 1 - level if len(z) else np.zeros(0, bool)
    ahead = np.zeros((len(s), len(s)), dtype=bool)
    ahead[one[sure & (apart > 0)], other[sure & (apart > 0)]] = True
    ahead[other[sure & (apart < 0)], one[sure & (apart < 0)]] = True
    won, lost = ahead.sum(axis=1), ahead.sum(axis=0)
    rank = 1 + (s[None, :] > s[:, None]).sum(axis=1)
    columns = {"score": s, "rank": rank, "rank_lower": 1 + lost, "rank_upper": len(s) - won}
    return pd.DataFrame(columns | {"ahead": won, "behind": lost}, index=index)
