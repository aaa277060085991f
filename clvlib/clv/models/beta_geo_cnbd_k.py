"""BG/CNBD-k and MBG/CNBD-k: BG/NBD and MBG/NBD for customers who buy more regularly than a Poisson process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.cells import Cells, unit_of
from clvlib.clv.models import regular_purchases
from clvlib.clv.models.base import Prior
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.interpurchase import read_litt
from clvlib.clv.models.nbd import rate_derivatives, rate_log_likelihood
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.optimise import Derivatives, maximise
from clvlib.clv.special import log_rising, rising_slope
from clvlib.errors import ParameterError

__all__ = ["BetaGeoCNBDkModel", "ModifiedBetaGeoCNBDkModel"]

Array = NDArray[np.float64]

_LARGEST = 12  # k is searched up to here
_ALLOWED = 40  # and may be given up to here: the phases' polynomial stays within double range
_SMALL = 20_000  # more histories than this: a part of them says which k are worth a look at more of them
_PARTS = (5_000, 50_000, 150_000)
_CLEAR = 10.0  # those whose log-likelihoods lie as near as this to the best
_GRAIN = 1e-3  # a recency of 0 after a repeat purchase is below the clock's grain: it counts as this share of T


class BetaGeoCNBDkModel(BetaGeoModel):
    """BG/CNBD-k (Platzer & Reutterer 2016; Reutterer, Platzer & Schröder 2021).

    As :class:`BetaGeoModel`, but the time between purchases is Erlang-k with rate λ ~ Gamma(r, α): a purchase is every
    k-th event of a Poisson process, so that the larger k, the more regular the buying. k = 1 is BG/NBD.

    Parameters
    ----------
    k : int, optional
        1 to 40. None: the one of 1, 2, ..., 12 with the largest likelihood.
    prior : mapping of str to (float, float), optional
        See :class:`Estimator`.

    Attributes
    ----------
    k_ : int
        The regularity in use.
    k_log_likelihoods_ : list of float
        Maximised log-likelihoods (less the penalty of a prior) of k = 1, 2, ... as far as the search for k went; empty
        when k was given, or when a part of very many histories chose it.

    Notes
    -----
    The summary may carry a column ``litt``, the sum of the logs of the times between a customer's purchases, in the
    unit of T (0 without a repeat purchase). For a given k the estimates do not depend on it. Between different k it
    speaks directly of regularity within customers. Without it the likelihood is that of frequency and recency alone,
    the purchases between averaged out: the choice of k is then a consistent one too, from less evidence. In both cases
    log-likelihoods are on the scale of BG/NBD and can be compared with those of other models on the same summary.

    P(alive), the distribution of counts and drawing are exact: given alive, the number j < k of events since the last
    purchase is a mixture, in whose parts λ ~ Gamma(r + kx + j, α + T). Expected purchases are a generating function at
    the k-th roots of unity, averaged over the chance to leave by quadrature, with a relative error below 1e-8.

    Examples
    --------
    >>> import pandas as pd
    >>> params = {"r": 0.9, "alpha": 6.0, "a": 0.8, "b": 2.5}
    >>> customers = pd.DataFrame({"frequency": [9, 9], "recency": [36.0, 30.0], "T": [38.0, 38.0]}, index=["1", "2"])
    >>> for k in (1, 3):  # 8 weeks of silence after purchases every three and a half
    ...     model = BetaGeoCNBDkModel.with_parameters(params, unit="W", k=k)
    ...     print(k, model.probability_alive(customers).round(2).to_dict())
    1 {'1': 0.89, '2': 0.64}
    3 {'1': 0.92, '2': 0.49}
    """

    _wants_litt = True
    k_: int
    k_log_likelihoods_: list[float]

    def __init__(self, k: int | None = None, prior: Prior | None = None) -> None:
        super().__init__(prior)
        self.k = k

    # ---- choosing k

    def fit(self, summary: pd.DataFrame) -> Self:
        """Estimate the parameters by maximum likelihood, and k with them unless it was given.

        Parameters
        ----------
        summary : pandas.DataFrame
            A row per customer, or per distinct history with the number of customers in ``n``; optionally ``litt``.

        Returns
        -------
        Self
            The fitted model.

        Raises
        ------
        MissingColumnError, EmptyDataError, DataError, ParameterError
            When the summary, or k, cannot be used as it is.

        Warns
        -----
        ConvergenceWarning
            When the data do not hold all parameters; the text names the simpler model that suffices.
        """
        cells = Cells.read(summary, self._columns)
        if "litt" in summary:  # the likelihood is linear in it: the mean per history holds all
            total = np.bincount(cells.inverse, weights=read_litt(summary) * cells.rows, minlength=len(cells))
            mean = total / np.where(cells.weight > 0, cells.weight, 1.0)
            cells = replace(cells, columns={**cells.columns, "litt": mean})
        self.k_log_likelihoods_ = []
        self.k_ = self._choose(cells) if self.k is None else _checked(self.k)
        return self._fit_cells(cells, unit_of(summary))

    def _choose(self, cells: Cells) -> int:
        """Return the k with the largest likelihood; of very many histories ever larger parts narrow the choice."""
        near, known = list(range(1, _LARGEST + 1)), dict[int, Array]()
        parts = [cells.part(size) for size in _PARTS if size < len(cells)] if len(cells) > _SMALL else []
        for part in parts:
            values = self._search(part, near, known)
            near = [k for k, value in zip(near, values, strict=False) if value > max(values) - _CLEAR]
            if len(near) == 1:
                return near[0]
        values = self._search(cells, near, known)
        self.k_log_likelihoods_ = [] if parts else values
        return near[int(np.argmax(values))]

    def _search(self, cells: Cells, among: Sequence[int], known: dict[int, Array]) -> list[float]:
        """Return the maximised log-likelihood of each k in turn, until it has fallen twice in a row.

        Known optima of this k, or else the one before, lead there; those found are added.
        """
        values: list[float] = []
        for k in among:
            self.k_ = k
            own = [np.log(np.asarray(start, dtype=float)) for start in self._starts(cells)]
            warm = [known[j] - np.array([0.0, np.log(k / j), 0.0, 0.0]) for j in (k, k - 1) if j in known][:1]
            optimum = maximise(self._objective(cells), warm or own, own[0] - 25, own[0] + 25)
            if optimum.flat is None:
                known[k] = optimum.theta
            values.append(optimum.value)
            if len(values) > 2 and values[-1] <= values[-2] <= values[-3]:
                break
        return values

    @classmethod
    def with_parameters(cls, params: Mapping[str, float] | pd.Series, unit: str = "", **arguments: Any) -> Self:
        """Return a model with given parameters: published ones, or those of another program.

        Parameters
        ----------
        params : mapping of str to float
            r, alpha, a, b; k may stand among them.
        unit : str
            Time unit that they belong to; empty: not said.
        **arguments
            ``k``, unless it is among the parameters.

        Raises
        ------
        ParameterError
            When k or a letter is missing, unknown, or its value is not possible.
        """
        letters = dict(params)
        k = _checked(letters.pop("k", arguments.pop("k", None)))
        model = super().with_parameters(letters, unit, k=k, **arguments)
        model.k_, model.k_log_likelihoods_ = k, []
        return model

    def log_likelihood(self, summary: pd.DataFrame) -> pd.Series:
        """Return each customer's log-likelihood under the fitted parameters; with ``litt`` of the times between too."""
        cells = self._read(summary)
        if "litt" in summary:
            columns = {name: cells.expand(cells[name]) for name in self._columns}
            cells = replace(Cells.of(**columns, litt=read_litt(summary)), index=summary.index)
        return self._series(cells, self._log_likelihood(self._p(), cells), "log_likelihood")

    # ---- likelihood

    def _phases(self, p: Array, cells: Cells) -> tuple[Array, Array]:
        """Return s = r + kx, and the unnormalised chances (k, m) of j events since the last purchase.

        Given alive they are (s)_j / j! · z^j with z = (T − t_x)/(α + T); their sum S is 1 for k = 1.
        """
        r, alpha = p[:2]
        s = r + self.k_ * cells["frequency"]
        z = (cells["T"] - cells["recency"]) / (alpha + cells["T"])
        chance = np.ones((self.k_, len(s)))
        for j in range(1, self.k_):
            chance[j] = chance[j - 1] * ((s + (j - 1)) / j * z)
        return s, chance

    def _mixture(self, p: Array, cells: Cells) -> tuple[Array, Array, Array]:
        """Return the log odds of having left, the log of S, and the chances e that were survived.

        The odds are a/(b + e − 1) · ((α + T)/(α + t_x))^s / S.
        """
        alpha, a, b = p[1:]
        t_x, T = cells["recency"], cells["T"]
        s, chance = self._phases(p, cells)
        whole = np.log(chance.sum(axis=0))
        e = cells["frequency"] + self._at_start
        odds = np.log(a) - np.log(b + np.maximum(e, 1) - 1) + s * np.log1p((T - t_x) / (alpha + t_x)) - whole
        return np.where(e > 0, odds, -np.inf), whole, e

    def _events(self, cells: Cells) -> tuple[Array, NDArray[np.intp], Array]:
        """Return the histogram of the events of the Poisson process, k for each purchase."""
        levels, code, mass = cells.histogram
        return self.k_ * levels, code, mass

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        odds, whole, _ = self._mixture(p, cells)
        return self._rows(p, cells, odds) + whole

    def _rows(self, p: Array, cells: Cells, odds: Array) -> Array:
        r, alpha, a, b = p
        levels, code, _ = cells.histogram
        e = levels + self._at_start
        stays = np.asarray(log_rising(b, e) - log_rising(a + b, e))[code]
        rate = rate_log_likelihood(r, alpha, self.k_ * cells["frequency"], cells["T"], self._events(cells))
        return np.asarray(self._between(cells) + rate + stays + np.logaddexp(0.0, odds))

    def _between(self, cells: Cells) -> Array:
        """Return what the times between purchases add to the log-likelihood: it depends on k alone.

        With litt this is ln Π Δ_i^(k−1) / Γ(k)^x. Without, the product is averaged over where the purchases may lie
        before t_x if k = 1, uniformly: t_x^((k−1)x) Γ(x)/Γ(kx), which leaves the likelihood of x and t_x.
        """
        k, x = self.k_, cells["frequency"]
        if k == 1:
            return np.zeros(len(x))
        if "litt" in cells.columns:
            return np.asarray((k - 1) * cells["litt"] - x * special.gammaln(k))
        t_x = np.maximum(cells["recency"], _GRAIN * cells["T"])
        some = (x > 0) & (t_x > 0)
        n = np.where(some, x, 1.0)
        value = (k - 1) * n * np.log(np.where(some, t_x, 1.0)) - log_rising(n, (k - 1) * n)
        return np.where(some, value, 0.0)

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        r, alpha, a, b = p
        x, t_x, T, w = cells["frequency"], cells["recency"], cells["T"], cells.weight
        odds, whole, e = self._mixture(p, cells)
        left = w * special.expit(odds)
        end, last, later = 1 / (alpha + T), 1 / (alpha + t_x), b + np.maximum(e, 1) - 1
        phase, phase_bend = self._phase_derivatives(p, cells)
        s = r + self.k_ * x
        slope = np.stack(  # of the odds
            [np.log1p((T - t_x) * last) - phase[0], s * (end - last) - phase[1], np.full_like(s, 1 / a), -1 / later]
        )
        levels, _, mass = cells.histogram
        chances = levels + self._at_start
        ab1, ab2 = mass @ rising_slope(a + b, chances), mass @ rising_slope(a + b, chances, 2)
        _, rate_gradient, rate_hessian = rate_derivatives(r, alpha, self.k_ * x, T, w, self._events(cells))
        gradient = slope @ left + np.array([0, 0, -ab1, mass @ rising_slope(b, chances) - ab1])
        gradient[:2] += rate_gradient + phase @ w
        hessian = np.einsum("in,jn->ij", slope * (left * special.expit(-odds)), slope)
        bend, curve = left @ (end - last), left @ (s * (last**2 - end**2))
        hessian[:2, :2] += rate_hessian + phase_bend @ (w - left) + np.array([[0, bend], [bend, curve]])
        hessian[2:, 2:] -= ab2
        hessian[2, 2] -= left.sum() / a**2
        hessian[3, 3] += mass @ rising_slope(b, chances, 2) + left @ (1 / later**2)
        return float(w @ (self._rows(p, cells, odds) + whole)), gradient, hessian

    def _phase_derivatives(self, p: Array, cells: Cells) -> tuple[Array, Array]:
        """Return gradient (2, m) and Hessian (2, 2, m) of ln S in r and α, as moments of j and of its harmonic sums."""
        s, chance = self._phases(p, cells)
        share = chance / chance.sum(axis=0)
        up = np.zeros_like(share)  # d ln of the j-th chance / ds
        fall = np.zeros_like(share)  # −d² / ds²
        for j in range(1, self.k_):
            up[j] = up[j - 1] + 1 / (s + (j - 1))
            fall[j] = fall[j - 1] + 1 / (s + (j - 1)) ** 2
        end = 1 / (p[1] + cells["T"])
        slopes = np.stack([up, -np.arange(self.k_)[:, None] * end * np.ones_like(share)])  # z falls as 1/(α + T)
        mean = np.einsum("ijm,jm->im", slopes, share)
        spread = np.einsum("ijm,ljm,jm->ilm", slopes, slopes, share) - mean[:, None] * mean[None]
        spread[0, 0] -= (fall * share).sum(axis=0)
        spread[1, 1] -= mean[1] * end
        return mean, spread

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        return [(r, alpha / self.k_, a, b) for r, alpha, a, b in super()._starts(cells)]

    # ---- predictions

    # given the phase, what is to come depends on t_x as well: no interpolation in T
    _expected_cells = PurchaseModel._expected_cells  # noqa: SLF001 - our own grandparent
    _tail_cells = PurchaseModel._tail_cells  # noqa: SLF001
    _discounted = PurchaseModel._discounted  # noqa: SLF001

    def _survivors(self, p: Array, cells: Cells) -> tuple[Array, Array, float, Array]:
        _, alpha, a, b = super()._survivors(p, cells)
        return p[0] + self.k_ * cells["frequency"], alpha, a, b

    def _shares(self, p: Array, cells: Cells) -> Array:
        """Return the chances (k, m) that j events have passed since the last purchase, given alive."""
        chance = self._phases(p, cells)[1]
        return np.asarray(chance / chance.sum(axis=0))

    def _onset(self, p: Array) -> float:  # noqa: ARG002 - the time since the last purchase tells of the next
        return 0.0

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        if self.k_ == 1:
            return super()._expected(p, cells, horizon)
        s, alpha, a, b = self._survivors(p, cells)
        value = regular_purchases.expected_while_alive(s, self._shares(p, cells), horizon / alpha, a, b)
        return np.asarray(self._alive(p, cells) * value)

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        s, alpha, a, b = self._survivors(p, cells)
        z = horizon / (alpha + horizon)
        value = regular_purchases.tail_while_alive(s, self._shares(p, cells), z, a, b, n)
        return np.asarray(self._alive(p, cells) * value)

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        s, alpha, a, b = self._survivors(p, cells)
        m = len(s)
        alive = rng.random(m) < self._alive(p, cells)
        done = (rng.random(m) > np.cumsum(self._shares(p, cells), axis=0)[:-1]).sum(axis=0)
        events = rng.poisson(rng.gamma(s + done, 1 / alpha) * horizon).astype(float)
        leaving = np.clip(rng.beta(a, b), 1e-300, 1 - 1e-16)
        leaves_after = np.maximum(np.ceil(np.log1p(-rng.random(m)) / np.log1p(-leaving)), 1)
        count = np.where(alive, np.minimum((events + done) // self.k_, leaves_after), 0.0)
        # the last purchase is this one of the events, which lie uniformly in the horizon
        which = np.maximum(count * self.k_ - done, 1)
        last = horizon * rng.beta(which, np.maximum(events - which, 0) + 1)
        return count, np.where(count > 0, last, 0.0)


class ModifiedBetaGeoCNBDkModel(BetaGeoCNBDkModel):
    """MBG/CNBD-k (Platzer & Reutterer 2016): as BG/CNBD-k, but customers may leave right after the first purchase.

    Parameters, attributes and notes are those of :class:`BetaGeoCNBDkModel`; k = 1 is MBG/NBD.

    Examples
    --------
    >>> import pandas as pd
    >>> params = {"r": 0.9, "alpha": 6.0, "a": 0.8, "b": 2.5, "k": 2}
    >>> model = ModifiedBetaGeoCNBDkModel.with_parameters(params, unit="W")
    >>> round(model.expected_purchases_new(52.0), 3)
    1.823
    """

    _at_start = 1


def _checked(k: Any) -> int:
    if not isinstance(k, (int, float, np.number)) or isinstance(k, bool) or k not in range(1, _ALLOWED + 1):
        raise ParameterError(f"k is a whole number from 1 to {_ALLOWED}, or None for fit to choose it; found {k!r}")
    return int(k)
