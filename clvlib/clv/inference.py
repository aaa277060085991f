"""What the data say about parameters beyond Wald intervals: profiles, bootstrap, posterior, likelihood ratios."""

# ruff: noqa: SLF001 - inference stands on the machinery of the models, below what users see

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import _REACH, Estimator
from clvlib.clv.optimise import newton
from clvlib.errors import ParameterError, ThinDataWarning

__all__ = ["bootstrap_intervals", "likelihood_ratio", "posterior_draws", "profile_intervals"]

Array = NDArray[np.float64]

_FREEDOM = 7.0  # of the t distribution that proposes draws: tails heavier than those of a posterior
_THIN = 0.1  # effective share of the proposals below which the posterior is not what its curvature promised


def profile_intervals(model: Estimator, summary: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return likelihood intervals of a fitted model's parameters.

    A value lies inside when the log-likelihood, maximised over all other parameters, is within χ²₁(level) / 2 of the
    maximum (Venzon & Moolgavkar 1988). Unlike a Wald interval it need not be symmetric on any scale, and it says so
    where the data hold a parameter on one side only: the limit there is 0 or infinity.

    Parameters
    ----------
    model : Estimator
        Fitted on ``summary``.
    summary : pandas.DataFrame
        What it was fitted on.
    level : float
        Of the intervals.

    Returns
    -------
    pandas.DataFrame
        By parameter: estimate, lower, upper.

    Raises
    ------
    ParameterError
        When the model does not fit the summary best: it was fitted on another, or its parameters were given.

    Examples
    --------
    >>> from clvlib.clv.models.nbd import NBDModel
    >>> rows = {"frequency": [0, 1, 2, 3, 6], "recency": [0, 5, 9, 9, 9], "T": [10.0] * 5, "n": [50, 25, 12, 9, 4]}
    >>> base = pd.DataFrame(rows)
    >>> profile_intervals(NBDModel().fit(base), base).round(2).loc["r"].to_dict()
    {'estimate': 1.0, 'lower': 0.53, 'upper': 2.19}
    """
    if not 0 < level < 1:
        raise ParameterError(f"an interval's level lies between 0 and 1; found {level}")
    centre = np.log(model._p())
    objective = model._objective(_fitting_cells(model, summary))
    top, gradient, hessian = objective(centre)
    if not np.isfinite(top) or float(gradient @ np.linalg.pinv(-hessian) @ gradient) > 0.01:
        raise ParameterError(
            f"{type(model).__name__} is not at its maximum on this summary; profiles need the one it was fitted on"
        )
    drop = float(special.chdtri(1, 1 - level)) / 2
    error = np.sqrt(np.diag(np.linalg.pinv(-hessian)))

    def limit(j: int, side: float) -> float:
        start = centre

        def excess(distance: float) -> float:
            nonlocal start
            lower, upper = centre - _REACH, centre + _REACH
            lower[j] = upper[j] = centre[j] + side * distance
            found = newton(objective, start, lower, upper)
            start = found.theta
            return float(top - found.value - drop)

        far = min(max(float(error[j]), 1e-3) * np.sqrt(2 * drop), _REACH)
        near = 0.0
        while excess(far) < 0:
            if far >= _REACH:
                return 0.0 if side < 0 else np.inf
            near, far = far, min(2 * far, _REACH)
        distance = optimize.brentq(excess, near, far, xtol=1e-6) if near or excess(1e-9) < 0 else 0.0
        return float(np.exp(centre[j] + side * distance))

    rows = [(float(np.exp(centre[j])), limit(j, -1.0), limit(j, 1.0)) for j in range(len(centre))]
    index = pd.Index(model._names, name="parameter")
    return pd.DataFrame(rows, index=index, columns=["estimate", "lower", "upper"])


def bootstrap_intervals(
    model: Estimator,
    summary: pd.DataFrame,
    level: float = 0.95,
    draws: int = 200,
    seed: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Return percentile intervals of a fitted model's parameters from resampled customers.

    Customers are drawn with replacement, which for their distinct histories is one multinomial draw of weights; each
    resample is fitted from the estimates. Where a Wald or profile interval trusts the model, this one trusts the
    customers to be alike and independent, and holds under a wrong model too.

    Parameters
    ----------
    model : Estimator
        Fitted on ``summary``.
    summary : pandas.DataFrame
        What it was fitted on; whole numbers where it has a column ``n``.
    level : float
        Of the intervals.
    draws : int
        Resamples.
    seed : int or numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        By parameter: estimate, lower, upper; the resampled estimates, shape (draws, parameters), are in
        ``attrs["draws"]``.

    Raises
    ------
    ParameterError
        Fewer draws than an interval of this level can be read from.

    Warns
    -----
    ThinDataWarning
        When some resamples do not hold all parameters; they take part with where their search ended.
    """
    if not 0 < level < 1 or draws * (1 - level) / 2 < 1:
        raise ParameterError(f"{draws} draws do not hold an interval of level {level}; take more")
    rng = np.random.default_rng(seed)
    cells = _fitting_cells(model, summary)
    theta = np.log(model._p())
    count = round(cells.customers)
    share = cells.weight / cells.customers
    found, flat = np.empty((draws, len(theta))), 0
    for i in range(draws):
        weight = rng.multinomial(count, share).astype(float)
        some = np.flatnonzero(weight)
        resample = replace(cells.take(some), weight=weight[some], rows=weight[some])
        end = newton(model._objective(resample), theta, theta - _REACH, theta + _REACH)
        found[i] = np.exp(end.theta)
        flat += end.flat is not None or not end.settled
    if flat:
        text = f"{type(model).__name__}: {flat} of {draws} resamples do not hold all parameters"
        warnings.warn(text, ThinDataWarning, stacklevel=2)
    lower, upper = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    index = pd.Index(model._names, name="parameter")
    table = pd.DataFrame({"estimate": np.exp(theta), "lower": lower, "upper": upper}, index=index)
    table.attrs["draws"] = found.tolist()
    return table


def posterior_draws(
    model: Estimator, summary: pd.DataFrame, draws: int = 1000, seed: int | np.random.Generator = 0
) -> pd.DataFrame:
    """Draw parameters from their posterior distribution: Laplace's approximation, put right by importance sampling.

    A t distribution with the mode and curvature of the posterior proposes as many draws as are asked for; they are then
    resampled by what the posterior thinks of them (Rubin 1988, sampling-importance resampling), some more than once.

    Parameters
    ----------
    model : Estimator
        Fitted on ``summary``. Its prior is that of the posterior; where it has none, the prior is flat in the logs of
        the parameters.
    summary : pandas.DataFrame
        What it was fitted on.
    draws : int
        How many.
    seed : int or numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        A row per draw, all of equal weight, a column per parameter; the effective number of proposals behind them is in
        ``attrs["effective"]``. ``type(model).with_parameters(row)`` is a model to ask for predictions.

    Raises
    ------
    ParameterError
        When the data do not hold all parameters and no prior does, so that there is no posterior; or the model was not
        fitted on this summary.

    Warns
    -----
    ThinDataWarning
        When less than a tenth of the proposals count: the posterior is far from what its curvature promises.
    """
    if draws < 1:
        raise ParameterError(f"draws is a number of draws; found {draws}")
    if not getattr(model, "converged_", False):
        raise ParameterError(
            f"{type(model).__name__} has no proper maximum on these data, so its posterior has no shape without a "
            'prior; give it one, as in prior={"a": (1.0, 0.7)}, and fit again'
        )
    rng = np.random.default_rng(seed)
    cells, centre = _fitting_cells(model, summary), np.log(model._p())
    penalties = model._taken_off()
    spread = np.linalg.cholesky(np.asarray(model._log_covariance))
    normal = rng.standard_normal((draws, len(centre)))
    away = normal * np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, draws))[:, None]
    proposals = centre + away @ spread.T

    def log_posterior(theta: Array) -> float:
        taken = sum(penalty(theta, cells)[0] for penalty in penalties)
        return float(cells.weight @ model._log_likelihood(np.exp(theta), cells)) - taken

    log_weight = np.array([log_posterior(theta) for theta in proposals])
    log_weight += (_FREEDOM + len(centre)) / 2 * np.log1p((away**2).sum(axis=1) / _FREEDOM)
    share = special.softmax(np.where(np.isfinite(log_weight), log_weight, -np.inf))
    effective = 1 / float(share @ share)
    if effective < _THIN * draws:
        text = f"{type(model).__name__}: only {effective:.0f} of {draws} proposals count; a prior would help"
        warnings.warn(text, ThinDataWarning, stacklevel=2)
    at = (rng.random() + np.arange(draws)) / draws  # systematic: each is taken as often as its weight says, or so
    chosen = np.minimum(np.searchsorted(np.cumsum(share), at), draws - 1)
    table = pd.DataFrame(np.exp(proposals[rng.permutation(chosen)]), columns=list(model._names))
    table.index.name = "draw"
    table.attrs["effective"] = effective
    return table


def likelihood_ratio(simple: Estimator, full: Estimator) -> pd.Series:
    """Test whether a fuller model fits better than a simpler one nested in it, by more than chance explains.

    Parameters
    ----------
    simple, full : Estimator
        Both fitted on the same summary; ``simple`` is ``full`` with some parameters held.

    Returns
    -------
    pandas.Series
        statistic (twice the gain in log-likelihood), freedom (parameters more), p_value (of χ²), and aic_gain (above
        0 where the fuller model is worth its parameters). Where the simpler model lies at a border of the fuller one,
        as NBD does in Pareto/NBD, the true p-value is smaller: the test is then on the safe side (Self & Liang 1987).

    Raises
    ------
    ParameterError
        When the models saw different customers or time units, or the second has no more parameters than the first, or
        fits worse, so that they are not nested.

    Examples
    --------
    >>> from clvlib.clv.models.beta_geo import BetaGeoModel
    >>> likelihood_ratio(BetaGeoModel(), BetaGeoModel())
    Traceback (most recent call last):
    ...
    clvlib.errors.NotFittedError: BetaGeoModel is not fitted yet; call fit(summary) first
    """
    for model in (simple, full):
        model._p()
        if not hasattr(model, "log_likelihood_"):
            raise ParameterError(f"this {type(model).__name__} was given its parameters; a test needs both fitted")
        if model._taken_off():
            raise ParameterError(
                f"this {type(model).__name__} was fitted with a prior; the test needs likelihoods alone"
            )
    if simple.n_customers_ != full.n_customers_ or simple.unit_ != full.unit_:
        raise ParameterError("the two models were fitted on different summaries, so their likelihoods do not compare")
    freedom = len(full._names) - len(simple._names)
    statistic = 2 * (full.log_likelihood_ - simple.log_likelihood_)
    if freedom < 1 or statistic < -1e-4:
        raise ParameterError(
            f"{type(simple).__name__} is not nested in {type(full).__name__}: it has "
            f"{len(simple._names)} parameters against {len(full._names)} and a log-likelihood of "
            f"{simple.log_likelihood_:.3f} against {full.log_likelihood_:.3f}; compare their AIC"
        )
    statistic = max(statistic, 0.0)
    p_value = float(special.chdtrc(freedom, statistic))
    row = {"statistic": statistic, "freedom": freedom, "p_value": p_value, "aic_gain": statistic - 2 * freedom}
    return pd.Series(row, name="likelihood_ratio")


def _fitting_cells(model: Estimator, summary: pd.DataFrame) -> Cells:
    """Return the histories that the model's fit used."""
    cells = model._usable(model._read(summary))
    if abs(cells.customers - getattr(model, "n_customers_", cells.customers)) > 1e-6 * cells.customers:
        raise ParameterError(f"{type(model).__name__} was fitted on other customers than these {cells.customers:,.0f}")
    return cells
