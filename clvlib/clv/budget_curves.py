"""How new customers answer to spend, channel by channel, as far as past weeks tell (V11)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Curves", "response_curves"]

Array = NDArray[np.float64]

_TOLD = 0.25  # standard error of an elasticity from which on it is not told: its 95% interval has a length of one
_SPREADS = np.linspace(0.0, 0.6, 61)  # of elasticities between channels, all equally likely beforehand
_FEWEST_WEEKS, _FEWEST_CUSTOMERS = 8, 10


@dataclass(frozen=True)
class Curves:
    """Elasticities of new customers to spend.

    Attributes
    ----------
    table : pandas.DataFrame
        By channel: ``own`` (elasticity from its own weeks) with ``error``, ``told`` (whether they tell one), and
        ``elasticity``, ``lower``, ``upper`` (drawn together, between 0 and 1), blank where it is not told.
    draws : array, shape (draws, channels)
        Elasticities of the channels of the table, between 0 and 1; NaN where it is not told.
    dispersion : float
        Variance of weekly new customers by their mean, 1 where chance alone makes it.
    """

    table: pd.DataFrame
    draws: Array
    dispersion: float


def response_curves(weekly: pd.DataFrame, level: float, draws: int, rng: np.random.Generator) -> Curves:
    """Estimate how new customers per week answer to spend.

    Parameters
    ----------
    weekly : pandas.DataFrame
        ``channel``, ``week``, ``cost`` and ``new`` (customers), a row for each pair.
    level : float
        Of the intervals.
    draws : int
        How many.
    rng : numpy.random.Generator

    Notes
    -----
    new ~ Poisson, overdispersed, with log mean = channel + week + elasticity × log(cost): a power law, concave where
    the elasticity is below one. The week's constant holds what all channels share, such as a festival before which
    spend rises as well; what is left is how channels differ in what they spent from their usual share. An elasticity
    whose standard error is above 0.25 is not told, as where spend hardly varied. The others are drawn together as far
    as their differences may be chance (normal, their spread integrated out), and held between 0 and 1.
    """
    used = weekly[weekly["cost"] > 0]
    size = used.groupby("channel").agg(new=("new", "sum"), weeks=("week", "nunique"), spread=("cost", "std"))
    enough = (size["new"] >= _FEWEST_CUSTOMERS) & (size["weeks"] >= _FEWEST_WEEKS) & (size["spread"] > 0)
    names = sorted(size.index[enough.to_numpy()])
    table = pd.DataFrame(
        {"own": np.nan, "error": np.nan}, index=pd.Index(sorted(size.index), name="channel", dtype=object)
    )
    dispersion = 1.0
    if len(names) > 1:  # one channel cannot be told from its weeks
        own, covariance, dispersion = _fitted(used[used["channel"].isin(names)], names)
        table.loc[names, "own"], table.loc[names, "error"] = own, np.sqrt(np.diag(covariance))
    table["told"] = table["error"] <= _TOLD
    sampled = np.full((draws, len(table)), np.nan)
    told = table.index[table["told"].to_numpy()]
    if len(told):
        at = [names.index(name) for name in told]
        found = _together(own[at], covariance[np.ix_(at, at)], draws, rng)
        sampled[:, table["told"].to_numpy()] = np.clip(found, 0.0, 1.0)
    limits = np.quantile(sampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    table["elasticity"], (table["lower"], table["upper"]) = sampled.mean(axis=0), limits
    return Curves(table, sampled, dispersion)


def _fitted(rows: pd.DataFrame, names: list[str]) -> tuple[Array, Array, float]:
    """Return elasticities with their covariance, and the dispersion, by a Poisson regression of statsmodels."""
    from statsmodels.genmod.families import Poisson
    from statsmodels.genmod.generalized_linear_model import GLM

    rows = rows[rows.groupby("week")["new"].transform("sum") > 0]  # a week without anybody tells nothing
    channel = pd.Categorical(rows["channel"], categories=names).codes
    week = pd.factorize(rows["week"], sort=True)[0]
    log_cost = np.log(rows["cost"].to_numpy(dtype=float))
    centre = np.bincount(channel, log_cost, len(names)) / np.bincount(channel, minlength=len(names))
    slopes = np.eye(len(names))[channel] * (log_cost - centre[channel])[:, None]
    design = np.hstack([slopes, np.eye(len(names))[channel], np.eye(week.max() + 1)[week][:, 1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a channel whose spend moves with the weeks is not told, which is said
        fitted = GLM(rows["new"].to_numpy(dtype=float), design, family=Poisson()).fit(scale="X2")
    k = len(names)
    scale = max(float(fitted.scale), 1.0)
    covariance = np.asarray(fitted.cov_params(), dtype=float)[:k, :k] * (scale / max(float(fitted.scale), 1e-300))
    apart = _told_apart(design, k)
    covariance[~apart] = covariance[:, ~apart] = 0.0
    covariance[~apart, ~apart] = np.inf
    return np.asarray(fitted.params, dtype=float)[:k], covariance, scale


def _told_apart(design: Array, k: int) -> NDArray[np.bool_]:
    """Whether each of the first columns is more than a combination of all others, the weeks among them."""
    found = []
    for column in range(k):
        own, others = design[:, column], np.delete(design, column, axis=1)
        rest = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
        found.append(float(rest @ rest) > 1e-6 * float(own @ own))
    return np.array(found)


def _together(own: Array, covariance: Array, draws: int, rng: np.random.Generator) -> Array:
    """Draw from elasticities ~ Normal(mean, spread²) given estimates, mean and spread integrated out."""
    k = len(own)
    ones = np.ones(k)
    log_weight, parts = [], []
    for spread in _SPREADS:
        precision = np.linalg.inv(covariance + spread**2 * np.eye(k))
        total = float(ones @ precision @ ones)
        mean = float(ones @ precision @ own) / total
        off = own - mean
        _, log_det = np.linalg.slogdet(precision)
        log_weight.append(0.5 * (log_det - np.log(total) - off @ precision @ off))
        # E[own | mean] = own − V P (own − mean), given the mean, whose own error is 1 / total
        pull = covariance @ precision
        centre, part = own - pull @ off, covariance - pull @ covariance
        by_mean = pull @ ones
        parts.append((centre, part + np.outer(by_mean, by_mean) / total))
    weight = np.exp(np.array(log_weight) - max(log_weight))
    chosen = rng.choice(len(_SPREADS), size=draws, p=weight / weight.sum())
    result = np.empty((draws, k))
    for which in np.unique(chosen):
        centre, part = parts[which]
        values, vectors = np.linalg.eigh(part)
        shocks = rng.standard_normal((int((chosen == which).sum()), k)) * np.sqrt(np.maximum(values, 0.0))
        result[chosen == which] = centre + shocks @ vectors.T
    return result
