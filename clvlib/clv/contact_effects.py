"""What contacts do (V8): past contacts against those held out, corrected for several actions, shrunk for planning."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import ParameterError
from clvlib.result import Result
from clvlib.stats.means import Moments, mean_difference
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.stats.proportions import proportion_effects
from clvlib.words import tr, trn

__all__ = ["ASSUMED", "ContactEffects", "contact_effects", "shrunk"]

Array = NDArray[np.float64]

ASSUMED = 0.01  # extra buyers per contact where nothing is known
_SPREAD = 0.03  # effects of contacts differ from what was assumed by a few points: scale of the half-Cauchy prior
_SPREADS = np.linspace(0.0, 0.2, 241)  # and hardly ever by more than twenty or forty
_TINY = 1e-12  # where nothing varies, what was measured is as good as known


@dataclass(frozen=True)
class ContactEffects(Result):
    """What past contacts did; ``table`` has a row per action that was ever taken or may be.

    ``table`` columns: ``sent``, ``held_out`` (contacts whose window is over), ``open`` (whose window is not: they count
    as neither), ``rate_sent`` and ``rate_held`` (share who bought within the window), ``effect`` (difference) with
    ``lower``, ``upper``, ``p_value`` and ``p_adjusted``; ``ratio``; ``margin`` (extra margin per contact) with
    ``margin_lower`` and ``margin_upper``; ``price_cut`` with ``price_cut_error`` (share by which prices paid were lower
    than those of who was held out); ``found`` (the adjusted test rejects no effect); and for planning ``expected`` with
    ``expected_error`` (extra buyers per contact, shrunk), ``kept`` with ``kept_error`` (the same less the buyers whose
    margin the lower prices take away), ``purchases_per_buyer`` (days with a purchase in the window) and ``basis`` (how
    many were held out, and how much of ``expected`` is the assumption that it is drawn towards).

    Attributes
    ----------
    as_of : str
        The last day that counts.
    window_days : int
        Days after a contact in which purchases count.
    level : float
        Of the intervals, of all actions together.
    margin : float
        Share of spend that is kept.
    sentence : str
        What was found.
    """

    as_of: str
    window_days: int
    level: float
    margin: float
    sentence: str = field(repr=False)


def contact_effects(
    orders: Table | pd.DataFrame,
    contacts: Table | pd.DataFrame | None,
    as_of: str | dt.date,
    *,
    window_days: int = 14,
    margin: float = 0.3,
    level: float = 0.95,
    assumed: Mapping[str, float] | None = None,
) -> ContactEffects:
    """Measure what each past action did against those who were held out from it.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``ordered_at`` and ``net_amount``; where there is a column ``is_purchase`` only its rows count.
        With ``discount`` (taken off the price of a row), what coupons give away is known.
    contacts : Table or pandas.DataFrame or None
        ``customer_id``, ``sent_at`` and ``action``; ``is_holdout``, without which nobody was held out. None: no past.
    as_of : str or date
        The last day that is known.
    window_days : int
        Days after a contact in which purchases count.
    margin : float
        Share of spend that is kept.
    level : float
        Of all intervals together: each leaves 0 out just where Holm's test of all actions rejects it.
    assumed : mapping of str to float, optional
        By action, the extra buyers per contact taken for granted until it is measured; :data:`ASSUMED` for others.

    Returns
    -------
    ContactEffects

    Raises
    ------
    ParameterError
        A window of less than a day, a margin or level that is no share, an assumed effect that cannot be.
    MissingColumnError
        A table lacks a column.

    Notes
    -----
    Sent contacts are weighted to the weeks of those held out, so that a campaign in weeks without a hold-out is not
    compared with quiet weeks. Effective numbers follow Kish; where the same people were contacted more than once, both
    groups shrink by the design effect of customers (Rao & Scott 1992). Differences of shares have the interval of
    Miettinen and Nurminen (1985).

    A coupon also lowers the price of what would have been bought without it. Goods cost what they did, so a lower
    price comes out of the margin in full: with margin m, a price that is lower by c, and shares p and q of those sent
    and held out who buy, a contact brings ``p (m - c) - q m`` of a usual purchase, which is ``m (p - q) - c p``.

    For planning, effects and price cuts are drawn towards what was assumed (no cut), by a normal
    distribution whose spread is learnt from all actions together (empirical Bayes, its uncertainty integrated out).

    Examples
    --------
    >>> day = pd.Timestamp("2026-10-01")
    >>> sent = pd.DataFrame({"customer_id": range(40), "sent_at": day, "action": "call",
    ...                      "is_holdout": [i % 2 == 0 for i in range(40)]})
    >>> sold = pd.DataFrame({"customer_id": range(1, 30, 2), "ordered_at": day + pd.Timedelta("3D"),
    ...                      "net_amount": 50.0})
    >>> contact_effects(sold, sent, "2026-11-15").table[["sent", "held_out", "rate_sent", "rate_held", "found"]]
            sent  held_out  rate_sent  rate_held  found
    action
    call      20        20       0.75        0.0   True
    """
    prior = dict(assumed or {})
    _check(window_days, margin, level, prior)
    end = as_date(as_of) + dt.timedelta(days=1)
    rows = _outcomes(orders, contacts, end, window_days)
    names = [*prior, *sorted(set(rows["action"]) - set(prior))]
    groups = dict(iter(rows.groupby("action", sort=False)))
    facts = {name: _facts(groups.get(name, rows.iloc[:0]), margin) for name in names}
    table = pd.DataFrame([facts[name].row for name in names], index=pd.Index(names, name="action", dtype=object))
    if names:
        table = _planned(_measured(table, facts, level), prior, margin)
    return ContactEffects(
        as_of=str(as_date(as_of)),
        window_days=window_days,
        level=level,
        margin=margin,
        sentence=_sentence(table),
        table=table[_COLUMNS] if names else pd.DataFrame(columns=_COLUMNS),
    )


_COLUMNS = [
    "sent", "held_out", "open", "rate_sent", "rate_held", "effect", "lower", "upper", "p_value", "p_adjusted", "ratio",
    "margin", "margin_lower", "margin_upper", "price_cut", "price_cut_error", "found", "expected", "expected_error",
    "kept", "kept_error", "purchases_per_buyer", "basis",
]  # fmt: skip


def shrunk(effects: Array, errors: Array, assumed: Array) -> tuple[Array, Array]:
    """Draw measured effects towards those assumed, by a spread that is learnt from all of them.

    Parameters
    ----------
    effects, errors : array, shape (k,)
        Measured effects with their standard errors; not a number where nothing was measured.
    assumed : array, shape (k,)
        What each is drawn to.

    Returns
    -------
    mean, error : array, shape (k,)
        Of the posterior distribution: effect ~ N(assumed, spread²), spread ~ half-Cauchy(0.03) up to 0.2 (Gelman 2006),
        integrated out.

    Examples
    --------
    >>> mean, error = shrunk(np.array([0.07, 0.0, np.nan]), np.array([0.015, 0.03, np.nan]), np.zeros(3))
    >>> mean.round(3).tolist(), error.round(3).tolist()
    ([0.062, 0.0, 0.0], [0.016, 0.025, 0.064])
    """
    known = np.isfinite(effects) & np.isfinite(errors)
    off, noise = np.where(known, effects - assumed, 0.0), np.where(known, np.maximum(errors**2, _TINY), np.inf)
    spread = _SPREADS[:, None] ** 2
    total = spread + noise[known]
    log_weight = -0.5 * (np.log(total) + off[known] ** 2 / total).sum(axis=1) - np.log1p((_SPREADS / _SPREAD) ** 2)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    kept = np.where(known, spread / (spread + np.where(known, noise, 1.0)), 0.0)
    means = kept * off
    within = np.where(known, kept * np.where(known, noise, 0.0), spread)
    mean = weight @ means
    return assumed + mean, np.sqrt(weight @ (within + (means - mean) ** 2))


@dataclass(frozen=True)
class _Facts:
    """One action: its row so far, and what tests need, effective numbers among it."""

    row: dict[str, float]
    counts: tuple[float, float, float, float] | None  # buyers and contacts, sent and held out
    money: tuple[Moments, Moments] | None


def _outcomes(
    orders: Table | pd.DataFrame, contacts: Table | pd.DataFrame | None, end: dt.date, window_days: int
) -> pd.DataFrame:
    """Return the contacts made by then: whether held out, whether their window is over, and what was bought in it."""
    columns = ["customer_id", "action", "held", "week", "mature", "purchases", "money", "paid", "given"]
    if contacts is None:
        return pd.DataFrame(columns=columns)
    tables = together(orders=orders, contacts=contacts)
    sold = tables["orders"].require("customer_id", "ordered_at", "net_amount")
    sent = tables["contacts"].require("customer_id", "sent_at", "action")
    held = "COALESCE(CAST(c.is_holdout AS BOOLEAN), FALSE)" if "is_holdout" in sent.columns else "FALSE"
    paid = "amount" if "amount" in sold.columns else "net_amount"
    given = "SUM(o.discount)" if "discount" in sold.columns else "0"
    real = "AND o.is_purchase " if "is_purchase" in sold.columns else ""
    over = literal(dt.datetime.combine(end - dt.timedelta(days=window_days), dt.time()))
    now = literal(dt.datetime.combine(end, dt.time()))
    frame = sent.query(
        f"SELECT c.customer_id, c.action, {held} AS held, CAST(DATE_TRUNC('week', c.sent_at) AS DATE) AS week, "
        f"c.sent_at, c.sent_at <= {over} AS mature, COUNT(DISTINCT CAST(o.ordered_at AS DATE)) AS purchases, "
        f"CAST(COALESCE(SUM(o.net_amount), 0) AS DOUBLE) AS money, CAST(COALESCE(SUM(o.{paid}), 0) AS DOUBLE) AS paid, "
        f"CAST(COALESCE({given}, 0) AS DOUBLE) AS given FROM {{t}} AS c LEFT JOIN {{orders}} AS o ON "
        f"o.customer_id = c.customer_id {real}AND o.ordered_at < {now} AND o.ordered_at > c.sent_at "
        f"AND o.ordered_at <= c.sent_at + INTERVAL {window_days} DAY "
        f"WHERE c.sent_at < {now} AND c.customer_id IS NOT NULL AND c.action IS NOT NULL "
        "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY c.action, c.sent_at, c.customer_id",
        orders=sold,
    )
    return frame[columns]


def _facts(rows: pd.DataFrame, margin: float) -> _Facts:
    ripe = rows[rows["mature"].astype(bool)]
    held = ripe["held"].to_numpy(dtype=bool)
    bought = (ripe["purchases"].to_numpy() > 0).astype(float)
    buyers = bought.sum()
    row = {
        "sent": int((~held).sum()),
        "held_out": int(held.sum()),
        "open": len(rows) - len(ripe),
        "purchases_per_buyer": float(ripe["purchases"].sum() / buyers) if buyers else 1.0,
    }
    weight = _weights(ripe["week"], held)
    if not weight[held].sum() or not weight[~held].sum():
        return _Facts(row, None, None)
    customers = pd.factorize(ripe["customer_id"])[0]
    first, second = (_mean(bought, weight, held == side) for side in (False, True))
    n = _effective(bought, weight, held, customers)
    counts = (first * n[0], n[0], second * n[1], n[1])
    usual, cut, cut_error = _price_cut(ripe, weight, held, customers)
    given, paid, money = (ripe[name].to_numpy(dtype=float) for name in ("given", "paid", "money"))
    gained = margin * money - (1 - margin) * (given - usual * (given + paid))
    sizes = _effective(gained, weight, held, customers)
    sides = zip(sizes, (held == side for side in (False, True)), strict=True)
    moments = tuple(_moments(gained, weight, side, size) for size, side in sides)
    row |= {"rate_sent": first, "rate_held": second, "price_cut": cut, "price_cut_error": cut_error}
    return _Facts(row, counts, (moments[0], moments[1]))


def _price_cut(
    rows: pd.DataFrame, weight: Array, held: NDArray[np.bool_], customers: NDArray[np.intp]
) -> tuple[float, float, float]:
    """Return the share of the price that is usually taken off, and by how much more those sent paid less, with error.

    Both shares are ratios of sums, so the error is that of their linear parts, summed by customer; nothing is known
    where one side bought nothing.
    """
    given, paid = rows["given"].to_numpy(dtype=float), rows["paid"].to_numpy(dtype=float)
    shares, residual = [], np.zeros(len(rows))
    for side in (held, ~held):
        whole = float((weight * (given + paid))[side].sum())
        share = float((weight * given)[side].sum()) / whole if whole > 0 else np.nan
        residual[side] = (weight * (given - share * (given + paid)) / whole)[side] if whole > 0 else 0.0
        shares.append(share)
    usual, sent = shares
    if not usual < 1 or np.isnan(sent) or not given.any():
        return 0.0, np.nan, np.nan
    residual[held] *= -(1 - sent) / (1 - usual)
    error = float(np.sqrt((np.bincount(customers, weights=residual) ** 2).sum())) / (1 - usual)
    return usual, (sent - usual) / (1 - usual), error


def _weights(week: pd.Series, held: NDArray[np.bool_]) -> Array:
    """Weigh those sent to the weeks of those held out; weeks with only one of both count nothing."""
    place, weeks = pd.factorize(week)
    out = np.bincount(place[held], minlength=len(weeks))
    sent = np.bincount(place[~held], minlength=len(weeks))
    share = np.where(sent > 0, out / np.maximum(sent, 1), 0.0)
    return np.where(held, (sent > 0)[place], share[place]).astype(float)


def _mean(values: Array, weight: Array, side: NDArray[np.bool_]) -> float:
    return float(np.average(values[side], weights=weight[side]))


def _effective(values: Array, weight: Array, held: NDArray[np.bool_], customers: NDArray[np.intp]) -> Array:
    """Return the effective numbers of sent and held out: Kish's, less the design effect of repeated customers."""
    sizes = np.array([weight[side].sum() ** 2 / (weight[side] ** 2).sum() for side in (~held, held)])
    residual = np.zeros(len(values))
    for side, sign in ((~held, 1.0), (held, -1.0)):
        residual[side] = sign * weight[side] * (values[side] - _mean(values, weight, side)) / weight[side].sum()
    alone = float(residual @ residual)
    grouped = float((np.bincount(customers, weights=residual) ** 2).sum())
    return sizes / max(1.0, grouped / alone) if alone > 0 else sizes


def _moments(values: Array, weight: Array, side: NDArray[np.bool_], size: float) -> Moments:
    mean = _mean(values, weight, side)
    variance = float(np.average((values[side] - mean) ** 2, weights=weight[side]))
    return Moments(max(size, 1.0), mean, variance * size / (size - 1) if size > 1 else 0.0)


def _measured(table: pd.DataFrame, facts: Mapping[str, _Facts], level: float) -> pd.DataFrame:
    """Add effects with intervals that agree with Holm's test over all actions."""
    tested = [name for name in table.index if facts[name].counts is not None]
    rows: list[dict[str, float]] = []
    if tested:
        usual = proportion_effects(*np.array([facts[name].counts for name in tested]).T)
        p_values = usual["p_value"].to_numpy()
        error = (usual["upper"] - usual["lower"]).to_numpy() / (2 * float(stats.norm.ppf(0.975)))
        told = zip(tested, p_values, np.asarray(adjust(p_values)), error, strict=True)
        levels = 1 - np.asarray(agreeing_alpha(p_values, 1 - level))
        rows = [
            {"p_value": p, "p_adjusted": adjusted, "error": off} | _effect(facts[name], float(own))
            for (name, p, adjusted, off), own in zip(told, levels, strict=True)
        ]
    figures = [*_COLUMNS[3:16], "error"]
    table = pd.concat([table, pd.DataFrame(rows, index=tested).reindex(table.index)], axis=1)
    table = table.reindex(columns=[*dict.fromkeys([*table.columns, *figures])])
    table[figures] = table[figures].astype(float)
    return table.assign(found=(table["p_adjusted"] <= 1 - level).to_numpy(dtype=bool))


def _effect(facts: _Facts, level: float) -> dict[str, float]:
    """Return effects on buying and on the margin with intervals."""
    x1, n1, x2, n2 = facts.counts or (0.0, 1.0, 0.0, 1.0)
    wide = proportion_effects(x1, n1, x2, n2, level).iloc[0]
    row = {"effect": wide["estimate"], "lower": wide["lower"], "upper": wide["upper"]}
    row["ratio"] = (x1 / n1) / (x2 / n2) if x2 > 0 else np.nan
    first, second = facts.money or (Moments(1, 0.0, 0.0), Moments(1, 0.0, 0.0))
    if min(first.n, second.n) >= 2 and first.variance + second.variance > 0:
        extra = mean_difference(first, second, level, method="guarded")
        row |= {"margin": extra.estimate, "margin_lower": extra.lower, "margin_upper": extra.upper}
    return row


def _planned(table: pd.DataFrame, prior: Mapping[str, float], margin: float) -> pd.DataFrame:
    """Add what is expected of the next contact, and what that rests on; of prices that nobody compared, no cut."""
    assumed = np.array([prior.get(str(name), ASSUMED) for name in table.index])
    mean, error = shrunk(table["effect"].to_numpy(), table["error"].to_numpy(), assumed)
    off = table["effect"].to_numpy() - assumed
    drawn = 1 - np.divide(mean - assumed, off, out=np.ones(len(off)), where=np.abs(off) > _TINY)
    basis = [_basis(*facts) for facts in zip(table["effect"], table["held_out"], drawn, strict=True)]
    cut, cut_error = shrunk(table["price_cut"].to_numpy(), table["price_cut_error"].to_numpy(), np.zeros(len(table)))
    bought = table["rate_sent"].where(table["price_cut_error"].notna(), 0.0).to_numpy() / margin
    # no contact makes prices rise, so what looks like it is chance and earns nothing
    lost, lost_error = (np.where(bought > 0, bought * part, 0.0) for part in (np.maximum(cut, 0.0), cut_error))
    kept = {"kept": mean - lost, "kept_error": np.hypot(error, lost_error)}
    return table.assign(expected=mean, expected_error=error, basis=basis, **kept)


def _basis(effect: float, held_out: int, assumed: float) -> str:
    """Say what is expected rests on; ``assumed`` is the share by which it is drawn from what was measured."""
    if np.isnan(effect):
        return tr("assumed")
    if assumed < 0.005:
        return trn("measured on {n:,} held out", "measured on {n:,} held out", int(held_out))
    return trn(
        "measured on {n:,} held out, {share:.0%} assumed",
        "measured on {n:,} held out, {share:.0%} assumed",
        int(held_out),
        share=assumed,
    )


def _sentence(table: pd.DataFrame) -> str:
    if table.empty or table["effect"].isna().all():
        return tr("Nobody was held out from any contact so far, so what contacts bring is an assumption.")
    measured, found = table["effect"].notna(), table[table["found"]]
    if found.empty:
        return trn(
            "The action measured against a hold-out shows no effect beyond chance.",
            "None of the {n} actions measured against a hold-out shows an effect beyond chance.",
            int(measured.sum()),
        )
    parts = [
        tr(
            "{action}: {effect:+.1f} points ({lower:+.1f} to {upper:+.1f})",
            action=tr(str(name)).replace("_", " "),
            effect=100 * effect,
            lower=100 * low,
            upper=100 * high,
        )
        for name, effect, low, high in zip(found.index, found["effect"], found["lower"], found["upper"], strict=True)
    ]
    return tr(
        "Share who bought, contacted against held out, where it differs beyond chance: {parts}. Measured: {n} actions.",
        parts=tr("; ").join(parts),
        n=int(measured.sum()),
    )


def _check(window_days: int, margin: float, level: float, prior: Mapping[str, float]) -> None:
    if window_days < 1:
        raise ParameterError(f"the window after a contact has at least one day; found {window_days}")
    if not 0 < margin <= 1 or not 0 < level < 1:
        raise ParameterError(f"margin and level are shares; found {margin} and {level}")
    if not all(-1 < effect < 1 for effect in prior.values()):
        raise ParameterError(f"an assumed effect is a difference of shares, such as 0.01; found {dict(prior)}")
