"""Which of several groups is best, and what choosing another costs, by a prior and quadrature, without draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

__all__ = ["posterior_means", "posterior_proportions"]

Floats = NDArray[np.float64]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)
BREAKS = special.ndtr(np.linspace(-8.0, 8.0, 33))  # half a standard deviation from one panel to the next


def posterior_proportions(
    x: ArrayLike, n: ArrayLike, *, prior: tuple[float, float] = (1.0, 1.0), level: float = 0.95
) -> pd.DataFrame:
    """Compare proportions whose prior is a beta distribution, the same for each.

    Parameters
    ----------
    x, n : array_like
        Successes and trials of each group.
    prior : pair of float
        Parameters of the beta prior; (1, 1) is uniform, (0.5, 0.5) Jeffreys'.
    level : float
        Of the central credible interval.

    Returns
    -------
    pandas.DataFrame
        A row per group: ``mean``, ``lower``, ``upper``, ``probability_best``, ``expected_loss``: by how much the best
        of all is expected to exceed this group, which is what choosing it costs on average.

    Raises
    ------
    ValueError
        Counts that cannot be, a prior that is not positive, a level outside (0, 1).

    Examples
    --------
    >>> posterior_proportions([200, 264], [2000, 2000])["probability_best"].round(4).tolist()
    [0.0008, 0.9992]
    """
    index = x.index if isinstance(x, pd.Series) else None
    successes, trials = np.broadcast_arrays(np.atleast_1d(x).astype(float), np.atleast_1d(n).astype(float))
    if not ((successes >= 0) & (successes <= trials) & np.isfinite(trials)).all():
        raise ValueError(f"successes lie between 0 and the trials; found {successes} of {trials}")
    a, b = prior
    if not (0 < a < np.inf and 0 < b < np.inf):
        raise ValueError(f"the parameters of a beta prior are positive; found {prior}")
    arms = [stats.beta(a + k, b + m - k) for k, m in zip(successes, trials, strict=True)]
    return _compare(arms, level, index)


def posterior_means(
    means: ArrayLike, errors: ArrayLike, *, prior: tuple[float, float] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Compare means, each known with a normal error, whose prior is a normal distribution, the same for each.

    Parameters
    ----------
    means, errors : array_like
        Estimate and standard error of each group.
    prior : pair of float, optional
        Mean and standard deviation of the prior; flat when left out.
    level : float
        Of the central credible interval.

    Returns
    -------
    pandas.DataFrame
        As :func:`posterior_proportions`.

    Raises
    ------
    ValueError
        An estimate that is not finite, an error or a deviation that is not positive, a level outside (0, 1).

    Examples
    --------
    >>> posterior_means([10.0, 11.0], [0.5, 0.5])[["probability_best", "expected_loss"]].round(4).values.tolist()
    [[0.0786, 1.0251], [0.9214, 0.0251]]
    """
    index = means.index if isinstance(means, pd.Series) else None
    m, s = np.broadcast_arrays(np.atleast_1d(means).astype(float), np.atleast_1d(errors).astype(float))
    if not (np.isfinite(m).all() and ((s > 0) & np.isfinite(s)).all()):
        raise ValueError(f"finite means with positive errors are needed; found {m} with {s}")
    precision, pull = 1 / s**2, m / s**2
    if prior is not None:
        centre, deviation = prior
        if not (np.isfinite(centre) and 0 < deviation < np.inf):
            raise ValueError(f"a normal prior has a finite mean and a positive deviation; found {prior}")
        precision, pull = precision + 1 / deviation**2, pull + centre / deviation**2
    return _compare([stats.norm(p / q, q**-0.5) for p, q in zip(pull, precision, strict=True)], level, index)


def _compare(arms: Sequence[Any], level: float, index: pd.Index | None) -> pd.DataFrame:
    """Integrate over all values the density of each arm where the others lie below, and the chance of one above."""
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    breaks = np.unique(np.concatenate([arm.ppf(BREAKS) for arm in arms]))
    half = np.diff(breaks) / 2
    x = (breaks[:-1] + half)[:, None] + half[:, None] * NODES
    weights = half[:, None] * WEIGHTS
    below = np.array([arm.cdf(x) for arm in arms])
    rows = []
    for place, arm in enumerate(arms):
        others = np.delete(below, place, axis=0).prod(axis=0)
        tail = (1 - level) / 2
        rows.append(
            {
                "mean": float(arm.mean()),
                "lower": float(arm.ppf(tail)),
                "upper": float(arm.ppf(1 - tail)),
                "probability_best": float((weights * arm.pdf(x) * others).sum()),
                "expected_loss": float((weights * below[place] * (1 - others)).sum()),
            }
        )
    return pd.DataFrame(rows, index=index)
