"""Warm-up (F7): who reserved a live session, who of them came, and who bought."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.overdispersion import dispersed_proportions, dispersed_ratio
from clvlib.words import mark, tr

__all__ = ["Reservations", "reservations"]

_ALL = mark("all")


@dataclass(frozen=True)
class Reservations(Result):
    """Reservations of the live sessions of a period.

    ``table`` has a row for all and per ``platform`` and ``host_id`` (``dimension``, ``segment``): ``sessions`` with a
    reservation, ``reserved`` and ``came`` (people, once per session), ``show_up`` with ``lower`` and ``upper``,
    ``bought`` and ``buy_rate`` of those who came. Sessions are what repeats in the intervals.

    Attributes
    ----------
    first, last : str
        First and last day on which the sessions began.
    sessions : pandas.DataFrame
        By ``session_id``: ``started_at``, ``reserved``, ``came``, ``bought``, and ``walked_in`` and ``walk_in_bought``:
        people who came without a reservation.
    open_sessions : int
        Sessions of the period that are not over, in no figure.
    nowhere : int
        Reservations for a session that is not known, in no figure.
    buy_rate, walk_in_rate : float
        Share that bought of those who came with and without a reservation; NaN where there are none.
    ratio, ratio_lower, ratio_upper : float
        Of the two, with its interval; NaN where it cannot be drawn.
    level : float
        Of the intervals.
    """

    first: str
    last: str
    sessions: pd.DataFrame
    open_sessions: int
    nowhere: int
    buy_rate: float
    walk_in_rate: float
    ratio: float
    ratio_lower: float
    ratio_upper: float
    level: float

    @property
    def total(self) -> pd.Series:
        """The row of everything."""
        row: pd.Series = self.table.iloc[0]
        return row

    @property
    def shown(self) -> pd.DataFrame:
        """The table as a notebook shows it."""
        names = {"all": mark("all"), "platform": mark("platform"), "host_id": mark("host")}
        return self.table.assign(dimension=self.table["dimension"].map(names))

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        return dict.fromkeys(("show_up", "lower", "upper", "buy_rate"), "share")

    @property
    def sentence(self) -> str:
        """Who came and who bought, in words."""
        row = self.total
        parts = [
            tr(
                "{reserved:,.0f} reservations for {sessions:,.0f} live sessions: {show_up:.1%} came ({lower:.1%} to "
                "{upper:.1%})",
                **{name: row[name] for name in ("reserved", "sessions", "show_up", "lower", "upper")},
            )
        ]
        if np.isfinite(self.ratio):
            parts.append(
                tr(
                    "{with_one:.1%} of them bought against {without:.1%} of those who came without one "
                    "({ratio:.1f} times as many, {lower:.1f} to {upper:.1f}), which may be who they are",
                    with_one=self.buy_rate,
                    without=self.walk_in_rate,
                    ratio=self.ratio,
                    lower=self.ratio_lower,
                    upper=self.ratio_upper,
                )
            )
        return tr("{parts}.", parts=tr("; ").join(parts))


def reservations(
    events: Table | pd.DataFrame,
    sessions: Table | pd.DataFrame,
    period: tuple[Any, Any],
    *,
    reserved: str = "reserve",
    bought: str = "paid",
    level: float = 0.95,
) -> Reservations:
    """Follow reservations to the live session and to the order.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``occurred_at``, ``event`` and ``session_id``. Who has any other event in the session after it
        began has come.
    sessions : Table or pandas.DataFrame
        ``session_id``, ``started_at``; ``ended_at``, ``platform`` and ``host_id`` where known.
    period : tuple
        When the sessions began: first day, and the day after the last, up to which things are known. A session that is
        not over by then is left out.
    reserved, bought : str
        Names of the events.
    level : float
        Of the intervals.

    Returns
    -------
    Reservations

    Raises
    ------
    MissingColumnError
        Events have no session.
    EmptyDataError
        Nobody reserved a session of the period that is over.
    ParameterError
        The period or the level cannot be.

    Examples
    --------
    >>> at = pd.Timestamp("2026-11-10 20:00")
    >>> live = pd.DataFrame({"session_id": ["s", "t"], "started_at": at, "ended_at": at + pd.Timedelta(hours=2)})
    >>> hour = pd.Timedelta(hours=1)
    >>> log = pd.DataFrame({"person_id": list("aabbc"), "session_id": list("sstts"),
    ...                     "event": ["reserve", "exposure"] * 2 + ["reserve"],
    ...                     "occurred_at": [at - hour, at + hour] * 2 + [at - hour]})
    >>> found = reservations(log, live, ("2026-11-09", "2026-11-16"))
    >>> [int(found.total[name]) for name in ("sessions", "reserved", "came")]
    [2, 3, 2]
    """
    first, end = as_period(period)
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    tables = together(events=events, sessions=sessions)
    log = tables["events"].require("person_id", "occurred_at", "event", "session_id")
    live = tables["sessions"].require("session_id", "started_at")
    rows, still_open = _by_session(log, live, (first, end), reserved, bought)
    wanted = rows[rows["reserved"] > 0].reset_index(drop=True)
    if wanted.empty:
        raise EmptyDataError(
            tr(
                "nobody reserved a live session that began from {first} to {last} and is over",
                first=first,
                last=end - dt.timedelta(days=1),
            )
        )
    nowhere = log.query(
        f"""SELECT COUNT(*) AS n FROM {{t}} AS e WHERE event = {literal(reserved)} AND occurred_at >= {literal(first)}
            AND occurred_at < {literal(end)} AND (session_id IS NULL OR session_id NOT IN
            (SELECT session_id FROM {{live}} AS s WHERE session_id IS NOT NULL))""",
        live=live,
    )["n"].iloc[0]
    parts = [_summed(wanted.assign(segment=_ALL), level).assign(dimension=_ALL)]
    for name in ("platform", "host_id"):
        if name in rows:
            named = wanted.assign(segment=wanted[name].fillna("unknown"))
            parts.append(_summed(named, level).assign(dimension=name).sort_values("reserved", ascending=False))
    table = pd.concat(parts, ignore_index=True)
    return Reservations(
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        sessions=rows,
        open_sessions=still_open,
        nowhere=int(nowhere),
        **_with_and_without(rows, level),
        level=level,
        table=table[["dimension", *(name for name in table if name != "dimension")]],
    )


def _by_session(
    log: Table, live: Table, period: tuple[dt.date, dt.date], reserved: str, bought: str
) -> tuple[pd.DataFrame, int]:
    """Return people per session that is over: reserved, came, bought, with and without a reservation."""
    first, end = period
    names = [name for name in ("platform", "host_id") if name in live.columns]
    more = "".join(f", CAST(MIN({name}) AS VARCHAR) AS {name}" for name in names)
    over = "MAX(ended_at)" if "ended_at" in live.columns else "MIN(started_at)"
    known = (
        f"SELECT session_id, MIN(started_at) AS started_at, {over} AS ended_at{more} FROM {{live}} AS s "
        f"WHERE started_at >= {literal(first)} AND started_at < {literal(end)} AND session_id IS NOT NULL GROUP BY 1"
    )
    columns = "".join(f", k.{name}" for name in names)
    rows = log.query(
        f"""WITH k AS ({known}),
        p AS (SELECT e.session_id, e.person_id, MAX(CASE WHEN event = {literal(reserved)} THEN 1 ELSE 0 END) AS r,
            MAX(CASE WHEN event <> {literal(reserved)} AND occurred_at >= k.started_at THEN 1 ELSE 0 END) AS c,
            MAX(CASE WHEN event = {literal(bought)} AND occurred_at >= k.started_at THEN 1 ELSE 0 END) AS b
          FROM {{t}} AS e JOIN k ON e.session_id = k.session_id WHERE e.person_id IS NOT NULL
            AND e.occurred_at < {literal(end)} GROUP BY 1, 2),
        n AS (SELECT session_id, SUM(r) AS reserved, SUM(r * c) AS came, SUM(r * c * b) AS bought,
            SUM((1 - r) * c) AS walked_in, SUM((1 - r) * c * b) AS walk_in_bought FROM p GROUP BY 1)
        SELECT k.session_id, k.started_at{columns}, reserved, came, bought, walked_in, walk_in_bought,
            CASE WHEN k.ended_at < {literal(end)} THEN 0 ELSE 1 END AS still_open
        FROM k LEFT JOIN n ON k.session_id = n.session_id ORDER BY k.started_at, k.session_id""",
        live=live,
    )
    counts = ["reserved", "came", "bought", "walked_in", "walk_in_bought"]
    rows[counts] = rows[counts].fillna(0).astype(int)
    closed = rows["still_open"] == 0
    return rows[closed].drop(columns="still_open").reset_index(drop=True), int((~closed).sum())


def _summed(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Shares of the sessions of each segment, with limits where more than one session tells how they differ."""
    sums = rows.groupby("segment", sort=True)[["reserved", "came", "bought"]].sum()
    sums.insert(0, "sessions", rows.groupby("segment").size())
    limits = pd.DataFrame({"lower": np.nan, "upper": np.nan}, index=sums.index)
    if len(rows) > rows["segment"].nunique():
        limits = dispersed_proportions(rows["came"], rows["reserved"], rows["segment"], level)[["lower", "upper"]]
    out = sums.assign(show_up=sums["came"] / sums["reserved"], lower=limits["lower"], upper=limits["upper"])
    return out.assign(buy_rate=sums["bought"] / sums["came"].where(sums["came"] > 0)).reset_index()


def _with_and_without(rows: pd.DataFrame, level: float) -> dict[str, float]:
    """Buyers among those who came with a reservation and without."""
    x = np.concatenate([rows["bought"], rows["walk_in_bought"]])
    n = np.concatenate([rows["came"], rows["walked_in"]])
    side = np.repeat([True, False], len(rows))
    rates = [float(x[part].sum() / n[part].sum()) if n[part].sum() else np.nan for part in (side, ~side)]
    found = dict.fromkeys(("ratio", "ratio_lower", "ratio_upper"), np.nan)
    found |= {"buy_rate": rates[0], "walk_in_rate": rates[1]}
    use = n > 0
    if use[side].any() and use[~side].any() and x.sum() > 0 and use.sum() > 2 and rates[1] > 0:
        effect = dispersed_ratio(x[use], n[use], side[use], level)
        found |= {"ratio": effect.estimate, "ratio_lower": effect.lower, "ratio_upper": effect.upper}
    return found
