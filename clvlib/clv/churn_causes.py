"""Why customers are at risk: what each part of the hazard adds, and the share of expected churn behind each cause."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.churn_features import CAUSES, REASONS, Known
from clvlib.clv.churn_hazard import Hazard
from clvlib.words import mark, tr

__all__ = ["UNKNOWN", "causes_of", "reasons_by_hazard", "reasons_by_model"]

Array = NDArray[np.float64]

UNKNOWN = "unknown"
_NOTABLE = 0.1  # of the logit: the odds are a tenth higher
_MOST = 20_000  # customers on whom intervals of shares are found
_NO_CAUSE = mark("no cause is seen")
_GONE = mark("may have left already")
_SELDOM = mark("has always bought seldom")


def reasons_by_hazard(hazard: Hazard, known: Known) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return for each customer what speaks most for leaving, and the most telling cause.

    Returns
    -------
    words : pandas.DataFrame
        ``reason``: the group that adds most to the logit of the risk; ``cause``: the cause that does, where one makes
        the odds a tenth higher at least.
    parts : pandas.DataFrame
        What each group adds, and ``base``; a row sums to the logit of the risk.
    """
    parts = hazard.parts(known.frame)
    reason = _largest(parts, 0.0).map(lambda group: tr(REASONS[group]) if group else tr(_SELDOM))
    cause = _largest(parts[[group for group in CAUSES if group in parts]], _NOTABLE)
    words = cause.map(lambda group: tr(REASONS[group]) if group else tr(_NO_CAUSE))
    return pd.DataFrame({"reason": reason, "cause": words}), parts.assign(base=hazard.base)


def reasons_by_model(known: Known, shift: float, slope: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the same where the purchase model alone is used: whether he has left more likely than buys seldom."""
    gone = 1 - known.facts["probability_alive"] >= known.facts["no_purchase"] / 2
    words = pd.DataFrame({"reason": np.where(gone, tr(_GONE), tr(_SELDOM))}, index=known.frame.index)
    parts = pd.DataFrame({"model": slope * known.frame["model"], "base": shift})
    return words.assign(cause=tr(_NO_CAUSE)), parts


def causes_of(
    hazard: Hazard | None,
    known: Known,
    risk: Array,
    loss: Array | None,
    level: float,
    rng: np.random.Generator,
    draws: int,
) -> pd.DataFrame:
    """Group the expected churn by cause.

    A cause that multiplies a customer's odds by R is behind 1 − 1/R of the cases in which it was present (Miettinen
    1974), and causes of one customer share theirs in proportion to what they add to the logit.

    Parameters
    ----------
    hazard : Hazard or None
    known : Known
    risk : array, shape (customers,)
    loss : array, shape (customers,), optional
        Value at risk of each.
    level : float
        Of the interval, which holds the uncertainty of the hazard.
    rng : numpy.random.Generator
    draws : int

    Returns
    -------
    pandas.DataFrame
        By ``cause``, the greatest share first, "unknown" last: ``words``, ``customers`` (whom it touches), ``share`` of
        the expected lapses with ``lower`` and ``upper``, and with a loss ``value_at_risk``.
    """
    rows: list[dict[str, Any]] = []
    whole = np.zeros(len(risk))
    if hazard is not None:
        apart, groups, names = _causes_in(hazard, known.frame)
        if names:
            behind = _behind(apart, hazard.coefficients, groups, names)
            limits = _limits(hazard, apart, groups, names, risk, (level, rng, draws))
            whole = behind.sum(axis=1)
            for j, name in enumerate(names):
                touched = int((_added(apart, hazard.coefficients, groups, names)[:, j] >= _NOTABLE).sum())
                rows.append(_row(name, tr(REASONS[name]), touched, behind[:, j], risk, loss, limits[:, j]))
            rows.sort(key=lambda row: -row["share"])
    rest = 1 - whole
    open_ = np.array([np.nan, np.nan])
    rows.append(_row(UNKNOWN, tr(_NO_CAUSE), int((whole <= 0).sum()), rest, risk, loss, open_))
    return pd.DataFrame(rows).set_index("cause")


def _row(
    name: str, words: str, customers: int, behind: Array, risk: Array, loss: Array | None, limits: Array
) -> dict[str, Any]:
    row = {"cause": name, "words": words, "customers": customers, "share": float(behind @ risk / risk.sum())}
    row |= {"lower": float(limits[0]), "upper": float(limits[1])}
    return row if loss is None else row | {"value_at_risk": float(behind @ loss)}


def _largest(parts: pd.DataFrame, least: float) -> pd.Series:
    """Return the column that adds most, empty where none adds more than ``least``."""
    if not len(parts.columns):
        return pd.Series("", index=parts.index, dtype=object)
    values = parts.to_numpy()
    names = np.array([*parts.columns, ""], dtype=object)
    best = values.argmax(axis=1)
    enough = values[np.arange(len(values)), best] > least
    return pd.Series(names[np.where(enough, best, len(names) - 1)], index=parts.index)


def _causes_in(hazard: Hazard, frame: pd.DataFrame) -> tuple[Array, list[str], list[str]]:
    """Return features of causes less their references (0 for others), the group of each, and the causes in use."""
    groups = hazard.groups
    apart = frame[list(hazard.names)].to_numpy(dtype=float) - hazard.reference
    return apart, groups, [group for group in CAUSES if group in groups]


def _added(apart: Array, coefficients: Array, groups: list[str], names: list[str]) -> Array:
    """Return what each cause adds to the logit, nothing where it speaks for staying."""
    chosen = np.array([[group == name for name in names] for group in groups], dtype=float)
    return np.asarray(np.maximum((apart * coefficients) @ chosen, 0.0))


def _behind(apart: Array, coefficients: Array, groups: list[str], names: list[str]) -> Array:
    """Return the probability that each cause is behind a customer's lapse."""
    added = _added(apart, coefficients, groups, names)
    total = added.sum(axis=1, keepdims=True)
    return np.asarray(added / np.maximum(total, 1e-300) * -np.expm1(-total))


def _limits(
    hazard: Hazard,
    apart: Array,
    groups: list[str],
    names: list[str],
    risk: Array,
    how: tuple[float, np.random.Generator, int],
) -> Array:
    """Return the limits of each cause's share over draws of the coefficients, shape (2, causes)."""
    level, rng, draws = how
    some = rng.choice(len(risk), _MOST, replace=False) if len(risk) > _MOST else np.arange(len(risk))
    weight = risk[some] / risk[some].sum()
    values, vectors = np.linalg.eigh(hazard.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    shares = [
        weight @ _behind(apart[some], hazard.coefficients + root @ rng.standard_normal(len(values)), groups, names)
        for _ in range(draws)
    ]
    return np.asarray(np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0))
