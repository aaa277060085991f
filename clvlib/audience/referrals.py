"""Referral and word of mouth (A11): who invites, how many accept, what they bring, and how far it spreads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.audience.alike import compare_alike
from clvlib.audience.referrals_rows import LEADERS, OTHERS, SET_ASIDE, classified, customers, sent_by
from clvlib.audience.trees import forest
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.survival import clustered_survival, kaplan_meier, survival_at
from clvlib.stats.totals import share_interval, total_interval
from clvlib.words import mark, money, tr, trn

__all__ = ["Referrals", "referrals"]

Array = NDArray[np.float64]
_EVERY = mark("all invitations")
_BY = {"all": mark("all"), "is_kol": mark("sender"), "channel": mark("channel")}
MEASURES = {
    "spend": mark("net spend so far"),
    "repeat_rate": mark("repeat rate"),
    "value": mark("expected value"),
}
_SHARES = ("invitation_share", "brought_share", "revenue_share")


@dataclass(frozen=True)
class Referrals(Result):
    """Invitations and what became of them.

    ``table`` has a row for all invitations, one for those of opinion leaders and one for the others, and one per
    channel of invitation (index ``by``, ``group``), as far as the columns are there: ``referrers``, ``invitations``,
    ``accepted``, ``open`` (younger than ``within`` and not accepted), ``acceptance`` (share accepted within ``within``
    days) with ``lower`` and ``upper``, ``brought`` (new customers), ``revenue`` (net, of those so far), and the shares
    ``invitation_share``, ``brought_share`` and ``revenue_share`` with ``_lower`` and ``_upper``.

    Acceptance is Kaplan and Meier's: an open invitation is neither accepted nor refused. As invitations of one person
    are alike, people who invite, not invitations, are what repeats in all intervals.

    Attributes
    ----------
    as_of : str
        The last day that counts.
    within : int
        Days within which an acceptance counts for the rate.
    level : float
        Of the intervals.
    customers : int
        All who have bought by then.
    invitations, brought, open : int
        Invitations sent; new customers who came by one; invitations that are still open.
    expected : float
        So many of the open ones are expected to be accepted within their time.
    acceptance, acceptance_lower, acceptance_upper : float
        Of all invitations, as in ``table``.
    k_factor, lower, upper : float
        New customers brought per customer so far.
    chains : pandas.DataFrame
        By ``generation`` (1: invited by somebody who was not): ``customers``.
    referrers : pandas.DataFrame
        By ``customer_id``, who brought most first: ``invitations``, ``accepted``, ``brought``, ``tree`` (brought by
        them or by those whom they brought, and so on), ``revenue`` of those brought directly, ``is_kol``.
    worth : pandas.DataFrame
        Referred customers against others who first bought in the same weeks, by measure (``spend``, ``repeat_rate``,
        and ``value`` where given), as :func:`clvlib.audience.alike.compare_alike` has it.
    compared : float
        Share of new customers who came in weeks that have enough of both to be compared.
    set_aside : dict of str to int
        Acceptances that brought nobody new, by reason.
    loops, in_loops : int
        Loops in who invited whom, and people in them.
    not_yet, nameless, early : int
        Accepted without a purchase so far; accepted by nobody knows whom, and counted as new; accepted, by its clock,
        before it was sent.
    """

    as_of: str
    within: int
    level: float
    customers: int
    invitations: int
    brought: int
    open: int
    expected: float
    acceptance: float
    acceptance_lower: float
    acceptance_upper: float
    k_factor: float
    lower: float
    upper: float
    chains: pd.DataFrame = field(repr=False)
    referrers: pd.DataFrame = field(repr=False)
    worth: pd.DataFrame = field(repr=False)
    compared: float = field(repr=False)
    set_aside: dict[str, int] = field(repr=False)
    loops: int = field(repr=False)
    in_loops: int = field(repr=False)
    not_yet: int = field(repr=False)
    nameless: int = field(repr=False)
    early: int = field(repr=False)

    @property
    def sentence(self) -> str:
        """K-factor and acceptance, in words."""
        k = tr(
            "A hundred customers have brought {k:.1f} new ones so far ({lower:.1f} to {upper:.1f}).",
            k=100 * self.k_factor,
            lower=100 * self.lower,
            upper=100 * self.upper,
        )
        if np.isnan(self.acceptance):
            rate = tr(
                "No unanswered invitation is {within} days old yet, so the share accepted is not known.",
                within=self.within,
            )
        else:
            rate = tr(
                "Of {invitations:,} invitations {rate:.0%} are accepted within {within} days ({lower:.0%} to "
                "{upper:.0%}); {open:,} are still open.",
                invitations=self.invitations,
                rate=self.acceptance,
                within=self.within,
                lower=self.acceptance_lower,
                upper=self.acceptance_upper,
                open=self.open,
            )
        return tr("{text} {more}", text=k, more=rate)

    @property
    def worth_sentence(self) -> str:
        """What referred customers are worth against others of the same week, in words."""
        known = self.worth.dropna(subset="p_value")
        if known.empty:
            return tr("There are too few referred customers to compare them with others of the same week.")
        found = known[known["p_value"] <= 1 - self.level]
        if found.empty:
            return tr("Referred customers cannot be told apart from others who first bought in the same weeks.")
        parts = [
            tr(
                "{measure} ({here} against {there})",
                measure=tr(MEASURES[str(name)]),
                **{
                    key: f"{row[column]:.0%}" if name == "repeat_rate" else money(row[column])
                    for key, column in (("here", "mean"), ("there", "other_mean"))
                },
            )
            for name, row in found.iterrows()
        ]
        return tr(
            "Referred customers differ from others who first bought in the same weeks in {parts}.",
            parts=tr(", ").join(parts),
        )

    @property
    def leaders(self) -> pd.Series | None:
        """The row of opinion leaders in ``table``; None where nobody is marked as one."""
        found = self.table[self.table.index.get_level_values("group") == LEADERS]
        return None if found.empty else found.iloc[0]

    @property
    def leaders_sentence(self) -> str:
        """What opinion leaders contribute, in words; empty where nobody is marked as one."""
        row = self.leaders
        if row is None:
            return ""
        return trn(
            "{n:,} opinion leader, {share:.1%} of the customers, sends {sent:.0%} of the invitations ({lower:.0%} to "
            "{upper:.0%}) and brings {revenue:.0%} of the revenue of those referred.",
            "{n:,} opinion leaders, {share:.1%} of the customers, send {sent:.0%} of the invitations ({lower:.0%} to "
            "{upper:.0%}) and bring {revenue:.0%} of the revenue of those referred.",
            int(row["referrers"]),
            share=row["referrers"] / self.customers,
            sent=row["invitation_share"],
            lower=row["invitation_share_lower"],
            upper=row["invitation_share_upper"],
            revenue=row["revenue_share"],
        )

    @property
    def chains_sentence(self) -> str:
        """How far invitations spread, and what was set aside, in words."""
        deep = int(self.chains.index.max()) if len(self.chains) else 0
        most = self.referrers["tree"].max()
        told = [
            trn("The longest chain has {n} link", "The longest chain has {n} links", deep)
            + trn("; the largest tree holds {n:,} customer.", "; the largest tree holds {n:,} customers.", int(most))
        ]
        aside = {name: n for name, n in self.set_aside.items() if n}
        if aside:
            parts = tr(", ").join(f"{n:,} {tr(SET_ASIDE[name])}" for name, n in aside.items())
            told.append(tr("Acceptances that brought nobody new: {parts}.", parts=parts))
        if self.nameless:
            told.append(tr("Accepted by nobody knows whom, and counted as new: {n:,}.", n=self.nameless))
        if self.early:
            told.append(tr("Accepted, by their clock, before they were sent: {n:,}.", n=self.early))
        if self.loops:
            told.append(
                trn(
                    "{n} loop of people who invited one another is in no tree.",
                    "{n} loops of people who invited one another are in no tree.",
                    self.loops,
                )
            )
        return reduce(lambda text, more: tr("{text} {more}", text=text, more=more), told)

    @property
    def shown(self) -> pd.DataFrame:
        """The columns of ``table`` that a reader looks at first."""
        columns = ["referrers", "invitations", "open", "acceptance", "lower", "upper", "brought", "revenue"]
        return self.table[columns].rename(index=_BY, level="by")

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        counts = ["referrers", "invitations", "open", "brought"]
        return dict.fromkeys(_RATE, "share") | dict.fromkeys(counts, "count") | {"revenue": "money"}

    @property
    def best(self) -> pd.DataFrame:
        """Those of ``referrers`` who brought somebody, with the columns that a reader looks at first."""
        columns = ["invitations", "brought", "tree", "revenue"]
        columns += ["is_kol"] if "is_kol" in self.table.index.get_level_values("by") else []
        return self.referrers.loc[self.referrers["brought"] > 0, columns]


def referrals(
    invitations: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    as_of: Any,
    value: pd.Series | None = None,
    *,
    within: int = 30,
    fewest: int = 3,
    level: float = 0.95,
) -> Referrals:
    """Look at all invitations up to a day.

    Parameters
    ----------
    invitations : Table or pandas.DataFrame
        ``referrer_id``, ``sent_at``, ``accepted_at`` (missing: not accepted), and where known ``customer_id`` (who
        accepted), ``channel`` and ``is_kol``. Who has one invitation marked so is an opinion leader in all.
    orders : Table or pandas.DataFrame
        All orders: who has bought is a customer.
    as_of : date or str
        The last day that counts; later invitations and acceptances are not known yet.
    value : pandas.Series, optional
        By customer_id, what each customer is expected to bring.
    within : int
        Days within which an acceptance counts for the rate.
    fewest : int
        Referred and other customers that a week needs to be compared.
    level : float
        Confidence level.

    Returns
    -------
    Referrals

    Raises
    ------
    MissingColumnError
        A required column is absent.
    EmptyDataError
        No invitation was sent by then, or nobody has bought.
    ParameterError
        ``within`` is less than a day, or the level is no share.

    Notes
    -----
    The K-factor counts each new customer once: the first acceptance of somebody who had not bought before its day. Its
    interval is that of Fay and Feuer (1997) for a sum over a Poisson number of referrers, so that it is wide where few
    bring many. Shares have the interval of :func:`clvlib.stats.totals.share_interval`, acceptance that of
    :func:`clvlib.stats.survival.clustered_survival`. Referred customers are compared with others whose first purchase
    fell into the same ISO weeks, all standardised to the weeks of both together (:func:`like_for_like`).

    Examples
    --------
    >>> day = pd.Timestamp("2026-11-02")
    >>> sent = pd.DataFrame({"referrer_id": ["a", "a", "b"], "sent_at": [day, day, day + pd.Timedelta(days=40)],
    ...     "customer_id": ["b", None, None], "accepted_at": [day + pd.Timedelta(days=1), pd.NaT, pd.NaT]})
    >>> sold = pd.DataFrame({"customer_id": ["a", "b"], "ordered_at": [day, day + pd.Timedelta(days=2)], "amount": 9.0})
    >>> found = referrals(sent, sold, "2026-12-20")
    >>> found.k_factor, found.brought, found.open, round(found.acceptance, 3)
    (0.5, 1, 1, 0.333)
    """
    last = as_date(as_of, "as_of")
    if within < 1 or not 0 < level < 1:
        raise ParameterError(f"within is a day at least and level a share; found {within} and {level}")
    end = pd.Timestamp(last) + pd.Timedelta(days=1)
    tables = together(referrals=invitations, orders=orders)
    sent = sent_by(tables["referrals"], end, within)
    bought = customers(tables["orders"], end)
    sent = classified(sent, bought)
    if sent.empty or bought.empty:
        raise EmptyDataError(tr("nobody had been invited, or nobody had bought, by {day}", day=last))
    named = sent[sent["brought"] & sent["customer_id"].notna()]
    trees = forest(named["customer_id"], named["referrer_id"])
    looped = trees.loc[trees["loop"] >= 0, "loop"]
    brought, total = sent.groupby("referrer_id")["brought"].sum(), int(sent["brought"].sum())
    worth, compared = _worth(bought, named["customer_id"], value, fewest, level)
    table = _table(sent, within, level)
    return Referrals(
        as_of=str(last),
        within=within,
        level=level,
        customers=len(bought),
        invitations=len(sent),
        brought=total,
        open=int(sent["open"].sum()),
        expected=_still(sent, within),
        **dict(zip(("acceptance", "acceptance_lower", "acceptance_upper"), table.iloc[0][_RATE], strict=True)),
        k_factor=total / len(bought),
        **_limits(brought.to_numpy(dtype=float), len(bought), level),
        chains=trees.loc[trees["depth"] > 0, "depth"].astype(int).value_counts().sort_index().rename_axis("generation")
        .to_frame("customers"),
        referrers=_referrers(sent, trees),
        worth=worth,
        compared=compared,
        set_aside={name: int(sent["aside"].eq(name).sum()) for name in SET_ASIDE},
        loops=int(looped.nunique()),
        in_loops=len(looped),
        not_yet=int((named["revenue"].isna()).sum()),
        nameless=int((sent["brought"] & sent["customer_id"].isna()).sum()),
        early=int(sent["early"].sum()),
        table=table,
    )  # fmt: skip


_RATE = ["acceptance", "lower", "upper"]


def _limits(brought: Array, customers: int, level: float) -> dict[str, float]:
    lower, upper = total_interval(brought.sum(), float(brought @ brought), max(brought.max(), 1.0), level)
    return {"lower": lower / customers, "upper": upper / customers}


def _rate(part: pd.DataFrame, within: int, level: float) -> list[float]:
    """Share accepted within so many days, with limits; Wilson's over people where nobody or everybody accepted."""
    found = clustered_survival(part["days"], part["accepted"], part["referrer_id"], within, level)
    if found["beyond"]:
        return [np.nan] * 3
    share = 1 - found["survival"]
    if share in (0, 1):
        people = part["referrer_id"].nunique()
        return proportion_interval(share * people, people, level).iloc[0].tolist()
    return [share, 1 - found["upper"], 1 - found["lower"]]


def _still(sent: pd.DataFrame, within: int) -> float:
    """How many of the open invitations will be accepted in time, each with the chance of those of its age."""
    curve = kaplan_meier(sent["days"], sent["accepted"])
    final = survival_at(curve, within)
    if final["beyond"].iloc[0]:
        return float("nan")
    now = survival_at(curve, sent.loc[sent["open"], "days"])["survival"]
    return float((1 - final["survival"].iloc[0] / now).sum())


def _table(sent: pd.DataFrame, within: int, level: float) -> pd.DataFrame:
    """One row per group: counts, acceptance, and shares of the whole."""
    rows = {("all", _EVERY): sent}
    for by in ("is_kol", "channel"):
        if sent[by].notna().any():
            named = sent[by].fillna("unknown")
            sizes = named.value_counts().sort_index().sort_values(ascending=False, kind="stable")
            order = [LEADERS, OTHERS] if by == "is_kol" else list(sizes.index)
            rows |= {(by, str(name)): sent[named == name] for name in order if (named == name).any()}
    made = [_row(part, sent, within, level) for part in rows.values()]
    return pd.DataFrame(made, index=pd.MultiIndex.from_tuples(rows, names=["by", "group"]))


def _row(part: pd.DataFrame, sent: pd.DataFrame, within: int, level: float) -> dict[str, float]:
    row: dict[str, float] = {
        "referrers": part["referrer_id"].nunique(),
        "invitations": len(part),
        "accepted": int(part["accepted"].sum()),
        "open": int(part["open"].sum()),
    }
    row |= dict(zip(_RATE, _rate(part, within, level), strict=True))
    row |= {"brought": int(part["brought"].sum()), "revenue": float(part["revenue"].sum())}
    who, of_part = pd.factorize(sent["referrer_id"])[0], sent.index.isin(part.index)
    for name in _SHARES:
        one = name == "invitation_share"
        whole = np.ones(len(sent)) if one else np.nan_to_num(sent[name.removesuffix("_share")].to_numpy(float))
        own, other = (np.bincount(who[side], whole[side]) for side in (of_part, ~of_part))
        share = (1.0, np.nan, np.nan)
        if len(part) < len(sent):
            share = share_interval(own.sum(), float(own @ own), other.sum(), float(other @ other), level)
        row |= dict(zip((name, f"{name}_lower", f"{name}_upper"), share, strict=True))
    return row


def _referrers(sent: pd.DataFrame, trees: pd.DataFrame) -> pd.DataFrame:
    by = sent.groupby("referrer_id")
    frame = pd.DataFrame(
        {
            "invitations": by.size(),
            "accepted": by["accepted"].sum(),
            "brought": by["brought"].sum(),
            "revenue": by["revenue"].sum(),
            "is_kol": by["is_kol"].first().eq(LEADERS),
        }
    ).rename_axis("customer_id")
    frame.insert(3, "tree", trees["descendants"].reindex(frame.index).fillna(0).astype(int))
    return frame.sort_values(["brought", "tree", "revenue"], ascending=False, kind="stable")


def _worth(
    bought: pd.DataFrame, referred: pd.Series, value: pd.Series | None, fewest: int, level: float
) -> tuple[pd.DataFrame, float]:
    """Compare referred customers with others who first bought in the same weeks."""
    monday = bought["first_day"] - pd.to_timedelta(bought["first_day"].dt.day_of_week, unit="D")
    people = bought
    if value is not None:
        people = bought.assign(value=value.set_axis(value.index.astype(str)).reindex(bought.index))
    measures = [name for name in MEASURES if name in people]
    came = pd.Series(pd.Index(referred.unique()).get_indexer(bought.index) >= 0, index=bought.index)
    return compare_alike(people, came, monday, measures, fewest, level)
