"""Whom to contact with what: at most one contact each, within a budget and each channel's capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from clvlib.errors import ParameterError

__all__ = ["NOBODY", "Choice", "choose"]

Array = NDArray[np.float64]
Places = NDArray[np.intp]

NOBODY = -1
_ALL_AT_ONCE = 2_000  # kinds of customers times actions up to which one exact programme decides
_CORE = 400  # kinds of customers that a linear programme decides where there are more
_WIDEST = 1_600  # kinds to which that core grows in search of a smaller gap
_ENOUGH = 1e-3  # relative gap at which the search ends
_ROUNDS = 200  # of cutting planes
_NODES = 20_000  # of branch and bound


@dataclass(frozen=True)
class Choice:
    """Who gets what.

    Attributes
    ----------
    action : array of int, shape (n,)
        Column of the chosen action for each customer, ``NOBODY`` for none.
    gain : float
        Sum of the gains.
    bound : float
        No choice within the limits gains more.
    """

    action: Places = field(repr=False)
    gain: float
    bound: float

    @property
    def gap(self) -> float:
        """How much better the best choice could be at most, relative to the bound."""
        return max(0.0, self.bound - self.gain) / self.bound if self.bound > 0 else 0.0


def choose(
    gains: Array,
    costs: Array,
    channels: Sequence[str],
    budget: float | None = None,
    capacity: Mapping[str, float] | None = None,
) -> Choice:
    """Choose at most one action for each customer so that the sum of gains is greatest.

    Parameters
    ----------
    gains : array, shape (n, k)
        What each action is expected to bring for each customer, net of its cost; not finite or not positive: not done.
    costs : array, shape (k,)
        What an action costs, not negative.
    channels : sequence of str, length k
        The channel of each action.
    budget : float, optional
        The most that all actions together may cost.
    capacity : mapping of str to float, optional
        The most contacts by channel; a channel without one has no limit.

    Returns
    -------
    Choice

    Raises
    ------
    ParameterError
        Shapes that do not go together; a negative or missing cost, budget or capacity.

    Notes
    -----
    A multiple-choice knapsack with few joint limits. Customers with the same gains are one kind, with a count. Small
    problems are one integer programme (HiGHS). In larger ones the prices of the limits are found first, by cutting
    planes on the Lagrangian dual (Kelley 1960); at these prices nearly every customer's best action is clear, and the
    linear programme decides the rest, those whose best two are closest; it leaves at most one kind for each limit in
    parts, which are rounded down. The dual is the bound that the gap is held against.

    Examples
    --------
    >>> found = choose(np.array([[5.0, 4.0], [4.0, 1.0], [3.0, 2.0]]), np.array([2.0, 1.0]), ["phone", "push"], 4)
    >>> found.action.tolist(), found.gain
    ([1, 0, 1], 10.0)
    """
    limits = _Limits.of(gains, costs, channels, budget, capacity)
    worth = np.where(np.isfinite(gains) & (gains > 0), gains, 0.0)
    rows = np.flatnonzero(worth.any(axis=1))
    action = np.full(len(worth), NOBODY, dtype=np.intp)
    if not len(rows):
        return Choice(action, 0.0, 0.0)
    kinds, kind, count = _kinds(worth[rows])
    taken, bound = _solve(kinds, count.astype(float), limits)
    action[rows] = _handed_out(taken, kind, count)
    gain = float((kinds * taken).sum())
    return Choice(action, gain, max(bound, gain))


@dataclass(frozen=True)
class _Limits:
    """The joint limits: ``use`` is what one contact by each action takes of each, ``most`` what there is."""

    use: Array  # limits × actions
    most: Array

    @classmethod
    def of(
        cls,
        gains: Array,
        costs: Array,
        channels: Sequence[str],
        budget: float | None,
        capacity: Mapping[str, float] | None,
    ) -> _Limits:
        if gains.ndim != 2 or gains.shape[1:] != costs.shape or len(channels) != len(costs):
            raise ParameterError(
                f"gains are customers × actions, with a cost and a channel for each action; found {gains.shape}, "
                f"{costs.shape} and {len(channels)}"
            )
        if not (np.isfinite(costs) & (costs >= 0)).all():
            raise ParameterError(f"a contact costs nothing or more; found {costs.tolist()}")
        room = {} if capacity is None else dict(capacity)
        if budget is not None and not budget >= 0:
            raise ParameterError(f"the budget is nothing or more; found {budget}")
        if not all(most >= 0 for most in room.values()):
            raise ParameterError(f"the capacity of a channel is nothing or more; found {room}")
        rows = [np.array([c == channel for c in channels], dtype=float) for channel in room]
        most = [float(np.floor(limit)) for limit in room.values()]
        if budget is not None:
            rows, most = [costs, *rows], [float(budget), *most]
        bound = [i for i, limit in enumerate(most) if np.isfinite(limit)]
        use = np.array([rows[i] for i in bound], dtype=float).reshape(len(bound), len(costs))
        return cls(use, np.array([most[i] for i in bound], dtype=float))


def _kinds(worth: Array) -> tuple[Array, Places, Places]:
    """Return the distinct rows, the kind of each row, and how many there are of each."""
    order = np.lexsort(worth.T)
    ordered = worth[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    kind = np.empty(len(order), dtype=np.intp)
    kind[order] = np.cumsum(new) - 1
    return ordered[new], kind, np.bincount(kind)


def _handed_out(taken: Array, kind: Places, count: Places) -> Places:
    """Give each kind's actions to its customers in their order."""
    k = taken.shape[1]
    left = count - taken.sum(axis=1)
    each = np.column_stack([taken, left]).astype(np.intp).ravel()
    options = np.tile(np.append(np.arange(k), NOBODY), len(taken))
    action = np.empty(len(kind), dtype=np.intp)
    action[np.argsort(kind, kind="stable")] = np.repeat(options, each)
    return action


def _solve(kinds: Array, count: Array, limits: _Limits) -> tuple[Array, float]:
    """Return how many of each kind get each action, and what no choice exceeds."""
    if kinds.size <= _ALL_AT_ONCE:
        return _programme(kinds, count, limits, limits.most, whole=True)
    prices, bound = _prices(kinds, count, limits)
    reduced = np.column_stack([np.where(kinds > 0, kinds - prices @ limits.use, -np.inf), np.zeros(len(kinds))])
    ranked = np.sort(reduced, axis=1)
    closeness = np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")
    best, most, size = np.zeros_like(kinds), 0.0, _CORE
    while True:
        core, clear = closeness[:size], closeness[size:]
        taken = np.zeros_like(kinds)
        first = np.argmax(reduced[clear], axis=1)
        some = first < kinds.shape[1]
        taken[clear[some], first[some]] = count[clear[some]]
        left = limits.most - limits.use @ taken.sum(axis=0)
        if (left >= 0).all():
            part, _ = _programme(kinds[core], count[core], limits, left, whole=False)
            taken[core] = _filled(part, kinds[core], count[core], limits, left)
            gain = float((kinds * taken).sum())
            best, most = (taken, gain) if gain > most else (best, most)
        if bound - most <= _ENOUGH * bound or size >= (_WIDEST if most > 0 else len(kinds)):
            return best, bound
        size *= 4


def _programme(kinds: Array, count: Array, limits: _Limits, most: Array, *, whole: bool) -> tuple[Array, float]:
    """Solve the integer programme, or the linear one rounded down; return the bound that was found with it."""
    each, action = np.nonzero(kinds > 0)
    taken = np.zeros_like(kinds)
    if not len(each):
        return taken, 0.0
    one = sparse.csr_array((np.ones(len(each)), (each, np.arange(len(each)))), shape=(len(kinds), len(each)))
    rules = [LinearConstraint(one, -np.inf, count)]
    if len(most):
        rules.append(LinearConstraint(sparse.csr_array(limits.use[:, action]), -np.inf, most))
    found = milp(
        -kinds[each, action],
        constraints=rules,
        bounds=Bounds(0, count[each]),
        integrality=np.full(len(each), int(whole)),
        options={"mip_rel_gap": 0.0, "node_limit": _NODES},
    )
    if found.x is None:
        raise RuntimeError(f"nobody could be chosen: {found.message}")
    taken[each, action] = np.round(found.x) if whole else np.floor(found.x + 1e-9)
    return taken, -float(found.mip_dual_bound) if whole else -float(found.fun)


def _filled(taken: Array, kinds: Array, count: Array, limits: _Limits, most: Array) -> Array:
    """Use what rounding down left over, the greatest gain first."""
    taken, left = taken.copy(), most - limits.use @ taken.sum(axis=0)
    free = count - taken.sum(axis=1)
    for place in np.argsort(-kinds, axis=None, kind="stable"):
        kind, action = divmod(int(place), kinds.shape[1])
        if free[kind] < 1 or kinds[kind, action] <= 0:
            continue
        use = limits.use[:, action]
        fits = np.floor(left[use > 0] / use[use > 0] + 1e-12).min(initial=np.inf)
        more = max(0.0, min(free[kind], fits))
        taken[kind, action] += more
        free[kind] -= more
        left = left - more * use
    return taken


def _prices(kinds: Array, count: Array, limits: _Limits) -> tuple[Array, float]:
    """Return the prices of the limits at which the Lagrangian dual is least, and its value there.

    At prices p the best choice without joint limits has the value p·most + Σ count · max(0, gain − p·use): convex, and
    never below what can be gained. Each evaluation gives a plane below it; the least point of all planes so far is
    looked at next.
    """
    size = len(limits.most)
    if not size:
        return np.zeros(0), float(count @ kinds.max(axis=1))
    with np.errstate(divide="ignore"):
        dearest = np.where(limits.use > 0, kinds.max() / limits.use, 0.0).max(axis=1)
    box = [(0.0, float(top)) for top in dearest] + [(None, None)]
    prices, best, least = np.zeros(size), np.zeros(size), np.inf
    planes, levels = [], []
    for _ in range(_ROUNDS):
        reduced = np.where(kinds > 0, kinds - prices @ limits.use, -np.inf)
        first = np.argmax(reduced, axis=1)
        surplus = reduced[np.arange(len(first)), first]
        wins = surplus > 0
        used = limits.use @ np.bincount(first[wins], weights=count[wins], minlength=kinds.shape[1])
        value = float(prices @ limits.most + count[wins] @ surplus[wins])
        if value < least:
            best, least = prices, value
        slope = limits.most - used
        planes.append(np.append(slope, -1.0))
        levels.append(float(slope @ prices) - value)
        found = linprog(np.append(np.zeros(size), 1.0), A_ub=np.array(planes), b_ub=np.array(levels), bounds=box)
        if found.x is None or least - float(found.fun or 0.0) <= 1e-7 * max(least, 1e-300):
            break
        prices = np.asarray(found.x[:size])
    return best, least
