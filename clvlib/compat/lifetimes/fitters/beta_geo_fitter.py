"""BG/NBD under lifetimes' name."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.compat.lifetimes.fitters import Values
from clvlib.compat.lifetimes.fitters.purchase import PurchaseFitter
from clvlib.compat.lifetimes.generate_data import beta_geometric_nbd_model

__all__ = ["BetaGeoFitter"]


class BetaGeoFitter(PurchaseFitter):
    """BG/NBD (Fader, Hardie & Lee 2005) with lifetimes' names; :class:`clvlib.BetaGeoModel` does the work."""

    _model: ClassVar[type[PurchaseModel]] = BetaGeoModel
    _letters = ("r", "alpha", "a", "b")
    _times = ("alpha",)

    def fit(
        self,
        frequency: ArrayLike,
        recency: ArrayLike,
        T: ArrayLike,
        weights: ArrayLike | None = None,
        initial_params: ArrayLike | None = None,  # noqa: ARG002 - lifetimes' signature
        verbose: bool = False,  # noqa: ARG002, FBT001, FBT002 - likewise
        tol: float = 1e-7,  # noqa: ARG002 - likewise
        index: ArrayLike | None = None,
        **kwargs: Any,  # noqa: ARG002 - likewise
    ) -> Self:
        """Estimate the parameters by maximum likelihood, less the penalty.

        Parameters
        ----------
        frequency, recency, T : array_like
            Of the customers.
        weights : array_like, optional
            How many customers share each history; 1 when left out.
        initial_params, verbose, tol, **kwargs
            Settings of lifetimes' optimiser, which clvlib's has no use for: accepted and left alone.
        index : array_like, optional
            Index of ``data``.

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
        return self._fit_histories(frequency, recency, T, weights, index)

    def _generate(self, size: int = 1) -> pd.DataFrame:
        return beta_geometric_nbd_model(self._spans(size), size=size, **self._named(self._letters))

    def conditional_probability_alive(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> Values:
        """Return P(alive at T) as an array, as lifetimes does whatever comes in.

        Parameters
        ----------
        frequency, recency, T : array_like
            Histories, in the unit of the fit.

        Returns
        -------
        array
        """
        return np.atleast_1d(np.asarray(super().conditional_probability_alive(frequency, recency, T)))

    def probability_of_n_purchases_up_to_time(self, t: ArrayLike, n: ArrayLike) -> Values:
        """Return P(X(t) = n) of a new customer.

        Parameters
        ----------
        t : array_like
            Spans since the first purchase.
        n : array_like
            Numbers of repeat purchases.

        Returns
        -------
        float or array
        """
        return self._chance(n, t, 0, 0, 0)
