"""Gamma-Gamma under lifetimes' name."""

# ruff: noqa: SLF001 - lifetimes' functions take any history, so they stand on the model's closed forms

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.compat.lifetimes.fitters import BaseFitter, Values, elementwise
from clvlib.compat.lifetimes.fitters.penalty import wall
from clvlib.compat.lifetimes.utils import _check_inputs, _customer_lifetime_value

__all__ = ["GammaGammaFitter"]


class GammaGammaFitter(BaseFitter):
    """Gamma-Gamma (Fader & Hardie 2013, note 025) with lifetimes' names; :class:`clvlib.GammaGammaModel` does the work.

    Its parameters are p, q and v, the last of which clvlib calls gamma, as the note does.
    """

    _model: ClassVar[type[GammaGammaModel]] = GammaGammaModel
    _letters = ("p", "q", "v")

    def fit(
        self,
        frequency: ArrayLike,
        monetary_value: ArrayLike,
        weights: ArrayLike | None = None,
        initial_params: ArrayLike | None = None,  # noqa: ARG002 - lifetimes' signature
        verbose: bool = False,  # noqa: ARG002, FBT001, FBT002 - likewise
        tol: float = 1e-7,  # noqa: ARG002 - likewise
        index: ArrayLike | None = None,
        q_constraint: bool = False,  # noqa: FBT001, FBT002 - likewise
        **kwargs: Any,  # noqa: ARG002 - likewise
    ) -> Self:
        """Estimate the parameters by maximum likelihood, less the penalty.

        Parameters
        ----------
        frequency : array_like
            Repeat purchases; customers without any take no part.
        monetary_value : array_like
            Their mean, above 0.
        weights : array_like, optional
            How many customers share each row; 1 when left out.
        initial_params, verbose, tol, **kwargs
            Settings of lifetimes' optimiser, which clvlib's has no use for: accepted and left alone.
        index : array_like, optional
            Index of ``data``.
        q_constraint : bool
            Keep q from falling below 1; there the observed mean spend stands in for the model's, which is infinite.

        Returns
        -------
        Self
            The fitted fitter.

        Raises
        ------
        DataError
            A ValueError: the vectors cannot be those of customers.

        Warns
        -----
        ConvergenceWarning
            When the data do not hold all parameters.
        """
        _check_inputs(frequency, monetary_value=monetary_value)
        data = pd.DataFrame({"monetary_value": np.asarray(monetary_value), "frequency": np.asarray(frequency)})
        data["weights"] = 1 if weights is None else np.asarray(weights)
        self._estimate(data, index, [wall(1)] if q_constraint else [])
        return self

    def conditional_expected_average_profit(
        self, frequency: ArrayLike | None = None, monetary_value: ArrayLike | None = None
    ) -> Values:
        """Return the mean spend per purchase expected of customers (note 025, eq. 5).

        Parameters
        ----------
        frequency, monetary_value : array_like, optional
            Of the customers; by default those of the fit. Without a repeat purchase all customers' mean is expected.

        Returns
        -------
        float, array or pandas.Series
            As the inputs.

        Warns
        -----
        ThinDataWarning
            Where the model has no mean (q ≤ 1) and the observed one stands in.
        """
        frequency = self.data["frequency"] if frequency is None else frequency
        monetary_value = self.data["monetary_value"] if monetary_value is None else monetary_value
        model = self.engine()
        data = getattr(self, "data", None)
        if isinstance(data, pd.DataFrame):
            model.mean_spend_ = float(np.average(data["monetary_value"], weights=data["weights"]))
        return elementwise(lambda x, m: model._finite(model._mean(self._p(), x, m)), frequency, monetary_value)

    def customer_lifetime_value(
        self,
        transaction_prediction_model: Any,
        frequency: pd.Series,
        recency: pd.Series,
        T: pd.Series,
        monetary_value: pd.Series,
        time: float = 12,
        discount_rate: float = 0.01,
        freq: str = "D",
    ) -> pd.Series:
        """Return the money expected of each customer over ``time`` months, discounted once a month.

        Parameters
        ----------
        transaction_prediction_model
            A fitted fitter of purchases.
        frequency, recency, T, monetary_value : pandas.Series
            Of the customers.
        time : float
            Months.
        discount_rate : float
            A month.
        freq : {"D", "W", "M", "h"}
            The unit of recency and T; a month has 30 days, 4.345 weeks or 720 hours.

        Returns
        -------
        pandas.Series
            By customer, named clv.

        Raises
        ------
        ParameterError
            When ``freq`` is none of these.
        """
        spend = self.conditional_expected_average_profit(frequency, monetary_value)
        return _customer_lifetime_value(
            transaction_prediction_model, frequency, recency, T, spend, time, discount_rate, freq
        )
