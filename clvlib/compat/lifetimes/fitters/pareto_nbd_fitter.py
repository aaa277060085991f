"""Pareto/NBD under lifetimes' name."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import pandas as pd
from numpy.typing import ArrayLike

from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.compat.lifetimes.fitters import Values
from clvlib.compat.lifetimes.fitters.purchase import PurchaseFitter
from clvlib.compat.lifetimes.generate_data import pareto_nbd_model

__all__ = ["ParetoNBDFitter"]


class ParetoNBDFitter(PurchaseFitter):
    """Pareto/NBD (Schmittlein and others 1987) with lifetimes' names; :class:`clvlib.ParetoNBDModel` does the work."""

    _model: ClassVar[type[PurchaseModel]] = ParetoNBDModel
    _letters = ("r", "alpha", "s", "beta")
    _times = ("alpha", "beta")
    _per_customer = False

    def fit(
        self,
        frequency: ArrayLike,
        recency: ArrayLike,
        T: ArrayLike,
        weights: ArrayLike | None = None,
        iterative_fitting: int = 1,  # noqa: ARG002 - lifetimes' signature
        initial_params: ArrayLike | None = None,  # noqa: ARG002 - likewise
        verbose: bool = False,  # noqa: ARG002, FBT001, FBT002 - likewise
        tol: float = 1e-4,  # noqa: ARG002 - likewise
        index: ArrayLike | None = None,
        fit_method: str = "Nelder-Mead",  # noqa: ARG002 - likewise
        maxiter: int = 2000,  # noqa: ARG002 - likewise
        **kwargs: Any,  # noqa: ARG002 - likewise
    ) -> Self:
        """Estimate the parameters by maximum likelihood, less the penalty.

        Parameters
        ----------
        frequency, recency, T : array_like
            Of the customers.
        weights : array_like, optional
            How many customers share each history; 1 when left out.
        iterative_fitting, initial_params, verbose, tol, fit_method, maxiter, **kwargs
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
        return pareto_nbd_model(self._spans(size), size=size, **self._named(self._letters))

    def conditional_probability_of_n_purchases_up_to_time(
        self, n: ArrayLike, t: ArrayLike, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike
    ) -> Values:
        """Return P(n purchases in the next t) of customers, given their histories.

        Parameters
        ----------
        n : array_like
            Numbers of purchases.
        t : array_like
            Spans after T.
        frequency, recency, T : array_like
            Histories, in the unit of the fit.

        Returns
        -------
        float, array or pandas.Series
            As the inputs.
        """
        return self._chance(n, t, frequency, recency, T)
