"""What sets a persona apart, and the name that it has from it (A4)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from clvlib.audience.personas_features import Habits, orders_by_kind
from clvlib.words import mark, tr

__all__ = ["apart", "matched", "named", "pooled"]

MIXED = mark("mixed")
_SAME = 0.3  # of the people in either of two groups, the share in both from which they are one persona
_PARTS = 2  # of a name
_INDEX, _BASKET, _EFFECT = 1.25, 1.5, 0.2  # from when on a share, or a basket, sets apart; and in standard deviations
_MANNERS = {"discounted": mark("discounts"), "evening": mark("evening")}
_LARGE, _SMALL = mark("large baskets"), mark("small baskets")


@dataclass(frozen=True)
class _Trait:
    """One thing of which a persona has more, or less, than all customers; ``effect`` in standard deviations."""

    name: str
    effect: float
    text: str


def pooled(habits: Habits, labels: pd.Series, everybody: str) -> pd.DataFrame:
    """Share of each category in the orders of each persona that have one, and of all customers in the last row.

    Parameters
    ----------
    habits : Habits
        Counts.
    labels : pandas.Series
        Persona by customer.
    everybody : str
        Name of the last row.
    """
    sums = _summed(orders_by_kind(habits.all), labels, everybody)
    names = list(habits.categories)
    shares = sums.div(sums.sum(axis=1).replace(0, np.nan), axis=0)
    return shares.iloc[:, : len(names)].set_axis(names, axis=1).rename_axis("persona")


def _summed(counts: pd.DataFrame, labels: pd.Series, everybody: str) -> pd.DataFrame:
    """Sums by group, and of all in the last row."""
    code, groups = pd.factorize(labels, sort=True)
    values = counts.to_numpy(float)
    sums = [np.bincount(code, column, minlength=len(groups)) for column in values.T]
    rows = np.vstack([np.reshape(sums, (-1, len(groups))).T, values.sum(axis=0)])
    return pd.DataFrame(rows, index=[*groups, everybody], columns=counts.columns)


def named(habits: Habits, labels: pd.Series) -> dict[int, str]:
    """Name each cluster by the two things that set it apart most; no name occurs twice."""
    names: dict[int, str] = {}
    for label, traits in _traits(habits, labels).items():
        parts = [trait.name for trait in traits] or [MIXED]
        options = [", ".join(parts[:k]) for k in range(min(_PARTS, len(parts)), len(parts) + 1)]
        options += [f"{options[0]}, {k}" for k in range(2, 99)]
        names[int(str(label))] = next(name for name in options if name not in names.values())
    return names


def matched(before: pd.Series, labels: pd.Series, fresh: Callable[[], dict[int, str]]) -> dict[int, str]:
    """Give clusters the names of those before with whom they share most customers.

    Parameters
    ----------
    before : pandas.Series
        Persona by customer.
    labels : pandas.Series
        Cluster by customer, now.
    fresh : callable
        Gives a name for each cluster, for those that continue none.

    Returns
    -------
    dict of int to str

    Examples
    --------
    >>> before = pd.Series(["x", "x", "y", "y"], index=list("abcd"))
    >>> matched(before, pd.Series([1, 1, 0, 0, 0], index=list("abcde")), lambda: {0: "new", 1: "other"})
    {0: 'y', 1: 'x'}
    """
    place = before.index.get_indexer(labels.index)
    (was, rows), (now, columns) = (pd.factorize(each, sort=True) for each in (before, labels))
    both = was[place[place >= 0]] * len(columns) + now[place >= 0]
    shared = np.bincount(both, minlength=len(rows) * len(columns)).reshape(len(rows), len(columns))
    union = shared.sum(axis=1)[:, None] + shared.sum(axis=0) - shared
    alike = shared / np.maximum(union, 1)
    kept = {
        int(columns[int(j)]): str(rows[int(i)])
        for i, j in zip(*linear_sum_assignment(-alike), strict=True)
        if alike[i, j] >= _SAME
    }
    for label, name in fresh().items() if len(kept) < len(columns) else ():
        if label not in kept:
            taken = set(kept.values())
            kept[label] = next(n for k in range(1, 99) if (n := name if k == 1 else f"{name}, {k}") not in taken)
    return dict(sorted(kept.items()))


def apart(habits: Habits, labels: pd.Series) -> dict[Hashable, str]:
    """Tell what sets each persona apart, in words."""
    found = _traits(habits, labels)
    return {label: tr("; ").join(trait.text for trait in traits[:4]) for label, traits in found.items()}


def _traits(habits: Habits, labels: pd.Series) -> dict[Hashable, list[_Trait]]:
    """Traits of each group, the most telling first."""
    total = "\0all"
    shares = pooled(habits, labels, total)
    manners = [name for name in _MANNERS if name in habits.all]
    sums = _summed(habits.all[["spend", "orders", *manners]], labels, total)
    for name in manners:
        shares[f"\0{name}"] = sums[name] / sums["orders"]
    baskets = habits.all["spend"] / habits.all["orders"]
    spread = float(np.log(baskets[baskets > 0]).std()) if (baskets > 0).sum() > 1 else 0.0
    basket = sums["spend"] / sums["orders"]
    found: dict[Hashable, list[_Trait]] = {}
    for label in sorted(labels.unique()):
        rows = zip(shares.columns, shares.loc[label], shares.loc[total], strict=True)
        own = [_share(str(name), float(of_own), float(of_all)) for name, of_own, of_all in rows]
        own.append(_basket(basket[label], basket[total], spread))
        telling = [trait for trait in own if trait is not None]
        found[label] = sorted(telling, key=lambda trait: (-trait.effect, trait.name))
    return found


def _share(name: str, own: float, every: float) -> _Trait | None:
    if not (0 < every < 1 and own / every >= _INDEX):
        return None
    effect = float((own - every) / np.sqrt(every * (1 - every)))
    if effect < _EFFECT:
        return None
    manner = _MANNERS.get(name.removeprefix("\0")) if name.startswith("\0") else None
    said = {"share": own, "index": 100 * own / every}
    if manner == _MANNERS["discounted"]:
        return _Trait(manner, effect, tr("{share:.0%} of orders with a discount (index {index:.0f})", **said))
    if manner == _MANNERS["evening"]:
        return _Trait(manner, effect, tr("{share:.0%} of orders in the evening (index {index:.0f})", **said))
    text = tr("{share:.0%} of orders are {category} (index {index:.0f})", category=tr(name), **said)
    return _Trait(name, effect, text)


def _basket(own: float, every: float, spread: float) -> _Trait | None:
    if not (own > 0 and every > 0 and spread > 0):
        return None
    ratio = own / every
    effect = abs(float(np.log(ratio))) / spread
    if effect < _EFFECT or 1 / _BASKET < ratio < _BASKET:
        return None
    text = tr("baskets of {index:.0f} where all customers have 100", index=100 * ratio)
    return _Trait(_LARGE if ratio > 1 else _SMALL, effect, text)
