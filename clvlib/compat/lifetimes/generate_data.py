"""lifetimes.generate_data: artificial customers with what they are made of.

As in lifetimes, purchases within the same whole unit of time count once, and ``numpy.random.seed`` decides the draws.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.compat.lifetimes.utils import Moment, unit_of_time
from clvlib.errors import ParameterError

__all__ = [
    "beta_geometric_beta_binom_model",
    "beta_geometric_nbd_model",
    "beta_geometric_nbd_model_transactional_data",
    "modified_beta_geometric_nbd_model",
    "pareto_nbd_model",
]

Array = NDArray[np.float64]


def _generator() -> np.random.Generator:
    return np.random.default_rng(np.random.randint(2**31, size=4))  # noqa: NPY002 - what numpy.random.seed governs


def _each(values: ArrayLike, size: int) -> Array:
    """Return one value per customer: the same for all, or the first ``size`` of those given."""
    given = np.atleast_1d(np.asarray(values, dtype=float))
    if len(given) not in {1, *range(size, len(given) + 1)}:
        raise ParameterError(f"size is {size} customers, but there are {len(given)} spans of observation")
    return np.array(np.broadcast_to(given if len(given) == 1 else given[:size], (size,)))


def _arrivals(T: Array, rate: Array, rng: np.random.Generator) -> tuple[NDArray[np.intp], Array, Array]:
    """Return, for all purchases that a customer who never leaves makes until T: whose, which one, and when."""
    count = rng.poisson(rate * T)
    who = np.repeat(np.arange(len(T)), count)
    when = rng.random(len(who)) * T[who]
    order = np.lexsort((when, who))
    number = np.arange(1.0, len(who) + 1) - np.repeat(np.cumsum(count) - count, count)
    return who, number, when[order]


def _observed(T: Array, who: NDArray[np.intp], when: Array, **traits: Array) -> pd.DataFrame:
    """Return the summary of purchases made, with the traits of those who made them."""
    recency = np.zeros(len(T))
    np.maximum.at(recency, who, when)
    units = np.unique(np.stack([who, when.astype(int)]), axis=1)[0]
    frequency = np.bincount(units, minlength=len(T)).astype(float)
    index = pd.RangeIndex(len(T), name="customer_id")
    return pd.DataFrame({"frequency": frequency, "recency": recency, "T": T, **traits}, index=index)


def _beta_geometric(
    T: ArrayLike, params: tuple[float, float, float, float], size: int, chances_at_start: int
) -> tuple[pd.DataFrame, NDArray[np.intp], Array]:
    """Return customers of (M)BG/NBD, and their purchases: whose and when."""
    r, alpha, a, b = params
    rng, spans = _generator(), _each(T, size)
    rate, p = rng.gamma(r, 1 / alpha, size), rng.beta(a, b, size)
    last = rng.geometric(np.clip(p, 1e-18, 1.0)) - chances_at_start  # the purchase after which the customer leaves
    who, number, when = _arrivals(spans, rate, rng)
    alive = (np.bincount(who, minlength=size) < last).astype(float)
    kept = number <= last[who]
    traits = {"lambda": rate, "p": p, "alive": alive}
    return _observed(spans, who[kept], when[kept], **traits), who[kept], when[kept]


def beta_geometric_nbd_model(T: ArrayLike, r: float, alpha: float, a: float, b: float, size: int = 1) -> pd.DataFrame:
    """Return customers who buy and leave as BG/NBD has it.

    Parameters
    ----------
    T : array_like
        How long each is observed, in units of time.
    r, alpha, a, b : float
        The model's parameters.
    size : int
        Customers.

    Returns
    -------
    pandas.DataFrame
        By customer_id: frequency, recency, T, lambda (rate), p (chance to leave), alive (1.0 or 0.0).
    """
    return _beta_geometric(T, (r, alpha, a, b), size, 0)[0]


def modified_beta_geometric_nbd_model(
    T: ArrayLike, r: float, alpha: float, a: float, b: float, size: int = 1
) -> pd.DataFrame:
    """Return customers who buy and leave as MBG/NBD has it.

    Parameters and result are as in :func:`beta_geometric_nbd_model`.
    """
    return _beta_geometric(T, (r, alpha, a, b), size, 1)[0]


def beta_geometric_nbd_model_transactional_data(
    T: ArrayLike,
    r: float,
    alpha: float,
    a: float,
    b: float,
    observation_period_end: Moment = "2019-1-1",
    freq: str = "D",
    size: int = 1,
) -> pd.DataFrame:
    """Return the purchases of customers who buy and leave as BG/NBD has it.

    Parameters
    ----------
    T, r, alpha, a, b, size
        As in :func:`beta_geometric_nbd_model`, which the same seed makes return the same customers' summary.
    observation_period_end : str or date
        When observation ends.
    freq : str
        The unit of time: "D", "W", "h" ...

    Returns
    -------
    pandas.DataFrame
        customer_id, date: the first purchase and the repeat purchases. These lie a unit after their time in the
        summary, so that none falls in the period of the first.
    """
    customers, who, when = _beta_geometric(T, (r, alpha, a, b), size, 0)
    unit = pd.to_timedelta(f"1{unit_of_time(freq)}")
    start = pd.Timestamp(observation_period_end) - customers["T"].to_numpy() * unit
    whose = np.concatenate([np.arange(size), who])
    date = pd.DatetimeIndex(start)[whose] + np.concatenate([np.zeros(size), when + 1]) * unit
    log = pd.DataFrame({"customer_id": whose, "date": date})
    return log.sort_values(["customer_id", "date"], ignore_index=True)


def pareto_nbd_model(T: ArrayLike, r: float, alpha: float, s: float, beta: float, size: int = 1) -> pd.DataFrame:
    """Return customers who buy and leave as Pareto/NBD has it.

    Parameters
    ----------
    T : array_like
        How long each is observed, in units of time.
    r, alpha, s, beta : float
        The model's parameters.
    size : int
        Customers.

    Returns
    -------
    pandas.DataFrame
        By customer_id: frequency, recency, T, lambda and mu (rates of buying and leaving), alive (1.0 or 0.0).
    """
    rng, spans = _generator(), _each(T, size)
    rate, leaving = rng.gamma(r, 1 / alpha, size), rng.gamma(s, 1 / beta, size)
    life = rng.exponential(size=size) / np.maximum(leaving, 1e-300)
    who, _, when = _arrivals(np.minimum(spans, life), rate, rng)
    return _observed(spans, who, when, **{"lambda": rate, "mu": leaving, "alive": (life > spans).astype(float)})


def beta_geometric_beta_binom_model(
    N: ArrayLike, alpha: float, beta: float, gamma: float, delta: float, size: int = 1
) -> pd.DataFrame:
    """Return customers who buy and leave as BG/BB has it.

    Parameters
    ----------
    N : array_like
        How many occasions each has.
    alpha, beta, gamma, delta : float
        The model's parameters.
    size : int
        Customers.

    Returns
    -------
    pandas.DataFrame
        frequency, recency, n_periods, p and theta (chances of buying and leaving), alive (at the next occasion; 1.0 or
        0.0), customer_id.
    """
    rng, occasions = _generator(), _each(N, size)
    p, theta = rng.beta(alpha, beta, size), rng.beta(gamma, delta, size)
    gone = rng.geometric(np.clip(theta, 1e-18, 1.0))  # the occasion before which the customer leaves
    frequency, recency = np.zeros(size), np.zeros(size)
    for j in range(1, int(occasions.max(initial=0)) + 1):
        bought = (j <= occasions) & (j < gone) & (rng.random(size) < p)
        frequency, recency = frequency + bought, np.where(bought, float(j), recency)
    columns = {"frequency": frequency, "recency": recency, "n_periods": occasions, "p": p, "theta": theta}
    return pd.DataFrame({**columns, "alive": (gone > occasions + 1).astype(float), "customer_id": np.arange(size)})
