"""Which score ranks customers best? RCV, RFM, past spend and the model, by what customers then spent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.rcv import rcv
from clvlib.clv.recent import bought, recent_spend
from clvlib.clv.rfm import rfm
from clvlib.clv.valuation import CustomerValue
from clvlib.data.calendar import as_date
from clvlib.data.identities import events_of
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.plotting import ACCENT, MUTED, new_axes, percent_axis, styled, wrapped
from clvlib.result import Result
from clvlib.words import begun, mark, tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Contest", "contest_plot", "rank_contest", "value_contest"]

Array = NDArray[np.float64]

_MEASURES = ("spearman", "gini", "top_share")


@dataclass(frozen=True)
class Contest(Result):
    """How well scores rank customers by what they then spent; ``table`` has a row per score, the best first.

    ``table`` columns: ``spearman`` (correlation of ranks), ``gini`` (0 chance, 1 as well as can be) and ``top_share``
    (of all later spend, what the best tenth by the score brought), each with ``_lower`` and ``_upper``; ``difference``
    in Gini from the best with its ``difference_lower`` and ``difference_upper``.

    Attributes
    ----------
    customers, buyers : int
        Ranked, and those of them who spent anything later.
    spent : float
        What they spent.
    best : str
        The score with the highest Gini.
    level : float
        Of the intervals.
    sentence : str
        Who won, and whether that is more than chance.
    """

    customers: int
    buyers: int
    spent: float
    best: str
    level: float
    sentence: str = field(repr=False)


def rank_contest(
    scores: pd.DataFrame,
    spent: pd.Series,
    level: float = 0.95,
    draws: int = 200,
    seed: int | np.random.Generator = 0,
) -> Contest:
    """Compare scores by how they rank customers by what they then spent.

    Parameters
    ----------
    scores : pandas.DataFrame
        By customer_id, a column per score, higher is better; known before the spend.
    spent : pandas.Series
        What each customer spent later, not negative; absent: nothing.
    level : float
        Of the intervals.
    draws : int
        Bootstrap resamples of customers, the same for all scores.
    seed : int or numpy.random.Generator

    Returns
    -------
    Contest

    Raises
    ------
    EmptyDataError
        Nobody spent anything, or everybody the same.
    ParameterError
        A score is missing or not finite, spend is negative, or the draws are too few.

    Examples
    --------
    >>> known = pd.DataFrame({"good": [5, 4, 3, 2, 1.0], "bad": [1, 2, 3, 4, 5.0]}, index=list("abcde"))
    >>> result = rank_contest(known, pd.Series([50, 20, 10.0], index=list("abc")))
    >>> result.best, result.table["gini"].round(3).to_dict()
    ('good', {'good': 1.0, 'bad': -1.0})
    """
    if not 0 < level < 1 or draws < 100:
        raise ParameterError(f"level lies between 0 and 1 and draws is at least 100; found {level} and {draws}")
    values = scores.to_numpy(dtype=float)
    came = spent.reindex(scores.index).fillna(0.0).to_numpy(dtype=float)
    if not (np.isfinite(values).all() and np.isfinite(came).all() and (came >= 0).all()):
        raise ParameterError("every customer has every score, and spend that is not negative")
    own = _Levels.of(came)
    if own.size < 2:
        raise EmptyDataError(tr("all customers then spent the same, so there is nothing to rank"))
    ranked = [_Levels.of(score) for score in values.T]
    found = _measured(ranked, own, came, np.ones(len(came)))
    rng = np.random.default_rng(seed)
    drawn = np.full((draws, *found.shape), np.nan)
    for i in range(draws):
        weight = np.bincount(rng.integers(0, len(came), len(came)), minlength=len(came)).astype(float)
        if len(pd.unique(came[weight > 0])) > 1:
            drawn[i] = _measured(ranked, own, came, weight)
    names = [str(name) for name in scores]
    best = int(np.argmax(found[:, 1]))
    table = _table(names, found, drawn, best, level).sort_values("gini", ascending=False, kind="stable")
    return Contest(
        customers=len(came),
        buyers=int((came > 0).sum()),
        spent=float(came.sum()),
        best=names[best],
        level=level,
        sentence=_sentence(table, level),
        table=table,
    )


class _Levels(NamedTuple):
    """The distinct values of a score, the highest first, and which of them each customer has."""

    code: NDArray[np.intp]
    size: int

    @classmethod
    def of(cls, score: Array) -> _Levels:
        # two ways to reckon one score may differ in the last bit, and still are a tie
        levels, code = np.unique(-np.round(score / max(float(np.abs(score).max()), 1e-300), 12), return_inverse=True)
        return cls(code, len(levels))

    def summed(self, values: Array) -> Array:
        """Return sums over the customers of each level."""
        return np.asarray(np.bincount(self.code, values, self.size), dtype=float)

    def ranks(self, weight: Array) -> Array:
        """Return the middle rank of each customer's level, from its mean."""
        mass = self.summed(weight)
        middle = np.cumsum(mass) - mass / 2
        return np.asarray((middle - float(weight.sum()) / 2)[self.code])

    def curve(self, weight: Array, came: Array) -> tuple[Array, Array]:
        """Return the corners of the gains curve: shares of customers and of what they spent."""
        customers, spent = (np.concatenate([[0.0], np.cumsum(self.summed(v))]) for v in (weight, weight * came))
        return customers / customers[-1], spent / spent[-1]


def _measured(ranked: Sequence[_Levels], own: _Levels, came: Array, weight: Array) -> Array:
    """Return Spearman's correlation, Gini and share of the top tenth of each score, shape (scores, 3)."""
    ranks = own.ranks(weight)
    spread = float(np.sqrt(weight @ ranks**2))
    x, y = own.curve(weight, came)
    best = float(np.trapezoid(y, x)) - 0.5
    rows = []
    for score in ranked:
        theirs = score.ranks(weight)
        both = float(np.sqrt(weight @ theirs**2)) * spread
        x, y = score.curve(weight, came)
        area = float(np.trapezoid(y, x)) - 0.5
        rows.append((float(weight @ (theirs * ranks)) / both if both > 0 else 0.0, area / best, np.interp(0.1, x, y)))
    return np.array(rows)


def _table(names: list[str], found: Array, drawn: Array, best: int, level: float) -> pd.DataFrame:
    tails = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.nanquantile(drawn, tails, axis=0)
    behind = drawn[:, :, 1] - drawn[:, [best], 1]
    columns: dict[str, Array] = {}
    for j, measure in enumerate(_MEASURES):
        columns |= {measure: found[:, j], f"{measure}_lower": lower[:, j], f"{measure}_upper": upper[:, j]}
    columns["difference"] = found[:, 1] - found[best, 1]
    columns["difference_lower"], columns["difference_upper"] = np.nanquantile(behind, tails, axis=0)
    return pd.DataFrame(columns, index=pd.Index(names, name="score"))


def _sentence(table: pd.DataFrame, level: float) -> str:
    first = table.iloc[0]
    behind = table["difference_upper"].iloc[1:] < 0
    beaten, equal = ([tr(str(name)) for name in behind.index[chosen]] for chosen in (behind, ~behind))
    name = tr(str(table.index[0]))
    text = mark(
        "{name} ranks customers best by what they then spent (Gini {gini:.2f}, {level:.0%} interval {lower:.2f} to "
        "{upper:.2f}; its best tenth brought {top:.0%})"
    )
    limits = {"lower": first["gini_lower"], "upper": first["gini_upper"], "top": first["top_share"]}
    said = [tr(text, name=begun(name), gini=first["gini"], level=level, **limits)]
    if beaten:
        said.append(tr("it beats {names}", names=tr(", ").join(beaten)))
    if equal:
        said.append(tr("{names} cannot be told apart from it", names=tr(", ").join(equal)))
    return tr("{text}.", text=tr("; ").join(said))


def value_contest(
    shop: Any,
    as_of: str | dt.date,
    weeks: int = 13,
    study: CustomerValue | None = None,
    others: pd.DataFrame | None = None,
    **rules: Any,
) -> Contest:
    """Rank the customers of ``weeks`` ago by RCV, RFM, past spend and the model, and see who then spent.

    Parameters
    ----------
    shop : Shop
    as_of : str or date
        Last day of the spend that decides.
    weeks : int
        How long it is; the scores know what was known before.
    study : CustomerValue, optional
        Settings of the model; default: the ones of notebook 03.
    others : pandas.DataFrame, optional
        Further scores of that earlier day, by customer_id, such as membership tiers.
    **rules
        For :func:`clvlib.clv.rcv.rcv`.

    Returns
    -------
    Contest
        Of ``RCV``, ``RFM`` (R + F + M), ``past spend``, ``model`` (expected value within the weeks), and others.

    Raises
    ------
    EmptyDataError
        Nobody had bought twice ``weeks`` before, or nobody spent anything since.
    """
    last = as_date(as_of)
    day = last - dt.timedelta(weeks=weeks)
    study = CustomerValue() if study is None else study
    known, later = shop.calibration_holdout(day, last, unit="W", collapse="D")
    model = study.lifetime(shop, day)
    spent = recent_spend(bought(shop.table("orders")), day, 1)["total"]
    marks = rfm(known.assign(spend=spent)).table
    scores = pd.DataFrame(
        {
            "RCV": rcv(shop.table("orders"), day, events_of(shop), **rules).table["raw"],
            "RFM": marks[["R", "F", "M"]].sum(axis=1),
            mark("past spend"): spent,
            mark("model"): model.purchases.expected_purchases(known, weeks) * model.spend.expected_spend(known),
        }
    ).reindex(known.index)
    if others is not None:
        scores = scores.join(others.reindex(known.index))
    return rank_contest(scores, later["frequency_holdout"] * later["monetary_value_holdout"])


def contest_plot(result: Contest, ax: Axes | None = None) -> Axes:
    """Draw the share of later spend that each score's best tenth brought, with intervals (``result.table``)."""
    table = result.table.iloc[::-1]
    ax = ax if ax is not None else new_axes(height=0.45 * len(table) + 1.4)
    places = np.arange(len(table))
    reach = np.stack([table["top_share"] - table["top_share_lower"], table["top_share_upper"] - table["top_share"]])
    with styled():
        ax.errorbar(table["top_share"], places, xerr=np.maximum(reach, 0), fmt="o", color=ACCENT, ecolor=MUTED)
        ax.axvline(0.1, color=MUTED, linewidth=1, linestyle="--")
        ax.text(0.1, len(table) - 0.5, f" {tr('chance')}", color=MUTED, fontsize=9, va="center")
        ax.set_yticks(places, [tr(str(name)) for name in table.index])
        ax.set_ylim(-0.6, len(table) - 0.3)
        ax.set_xlim(left=0)
        share = table.loc[result.best, "top_share"]
        title = tr("The best tenth by {name} brought {share:.0%} of later spend", name=tr(result.best), share=share)
        ax.set(xlabel=tr("of what was spent later, by the best tenth"), title=wrapped(title))
        percent_axis(ax, "x")
    return ax
