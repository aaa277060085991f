"""Do customers who buy more often spend more each time? Gamma-Gamma takes it that they do not."""

# ruff: noqa: SLF001 - it stands on the machinery of the models, below what users see

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import normal_quantile
from clvlib.clv.models.dependent_gamma_gamma import DependentGammaGammaModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.plotting import ACCENT, MUTED, WARN, money_axis, new_axes, styled
from clvlib.result import Result
from clvlib.stats.means import Moments, mean_interval
from clvlib.words import currency_symbol, mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Independence", "independence", "independence_plot"]

Array = NDArray[np.float64]

_LEAST = 3  # repeat buyers, for a slope with an error
_FEWEST = 2  # customers in a class of frequency: fewer have no spread


@dataclass(frozen=True)
class Independence(Result):
    """Whether spend depends on frequency, and what that changes; ``table`` has a row per frequency class.

    ``table`` columns: ``customers`` (repeat buyers), ``mean`` of their mean spend with ``lower`` and ``upper``,
    ``expected`` (Gamma-Gamma: the same for all) and ``trend`` (of means over frequency).

    Attributes
    ----------
    verdict : str
        A sentence.
    holds : bool
        Whether independence may be assumed: dependence, whether there is any or not, would move less money than
        ``material``.
    customers : float
        Repeat buyers with spend, from whom all this is learned.
    doubling, lower, upper, p_value : float
        How many times as much per purchase customers with twice the repeat purchases spend, with interval and test of
        1. It is a trend of means (log-linear, quasi-likelihood with a robust error; McCullagh & Nelder 1989, ch. 9) and
        supposes no distribution of spend.
    correlation, correlation_lower, correlation_upper : float
        Of mean spend and frequency, as the field reports it; interval by its influence function on Fisher's z scale.
    statistic, likelihood_p_value : float
        Likelihood ratio of Gamma-Gamma with and without dependence (χ², 1 degree of freedom). It is sharper than the
        trend where spend is Gamma-Gamma, and rejects too often where it is not.
    change : float
        What dependence, as strong as ``doubling``, would change in the total of expected spend.
    moved, moved_upper : float
        The share of all expected spend by which customers' forecasts would differ, and the same at the end of the
        interval of ``doubling`` where it is larger.
    level, material : float
        Of the intervals; the share of money from which on dependence matters.
    deciles : pandas.DataFrame
        By tenth of customers, the most valuable first: value expected under independence and under dependence, and
        ``change``.
    plain, dependent : GammaGammaModel, DependentGammaGammaModel
        The two models, fitted. Where d of the second lies away from ``doubling``, spend is not quite Gamma-Gamma.
    """

    verdict: str
    holds: bool
    customers: float
    doubling: float
    lower: float
    upper: float
    p_value: float
    correlation: float
    correlation_lower: float
    correlation_upper: float
    statistic: float
    likelihood_p_value: float
    change: float
    moved: float
    moved_upper: float
    level: float
    material: float
    deciles: pd.DataFrame = field(repr=False)
    plain: GammaGammaModel = field(repr=False)
    dependent: DependentGammaGammaModel = field(repr=False)


def independence(
    summary: pd.DataFrame,
    purchases: pd.Series | None = None,
    level: float = 0.95,
    material: float = 0.05,
    top: int = 7,
) -> Independence:
    """Test and size the dependence of spend on frequency among repeat buyers.

    The test looks at means of spend, not at logs or ranks: the mean of many purchases varies less than that of few, so
    that its log and its rank rise with frequency even where nobody's spend does.

    Parameters
    ----------
    summary : pandas.DataFrame
        frequency and monetary_value by customer_id; optionally ``n``, the customers that a row stands for.
    purchases : pandas.Series, optional
        Expected purchases by customer_id, e.g. ``model.expected_purchases(summary, 52)``, by which forecasts of spend
        are weighed against each other; None: as many as were made.
    level : float
        Of the intervals; 1 − level is the size of the tests.
    material : float
        Share of money from which on dependence matters.
    top : int
        Frequencies from here on share a class.

    Returns
    -------
    Independence
        The verdict, the figures behind it, and both models.

    Raises
    ------
    EmptyDataError
        When no repeat buyer has spend, or they are fewer than 3, or all bought equally often.
    ParameterError
        When ``purchases`` lacks a customer, or a figure is outside its range.

    Warns
    -----
    ConvergenceWarning
        When the data do not hold all parameters of a model.

    Examples
    --------
    >>> spend = [8.0, 17, 65, 13, 28, 58, 15.9, 31, 62]  # on average 30, 33, 36.3
    >>> base = pd.DataFrame({"frequency": [1, 1, 1, 2, 2, 2, 4, 4, 4], "monetary_value": spend, "n": 50})
    >>> result = independence(base)
    >>> round(result.doubling, 3), result.holds
    (1.1, False)
    """
    z = normal_quantile(level)
    if not material > 0 or top < 1:
        raise ParameterError(f"material is a share above 0 and top at least 1; found {material} and {top}")
    cells = Cells.read(summary, GammaGammaModel._columns)
    coming = _coming(cells, summary, purchases)
    buyers = GammaGammaModel()._usable(cells)
    trend, slope, error = _trend(buyers)
    frame = pd.DataFrame({**cells.columns, "n": cells.weight})
    frame.attrs.update(summary.attrs)
    plain, dependent = GammaGammaModel().fit(frame), DependentGammaGammaModel().fit(frame)
    freedom = buyers.customers - 2
    width = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    doubling, lower, upper = (float(np.exp(slope + shift)) for shift in (0.0, -width, width))
    p_value = 2 * float(stats.t.sf(abs(slope) / error, freedom)) if error > 0 else 1.0
    r = _correlation(buyers, z)
    gain = max(2 * (dependent.log_likelihood_ - plain.log_likelihood_), 0.0)  # below it where both end at a border
    spends = [plain.expected_spend(frame).to_numpy(), *(_spend(frame, d) for d in (doubling, lower, upper))]
    base, changed, *ends = (cells.expand(spend) * coming for spend in spends)
    moved, *moved_at_ends = (_share(cells.rows @ np.abs(money - base), cells.rows @ base) for money in (changed, *ends))
    moved_upper = max(moved, *moved_at_ends)
    return Independence(
        verdict=_verdict(doubling, p_value < 1 - level, moved, moved_upper, material),
        holds=moved_upper < material,
        customers=buyers.customers,
        doubling=doubling,
        lower=lower,
        upper=upper,
        p_value=p_value,
        correlation=r[0],
        correlation_lower=r[1],
        correlation_upper=r[2],
        statistic=gain,
        likelihood_p_value=float(special.chdtrc(1, gain)),
        change=_share(cells.rows @ (changed - base), cells.rows @ base),
        moved=moved,
        moved_upper=moved_upper,
        level=level,
        material=material,
        deciles=_deciles(cells.rows, base, changed),
        plain=plain,
        dependent=dependent,
        table=_classes(buyers, plain, trend, level, top),
    )


def _coming(cells: Cells, summary: pd.DataFrame, purchases: pd.Series | None) -> Array:
    """Return the purchases by which each row of the summary counts."""
    if purchases is None:
        return cells.expand(cells["frequency"])
    values = purchases.reindex(summary.index).to_numpy(dtype=float)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ParameterError("purchases gives every customer of the summary a number of purchases, not negative")
    return np.asarray(values)


def _trend(buyers: Cells) -> tuple[Array, float, float]:
    """Return the trend of mean spend, its log slope per doubling of frequency, and the slope's robust error.

    It solves Σ (m/μ − 1) (1, z) = 0 with μ = exp(a + b z), z = log₂ x. To the square of each residual is added what its
    leverage h takes off it on average, h φ: else a lone customer with many purchases would seem to know the trend.
    """
    z, m, w = np.log2(buyers["frequency"]), buyers["monetary_value"], buyers.weight
    centre = float(w @ z) / buyers.customers
    design = np.stack([np.ones_like(z), z - centre])
    spread = float(w @ design[1] ** 2)
    if buyers.customers < _LEAST or spread < 1e-9 * buyers.customers:
        raise EmptyDataError(
            tr(
                "a trend of spend takes {least} or more repeat buyers who bought differently often; found {n:g} with "
                "{fewest:g} to {most:g} repeat purchases",
                least=_LEAST,
                n=buyers.customers,
                fewest=buyers["frequency"].min(),
                most=buyers["frequency"].max(),
            )
        )
    mean = float(w @ m) / buyers.customers
    beta = np.array([np.log(mean), 0.0])
    for _ in range(100):  # the criterion is convex, so that Newton arrives
        ratio = m * np.exp(-beta @ design)
        bread = np.linalg.inv(np.einsum("in,jn,n->ij", design, design, w * ratio))
        step = bread @ (design @ (w * (ratio - 1)))
        beta = beta + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    squares = (ratio - 1) ** 2
    leverage = 1 / buyers.customers + design[1] ** 2 / spread
    squares = squares + leverage * (w @ squares) / (buyers.customers - 2)
    meat = np.einsum("in,jn,n->ij", design, design, w * squares)
    return np.exp(beta @ design), float(beta[1]), float(np.sqrt((bread @ meat @ bread)[1, 1]))


def _correlation(buyers: Cells, z: float) -> tuple[float, float, float]:
    """Return Pearson's correlation of mean spend and frequency with its interval."""
    x, m, w = buyers["frequency"], buyers["monetary_value"], buyers.weight / buyers.customers
    x, m = x - w @ x, m - w @ m
    scale = float(np.sqrt((w @ x**2) * (w @ m**2)))
    if not scale > 0:
        return 0.0, 0.0, 0.0
    x, m = x / np.sqrt(w @ x**2), m / np.sqrt(w @ m**2)
    r = float(w @ (x * m))
    influence = x * m - r * (x**2 + m**2) / 2
    if r**2 > 1 - 1e-12:
        return r, r, r
    error = float(np.sqrt(w @ influence**2 / buyers.customers)) / (1 - r**2)
    return r, float(np.tanh(np.arctanh(r) - z * error)), float(np.tanh(np.arctanh(r) + z * error))


def _spend(frame: pd.DataFrame, d: float) -> Array:
    """Return expected spend under Gamma-Gamma with dependence of a given strength."""
    scale = d ** np.log2(np.maximum(frame["frequency"], 1.0))
    scaled = frame.assign(monetary_value=frame["monetary_value"] / scale)
    return np.asarray(GammaGammaModel().fit(scaled).expected_spend(scaled) * scale, dtype=float)


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole > 0 else 0.0


def _deciles(rows: Array, base: Array, changed: Array) -> pd.DataFrame:
    """Return value under independence and dependence by tenth of customers."""
    order = np.argsort(-base, kind="stable")
    place = np.cumsum(rows[order]) - rows[order] / 2
    decile = np.minimum((10 * place / rows.sum()).astype(int), 9)
    sums = {
        name: np.bincount(decile, weights=(rows * money)[order], minlength=10)
        for name, money in (("independent", base), ("dependent", changed))
    }
    table = pd.DataFrame(sums, index=pd.RangeIndex(1, 11, name="decile"))
    table["change"] = np.where(table["independent"] > 0, table["dependent"] / table["independent"].replace(0, 1) - 1, 0)
    return table


def _classes(buyers: Cells, plain: GammaGammaModel, trend: Array, level: float, top: int) -> pd.DataFrame:
    """Return mean spend by frequency class; a class with hardly anybody is joined to another."""
    x, m, w = buyers["frequency"], buyers["monetary_value"], buyers.weight
    nobody = pd.DataFrame({"frequency": [0.0], "monetary_value": [0.0]})
    expected = float(np.asarray(plain.expected_spend(nobody))[0])
    starts = [1]
    for k in range(2, top + 1):
        if min(w[(x >= starts[-1]) & (x < k)].sum(), w[x >= k].sum()) >= _FEWEST:
            starts.append(k)
    names = [str(a) if a + 1 == b else f"{a}–{b - 1}" for a, b in pairwise(starts)] + [f"{starts[-1]}+"]
    code = np.searchsorted(starts, x, side="right") - 1
    rows = []
    for k in range(len(starts)):
        inside = code == k
        n = float(w[inside].sum())
        rows.append((n, *_mean(m[inside], w[inside], level), expected, w[inside] @ trend[inside] / n))
    columns = ["customers", "mean", "lower", "upper", "expected", "trend"]
    return pd.DataFrame(rows, index=pd.Index(names, name="frequency"), columns=columns)


def _mean(values: Array, weight: Array, level: float) -> tuple[float, float, float]:
    """Return a class's mean with Student's interval; the mean alone where there is no spread to tell from."""
    n = float(weight.sum())
    mean = float(weight @ values) / n
    spread = float(weight @ (values - mean) ** 2)
    if n < _FEWEST or not spread > 0:
        return mean, mean, mean
    interval = mean_interval(Moments(n, mean, spread / (n - 1)), level)
    return mean, interval.lower, interval.upper


def _verdict(doubling: float, found: bool, moved: float, moved_upper: float, material: float) -> str:  # noqa: FBT001
    """Return the verdict in words: what is seen, and whether it matters."""
    seen = mark("no dependence shows beyond chance")
    if found and doubling > 1:
        seen = mark("customers with twice the purchases spend {size:.1%} more on each")
    elif found:
        seen = mark("customers with twice the purchases spend {size:.1%} less on each")
    if moved_upper < material:
        text = mark("Independence may be assumed: {seen}; it would move at most {most:.1%} of expected spend.")
    elif found:
        text = mark(
            "Dependence shows: {seen}, which moves {moved:.1%} of expected spend and at most {most:.1%}; compare both "
            "spend models in a backtest."
        )
    else:
        text = mark("Undecided: {seen}, but what there may be could move up to {most:.1%} of expected spend.")
    return tr(text, seen=tr(seen, size=abs(doubling - 1)), moved=moved, most=moved_upper)


def _title(result: Independence) -> str:
    if result.holds:
        return tr("Spend hardly depends on how often customers buy")
    if result.p_value < 1 - result.level:
        return tr("Spend depends on how often customers buy")
    return tr("Whether spend depends on how often customers buy is undecided")


def independence_plot(result: Independence, ax: Axes | None = None) -> Axes:
    """Draw mean spend by frequency with its intervals, against both models (``result.table``).

    Parameters
    ----------
    result : Independence
    ax : matplotlib Axes, optional
        Where to draw; a new figure when left out.
    """
    table = result.table
    ax = ax if ax is not None else new_axes()
    places = np.arange(len(table))
    error = np.stack([table["mean"] - table["lower"], table["upper"] - table["mean"]])
    with styled():
        ax.errorbar(
            places,
            table["mean"],
            yerr=error,
            fmt="o",
            color=MUTED,
            label=tr("actual, {level:.0%} interval", level=result.level),
        )
        ax.plot(places, table["expected"], color=ACCENT, label=tr("independent (Gamma-Gamma)"))
        ax.plot(places, table["trend"], "--", color=WARN, label=tr("trend"))
        ax.set_xticks(places, list(table.index))
        ax.set_ylim(bottom=0)
        ax.set(xlabel=tr("repeat purchases"), ylabel=tr("mean spend per purchase"), title=_title(result))
        ax.legend(loc="lower right")
        money_axis(ax, symbol=currency_symbol())
    return ax
