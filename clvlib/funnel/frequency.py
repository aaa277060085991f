"""How often somebody is shown something before the click (F7), contact by contact.

Who is shown something for the fifth time has not clicked four times: those who click early never get there. So each
contact is judged among those whom it met, and a rate that falls says who is left, not what a contact does.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.survival import kaplan_meier
from clvlib.words import tr

__all__ = ["ContactFrequency", "contact_frequency"]

_FEWEST = 30  # people whom a contact must have met to be told


@dataclass(frozen=True)
class ContactFrequency(Result):
    """What each contact brought.

    ``table`` is indexed by ``contact`` (first, second, ...): ``people`` who had one and had not clicked before, who
    ``clicked`` on it, ``click_rate`` with ``lower`` and ``upper`` (Wilson), ``clicked_by`` (share that has clicked by
    then, Kaplan-Meier over contacts: what it would be if all were contacted so often), ``settled`` (of those who
    clicked, those whose window for an order is over), and the share of them that ``bought`` with ``buy_lower`` and
    ``buy_upper``.

    Attributes
    ----------
    first, last : str
        First and last day; contacts before the first are not known, and count as none.
    people : int
        With a contact in the period.
    without : int
        People with a click but no contact before it, in no figure.
    mean_contacts : float
        Contacts per person until the click, or in all.
    level : float
        Of the intervals.
    """

    first: str
    last: str
    people: int
    without: int
    mean_contacts: float
    level: float

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of the table."""
        return dict.fromkeys(
            ("click_rate", "lower", "upper", "clicked_by", "bought", "buy_lower", "buy_upper"), "share"
        )

    @property
    def sentence(self) -> str:
        """What the first contact and the later ones brought, in words."""
        last = self.table.iloc[-1]
        head = tr(
            "{share:.1%} of {people:,} people click on the first contact",
            share=self.table["click_rate"].iloc[0],
            people=self.people,
        )
        if len(self.table) == 1:
            return tr("{parts}.", parts=head)
        more = tr(
            "of those who reach contact {number} without a click, {share:.1%} ({lower:.1%} to {upper:.1%})",
            number=int(self.table.index[-1]),
            share=last["click_rate"],
            lower=last["lower"],
            upper=last["upper"],
        )
        return tr("{parts}.", parts=tr("; ").join((head, more)))


def contact_frequency(
    events: Table | pd.DataFrame,
    period: tuple[Any, Any],
    *,
    shown: str = "exposure",
    clicked: str = "click",
    bought: str = "paid",
    window_days: float = 7,
    most: int = 6,
    level: float = 0.95,
) -> ContactFrequency:
    """Follow people from contact to contact until they click.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``occurred_at`` and ``event``.
    period : tuple
        First day, and the day after the last, up to which things are known.
    shown, clicked, bought : str
        Names of the events.
    window_days : float
        An order counts so long after the click; clicks whose window is not over are not judged by it.
    most : int
        So many contacts are told at most, and none that met fewer than 30 people, but for the first.
    level : float
        Of the intervals.

    Returns
    -------
    ContactFrequency

    Raises
    ------
    EmptyDataError
        Nobody was shown anything.
    ParameterError
        A parameter cannot be.

    Examples
    --------
    >>> at = pd.Timestamp("2026-11-10")
    >>> log = pd.DataFrame({"person_id": list("aabbbc"), "event": ["exposure", "click", "exposure", "exposure", "click",
    ...                     "exposure"], "occurred_at": [at + pd.Timedelta(hours=h) for h in range(6)]})
    >>> contact_frequency(log, ("2026-11-09", "2026-11-16")).table[["people", "clicked"]].values.tolist()
    [[3, 1]]
    """
    first, end = as_period(period)
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    if most < 1 or not window_days > 0:
        raise ParameterError(f"most and window_days are above zero; found {most} and {window_days}")
    log = as_table(events, "events", "person_id", "occurred_at", "event")
    window = f"INTERVAL '{round(window_days * 86_400)}' SECOND"
    rows = log.query(
        f"""WITH e AS (SELECT person_id, occurred_at, event FROM {{t}} AS t WHERE person_id IS NOT NULL
            AND event IN {literal([shown, clicked, bought])} AND occurred_at >= {literal(first)}
            AND occurred_at < {literal(end)}),
        f AS (SELECT person_id, MIN(CASE WHEN event = {literal(shown)} THEN occurred_at END) AS met,
            MAX(CASE WHEN event = {literal(clicked)} THEN 1 ELSE 0 END) AS any_click FROM e GROUP BY 1),
        c AS (SELECT f.person_id, f.met, f.any_click, MIN(CASE WHEN e.event = {literal(clicked)}
            AND e.occurred_at >= f.met THEN e.occurred_at END) AS at FROM e JOIN f ON e.person_id = f.person_id
            GROUP BY 1, 2, 3),
        k AS (SELECT c.person_id, c.any_click, CASE WHEN c.at IS NULL THEN 0 ELSE 1 END AS clicked,
            CASE WHEN c.at + {window} <= CAST({literal(end)} AS TIMESTAMP) THEN 1 ELSE 0 END AS settled,
            SUM(CASE WHEN e.event = {literal(shown)} AND (c.at IS NULL OR e.occurred_at <= c.at) THEN 1 ELSE 0 END)
              AS contacts,
            MAX(CASE WHEN e.event = {literal(bought)} AND e.occurred_at >= c.at AND e.occurred_at < c.at + {window}
              THEN 1 ELSE 0 END) AS bought
            FROM e JOIN c ON e.person_id = c.person_id GROUP BY 1, 2, 3, 4)
        SELECT CAST(contacts AS INTEGER) AS contacts, any_click, clicked, settled, bought, COUNT(*) AS n FROM k
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"""
    )
    met = rows[rows["contacts"] > 0]
    if met.empty:
        raise EmptyDataError(
            tr("nobody was shown anything from {first} to {last}", first=first, last=end - dt.timedelta(days=1))
        )
    return ContactFrequency(
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        people=int(met["n"].sum()),
        without=int(rows.loc[(rows["contacts"] == 0) & (rows["any_click"] == 1), "n"].sum()),
        mean_contacts=float((met["contacts"] * met["n"]).sum() / met["n"].sum()),
        level=level,
        table=_contacts(met, most, level),
    )


def _contacts(met: pd.DataFrame, most: int, level: float) -> pd.DataFrame:
    curve = kaplan_meier(met["contacts"], met["clicked"] == 1, met["n"], level)
    told = (curve["time"] <= most) & ((curve["at_risk"] >= _FEWEST) | (curve.index == 0))
    curve = curve[told].set_index(curve.loc[told, "time"].astype(int))
    rates = proportion_interval(curve["events"], curve["at_risk"], level)
    judged = met[(met["clicked"] == 1) & (met["settled"] == 1)]
    settled = judged.groupby("contacts")["n"].sum().reindex(curve.index, fill_value=0)
    buyers = judged[judged["bought"] == 1].groupby("contacts")["n"].sum().reindex(curve.index, fill_value=0)
    some = settled > 0
    bought = pd.DataFrame(np.nan, index=curve.index, columns=["estimate", "lower", "upper"])
    if some.any():
        bought.loc[some] = proportion_interval(buyers[some], settled[some], level)
    return pd.DataFrame(
        {
            "people": curve["at_risk"].astype(int),
            "clicked": curve["events"].astype(int),
            "click_rate": rates["estimate"],
            "lower": rates["lower"],
            "upper": rates["upper"],
            "clicked_by": 1 - curve["survival"],
            "settled": settled,
            "bought": bought["estimate"],
            "buy_lower": bought["lower"],
            "buy_upper": bought["upper"],
        }
    ).rename_axis("contact")
