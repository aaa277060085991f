"""Bought A, recommend B (V9): which products follow which, what to recommend to whom, and how often that was right."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from clvlib.clv.next_product_rules import RULE_COLUMNS, Array, Baskets, Codes, find_rules, incidence
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table
from clvlib.errors import ParameterError
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr, trn

__all__ = ["POPULAR", "NextProduct", "next_product"]

POPULAR = mark("popular")
_METHODS = (mark("rules"), mark("other popular"), mark("popularity"), mark("same again"))
_PASS, _FAIL, _UNDECIDED = mark("pass"), mark("fail"), mark("undecided")
_CELLS = 4_000_000  # of scores held at once
_TOLD = {
    "pass": mark(
        "{rate:.1%} of {baskets:,} held-out baskets held one of {k} recommended products ({level:.0%} interval "
        "{lower:.1%} to {upper:.1%}): at or above the threshold of {threshold:.0%}."
    ),
    "fail": mark(
        "{rate:.1%} of {baskets:,} held-out baskets held one of {k} recommended products ({level:.0%} interval "
        "{lower:.1%} to {upper:.1%}): below the threshold of {threshold:.0%}."
    ),
    "undecided": mark(
        "{rate:.1%} of {baskets:,} held-out baskets held one of {k} recommended products ({level:.0%} interval "
        "{lower:.1%} to {upper:.1%}): whether that reaches the threshold of {threshold:.0%} is undecided."
    ),
}
_AGAINST = {
    ("other popular", 1): mark("Popular products that the last basket lacked reach {points:.1f} points less"),
    ("other popular", 0): mark("Popular products that the last basket lacked cannot be told apart from it"),
    ("other popular", -1): mark("Popular products that the last basket lacked reach {points:.1f} points more"),
    ("popularity", 1): mark("the most popular of all {points:.1f} points less"),
    ("popularity", 0): mark("the most popular of all cannot be told apart from it"),
    ("popularity", -1): mark("the most popular of all {points:.1f} points more"),
    ("same again", 1): mark("the products of the last basket again {points:.1f} points less"),
    ("same again", 0): mark("the products of the last basket again cannot be told apart from it"),
    ("same again", -1): mark("the products of the last basket again {points:.1f} points more"),
}


class _Bar(NamedTuple):
    """What a rule has to pass."""

    min_count: int
    alpha: float
    min_lift: float


@dataclass(frozen=True)
class NextProduct(Result):
    """What follows what; ``table`` has a row per rule "who bought A has B in the next basket".

    ``table`` columns: ``bought``, ``then``, whole counts ``count`` (of both), ``bought_count``, ``then_count``, ``of``
    (baskets that another of the same customer follows), ``support``, ``confidence``, ``lift`` with ``lift_lower`` and
    ``lift_upper``, ``leverage``, ``conviction``, ``p_adjusted``, ``reverse`` (how often B came before A) and
    ``in_order`` (whether that is surely less often). See :func:`clvlib.clv.next_product_rules.find_rules`.

    Attributes
    ----------
    as_of : str
        The last day that counts.
    k : int
        Products recommended to each customer.
    customers, baskets, products : int
        That were learnt from; a basket is a customer's day.
    rules, tested : int
        Rules, and the pairs of products that were tested for one.
    hit_rate, lower, upper : float
        Share of held-out baskets with a recommended product, and its interval; NaN without such baskets.
    threshold : float
        The hit rate that is asked for.
    verdict : str
        "pass" where the whole interval lies at or above it, "fail" where all of it lies below, else "undecided".
    holdout_weeks : int
        Weeks at the end that the rules did not see when they were graded.
    level : float
        Of the intervals of the hit rates.
    scores : pandas.DataFrame
        By method ("rules", "other popular", "popularity", "same again"), on the same held-out baskets: ``baskets``,
        ``customers``, ``hit_rate``, ``lower``, ``upper``, and ``difference`` of the rules from it with its limits;
        intervals are those of customers as clusters.
    together : pandas.DataFrame
        The rules within a basket, with the columns of ``table``; there is no order in these.
    recommendations : pandas.DataFrame
        ``customer_id``, ``product``, ``score`` (expected share of next baskets with it), ``because`` (the product of
        the last basket that it follows, or "popular"), the best first; never a product of the last basket.
    left_out : pandas.Series
        ``returned`` and ``no_product`` rows, ``large_baskets``.
    """

    as_of: str
    k: int
    customers: int
    baskets: int
    products: int
    rules: int
    tested: int
    hit_rate: float
    lower: float
    upper: float
    threshold: float
    verdict: str
    holdout_weeks: int
    level: float
    scores: pd.DataFrame = field(repr=False)
    together: pd.DataFrame = field(repr=False)
    recommendations: pd.DataFrame = field(repr=False)
    left_out: pd.Series = field(repr=False)

    @property
    def sentence(self) -> str:
        """How often the recommendations were right, against the threshold and against simple rules."""
        if self.scores.empty:
            return tr(
                "No basket of the last {weeks} weeks follows another, so how good recommendations are is undecided.",
                weeks=self.holdout_weeks,
            )
        figures = {"rate": self.hit_rate, "lower": self.lower, "upper": self.upper, "threshold": self.threshold}
        baskets = int(self.scores["baskets"].iloc[0])
        said = tr(_TOLD[self.verdict], **figures, baskets=baskets, k=self.k, level=self.level)
        gaps = ["difference", "difference_lower", "difference_upper"]
        parts = []
        for name in _METHODS[1:]:
            gap, low, high = self.scores.loc[name, gaps].to_numpy(dtype=float)
            parts.append(tr(_AGAINST[name, int(low > 0) - int(high < 0)], points=abs(gap) * 100))
        return tr("{verdict} {others}.", verdict=said, others=tr("; ").join(parts))

    @property
    def rules_sentence(self) -> str:
        """How many rules the data show."""
        if not self.rules:
            return tr("Of {tested:,} pairs of products none surely follows the other.", tested=self.tested)
        first = self.table.iloc[0]
        return trn(
            "Of {tested:,} pairs of products {n:,} is bought one after the other more often than their popularity "
            "explains: who bought {bought} has {then} in the next basket in {confidence:.0%} of cases, {lift:.1f} "
            "times as often as expected.",
            "Of {tested:,} pairs of products {n:,} are bought one after the other more often than their popularity "
            "explains; first of all, who bought {bought} has {then} in the next basket in {confidence:.0%} of cases, "
            "{lift:.1f} times as often as expected.",
            self.rules,
            tested=self.tested,
            bought=first["bought"],
            then=first["then"],
            confidence=first["confidence"],
            lift=first["lift"],
        )


def next_product(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    *,
    k: int = 5,
    holdout_weeks: int = 13,
    threshold: float = 0.7,
    min_count: int = 10,
    alpha: float = 0.05,
    min_lift: float = 1.2,
    largest: int = 200,
    level: float = 0.95,
) -> NextProduct:
    """Learn which product follows which, recommend, and grade that on baskets that the rules did not know.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``day``, ``product_id``; used where they are there: ``is_purchase`` and ``quantity`` (rows that
        are not a purchase, or not above 0, are returns). What a customer buys on one day is one basket.
    as_of : str or date
        The last day that counts.
    k : int
        Products recommended to each customer.
    holdout_weeks : int
        Weeks at the end whose baskets grade the rules learnt before them.
    threshold : float
        The hit rate that is asked for.
    min_count : int
        How often a rule was seen, at the least.
    alpha : float
        Expected share of chance finds among the rules.
    min_lift : float
        A rule's lift surely lies above.
    largest : int
        Baskets with more products are left out, and counted: a wholesaler's says little of what goes with what.
    level : float
        Of the intervals of the hit rates.

    Returns
    -------
    NextProduct

    Raises
    ------
    MissingColumnError
        A column lacks.
    EmptyDataError
        No purchase names a product, there are fewer than two baskets, or only one product was sold.
    ParameterError
        A parameter that cannot be.

    Notes
    -----
    A product's score is the greatest confidence of a rule from the customer's last basket, or else the share of baskets
    that hold it; so rules have to be worth more than popularity to come first. A hit is a later basket with at least
    one of the ``k``; "same again" recommends the last basket's products, the most popular first, and fills up with
    popular ones.

    Examples
    --------
    >>> day = pd.date_range("2026-01-01", periods=2, freq="7D")
    >>> sold = [(c, day[i], p) for c in range(40) for i, p in enumerate(("tea", "pot") if c % 2 else ("ink", "pen"))]
    >>> found = next_product(pd.DataFrame(sold, columns=["customer_id", "day", "product_id"]), "2026-02-01", k=1)
    >>> found.table[["bought", "then", "count", "confidence", "lift"]].values.tolist()
    [['ink', 'pen', 20, 1.0, 2.0], ['tea', 'pot', 20, 1.0, 2.0]]
    """
    _check(k, holdout_weeks, threshold, min_count, alpha, min_lift, largest, level)
    last = as_date(as_of)
    baskets = Baskets.read(orders, last, largest)
    settings = _Bar(min_count, alpha, min_lift)
    first, later = baskets.steps
    table, tested = _followers(baskets, first, later, settings)
    together, _ = find_rules(baskets.held, baskets.held, baskets.who, baskets.products, *settings)
    split = np.datetime64(last - dt.timedelta(weeks=holdout_weeks))
    scores = _graded(baskets, split, k, settings, level)
    ends = scores[["hit_rate", "lower", "upper"]].to_numpy(dtype=float)[0] if len(scores) else [float("nan")] * 3
    rate, lower, upper = map(float, ends)
    return NextProduct(
        as_of=str(last),
        k=k,
        customers=len(baskets.customers),
        baskets=len(baskets.who),
        products=len(baskets.products),
        rules=len(table),
        tested=tested,
        hit_rate=rate,
        lower=lower,
        upper=upper,
        threshold=threshold,
        verdict="pass" if lower >= threshold else "fail" if upper < threshold else "undecided",
        holdout_weeks=holdout_weeks,
        level=level,
        scores=scores,
        together=together.drop(columns=["reverse", "in_order"]),
        recommendations=_recommended(baskets, table, k),
        left_out=pd.Series(baskets.left_out, name="left_out"),
        table=table,
    )


def _check(
    k: int, weeks: int, threshold: float, min_count: int, alpha: float, min_lift: float, largest: int, level: float
) -> None:
    if k < 1 or weeks < 1 or min_count < 2 or largest < 2:
        raise ParameterError(
            "k and holdout_weeks are at least 1, min_count and largest at least 2; found "
            f"{k}, {weeks}, {min_count} and {largest}"
        )
    if not (0 < threshold <= 1 and 0 < alpha < 1 and 0 < level < 1 and min_lift >= 1):
        raise ParameterError(
            "threshold, alpha and level are shares and min_lift at least 1; found "
            f"{threshold}, {alpha}, {level} and {min_lift}"
        )


def _followers(baskets: Baskets, first: Codes, later: Codes, settings: _Bar) -> tuple[pd.DataFrame, int]:
    """Return the rules from one basket to the next."""
    if not len(first):
        return pd.DataFrame({name: pd.Series(dtype=float) for name in RULE_COLUMNS}), 0
    return find_rules(baskets.held[first], baskets.held[later], baskets.who[first], baskets.products, *settings)


@dataclass(frozen=True)
class _Shelf:
    """What can be recommended: popular products and those that follow others."""

    columns: Codes  # products, the most popular first
    share: Array  # of baskets that hold each
    bought: Codes  # rules: product, place of what follows it in columns, confidence; the least sure first
    then: Codes
    confidence: Array

    @classmethod
    def of(cls, held: Any, rules: pd.DataFrame, products: pd.Index, spare: int) -> _Shelf:
        share = held.sum(axis=0) / held.shape[0]
        rules = rules.sort_values(["confidence", "bought", "then"])
        bought, then = (products.get_indexer(pd.Index(rules[name])) for name in ("bought", "then"))
        order = np.argsort(-share, kind="stable")
        wanted = np.zeros(len(share), dtype=bool)
        wanted[order[:spare]] = True
        wanted[then] = True
        columns = order[wanted[order] & (share[order] > 0)]
        place = np.full(len(share), -1)
        place[columns] = np.arange(len(columns))
        return cls(columns, share[columns], bought, place[then], rules["confidence"].to_numpy(dtype=float))

    def blocks(self, held: Any) -> Iterator[tuple[slice, Any, Array]]:
        """Go through baskets in blocks: which, what they hold of the columns, and popularity by column."""
        step = max(1, _CELLS // len(self.columns))
        for start in range(0, held.shape[0], step):
            rows = slice(start, min(start + step, held.shape[0]))
            has = held[rows][:, self.columns].toarray() > 0
            yield rows, has, np.broadcast_to(self.share, has.shape)

    def by_rules(self, held: Any, has: NDArray[np.bool_], popular: Array) -> tuple[Array, Codes]:
        """Return scores by basket and column, and the product behind each, -1 for popularity."""
        score, because = popular.copy(), np.full(has.shape, -1)
        order = np.argsort(self.bought, kind="stable")  # within a product still the least sure first
        start = np.searchsorted(self.bought[order], np.arange(held.shape[1] + 1))
        entries = held.tocoo()
        many = np.diff(start)[entries.col]
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        rule = order[np.repeat(start[entries.col], many) + within]
        basket = np.repeat(entries.row, many)
        surest = np.argsort(self.confidence[rule], kind="stable")  # of several rules the surest is written last
        rule, basket = rule[surest], basket[surest]
        better = self.confidence[rule] > popular[basket, self.then[rule]]
        rule, basket = rule[better], basket[better]
        score[basket, self.then[rule]] = self.confidence[rule]
        because[basket, self.then[rule]] = self.bought[rule]
        score[has] = -1.0
        return score, because


def _best(score: Array, k: int) -> Codes:
    """Return the columns of the k best scores of each row, the best first, ties in order of popularity."""
    k = min(k, score.shape[1])
    return np.argsort(-score, axis=1, kind="stable")[:, :k]


def _graded(baskets: Baskets, split: np.datetime64, k: int, settings: _Bar, level: float) -> pd.DataFrame:
    """Return how often each method was right on baskets after the split, from what was known by it."""
    first, later = baskets.steps
    held_out = baskets.day[later] > split
    known = baskets.day <= split
    if not held_out.any() or not known.any():
        return pd.DataFrame()
    rules, _ = _followers(baskets, first[~held_out], later[~held_out], settings)
    before, after = baskets.held[first[held_out]], baskets.held[later[held_out]]
    spare = k + int(before.sum(axis=1).max())
    shelf = _Shelf.of(baskets.held[np.flatnonzero(known)], rules, baskets.products, spare)
    hits = np.zeros((before.shape[0], len(_METHODS)))
    again, filled = _again(before, after, baskets.held[np.flatnonzero(known)].sum(axis=0), k)
    for rows, has, popular in shelf.blocks(before):
        came = after[rows][:, shelf.columns].toarray() > 0
        followers, _ = shelf.by_rules(before[rows], has, popular)
        for method, score in enumerate((followers, np.where(has, -1.0, popular), popular)):
            best = _best(score, k)
            right = np.take_along_axis(came, best, axis=1) & (np.take_along_axis(score, best, axis=1) > 0)
            hits[rows, method] = right.any(axis=1)
            if method == 1:
                spare_places = np.arange(right.shape[1]) < k - filled[rows, None]
                hits[rows, 3] = again[rows] | (right & spare_places).any(axis=1)
    return _score_table(hits, baskets.who[first[held_out]], level)


def _again(before: Any, after: Any, sold: Codes, k: int) -> tuple[NDArray[np.bool_], Codes]:
    """Return whether one of the last basket's k most popular products is bought again, and how many of k these are."""
    rank = np.empty(len(sold), dtype=np.intp)
    rank[np.argsort(-sold, kind="stable")] = np.arange(len(sold))
    size = np.diff(before.indptr)
    basket = np.repeat(np.arange(len(size)), size)
    order = np.lexsort((rank[before.indices], basket))
    chosen = order[np.arange(len(order)) - np.repeat(before.indptr[:-1], size) < k]
    named = incidence(basket[chosen], before.indices[chosen], before.shape)
    return named.multiply(after).sum(axis=1) > 0, np.minimum(size, k)


def _score_table(hits: Array, who: Codes, level: float) -> pd.DataFrame:
    """Return hit rates and differences from the first, with intervals of customers as clusters."""
    cluster = pd.factorize(who)[0]
    size = np.bincount(cluster).astype(float)
    sums = np.stack([np.bincount(cluster, column) for column in hits.T])
    n, groups = float(len(hits)), len(size)

    def error(total: Array) -> float:
        rest = total - total.sum() / n * size
        return float(np.sqrt((rest**2).sum() * groups / (groups - 1)) / n) if groups > 1 else float("inf")

    rows = []
    wide = float(stats.t.isf((1 - level) / 2, max(groups - 1, 1)))
    for name, total in zip(_METHODS, sums, strict=True):
        rate = float(total.sum() / n)
        mixed = 0 < rate < 1 and groups > 1
        effect = max(error(total) ** 2 / (rate * (1 - rate) / n), 1.0) if mixed else float((size**2).sum() / n)
        ends = proportion_interval(rate * n / effect, n / effect, level).iloc[0]
        behind = sums[0] - total
        half = wide * error(behind) if behind.any() else 0.0
        gap = float(behind.sum() / n)
        rows.append((name, int(n), groups, rate, ends["lower"], ends["upper"], gap, gap - half, gap + half))
    columns = ["method", "baskets", "customers", "hit_rate", "lower", "upper"]
    columns += ["difference", "difference_lower", "difference_upper"]
    return pd.DataFrame(rows, columns=columns).set_index("method")


def _recommended(baskets: Baskets, rules: pd.DataFrame, k: int) -> pd.DataFrame:
    """Return the k products for each customer, by his last basket."""
    final = np.flatnonzero(np.r_[baskets.who[1:] != baskets.who[:-1], True])
    held = baskets.held[final]
    shelf = _Shelf.of(baskets.held, rules, baskets.products, k + int(held.sum(axis=1).max()))
    names = np.append(baskets.products.to_numpy(dtype=object), POPULAR)
    parts = []
    for rows, has, popular in shelf.blocks(held):
        score, because = shelf.by_rules(held[rows], has, popular)
        best = _best(score, k)
        found = pd.DataFrame(
            {
                "customer_id": np.repeat(baskets.customers.to_numpy()[baskets.who[final[rows]]], best.shape[1]),
                "product": baskets.products.to_numpy()[shelf.columns[best]].ravel(),
                "score": np.take_along_axis(score, best, axis=1).ravel(),
                "because": names[np.take_along_axis(because, best, axis=1)].ravel(),
            }
        )
        parts.append(found[found["score"] > 0])
    return pd.concat(parts, ignore_index=True)
