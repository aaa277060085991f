"""Who fits: our own fitter, or the lifetimes package for comparison, behind one interface."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from clvlib.clv.models.base import Estimator
from clvlib.errors import ParameterError

__all__ = ["DROPOUT", "DROPOUT_PRIOR", "FITTERS", "Engine", "fit", "unfitted"]

Engine = Literal["clvlib", "lifetimes"]
Model = TypeVar("Model", bound=Estimator)

# our model -> lifetimes' fitter, and our letter -> theirs
FITTERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "BetaGeoModel": ("BetaGeoFitter", {"r": "r", "alpha": "alpha", "a": "a", "b": "b"}),
    "ModifiedBetaGeoModel": ("ModifiedBetaGeoFitter", {"r": "r", "alpha": "alpha", "a": "a", "b": "b"}),
    "ParetoNBDModel": ("ParetoNBDFitter", {"r": "r", "alpha": "alpha", "s": "s", "beta": "beta"}),
    "GammaGammaModel": ("GammaGammaFitter", {"p": "p", "q": "q", "gamma": "v"}),
}

# models in which customers leave, and the letters that say how many do
DROPOUT: Mapping[str, tuple[str, ...]] = {
    "BetaGeoModel": ("a", "b"),
    "ModifiedBetaGeoModel": ("a", "b"),
    "ParetoNBDModel": ("s",),
}
DROPOUT_PRIOR = 1.5


def unfitted(model: type[Model], dropout_prior: float | None = DROPOUT_PRIOR) -> Model:
    """Return a model that is to be fitted with a weak prior of how many customers leave.

    Parameters
    ----------
    model : type
        Of the model; one in which nobody leaves has no such prior.
    dropout_prior : float or None
        Standard deviation of the logs of the dropout parameters around 0; None: no prior.
    """
    letters = DROPOUT.get(model.__name__, ())
    if dropout_prior is None or not letters:
        return model()
    return model(prior=dict.fromkeys(letters, (1.0, dropout_prior)))


def fit(model: Model, summary: pd.DataFrame, engine: Engine = "clvlib", near: Model | None = None) -> Model:
    """Fit a model with the engine asked for.

    Parameters
    ----------
    model : Estimator
        An unfitted model of ours.
    summary : pandas.DataFrame
        As for its ``fit``.
    engine : {"clvlib", "lifetimes"}
        With "lifetimes" that package estimates the parameters; likelihood, standard errors and predictions at them are
        ours, so that two engines differ in nothing but where their fits ended.
    near : Estimator, optional
        The same model fitted to similar data, such as those of another day: our own fit begins there.

    Returns
    -------
    Estimator
        The model, fitted.

    Raises
    ------
    ParameterError
        When the engine is unknown, not installed, or cannot fit this model.

    Warns
    -----
    ConvergenceWarning
        When the fit ended elsewhere than at a maximum.
    """
    if engine == "clvlib":
        return model._beginning(near).fit(summary)  # noqa: SLF001 - the engine is part of the machinery
    if engine != "lifetimes":
        raise ParameterError(f"engine is 'clvlib' or 'lifetimes'; found {engine!r}")
    name = type(model).__name__
    if name not in FITTERS:
        raise ParameterError(f"lifetimes cannot fit {name}; it can fit {', '.join(FITTERS)}")
    params = _by_lifetimes(name, summary)
    return model._adopt(params, summary)  # noqa: SLF001 - the engine is part of the machinery


def _by_lifetimes(name: str, summary: pd.DataFrame) -> dict[str, float]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it was written for older pandas and says so at import
            import lifetimes
    except ImportError as error:
        raise ParameterError("engine='lifetimes' needs the lifetimes package: install the extra [report]") from error
    fitter_name, letters = FITTERS[name]
    fitter: Any = getattr(lifetimes, fitter_name)()
    columns = ["frequency", "monetary_value"] if name == "GammaGammaModel" else ["frequency", "recency", "T"]
    rows = summary[(summary["frequency"] > 0) & (summary["monetary_value"] > 0)] if len(columns) == 2 else summary
    weights = rows.get("n")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            fitter.fit(*[rows[column] for column in columns], weights=weights)
    except Exception as error:  # whatever another program does, ours answers in its own words
        raise ParameterError(f"lifetimes could not fit {name}: {error}") from error
    return {ours: float(fitter.params_[theirs]) for ours, theirs in letters.items()}
