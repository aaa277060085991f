"""Who joins in during a live session, and what goes together with it (F6)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.context import with_context
from clvlib.result import Result
from clvlib.stats.matched import matched_ratio
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr

__all__ = ["KINDS", "Interaction", "interaction"]

KINDS: Final = (mark("question"), mark("draw"), mark("trial"))
_RAW, _ALIKE, _SAME = mark("as counted"), mark("alike before"), mark("the same people")
_ANY = mark("any of them")
_COLUMNS = ["measure", "comparison", "with_it", "without", "n_with", "n_without", "ratio", "lower", "upper", "p_value"]
_BANDS = 8  # of what customers had spent per order before


@dataclass(frozen=True)
class Interaction(Result):
    """Visits (one person in one live session) with and without joining in.

    ``table`` has a row per ``measure`` (``conversion`` of visits, ``basket``: net amount of an order in the visit) and
    ``comparison``: ``as counted``; ``alike before``: in visits on the same platform, for the same category, by
    customers who had spent about as much per order before, for baskets of those who had bought before alone, since of
    the others nobody knows what they spend; ``the same people``: only against the same person's other visits, given
    platform and category. Columns: ``with_it`` and ``without`` (the figure as counted), ``n_with``, ``n_without``
    (visits or orders), ``ratio`` with ``lower`` and ``upper``, ``p_value`` (of a ratio of 1; errors are clustered by
    person).

    Attributes
    ----------
    participation : pandas.DataFrame
        Index ``interaction``: ``visits`` that joined in, ``share`` of all visits with ``lower`` and ``upper``.
    visits, people : int
        On air, in all.
    first, last : str
        First and last day.
    level : float
        Confidence level.
    """

    participation: pd.DataFrame = field(repr=False)
    visits: int
    people: int
    first: str
    last: str
    level: float

    def _row(self, measure: str, comparison: str) -> pd.Series | None:
        found = self.table[self.table["measure"].eq(measure) & self.table["comparison"].eq(comparison)]
        return None if found.empty else found.iloc[0]

    @property
    def sentence(self) -> str:
        """How many join in, and what becomes of the difference in baskets among the same people, in words."""
        share = float(self.participation["share"].iloc[-1])
        raw, same = self._row("basket", _RAW), self._row("basket", _SAME)
        if raw is None or same is None:
            return tr("{share:.1%} of visits join in.", share=share)
        told = {"share": share, "raw": raw["ratio"] - 1, "same": same["ratio"] - 1}
        told |= {"lower": same["lower"] - 1, "upper": same["upper"] - 1}
        if same["lower"] <= 1 <= same["upper"]:
            return tr(
                "{share:.1%} of visits join in; their baskets differ by {raw:+.0%}, but among the same people no "
                "difference can be told from chance ({same:+.0%}, {lower:+.0%} to {upper:+.0%}).",
                **told,
            )
        return tr(
            "{share:.1%} of visits join in; their baskets differ by {raw:+.0%}, and among the same people by "
            "{same:+.0%} ({lower:+.0%} to {upper:+.0%}): an association, not an effect.",
            **told,
        )

    @property
    def shown(self) -> pd.DataFrame:
        """``table`` as a page shows it: figures of both measures in one column, as text."""
        forms = {"conversion": "{:.1%}", "basket": "{:,.0f}"}
        texts = {
            name: [forms[m].format(v) for m, v in zip(self.table["measure"], self.table[name], strict=True)]
            for name in ("with_it", "without")
        }
        return self.table.assign(**texts)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        ratios = dict.fromkeys(["ratio", "lower", "upper"], ".2f")
        return ratios | {"n_with": "count", "n_without": "count", "p_value": "p_value"}

    @property
    def conversion_sentence(self) -> str:
        """How conversion goes with joining in, and what that does not say, in words."""
        raw, same = self._row("conversion", _RAW), self._row("conversion", _SAME)
        if raw is None:
            return tr("Nobody who joined in, or nobody else, bought anything.")
        told = tr(
            "Visits that join in convert at {here:.1%}, others at {there:.1%}",
            here=raw["with_it"],
            there=raw["without"],
        )
        if same is not None:
            told = tr("{told}; among the same people {ratio:.1f} times as often", told=told, ratio=same["ratio"])
        return tr(
            "{told}. Who means to buy asks first, so this is an association; what joining in does, only an experiment "
            "can say.",
            told=told,
        )


def interaction(
    events: Table | pd.DataFrame,
    orders: Table | pd.DataFrame | None,
    period: tuple[dt.date, dt.date],
    *,
    steps: Sequence[str],
    kinds: Sequence[str] = KINDS,
    level: float = 0.95,
) -> Interaction:
    """Compare visits with and without joining in, as counted and with people held alike or the same.

    Who joins in differs from who does not: for one thing, those who spend more join in more. What customers had spent
    before holds that fixed only in part, since a few orders tell little of a customer; the same person's other visits
    hold all of it fixed that does not change from week to week.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``session_id``, ``occurred_at``, ``event``, ``platform`` and ``product_id`` as far as known.
    orders : Table or pandas.DataFrame or None
        ``customer_id``, ``session_id``, ``ordered_at``, ``amount``; all of them, for what was spent before.
    period : tuple of datetime.date
        First day, and the day after the last.
    steps : sequence of str
        The funnel: who makes the first step in a session visits it, who makes the last one converts.
    kinds : sequence of str
        Events by which people join in.
    level : float
        Confidence level.

    Returns
    -------
    Interaction

    Raises
    ------
    MissingColumnError
        A column that is needed is absent.
    EmptyDataError
        Nobody visited a live session in the period, or nobody joined in.
    ParameterError
        No kinds, less than two steps, or a level that is no share.
    """
    if not kinds or len(steps) < 2 or not 0 < level < 1:
        raise ParameterError(f"interaction: kinds, two steps, a level in (0, 1): {kinds}, {steps}, {level}")
    tables = together(events=events, orders=orders)
    log = with_context(**tables).require("person_id", "session_id", "occurred_at", "event")
    sold = tables.get("orders")
    if sold is not None and "session_id" not in sold.columns:
        sold = None
    cells = _cells(log, sold, period, steps, tuple(kinds))
    first, last = period[0], period[1] - dt.timedelta(days=1)
    if cells.empty:
        raise EmptyDataError(tr("nobody visited a live session from {first} to {last}", first=first, last=last))
    if not cells["joined"].any():
        text = tr("nobody joined in from {first} to {last}: no {kinds}", first=first, last=last, kinds=", ".join(kinds))
        raise EmptyDataError(text)
    person, kind = pd.factorize(cells["person_id"])[0], cells.groupby(["platform", "category"], sort=False).ngroup()
    cells = cells.assign(person=person, kind=kind)  # numbers are compared faster than text
    rows = _compared(cells, "conversion", "converted", "visits", level)
    if sold is not None:
        rows += _compared(cells[cells["orders"] > 0], "basket", "amount", "orders", level)
    return Interaction(
        table=pd.DataFrame(rows, columns=_COLUMNS),
        participation=_participation(cells, kinds, level),
        visits=int(cells["visits"].sum()),
        people=int(cells["person"].nunique()),
        first=str(first),
        last=str(last),
        level=level,
    )


def _cells(
    log: Table, sold: Table | None, period: tuple[dt.date, dt.date], steps: Sequence[str], kinds: tuple[str, ...]
) -> pd.DataFrame:
    """Visits, conversions, orders and their amount by person, platform, category, former spend and joining in.

    Who joins in only after the last step has not joined in before it, and counts as without.
    """
    platform, category = (
        f"MIN(COALESCE(CAST({c} AS VARCHAR), 'unknown'))" if c in log.columns else "'all'"
        for c in ("platform", "category")
    )
    said = ", ".join(
        f"MAX(CASE WHEN event = {literal(kind)} THEN 1 ELSE 0 END) AS k{i}" for i, kind in enumerate(kinds)
    )
    flags = [f"k{i}" for i in range(len(kinds))]
    bought, spent = "", "SELECT person_id, session_id, NULL AS former FROM v"
    amounts = "CAST(0 AS DOUBLE) AS amount, 0 AS orders"
    if sold is not None:
        net = "net_amount" if "net_amount" in sold.columns else "amount"
        kept = "is_purchase" if "is_purchase" in sold.columns else f"{net} > 0"
        bought = (
            f", b AS (SELECT customer_id, session_id, ordered_at, CAST({net} AS DOUBLE) AS net FROM {sold.relation}"
            f" AS o WHERE {kept}), p AS (SELECT customer_id AS person_id, session_id, COUNT(*) AS orders, SUM(net) AS"
            " amount FROM b WHERE session_id IS NOT NULL GROUP BY 1, 2)"
        )
        spent = """SELECT person_id, session_id, former FROM (SELECT person_id, session_id, is_visit,
            AVG(net) OVER (PARTITION BY person_id ORDER BY moment, is_visit ROWS BETWEEN UNBOUNDED PRECEDING AND 1
            PRECEDING) AS former FROM (SELECT person_id, session_id, moment, CAST(NULL AS DOUBLE) AS net, 1 AS is_visit
            FROM v UNION ALL SELECT customer_id, NULL, ordered_at, net, 0 FROM b) AS u) AS w WHERE is_visit = 1"""
        amounts = "SUM(COALESCE(p.amount, 0)) AS amount, SUM(COALESCE(p.orders, 0)) AS orders"
    join = "LEFT JOIN p ON p.person_id = v.person_id AND p.session_id = v.session_id" if sold is not None else ""
    return log.query(
        f"""WITH v AS (SELECT person_id, session_id, MIN(occurred_at) AS moment, {platform} AS platform,
            {category} AS category, {said}, MAX(CASE WHEN event = {literal(steps[-1])} THEN 1 ELSE 0 END) AS converted,
            MIN(CASE WHEN event IN {literal(list(kinds))} THEN occurred_at END) AS spoke,
            MIN(CASE WHEN event = {literal(steps[-1])} THEN occurred_at END) AS won
          FROM {{t}} AS e WHERE session_id IS NOT NULL AND person_id IS NOT NULL
            AND event IN {literal([steps[0], steps[-1], *kinds])}
            AND occurred_at >= {literal(period[0])} AND occurred_at < {literal(period[1])}
          GROUP BY 1, 2 HAVING MAX(CASE WHEN event = {literal(steps[0])} THEN 1 ELSE 0 END) = 1){bought},
        h AS ({spent}),
        g AS (SELECT h.person_id, h.session_id, CASE WHEN former IS NULL THEN 0 ELSE NTILE({_BANDS}) OVER
              (PARTITION BY former IS NULL ORDER BY former, person_id, session_id) END AS band FROM h)
        SELECT v.person_id, platform, category, band, spoke IS NOT NULL AND (won IS NULL OR spoke < won) AS joined,
               COUNT(*) AS visits, SUM(converted) AS converted, {amounts},
               {", ".join(f"SUM({flag}) AS {flag}" for flag in flags)}
        FROM v JOIN g ON g.person_id = v.person_id AND g.session_id = v.session_id {join}
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"""
    )


def _participation(cells: pd.DataFrame, kinds: Sequence[str], level: float) -> pd.DataFrame:
    counts = [int(cells[f"k{i}"].sum()) for i in range(len(kinds))]
    counts.append(int(cells.loc[cells["joined"], "visits"].sum()))
    index = pd.Index([*kinds, _ANY], name="interaction")
    limits = proportion_interval(counts, int(cells["visits"].sum()), level)
    figures = {"visits": counts, "share": limits["estimate"], "lower": limits["lower"], "upper": limits["upper"]}
    return pd.DataFrame(figures).set_axis(index)


def _compared(cells: pd.DataFrame, measure: str, y: str, n: str, level: float) -> list[dict[str, Any]]:
    """Compare one measure three ways; what cannot be compared is left out."""
    usual = cells.groupby("kind")[[y, n]].transform("sum")
    expected = cells[n] * usual[y] / usual[n]
    known = cells["band"].gt(0) if measure == "basket" else cells["band"].ge(0)
    rest = {"n_with": int(cells.loc[cells["joined"], n].sum()), "n_without": int(cells.loc[~cells["joined"], n].sum())}
    sums = cells.groupby("joined")[[y, n]].sum().reindex([True, False])
    rates = (sums[y] / sums[n]).to_numpy()
    made: list[dict[str, Any]] = []
    for name, size, stratum, rows in (
        (_RAW, cells[n], pd.Series(0, cells.index), known | True),
        (_ALIKE, cells[n], cells["kind"] * (_BANDS + 1) + cells["band"], known),
        (_SAME, expected, cells["person"], expected > 0),
    ):
        try:
            found = matched_ratio(
                cells.loc[rows, y],
                size[rows],
                cells.loc[rows, "joined"],
                stratum[rows],
                cells.loc[rows, "person"],
                level,
            )
        except ValueError:
            continue
        row = {"measure": measure, "comparison": name, "with_it": rates[0], "without": rates[1], **rest}
        made.append(
            row | {"ratio": found.estimate, "lower": found.lower, "upper": found.upper, "p_value": found.p_value}
        )
    return made
