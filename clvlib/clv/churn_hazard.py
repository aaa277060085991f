"""The discrete-time hazard of lapsing: a logistic regression over customers and days, kept linear so that it explains.

Each row is a customer who was active on one of several days; the target is whether nothing was bought in the weeks that
followed (landmarks: van Houwelingen 2007). The purchase model's forecast is one of the features, so that the shop's
other tables only have to add what it does not know. The logit of a risk is a sum over groups of features, exactly, also
after calibration, which is a straight line on the logit (Platt 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from clvlib.clv.churn_features import FEATURES, Feature
from clvlib.errors import EmptyDataError
from clvlib.stats.multiplicity import adjust
from clvlib.words import mark

__all__ = [
    "BESIDE",
    "FEWEST",
    "STRENGTH",
    "Hazard",
    "Line",
    "fit_hazard",
    "logit",
    "no_evidence",
    "robust",
    "straightened",
]

Array = NDArray[np.float64]

FEWEST = 30  # lapses, and as many customers who stayed, from which a hazard is learnt
STRENGTH = 1.0  # C of scikit-learn: coefficients of standardised features ~ N(0, 1)
_GENTLE = 4.0  # precision of the prior that calibration changes nothing: standard deviations of 0.5
_SMALL = 1e-9
_IN = mark("in the model")
BESIDE = (
    "silence",
    *(feature.name for feature in FEATURES if feature.kind == "context"),
)  # what is known beside causes
_BY_FEATURE = {feature.name: feature for feature in FEATURES}


@dataclass(frozen=True)
class Hazard:
    """A fitted hazard.

    Attributes
    ----------
    names : tuple of str
        Features in use.
    coefficients : array
        Change of the logit per unit of each.
    reference : array
        Value of each at which it adds nothing: the harmless level of a yes or no, the mean of the others.
    base : float
        Logit where every feature is at its reference.
    covariance : array
        Of the coefficients, robust to customers being in several rows.
    evidence : pandas.DataFrame
        By feature, those left out too: group, odds_ratio (yes against no, or per standard deviation; of a cause beside
        :data:`BESIDE` alone) with lower and upper (95%), p_value (of the group, adjusted by Holm), verdict: "in the
        model", "not shown", "no harm shown", "the same for everybody".
    """

    names: tuple[str, ...]
    coefficients: Array
    reference: Array
    base: float
    covariance: Array = field(repr=False)
    evidence: pd.DataFrame = field(repr=False)

    @property
    def groups(self) -> list[str]:
        """The group of each feature in use."""
        return [_BY_FEATURE[name].group for name in self.names]

    def parts(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return what each group adds to the logit of each customer's risk."""
        apart = (frame[list(self.names)].to_numpy(dtype=float) - self.reference) * self.coefficients
        groups = self.groups
        columns = {g: apart[:, [i for i, own in enumerate(groups) if own == g]].sum(axis=1) for g in groups}
        return pd.DataFrame(columns, index=frame.index)

    def logit(self, frame: pd.DataFrame) -> Array:
        """Return the logit of each customer's risk: ``base`` and the sum of :meth:`parts`."""
        return np.asarray(self.base + self.parts(frame).sum(axis=1).to_numpy())

    def calibrated(self, frame: pd.DataFrame, lapsed: ArrayLike) -> Hazard:
        """Return the hazard moved and stretched to what happened to other customers, or later."""
        line = straightened(self.logit(frame), lapsed)
        return replace(
            self,
            coefficients=line.slope * self.coefficients,
            base=line.shift + line.slope * self.base,
            covariance=line.slope**2 * self.covariance,
        )


class Line(NamedTuple):
    """A straight line on the logit, with the robust standard error of its slope."""

    shift: float
    slope: float
    error: float


def logit(chance: ArrayLike) -> Array:
    """Return log-odds, kept off 0 and 1 by one in a million."""
    return np.asarray(special.logit(np.clip(np.asarray(chance, dtype=float), 1e-6, 1 - 1e-6)))


def straightened(
    logits: ArrayLike, lapsed: ArrayLike, precision: float = _GENTLE, customers: ArrayLike | None = None
) -> Line:
    """Fit what happened by a straight line on forecast logits (Platt 1999; Cox 1958).

    Parameters
    ----------
    logits : array_like, shape (n,)
        Of the forecasts.
    lapsed : array_like, shape (n,)
        Whether it happened.
    precision : float
        Of the normal prior around "as it is" (shift 0, slope 1); 0 asks the data alone.
    customers : array_like, shape (n,), optional
        Whose rows they are; rows of one customer count as one observation in the error.

    Examples
    --------
    >>> line = straightened([-1.0, -1.0, 1.0, 1.0], [0, 1, 1, 1], precision=0.04)
    >>> line.shift > 0, 0 < line.slope < 2
    (True, True)
    """
    x, y = np.asarray(logits, dtype=float), np.asarray(lapsed, dtype=float)
    design = np.column_stack([np.ones(len(x)), x])
    prior, theta = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    penalty = max(precision, 1e-6) * np.eye(2)

    def loss(at: Array) -> float:
        linear = design @ at
        return float((np.logaddexp(0, linear) - y * linear).sum() + 0.5 * (at - prior) @ penalty @ (at - prior))

    for _ in range(50):
        p = special.expit(design @ theta)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, design.T @ (y - p) - penalty @ (theta - prior))
        size = 1.0
        while size > 1e-6 and loss(theta + size * step) > loss(theta) + 1e-12:
            size /= 2
        theta = theta + size * step
        if float(np.abs(step).max()) < _SMALL:
            break
    spread = robust(design, y - special.expit(design @ theta), hessian, customers)
    return Line(float(theta[0]), float(theta[1]), float(np.sqrt(spread[1, 1])))


def fit_hazard(frame: pd.DataFrame, lapsed: ArrayLike, alpha: float = 0.05) -> Hazard:
    """Learn the hazard, from the features that the data speak for.

    Causes that come out harmless are left out, then groups (but for silence) whose Wald test, adjusted by Holm for
    their number, does not reject at ``alpha``; so a cause is named where the data show one, and hardly ever else.
    Causes are tested first, beside :data:`BESIDE` alone: other signs come after a cause and would hide it. Silence
    stays, since what takes time to be seen, such as a late parcel, is seen in those who have been silent for longer.

    Parameters
    ----------
    frame : pandas.DataFrame
        By customer_id, a row per customer and day; columns of :data:`~clvlib.clv.churn_features.FEATURES`.
    lapsed : array_like
        Whether each then bought nothing.
    alpha : float
        Chance to name any cause that is none.

    Raises
    ------
    EmptyDataError
        Too few lapsed, or too few did not.
    """
    y = np.asarray(lapsed, dtype=float)
    if min(y.sum(), len(y) - y.sum()) < FEWEST:
        raise EmptyDataError(
            f"{int(y.sum()):,} of {len(y):,} lapsed in the past: to learn why, it needs {FEWEST} who did and {FEWEST} "
            "who did not"
        )
    features = [feature for feature in FEATURES if feature.name in frame]
    values = frame[[feature.name for feature in features]].to_numpy(dtype=float)
    centre, scale = values.mean(axis=0), values.std(axis=0)
    customers = pd.factorize(frame.index)[0]
    evidence: dict[str, dict[str, object]] = {}
    kept = np.flatnonzero(scale > _SMALL * np.maximum(np.abs(centre), 1))
    for place in set(range(len(features))) - set(kept.tolist()):
        evidence[features[place].name] = {"verdict": "the same for everybody"}

    def select(kept: NDArray[np.intp], kinds: set[str]) -> tuple[NDArray[np.intp], _Fitted]:
        while True:
            fitted = _fitted((values[:, kept] - centre[kept]) / scale[kept], y, customers)
            used = [features[i] for i in kept]
            tested = _tested(used, fitted, scale[kept], kinds)
            verdicts = _verdicts(used, fitted, tested, kinds, alpha)
            for f, row, verdict in zip(used, tested, verdicts, strict=True):
                if f.kind in kinds or verdict != _IN:
                    evidence[f.name] = {**row, "verdict": verdict}
            lasting = np.array([verdict == _IN for verdict in verdicts])
            if lasting.all():
                return kept, fitted
            kept = kept[lasting]

    apart = np.array([features[i].kind == "cause" for i in kept], dtype=bool)
    beside = np.array([features[i].name in BESIDE for i in kept], dtype=bool)
    named, _ = select(kept[apart | beside], {"cause"}) if apart.any() else (kept[:0], None)
    kept, fitted = select(kept[~apart | np.isin(kept, named)], {"sign", "context"})
    used = [features[i] for i in kept]
    coefficients = fitted.coefficients / scale[kept]
    reference = np.array([0.0 if f.binary else m for f, m in zip(used, centre[kept], strict=True)])
    return Hazard(
        names=tuple(f.name for f in used),
        coefficients=coefficients,
        reference=reference,
        base=fitted.intercept + float(coefficients @ (reference - centre[kept])),
        covariance=fitted.covariance / np.outer(scale[kept], scale[kept]),
        evidence=_evidence(features, evidence),
    )


class _Fitted(NamedTuple):
    """A logistic regression on standardised features."""

    intercept: float
    coefficients: Array
    covariance: Array


def _fitted(z: Array, y: Array, customers: ArrayLike) -> _Fitted:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    model = LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=200, tol=1e-8).fit(z, y)
    p = model.predict_proba(z)[:, 1]
    design = np.column_stack([np.ones(len(y)), z])
    hessian = (design * (p * (1 - p))[:, None]).T @ design
    hessian[1:, 1:] += np.eye(z.shape[1]) / STRENGTH
    spread = robust(design, y - p, hessian, customers)
    return _Fitted(float(model.intercept_[0]), np.asarray(model.coef_[0], dtype=float), spread[1:, 1:])


def robust(design: Array, residual: Array, hessian: Array, customers: ArrayLike | None) -> Array:
    """Return the sandwich covariance over customers (Liang & Zeger 1986); each row its own where none are named."""
    scores = design * residual[:, None]
    if customers is not None:
        code = pd.factorize(np.asarray(customers))[0]
        scores = np.column_stack([np.bincount(code, column) for column in scores.T])
    bread = np.linalg.inv(hessian)
    return np.asarray(bread @ (scores.T @ scores) @ bread)


def _tested(used: Sequence[Feature], fitted: _Fitted, scale: Array, kinds: set[str]) -> list[dict[str, object]]:
    """Return odds ratios with limits, and the p-value of each group of these kinds, adjusted for their number."""
    groups = list(dict.fromkeys(feature.group for feature in used if feature.kind in kinds))
    p_values = []
    for group in groups:
        at = [i for i, feature in enumerate(used) if feature.group == group]
        b, v = fitted.coefficients[at], fitted.covariance[np.ix_(at, at)]
        p_values.append(float(stats.chi2.sf(b @ np.linalg.pinv(v) @ b, len(at))))
    adjusted = dict(zip(groups, adjust(p_values), strict=True))
    error = np.sqrt(np.diag(fitted.covariance))
    z = float(stats.norm.isf(0.025))
    rows: list[dict[str, object]] = []
    for i, feature in enumerate(used):
        unit = 1 / float(scale[i]) if feature.binary else 1.0
        b = fitted.coefficients[i]
        limits = np.exp(np.clip(unit * np.array([b, b - z * error[i], b + z * error[i]]), -50, 50))
        rows.append(
            dict(zip(("odds_ratio", "lower", "upper"), limits.tolist(), strict=True))
            | {"p_value": float(adjusted.get(feature.group, np.nan))}
        )
    return rows


def _verdicts(
    used: Sequence[Feature], fitted: _Fitted, tested: Sequence[dict[str, object]], kinds: set[str], alpha: float
) -> list[str]:
    """Return which features stay; those that do no harm go first, since others may stand in for them."""
    harmless = [f.kind == "cause" and b <= 0 for f, b in zip(used, fitted.coefficients, strict=True)]
    if any(harmless):
        return ["no harm shown" if bad else _IN for bad in harmless]
    return [
        _IN
        if feature.kind not in kinds or feature.group == "silence" or float(str(row["p_value"])) <= alpha
        else "not shown"
        for feature, row in zip(used, tested, strict=True)
    ]


def no_evidence() -> pd.DataFrame:
    """Return the form of :attr:`Hazard.evidence` where there is no hazard."""
    return _evidence([], {})


def _evidence(features: Sequence[Feature], found: dict[str, dict[str, object]]) -> pd.DataFrame:
    columns = ["odds_ratio", "lower", "upper", "p_value", "verdict"]
    rows = [{"feature": f.name, "group": f.group, **found[f.name]} for f in features]
    return pd.DataFrame(rows, columns=["feature", "group", *columns]).set_index("feature")
