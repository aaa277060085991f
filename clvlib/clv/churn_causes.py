"""Why customers are at risk: what each part of the hazard adds, and the share of expected churn behind each cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.churn_features import CAUSES, FEATURES, REASONS, Feature, Known
from clvlib.clv.churn_hazard import BESIDE, STRENGTH, Hazard, robust
from clvlib.words import mark, tr

__all__ = ["UNKNOWN", "Staying", "causes_of", "learn_staying", "reasons_by_hazard", "reasons_by_model"]

Array = NDArray[np.float64]

UNKNOWN = "unknown"
_NOTABLE = 0.1  # of the logit: the odds are a tenth higher
_FELT = 0.02  # of the log chance to stay: whoever loses less is not touched by a cause
_TINY = 1e-300
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


@dataclass(frozen=True)
class Staying:
    """The log of the chance to buy again: by possible causes of leaving, and by what is known of a customer besides.

    Attributes
    ----------
    features : tuple of Feature
    coefficients : array
        Change of the log chance per unit of each.
    reference : array
        Value of each at which it adds nothing: the harmless level of a yes or no, the mean of the others.
    base : float
        Log chance where every feature is at its reference.
    covariance : array
        Of the coefficients, robust to customers being in several rows.
    """

    features: tuple[Feature, ...]
    coefficients: Array
    reference: Array
    base: float
    covariance: Array = field(repr=False)

    @property
    def causes(self) -> list[str]:
        """The causes in use."""
        return [group for group in CAUSES if any(f.group == group and f.kind == "cause" for f in self.features)]

    def behind(self, frame: pd.DataFrame, coefficients: Array | None = None) -> tuple[Array, Array]:
        """Return what each cause takes from the log chance to stay, and the share of the lapses in which it acted."""
        by = self.coefficients if coefficients is None else coefficients
        parts = (frame[[f.name for f in self.features]].to_numpy(dtype=float) - self.reference) * by
        of = [f.group if f.kind == "cause" else "" for f in self.features]
        taken = np.column_stack([parts[:, [group == name for group in of]].sum(axis=1) for name in self.causes])
        taken = np.maximum(-taken, 0.0)
        total = taken.sum(axis=1)
        without = np.minimum(np.exp(self.base + parts.sum(axis=1) + total), 1.0)
        acted = -np.expm1(-total) / np.maximum(1 - without * np.exp(-total), _TINY)
        return taken, taken / np.maximum(total, _TINY)[:, None] * acted[:, None]


def learn_staying(hazard: Hazard, frame: pd.DataFrame, lapsed: ArrayLike) -> Staying:
    """Learn in how many customers each cause of a hazard acted.

    Who stays is a product, of who would without any cause, and for each cause of those whom it does not drive away: a
    log-linear model (Poisson regression with robust errors: Zou 2004). Signs of leaving but for silence are left out of
    it. They come after a cause, and with them in the model it explains only what they leave over (Rosenbaum 1984).

    Parameters
    ----------
    hazard : Hazard
        Whose causes are asked for.
    frame, lapsed
        As for :func:`clvlib.clv.churn_hazard.fit_hazard`.
    """
    from sklearn.linear_model import PoissonRegressor  # type: ignore[import-untyped]

    causes = {f.name for f in FEATURES if f.kind == "cause"} & set(hazard.names)
    asked = [f for f in FEATURES if f.name in frame and f.name in {*BESIDE, *causes}]
    values, stays = frame[[f.name for f in asked]].to_numpy(dtype=float), 1 - np.asarray(lapsed, dtype=float)
    centre, scale = values.mean(axis=0), values.std(axis=0)
    kept = scale > 1e-9 * np.maximum(np.abs(centre), 1)
    used, centre, scale = [f for f, lasts in zip(asked, kept, strict=True) if lasts], centre[kept], scale[kept]
    z = (values[:, kept] - centre) / scale
    model = PoissonRegressor(alpha=1 / (STRENGTH * len(z)), solver="newton-cholesky", max_iter=200, tol=1e-8)
    expected = model.fit(z, stays).predict(z)
    design = np.column_stack([np.ones(len(z)), z])
    hessian = (design * expected[:, None]).T @ design
    hessian[1:, 1:] += np.eye(z.shape[1]) / STRENGTH
    covariance = robust(design, stays - expected, hessian, frame.index)[1:, 1:]
    coefficients = np.asarray(model.coef_, dtype=float) / scale
    reference = np.array([0.0 if f.binary else m for f, m in zip(used, centre, strict=True)])
    return Staying(
        features=tuple(used),
        coefficients=coefficients,
        reference=reference,
        base=float(model.intercept_ + coefficients @ (reference - centre)),
        covariance=covariance / np.outer(scale, scale),
    )


def causes_of(
    staying: Staying | None,
    known: Known,
    risk: Array,
    loss: Array | None,
    level: float,
    rng: np.random.Generator,
    draws: int,
) -> pd.DataFrame:
    """Group the expected churn by cause.

    A cause that drives away a share q of the customers in whom it is present acted in q of them, so in q / P of those
    who lapse with probability P; causes of one customer share theirs in proportion to what each takes from the log
    chance to stay.

    Parameters
    ----------
    staying : Staying or None
        None where no cause is shown.
    known : Known
    risk : array, shape (customers,)
    loss : array, shape (customers,), optional
        Value at risk of each.
    level : float
        Of the interval, which holds the uncertainty of the effects and the chance of whom a cause drives away.
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
    if staying is not None:
        taken, behind = staying.behind(known.frame)
        limits = _limits(staying, known.frame, risk, (level, rng, draws))
        whole = behind.sum(axis=1)
        for j, name in enumerate(staying.causes):
            touched = int((taken[:, j] >= _FELT).sum())
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


def _limits(staying: Staying, frame: pd.DataFrame, risk: Array, how: tuple[float, np.random.Generator, int]) -> Array:
    """Return the limits of each cause's share over draws of the coefficients, shape (2, causes)."""
    level, rng, draws = how
    some = rng.choice(len(risk), _MOST, replace=False) if len(risk) > _MOST else np.arange(len(risk))
    rows, chance, scale = frame.iloc[some], risk[some][:, None], len(risk) / len(some)
    values, vectors = np.linalg.eigh(staying.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    shares = []
    for _ in range(draws):
        acted = chance * staying.behind(rows, staying.coefficients + root @ rng.standard_normal(len(values)))[1]
        luck = np.sqrt(scale * (acted * (1 - acted)).sum(axis=0)) * rng.standard_normal(acted.shape[1])
        shares.append(np.maximum(scale * acted.sum(axis=0) + luck, 0.0) / risk.sum())
    return np.asarray(np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0))
