"""One customer, many channels (A7): whose ids are known, what resolving them changes, what several platforms mean."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clvlib.audience.alike import compare_alike
from clvlib.audience.period import days, during, purchases
from clvlib.audience.trees import forest
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.totals import share_interval
from clvlib.words import mark, money, tr, trn

__all__ = ["CrossChannel", "cross_channel"]

KINDS = ("own", "resolved", "doubtful", "unknown")
_ALL = mark("all platforms")
_UNKNOWN = mark("unknown")
_BANDS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, np.inf)  # orders, up to
MEASURES = {"spend": mark("net spend so far"), "value": mark("expected value")}


@dataclass(frozen=True)
class CrossChannel(Result):
    """The ids of a period and the people behind them.

    ``table`` has a row per ``platform`` of the events and one for all: ``ids`` seen there, and of these ``own`` (a
    customer's own id), ``resolved`` (an id of another source that the identities give to one customer), ``doubtful``
    (to several, so it stays as it is) and ``unknown`` (nobody knows whose); ``resolved_share`` of those that are no
    customer's own, with Wilson's ``_lower`` and ``_upper``; ``events``, and ``lost_share`` of them under doubtful or
    unknown ids, with limits that take ids, not events, as what repeats.

    Attributes
    ----------
    first, last : str
        First and last day of the period.
    level : float
        Of the intervals.
    nameless : int
        Events of the period without any id.
    ids, people : int
        Ids seen, and people once they are resolved; the difference are those who would have counted twice.
    buying_ids, buyers : int
        Of these, those who bought in the period.
    sources : pandas.DataFrame
        The identities, by ``source``: ``ids``, ``customers``, ``doubtful`` ids, and ``seen`` in the period.
    doubtful : int
        Ids that the identities give to several customers.
    chains, loops : int
        Ids that the identities give to a customer whose own id they give to yet another, and loops of such ids. Events
        follow one step only.
    platforms : pandas.Series
        Customers by the number of platforms on which they have bought so far; empty where orders do not say.
    worth : pandas.DataFrame
        Customers who bought on several platforms against those of one, by ``mix`` (``raw`` and ``alike``: with as many
        orders) and measure, as :func:`clvlib.audience.alike.compare_alike` has it;
        empty where there are too few of either.
    """

    first: str
    last: str
    level: float
    nameless: int
    ids: int
    people: int
    buying_ids: int
    buyers: int
    sources: pd.DataFrame = field(repr=False)
    doubtful: int
    chains: int
    loops: int
    platforms: pd.Series = field(repr=False)
    worth: pd.DataFrame = field(repr=False)

    @property
    def total(self) -> pd.Series:
        """The row of ``table`` for all platforms."""
        return self.table.iloc[-1]

    @property
    def sentence(self) -> str:
        """How many ids are known, in words."""
        row = self.total
        foreign = int(row["ids"] - row["own"])
        if not foreign:
            return tr("All {ids:,} ids seen are customers' own: there is nothing to resolve.", ids=self.ids)
        if row["resolved"] == foreign:
            return tr(
                "Of {ids:,} ids seen, {foreign:,} are no customer's own; the identities lead all of those to a "
                "customer.",
                ids=self.ids,
                foreign=foreign,
            )
        return tr(
            "Of {ids:,} ids seen, {foreign:,} are no customer's own; the identities resolve {share:.0%} of those "
            "({lower:.0%} to {upper:.0%}). What is left has {lost:.1%} of the events ({lost_lower:.1%} to "
            "{lost_upper:.1%}) and counts as {open:,} people of their own.",
            ids=self.ids,
            foreign=foreign,
            share=row["resolved_share"],
            lower=row["resolved_share_lower"],
            upper=row["resolved_share_upper"],
            lost=row["lost_share"],
            lost_lower=row["lost_share_lower"],
            lost_upper=row["lost_share_upper"],
            open=int(row["unknown"] + row["doubtful"]),
        )

    @property
    def people_sentence(self) -> str:
        """What resolving changes, in words."""
        rates = proportion_interval([self.buying_ids, self.buyers], [self.ids, self.people], self.level)
        before, after = rates.itertuples(index=False)
        return tr(
            "Resolved, {ids:,} ids are {people:,} people: {twice:,} would have counted twice. Of those seen, "
            "{after:.1%} bought ({lower:.1%} to {upper:.1%}); by ids it would seem {before:.1%}.",
            ids=self.ids,
            people=self.people,
            twice=self.ids - self.people,
            after=after.estimate,
            lower=after.lower,
            upper=after.upper,
            before=before.estimate,
        )

    @property
    def faults_sentence(self) -> str:
        """What is wrong with the identities, in words."""
        if not (self.doubtful or self.chains or self.loops):
            return tr("No id is given to several customers, and none leads to another id.")
        return tr(
            "Ids given to several customers: {doubtful:,}; ids that lead to another id: {chains:,}; loops: {loops:,}. "
            "The first stay people of their own, the others are followed one step.",
            doubtful=self.doubtful,
            chains=self.chains,
            loops=self.loops,
        )

    def spending(self, mix: str) -> pd.Series:
        """Return the row of ``worth`` for net spend, ``raw`` or ``alike``."""
        return pd.DataFrame(self.worth.xs(mix, level="mix")).T["spend"]

    @property
    def worth_sentence(self) -> str:
        """What customers of several platforms are worth against those of one, in words."""
        if self.worth.empty:
            return tr("Too few customers bought on several platforms to compare them with those of one.")
        raw, alike = self.spending("raw"), self.spending("alike")
        several = int(self.platforms[self.platforms.index > 1].sum())
        text = trn(
            "{n:,} customer bought on several platforms, and spent {mean}; those of one spent {other} on average.",
            "{n:,} customers bought on several platforms, and spent {mean} on average; those of one {other}.",
            several,
            mean=money(raw["mean"]),
            other=money(raw["other_mean"]),
        )
        if np.isnan(alike["p_value"]):
            more = tr("There are too few with as many purchases to compare.")
        elif alike["p_value"] > 1 - self.level:
            more = tr("Against customers with as many purchases they cannot be told apart.")
        else:
            more = tr(
                "Against customers with as many purchases the difference is {difference} ({lower} to {upper}).",
                **{name: money(alike[name], sign=True) for name in ("difference", "lower", "upper")},
            )
        return tr("{text} {more}", text=text, more=more)

    @property
    def shown(self) -> pd.DataFrame:
        """The columns of ``table`` that a reader looks at first, limits as intervals."""
        frame = self.table[["ids", *KINDS]].copy()
        for name in ("resolved", "lost"):
            lower, upper = self.table[f"{name}_share_lower"], self.table[f"{name}_share_upper"]
            frame[f"{name}_share"] = self.table[f"{name}_share"]
            frame[f"{name}_interval"] = pd.arrays.IntervalArray.from_arrays(lower, upper, closed="both")
        return frame

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        return {str(name): "count" if name in ("ids", *KINDS) else "share" for name in self.shown}


def cross_channel(
    events: Table | pd.DataFrame,
    identities: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    period: tuple[Any, Any],
    customers: Table | pd.DataFrame | None = None,
    value: pd.Series | None = None,
    *,
    fewest: int = 5,
    level: float = 0.95,
) -> CrossChannel:
    """Report how far the ids of several channels lead to one customer.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        As they came, under whatever ids: ``person_id``, ``occurred_at``, and ``platform`` where known.
    identities : Table or pandas.DataFrame
        ``source``, ``source_id``, ``customer_id``.
    orders : Table or pandas.DataFrame
        All orders; ``platform`` where known.
    period : tuple
        First day, and the day after the last, of the events; orders count up to its end.
    customers : Table or pandas.DataFrame, optional
        Whose ids are customers' own, beside those in orders and identities.
    value : pandas.Series, optional
        By customer_id, what each is expected to bring.
    fewest : int
        Customers of one and of several platforms that a number of orders needs to be compared.
    level : float
        Confidence level.

    Returns
    -------
    CrossChannel

    Raises
    ------
    EmptyDataError
        Nobody was seen in the period.
    MissingColumnError
        A required column is absent.
    ParameterError
        The period holds no day, or the level is no share.

    Notes
    -----
    Who buys more often comes to more platforms, so customers of several are compared with others of as many orders.
    What is left is an association all the same.

    Examples
    --------
    >>> seen = pd.DataFrame({"person_id": ["C1", "dy1", "dy2", "ks9"], "occurred_at": pd.Timestamp("2026-11-02"),
    ...     "platform": ["Douyin", "Douyin", "Douyin", "Kuaishou"]})
    >>> known = pd.DataFrame({"source": "Douyin", "source_id": ["dy1", "dy2"], "customer_id": ["C1", "C2"]})
    >>> sold = pd.DataFrame({"customer_id": ["C1"], "ordered_at": pd.Timestamp("2026-11-03"), "amount": 5.0})
    >>> found = cross_channel(seen, known, sold, ("2026-11-02", "2026-11-09"))
    >>> found.ids, found.people, found.table["unknown"].to_dict()
    (4, 3, {'Douyin': 0, 'Kuaishou': 1, 'all platforms': 1})
    """
    first, end = days(period)
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    tables = together(events=events, identities=identities, orders=orders, customers=customers)
    seen = _seen(tables, (first, end))
    named = seen[seen["id"].notna()]
    if named.empty:
        last = end - dt.timedelta(days=1)
        raise EmptyDataError(tr("nobody was seen under any id from {first} to {last}", first=first, last=last))
    each = named.groupby("id").first()
    bought = _bought(tables["orders"], first, end)
    buying = bought.index[bought["in_period"].astype(bool)]
    links = tables["identities"].query(
        "SELECT DISTINCT source, CAST(source_id AS VARCHAR) AS id, CAST(customer_id AS VARCHAR) AS customer "
        "FROM {t} AS t WHERE source IS NOT NULL AND source_id IS NOT NULL AND customer_id IS NOT NULL ORDER BY 1, 2, 3"
    )
    chains, loops = _chains(links)
    sources, doubtful = _sources(links, each.index)
    counts, worth = _worth(bought, value, fewest, level)
    people = pd.Index(each["person"].unique())
    return CrossChannel(
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        level=level,
        nameless=int(seen.loc[seen["id"].isna(), "events"].sum()),
        ids=len(each),
        people=len(people),
        buying_ids=int((buying.get_indexer(each.index) >= 0).sum()),
        buyers=int((buying.get_indexer(people) >= 0).sum()),
        sources=sources,
        doubtful=doubtful,
        chains=chains,
        loops=loops,
        platforms=counts,
        worth=worth,
        table=_table(named, level),
    )


def _seen(tables: dict[str, Table], period: tuple[dt.date, dt.date]) -> pd.DataFrame:
    """A row per id and platform: events, what kind of id it is, and the person behind it."""
    events = tables["events"].require("person_id", "occurred_at")
    tables["identities"].require("source", "source_id", "customer_id")
    platform = "CAST(platform AS VARCHAR)" if "platform" in events.columns else "NULL"
    owners = [name for name in ("customers", "orders", "identities") if name in tables]
    own = " UNION ".join(f"SELECT CAST(customer_id AS VARCHAR) AS id FROM {tables[n].relation} AS {n}" for n in owners)
    return events.query(
        f"""WITH seen AS (
            SELECT CAST(person_id AS VARCHAR) AS id, COALESCE({platform}, '{_UNKNOWN}') AS platform, COUNT(*) AS events
            FROM {{t}} AS t WHERE {during("occurred_at", period)} GROUP BY 1, 2),
          known AS (
            SELECT CAST(source_id AS VARCHAR) AS id, CAST(MIN(customer_id) AS VARCHAR) AS customer,
                   COUNT(DISTINCT customer_id) AS customers FROM {tables["identities"].relation} AS i GROUP BY 1)
        SELECT s.id, s.platform, CAST(s.events AS DOUBLE) AS events,
               CASE WHEN k.customers > 1 THEN 'doubtful' WHEN k.customer <> s.id THEN 'resolved'
                    WHEN o.id IS NOT NULL THEN 'own' ELSE 'unknown' END AS kind,
               CASE WHEN k.customers = 1 THEN k.customer ELSE s.id END AS person
        FROM seen AS s LEFT JOIN known AS k ON s.id = k.id LEFT JOIN ({own}) AS o ON s.id = o.id ORDER BY 1, 2"""
    )


def _bought(orders: Table, first: dt.date, end: dt.date) -> pd.DataFrame:
    """A row per customer: platforms and number of orders so far, net spend, whether in the period."""
    one = "COUNT(DISTINCT order_id)" if "order_id" in orders.columns else "COUNT(*)"
    platform = "CAST(platform AS VARCHAR)" if "platform" in orders.columns else "CAST(NULL AS VARCHAR)"
    frame = purchases(orders).query(
        f"""SELECT CAST(customer_id AS VARCHAR) AS customer_id, COUNT(DISTINCT {platform}) AS platforms,
                   {one} AS bought, CAST(SUM(net_amount) AS DOUBLE) AS spend,
                   MAX(ordered_at) >= {literal(first)} AS in_period
            FROM {{t}} AS t WHERE ordered_at < {literal(end)} GROUP BY 1 ORDER BY 1"""
    )
    return frame.set_index("customer_id")


def _sources(links: pd.DataFrame, seen: pd.Index) -> tuple[pd.DataFrame, int]:
    """Ids, customers, doubtful ids and ids seen of each source, and how many ids are doubtful."""
    (one, ids), (owner, owners) = (pd.factorize(links[name]) for name in ("id", "customer"))
    source, names = pd.factorize(links["source"], sort=True)
    doubtful = np.bincount(np.unique(one * len(owners) + owner) // max(len(owners), 1), minlength=len(ids)) > 1
    by, id_ = np.divmod(np.unique(source * len(ids) + one), max(len(ids), 1))
    customers = np.unique(source * len(owners) + owner) // max(len(owners), 1)
    counts = {
        "ids": np.bincount(by, minlength=len(names)),
        "customers": np.bincount(customers, minlength=len(names)),
        "doubtful": np.bincount(by[doubtful[id_]], minlength=len(names)),
        "seen": np.bincount(by[(seen.get_indexer(ids) >= 0)[id_]], minlength=len(names)),
    }
    frame = pd.DataFrame(counts, index=pd.Index(names, name="source"))
    return frame.sort_values("ids", ascending=False, kind="stable"), int(doubtful.sum())


def _chains(links: pd.DataFrame) -> tuple[int, int]:
    """Count ids that lead to an id which leads on, and loops; links of doubtful ids lead nowhere."""
    pairs = links.drop_duplicates(["id", "customer"])
    single = pairs[~pairs["id"].duplicated(keep=False) & pairs["id"].ne(pairs["customer"])]
    trees = forest(single["id"], single["customer"])
    return int((trees["depth"] > 1).sum()), int(trees.loc[trees["loop"] >= 0, "loop"].nunique())


def _table(named: pd.DataFrame, level: float) -> pd.DataFrame:
    """One row per platform, the one with most ids first, and one for all."""
    sizes = named.groupby("platform").size().sort_values(ascending=False, kind="stable")
    parts = {str(name): named[named["platform"] == name] for name in sizes.index}
    every = named.groupby("id").agg(events=("events", "sum"), kind=("kind", "first")).reset_index()
    rows = [_row(part, level) for part in (*parts.values(), every)]
    return pd.DataFrame(rows, index=pd.Index([*parts, _ALL], name="platform"))


def _row(part: pd.DataFrame, level: float) -> dict[str, float]:
    row: dict[str, float] = {"ids": len(part)}
    row |= {kind: int(part["kind"].eq(kind).sum()) for kind in KINDS}
    foreign, share = len(part) - row["own"], (np.nan, np.nan, np.nan)
    if foreign:
        found = proportion_interval(row["resolved"], foreign, level).iloc[0]
        share = (found["estimate"], found["lower"], found["upper"])
    row |= dict(zip(("resolved_share", "resolved_share_lower", "resolved_share_upper"), share, strict=True))
    lost = part["kind"].isin(["doubtful", "unknown"]).to_numpy()
    own, rest = part["events"].to_numpy(dtype=float)[lost], part["events"].to_numpy(dtype=float)[~lost]
    share = share_interval(own.sum(), float(own @ own), rest.sum(), float(rest @ rest), level)
    row["events"] = float(part["events"].sum())
    return row | dict(zip(("lost_share", "lost_share_lower", "lost_share_upper"), share, strict=True))


def _worth(bought: pd.DataFrame, value: pd.Series | None, fewest: int, level: float) -> tuple[pd.Series, pd.DataFrame]:
    """Customers by number of platforms, and those of several against those of one."""
    known = bought[bought["platforms"] > 0]
    if value is not None:
        known = known.assign(value=value.set_axis(value.index.astype(str)).reindex(known.index))
    measures = [name for name in MEASURES if name in known]
    several = known["platforms"] > 1
    counts = known["platforms"].value_counts().sort_index().rename("customers")
    if several.all() or not several.any():
        return counts, pd.DataFrame()
    often = pd.Series(np.searchsorted(_BANDS, known["bought"]), index=known.index)
    mixes = {"raw": often * 0, "alike": often}
    made = {mix: compare_alike(known, several, band, measures, fewest, level)[0] for mix, band in mixes.items()}
    table = pd.concat(made, names=["mix"])
    return counts, table if table["p_value"].notna().any() else pd.DataFrame()
