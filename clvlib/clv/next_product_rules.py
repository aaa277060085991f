"""Which products go together: baskets as a sparse matrix, co-occurrence by one product of it, rules that are tested."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, special

from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError
from clvlib.stats.multiplicity import adjust
from clvlib.words import tr

__all__ = ["RULE_COLUMNS", "Baskets", "count_pairs", "find_rules", "incidence", "measures"]

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

_GROUPS = 50  # of customers, from whose spread the errors are taken
_MEASURES = ["support", "confidence", "lift", "lift_lower", "lift_upper", "leverage", "conviction", "p_adjusted"]
_ORDER = ["reverse", "in_order"]
RULE_COLUMNS = ["bought", "then", "count", "bought_count", "then_count", "of", *_MEASURES, *_ORDER]


def incidence(rows: Codes, columns: Codes, shape: tuple[int, int]) -> Any:
    """Return the sparse matrix that is 1 where a row has a column, however often it is named.

    Parameters
    ----------
    rows, columns : ndarray of length m
    shape : pair of int
    """
    places = (rows.astype(np.int32), columns.astype(np.int32))  # half the memory to go through
    found = sparse.csr_array((np.ones(len(rows), dtype=np.int32), places), shape=shape)
    found.data[:] = 1
    return found


@dataclass(frozen=True)
class Baskets:
    """What each customer bought on each day, in order of customer and day.

    Attributes
    ----------
    products, customers : pandas.Index
        What the codes stand for.
    held : sparse array, shape (baskets, products)
        1 where a basket holds a product.
    who : ndarray, shape (baskets,)
        The customer's code.
    day : ndarray, shape (baskets,)
        The day.
    left_out : dict of str to int
        Rows that are no purchase, rows without a product or customer, and baskets too large to say anything.
    """

    products: pd.Index
    customers: pd.Index
    held: Any
    who: Codes
    day: NDArray[np.datetime64]
    left_out: dict[str, int]

    @classmethod
    def read(cls, orders: Table | pd.DataFrame, last: dt.date, largest: int) -> Baskets:
        """Read the baskets up to a day.

        Raises
        ------
        MissingColumnError
            There is no ``customer_id``, ``day`` or ``product_id``.
        EmptyDataError
            There are fewer than two baskets, or one product only.
        """
        table = as_table(orders, "orders", "customer_id", "day", "product_id")
        rows, left_out = _rows(table, last)
        new = (rows["customer_id"] != rows["customer_id"].shift()) | (rows["day"] != rows["day"].shift())
        basket = np.cumsum(new.to_numpy()) - 1
        size = np.bincount(basket)
        small = size[basket] <= largest
        left_out["large_baskets"] = int((size > largest).sum())
        rows, new = rows[small], new[small]
        if new.sum() < 2:
            raise EmptyDataError(tr("there are fewer than two baskets to learn from"))
        product, products = pd.factorize(rows["product_id"], sort=True)
        if len(products) < 2:
            raise EmptyDataError(tr("only one product was sold, so there is no other to recommend"))
        who, customers = pd.factorize(rows.loc[new, "customer_id"], sort=True)
        held = incidence(np.cumsum(new.to_numpy()) - 1, product, (len(who), len(products)))
        day = rows.loc[new, "day"].to_numpy().astype("datetime64[D]")
        return cls(pd.Index(products), pd.Index(customers), held, who, day, left_out)

    @property
    def steps(self) -> tuple[Codes, Codes]:
        """The baskets that another of the same customer follows, and those that follow them."""
        first = np.flatnonzero(self.who[1:] == self.who[:-1])
        return first, first + 1


def _rows(table: Table, last: dt.date) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return customer, day and product of the purchases by a day, sorted, and what was left out."""
    bought = ["is_purchase"] if "is_purchase" in table.columns else []
    bought += ["coalesce(quantity, 1) > 0"] if "quantity" in table.columns else []
    known = (
        "customer_id IS NOT NULL AND product_id IS NOT NULL "
        "AND TRIM(LOWER(CAST(product_id AS VARCHAR))) NOT IN ('', 'nan')"
    )
    cases = f"SELECT *, ({' AND '.join(bought or ['TRUE'])}) AS _bought, ({known}) AS _known FROM {{t}} AS _o"
    until = f"CAST(day AS DATE) <= {literal(last)}"
    counts = table.query(
        "SELECT CAST(SUM(CASE WHEN _bought THEN 0 ELSE 1 END) AS BIGINT) AS returned, "
        "CAST(SUM(CASE WHEN _bought AND NOT _known THEN 1 ELSE 0 END) AS BIGINT) AS no_product "
        f"FROM ({cases}) AS t WHERE {until}"
    ).iloc[0]
    rows = table.query(
        "SELECT DISTINCT customer_id, CAST(day AS DATE) AS day, product_id "
        f"FROM ({cases}) AS t WHERE _bought AND _known AND {until} ORDER BY 1, 2, 3"
    )
    if rows.empty:
        raise EmptyDataError(tr("no purchase by {day} names a product", day=last))
    return rows, {name: int(counts[name]) for name in ("returned", "no_product")}


def measures(count: Array, bought: Array, then: Array, of: Array | int) -> dict[str, Array]:
    """Return the usual measures of rules, from whole counts.

    Parameters
    ----------
    count, bought, then : ndarray
        Baskets with both sides of the rule, with its first, with its second.
    of : int
        All baskets.

    Returns
    -------
    dict of str to ndarray
        ``support`` and ``confidence`` (Agrawal, Imieliński & Swami 1993), ``lift`` and ``conviction`` (Brin, Motwani,
        Ullman & Tsur 1997; infinite where the confidence is 1), ``leverage`` (Piatetsky-Shapiro 1991).

    Examples
    --------
    >>> found = measures(*map(np.array, (20.0, 25.0, 90.0)), 100)  # tea and coffee: Brin and others 1997, section 1.1
    >>> {name: round(float(value), 3) for name, value in found.items()}
    {'support': 0.2, 'confidence': 0.8, 'lift': 0.889, 'leverage': -0.025, 'conviction': 0.5}
    """
    confidence = count / bought
    with np.errstate(divide="ignore", invalid="ignore"):
        conviction = np.where(count < bought, (1 - then / of) / (1 - confidence), np.inf)
    return {
        "support": count / of,
        "confidence": confidence,
        "lift": count * of / (bought * then),
        "leverage": (count * of - bought * then) / of**2,
        "conviction": conviction,
    }


def find_rules(
    first: Any, then: Any, who: Codes, products: pd.Index, min_count: int, alpha: float, min_lift: float
) -> tuple[pd.DataFrame, int]:
    """Return the rules "who bought A buys B" that say more than how popular B is.

    Parameters
    ----------
    first, then : sparse array, shape (n, products)
        Where the rules' first and second product are looked for, row by row: the same matrix twice for rules within a
        basket, baskets and those that followed them for rules in time.
    who : ndarray, shape (n,)
        The customer of each row.
    products : pandas.Index
    min_count : int
        Rows that hold both sides of a rule, at the least.
    alpha : float
        Expected share of chance finds among the rules.
    min_lift : float
        The lower end of a rule's lift lies above.

    Returns
    -------
    rules : pandas.DataFrame
        Columns :data:`RULE_COLUMNS`, the greatest leverage first. ``lift_lower`` and ``lift_upper`` hold for all rules
        together (false coverage rate ``alpha``). ``reverse`` counts the rule's products the other way round, and
        ``in_order`` says whether that is surely less often: else the two are of one taste, and neither follows.
    tested : int
        Pairs of products that were sold often enough to make a rule: the tests that were corrected for.

    Notes
    -----
    A rule is tested by the binomial tail of its count, given how often both products are bought, with counts divided by
    the rule's design effect (Rao & Scott 1992), since baskets of one customer are alike. Below 1%, where rules are
    decided, it is no smaller than the p-value of Fisher's exact test. The p-values are corrected by Benjamini and
    Hochberg's method for all pairs, those that never met among them.
    """
    frame, tested = count_pairs(first, then, min_count)
    if frame.empty:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in RULE_COLUMNS}), tested
    effect = _design_effect(first, then, who, frame)
    p = adjust(_tail(frame, effect), "benjamini-hochberg").to_numpy() * (tested / len(frame))
    kept = p <= alpha
    frame = _measured(frame, effect, alpha * max(int(kept.sum()), 1) / tested)
    kept &= frame["lift_lower"].to_numpy() > min_lift
    frame, effect = frame[kept].assign(p_adjusted=p[kept]), effect[kept]
    back = _met(then, first, frame)
    frame = frame.assign(
        bought=products[frame["a"]],
        then=products[frame["b"]],
        reverse=back,
        in_order=_in_order(frame["count"].to_numpy(), back, effect, alpha),
    )
    order = ["leverage", "bought", "then"]
    return frame.sort_values(order, ascending=[False, True, True])[RULE_COLUMNS].reset_index(drop=True), tested


def count_pairs(first: Any, then: Any, min_count: int) -> tuple[pd.DataFrame, int]:
    """Count how often two products meet.

    Parameters
    ----------
    first, then, min_count
        As in :func:`find_rules`.

    Returns
    -------
    pairs : pandas.DataFrame
        Columns ``a``, ``b`` (codes of products, never the same), ``count``, ``bought_count``, ``then_count``, ``of``.
    tested : int
        Pairs of products that were sold often enough to meet so often.
    """
    sold = [part.sum(axis=0) for part in (first, then)]
    often = [np.flatnonzero(number >= min_count) for number in sold]
    both = (first[:, often[0]].T @ then[:, often[1]]).tocoo()
    a, b = often[0][both.row], often[1][both.col]
    keep = (both.data >= min_count) & (a != b)
    a, b = a[keep], b[keep]
    columns = {"count": both.data[keep], "bought_count": sold[0][a], "then_count": sold[1][b], "of": first.shape[0]}
    same = np.intersect1d(often[0], often[1], assume_unique=True)
    return pd.DataFrame({"a": a, "b": b, **columns}), len(often[0]) * len(often[1]) - len(same)


def _met(first: Any, then: Any, pairs: pd.DataFrame) -> Codes:
    """Count how often the given pairs meet."""
    if pairs.empty:
        return np.zeros(0, dtype=np.intp)
    (a, row), (b, column) = (np.unique(pairs[name], return_inverse=True) for name in ("a", "b"))
    return np.asarray((first[:, a].T @ then[:, b]).tocsr()[row, column], dtype=np.intp)


def _in_order(count: Codes, back: Codes, effect: Array, alpha: float) -> NDArray[np.bool_]:
    """Return which counts are surely above those the other way round: a sign test on effective counts, corrected."""
    if not len(count):
        return np.zeros(0, dtype=bool)
    chance = special.betainc(count / effect, back / effect + 1, 0.5)
    return np.asarray(adjust(chance, "benjamini-hochberg").to_numpy() <= alpha)


def _variance(frame: pd.DataFrame) -> Array:
    """Variance of the log of the lift, were all rows independent."""
    ab, a, b, n = (frame[name].to_numpy(dtype=float) for name in ("count", "bought_count", "then_count", "of"))
    return np.asarray(np.maximum(1 / ab - 1 / a - 1 / b - 1 / n + 2 * ab / (a * b), 1e-12), dtype=float)


def _design_effect(first: Any, then: Any, who: Codes, frame: pd.DataFrame) -> Array:
    """Return how much more the log of the lift varies than with independent rows, at least 1.

    From groups of whole customers (the delete-a-group jackknife's linear form); groups and not customers, so that the
    cost does not grow with their number.
    """
    ab, na, nb, n = (frame[name].to_numpy(dtype=float) for name in ("count", "bought_count", "then_count", "of"))
    group = pd.factorize(who, sort=True)[0] % _GROUPS
    groups = int(group.max(initial=0)) + 1
    if groups < 2:
        return np.full(len(ab), np.inf)
    (a, row), (b, column) = (np.unique(frame[name], return_inverse=True) for name in ("a", "b"))
    left, right = first[:, a], then[:, b]
    total = np.zeros(len(ab))
    for g in range(groups):
        rows = np.flatnonzero(group == g)
        mine, others = left[rows], right[rows]
        met = np.asarray((mine.T @ others).tocsr()[row, column], dtype=float)
        own = met / ab + len(rows) / n - mine.sum(axis=0)[row] / na - others.sum(axis=0)[column] / nb
        total += own**2
    return np.asarray(np.maximum(total * groups / (groups - 1) / _variance(frame), 1.0), dtype=float)


def _tail(frame: pd.DataFrame, effect: Array) -> Array:
    """Chance of the count or more were the products bought independently: a binomial tail, on effective counts."""
    ab, a, b, n = (frame[name].to_numpy(dtype=float) for name in ("count", "bought_count", "then_count", "of"))
    rare, frequent = np.minimum(a, b), np.maximum(a, b) / n
    found = special.betainc(ab / effect + 1e-300, (rare - ab) / effect + 1, frequent)
    return np.where(ab * n > a * b, found, 1.0)


def _measured(frame: pd.DataFrame, effect: Array, alpha: float) -> pd.DataFrame:
    ab, a, b = (frame[name].to_numpy(dtype=float) for name in ("count", "bought_count", "then_count"))
    found = measures(ab, a, b, int(frame["of"].iloc[0]))
    half = -special.ndtri(alpha / 2) * np.sqrt(_variance(frame) * effect)
    with np.errstate(over="ignore"):
        ends = {"lift_lower": found["lift"] * np.exp(-half), "lift_upper": found["lift"] * np.exp(half)}
    return frame.assign(**found, **ends)
