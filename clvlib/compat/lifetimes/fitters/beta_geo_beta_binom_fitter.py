"""BG/BB under lifetimes' name."""

# ruff: noqa: SLF001 - lifetimes' functions take any history, so they stand on the model's closed forms

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.beta_geo_beta_binom import BetaGeoBetaBinomModel
from clvlib.clv.special import log_rising
from clvlib.compat.lifetimes.fitters import BaseFitter, Values, elementwise
from clvlib.compat.lifetimes.generate_data import beta_geometric_beta_binom_model

__all__ = ["BetaGeoBetaBinomFitter"]

Array = NDArray[np.float64]


class BetaGeoBetaBinomFitter(BaseFitter):
    """BG/BB (Fader, Hardie & Shang 2010) with lifetimes' names; :class:`clvlib.BetaGeoBetaBinomModel` does the work."""

    _model: ClassVar[type[BetaGeoBetaBinomModel]] = BetaGeoBetaBinomModel
    _letters = ("alpha", "beta", "gamma", "delta")

    def fit(
        self,
        frequency: ArrayLike,
        recency: ArrayLike,
        n_periods: ArrayLike,
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
        frequency : array_like
            Occasions used.
        recency : array_like
            The last of them; 0 for none.
        n_periods : array_like
            Occasions there were.
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
        columns = {"frequency": frequency, "recency": recency, "n_periods": n_periods}
        data = pd.DataFrame({name: np.asarray(values) for name, values in columns.items()})
        self._estimate(data.assign(weights=1 if weights is None else np.asarray(weights)), index)
        return self

    def _offer(self) -> None:
        self.generate_new_data = self._generate

    def _generate(self, size: int = 1) -> pd.DataFrame:
        """Draw customers from the fitted model, with as many occasions as those of the data."""
        occasions = np.resize(self.data["n_periods"].to_numpy(), size)
        return beta_geometric_beta_binom_model(occasions, size=size, **self._named(self._letters))

    def conditional_expected_number_of_purchases_up_to_time(
        self, m_periods_in_future: ArrayLike, frequency: ArrayLike, recency: ArrayLike, n_periods: ArrayLike
    ) -> Values:
        """Return the purchases expected of customers at the next occasions, given their histories.

        Parameters
        ----------
        m_periods_in_future : array_like
            How many occasions.
        frequency, recency, n_periods : array_like
            Histories.

        Returns
        -------
        float, array or pandas.Series
            As the inputs.
        """

        def expected(m: Array, x: Array, t_x: Array, n: Array) -> Array:
            return self._model()._expected(self._p(), Cells.of(frequency=x, recency=t_x, T=n), m)

        return elementwise(expected, m_periods_in_future, frequency, recency, n_periods)

    def conditional_probability_alive(
        self, m_periods_in_future: ArrayLike, frequency: ArrayLike, recency: ArrayLike, n_periods: ArrayLike
    ) -> Values:
        """Return P(alive at the m-th coming occasion) of customers, given their histories.

        Parameters
        ----------
        m_periods_in_future : array_like
            Which occasion; 0 is the last one there was.
        frequency, recency, n_periods : array_like
            Histories.

        Returns
        -------
        float, array or pandas.Series
            As the inputs.
        """
        *_, gamma, delta = self._p()

        def alive(m: Array, x: Array, t_x: Array, n: Array) -> Array:
            next_one = self._model()._alive(self._p(), Cells.of(frequency=x, recency=t_x, T=n))
            first = delta + n + 1  # of the occasions that remain to be survived from there
            return np.asarray(next_one * np.exp(log_rising(first, m - 1) - log_rising(gamma + first, m - 1)))

        return elementwise(alive, m_periods_in_future, frequency, recency, n_periods)

    def expected_number_of_transactions_in_first_n_periods(self, n: int) -> pd.DataFrame:
        """Return how many of the fitted customers are expected to use x of the first n occasions.

        Parameters
        ----------
        n : int
            Occasions.

        Returns
        -------
        pandas.DataFrame
            Column model, by the frequencies that the data have.
        """
        levels = np.unique(self.data["frequency"].to_numpy())
        model = self.engine()
        customers = [self.data["weights"].sum() * model.count_probability_new(n, int(x)) for x in levels]
        return pd.DataFrame({"model": customers}, index=pd.Index(levels, name="frequency"))
