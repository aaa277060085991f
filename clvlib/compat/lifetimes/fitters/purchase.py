"""What the fitters of purchasing and dropout in continuous time share."""

# ruff: noqa: SLF001 - lifetimes' functions take any history, so they stand on the models' closed forms

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.compat.lifetimes.fitters import BaseFitter, Values, elementwise

__all__ = ["PurchaseFitter"]

Array = NDArray[np.float64]


class PurchaseFitter(BaseFitter, ABC):
    """Base of the fitters that take frequency, recency and T."""

    _model: ClassVar[type[PurchaseModel]]

    def _fit_histories(
        self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike, weights: ArrayLike | None, index: ArrayLike | None
    ) -> Self:
        columns = {"frequency": frequency, "recency": recency, "T": T}
        data = pd.DataFrame({name: np.asarray(values) for name, values in columns.items()})
        self._estimate(data.assign(weights=1 if weights is None else np.asarray(weights)), index)
        return self

    def _offer(self) -> None:
        self.predict = self.conditional_expected_number_of_purchases_up_to_time
        self.generate_new_data = self._generate

    @abstractmethod
    def _generate(self, size: int = 1) -> pd.DataFrame:
        """Draw customers from the fitted model, observed as long as those of the data."""

    def _spans(self, size: int) -> Array:
        """Return how long each of ``size`` new customers is observed: as those of the data, in turn."""
        return np.resize(self.data["T"].to_numpy(dtype=float), size)

    def conditional_expected_number_of_purchases_up_to_time(
        self, t: ArrayLike, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike
    ) -> Values:
        """Return the purchases expected of customers in the next t, given their histories.

        Parameters
        ----------
        t : array_like
            Spans after T.
        frequency, recency, T : array_like
            Histories, in the unit of the fit.

        Returns
        -------
        float, array or pandas.Series
            As the inputs.
        """

        def expected(t: Array, x: Array, t_x: Array, T: Array) -> Array:
            return self._model()._expected(self._p(), Cells.of(frequency=x, recency=t_x, T=T), t)

        return elementwise(expected, t, frequency, recency, T)

    def expected_number_of_purchases_up_to_time(self, t: ArrayLike) -> Values:
        """Return E[X(t)], the repeat purchases of a new customer within t of the first purchase.

        Parameters
        ----------
        t : array_like
            Spans of time.

        Returns
        -------
        float, array or pandas.Series
            As the input.
        """
        return self.conditional_expected_number_of_purchases_up_to_time(t, 0, 0, 0)

    def conditional_probability_alive(self, frequency: ArrayLike, recency: ArrayLike, T: ArrayLike) -> Values:
        """Return P(alive at T) of customers, given their histories.

        Parameters
        ----------
        frequency, recency, T : array_like
            Histories, in the unit of the fit.

        Returns
        -------
        float, array or pandas.Series
            As the inputs.
        """

        def alive(x: Array, t_x: Array, T: Array) -> Array:
            return self._model()._alive(self._p(), Cells.of(frequency=x, recency=t_x, T=T))

        return elementwise(alive, frequency, recency, T)

    def conditional_probability_alive_matrix(
        self, max_frequency: int | None = None, max_recency: int | None = None
    ) -> Array:
        """Return P(alive) of customers observed for ``max_recency``.

        Parameters
        ----------
        max_frequency, max_recency : int, optional
            The last row and column; by default the greatest frequency and T of the data.

        Returns
        -------
        array
            By recency (rows, from 0) and frequency (columns, from 0).
        """
        x, t_x = self.grid(max_frequency, max_recency)
        return np.asarray(self.conditional_probability_alive(x, t_x, t_x.max()))

    def grid(self, max_frequency: int | None, max_recency: int | None) -> tuple[Array, Array]:
        """Return frequency (columns) and recency (rows) of the matrices that are drawn, all from 0."""
        most = self.data["frequency"].max() if max_frequency is None else max_frequency
        last = self.data["T"].max() if max_recency is None else max_recency
        x, t_x = np.meshgrid(np.arange(int(most) + 1.0), np.arange(int(last) + 1.0))
        return x, t_x

    def _chance(self, n: Any, t: Any, *history: Any) -> Values:
        """Return P(n purchases in the next t | frequency, recency, T)."""

        def chance(n: Array, t: Array, x: Array, t_x: Array, T: Array) -> Array:
            result = np.empty(len(n))
            for span in np.unique(t):
                where = t == span
                cells = Cells.of(frequency=x[where], recency=t_x[where], T=T[where])
                counts = np.stack([np.maximum(n[where], 1), n[where] + 1])
                least, more = self._model()._tail(self._p(), cells, span, counts)
                result[where] = np.where(n[where] > 0, least, 1.0) - more
            return np.clip(result, 0.0, 1.0)

        return elementwise(chance, n, t, *history)
